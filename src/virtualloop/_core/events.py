"""What arrives from outside of the loop: a delivery, a thread's result, a descriptor that can be read.

Owns this one kind of thing; knows no queue and no asyncio. It has the shape of a handle (see `entries`), so that it can
stand in the queue, and it is no timer: nobody in the program has set it, and nobody can cancel it by a handle.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import Any

from virtualloop._core.timers import Timers

__all__ = ["ExternalEvent"]


class ExternalEvent:
    """Runs `callback()` in `context` when it arrives; it may be posted again once it has.

    `kind` says what it is, in a word, for people. `timers` are those that it waits among.
    """

    __slots__ = ("_args", "_callback", "_context", "_scheduled", "_timers", "kind")

    def __init__(self, callback: Callable[[], object], kind: str, context: Context, timers: Timers) -> None:
        self._callback: Callable[[], object] | None = callback
        self._args: tuple[Any, ...] = ()
        self._timers = timers
        self._context = context
        #: The step that caused it and the tick it was posted for, where the run is recorded.
        self._scheduled: tuple[int | None, int, int] | int | None = None
        self.kind = kind

    def cancel(self) -> None:
        """Call it off; cancelling twice is fine."""
        if self._callback is not None:
            self._callback = None
            self._timers.count_cancelled()
