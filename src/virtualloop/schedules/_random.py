"""Schedules drawn from a seed.

Owns the drawing: this is the only module of the package that draws random numbers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import log, log1p
from sys import float_info

from virtualloop._core.lateness import HELD, MOST_TURNS, ordinary_answers
from virtualloop.schedules._choice import PLAIN, Schedule

__all__ = ["FewDeviations", "Random", "TimingOnly", "entropy", "random_delay"]

#: How often an event is held, drawn once per run between these two. Bugs differ in the rate that finds them fastest,
#: so no single rate wins.
HOLD_RATES = (0.2, 0.7)

#: How many of those that are held are late by a few turns only, drawn once per run between these two. Single deviations
#: try that one after the other; by chance, what is late by much finds more.
TURNS_RATES = (0.0, 0.5)

#: How often one of those that are held follows another event that comes in, drawn once per run between these two. The
#: lower the rate, the later they are.
RELEASE_RATES = (0.05, 0.7)

#: How often the clock passes one more deadline, drawn once per run between these two. It is asked at each turn of the
#: loop, so at a higher rate each busy period would end as late as it may; at a lower one few runs are late at all.
LATE_RATES = (0.1, 0.6)

#: How often the clock passes yet another deadline when it has just passed one: whatever took so long may have taken
#: longer, and what a program does after 30 ms may need ten deadlines to have passed, not one.
LATER_RATES = (0.3, 0.95)

#: How often it passes one in the middle of a turn, between two callbacks, drawn once per run between these two; and how
#: often one of several timers that are due at once was set a moment later than it seems.
SLOW_RATES = (0.0, 0.2)
APART_RATES = (0.1, 0.6)

#: How often another task than the oldest runs, one of these per run. Half of the runs reorder no task, because most
#: races need late events and order in the queue, and reordering everything else drowns them.
TASK_RATES = (0.0, 0.0, 0.2, 0.7)

#: Among more tasks than this, the rate falls in proportion. A few out of their order find what there is to find, and to
#: resume thousands all over the place costs more in cache misses than everything else together.
CROWD = 16

#: A reply that comes after its timeout does so within this many ticks, most of the time; else within as long again.
DELAY = 50_000
SHORT_DELAYS = 0.7

#: What the network asks about; see above.
NETWORK_KINDS = frozenset({"latency", "loss", "duplicate", "reorder", "fragment", "cut", "coalesce", "reset"})


# Where a schedule keeps that it has deviated, by the kind of the question. To add to a set would cost each a tenth, and
# so does to set what the class has as well.
_SIGNS = {
    "task": "_has_moved",
    "hold": "_has_held",
    "release": "_has_released",
    "late": "_has_passed",
    "slow": "_has_slowed",
    "apart": "_has_parted",
}


class Random:
    """A schedule drawn from a seed: the same seed gives the same answers, in every process and on every machine.

    `seed` is an integer, or a random.Random that all answers are drawn from; hypothesis has one that it can shrink,
    `st.randoms(use_true_random=False)`. With an integer, each kind of question has a stream of its own, so one more
    draw of the test's own choices, say, does not shift the order of events. Small draws are small answers.

    Example:

        loop = VirtualLoop(schedule=Random(7))      # what VirtualLoop(seed=7) does
    """

    # What all have in common at first stands here, and not in __init__, where it would cost each loop with a seed.
    _was_late = False
    # None until the rates are drawn.
    _task_rate: float | None = None
    # In a crowd: questions to be answered with 0 before the next draw.
    _skip = 0
    # Only order "timing" asks for these: how many callbacks are fast enough before one is not; and the rates.
    _fast = 0.0
    _slow_rate = _apart_rate = -1.0
    _user: random.Random | None = None
    _network: random.Random | None = None
    # Of which other kinds any answer was another one than 0.
    _others: frozenset[str] = frozenset()

    def __init__(self, seed: int | random.Random) -> None:
        if type(seed) is not int and (isinstance(seed, bool) or not isinstance(seed, int | random.Random)):
            raise TypeError(f"seed must be an integer or a random.Random, not {seed!r}")
        self.seed = seed

    @property
    def keeps_task_order(self) -> bool:
        """Whether this schedule answers 0 to every question of kind "task", so that nobody need ask."""
        if self._task_rate is None:
            self._draw_rates()
        return not self._task_rate

    @property
    def kinds(self) -> set[str]:
        """Of which kinds the answers other than 0 were."""
        return {kind for kind, sign in _SIGNS.items() if getattr(self, sign, False)} | self._others

    def _order(self) -> float:
        """Draw the rates of this run, which takes longer than to make a loop, and then a number: the first time."""
        self._draw_rates()
        return self._order()

    def _draw_rates(self) -> None:
        self._order = draw = self._stream("order").random  # type: ignore[method-assign]  # from now on
        # Python finds faster what each has of its own.
        self._was_late, self._skip, self._fast = False, 0, 0.0
        self._slow_rate, self._apart_rate, self._slow_log = -1.0, -1.0, 0.0
        low, high = TURNS_RATES
        self._turns_rate = low + (high - low) * draw()
        low, high = HOLD_RATES
        self._hold_from = 1 - (low + (high - low) * draw())
        low, high = RELEASE_RATES
        self._release_from = 1 - (low + (high - low) * draw())
        low, high = LATE_RATES
        self._late_from = 1 - (low + (high - low) * draw())
        low, high = LATER_RATES
        self._later_from = 1 - (low + (high - low) * draw())
        self._task_rate = TASK_RATES[int(draw() * len(TASK_RATES))]
        self._task_from = 1 - self._task_rate

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`."""
        if kind == "task":  # first, because it is asked at each step
            rate = self._task_rate
            if not rate:
                return 0 if rate is not None or self.keeps_task_order else self.choose(n, kind)
            if n > CROWD:
                if self._skip:
                    self._skip -= 1
                    return 0
                # How many are passed over until the next change of places, drawn at once.
                self._skip = int(log(self._order() or float_info.min) / log(1 - rate * CROWD / n))
            elif self._order() < self._task_from:
                return 0
            # Any distance is as likely as any other of its magnitude: who is a little late is overtaken by a few,
            # rarely by ten thousand.
            k = int(n ** self._order())
            self._has_moved = True
            return k if k < n else n - 1
        if kind == "hold":
            drawn = self._order()
            start = self._hold_from
            if drawn < start:
                return 0
            self._has_held = True
            # By how many turns, or until it is released.
            share = (drawn - start) / (1 - start)
            late = 1 + int(share / self._turns_rate * MOST_TURNS) if share < self._turns_rate else HELD
            return late if late < n else n - 1
        if kind == "release":
            drawn = self._order()
            start = self._release_from
            if drawn < start:
                return 0
            self._has_released = True
            return min(1 + int((drawn - start) / (1 - start) * (n - 1)), n - 1)
        if kind == "late":
            if self._order() < (self._later_from if self._was_late else self._late_from):
                self._was_late = False
                return 0
            self._was_late = True
            self._has_passed = True
            return 1
        if kind == "slow":
            if self._slow_rate < 0:
                self._draw_moments()
            fast = self._fast
            if fast >= n - 1:
                self._fast = fast - (n - 1)
                return 0
            self._fast = log(self._order() or float_info.min) // self._slow_log
            self._has_slowed = True
            return 1 + int(fast)
        if kind == "apart":
            if self._slow_rate < 0:
                self._draw_moments()
            if self._order() >= self._apart_rate:
                return 0
            self._has_parted = True
            return 1 + int(self._order() * (n - 1))
        if kind in ("cancel", "reply"):
            return 0  # Whoever wants a cancellation says which: at any rate, few runs would have but one.
        if kind in NETWORK_KINDS:
            if self._network is None:
                self._network = self._stream("network")
            answer = int(self._network.random() * n)
        else:
            if self._user is None:
                self._user = self._stream("user")
            answer = int(self._user.random() * n)
        if answer:
            self._others |= {kind}
        return answer

    def _draw_moments(self) -> None:
        low, high = SLOW_RATES
        self._slow_rate = low + (high - low) * self._order()
        low, high = APART_RATES
        self._apart_rate = low + (high - low) * self._order()
        # So many chances, each at this rate, are passed over until one is taken.
        self._slow_log = log1p(-self._slow_rate) or -float_info.min
        self._fast = log(self._order() or float_info.min) // self._slow_log

    def _stream(self, name: str) -> random.Random:
        if isinstance(self.seed, random.Random):
            return self.seed
        # Seeding with a string hashes it by SHA-512, the same everywhere and far apart for neighbouring seeds.
        return random.Random(f"virtualloop {name} {self.seed}")

    def __repr__(self) -> str:
        return f"Random({self.seed!r})"


class FewDeviations:
    """Another schedule, but for `count` deviations among the first so many questions of a kind, or of all kinds."""

    def __init__(
        self, seed: int, *, count: int, among: int, kind: str | None = None, others: Schedule | None = None
    ) -> None:
        self._random = draw = random.Random(f"virtualloop few {seed}")
        self._positions = {int(draw.random() * among) for _ in range(count)}
        self._kind = kind
        self._others = PLAIN if others is None else others
        self._asked = 0

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`."""
        if self._kind is not None and kind != self._kind:
            return self._others.choose(n, kind)
        position = self._asked
        self._asked += 1
        if position not in self._positions:
            return 0 if self._kind is not None else self._others.choose(n, kind)
        n = ordinary_answers(n, kind)
        return min(int(n ** self._random.random()), n - 1)


def random_delay(seed: int, spare: int) -> int:
    """Return how many ticks after its timeout a reply comes that had `spare` ticks left: a moment, or as long again."""
    draw = random.Random(f"virtualloop reply {seed}").random
    return int(draw() * (DELAY if draw() < SHORT_DELAYS else spare))


class TimingOnly:
    """Another schedule, but for what it says of the order: only how long things take is left to it."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`."""
        return 0 if kind in ("hold", "reply", "release", "task") else self._schedule.choose(n, kind)


def entropy(run: str) -> Callable[[int], bytes]:
    """Return what draws the bytes that a run has for the operating system's; `run` says which run, and whose."""
    return random.Random(f"virtualloop entropy {run}").randbytes
