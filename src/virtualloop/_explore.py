"""explore() and explored(): one async test, hundreds of runs, and the one that breaks, as small as it can be.

Owns these two and what they return. Which runs are tried is the business of `_search`, what a run is that of `_trial`,
and what is made of one that fails that of `_failure`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import os
import pickle
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ParamSpec, cast, overload

from virtualloop import _token, _trial
from virtualloop._chronicle import counted
from virtualloop._clock import span_in_ticks
from virtualloop._errors import DeadlockError, LivelockError, VirtualLoopError
from virtualloop._failure import IMPURE, Failure, Recorded, check_again, check_plain, examine, record, tell
from virtualloop._loop import LATENESS
from virtualloop._private import get_running_loop
from virtualloop._progress import Progress
from virtualloop._search import LEVELS, Level, Plan, Search, Seen, next_round
from virtualloop._trial import Program
from virtualloop._trials import Trials, function_of, name_of
from virtualloop.schedules import Recording, Replay, ReplayError

if TYPE_CHECKING:
    from virtualloop.network import Network

__all__ = ["Exploration", "Failure", "explore", "explored"]

_P = ParamSpec("_P")
#: The tasks to be cancelled: names of tasks or of their coroutines, or whatever tells these tasks from others.
Cancel = str | Collection[str] | Callable[[asyncio.Task[Any]], bool]

#: How many runs are made unless told otherwise: half a second of a small test, and ten times what most races take.
RUNS = 1000
#: Plans that are sent to an executor at a time: few enough to be shared out, enough to be worth the way.
SENT = 8
#: A token, to have explored tests replay that one run.
REPLAY_VARIABLE = "VIRTUALLOOP_REPLAY"

NOTHING_VARIES = (
    ": it has no timer, no I/O and no thread. Have its fakes sleep, or explore it with "
    'order="tasks", which also resumes tasks in another order, or with cancel=. If that is how it should be, say '
    'order="io".'
)
NO_SUCH_TASK = ". Give the names of tasks or of their coroutine functions; virtualloop.Trace shows who there is."

_one_at_a_time = threading.Lock()
_CANNOT_BE_SENT = (pickle.PicklingError, TypeError, AttributeError)


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
        made = f"{counted(self.runs, 'run')}, {self.distinct} different"
        if self.failure is not None:
            what = traceback.format_exception_only(self.failure.exception)[0].partition("\n")[0]
            return f"{made}; the last one failed (order {self.failure.level!r}): {what}"
        if self.exhausted:
            bound = "" if self.bound is None else f" with at most {counted(self.bound, 'deviation')}"
            return f"{made}, none failed: all there are{bound}"
        return f"{made}, none failed"


def explore(
    main: Program,
    *,
    runs: int = RUNS,
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
        check: raise the failing run's exception, with the story as a note. Else it is in the result.
        shrink: make the failing run small, and see at which order it fails at all.
        cancel: tasks to cancel, once a run, in every place where they wait: names of tasks, names of their coroutine
            functions, or a function of a task that returns whether it is one of them.
        executor: where the runs are made, as in a `ProcessPoolExecutor`; `main` has to be something it can send there.
            The result is that of a serial exploration.
        replay: a token of a failure, to make that one run and no other.
        lateness: how late an event may come in, in seconds.
        network: a `Network`, which each run finds as it is now; what goes wrong there is part of the run.
        strict: whether a run also fails if it leaves anything open, see `VirtualLoop`.

    A run fails if `main()` raises, if nothing can run any more, if it spins or does not end, or if an exception is left
    to the loop's handler. A test that is skipped is not run again. Raises TypeError or ValueError that names the
    argument, ReplayError for a token that does not fit (it needs the same `cancel`, `network` and `strict`),
    VirtualLoopError for a program that is not the same in each run, and RuntimeError inside a running loop. Warns where
    there is nothing to vary.

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
    __tracebackhide__ = True  # pytest shows the program's frames, not ours
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
    options = None if isinstance(main, TestCall) else _options(cancel, network, strict)
    trials = Trials(main, lateness, _predicate(cancel), network, strict, options)
    with _trial.controlled():
        if replay is not None:
            exploration = _replayed(trials, replay, seed)
        else:
            search = Search(runs=runs, seed=seed, order=order)
            exploration = _explored(trials, search, runs, seed, shrink, executor)
            # That there is little to vary in one of hypothesis's examples says nothing of the others.
            if exploration.failure is None and not _is_example():
                if search.nothing_varies and order is None:
                    _warn(main, 'leaves nothing to vary at order "io"', NOTHING_VARIES)
                if cancel is not None and not search.cancels:
                    _warn(main, f"has no task that cancel={cancel!r} means", NO_SUCH_TASK)
    if check and exploration.failure is not None:
        failure = exploration.failure.exception
        # Where a loop stood when nothing could run any more, or for ever, says nothing of the program.
        raise failure.with_traceback(None) if isinstance(failure, DeadlockError | LivelockError) else failure
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
    lateness: float = ...,
    network: Network | None = ...,
    strict: bool = ...,
) -> Callable[[Callable[_P, Coroutine[Any, Any, Any]]], Callable[_P, None]]: ...
def explored(function: Any = None, /, **options: Any) -> Any:
    """Make an async test a plain function that explores it, for any test framework.

    The keywords are those of `explore`, but for `executor`. Name and signature stay, so that fixtures, parameters and
    `self` arrive as before; each run gets the same ones. Where the environment variable VIRTUALLOOP_REPLAY holds a
    token of this test, that run is made and no other.

    Example:

        @virtualloop.explored(runs=200)
        async def test_queue():
            queue = asyncio.Queue()
            asyncio.get_running_loop().call_later(5, queue.put_nowait, "item")
            assert await queue.get() == "item"

        test_queue()
    """
    if function is None:
        # An executor would have to find the function by its name, where there is the test in its place.
        known = inspect.signature(explore).parameters.keys() - {"main", "check", "executor", "replay"}
        unknown = options.keys() - known
        if unknown:
            raise TypeError(f"explored() takes no keyword {min(unknown)!r}")
        return functools.partial(_explored_test, **options)
    return _explored_test(function, **options)


class TestCall(functools.partial[Coroutine[Any, Any, Any]]):
    """A program that is a call of an explored test: to run the test again is how it is replayed."""


def _explored_test(function: Callable[_P, Coroutine[Any, Any, Any]], **options: Any) -> Callable[_P, None]:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"explored() is for async functions, and {function!r} is none")

    @functools.wraps(function)
    def test(*args: _P.args, **kwargs: _P.kwargs) -> None:
        __tracebackhide__ = True  # as in explore()
        token = os.environ.get(REPLAY_VARIABLE) or None
        if token is not None and _token.decode(token).program != _token.fingerprint(name_of(function)):
            token = None  # another test's
        try:
            explore(TestCall(function, *args, **kwargs), **options, replay=token)
        except ReplayError:
            if not _is_example():
                raise

    return test


def _is_example() -> bool:
    """Return whether hypothesis runs this: then what holds for it is one of its examples', and there are others."""
    hypothesis = sys.modules.get("hypothesis")
    return hypothesis is not None and hypothesis.currently_in_test_context()


# --- the runs of an exploration ---------------------------------------------------------------------------------------


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
    plans: list[Plan] | None = next(rounds)
    progress = Progress(sys.stderr, runs)
    try:
        while plans is not None:
            seen: list[Seen] = []
            for plan, (failed, each) in zip(plans, _looks(trials, plans, executor), strict=False):
                count += 1
                if count == 1 and failed is None:
                    check_again(trials, plan, each.choices)
                digests.add(each.digest)
                progress.show(count, len(digests))
                if failed is not None:
                    progress.clear()
                    recorded = record(trials, plan, failed)
                    if count > 1:
                        check_plain(trials, recorded)
                    failure = examine(trials, recorded, seed, shrink=shrink)
                    return Exploration(count, len(digests), exhausted=False, bound=None, failure=failure)
                seen.append(each)
            plans = next_round(rounds, seen)
    except ReplayError as exc:
        raise VirtualLoopError(f"the program is not the same in each run: {IMPURE}: {exc}") from None
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
                if isinstance(exc, _CANNOT_BE_SENT) and re.search("pickl|local object", str(exc)):
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
    # In a thread, others may be at work as well, and what a run starts from belongs to the whole process.
    with _one_at_a_time, _trial.controlled():
        for plan in plans:
            failure, seen = trials.look(plan)
            results.append((None if failure is None else type(failure).__qualname__, seen))
            if failure is not None:
                break
    return results


def _replayed(trials: Trials, token: str, seed: int) -> Exploration:
    """Make the one run that a token holds."""
    schedule = Replay(token)
    trials = replace(trials, lateness=cast("float", schedule.lateness))
    recording = Recording(schedule)
    order = cast("Level", schedule.order)
    failure = trials.run(recording, order)
    schedule.check_end()
    found = None if failure is None else tell(trials, Recorded(failure, order, recording.choices), seed)
    return Exploration(1, 1, exhausted=False, bound=None, failure=found)


# --- small things -----------------------------------------------------------------------------------------------------


def _predicate(cancel: Cancel | None) -> Callable[[asyncio.Task[Any]], bool] | None:
    if cancel is None or (callable(cancel) and not isinstance(cancel, type)):
        return cancel
    names = [cancel] if isinstance(cancel, str) else cancel
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"cancel must be names of tasks or a function of a task, not {cancel!r}")
    if not names:
        raise ValueError("cancel must name at least one task")
    return _trial.Named(names)


def _options(cancel: Cancel | None, network: Network | None, strict: bool) -> str:  # as in explore()
    """Return what a call that replays has to be given beside main and the token."""
    given = "" if cancel is None else f"cancel={'...' if callable(cancel) else repr(cancel)}, "
    given += "" if network is None else "network=..., "
    return given + ("strict=True, " if strict else "")


def _check_integer(value: object, argument: str, *, least: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be an integer, not {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{argument} must be at least {least}, got {value}")


def _warn(program: Any, what: str, advice: str) -> None:
    """Say, at the program's own line, that there was less to explore than it seems."""
    code = getattr(function_of(program), "__code__", _warn.__code__)
    message = f"{name_of(program)}() {what}{advice}"
    warnings.warn_explicit(message, UserWarning, code.co_filename, code.co_firstlineno)
