"""Threads that have begun before a loop did, and may be about to run a loop of its world.

Owns which of them have come to rest since. A program starts a loop in a thread and goes on at once: whether that loop
is there before the next one's first step is the machine's affair. So a thread of which nobody knows who has started it,
and that has done nothing but work ever since it was seen, is waited for, once in its life and for a moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from virtualloop._frames import frames_of_others
from virtualloop._world.parked import State, look_at
from virtualloop._world.world import is_homeless, runs_a_loop

__all__ = ["any_at_work"]

#: For how long, in real seconds: much longer than it takes to make a loop and to run it.
LONGEST = 0.2

#: How long each was waited for; None once it has come to rest, runs a loop, or was waited for long enough.
_waited: WeakKeyDictionary[threading.Thread, float | None] = WeakKeyDictionary()


def any_at_work(threads: Iterable[threading.Thread], passed: float, is_member: Callable[[object], bool]) -> bool:
    """Return whether to wait for one of these, `passed` real seconds after the last look."""
    # Each is looked at: they keep accounts.
    return True in [
        _is_at_work(thread, passed)
        for thread in threads
        if _waited.get(thread, 0.0) is not None and is_homeless(thread) and not is_member(thread)
    ]


def _is_at_work(thread: threading.Thread, passed: float) -> bool:
    waited = (_waited.get(thread) or 0.0) + passed
    frame = frames_of_others().get(thread.ident or 0)
    if frame is None:
        # On its way into Python, or out of it.
        is_at_work = thread.is_alive() or not thread._started.is_set()  # type: ignore[attr-defined]  # not in the stub
    else:
        is_at_work = look_at(thread, frame).state is State.WORKING
    if not is_at_work or waited > LONGEST or runs_a_loop(thread):
        _waited[thread] = None
        return False
    _waited[thread] = waited
    return True
