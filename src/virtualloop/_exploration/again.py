"""Runs that were seen to fail are made again, as far as they fit: the program may have been edited since.

Owns how a run is fitted to a program that asks something else. Knows nothing of where such runs are kept.

A recorded question that is not asked any more, and one that is asked and was not recorded, shift all that follow. Where
the next question is of another kind than the recorded one, it is taken for a new one and answered by 0. Where that
cannot be told, because an added await asks the same as the ones around it, the run passes; then its deviations are also
tried some questions earlier and later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

from virtualloop._core.clock import TICKS_PER_SECOND
from virtualloop._exploration.levels import Level
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.program import Program
from virtualloop.schedules import _token
from virtualloop.schedules._choice import Choice
from virtualloop.schedules._replay import LenientReplay

__all__ = ["Again", "AsFarAsItFits", "run_token", "with_terms"]

#: How many questions may have been added before a deviation, or taken away: an await asks one or two.
SHIFTS = (1, -1, 2, -2, 3, -3, 4, -4)
#: Deviations that are moved, the first ones: to move one moves all that follow.
MOVED = 3


class Again(NamedTuple):
    """What came of a run that was made again."""

    program: Program
    outcome: Outcome
    #: How many runs that took, and at which choice the run is another one than the recorded; None if it is the same.
    runs: int
    misfit: str | None


def with_terms(program: Program, token: _token.Token) -> Program:
    """Return the program as it was run when this was recorded."""
    return replace(
        program,
        lateness=token.lateness / TICKS_PER_SECOND,
        replies=token.replies,
        epoch=token.epoch,
        number=token.number,
    )


def run_token(program: Program, token: str, *, fit: bool = True) -> Again:
    """Make the run of a token, and with `fit`, where it passes, those that it may have become by an edit.

    Raises ReplayError for what is no token.
    """
    recorded = _token.decode(token)
    order = cast("Level", recorded.order)
    program = with_terms(program, recorded)
    choices = [Choice(*choice) for choice in recorded.choices]
    schedule = AsFarAsItFits(choices)
    outcome = program.run(schedule, order)
    misfit = schedule.misfit()
    runs = 1
    if outcome.failed is None and fit:
        for answers in _moved([choice.answer for choice in choices]):
            runs += 1
            moved = program.run(LenientReplay(answers), order)
            if moved.failed is not None:
                return Again(program, moved, runs, misfit or "its deviations come at other choices")
    return Again(program, outcome, runs, misfit)


class AsFarAsItFits:
    """A recorded schedule for a program that may ask something else; it says where that begins."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._choices = choices
        self._position = 0
        self._misfit: str | None = None

    def choose(self, n: int, kind: str) -> int:
        """Return the recorded answer, or 0 to a question that was not recorded."""
        if self._position >= len(self._choices):
            return 0
        choice = self._choices[self._position]
        if (choice.n, choice.kind) != (n, kind):
            self._misfit = self._misfit or (
                f"choice {self._position} was {choice.kind!r} of {choice.n}, and is {kind!r} of {n}"
            )
            return 0
        self._position += 1
        return choice.answer

    def misfit(self) -> str | None:
        """Return where the run, which is over, was another one; None if it was not."""
        if self._misfit is None and self._position < len(self._choices):
            return f"it ends after {self._position} of {len(self._choices)} choices"
        return self._misfit


def _moved(answers: Sequence[int]) -> Iterator[list[int]]:
    """Propose answers whose deviations are some questions later or earlier, the first of them and all that follow."""
    deviations = [position for position, answer in enumerate(answers) if answer]
    for position in deviations[:MOVED]:
        for shift in SHIFTS:
            if shift > 0:
                yield [*answers[:position], *[0] * shift, *answers[position:]]
            elif not any(answers[max(position + shift, 0) : position]) and position + shift >= 0:
                yield [*answers[: position + shift], *answers[position:]]
