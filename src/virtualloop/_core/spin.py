"""When so many turns at one instant are a spin, and how fast time creeps meanwhile.

Owns the limits, and how often a spin was looked at; knows no clock, no queue and no asyncio.

On a real machine turns take time, so code that polls sees time pass. Here the clock creeps on when many turns have
passed at one instant: by a microsecond a turn if tasks wake each other or set timers, which is work and not a spin, and
twice as far each time after long polling. Where there is nothing ahead to creep to, so many turns are a livelock.
"""

from __future__ import annotations

__all__ = ["JUMP_LIMIT", "SPIN_LIMIT", "SpinWatch"]

#: Steps at one instant, with nothing but polling, before a spin without a timer ahead is a LivelockError. It takes a
#: third of a second to spin so often; a million steps of real work are no spin, so that is given ten times as many.
SPIN_LIMIT = 1_000_000
#: How many looks at a spin that limit is divided into. At each the clock creeps on, if there is a deadline ahead.
SPIN_LOOKS = 20
#: A look also takes this part of the limit in turns, so that ten thousand tasks, which make many steps in few turns,
#: are not taken for a spin.
SPIN_TURNS = 1000
#: How many times the limit is allowed where tasks wake each other, which polling does not.
WORK_FACTOR = 10


#: How often the clock jumps in a drive before somebody looks whether that leads anywhere, and each time after that:
#: half a second's worth.
JUMP_LIMIT = 100_000


class SpinWatch:
    """Looks at a loop whose clock stands. `limit` is in steps."""

    __slots__ = ("_creep", "_looks", "limit")

    def __init__(self, limit: int = SPIN_LIMIT) -> None:
        self.limit = limit
        # How far the clock creeps, in ticks, and how often it was looked at without finding anything but polling.
        self._creep = 0
        self._looks = 0

    def next_look(self, entries: int) -> int:
        """Return after how many turns, with so many callbacks each, to look whether the loop spins."""
        return max(self.limit // SPIN_TURNS, self.limit // SPIN_LOOKS // max(entries, 1), 1)

    def reset(self) -> None:
        """The clock has moved by itself: that was no spin."""
        self._creep = self._looks = 0

    def creep_after(self, turns: int, *, polling: bool) -> int:
        """Return how many ticks the clock may creep on after so many turns."""
        self._looks = self._looks + 1 if polling else 0
        self._creep = 2 * self._creep if self._looks > SPIN_LOOKS else turns
        return self._creep

    def is_long(self, steps: int) -> bool:
        """Return whether so many steps at one instant are worth a look at who waits for what comes of them."""
        return 2 * steps >= self.limit

    def is_livelock(self, steps: int, *, polling: bool) -> bool:
        """Return whether so many steps at one instant are too many."""
        return steps >= self.limit * (1 if polling else WORK_FACTOR)
