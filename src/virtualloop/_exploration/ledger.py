"""What all explorations of a process came to, in one line at its end.

Owns the sums and the line. Under pytest it is for the plugin to show it, with the sums of all processes that tests run
in; else it goes to stderr when the process ends, where explored tests were run or the environment gave a budget: a
script that explores says itself what it found.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from virtualloop._core.clock import span_in_ticks
from virtualloop._exploration.budget import VARIABLE
from virtualloop._loop.virtual import LATENESS
from virtualloop._words import counted, duration

if TYPE_CHECKING:
    from virtualloop._exploration.exploration import Exploration

__all__ = ["Ledger", "in_lines", "ledger"]

#: Which ends of an exploration are counted: those by which more could have been found.
ENDS = ("runs", "seconds")


class Ledger:
    """The sums over all explorations of this process."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._news: Counter[str] = Counter()
        self._is_registered = False
        #: Whether somebody else shows the line.
        self.is_shown = False

    def add(self, exploration: Exploration, *, is_test: bool) -> None:
        """Count one more exploration."""
        counts = {
            "explorations": 1,
            "runs": exploration.runs,
            "different": exploration.distinct,
            "failed": len(exploration.failures),
            "kept": exploration.kept,
            f"ended by {exploration.ended_by}": 1,
            # Who has given another lateness knows of it.
            "alone": exploration.is_alone and exploration.lateness == LATENESS and exploration.failure is None,
        }
        self._add(counts, is_told=is_test or bool(os.environ.get(VARIABLE)))

    def replays(self, *, passes: bool) -> None:
        """Take note that the run in VIRTUALLOOP_REPLAY was made, and whether it does not fail any more."""
        self._add({"replays that pass" if passes else "replays that fail": 1}, is_told=True)

    def _add(self, counts: dict[str, int], *, is_told: bool) -> None:
        self._sums.update(counts)
        if is_told:
            self._news.update(counts)
            if not self._is_registered:
                self._is_registered = True
                atexit.register(self._show)

    def news(self) -> dict[str, int]:
        """Return the sums over what is to be told and was added since this was last asked."""
        news, self._news = self._news, Counter()
        return dict(news)

    def lines(self) -> list[str]:
        """Return the line; none if nothing was explored."""
        return [f"virtualloop: {line}" for line in in_lines(self._sums)]

    def _show(self) -> None:
        # The workers of xdist have nobody who reads what they write.
        if not self.is_shown and sys.stderr is not None and "PYTEST_XDIST_WORKER" not in os.environ:
            print(*self.lines(), sep="\n", file=sys.stderr)  # noqa: T201  # the process is at its end


def in_lines(sums: Mapping[str, int]) -> list[str]:
    """Return what sums say, in lines: one, and one more where a run was replayed."""
    lines = []
    if sums.get("explorations"):
        parts = [counted(sums["explorations"], "exploration"), counted(sums["runs"], "run")]
        parts.append(f"{sums['different']:,} different")
        if sums["failed"]:
            parts.append(counted(sums["failed"], "failure"))
        if sums["kept"]:
            parts.append(f"{counted(sums['kept'], 'run')} made first for kept failures")
        parts += [f"{sums[f'ended by {what}']} ended by {what}=" for what in ENDS if sums.get(f"ended by {what}")]
        lines.append(", ".join(parts))
        if alone := sums.get("alone"):
            which = "1 exploration is" if alone == 1 else f"{alone} explorations are"
            near = duration(span_in_ticks(LATENESS, argument="lateness"))
            lines.append(
                f"{which} one run, as nothing in {'it' if alone == 1 else 'them'} is within {near} of anything else; "
                "lateness= allows more"
            )
    if failing := sums.get("replays that fail"):
        lines.append(f"{counted(failing, 'replayed run')} that fail{'s' if failing == 1 else ''}")
    if sums.get("replays that pass"):
        lines.append("the run in VIRTUALLOOP_REPLAY passes. Fixed? Run it without VIRTUALLOOP_REPLAY.")
    return lines


#: That of this process.
ledger = Ledger()
