"""What time it is: whole microseconds inside, seconds outside.

Owns the two representations and the conversions between them; knows nothing of timers, tasks or asyncio.

Floats cannot keep a clock that tests compare with `==`: 0.1 + 0.2 is not 0.3, and ten sleeps of 0.1 end at
0.9999999999999999. So deadlines are rounded to whole ticks once, when they enter, and seconds are computed from ticks
when they leave. One microsecond is what `datetime` keeps too: coarser than the error of a float at today's epoch
(2.4e-7), so deadlines that agree on paper coincide there as well, and finer than any delay a program means.

Python integers do not run out, so a clock that has jumped ten thousand years still moves by one microsecond.
"""

from __future__ import annotations

import math
import sys

__all__ = ["EPOCH", "TICKS_PER_SECOND", "Clock", "span_in_ticks"]

#: One tick is a microsecond; see above for why neither coarser nor finer.
TICKS_PER_SECOND = 1_000_000

#: Where a clock starts unless told otherwise.
EPOCH = 0.0
#: Where a deadline of minus infinity stands: before any other.
LONG_AGO = -int(sys.float_info.max)


def _nearest(ticks: float) -> int:
    # Halves go up: the loop's hot path does the same in line, as int(ticks + 0.5).
    return math.floor(ticks + 0.5)


def span_in_ticks(seconds: float, *, argument: str) -> int:
    """Return a length of time in whole ticks, at least one for anything longer than nothing.

    `argument` names what the caller was given. Raises TypeError for what is no number, ValueError for one that is
    negative, nan or infinite.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{argument} must be a number of seconds, not {seconds!r}")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{argument} must be finite and not negative, got {seconds!r}")
    return _nearest(seconds * TICKS_PER_SECOND) or (1 if seconds > 0 else 0)


class Clock:
    """A clock that stands still until it is told where to go.

    `tick` and `seconds` are plain attributes because the loop reads them for every timer; only `move` may write them.
    """

    __slots__ = ("seconds", "tick")

    def __init__(self, start: float = EPOCH) -> None:
        if start is EPOCH:
            self.tick = 0
            self.seconds = EPOCH
            return
        if isinstance(start, bool) or not isinstance(start, int | float):
            raise TypeError(f"start must be a number of seconds, not {start!r}")
        if not math.isfinite(start):
            raise ValueError(f"start must be finite, got {start!r}")
        self.tick = _nearest(start * TICKS_PER_SECOND)
        self.seconds = float(start)

    def move(self, tick: int) -> None:
        """Go to `tick`. A clock never goes back; being told to stay is fine."""
        if tick < self.tick:
            raise ValueError(f"the clock cannot go back from tick {self.tick} to {tick}")
        if tick > self.tick:
            self.tick = tick
            self.seconds = tick / TICKS_PER_SECOND

    def tick_at(self, when: float) -> int | None:
        """Return the tick of an absolute time, or None for one that never comes.

        What lies strictly ahead is at least one tick ahead, so waiting for it always moves the clock.
        Raises ValueError for nan.
        """
        ticks = when * TICKS_PER_SECOND
        if when > self.seconds:
            return None if ticks == math.inf else max(_nearest(ticks), self.tick + 1)
        if when != when:
            raise ValueError("a deadline must not be nan")
        return LONG_AGO if ticks == -math.inf else min(_nearest(ticks), self.tick)

    def tick_after(self, delay: float) -> int | None:
        """Return the tick `delay` seconds from now, or None for one that never comes.

        Any delay above zero is at least one tick; one below zero is due already. Raises ValueError for nan.
        """
        ticks = delay * TICKS_PER_SECOND
        if delay > 0:
            return None if ticks == math.inf else self.tick + (_nearest(ticks) or 1)
        if delay != delay:
            raise ValueError("a delay must not be nan")
        return LONG_AGO if ticks == -math.inf else self.tick + _nearest(ticks)
