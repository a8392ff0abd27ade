"""The runs that differ from the plain one by one deviation, by two, and so on.

Owns this tree, level by level, and which of its runs need not be made: where two runs have come to the same state by
the time they are asked the same question, what follows one follows the other. Runs nothing.

A level is kept only while it is small enough to be gone through, so that memory does not grow with runs times
questions.
"""

from __future__ import annotations

from collections.abc import Callable

from virtualloop._core.lateness import HELD, ordinary_answers
from virtualloop._exploration.outcome import Outcome
from virtualloop.schedules._choice import Choice

__all__ = ["Branch", "Tree"]


#: The deviations of a run, each with the number of its question. All other answers are 0.
Branch = tuple[tuple[int, Choice], ...]


class Tree:
    """The runs of one level that are left, and those of the next one.

    `kinds` are the kinds of question that are answered otherwise, all if None.
    """

    def __init__(self, *, most: int, kinds: frozenset[str] | None = None) -> None:
        #: How many runs a level may have.
        self.most = most
        self._kinds = kinds
        #: How many deviations the runs have that are left, and these runs.
        self.level = 0
        self.left: list[Branch] = []
        # Those of the next level; None if they are too many.
        self._next: list[Branch] | None = []
        # What was answered in which state.
        self._seen: set[tuple[int, int]] = set()

    def grow(self, outcome: Outcome, start: Branch = ()) -> None:
        """Leave the run that a branch came to at each question behind its last deviation, for each other answer."""
        branches = self._next
        if branches is None:
            return
        choices = outcome.choices
        begin = start[-1][0] + 1 if start else 0
        for position in range(begin, len(choices)):
            _, n, kind = choices[position]
            if self._kinds is not None and kind not in self._kinds:
                continue
            for answer in range(1, ordinary_answers(n, kind)):
                if outcome.states:
                    key = (outcome.states[position], answer)
                    if key in self._seen:
                        continue
                    self._seen.add(key)
                branches.append((*start, (position, Choice(answer, n, kind))))
            if len(branches) > self.most:
                self._next = None
                return

    def descend(self, order: Callable[[Branch], object] | None = None) -> bool:
        """Go on to the runs with one deviation more, in this order; return False if they are too many."""
        if self._next is None:
            return False
        self.left = self._next if order is None else sorted(self._next, key=order)  # type: ignore[arg-type]  # any key
        self.left.reverse()
        self._next = []
        self.level += 1
        return True

    def sample(self, outcome: Outcome, most: int) -> None:
        """Go on to some of the runs that deviate once, at most so many, where there are too many of them."""
        asked = [(place, each) for place, each in enumerate(outcome.choices) if ordinary_answers(each.n, each.kind) > 1]
        step = max(len(asked) / most, 1)
        chosen = [asked[int(k * step)] for k in range(int(len(asked) / step))]
        self.left = [
            ((place, each._replace(answer=HELD if each.kind == "hold" else 1)),) for place, each in reversed(chosen)
        ]
        self._next = None
        self.level = 1

    def stop_growing(self) -> None:
        """Keep no next level, and so nothing of what the runs of this one are asked."""
        self._next = None

    @property
    def grows(self) -> bool:
        """Whether the next level is not too large by now; else what a run was asked need not be kept."""
        return self._next is not None

    def take(self) -> Branch:
        """Take out the next run of this level."""
        return self.left.pop()
