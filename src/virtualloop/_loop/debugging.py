"""Debug mode, where each callback is timed, in real seconds.

Owns this instrument; what else debug mode does is said where it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from virtualloop._loop.handles import handle_of
from virtualloop._stock.handles import describe_handle
from virtualloop._stock.private import logger
from virtualloop._world.originals import real_time

__all__ = ["Stopwatch"]


class Debugged(Protocol):
    """A loop, as far as debug mode times it."""

    slow_callback_duration: float


class Stopwatch:
    """Runs callbacks by their handles, as stock asyncio does, and logs those that take long."""

    def __init__(self, loop: Debugged) -> None:
        self._loop = loop
        #: What runs now: the one that an error is reported with.
        self.handle: Any = None

    def around(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return what runs an entry of the queue and logs it if it takes long; `run` is not needed for it."""
        return self._time

    def _time(self, entry: Any) -> None:
        loop = self._loop
        handle: Any = handle_of(loop, entry)
        if handle._cancelled:
            return
        self.handle = handle
        start = real_time.monotonic()
        try:
            handle._run()
        finally:
            self.handle = None
        duration = real_time.monotonic() - start
        if duration >= loop.slow_callback_duration:
            logger().warning("Executing %s took %.3f seconds", describe_handle(handle), duration)
        # What a task raised holds this frame, which must not hold the task.
        entry = handle = None
