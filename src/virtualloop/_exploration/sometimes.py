"""What a program says that is sometimes true, over all runs of an exploration.

Owns the tally, and what is said of what was true in none.
"""

from __future__ import annotations

from virtualloop._errors import VirtualLoopError
from virtualloop._exploration.failure import Failure, token_of
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.program import Program
from virtualloop._exploration.story import in_lines
from virtualloop._words import counted

__all__ = ["Tally", "as_failure", "never_true"]


class Tally:
    """Whether each was true in any run."""

    def __init__(self) -> None:
        self._met: dict[str, bool] = {}

    def add(self, outcome: Outcome) -> None:
        """Count one more run."""
        for text, met in outcome.sometimes:
            self._met[text] = met or self._met.get(text, False)

    @property
    def never(self) -> tuple[str, ...]:
        """What was true in none, in the order in which it was first stated."""
        return tuple(text for text, met in self._met.items() if not met)


def never_true(never: tuple[str, ...], runs: int) -> str:
    """Return what to say of what was true in none of so many runs."""
    what = " and ".join(f"sometimes({text!r})" for text in never)
    return f"{what} {'was' if len(never) == 1 else 'were'} true in none of {counted(runs, 'run')}"


def as_failure(program: Program, never: tuple[str, ...], runs: int, seed: int) -> Failure:
    """Return the failure of an exploration that was not to leave anything out."""
    report = "\n".join(in_lines(f"virtualloop: {never_true(never, runs)}, and strict=True makes that a failure"))
    return Failure(VirtualLoopError(report), seed, "fifo", token_of(program, Outcome("fifo")), report)
