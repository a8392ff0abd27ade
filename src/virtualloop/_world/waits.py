"""The limits of waits in `threading`, as a world has them.

Owns what stands in for `threading.Condition.wait()`, where Event, Queue, Semaphore, Barrier and Future wait as well,
and a join with a limit: that is a span of the world's time. Waits without one are left alone, and so are those that are
made in C, of a lock itself and of a SimpleQueue: their methods are those by which all others wait as well, of this
package and of the interpreter, and by which it is seen who waits.
"""

from __future__ import annotations

import sys
import threading
from _thread import allocate_lock, get_ident
from collections.abc import Callable
from types import FrameType
from typing import Any

from virtualloop._core.clock import TICKS_PER_SECOND
from virtualloop._world import world
from virtualloop._world.frameworks import keeps_real
from virtualloop._world.shares import at_end, not_at_end, share_of

__all__ = ["members"]

#: Limits beyond this, in seconds, are meant as none.
LONGEST = 1e9

_wait: Callable[..., Any] = threading.Condition.wait


def wait(condition: Any, timeout: float | None = None) -> Any:
    """Wait until notified, or until so much time has passed; return whether it was notified."""
    share = share_of(get_ident())
    reader = None if share is None else share.reader
    if timeout is None or reader is None or not -LONGEST < timeout < LONGEST or keeps_real(sys._getframe(1)):
        return _wait(condition, timeout)
    if not condition._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    waiter = allocate_lock()
    waiter.acquire()
    waiters = condition._waiters
    waiters.append(waiter)
    state = condition._release_save()
    try:
        ticks = round(timeout * TICKS_PER_SECOND) if timeout else 0
        if ticks > 0:
            reader.wait(ticks, waiter, lambda: waiter in waiters)
    finally:
        condition._acquire_restore(state)
    # Who notifies takes it out.
    notified = waiter not in waiters
    if not notified:
        waiters.remove(waiter)
    return notified


def join_within(thread: threading.Thread, timeout: float, caller: FrameType) -> bool:
    """Wait until a thread has ended, or until so much time has passed; return whether it has not ended by then.

    One of nobody's world is waited for in real time, by whoever asks.
    """
    share = share_of(get_ident())
    reader = None if share is None else share.reader
    ident = thread.ident
    if reader is None or ident is None or not 0 < timeout < LONGEST or keeps_real(caller):
        return False
    gate = allocate_lock()
    gate.acquire()
    ended: list[bool] = []

    def end() -> None:
        ended.append(True)
        if gate.locked():
            gate.release()

    if not at_end(ident, end):
        return False
    try:
        reader.wait(round(timeout * TICKS_PER_SECOND) or 1, gate, lambda: not ended)
    finally:
        not_at_end(ident, end)
    return not ended


world.join_within = join_within


def members() -> list[tuple[type, str, object]]:
    """Return the class, the name and the stand-in of each."""
    return [(threading.Condition, "wait", wait)]
