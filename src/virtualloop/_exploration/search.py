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

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass

from virtualloop._core.lateness import HELD, ordinary_answers
from virtualloop._exploration.late import LateReplies, LateRun
from virtualloop._exploration.levels import Level
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.replies import Reply
from virtualloop._exploration.tree import Branch, Tree
from virtualloop.schedules._choice import PLAIN, Choice, Schedule
from virtualloop.schedules._random import FewDeviations, Random, TimingOnly
from virtualloop.schedules._replay import Deviating

__all__ = ["SEEDS_APART", "Plan", "Search", "next_round"]

#: Random runs before an exhaustive search is thought of: most races are found within them.
FIRST_RUNS = 32
#: Runs in a round: enough to keep the processes of a large machine busy.
ROUND = 256
#: What part of the remaining budget a level of the tree may take, to be seen through.
LARGEST_LEVEL = 0.5
#: Runs that deviate once are put into the order of their likelihood where there are at most so many.
MOST_SINGLES = 20_000
#: A level of so few runs is gone through without anything random before it.
SMALL_LEVEL = 16
#: Each so many random runs, one varies only how long things take, and one has few deviations, up to so many.
TIMING_EACH = 8
FEW_EACH = 6
MOST_OF_FEW = 4
#: Each so many runs, a reply comes after its timeout, or two do.
LATE_EACH = 4
#: Tasks are cancelled as often in one run at most, where once is swept.
MOST_CANCELLED = 2
#: How many seeds are left between two explorations with neighbouring seeds: more than anyone will run.
SEEDS_APART = 1_000_000


@dataclass(unsafe_hash=True)  # not frozen, as Outcome
class Plan:
    """One run to be made, small enough to be sent to another process."""

    order: Level
    #: What its random answers are drawn from, if any are.
    seed: int | None = None
    #: Or in which answers it deviates, and whether what it is asked, and in which state, has to be kept.
    branch: Branch | None = None
    grows: bool = False
    #: Or how many deviations it has, among how many questions.
    few: tuple[int, int] | None = None
    #: Whether nothing varies but how long things take.
    punctual: bool = False
    #: Besides, in which of how many places a task is cancelled: one is drawn.
    cancels: int = 0
    #: What comes after its timeout, if anything does.
    late: LateRun | None = None

    def make(self) -> Schedule:
        """Return the schedule of this run."""
        if self.branch is not None:
            return Deviating(self.branch, PLAIN if self.seed is None else Random(self.seed))
        assert self.seed is not None
        if self.few is not None:
            count, among = self.few
            return FewDeviations(self.seed, count=count, among=among)
        schedule: Schedule = Random(self.seed)
        if self.punctual:
            schedule = TimingOnly(schedule)
        if self.cancels:
            return FewDeviations(self.seed, count=1, among=self.cancels, kind="cancel", others=schedule)
        return schedule


class Search:
    """The plan of one exploration."""

    def __init__(self, *, runs: int, seed: int, order: Level | None) -> None:
        self._left = runs
        self._seed = seed
        #: At which order all runs are made.
        self.order: Level = order or "io"
        self._number = 0
        #: What may come later than a timeout that waited for it, as the plain run was seen.
        self.replies: list[Reply] = []
        #: Which of its questions are about events that come in when a task is cancelled, or almost is.
        self.near_cancellations: Collection[int] = ()
        #: Those that the program needs in time.
        self.needed: set[Reply] = set()
        # What the plain run asked; and how many runs of each kind were planned.
        self._plain: Sequence[Choice] = ()
        self._turn = 0
        self._late: LateReplies | None = None
        self._questions = 0
        #: In how many places a task can be cancelled.
        self.cancels = 0
        #: Whether anything came from outside in the plain run: a timer, a delivery, a thread's result.
        self.has_events = False
        #: Whether nothing varies at this order, and nothing could.
        self.nothing_varies = False
        #: Whether all runs have been made that there are, with so many deviations at most: with any number if None.
        self.exhausted = False
        self.bound: int | None = None

    def fits(self, plain: Outcome) -> bool:
        """Return whether all runs that deviate once are few enough to be made, of a program with this plain run."""
        singles = sum(ordinary_answers(n, kind) - 1 for _, n, kind in plain.choices)
        return singles <= self._left * LARGEST_LEVEL

    def rounds(self) -> Generator[list[Plan], list[Outcome], None]:
        """Give out rounds of plans; each is answered by what was seen in its runs, in the same order."""
        (plain,) = yield [Plan(self.order, branch=(), grows=True)]
        self._left -= 1
        self._plain = plain.choices
        self._questions = sum(ordinary_answers(n, kind) > 1 for _, n, kind in plain.choices)
        self.cancels = sum(choice.kind == "cancel" for choice in plain.choices)
        self.nothing_varies = not self._questions and not self.has_events
        tree = Tree(most=MOST_SINGLES)
        tree.grow(plain)
        if self.cancels:
            yield from self._sweep_cancellations(plain)
        if not tree.descend(self._likeliest_first):
            tree.sample(plain, self._left)
        tree.most = int(self._left * LARGEST_LEVEL)
        if len(tree.left) > tree.most:
            tree.stop_growing()  # Nobody will come to the next level.
        if len(tree.left) > SMALL_LEVEL:
            yield from self._explore_by_turns(tree, FIRST_RUNS)
        while self._left and tree.left and len(tree.left) <= self._left * LARGEST_LEVEL:
            yield from self._explore_by_turns(tree, None)
            self.exhausted, self.bound = True, tree.level
            if not tree.descend():
                tree = Tree(most=0)
                break
        else:
            if not tree.left:
                self.exhausted, self.bound = True, None
                yield from self._explore_late_replies()
                return
        while self._left:
            yield from self._explore_by_turns(tree, ROUND)

    def _explore_by_turns(self, tree: Tree, runs: int | None) -> Generator[list[Plan], list[Outcome], None]:
        """Make runs that deviate once, random ones and ones with late replies, by turns.

        Without a number, all that are left of this level, and late replies.
        """
        while self._left and (runs is None or runs > 0) and (tree.left or runs is not None):
            plans: list[Plan] = []
            branches: list[Branch | None] = []
            while len(plans) < min(ROUND, self._left, ROUND if runs is None else runs):
                branch = None
                self._turn += 1
                if self._turn % LATE_EACH == 0 and self._late_replies():
                    plans.append(self._late_plan())
                elif tree.left and (runs is None or self._turn % 2):
                    branch = tree.take()
                    plans.append(Plan(self.order, branch=branch, grows=tree.grows))
                elif runs is None:
                    break
                else:
                    plans.append(self._random_plan())
                branches.append(branch)
            self._left -= len(plans)
            runs = None if runs is None else runs - len(plans)
            outcomes = yield plans
            self._learn(plans, outcomes)
            for branch, outcome in zip(branches, outcomes, strict=True):
                if branch is not None:
                    tree.grow(outcome, branch)

    def _explore_late_replies(self) -> Generator[list[Plan], list[Outcome], None]:
        """Nothing else is left to be tried: let each reply be late in each of the usual ways."""
        late = self._late_replies()
        while self._left and (count := late.left()):
            plans = [self._late_plan() for _ in range(min(count, self._left, ROUND))]
            self._left -= len(plans)
            self._learn(plans, (yield plans))

    def _late_plan(self) -> Plan:
        late = self._late_replies().take()
        return Plan(self.order, late.seed, branch=late.branch, late=late)

    def _late_replies(self) -> LateReplies:
        if self._late is None:
            seed = self._seed * SEEDS_APART
            self._late = LateReplies(self.replies, self._plain, needed=self.needed, seed=seed)
        return self._late

    def _learn(self, plans: list[Plan], outcomes: list[Outcome]) -> None:
        """Take note of replies that only a late one brought about."""
        for plan, outcome in zip(plans, outcomes, strict=True):
            if plan.late is not None:
                self._late_replies().learn(plan.late, outcome)

    def _sweep_cancellations(self, plain: Outcome) -> Generator[list[Plan], list[Outcome], None]:
        """Cancel once, in each place where that is possible, then twice, as far as half of the budget goes."""
        tree = Tree(most=int(self._left * LARGEST_LEVEL), kinds=frozenset({"cancel"}))
        tree.grow(plain)
        for _ in range(MOST_CANCELLED):
            if tree.descend():
                yield from self._explore_by_turns(tree, None)

    def _likeliest_first(self, branch: Branch) -> tuple[int, int, int]:
        """Return what to sort runs by that deviate once: late by much, by turns near a cancellation, elsewhere."""
        ((position, (answer, _, kind)),) = branch
        if kind == "late" or (kind == "hold" and answer == HELD):
            return 0, position not in self.near_cancellations, position
        return 1 + (position not in self.near_cancellations), answer, position

    def _random_plan(self) -> Plan:
        self._number += 1
        number, seed = self._number, self._seed * SEEDS_APART + self._number
        if number % FEW_EACH == 0 and not self.cancels:
            return Plan(self.order, seed, few=(1 + number // FEW_EACH % MOST_OF_FEW, self._questions))
        return Plan(self.order, seed, punctual=number % TIMING_EACH == 0, cancels=self.cancels)


def next_round(rounds: Generator[list[Plan], list[Outcome], None], seen: list[Outcome]) -> list[Plan] | None:
    """Return the round that follows what was seen in the one before, or None where the search is over."""
    try:
        return rounds.send(seen)
    except StopIteration:
        return None
