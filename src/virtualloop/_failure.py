"""What is made of a run that failed: it is recorded, tightened, made small, and told.

Owns these steps and their result, the public class. How a run is made small is the business of `_shrink`, what is said
about it that of `_story`.

Each step makes runs of its own, with the answers of the run before as a start, and goes on only with what fails in the
same way: the same type of exception, raised at the same place.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from virtualloop import _token, _trial
from virtualloop._clock import span_in_ticks
from virtualloop._errors import VirtualLoopError
from virtualloop._search import LEVELS, Level, Plan, Search, level_of, next_round, tighter_than
from virtualloop._shrink import deviations
from virtualloop._shrink import shrink as shrink_answers
from virtualloop._story import REPORT_VARIABLE, Story
from virtualloop._trials import Trials, name_of
from virtualloop.schedules import Attempt, Choice, Recording, Replay
from virtualloop.trace import Trace

__all__ = ["IMPURE", "Failure", "Recorded", "check_again", "check_plain", "examine", "record", "tell"]

#: Runs to make a failure small, and to look for the same failure at each tighter level: together a second or two of a
#: small test, and much less than it takes to understand a failure that is larger than it has to be.
SHRINK_RUNS = 500
LABEL_RUNS = 200

#: Why a run may differ from one with the same schedule, in words.
IMPURE = (
    "it depends on something besides its schedule, such as the real time, the order of a set, an object's address, or "
    "what an earlier run has left behind (a module's global, a cache, a file, a fixture)"
)


@dataclass(frozen=True)
class Failure:
    """A run that failed, as small as it could be made."""

    #: What it failed with; its notes tell the story.
    exception: BaseException
    #: The seed of the exploration that found it.
    seed: int
    #: The tightest order at which it was seen to fail: "fifo", "timing", "io" or "tasks".
    level: Level
    #: Replays it: `explore(main, replay=token)`, `VirtualLoop(schedule=Replay(token))`.
    token: str
    #: The story as text.
    report: str


class Recorded(NamedTuple):
    """A run that failed, and all that it takes to make it again."""

    failure: BaseException
    order: Level
    choices: list[Choice]


def record(trials: Trials, plan: Plan, failed: BaseException | str) -> Recorded:
    """Make a run that failed once more, to know its choices and to see that it fails again."""
    recording = Recording(plan.make())
    failure = trials.run(recording, plan.order)
    if failure is None or (isinstance(failed, BaseException) and _trial.key(failure) != _trial.key(failed)):
        error = VirtualLoopError(
            f"a run failed with {failed if isinstance(failed, str) else repr(failed)}, and the same run, made again, "
            f"{'passes' if failure is None else f'fails with {failure!r}'}: {IMPURE}"
        )
        raise error from (failed if isinstance(failed, BaseException) else None)
    return Recorded(failure, plan.order, recording.choices)


def check_again(trials: Trials, plan: Plan, choices: Sequence[Choice]) -> None:
    """Make the plain run once more. Raises VirtualLoopError if it has become another one, or fails now."""
    recording = Recording(plan.make())
    failure = trials.run(recording, plan.order)
    if failure is not None:
        raise VirtualLoopError(f"the first run passed, and the same run, made again, fails: {IMPURE}") from failure
    if recording.choices != choices:
        raise VirtualLoopError(f"the first run, made again, is another one: {IMPURE}")


def check_plain(trials: Trials, recorded: Recorded) -> None:
    """Make the plain run, which passed, once more. Raises VirtualLoopError if it fails now as a later one does."""
    if _again(trials, recorded, [], recorded.order) is not None:
        raise VirtualLoopError(
            f"the first run passed, and now the same run fails, as others do: {IMPURE}"
        ) from recorded.failure


def examine(trials: Trials, recorded: Recorded, seed: int, *, shrink: bool) -> Failure:
    """Label a failure, make it small, and tell it."""
    if shrink:
        recorded = _shrunk(trials, _tightened(trials, recorded))
        for level in tighter_than(level_of(_deviating_kinds(recorded.choices))):
            found = _found_at(trials, recorded, level, seed)
            if found is not None:
                recorded = _shrunk(trials, found)
                break
        recorded = _tightened(trials, recorded)
    return tell(trials, recorded, seed)


def _deviating_kinds(choices: Sequence[Choice]) -> list[str]:
    return [choice.kind for choice in choices if choice.answer]


def _again(trials: Trials, recorded: Recorded, answers: Sequence[int], order: Level) -> Recorded | None:
    """Run with these answers; return the run if it failed in the same way."""
    recording = Recording(Attempt(answers))
    failure = trials.run(recording, order)
    if failure is None or _trial.key(failure) != _trial.key(recorded.failure):
        return None
    return Recorded(failure, order, recording.choices)


def _tightened(trials: Trials, recorded: Recorded) -> Recorded:
    """Return the same failure at the tightest order at which it fails without what only looser ones ask."""
    for order in tighter_than(recorded.order):
        too_loose = LEVELS[LEVELS.index(order) + 1 :]
        answers = [choice.answer for choice in recorded.choices if level_of([choice.kind]) not in too_loose]
        tight = _again(trials, recorded, answers, order)
        if tight is not None:
            return tight
    return recorded


def _shrunk(trials: Trials, recorded: Recorded) -> Recorded:
    def attempt(answers: Sequence[int]) -> Sequence[int] | None:
        found = _again(trials, recorded, answers, recorded.order)
        return None if found is None else [choice.answer for choice in found.choices]

    answers = shrink_answers([choice.answer for choice in recorded.choices], attempt, attempts=SHRINK_RUNS)
    return _again(trials, recorded, answers, recorded.order) or recorded


def _found_at(trials: Trials, recorded: Recorded, level: Level, seed: int) -> Recorded | None:
    """Look for the same failure at a tighter level."""
    rounds = Search(runs=LABEL_RUNS, seed=seed, order=level).rounds()
    plans: list[Plan] | None = next(rounds)
    while plans is not None:
        seen = []
        for plan in plans:
            failure, each = trials.look(plan)
            if failure is not None and _trial.key(failure) == _trial.key(recorded.failure):
                return record(trials, plan, failure)
            seen.append(each)
        plans = next_round(rounds, seen)
    return None


def tell(trials: Trials, recorded: Recorded, seed: int) -> Failure:
    """Make the run once more with a trace, and put the story into the notes of its exception."""
    level = level_of(_deviating_kinds(recorded.choices))
    lateness = span_in_ticks(trials.lateness, argument="lateness")
    name = name_of(trials.program)
    token = _token.encode(recorded.choices, order=recorded.order, lateness=lateness, program=name)
    trace = Trace()
    tasks, end = "", None

    def at_failure(loop: _trial.TrialLoop) -> None:
        nonlocal tasks, end
        end = len(trace.lines())
        # An error of the loop's own lists them itself.
        if not isinstance(recorded.failure, VirtualLoopError) and asyncio.all_tasks(loop):
            tasks = loop.describe_tasks()

    schedule = Replay(recorded.choices)
    failure = trials.run(schedule, recorded.order, trace=trace, at_failure=at_failure) or recorded.failure
    story = Story(
        program=name,
        exception="".join(traceback.format_exception_only(failure)).rstrip(),
        level=level,
        token=token,
        options=trials.options,
        trace=trace,
        end=end,
        passing=_passing(trials, recorded),
        tasks=tasks,
    )
    report = story.tell()
    folder = os.environ.get(REPORT_VARIABLE)
    if folder:
        try:
            path = story.write(Path(folder))
            written = f"All of it: {path}, and {path.with_suffix('.html').name} beside it"
        except OSError as exc:
            written = f"{REPORT_VARIABLE} was not written: {exc}"
        *lines, last = report.splitlines()
        report = "\n".join([*lines, written, last])
    _trial.add_note(failure, report)
    return Failure(failure, seed, level, token, report)


def _passing(trials: Trials, recorded: Recorded) -> Trace | None:
    """Return the trace of the run without the last deviation, if that one passes: it is the nearest one that can."""
    answers = [choice.answer for choice in recorded.choices]
    positions = deviations(answers)
    if not positions:
        return None
    trace = Trace()
    failure = trials.run(Attempt(answers[: positions[-1]]), recorded.order, trace=trace)
    return trace if failure is None else None
