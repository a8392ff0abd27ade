"""What time it is: whole microseconds inside, seconds outside.

Owns the two representations and the conversions between them; knows nothing of timers, tasks or asyncio.

Floats cannot keep a clock that tests compare with `==`: 0.1 + 0.2 is not 0.3, and ten sleeps of 0.1 end at
0.9999999999999999. So deadlines are rounded to whole ticks once, when they enter, and seconds are computed from ticks
when they leave. One microsecond is what `datetime` keeps too: coarser than the error of a float at today's epoch
(2.4e-7), so deadlines that agree on paper coincide there as well, and finer than any delay a program means.

Python integers do not run out, so a clock that has jumped ten thousand years still moves by one microsecond. Floats do:
what they can hold bounds the lengths of time that can be asked for, and the deadlines that ever come.
"""

from __future__ import annotations

import math
from operator import attrgetter
from reprlib import repr as shortened

__all__ = ["EPOCH", "SECONDS", "TICKS", "TICKS_PER_SECOND", "Clock", "LateClock", "span_in_ticks"]

#: One tick is a microsecond; see above for why neither coarser nor finer.
TICKS_PER_SECOND = 1_000_000
#: The same for the hot path, where floats are multiplied: Python does so faster than with an integer.
TICKS = float(TICKS_PER_SECOND)

#: Where a clock starts unless told otherwise.
EPOCH = 0.0
#: The longest time that can be asked for, and the furthest start, in seconds.
LONGEST = 1e300
#: From here on a deadline never comes, as an infinite one: the clock could not say what time it is much later, and more
#: than LONGEST is left to go on from there.
NEVER = 1e308
#: Up to here, in seconds, a float tells all ticks apart; beyond, whole seconds are counted as integers.
EXACT = 2**53 / TICKS_PER_SECOND
#: Where a deadline of minus infinity stands: before any other.
LONG_AGO = -10 * int(NEVER) * TICKS_PER_SECOND

#: What a clock shows, read in C.
SECONDS = attrgetter("seconds")


def _nearest(seconds: float) -> int:
    """Return the nearest tick."""
    if -EXACT < seconds < EXACT:
        # Halves go up: the loop's hot path does the same in line, as int(ticks + 0.5).
        return math.floor(seconds * TICKS_PER_SECOND + 0.5)
    whole = int(seconds)
    return whole * TICKS_PER_SECOND + math.floor((seconds - whole) * TICKS_PER_SECOND + 0.5)


def span_in_ticks(seconds: float, *, argument: str) -> int:
    """Return a length of time in whole ticks, at least one for anything longer than nothing.

    `argument` names what the caller was given. Raises TypeError for what is no number, ValueError for one that is
    negative, nan, infinite, or longer than a clock can go.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{argument} must be a number of seconds, not {seconds!r}")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{argument} must be finite and not negative, got {shortened(seconds)}")
    if seconds > LONGEST:
        raise ValueError(f"{argument} must be at most {LONGEST:g} seconds, got {shortened(seconds)}")
    return _nearest(seconds) or (1 if seconds > 0 else 0)


def _never(seconds: float, what: str) -> int | None:
    """Return the tick of what never comes: None. Raises ValueError for an integer that no float can hold."""
    try:
        float(seconds)
    except OverflowError:
        raise ValueError(f"{what} must be a number that a float can hold, got {shortened(seconds)}") from None
    return None


def _always(seconds: float, what: str) -> int:
    """Return the tick of what was due before anything else. Raises ValueError as _never() does."""
    _never(seconds, what)
    return LONG_AGO


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
        if not -math.inf < start < math.inf:
            raise ValueError(f"start must be finite, got {start!r}")
        if abs(start) > LONGEST:
            raise ValueError(f"start must be within {LONGEST:g} seconds of 0, got {shortened(start)}")
        self.tick = _nearest(start)
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
        if when > self.seconds:
            return _never(when, "a deadline") if when >= NEVER else max(_nearest(when), self.tick + 1)
        if when != when:
            raise ValueError("a deadline must not be nan")
        return _always(when, "a deadline") if when <= -NEVER else min(_nearest(when), self.tick)

    def tick_after(self, delay: float) -> int | None:
        """Return the tick `delay` seconds from now, or None for one that never comes.

        Any delay above zero is at least one tick; one below zero is due already. Raises ValueError for nan.
        """
        if delay > 0:
            return _never(delay, "a delay") if delay >= NEVER - self.seconds else self.tick + (_nearest(delay) or 1)
        if delay != delay:
            raise ValueError("a delay must not be nan")
        return _always(delay, "a delay") if delay <= -NEVER else self.tick + _nearest(delay)


class LateClock(Clock):
    """A clock that is late by a tick wherever it moves, as every real one is late by something.

    On a real machine a sleep of 0.1 s has taken at least 0.1 s by any clock. Programs rely on it that measure elapsed
    time in floats, whose differences lose more than nothing: a tick is more than they lose, up to today's epoch.
    """

    __slots__ = ()

    def move(self, tick: int) -> None:
        """Go to a tick past `tick`, unless it is not ahead."""
        if tick > self.tick:
            self.tick = tick + 1
            self.seconds = self.tick / TICKS_PER_SECOND
