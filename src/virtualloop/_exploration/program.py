"""How one program is run again and again.

Owns what stays the same from run to run, and makes the runs; `run` is one. Knows nothing of what is looked for.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from virtualloop._core.clock import span_in_ticks
from virtualloop._exploration import run as one_run
from virtualloop._exploration.cancel import Sweep
from virtualloop._exploration.levels import Level
from virtualloop._exploration.outcome import Outcome, failure_signature
from virtualloop._exploration.replies import UNASKED
from virtualloop._exploration.search import Plan
from virtualloop._exploration.steps import StateLog, StepLog, WithholdingLog
from virtualloop._exploration.survey import Survey, SurveyingLoop
from virtualloop.schedules._choice import Choice, Schedule
from virtualloop.schedules._random import Random
from virtualloop.schedules._replay import Deviating, DeviationLog, LenientReplay, Recording
from virtualloop.schedules._token import NUMBERS
from virtualloop.trace import Trace

if TYPE_CHECKING:
    from virtualloop.network import Network

__all__ = ["Program", "Usual", "function_of", "name_of"]

#: Steps of polling at one instant that are a livelock: fewer than elsewhere, because a program that spins does so in
#: each of hundreds of runs.
SPIN_LIMIT = 50_000


#: What knows, when the run is over, how it has answered: all of it, or of which kinds it has deviated.
Asked = Recording | DeviationLog | Deviating | Random


class Usual:
    """What the plain run of a program leaves to the loop's exception handler, once that is known."""

    signatures: frozenset[Any] | None = None


@dataclass(frozen=True)
class Program:
    """How this program is run. Small enough to be sent to another process, if `main` is."""

    main: one_run.Main
    lateness: float
    #: Whether a reply may be later than the timeout that waits for it.
    replies: bool
    chosen: Callable[[asyncio.Task[Any]], bool] | None
    network: Network | None
    strict: bool
    #: Exceptions that are a permitted outcome.
    allow: tuple[type[BaseException], ...]
    #: What explore() was called with beside the program, in words; None where running the test again does the same.
    options: str | None
    #: When the calendar of each run begins, and what the dice of the plain run follow from; None for the real ones.
    epoch: datetime | None
    number: int | None
    #: Where what its plain run leaves to the loop's exception handler is no failure of any run; None where it is one.
    usual: Usual | None = None

    @property
    def is_patched(self) -> bool:
        """Whether its runs have clocks or dice of their own."""
        return self.epoch is not None or self.number is not None

    def of(self, plan: Plan) -> Program:
        """Return the program with the dice of a planned run.

        They are those of the plain run where it is expected to ask what that one asked.
        """
        if self.number is None or plan.branch is not None or plan.seed is None:
            return self
        # As replace(), which looks at each field and takes a twentieth of a short run.
        program = object.__new__(Program)
        program.__dict__.update(self.__dict__, number=plan.seed % NUMBERS)
        return program

    def make(self, plan: Plan) -> Outcome:
        """Make a planned run; keep what it was asked only where the search has to know."""
        schedule = plan.make()
        outcome = self._made(plan, schedule)
        misfit = schedule.misfit if type(schedule) is Deviating else None
        return outcome if misfit is None else replace(outcome, misfit=misfit)

    def _made(self, plan: Plan, schedule: Schedule) -> Outcome:
        if plan.late is not None and plan.late.shows:
            outcome, survey = self.survey(schedule, plan.order, states=False)
            replies = survey.replies(span_in_ticks(self.lateness, argument="lateness"))
            asked = [reply for reply in replies if reply.question != UNASKED]
            follows = survey.follows(plan.late.reply)
            return replace(outcome, trace=None, tasks="", exceeded=(), replies=asked, follows=follows)
        if not plan.grows:
            log = schedule if isinstance(schedule, Random | Deviating) else DeviationLog(schedule)
            return self._run(log, StepLog(), plan.order)
        recording = Recording(schedule)
        # The states of the plain run are kept when it is surveyed, where they matter.
        return self._run(recording, StateLog(recording) if plan.branch else StepLog(), plan.order)

    def run(
        self, schedule: Schedule, order: Level, *, trace: Trace | None = None, withheld: Collection[int] = ()
    ) -> Outcome:
        """Run the program once, and keep what it was asked. Raises what says nothing about the program.

        Events that are put off at the questions `withheld` do not arrive: where main waits for them, the run is over,
        and has failed only with what main had raised before.
        """
        recording = Recording(schedule)
        log: StepLog
        if withheld:
            log = WithholdingLog(recording, withheld)
        elif trace is not None and self.replies:
            log = Survey(recording, states=False)
        else:
            log = StepLog()
        return self._run(recording, log, order, trace=trace)

    def survey(self, schedule: Schedule, order: Level, *, states: bool) -> tuple[Outcome, Survey]:
        """Run the program once, with a trace; return also what it shows of timeouts.

        `states` says whether the state in which each question was asked is kept.
        """
        recording, trace = Recording(schedule), Trace()
        survey = Survey(recording, states=states)
        return self._run(recording, survey, order, trace=trace), survey

    def _run(self, schedule: Asked, log: StepLog, order: Level, *, trace: Trace | None = None) -> Outcome:
        options: dict[str, Any] = {
            "schedule": log if isinstance(log, StateLog) else schedule,
            "order": order,
            "lateness": self.lateness,
            "network": self.network,
            "strict": self.strict,
            "trace": trace,
            "spin_limit": SPIN_LIMIT,
            "patch_time": self.epoch is not None,
            "epoch": self.epoch,
            "number": self.number,
        }

        def make() -> one_run.RunLoop:
            if isinstance(log, Survey):
                loop: one_run.RunLoop = SurveyingLoop(log, **options)
            else:
                loop = (one_run.RunLoop if self.chosen is None else one_run.SweptLoop)(**options)
            loop.watch(log, replies=self.replies)
            if self.chosen is not None and isinstance(loop, one_run.SweptLoop):
                loop.cancel_wherever_it_waits(Sweep(loop, self.chosen))
            return loop

        exc, tasks, sometimes, handled = one_run.run(self.main, make, trace=trace)
        if isinstance(schedule, Recording | DeviationLog) and schedule.misfit is not None:
            raise schedule.misfit
        if handled and self.usual is not None:
            if self.usual.signatures is None:
                plain = {**options, "schedule": LenientReplay([]), "order": "fifo", "trace": None}
                left = one_run.run(self.main, functools.partial(one_run.RunLoop, **plain)).handled
                self.usual.signatures = frozenset(map(failure_signature, left))
            exc = next((each for each in handled if failure_signature(each) not in self.usual.signatures), None)
        if exc is not None and self.allow and _consists_of(exc, self.allow):
            exc = None
        if isinstance(schedule, Recording):
            choices: Sequence[Choice] = schedule.choices
            kinds = {choice.kind for choice in choices if choice.answer}
        else:
            choices, kinds = (), schedule.kinds
        return Outcome(
            order,
            failed=None if exc is None else _in_words(exc),
            signature=None if exc is None else failure_signature(exc),
            exception=exc,
            choices=choices,
            kinds=kinds,
            states=log.states if isinstance(log, StateLog) else (),
            digest=log.digest,
            steps=log.steps,
            sometimes=sometimes,
            trace=trace,
            exceeded=log.exceeded() if isinstance(log, Survey) else (),
            tasks=tasks,
        )


def function_of(main: Any) -> Any:
    """Return the function that a program calls, without the arguments it was given."""
    while isinstance(main, functools.partial):
        main = main.func
    return main


def name_of(main: Any) -> str:
    """Return the name of a program, the same in every process."""
    function = function_of(main)
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _consists_of(exc: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """Return whether an exception, or each in a group, is of one of these kinds."""
    if isinstance(exc, BaseExceptionGroup) and not isinstance(exc, kinds):
        return all(_consists_of(each, kinds) for each in exc.exceptions)
    return isinstance(exc, kinds)


def _in_words(exc: BaseException) -> str:
    try:
        return repr(exc)
    except Exception:
        return type(exc).__qualname__
