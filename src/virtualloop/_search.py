"""Which schedules are tried, and in which order.

Owns the plan of an exploration; runs nothing and knows nothing of asyncio.

The plan is made in rounds. What a round holds depends only on what was found in the rounds before it, never on what its
own runs find, so that a round may be run in any order and on many machines and the exploration stays the same.

First comes the plain run: every answer 0. It tells what the program asks, and so how large the search is. Then random
runs, because they find most races within ten: with rates drawn per run, and every few runs with exactly one to four
deviations, which find what a crowd of them would hide. Where all runs that deviate once are as few as half of what is
left of the budget, these are all tried, then all that deviate twice, as far as whole levels go; a program with few
questions is seen through in this way.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

from virtualloop.schedules import Choice, Exhaustive, Few, Punctual, Random, Replay, Schedule

__all__ = ["LEVELS", "SEEDS_APART", "Level", "Plan", "Search", "Seen", "level_of", "next_round", "tighter_than"]

Level = Literal["fifo", "timing", "io", "tasks"]
LEVELS: tuple[Level, ...] = ("fifo", "timing", "io", "tasks")

#: The level that a deviation of each kind belongs to. All others are not a matter of order.
_LEVEL_OF_KIND: dict[str, Level] = {"late": "timing", "hold": "io", "release": "io", "task": "tasks"}

#: Random runs before an exhaustive search is thought of: most races are found within them.
FIRST_RUNS = 32
#: Runs in a round: enough to keep the processes of a large machine busy.
ROUND = 256
#: What part of the remaining budget a level of the tree may take, to be seen through.
LARGEST_LEVEL = 0.5
#: Each so many random runs, one varies only how long things take, and one has few deviations, up to so many.
TIMING_EACH = 8
FEW_EACH = 6
MOST_OF_FEW = 4
#: How many seeds are left between two explorations with neighbouring seeds: more than anyone will run.
SEEDS_APART = 1_000_000


def level_of(kinds: Iterable[str]) -> Level:
    """Return the tightest level at which deviations of these kinds can happen."""
    return LEVELS[max((LEVELS.index(_LEVEL_OF_KIND.get(kind, "fifo")) for kind in kinds), default=0)]


def tighter_than(level: Level) -> tuple[Level, ...]:
    """Return the levels that leave less open, the tightest first."""
    return LEVELS[: LEVELS.index(level)]


@dataclass(frozen=True)
class Plan:
    """One run to be made, small enough to be sent to another process."""

    order: Level
    #: What its random answers are drawn from.
    seed: int = 0
    #: Or how it starts, all other answers being 0. Only of such a run it matters what it asked.
    start: tuple[Choice, ...] | None = None
    #: Or how many deviations it has, among how many questions.
    few: tuple[int, int] | None = None
    #: Whether nothing varies but how long things take.
    punctual: bool = False
    #: Besides, in which of how many places a task is cancelled: one is drawn.
    cancels: int = 0

    def make(self) -> Schedule:
        """Return the schedule of this run."""
        if self.start is not None:
            return Replay(self.start)
        if self.few is not None:
            count, among = self.few
            return Few(self.seed, count=count, among=among)
        schedule: Schedule = Random(self.seed)
        if self.punctual:
            schedule = Punctual(schedule)
        if self.cancels:
            return Few(self.seed, count=1, among=self.cancels, kind="cancel", others=schedule)
        return schedule


class Seen(NamedTuple):
    """What a run tells the search: a digest of its answers, and what it was asked, if its plan had a start."""

    digest: bytes
    choices: list[Choice]


class Search:
    """The plan of one exploration."""

    def __init__(self, *, runs: int, seed: int, order: Level | None) -> None:
        self._left = runs
        self._seed = seed
        self._order: Level = order or "io"
        self._number = 0
        # What the plain run asked.
        self._questions = 0
        #: In how many places a task can be cancelled.
        self.cancels = 0
        #: Whether nothing varies at this order.
        self.nothing_varies = False
        #: Whether all runs have been made that there are, with so many deviations at most: with any number if None.
        self.exhausted = False
        self.bound: int | None = None

    def rounds(self) -> Generator[list[Plan], list[Seen], None]:
        """Give out rounds of plans; each is answered by what was seen in its runs, in the same order."""
        tree = Exhaustive()
        (plain,) = yield from self._explore_level(tree)
        self._questions = len(plain.choices)
        self.cancels = sum(choice.kind == "cancel" for choice in plain.choices)
        self.nothing_varies = not self._questions
        small = prod(choice.n for choice in plain.choices) <= FIRST_RUNS
        if self.cancels:
            yield from self._sweep_cancellations(plain)
        if not small:
            yield from self._explore_randomly(FIRST_RUNS)
        while self._left:
            tree.descend()
            if not tree.left:
                self.exhausted, self.bound = True, None
                return
            if tree.left > self._left * LARGEST_LEVEL:
                break
            yield from self._explore_level(tree)
            self.exhausted, self.bound = True, tree.level
        while self._left:
            yield from self._explore_randomly(ROUND)

    def _explore_level(self, tree: Exhaustive) -> Generator[list[Plan], list[Seen], list[Seen]]:
        """Make all runs of this level of the tree."""
        everything: list[Seen] = []
        while tree.left and self._left:
            taken = [tree.take() for _ in range(min(ROUND, tree.left, self._left))]
            self._left -= len(taken)
            seen = yield [Plan(self._order, start=tuple(start)) for start, _ in taken]
            for (_, choices), each in zip(taken, seen, strict=True):
                choices.extend(each.choices)
            everything += seen
        return everything

    def _sweep_cancellations(self, plain: Seen) -> Generator[list[Plan], list[Seen], None]:
        """Cancel once, in each place where that is possible, as far as half of the budget goes."""
        tree = Exhaustive(deviations=1, kinds={"cancel"})
        _, choices = tree.take()
        choices += plain.choices
        tree.descend()
        if tree.left <= self._left * LARGEST_LEVEL:
            yield from self._explore_level(tree)

    def _explore_randomly(self, runs: int) -> Generator[list[Plan], list[Seen], None]:
        count = min(runs, self._left)
        self._left -= count
        yield [self._random_plan() for _ in range(count)]

    def _random_plan(self) -> Plan:
        self._number += 1
        number, seed = self._number, self._seed * SEEDS_APART + self._number
        if number % FEW_EACH == 0 and not self.cancels:
            return Plan(self._order, seed, few=(1 + number // FEW_EACH % MOST_OF_FEW, self._questions))
        return Plan(self._order, seed, punctual=number % TIMING_EACH == 0, cancels=self.cancels)


def next_round(rounds: Generator[list[Plan], list[Seen], None], seen: list[Seen]) -> list[Plan] | None:
    """Return the round that follows what was seen in the one before, or None where the search is over."""
    try:
        return rounds.send(seen)
    except StopIteration:
        return None
