"""Which runs of an explored test are made before any other: those that its source pins, and those that are kept.

Owns what comes of them: what is said of one that fits no more, and what is kept for the next time.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from virtualloop._errors import ReplayError
from virtualloop._exploration.failure import Failure
from virtualloop._exploration.identity import identity_of
from virtualloop._exploration.kept import KeptRuns
from virtualloop._exploration.program import function_of, name_of
from virtualloop._report.text import in_words
from virtualloop.schedules import _token

__all__ = ["FirstRun", "FirstRuns"]


class FirstRun(NamedTuple):
    """A run that is made before the search."""

    token: str
    #: Whether the source pins it: else it is one that failed, and follows the program through edits.
    is_pinned: bool
    #: When it was kept, if it was.
    date: str = ""


class FirstRuns:
    """The first runs of a test, and what came of them."""

    def __init__(self, main: Any, pinned: Sequence[str] = ()) -> None:
        self._main = main
        self._pinned = pinned
        self._kept = KeptRuns(identity_of(main))
        self._passed: list[str] = []
        self._failed: dict[str, str] = {}

    def __iter__(self) -> Iterator[FirstRun]:
        for token in self._pinned:
            yield FirstRun(token, is_pinned=True)
        for run in self._kept.read():
            if _is_token(run.token):
                yield FirstRun(run.token, is_pinned=False, date=run.date)

    def passes(self, run: FirstRun, misfit: str | None) -> None:
        """Take note that a run does not fail."""
        if not run.is_pinned:
            self._passed.append(run.token)
        elif misfit is not None:
            code = getattr(function_of(self._main), "__code__", FirstRuns.passes.__code__)
            message = f"{name_of(self._main)}(): the run replay={run.token!r} fits no more, and passes: {misfit}. "
            message += (
                "The program has changed since, or differs from run to run: record the run again, or take it away"
            )
            warnings.warn_explicit(message, UserWarning, code.co_filename, code.co_firstlineno)

    def fails(self, run: FirstRun, failure: Failure, misfit: str | None) -> None:
        """Take note that a run fails."""
        self._failed[failure.token] = run.token
        changed = (
            ""
            if misfit is None
            else f"; it is another run now, of a program that has changed or that differs from run to run: {misfit}"
        )
        what = "is pinned by replay=" if run.is_pinned else f"failed on {run.date} and was kept"
        note = f"This run {what}{changed}"
        failure.exception.add_note(note)

    def keep(self, failures: Collection[Failure]) -> None:
        """Keep what has failed for the next time, and count what has passed."""
        if self._passed:
            self._kept.have_passed(self._passed)
        for failure in failures:
            before = self._failed.get(failure.token)
            text = in_words(failure.exception)
            note = self._kept.add(failure.token, failure.level, text, instead_of=before)
            if note is not None:
                failure.exception.add_note(note[0].upper() + note[1:])


def _is_token(text: str) -> bool:
    try:
        _token.decode(text)
    except ReplayError:
        return False
    return True
