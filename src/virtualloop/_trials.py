"""How one program is run again and again.

Owns what stays the same from run to run, and makes the runs; `_trial` is one. Knows nothing of what is looked for.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from virtualloop import _trial
from virtualloop._search import Level, Plan, Seen
from virtualloop._trial import Program
from virtualloop.schedules import Answers, Recording, ReplayError, Schedule
from virtualloop.trace import Trace

if TYPE_CHECKING:
    from virtualloop.network import Network

__all__ = ["Trials", "function_of", "name_of"]

#: Steps of polling at one instant that are a livelock: fewer than elsewhere, because a program that spins does so in
#: each of hundreds of runs.
SPIN_LIMIT = 50_000


@dataclass
class Trials:
    """How this program is run. Small enough to be sent to another process, if the program is."""

    program: Program
    lateness: float
    chosen: Callable[[asyncio.Task[Any]], bool] | None
    network: Network | None
    strict: bool
    #: What explore() was called with beside the program, in words; None where running the test again does the same.
    options: str | None

    def run(
        self,
        schedule: Schedule,
        order: Level,
        *,
        trace: Trace | None = None,
        at_failure: Callable[[_trial.TrialLoop], None] | None = None,
    ) -> BaseException | None:
        """Run the program once; return what it failed with. `at_failure` is called before anything is cancelled."""
        options: dict[str, Any] = {
            "schedule": schedule,
            "order": order,
            "lateness": self.lateness,
            "network": self.network,
            "strict": self.strict,
            "trace": trace,
            "spin_limit": SPIN_LIMIT,
        }

        def make() -> _trial.TrialLoop:
            if self.chosen is not None:
                return _trial.CancellingLoop(chosen=self.chosen, **options)
            return _trial.TrialLoop(**options)

        failure = _trial.run(self.program, make, at_failure)
        if isinstance(failure, ReplayError):
            raise failure
        return failure

    def look(self, plan: Plan) -> tuple[BaseException | None, Seen]:
        """Make a planned run; return what it failed with, and what the search has to know."""
        if plan.start is not None:
            recording = Recording(plan.make())
            failure = self.run(recording, plan.order)
            return failure, Seen(_digest([choice.answer for choice in recording.choices]), recording.choices)
        answers = Answers(plan.make())
        failure = self.run(answers, plan.order)
        return failure, Seen(_digest(answers.answers), [])


def function_of(program: Any) -> Any:
    """Return the function that a program calls, without the arguments it was given."""
    while isinstance(program, functools.partial):
        program = program.func
    return program


def name_of(program: Any) -> str:
    """Return the name of a program, the same in every process."""
    function = function_of(program)
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _digest(answers: Sequence[int]) -> bytes:
    """Return what tells a run from others of the same program, in every process."""
    try:
        text = bytes(answers)
    except ValueError:
        text = repr(answers).encode()
    return hashlib.blake2b(text, digest_size=8).digest()
