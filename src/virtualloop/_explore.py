"""explore() and explored(): one async test, hundreds of runs, and the one that breaks, as small as it can be.

Owns these two and what they return. Which runs are tried is the business of `_search`, what a run is that of `_trial`,
how it is made small that of `_shrink`, and what is said about it that of `_story`.

A failure is found, recorded, tightened, shrunk and told. Each of these steps makes runs of its own, with the answers of
the run before as a start, and goes on only with what fails in the same way: the same type of exception, raised at the
same place.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import functools
import hashlib
import inspect
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TextIO, cast, overload

from virtualloop import _token, _trial
from virtualloop._clock import span_in_ticks
from virtualloop._errors import VirtualLoopError
from virtualloop._loop import LATENESS
from virtualloop._private import get_running_loop
from virtualloop._search import LEVELS, Level, Plan, Search, Seen, level_of, tighter_than
from virtualloop._shrink import deviations
from virtualloop._shrink import shrink as shrink_answers
from virtualloop._story import REPORT_VARIABLE, Story
from virtualloop._trial import Program
from virtualloop.schedules import Answers, Attempt, Choice, Recording, Replay, ReplayError, Schedule
from virtualloop.trace import Trace

if TYPE_CHECKING:
    from virtualloop.network import Network

__all__ = ["Exploration", "Failure", "explore", "explored"]

_P = ParamSpec("_P")
#: The tasks to be cancelled: names of tasks or of their coroutines, or whatever tells these tasks from others.
Cancel = str | Collection[str] | Callable[[asyncio.Task[Any]], bool]

#: Runs to make a failure small, and to look for the same failure at each tighter level: together a second or two of a
#: small test, and much less than it takes to understand a failure that is larger than it has to be.
SHRINK_RUNS = 500
LABEL_RUNS = 200
#: Steps of polling at one instant that are a livelock: fewer than elsewhere, because a program that spins does so in
#: each of hundreds of runs.
SPIN_LIMIT = 50_000
#: Plans that are sent to an executor at a time: few enough to be shared out, enough to be worth the way.
SENT = 8
#: Real seconds before a line of progress is shown, and between two of them.
PROGRESS_AFTER = 1.0
PROGRESS_EACH = 0.2

#: A token, to have explored tests replay that one run.
REPLAY_VARIABLE = "VIRTUALLOOP_REPLAY"

# Kept from before anyone can put it on a virtual clock: progress is shown in real time.
_real_time = time.monotonic


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


@dataclass(frozen=True)
class Exploration:
    """What came of an exploration; as a string, a sentence that says so."""

    #: How many runs were made, the first that failed included, and how many of them differed from all others.
    runs: int
    distinct: int
    #: Whether all runs were made that there are with at most `bound` deviations from stock asyncio; with any number of
    #: them if `bound` is None.
    exhausted: bool
    bound: int | None
    failure: Failure | None

    def __str__(self) -> str:
        made = f"{self.runs} run{'s' if self.runs > 1 else ''}, {self.distinct} different"
        if self.failure is not None:
            what = traceback.format_exception_only(self.failure.exception)[0].partition("\n")[0]
            return f"{made}; the last one failed (order {self.failure.level!r}): {what}"
        if self.exhausted:
            return f"{made}, none failed: all there are" + (
                "" if self.bound is None else f" with {self.bound} deviations"
            )
        return f"{made}, none failed"


def explore(
    main: Program,
    *,
    runs: int = 1000,
    seed: int = 0,
    order: Level | None = None,
    check: bool = True,
    shrink: bool = True,
    cancel: Cancel | None = None,
    executor: concurrent.futures.Executor | None = None,
    replay: str | None = None,
    lateness: float = LATENESS,
    network: Network | None = None,
    strict: bool = False,
) -> Exploration:
    """Run a program under many schedules and bring back the first that fails, as small as it can be.

    Arguments:
        main: a function without arguments that makes the coroutine to run; it is called for each run.
        runs: how many runs at most.
        seed: another seed is another exploration; the same one is the same.
        order: what may vary, see `VirtualLoop`. Without it, only what can happen on a loaded machine: how long things
            take, and when timers and results come in; "tasks" goes further.
        check: raise the failing run's exception, with the story as its notes. Else it is in the result.
        shrink: make the failing run small, and see at which order it fails at all.
        cancel: tasks to cancel, once a run, in every place where they wait: names of tasks, names of their coroutine
            functions, or a function of a task that returns whether it is one of them.
        executor: where the runs are made, as in a `ProcessPoolExecutor`; `main` has to be something it can send there.
            The result is that of a serial exploration.
        replay: a token of a failure, to make that one run and no other.
        lateness: how late an event may come in, in seconds.
        network: a `Network`, which each run finds as it is now; what goes wrong there is part of the run.
        strict: whether a run also fails if it leaves anything open, see `VirtualLoop`.

    A run fails if `main()` raises, if nothing can run any more, if it spins, or if an exception is left to the loop's
    handler. Raises TypeError or ValueError that names the argument, ReplayError for a token that does not fit, and
    RuntimeError inside a running loop.

    Example:

        async def main():
            balance = 100

            async def deposit(amount, after):
                nonlocal balance
                await asyncio.sleep(after)
                before = balance
                await asyncio.sleep(0.01)
                balance = before + amount

            await asyncio.gather(deposit(10, after=0.0), deposit(20, after=0.03))
            assert balance == 130

        exploration = virtualloop.explore(main, check=False)
        assert exploration.failure.level == "timing"  # stock asyncio can do it
    """
    if not callable(main):
        raise TypeError(f"main must be a function that makes a coroutine, not {main!r}; pass main, not main()")
    _check_integer(runs, "runs", least=1)
    _check_integer(seed, "seed", least=None)
    if order is not None and order not in LEVELS:
        raise ValueError(f"order must be one of {', '.join(LEVELS)}, not {order!r}")
    if replay is not None and not isinstance(replay, str):
        raise TypeError(f"replay must be a token, not {replay!r}")
    span_in_ticks(lateness, argument="lateness")
    if get_running_loop() is not None:
        raise RuntimeError("explore() runs whole programs, and a loop is running: call it from a plain function")
    if network is not None:
        from virtualloop.network import Network  # noqa: PLC0415  # it is loaded where there is one

        if not isinstance(network, Network):
            raise TypeError(f"network must be a virtualloop.Network, not {network!r}")
    trials = Trials(main, lateness, _predicate(cancel), network, strict)
    with _trial.controlled():
        if replay is not None:
            exploration = _replayed(trials, replay, seed)
        else:
            search = Search(runs=runs, seed=seed, order=order)
            exploration = _explored(trials, search, runs, seed, shrink, executor)
            if search.nothing_varies and order is None and exploration.failure is None:
                _warn_of(main)
    if check and exploration.failure is not None:
        raise exploration.failure.exception
    return exploration


@overload
def explored(function: Callable[_P, Coroutine[Any, Any, Any]], /) -> Callable[_P, None]: ...
@overload
def explored(
    *,
    runs: int = ...,
    seed: int = ...,
    order: Level | None = ...,
    shrink: bool = ...,
    cancel: Cancel | None = ...,
    executor: concurrent.futures.Executor | None = ...,
    lateness: float = ...,
    network: Network | None = ...,
    strict: bool = ...,
) -> Callable[[Callable[_P, Coroutine[Any, Any, Any]]], Callable[_P, None]]: ...
def explored(function: Any = None, /, **options: Any) -> Any:
    """Make an async test a plain function that explores it, for any test framework.

    The keywords are those of `explore`. Name and signature stay, so that fixtures, parameters and `self` arrive as
    before; each run gets the same ones. Where the environment variable VIRTUALLOOP_REPLAY holds a token of this test,
    that run is made and no other.

    Example:

        @virtualloop.explored(runs=200)
        async def test_queue():
            queue = asyncio.Queue()
            asyncio.get_running_loop().call_later(5, queue.put_nowait, "item")
            assert await queue.get() == "item"

        test_queue()
    """
    if function is None:
        unknown = options.keys() - inspect.signature(explore).parameters.keys() | options.keys() & {
            "main",
            "check",
            "replay",
        }
        if unknown:
            raise TypeError(f"explored() takes no keyword {min(unknown)!r}")
        return functools.partial(_explored_test, **options)
    return _explored_test(function, **options)


def _explored_test(function: Callable[_P, Coroutine[Any, Any, Any]], **options: Any) -> Callable[_P, None]:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"explored() is for async functions, and {function!r} is none")

    @functools.wraps(function)
    def test(*args: _P.args, **kwargs: _P.kwargs) -> None:
        token = os.environ.get(REPLAY_VARIABLE)
        if token is not None and _token.decode(token).program != _token.fingerprint(_name_of(function)):
            token = None  # another test's
        explore(functools.partial(function, *args, **kwargs), **options, replay=token)

    return test


# --- the runs of an exploration ---------------------------------------------------------------------------------------


@dataclass
class Trials:
    """How this program is run. Small enough to be sent to another process, if the program is."""

    program: Program
    lateness: float
    chosen: Callable[[asyncio.Task[Any]], bool] | None
    network: Network | None
    strict: bool

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


class Recorded(NamedTuple):
    """A run that failed, and all that it takes to make it again."""

    failure: BaseException
    order: Level
    choices: list[Choice]


def _explored(
    trials: Trials,
    search: Search,
    runs: int,
    seed: int,
    shrink: bool,  # as in explore()
    executor: concurrent.futures.Executor | None,
) -> Exploration:
    """Make the runs of the search up to the first that fails."""
    count = 0
    digests: set[bytes] = set()
    rounds = search.rounds()
    seen: list[Seen] = []
    progress = Progress(sys.stderr, runs)
    try:
        plans = next(rounds)
        while True:
            seen = []
            for plan, (failed, each) in zip(plans, _looks(trials, plans, executor), strict=False):
                count += 1
                digests.add(each.digest)
                progress.show(count, len(digests))
                if failed is not None:
                    progress.clear()
                    recorded = _record(trials, plan, failed)
                    failure = _examined(trials, recorded, seed, shrink=shrink)
                    return Exploration(count, len(digests), exhausted=False, bound=None, failure=failure)
                seen.append(each)
            plans = rounds.send(seen)
    except StopIteration:
        pass
    except ReplayError as exc:
        raise VirtualLoopError(
            "the program is not the same in each run, so no run of it can be replayed: it depends on something besides "
            f"its schedule, such as the real time, a set's order, an object's address, or what earlier runs left: {exc}"
        ) from None
    finally:
        progress.clear()
    return Exploration(count, len(digests), exhausted=search.exhausted, bound=search.bound, failure=None)


def _looks(
    trials: Trials, plans: Sequence[Plan], executor: concurrent.futures.Executor | None
) -> Iterator[tuple[BaseException | str | None, Seen]]:
    """Make the runs of a round, one after the other or by an executor; give their results in the order of the plans."""
    if executor is None or len(plans) == 1:
        for plan in plans:
            yield trials.look(plan)
        return
    sent = [executor.submit(_look_at, trials, plans[i : i + SENT]) for i in range(0, len(plans), SENT)]
    try:
        for future in sent:
            try:
                yield from future.result()
            except Exception as exc:
                if "pickle" in str(exc).lower() or "local object" in str(exc):
                    raise TypeError(
                        f"the executor cannot send {trials.program!r} to another process ({exc}): define main, and "
                        "what cancel= is given, at the top level of a module; functools.partial gives them arguments"
                    ) from exc
                raise
    finally:
        for future in sent:
            future.cancel()


def _look_at(trials: Trials, plans: Sequence[Plan]) -> list[tuple[str | None, Seen]]:
    """Make some runs in another process; stop at the first that fails."""
    results: list[tuple[str | None, Seen]] = []
    # In a thread, others are at work as well, and a network is one loop's at a time.
    trials = replace(trials, network=copy.copy(trials.network))
    with _trial.controlled():
        for plan in plans:
            failure, seen = trials.look(plan)
            results.append((None if failure is None else repr(failure), seen))
            if failure is not None:
                break
    return results


def _record(trials: Trials, plan: Plan, failed: BaseException | str) -> Recorded:
    """Make a run that failed once more, to know its choices and to see that it fails again."""
    recording = Recording(plan.make())
    failure = trials.run(recording, plan.order)
    if failure is None or (isinstance(failed, BaseException) and _trial.key(failure) != _trial.key(failed)):
        error = VirtualLoopError(
            f"a run failed with {failed if isinstance(failed, str) else repr(failed)}, and the same run, made again, "
            f"{'passes' if failure is None else f'fails with {failure!r}'}: the program depends on something besides "
            "its schedule, such as the real time, a set's order, an object's address, or what earlier runs left"
        )
        raise error from (failed if isinstance(failed, BaseException) else None)
    return Recorded(failure, plan.order, recording.choices)


def _replayed(trials: Trials, token: str, seed: int) -> Exploration:
    """Make the one run that a token holds."""
    schedule = Replay(token)
    trials.lateness = cast("float", schedule.lateness)
    recording = Recording(schedule)
    order = cast("Level", schedule.order)
    failure = trials.run(recording, order)
    found = None if failure is None else _told(trials, Recorded(failure, order, recording.choices), seed)
    return Exploration(1, 1, exhausted=False, bound=None, failure=found)


# --- what is made of a failure ----------------------------------------------------------------------------------------


def _examined(trials: Trials, recorded: Recorded, seed: int, *, shrink: bool) -> Failure:
    """Label a failure, make it small, and tell it."""
    if shrink:
        recorded = _shrunk(trials, _tightened(trials, recorded))
        for level in tighter_than(level_of(_deviating_kinds(recorded.choices))):
            found = _found_at(trials, recorded, level, seed)
            if found is not None:
                recorded = _shrunk(trials, found)
                break
        recorded = _tightened(trials, recorded)
    return _told(trials, recorded, seed)


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
    try:
        plans = next(rounds)
        while True:
            seen = []
            for plan in plans:
                failure, each = trials.look(plan)
                if failure is not None and _trial.key(failure) == _trial.key(recorded.failure):
                    return _record(trials, plan, failure)
                seen.append(each)
            plans = rounds.send(seen)
    except StopIteration:
        return None


def _told(trials: Trials, recorded: Recorded, seed: int) -> Failure:
    """Make the run once more with a trace, and put the story into the notes of its exception."""
    level = level_of(_deviating_kinds(recorded.choices))
    lateness = span_in_ticks(trials.lateness, argument="lateness")
    name = _name_of(trials.program)
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
        trace=trace,
        end=end,
        passing=_passing(trials, recorded),
        tasks=tasks,
    )
    report = story.tell()
    folder = os.environ.get(REPORT_VARIABLE)
    if folder:
        path = story.write(Path(folder))
        *lines, last = report.splitlines()
        report = "\n".join([*lines, f"All of it: {path}, and {path.with_suffix('.html').name} beside it", last])
    for line in report.splitlines():
        failure.add_note(line)
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


# --- small things -----------------------------------------------------------------------------------------------------


class Named:
    """Tells tasks by their names, or by those of their coroutine functions."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    def __call__(self, task: asyncio.Task[Any]) -> bool:
        coro = task.get_coro()
        names = {task.get_name(), getattr(coro, "__name__", ""), getattr(coro, "__qualname__", "")}
        return not names.isdisjoint(self._names)


def _predicate(cancel: Cancel | None) -> Callable[[asyncio.Task[Any]], bool] | None:
    if cancel is None or (callable(cancel) and not isinstance(cancel, type)):
        return cancel
    names = [cancel] if isinstance(cancel, str) else cancel
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"cancel must be names of tasks or a function of a task, not {cancel!r}")
    if not names:
        raise ValueError("cancel must name at least one task")
    return Named(names)


def _check_integer(value: object, argument: str, *, least: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be an integer, not {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{argument} must be at least {least}, got {value}")


def _warn_of(program: Any) -> None:
    """Say, at the program's own line, that there was nothing to explore."""
    while isinstance(program, functools.partial):
        program = program.func
    code = getattr(program, "__code__", _warn_of.__code__)
    warnings.warn_explicit(
        f'{_name_of(program)}() leaves nothing to vary at order "io": it has no timer, no I/O and no thread. Have its '
        'fakes sleep, or explore it with order="tasks", which also resumes tasks in another order, or with cancel=. '
        'If that is how it should be, say order="io".',
        UserWarning,
        code.co_filename,
        code.co_firstlineno,
    )


def _name_of(program: Any) -> str:
    """Return the name of a program, the same in every process."""
    while isinstance(program, functools.partial):
        program = program.func
    return str(getattr(program, "__qualname__", type(program).__qualname__))


def _digest(answers: Sequence[int]) -> bytes:
    """Return what tells a run from others of the same program, in every process."""
    try:
        text = bytes(answers)
    except ValueError:
        text = repr(answers).encode()
    return hashlib.blake2b(text, digest_size=8).digest()


class Progress:
    """A line on a terminal that says how far a long exploration is; silent elsewhere."""

    def __init__(self, stream: TextIO, runs: int) -> None:
        self._stream = stream
        self._runs = runs
        self._next = _real_time() + PROGRESS_AFTER if stream.isatty() else float("inf")
        self._shown = False

    def show(self, count: int, distinct: int) -> None:
        """Say that so many runs were made, if it is time to."""
        if _real_time() >= self._next:
            self._next = _real_time() + PROGRESS_EACH
            self._shown = True
            line = f"\rexploring: {count} of {self._runs} runs, {distinct} different"
            print(line, end="", file=self._stream, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = False
            print("\r\033[K", end="", file=self._stream, flush=True)
