"""Callbacks with a deadline, which somebody may cancel.

Owns asyncio's handle of a timer, made cheaply as `_stock.handles` says of the other kind, and how its loop hears that
it was cancelled.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any

__all__ = ["TimerHandle"]


class TimerHandle(asyncio.TimerHandle):
    """A timer. It is cancelled if it holds no callback any more."""

    __slots__ = ()
    _callback: Any
    _args: Any
    _context: Context
    _loop: Any
    _when: float
    #: Its number among timers, and where the run is recorded, who set it for when.
    _scheduled: Any
    # As in the other kind.
    _repr = None
    _source_traceback = None

    if TYPE_CHECKING:

        def __init__(self) -> None: ...
    else:
        __init__ = object.__init__

    @property
    def _cancelled(self) -> bool:  # type: ignore[override]  # as above
        return self._callback is None

    def cancel(self) -> None:
        """Cancel the timer; cancelling twice is fine."""
        if self._callback is not None:
            self._callback = None
            self._args = None
            loop = self._loop
            if loop._checked:
                self._loop._timer_handle_cancelled(self)
            elif self._when > loop._clock.seconds:  # what follows is that method, in line
                timers = loop._timers
                timers.cancelled += 1
                if timers.cancelled > timers.sweep_above:
                    timers.sweep_if_worth_it()

    # Two timers are equal if they are the same; asyncio's comparison of all they hold is for its heap.

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__
