"""A failure is made small, and labelled with the tightest level that still brings it about.

Owns these steps and how much they may cost. How a list of answers is made simpler is the business of `shrink`.

Each step makes runs of its own, with the answers of the run before as a start, and goes on only with what fails in the
same way: the same type of exception, raised at the same place. What it costs is counted in steps of the program, not in
time, so the result is the same everywhere, in an executor as well. Ctrl-C, and what else a signal's handler raises,
ends it with the failure as small as it is.
"""

from __future__ import annotations

import concurrent.futures
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

from virtualloop._core.lateness import HELD
from virtualloop._exploration.again import AsFarAsItFits
from virtualloop._exploration.control import controlled
from virtualloop._exploration.levels import LEVELS, Level, level_of, tighter_than
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.program import Program
from virtualloop._exploration.progress import Progress
from virtualloop._exploration.run import is_verdict
from virtualloop._exploration.search import Plan, Search, next_round
from virtualloop._exploration.shrink import deviations, shrink
from virtualloop._exploration.verdict import is_fault
from virtualloop.schedules._choice import Schedule
from virtualloop.schedules._replay import LenientReplay

__all__ = ["Reduction", "again"]

#: What making a failure small may cost, in steps of the program: a few seconds' worth. And what a run costs besides.
MOST_STEPS = 1_000_000
RUN = 200
#: Runs to look for the same failure at each tighter level.
LABEL_RUNS = 200
#: Events that are late one by one, to see whether that brings it about as well.
LATE_EVENTS = 32
#: Runs that an executor makes ahead of the one that is looked at.
AHEAD = 16


def again(program: Program, outcome: Outcome, answers: Sequence[int], order: Level) -> Outcome | None:
    """Run with these answers; return the run if it failed in the same way."""
    made, _ = _attempt(program, outcome, LenientReplay(answers), order)
    return made


class Reduction:
    """A failure on its way to a small one."""

    def __init__(
        self,
        program: Program,
        outcome: Outcome,
        *,
        progress: Progress,
        executor: concurrent.futures.Executor | None = None,
    ) -> None:
        self._program = program
        #: The smallest and tightest run by now.
        self.best = outcome
        self._progress = progress
        self._executor = executor
        #: A run that fails in the same way by a late event, where the best one does by what callbacks take.
        self.likewise: Outcome | None = None
        self._order = outcome.order
        self._left = MOST_STEPS
        self._first = len(deviations(outcome.answers))

    def reduce(self, seed: int) -> Outcome:
        """Return the failure as small as it could be made, at the tightest level."""
        try:
            self._tighten()
            self._shrink()
            looser = self.best
            for level in tighter_than(looser.level):
                if self._find_at(level, seed):
                    self._shrink()
                    self.likewise = looser if (level, looser.level) == ("timing", "io") else None
                    break
            self._tighten()
            if self.likewise is None and self.best.level == "timing" and self._order in ("io", "tasks"):
                self._find_late_event()
        except BaseException as exc:
            if is_verdict(exc):
                raise
        finally:
            self._progress.clear()
        return self.best

    def _tighten(self) -> None:
        """Go on at the tightest order at which it fails without what only looser ones ask."""
        for order in tighter_than(self.best.order):
            too_loose = LEVELS[LEVELS.index(order) + 1 :]
            kept = [choice for choice in self.best.choices if level_of([choice.kind]) not in too_loose]
            # A tighter order may ask what a looser one need not.
            tight, _ = _attempt(self._program, self.best, AsFarAsItFits(kept), order)
            if tight is not None:
                self.best = tight
                return

    def _shrink(self) -> None:
        made: dict[tuple[int, ...], Outcome] = {}

        def attempts(candidates: Iterator[list[int]]) -> Iterator[Sequence[int] | None]:
            for outcome in self._made(candidates):
                if outcome is None:
                    yield None
                else:
                    answers = outcome.answers
                    made[tuple(answers)] = outcome
                    yield answers

        def groups() -> list[list[int]]:
            by_kind: defaultdict[str, list[int]] = defaultdict(list)
            for position, choice in enumerate(self.best.choices):
                if choice.answer:
                    by_kind[choice.kind].append(position)
            return list(by_kind.values())

        for answers in shrink(self.best.answers, attempts, groups):
            self.best = made[tuple(answers)]
            made.clear()
            self._progress.show_shrinking(self._first, len(deviations(answers)))

    def _made(self, candidates: Iterator[list[int]]) -> Iterator[Outcome | None]:
        """Make runs, as far as they may cost; give those that fail in the same way, in the order of the candidates."""
        best = self.best
        if self._executor is None:
            for answers in candidates:
                if self._left <= 0:
                    return
                yield self._paid(*_attempt(self._program, best, LenientReplay(answers), best.order))
            return
        pending: deque[concurrent.futures.Future[tuple[Outcome | None, int]]] = deque()
        try:
            while self._left > 0:
                for answers in candidates:
                    pending.append(self._executor.submit(_attempt_elsewhere, self._program, best.portable(), answers))
                    if len(pending) == AHEAD:
                        break
                if not pending:
                    return
                yield self._paid(*pending.popleft().result())
        finally:
            for future in pending:
                future.cancel()

    def _paid(self, outcome: Outcome | None, steps: int) -> Outcome | None:
        self._left -= RUN + steps
        return outcome

    def _find_late_event(self) -> None:
        """Look whether one event that is late brings the failure about as well."""
        plain = self._program.run(LenientReplay([]), "io")
        holds = [position for position, choice in enumerate(plain.choices) if choice.kind == "hold"]
        for position in holds[:LATE_EVENTS]:
            if self._left > 0 and self.likewise is None:
                late = LenientReplay([0] * position + [HELD])
                self.likewise = self._paid(*_attempt(self._program, self.best, late, "io"))

    def _find_at(self, level: Level, seed: int) -> bool:
        """Look for the same failure at a tighter level; return whether it was found."""
        rounds = Search(runs=LABEL_RUNS, seed=seed, order=level).rounds()
        plans: list[Plan] | None = next(rounds)
        while plans is not None:
            seen = []
            for plan in plans:
                if self._left <= 0:
                    return False
                made = self._program.make(plan)
                self._paid(made, made.steps)
                if made.fails_like(self.best):
                    kept = self._program.run(plan.make(), plan.order)
                    if not kept.fails_like(self.best):  # The order of a set was another one.
                        return False
                    self.best = kept
                    return True
                seen.append(made)
            plans = next_round(rounds, seen)
        return False


def _attempt(program: Program, outcome: Outcome, schedule: Schedule, order: Level) -> tuple[Outcome | None, int]:
    """Run with this schedule; return the run if it failed in the same way, and how many steps it made."""
    made = program.run(schedule, order)
    same = made.fails_like(outcome) and (program.strict or is_fault(program, made))
    return made if same else None, made.steps


def _attempt_elsewhere(program: Program, best: Outcome, answers: Sequence[int]) -> tuple[Outcome | None, int]:
    with controlled(patched=program.is_patched):
        made, steps = _attempt(program, best, LenientReplay(answers), best.order)
    return None if made is None else made.portable(), steps
