"""What is made of a run that failed: it is made again, tightened, made small, and told.

Owns these steps and their result, the public class. How a run is made small is the business of `reduction`, what is
said about it that of `story`, and in what runs of one schedule differ that of `sameness`. A run that is another one
when it is made again cannot be made small; it is told as it was seen, once. Where only an order differs, some of its
runs fail again, and one of these is told.
"""

from __future__ import annotations

import concurrent.futures
import os
from dataclasses import dataclass
from pathlib import Path

from virtualloop._core.clock import span_in_ticks
from virtualloop._errors import VirtualLoopError
from virtualloop._exploration.again import AsFarAsItFits
from virtualloop._exploration.files import REPORT_VARIABLE, write
from virtualloop._exploration.identity import identity_of
from virtualloop._exploration.levels import Level
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.program import Program, name_of
from virtualloop._exploration.progress import Progress
from virtualloop._exploration.reduction import Reduction, again
from virtualloop._exploration.run import add_note
from virtualloop._exploration.sameness import Sameness, made_elsewhere, was_made_elsewhere
from virtualloop._exploration.search import Plan
from virtualloop._exploration.shrink import deviations
from virtualloop._exploration.story import Story, deviated, in_lines
from virtualloop._loop.explaining import meant_a_real_server
from virtualloop._report.text import in_words
from virtualloop.schedules import _token
from virtualloop.schedules._replay import LenientReplay
from virtualloop.trace import Trace

__all__ = ["Failure", "examine", "make_again", "seen_once", "tell", "token_of"]

#: How often a run is made again of a program whose runs differ in their order, to see how often that one fails.
MOST_AGAIN = 12


@dataclass(frozen=True)
class Failure:
    """A run that failed, as small as it could be made.

    Attributes:
        exception: what it failed with; its notes tell the story.
        seed: the seed of the exploration that found it.
        level: the tightest order at which it was seen to fail: "fifo", "timing", "io" or "tasks".
        token: replays it, by `explore(main, replay=token)` or `VirtualLoop(schedule=Replay(token))`. Empty for one that
            was seen once and is another run when it is made again.
        report: the story as text.
    """

    exception: BaseException
    seed: int
    level: Level
    token: str
    report: str


def make_again(program: Program, plan: Plan, seen: Outcome, sameness: Sameness) -> Outcome | str:
    """Make a failed run again, to know what it was asked; return in words what differs if it is another one now.

    Where only an order differs from run to run, it has a few more attempts.
    """
    what = ""
    for attempt in range(MOST_AGAIN):
        schedule = plan.make()
        made = program.run(schedule, plan.order)
        misfit = getattr(schedule, "misfit", None)
        if made.fails_like(seen) and (misfit is None or sameness.has_another_order):
            return made
        if misfit is not None:
            what = what or f"made again, it is another run: {misfit}"
        else:
            how = "passes" if made.failed is None else f"fails with {made.failed}"
            what = what or f"made again, the same run {how}"
        if attempt == 0 and not sameness.is_in_order_alone(plan):
            break
    return what


def examine(
    program: Program,
    outcome: Outcome,
    seed: int,
    *,
    shrink: bool,
    plain: Program | None,
    progress: Progress,
    executor: concurrent.futures.Executor | None,
    sameness: Sameness,
) -> Failure:
    """Label a failure, make it small, and tell it. `plain` is the program of the plain run, where that has passed."""
    if plain is not None:
        # Where its order is another one each time, that alone may bring it about; but not each time.
        attempts = MOST_AGAIN if sameness.has_another_order else 1
        if all(again(plain, outcome, [], outcome.order) is not None for _ in range(attempts)):
            what = "the first run, made again, now fails as well, though it passed before"
            return seen_once(outcome, seed, what, sameness)
    if not shrink:
        return tell(program, outcome, seed, sameness=sameness)
    reduction = Reduction(program, outcome, progress=progress, executor=executor)
    return tell(program, reduction.reduce(seed), seed, likewise=reduction.likewise, sameness=sameness)


def seen_once(seen: Outcome, seed: int, what: str, sameness: Sameness) -> Failure:
    """Tell of a failure that cannot be made again, and what differs."""
    exception = seen.exception
    if exception is None:  # it was seen in another process
        exception = VirtualLoopError(f"a run failed with {seen.failed}")
    why = f"The program is not the same in each run: {sameness.why(seen)}"
    report = "\n".join(in_lines(f"virtualloop: seen once (order {seen.level!r}): {what}.", why))
    add_note(exception, report)
    return Failure(exception, seed, seen.level, "", report)


def _advice(failure: BaseException) -> str:
    if was_made_elsewhere(failure):
        return made_elsewhere(failure)
    if meant_a_real_server(failure):
        return (
            "a run has a network of its own, whatever loop the test has without exploring: name the real server in "
            "explored(network=Network(outside=[...])), or for a whole suite in pytest's ini file, as explore_outside"
        )
    return ""


def token_of(program: Program, outcome: Outcome) -> str:
    """Return what replays a run."""
    lateness = span_in_ticks(program.lateness, argument="lateness")
    identity = identity_of(program.main)
    return _token.encode(
        outcome.choices,
        order=outcome.order,
        lateness=lateness,
        replies=program.replies,
        program=identity.program,
        arguments=identity.arguments,
        epoch=program.epoch,
        number=program.number,
    )


def tell(
    program: Program,
    outcome: Outcome,
    seed: int,
    *,
    likewise: Outcome | None = None,
    sameness: Sameness | None = None,
) -> Failure:
    """Put the story into the notes of the exception; the run is made once more if it has no trace.

    `likewise` is another run that fails in the same way, if one is known whose cause may be the likelier one.
    `sameness` says whether each run is the same; without it, the run has a trace.
    """
    told, unsteady = outcome, ""
    if outcome.trace is None:
        assert sameness is not None
        told, times = _made_with_a_trace(program, outcome, sameness)
        if told.trace is None:
            what = f"made again {MOST_AGAIN} times, the same run does not fail in this way"
            return seen_once(outcome, seed, what, sameness)
        if times:
            unsteady = (
                f"The program is not the same in each run: {sameness.why(told)} Of {MOST_AGAIN} runs of this one, "
                f"{times} failed like this: a replay may pass, or not fit. Make it several times, or keep the objects "
                "in a dict or a list."
            )
    assert told.trace is not None
    token = token_of(program, told)
    folder = os.environ.get(REPORT_VARIABLE)
    failure = told.exception if told.exception is not None else outcome.exception
    assert failure is not None
    story = Story(
        program=name_of(program.main),
        exception=in_words(failure),
        level=outcome.level,
        exceeded=told.exceeded,
        token=token,
        command=replay_command(token) if (replay_command := getattr(program.main, "replay_command", None)) else None,
        options=program.options,
        trace=told.trace,
        passing=_passing(program, outcome) if folder else None,
        tasks=told.tasks,
        likewise="" if likewise is None else _cause(program, likewise),
        advice=_advice(failure),
        unsteady=unsteady,
    )
    report = story.tell()
    if folder:
        try:
            path = write(story, Path(folder))
            written = f"All of it: {path.with_suffix('.html')}, and the same as .txt"
        except OSError as exc:
            written = f"{REPORT_VARIABLE} was not written: {exc}"
        *lines, last = report.splitlines()
        report = "\n".join([*lines, written, last])
    add_note(failure, report)
    return Failure(failure, seed, outcome.level, token, report)


def _made_with_a_trace(program: Program, outcome: Outcome, sameness: Sameness) -> tuple[Outcome, int]:
    """Make a failed run again, with a trace; return it, or what was given if none fails like it.

    Where its order is another one each time, it is made several times; return also how often it failed, else 0.
    """
    told, times = outcome, 0
    for attempt in range(MOST_AGAIN):
        made = program.run(AsFarAsItFits(outcome.choices), outcome.order, trace=Trace())
        if made.fails_like(outcome):
            if attempt == 0 and not sameness.has_another_order:
                return made, 0
            told = made if told is outcome else told
            times += 1
    return told, times


def _cause(program: Program, outcome: Outcome) -> str:
    """Return in words what a run fails by."""
    told = program.run(AsFarAsItFits(outcome.choices), outcome.order, trace=Trace())
    assert told.trace is not None
    return f"if {' and '.join(told.exceeded)}" if told.exceeded else f"where {deviated(told.trace)}"


def _passing(program: Program, outcome: Outcome) -> Trace | None:
    """Return the trace of the run without the last deviation, if that one passes: it is the nearest one that can."""
    positions = deviations(outcome.answers)
    if not positions:
        return None
    trace = Trace()
    nearest = program.run(LenientReplay(outcome.answers[: positions[-1]]), outcome.order, trace=trace)
    return trace if nearest.failed is None else None
