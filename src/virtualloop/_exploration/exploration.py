"""An exploration: run after run, up to the first that fails; and what came of it.

Owns the loop over the rounds of a search, and the result. Which runs are tried is the business of `search`, where they
are made that of `pool`, what is made of one that fails that of `failure`, and which are made first that of `first`.
"""

from __future__ import annotations

import concurrent.futures
import sys
from dataclasses import dataclass
from typing import Any, Literal, cast

from virtualloop._core.clock import span_in_ticks
from virtualloop._exploration.again import run_token, with_terms
from virtualloop._exploration.budget import Budget, Deadline
from virtualloop._exploration.failure import Failure, examine, make_again, seen_once, tell
from virtualloop._exploration.first import FirstRuns
from virtualloop._exploration.identity import identity_of
from virtualloop._exploration.isolated import DIED, death
from virtualloop._exploration.levels import Level
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.pool import outcomes
from virtualloop._exploration.program import Program
from virtualloop._exploration.progress import Progress
from virtualloop._exploration.replies import UNASKED, Reply, Timeout
from virtualloop._exploration.run import reads_outside
from virtualloop._exploration.sameness import ANOTHER_ORDER, Sameness
from virtualloop._exploration.search import Plan, Search, next_round
from virtualloop._exploration.sometimes import Tally, as_failure
from virtualloop._exploration.verdict import is_fault
from virtualloop._report.text import in_words
from virtualloop._words import counted, duration
from virtualloop.schedules import _token
from virtualloop.schedules._replay import Replay, ReplayError
from virtualloop.trace import Trace

__all__ = ["Exploration", "Explorer", "replay_run"]


#: What ends a search: `Exploration.ended_by`.
EndedBy = Literal["failure", "exhausted", "runs", "seconds", "outside"]


@dataclass(frozen=True)
class Exploration:
    """What came of an exploration; as a string, a sentence that says so.

    Attributes:
        runs: how many runs were made, the first that failed included.
        distinct: how many of them differed from all others in their steps: which task went on, at which line, in which
            order.
        exhausted: whether all runs were made that there are with at most `bound` deviations from stock asyncio, and
            with nothing later than the lateness.
        bound: that number of deviations; None where they may be any number.
        failure: the first failure; None if no run failed.
        never: what the program says that is sometimes true, and was in no run; where none failed.
        failures: all failures that differ, with `every_failure`; else the one there is, if there is one.
        ended_by: what ended it: "failure", "exhausted" (all runs were made), "runs" or "seconds" (the budget that was
            used up), "outside" (what it reads from outside was not the same again).
        kept: how many of the runs were made first, for failures that were kept: one that passes is made several times.
        last_new: the run that brought the last new order of steps, counted from 1.
        needs: what the test needs in time, and fails without, which says nothing about the program: "fetch() within
            1 s (app.py:12)".
        unreached: the timeouts that no reply was late enough for, because of `lateness=`.
        lateness: how late an event could be, in seconds; None where none could, for want of events or at order "fifo".
        unsteady: in what its runs differ though their schedule is the same, in words; empty where they do not.
    """

    runs: int
    distinct: int
    exhausted: bool
    bound: int | None
    failure: Failure | None
    never: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    ended_by: EndedBy = "runs"
    kept: int = 0
    last_new: int = 0
    needs: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    lateness: float | None = None
    unsteady: str = ""

    @property
    def is_alone(self) -> bool:
        """Whether the plain run is all there is, because nothing in it is near enough to anything else."""
        return self.exhausted and self.lateness is not None and self.runs - self.kept == 1

    def exception(self) -> BaseException:
        """Return what the runs failed with: an ExceptionGroup where that is more than one."""
        exceptions = [failure.exception for failure in self.failures]
        if len(exceptions) == 1:
            return exceptions[0]
        return BaseExceptionGroup(f"{len(exceptions)} different failures", exceptions)

    def __str__(self) -> str:
        made = f"{counted(self.runs, 'run')}, {self.distinct:,} different"
        if self.ended_by == "outside":
            made += ", ended as what is outside was not the same again"
        if self.ended_by == "seconds":
            made += " in the seconds there were"
        if len(self.failures) > 1:
            return f"{made}; {len(self.failures)} different failures"
        if self.failure is not None:
            what = in_words(self.failure.exception).partition("\n")[0]
            which = "the last one" if self.ended_by == "failure" else "one"
            return f"{made}; {which} failed (order {self.failure.level!r}): {what}"
        if self.last_new < self.runs:
            made += f", the last new one was run {self.last_new:,}"
        text = f"{made}, none failed"
        if self.exhausted:
            text += ": all there are"
            limits = [] if self.bound is None else [f"at most {counted(self.bound, 'deviation')}"]
            if self.lateness is not None:
                limits.append(f"nothing more than {duration(span_in_ticks(self.lateness, argument='lateness'))} late")
            text += f" with {' and '.join(limits)}" if limits else ""
            text += "; what nothing else is near was on time, and lateness= allows more" if self.is_alone else ""
        if self.unreached:
            text += f"; no reply was later than {', '.join(self.unreached)}"
        unsteady = [f"not the same in each run: {self.unsteady}"] if self.unsteady else []
        return "\n".join([text, *(f"needs {need}" for need in self.needs), *unsteady])


class Explorer:
    """An exploration while it is made."""

    def __init__(
        self,
        program: Program,
        search: Search,
        *,
        budget: Budget,
        shrink: bool = True,
        executor: concurrent.futures.Executor | None = None,
        every_failure: bool = False,
    ) -> None:
        self._program = program
        self._search = search
        self._budget = budget
        self._shrink = shrink
        self._executor = executor
        self._every_failure = every_failure
        self._count = self._kept = self._last_new = 0
        self._digests: set[int] = set()
        self._needs: dict[str, None] = {}
        # Which failures come of a reply that the test needs in time: the timeout, and what they have in common.
        self._needed: set[tuple[Timeout, Any]] = set()
        self._unreached: dict[str, None] = {}
        self._tally = Tally()
        # By what they have in common with those that are the same.
        self._failures: dict[Any, Failure] = {}
        self._deadline = Deadline(budget.seconds)
        self._progress = Progress(sys.stderr, budget.runs)
        self._sameness = Sameness(program)

    def explore(self, first: FirstRuns | None = None) -> Exploration:
        """Make the first runs, then those of the search, up to the first that fails, or all."""
        try:
            ended_by = self._make_first(first) if first is not None else None
            if ended_by is None:
                ended_by = self._make_runs()
        except KeyboardInterrupt as exc:
            if self._count:
                made = f"{counted(self._count, 'run')} of {self._budget.runs}"
                failed = counted(len(self._failures), "failure") if self._failures else "none failed"
                exc.add_note(f"virtualloop: interrupted after {made}, {failed}")
            raise
        finally:
            self._progress.clear()
        failures = tuple(self._failures.values())
        if first is not None:
            first.keep(failures)
        unsteady = self._sameness.has_another_order
        ends_before = ended_by in ("failure", "outside")
        never = () if failures else self._tally.never
        if never and self._program.strict:
            failures = (as_failure(self._program, never, self._count, self._budget.seed),)
        return Exploration(
            self._count,
            len(self._digests),
            exhausted=self._search.exhausted and not ends_before and not unsteady,
            bound=None if ends_before or unsteady else self._search.bound,
            failure=failures[0] if failures else None,
            never=never,
            failures=failures,
            ended_by=ended_by,
            kept=self._kept,
            last_new=self._last_new,
            needs=tuple(self._needs),
            unreached=tuple(self._unreached),
            lateness=self._program.lateness if self._search.has_events and self._search.order != "fifo" else None,
            unsteady=ANOTHER_ORDER if unsteady else "",
        )

    def _make_first(self, first: FirstRuns) -> EndedBy | None:
        """Make the runs that come before the search; return what ended the exploration, if anything did."""
        for run in first:
            again = run_token(self._program, run.token, fit=not run.is_pinned)
            self._count += again.runs - 1
            self._kept += again.runs
            self._take(again.outcome)
            if again.outcome.failed is None:
                first.passes(run, again.misfit)
            elif again.outcome.signature not in self._failures:
                # One that is as it was is as small as it was made then.
                shrink = self._shrink and again.misfit is not None
                failure = self._examine(again.program, again.outcome, shrink=shrink)
                first.fails(run, failure, again.misfit)
                if not self._every_failure:
                    return "failure"
        return None

    def _make_runs(self) -> EndedBy:
        """Make the runs of the search; return what ended it."""
        rounds = self._search.rounds()
        plans: list[Plan] | None = next(rounds)
        is_first = True
        while plans is not None:
            seen: list[Outcome] = []
            made = outcomes(self._program, plans, self._executor, goes_on=self._every_failure)
            for plan, each in zip(plans, made, strict=False):
                if each.misfit is not None:
                    if reads_outside():
                        # Its runs are the same only as far as the outside is; what can be had is what was made.
                        made.close()
                        return "outside"
                    self._sameness.differs(plan, "the program is not the same in each run", f": {each.misfit}")
                outcome = self._survey(plan, each) if is_first and each.failed is None else each
                self._take(outcome)
                if outcome.failed is not None and self._fails(plan, outcome, is_first=is_first):
                    return "failure"
                is_first = False
                seen.append(outcome)
                if self._deadline.is_over():
                    made.close()
                    return "seconds"
            plans = next_round(rounds, seen)
        return "exhausted" if self._search.exhausted else "runs"

    def _survey(self, plan: Plan, outcome: Outcome) -> Outcome:
        """Make the plain run once more, and tell the search what there is in it."""
        search = self._search
        outcome, survey = self._sameness.check_again(plan, outcome, states=search.fits(outcome))
        search.has_events = survey.has_events()
        search.near_cancellations = survey.near_cancellations()
        replies = survey.replies(span_in_ticks(self._program.lateness, argument="lateness"))
        if self._program.replies:
            search.replies = [reply for reply in replies if reply.question != UNASKED]
        else:
            self._unreached = dict.fromkeys(str(reply.timeout) for reply in replies)
        return outcome

    def _take(self, outcome: Outcome) -> None:
        """Count one more run."""
        self._count += 1
        if outcome.digest not in self._digests:
            self._digests.add(outcome.digest)
            self._last_new = self._count
        if outcome.sometimes:
            self._tally.add(outcome)
        self._progress.show(self._count, len(self._digests))

    def _fails(self, plan: Plan, outcome: Outcome, *, is_first: bool) -> bool:
        """Examine a run that failed, if none has failed like it; return whether that ends the exploration."""
        self._progress.clear()
        if outcome.signature in self._failures:
            return False
        late = None if plan.late is None else plan.late.reply
        if late is not None and (late.timeout, outcome.signature) in self._needed:
            # What fails in this way because the test needs a reply does so in many orders, which tell nothing new.
            return False
        program = self._program.of(plan)
        if outcome.signature == DIED:
            # There is nothing more to find out without killing this process as well.
            self._failures[DIED] = death(program, outcome, self._budget.seed, self._count)
            return False
        again = make_again(program, plan, outcome, self._sameness)
        if isinstance(again, str):
            self._failures[outcome.signature] = seen_once(outcome, self._budget.seed, again, self._sameness)
            return not self._every_failure
        needed = _needed(program, again, late)
        if needed is not None:
            assert late is not None
            self._needed.add((late.timeout, outcome.signature))
            self._search.needed.add(late)
            self._needs |= dict.fromkeys(needed)
            return False
        self._examine(program, again, shrink=self._shrink, plain=None if is_first else self._program)
        return not self._every_failure

    def _examine(self, program: Program, outcome: Outcome, *, shrink: bool, plain: Program | None = None) -> Failure:
        """Label a failure, make it small and tell it."""
        failure = self._failures[outcome.signature] = examine(
            program,
            outcome,
            self._budget.seed,
            shrink=shrink,
            plain=plain,
            progress=self._progress,
            executor=self._executor,
            sameness=self._sameness,
        )
        return failure


def _needed(program: Program, outcome: Outcome, late: Reply | None) -> list[str] | None:
    """Return what the test needs in time if that is why it failed, and None for a failure.

    A guard of main's own that ends it is neither. A strict exploration takes a need for a failure.
    """
    if late is None or is_fault(program, outcome):
        return None
    if late.timeout.of_main and isinstance(outcome.exception, TimeoutError):
        return []
    return None if program.strict else [late.timeout.need]


def replay_run(program: Program, token: str, seed: int) -> Exploration:
    """Make the one run that a token holds. Raises ReplayError for a token that does not fit."""
    schedule = Replay(token)
    terms = _token.decode(token)
    identity = identity_of(program.main)
    if terms.program != _token.fingerprint(identity.program, identity.arguments):
        raise ReplayError(
            f"the token is of another program, or of this one with other arguments: this is {identity.program}"
            f"({identity.arguments})"
        )
    program = with_terms(program, terms)
    # Once and no more: somebody may stand in a debugger in it.
    outcome = program.run(schedule, cast("Level", terms.order), trace=Trace())
    schedule.check_end()
    failures = () if outcome.failed is None else (tell(program, outcome, seed),)
    return Exploration(
        1,
        1,
        exhausted=False,
        bound=None,
        failure=failures[0] if failures else None,
        failures=failures,
        ended_by="failure" if failures else "runs",
    )
