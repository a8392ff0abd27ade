"""Every schedule there is, by how much it deviates from the plain one.

Owns their enumeration; knows nothing of how a run is made.

What the runs of a level were asked has to be kept until those that deviate once more have been given out. It is kept as
numbers of questions, four bytes each, and once for all runs that were asked the same.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from virtualloop._core.lateness import ordinary_answers
from virtualloop.schedules._choice import Choice
from virtualloop.schedules._replay import Recording, Replay

__all__ = ["Exhaustive"]


class _Run(NamedTuple):
    """A run of a level: the numbers of its questions, how many were given to it, and which answers are not 0."""

    asked: bytes
    start: int
    deviations: tuple[tuple[int, Choice], ...]


class Exhaustive:
    """Every schedule there is, by how much it deviates: first the plain one, then each single deviation, and so on.

    Iterate over it and run the program once with each schedule that it gives, all at the same order; what one run asked
    tells which others there are. `deviations` is how many answers other than 0 a schedule may have, without bound if it
    is None; `kinds` are the kinds of question that are answered with anything else than 0, all if it is None. When the
    iteration ends, there is no other run within these bounds.

    Example:

        search = Exhaustive(deviations=2)
        for schedule in search:
            with asyncio.Runner(loop_factory=lambda: VirtualLoop(schedule=schedule, order="io")) as runner:
                runner.run(main())
    """

    def __init__(self, *, deviations: int | None = None, kinds: Collection[str] | None = None) -> None:
        if deviations is not None and (isinstance(deviations, bool) or not isinstance(deviations, int)):
            raise TypeError(f"deviations must be an integer or None, not {deviations!r}")
        if deviations is not None and deviations < 0:
            raise ValueError(f"deviations must not be negative, got {deviations}")
        self._bound = deviations
        self._kinds = kinds
        #: How many deviations the schedules have that come now, and how many of these are left.
        self.level: int = 0
        self.left: int = 1
        # The starts of those that are left; the runs of this level, and how many there are in the next.
        self._starts: Iterator[list[Choice]] = iter([[]])
        self._runs: deque[_Run] = deque()
        self._following = 0
        # What the last one is asked, by a run that may not have ended.
        self._last: tuple[list[Choice], int] | None = None
        # Each question as it is answered by 0, and its number; and what runs were asked.
        self._questions: list[Choice] = []
        self._numbers: dict[Choice, int] = {}
        self._asked: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Recording]:
        while (start := self._take()) is not None:
            recording = Recording(Replay(start))
            self._last = recording.choices, len(start)
            yield recording

    def _take(self) -> list[Choice] | None:
        """Return how the next schedule starts, all else being 0; None where none is left."""
        if self._last is not None:
            self._keep(*self._last)
            self._last = None
        if not self.left:
            if not self._following:
                return None
            self._descend()
        self.left -= 1
        return next(self._starts)

    def _keep(self, choices: Sequence[Choice], start: int) -> None:
        """Keep what a run was asked, for those that deviate from it once more."""
        if self._bound is not None and self.level >= self._bound:
            return
        numbers = array("I")
        for choice in choices:
            question = choice._replace(answer=0) if choice.answer else choice
            number = self._numbers.get(question)
            if number is None:
                number = self._numbers[question] = len(self._questions)
                self._questions.append(question)
            numbers.append(number)
        asked = numbers.tobytes()
        deviations = tuple((position, choice) for position, choice in enumerate(choices) if choice.answer)
        self._runs.append(_Run(self._asked.setdefault(asked, asked), start, deviations))
        self._following += sum(
            ordinary_answers(n, kind) - 1
            for _, n, kind in choices[start:]
            if self._kinds is None or kind in self._kinds
        )

    def _descend(self) -> None:
        """Go on to the schedules with one deviation more; all of this level have been run."""
        self.level += 1
        self.left, self._following = self._following, 0
        self._starts = self._deviating(self._runs)
        self._runs = deque()
        self._asked.clear()

    def _deviating(self, runs: deque[_Run]) -> Iterator[list[Choice]]:
        """Leave each run at each of its choices, for each other answer."""
        while runs:
            run = runs.popleft()
            choices = [self._questions[number] for number in array("I", run.asked)]
            for position, choice in run.deviations:
                choices[position] = choice
            for position in range(run.start, len(choices)):
                _, n, kind = choices[position]
                if self._kinds is None or kind in self._kinds:
                    for answer in range(1, ordinary_answers(n, kind)):
                        yield [*choices[:position], Choice(answer, n, kind)]
