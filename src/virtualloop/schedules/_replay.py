"""Schedules that are kept, and that are made again from what was kept.

Owns recording and replaying; the form of a token is owned by `_token`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from virtualloop._core.clock import TICKS_PER_SECOND
from virtualloop._errors import ReplayError
from virtualloop.schedules import _token
from virtualloop.schedules._choice import PLAIN, Choice, Schedule, check_schedule

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["NOTHING", "Deviating", "DeviationLog", "LenientReplay", "Recording", "Replay", "ReplayError", "terms_of"]


class Terms(NamedTuple):
    """What a schedule was made for; None for what it does not say."""

    order: str | None = None
    #: In seconds; and whether replies could be later than the timeouts that wait for them.
    lateness: float | None = None
    replies: bool = False
    #: When the calendar began, and what the dice follow from.
    epoch: datetime | None = None
    number: int | None = None


#: What most schedules say.
NOTHING = Terms()


class Replay:
    """A recorded schedule, replayed. What runs off its end is 0.

    `choices` are a token, as a failure of `explore` has one; or the `Choice`s that a `Recording` kept; or mere answers.
    All but answers can tell that the run asks something else than the one that was recorded, and then raise
    ReplayError. A token also says what it was recorded with, and VirtualLoop takes that from it: order, lateness, where
    the calendar began, and what is random.

    Raises TypeError or ValueError that names the argument, and ReplayError, which is a ValueError, for a bad token.

    Example:

        loop = VirtualLoop(schedule=Replay([0, 1, 0, 1]))
    """

    #: What a token was recorded with.
    terms: Terms = NOTHING

    def __init__(self, choices: str | Iterable[int | Choice]) -> None:
        self._advice = "Record it again, with this program and this Python version."
        if isinstance(choices, str):
            token = _token.decode(choices)
            lateness = token.lateness / TICKS_PER_SECOND
            self.terms = Terms(token.order, lateness, token.replies, token.epoch, token.number)
            # Most are as the one before.
            choices = [same for choice, run in groupby(token.choices) for same in [Choice(*choice)] * len([*run])]
            self._advice = "The program has changed since, or it depends on more than its schedule."
            if token.python != _token.python_version():
                self._advice = f"It was recorded on Python {token.python}, and this is {_token.python_version()}."
        self._choices = list(choices)
        for choice in self._choices:
            answer = choice.answer if isinstance(choice, Choice) else choice
            if isinstance(answer, bool) or not isinstance(answer, int):
                raise TypeError(f"choices must hold integers or Choices, not {choice!r}")
            if answer < 0:
                raise ValueError(f"choices must not be negative, got {choice!r}")
        self._position = 0

    def choose(self, n: int, kind: str) -> int:
        """Return the next recorded answer, or 0 after the last."""
        if self._position >= len(self._choices):
            return 0
        choice = self._choices[self._position]
        if isinstance(choice, Choice):
            if (choice.n, choice.kind) != (n, kind):
                raise ReplayError(
                    f"the schedule does not fit this run: choice {self._position} was recorded as {choice.kind!r} "
                    f"of {choice.n}, and the run asks for {kind!r} of {n}. {self._advice}"
                )
            answer = choice.answer
        else:
            answer = choice
        if answer >= n:
            raise ReplayError(
                f"the schedule does not fit this run: choice {self._position} is {answer}, and the run asks for "
                f"{kind!r} of {n}. {self._advice}"
            )
        self._position += 1
        return answer

    def check_end(self) -> None:
        """Raise ReplayError if the run, which is over, has not asked for all that was recorded."""
        if self._position < len(self._choices):
            raise ReplayError(
                f"the schedule does not fit this run: it ended after {self._position} of {len(self._choices)} recorded "
                f"choices, before {self._choices[self._position]!r}. {self._advice} An exploration with cancel=, "
                "network= or strict= is replayed with the same."
            )

    def __repr__(self) -> str:
        return f"Replay({self._choices})"


class Deviating:
    """The plain schedule, but for some answers, by the number of the question; behind the last of them, another one."""

    def __init__(self, deviations: Sequence[tuple[int, Choice]], others: Schedule = PLAIN) -> None:
        self._deviations = [*deviations]
        self._others = others
        self._behind = None if others is PLAIN else others.choose
        self._position = -1
        #: Where it was for another question, in words, if it was; and of which kinds the answers other than 0 were.
        self.misfit: str | None = None
        self._kinds: set[str] = set()
        # Which of them comes next, and at which question; behind the last one, that of the last.
        self._following = 0
        self._next = deviations[0][0] if deviations else -1

    def choose(self, n: int, kind: str) -> int:
        """Return the answer of a deviation, else 0; where it is for another question, 0 as well."""
        self._position = position = self._position + 1
        if position < self._next:
            return 0
        if position > self._next:
            return 0 if self._behind is None else self._behind(n, kind)
        choice = self._deviations[self._following][1]
        self._following += 1
        if self._following < len(self._deviations):
            self._next = self._deviations[self._following][0]
        if (choice.n, choice.kind) != (n, kind):
            self.misfit = self.misfit or (
                f"choice {position} was recorded as {choice.kind!r} of {choice.n}, and the run asks for {kind!r} of {n}"
            )
            return 0
        if choice.answer:
            self._kinds.add(kind)
        return choice.answer

    @property
    def kinds(self) -> set[str]:
        """Of which kinds the answers other than 0 were, as far as the other schedule says so."""
        return self._kinds | getattr(self._others, "kinds", set())


class Recording:
    """Another schedule, with every answer that it gave kept in `choices`, ready for `Replay`.

    Example:

        recording = Recording(Random(7))
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(schedule=recording)) as runner:
            runner.run(main())
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(schedule=Replay(recording.choices))) as runner:
            runner.run(main())
    """

    def __init__(self, schedule: Schedule) -> None:
        check_schedule(schedule)
        self._schedule = schedule
        self.choices: list[Choice] = []
        #: That the other schedule does not fit the run, where it said so: a program may not have let that out.
        self.misfit: ReplayError | None = None
        self.terms: Terms = terms_of(schedule)

    def choose(self, n: int, kind: str) -> int:
        """Ask the other schedule and keep its answer."""
        try:
            answer = self._schedule.choose(n, kind)
        except ReplayError as exc:
            self.misfit = exc
            raise
        self.choices.append(Choice(answer, n, kind))
        return answer

    def __repr__(self) -> str:
        return f"Recording({self._schedule!r})"


class DeviationLog:
    """Another schedule; `kinds` are those of its answers other than 0, and all that is kept: a Recording costs more.

    Random and Deviating keep the same themselves: to ask them through another function takes half as long again.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.kinds: set[str] = set()
        #: As in Recording.
        self.misfit: ReplayError | None = None
        self._schedule = schedule
        ask, deviate = schedule.choose, self.kinds.add

        def choose(n: int, kind: str) -> int:
            try:
                answer = ask(n, kind)
            except ReplayError as exc:
                self.misfit = exc
                raise
            if answer:
                deviate(kind)
            return answer

        self.choose = choose

    @property
    def keeps_task_order(self) -> bool:
        """Whether the other schedule does; to know it may take long."""
        return getattr(self._schedule, "keeps_task_order", False)


class LenientReplay:
    """Answers that may not fit: 0 takes the place of those that are out of range, and of what is missing."""

    def __init__(self, answers: Sequence[int]) -> None:
        self._answers = iter(answers)

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`."""
        answer = next(self._answers, 0)
        return answer if answer < n else 0


def terms_of(schedule: object) -> Terms:
    """Return what a schedule was made for, as far as it says that."""
    return schedule.terms if isinstance(schedule, Replay | Recording) else NOTHING
