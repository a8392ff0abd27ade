"""A loop whose `time` a test has replaced.

Owns how the clock follows what was put in its place: on a stock loop timers fall due by what `loop.time()` returns, so
whoever replaces it moves the clock, and back as well. Knows no timers.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any

from virtualloop._core.clock import TICKS_PER_SECOND, Clock

__all__ = ["ReplacedTime", "replace_time", "restore_time"]

if TYPE_CHECKING:
    from typing import Protocol

    from virtualloop._core.scheduler import Scheduler

    class Timed(Protocol):
        """A loop, as far as its time may be replaced."""

        _clock: Clock
        _reading: Any
        _replaced: ReplacedTime | None
        _checked: bool

        def _scheduling(self) -> Scheduler: ...
        def _check_anew(self) -> None: ...


class ReplacedTime:
    """A source that brings nothing but the time; see `Scheduler.add_source`."""

    def __init__(self, clock: Clock, own: Callable[[], float], time: Callable[[], float]) -> None:
        self._clock = clock
        #: How the loop reads the clock by itself.
        self.own = own
        self._time = time
        self._before = clock.tick, clock.seconds

    def poll(self) -> None:
        """Set the clock to what the replacement says."""
        seconds = self._time()
        self._clock.tick = round(seconds * TICKS_PER_SECOND)
        self._clock.seconds = seconds

    def end(self) -> None:
        """Set the clock to where it was."""
        self._clock.tick, self._clock.seconds = self._before


def replace_time(loop: Timed, time: Callable[[], float]) -> None:
    """Have a loop's clock follow `time`."""
    restore_time(loop)
    scheduler, cls = loop._scheduling(), type(loop)
    if time in (loop._reading, MethodType(cls._reading, loop)):  # what a patch has found there and puts back
        return
    loop._replaced = ReplacedTime(loop._clock, loop._reading, time)
    loop._reading = time
    scheduler.add_source(loop._replaced)
    loop._check_anew()


def restore_time(loop: Timed) -> None:
    """Have a loop's clock go by itself again."""
    if loop._replaced is not None:
        loop._reading = loop._replaced.own
        loop._scheduling().remove_source(loop._replaced)
        loop._replaced.end()
        loop._replaced = None
        loop._check_anew()
