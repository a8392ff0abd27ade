"""Who is told when a socket may be read or written.

Owns the callback that waits for one direction of one socket, and the event that tells it. Knows nothing of sockets.

To be told is an event from outside, like a timer that is due: it is registered with the loop's timers for the present
instant, comes in at the start of the next turn, as from select(), and at the orders "io" and "tasks" may be held. It
says no more than "look", so nothing that is late or held can change the order of what there is to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from virtualloop._handles import Handle

if TYPE_CHECKING:
    from virtualloop._loop import VirtualLoop

__all__ = ["NOWHERE", "Watch"]

#: The context of what happens between machines, and not on one.
NOWHERE = Context()


class Watch(Handle):
    """Waits until `ready()`, and then has the callback in `handle` run, in each turn for as long as that is so.

    It is a handle itself, the one that the loop runs to tell it; there is one event at most on its way.
    """

    __slots__ = ("_pending", "_ready", "_scheduled", "handle")

    def __init__(self, loop: VirtualLoop, ready: Callable[[], bool]) -> None:
        self._callback = self._look
        self._args = ()
        self._context = NOWHERE
        self._loop = loop
        self._ready = ready
        self._pending = False
        self.handle: asyncio.Handle | None = None

    def set(self, handle: asyncio.Handle) -> None:
        """Have `handle` run when ready, in place of the one before."""
        previous = self.handle
        self.handle = handle
        if previous is not None:
            previous.cancel()
        elif not self._pending and self._ready():
            self._arm()

    def unset(self) -> bool:
        """Have nothing run any more; return whether something would have."""
        handle = self.handle
        if handle is None:
            return False
        self.handle = None
        handle.cancel()
        return True

    def notify(self) -> None:
        """It may be ready now."""
        if self.handle is not None and not self._pending and self._ready():
            self._arm()

    def close(self) -> None:
        """Never run anything again."""
        self.unset()
        self.cancel()

    def _arm(self) -> None:
        self._pending = True
        loop: Any = self._loop
        # Like a timer that is set, it says that the loop works, and does not poll.
        loop._set_ahead += 1
        if loop._recorder is not None:
            self._scheduled = (loop._recorder.now, loop._clock.tick)
        loop._timers.add(loop._clock.tick, self)

    def _look(self) -> None:
        self._pending = False
        handle = self.handle
        if handle is None or not self._ready():
            return
        if handle.cancelled():
            self.handle = None
            return
        if type(handle) is Handle:
            # What handle._run() does, with one call less.
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._loop._failed(exc, handle)
        else:
            handle._run()
        if not self._pending:
            self.notify()
