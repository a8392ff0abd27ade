"""What is made of a run that failed: it is made again, tightened, made small, and told.

Owns these steps and their result, the public class. How a run is made small is the business of `reduction`, what is
said about it that of `story`. A run that is another one when it is made again cannot be made small; it is told as it
was seen, once.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from virtualloop._core.clock import span_in_ticks
from virtualloop._core.shown import without_addresses
from virtualloop._errors import VirtualLoopError
from virtualloop._exploration.files import REPORT_VARIABLE, write
from virtualloop._exploration.identity import identity_of
from virtualloop._exploration.leftovers import Leftovers
from virtualloop._exploration.levels import Level
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.program import Program, name_of
from virtualloop._exploration.progress import Progress
from virtualloop._exploration.reduction import Reduction, again
from virtualloop._exploration.run import add_note, reads_outside
from virtualloop._exploration.search import Plan
from virtualloop._exploration.shrink import deviations
from virtualloop._exploration.story import Story, deviated, in_lines
from virtualloop._exploration.survey import Survey
from virtualloop._loop.explaining import meant_a_real_server
from virtualloop._report.text import in_words
from virtualloop._report.tracebacks import name_of_foreign, readers_only
from virtualloop.schedules import _token
from virtualloop.schedules._replay import LenientReplay, Replay, ReplayError
from virtualloop.trace import Trace

__all__ = [
    "NONDETERMINISM",
    "Failure",
    "check_again",
    "examine",
    "make_again",
    "seen_once",
    "tell",
    "token_of",
    "was_made_elsewhere",
]

#: Why a run may differ from one with the same schedule, in words.
NONDETERMINISM = (
    "it depends on something besides its schedule, such as the real time, the order of a set, an object's address, or "
    "what an earlier run has left behind (a module's global, a cache, a file, a fixture)"
)
#: So many more runs are traced at most to see where they part: a set of two has the same order in every other run.
MOST_TRACED = 12
_ANOTHER_ORDER = (
    "Both do the same in another order. If that is the order of a set of objects, which is that of their addresses, "
    "keep them in a dict or a list."
)
#: What asyncio says of a lock or a queue, or of a task or a future, that is used on a second loop.
_OTHER_LOOPS = ("is bound to a different event loop", "attached to a different loop")
MADE_ELSEWHERE = (
    "that was made on another loop, in a fixture, at module level or by an earlier run, and each run has a loop of its "
    "own: make it in the test"
)


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


def check_again(
    program: Program, plan: Plan, first: Outcome, leftovers: Leftovers, *, states: bool
) -> tuple[Outcome, Survey]:
    """Make the plain run once more, and survey it. Raises VirtualLoopError if it is another one now, or fails."""
    second, survey = program.survey(plan.make(), plan.order, states=states)
    if second.exception is not None:
        what = without_addresses(in_words(second.exception).partition("\n")[0])
        why = _why_it_differs(second, leftovers)
        error = VirtualLoopError(f"the first run passed, and the same run, made again, fails with {what}: {why}")
        # It says all there is to say, at the same line.
        raise error.with_traceback(readers_only(second.exception.__traceback__)) from None
    # A program that reads from outside is the same only as far as that is, and the exploration says so.
    differs = second.choices != first.choices
    if not differs and second.digest != first.digest:
        # The first one may have filled a cache, or opened what stays open.
        third, _ = program.survey(plan.make(), plan.order, states=False)
        differs = third.digest != second.digest
    if differs and not reads_outside():
        raise VirtualLoopError(
            f"the first run, made again, is another one: {NONDETERMINISM}.{leftovers.in_words()}"
            f"{_where_it_differs(program, plan)}"
        )
    return second, survey


def _where_it_differs(program: Program, plan: Plan) -> str:
    """Return at which lines two runs of one schedule part, as far as a few more runs show it."""
    first = _lines_of(program, plan)
    for _ in range(MOST_TRACED):
        second = _lines_of(program, plan)
        for one, other in zip_longest(first, second, fillvalue="(it is over)"):
            if one != other:
                same = _words_of(one) == _words_of(other) or (one in second and other in first)
                advice = f"\n{_ANOTHER_ORDER}" if same else ""
                return f"\nThe same run, made twice, parts here:\n{one}\n{other}{advice}"
    return ""


def _lines_of(program: Program, plan: Plan) -> list[str]:
    trace = Trace()
    program.run(plan.make(), plan.order, trace=trace)
    return trace.lines()


def _words_of(line: str) -> Counter[str]:
    return Counter(re.findall(r"[\w-]+", line))


def make_again(program: Program, plan: Plan, seen: Outcome) -> Outcome | str:
    """Make a failed run again, to know what it was asked; return in words what differs if it is another one now."""
    try:
        made = program.run(plan.make(), plan.order)
    except ReplayError as exc:
        return f"made again, it is another run: {exc}"
    if made.fails_like(seen):
        return made
    how = "passes" if made.failed is None else f"fails with {made.failed}"
    return f"made again, the same run {how}"


def examine(
    program: Program,
    outcome: Outcome,
    seed: int,
    *,
    shrink: bool,
    plain: Program | None,
    progress: Progress,
    executor: concurrent.futures.Executor | None,
    leftovers: Leftovers,
) -> Failure:
    """Label a failure, make it small, and tell it. `plain` is the program of the plain run, where that has passed."""
    if plain is not None and again(plain, outcome, [], outcome.order) is not None:
        what = "the first run, made again, now fails as well, though it passed before"
        return seen_once(outcome, seed, what, leftovers)
    if not shrink:
        return tell(program, outcome, seed)
    reduction = Reduction(program, outcome, progress=progress, executor=executor)
    return tell(program, reduction.reduce(seed), seed, likewise=reduction.likewise)


def seen_once(seen: Outcome, seed: int, what: str, leftovers: Leftovers) -> Failure:
    """Tell of a failure that cannot be made again, and what differs."""
    exception = seen.exception
    if exception is None:  # it was seen in another process
        exception = VirtualLoopError(f"a run failed with {seen.failed}")
    why = f"The program is not the same in each run: {_why_it_differs(seen, leftovers)}"
    report = "\n".join(in_lines(f"virtualloop: seen once (order {seen.level!r}): {what}.", why))
    add_note(exception, report)
    return Failure(exception, seed, seen.level, "", report)


def _why_it_differs(outcome: Outcome, leftovers: Leftovers) -> str:
    if _says_so(outcome.failed or ""):
        return f"{made_elsewhere(outcome.exception)}."
    return f"{NONDETERMINISM}.{leftovers.in_words()}"


def made_elsewhere(exc: BaseException | None) -> str:
    """Return what to say of an exception by which something is used on a loop that is not its own."""
    name = None if exc is None else name_of_foreign(exc)
    return f"it uses {name or 'something'} {MADE_ELSEWHERE}"


def _advice(failure: BaseException) -> str:
    if was_made_elsewhere(failure):
        return made_elsewhere(failure)
    if meant_a_real_server(failure):
        return (
            "a run has a network of its own, whatever loop the test has without exploring: name the real server in "
            "explored(network=Network(outside=[...])), or for a whole suite in pytest's ini file, as explore_outside"
        )
    return ""


def was_made_elsewhere(exc: BaseException) -> bool:
    """Return whether an exception says that something is used on a loop that is not its own."""
    return isinstance(exc, RuntimeError) and _says_so(str(exc))


def _says_so(text: str) -> bool:
    return any(words in text for words in _OTHER_LOOPS)


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


def tell(program: Program, outcome: Outcome, seed: int, *, likewise: Outcome | None = None) -> Failure:
    """Put the story into the notes of the exception; the run is made once more if it has no trace.

    `likewise` is another run that fails in the same way, if one is known whose cause may be the likelier one.
    """
    token = token_of(program, outcome)
    told = outcome
    if outcome.trace is None:
        told = program.run(Replay(outcome.choices), outcome.order, trace=Trace())
    assert told.trace is not None
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


def _cause(program: Program, outcome: Outcome) -> str:
    """Return in words what a run fails by."""
    told = program.run(Replay(outcome.choices), outcome.order, trace=Trace())
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
