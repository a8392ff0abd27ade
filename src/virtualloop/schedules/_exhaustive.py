"""Every schedule there is, by how much it deviates from the plain one.

Owns their enumeration; knows nothing of how a run is made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from virtualloop._core.lateness import ordinary_answers
from virtualloop.schedules._choice import Choice
from virtualloop.schedules._replay import Recording, Replay

__all__ = ["Exhaustive"]


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
        # The starts of those that are left; and the runs of this level, each with the length of its start.
        self._starts: Iterator[list[Choice]] = iter([[]])
        self._runs: list[tuple[list[Choice], int]] = []

    def __iter__(self) -> Iterator[Recording]:
        while self.left:
            while self.left:
                start, choices = self.take()
                recording = Recording(Replay(start))
                recording.choices = choices
                yield recording
            self.descend()

    def take(self) -> tuple[list[Choice], list[Choice]]:
        """Return how the next schedule of this level starts, all else being 0, and a list for what its run asks.

        The list is to be filled before `descend()`. Raises StopIteration where none is left.
        """
        start = next(self._starts)
        self.left -= 1
        choices: list[Choice] = []
        self._runs.append((choices, len(start)))
        return start, choices

    def descend(self) -> None:
        """Go on to the schedules with one deviation more; all of this level have been run."""
        runs, self._runs = self._runs, []
        self.level += 1
        self.left = 0
        if self._bound is None or self.level <= self._bound:
            self.left = sum(
                ordinary_answers(choice.n, choice.kind) - 1
                for choices, start in runs
                for choice in choices[start:]
                if self._varies(choice)
            )
            self._starts = self._deviating(runs)

    def _deviating(self, runs: list[tuple[list[Choice], int]]) -> Iterator[list[Choice]]:
        """Leave each run at each of its choices, for each other answer."""
        for choices, start in runs:
            for position in range(start, len(choices)):
                _, n, kind = choices[position]
                if self._varies(choices[position]):
                    for answer in range(1, ordinary_answers(n, kind)):
                        yield [*choices[:position], Choice(answer, n, kind)]

    def _varies(self, choice: Choice) -> bool:
        return self._kinds is None or choice.kind in self._kinds
