"""explore() and explored(): one async test, hundreds of runs, and the one that breaks, as small as it can be.

Owns these two and their arguments; what an exploration does is the business of `exploration`.
"""

from __future__ import annotations

import concurrent.futures
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, overload

from virtualloop._core.clock import span_in_ticks
from virtualloop._errors import VirtualLoopError
from virtualloop._exploration.budget import Budget, overridden
from virtualloop._exploration.cancel import Cancel, predicate_of
from virtualloop._exploration.cases import CaseStage, is_case
from virtualloop._exploration.control import controlled
from virtualloop._exploration.exploration import Exploration, Explorer, replay_run
from virtualloop._exploration.failure import Failure
from virtualloop._exploration.first import FirstRuns
from virtualloop._exploration.jobs import Node, jobs, node_of
from virtualloop._exploration.ledger import ledger
from virtualloop._exploration.levels import LEVELS, Level
from virtualloop._exploration.mark import EXPLORED
from virtualloop._exploration.mistakes import NO_EXECUTOR, loop_is_running, no_async_function, no_executor
from virtualloop._exploration.program import Program, Usual, function_of, name_of
from virtualloop._exploration.requested import REPLAY_VARIABLE, requested_token
from virtualloop._exploration.run import Main, reads_outside, take_outside
from virtualloop._exploration.sameness import was_made_elsewhere
from virtualloop._exploration.search import SEEDS_APART, Search
from virtualloop._exploration.sometimes import never_true
from virtualloop._loop.virtual import LATENESS
from virtualloop._report.tracebacks import at_definition, readers_only, without_internals
from virtualloop._stock.private import get_running_loop
from virtualloop.schedules._replay import ReplayError
from virtualloop.schedules._token import NUMBERS, decode

if TYPE_CHECKING:
    from virtualloop._exploration.run import RunLoop
    from virtualloop.network import Network

__all__ = ["Exploration", "Failure", "explore", "explored"]

#: unittest leaves the frames of modules that have this out of its tracebacks, as pytest does with `__tracebackhide__`.
__unittest = True

_P = ParamSpec("_P")
#: Exceptions that are a permitted outcome.
Allowed = type[BaseException] | Collection[type[BaseException]]

#: How many runs are made unless told otherwise: half a second of a small test, and ten times what most races take.
RUNS = 1000

NOTHING_VARIES = (
    ": it has no timer, no I/O and no thread. Have its fakes sleep, or explore it with "
    'order="tasks", which also resumes tasks in another order, or with cancel=. If that is how it should be, say '
    'order="io".'
)
NEEDS = (
    ": where that comes later, the test fails, and would without it, too. That says nothing about the program. Set the "
    "test up within virtualloop.plain(), give it more time, or say lateness=0.05"
)
NEEDS_IN_SHORT = ", and fails where that is later, which says nothing about the program"
READS_OUTSIDE = ": from a descriptor, a process or a named address. Its runs are the same only as far as that is."
UNSTEADY = (
    ". A race is found all the same, if less surely, and a replay may be another run. Keep the objects in a dict or a "
    "list, and it is not."
)
NO_SUCH_TASK = ". Give the names of tasks or of their coroutine functions; virtualloop.Trace shows who there is."

NEVER_TRUE = ". What the test is about may never happen in it: give it more runs, or have its fakes lead there."


def explore(
    main: Main,
    *,
    runs: int = RUNS,
    seconds: float | None = None,
    seed: int = 0,
    order: Level | None = None,
    check: bool = True,
    shrink: bool = True,
    cancel: Cancel | None = None,
    executor: concurrent.futures.Executor | None = None,
    replay: str | None = None,
    lateness: float | None = None,
    network: Network | None = None,
    strict: bool = False,
    allow: Allowed = (),
    every_failure: bool = False,
    patch_time: bool = True,
    patch_random: bool = True,
    epoch: datetime | float | None = None,
) -> Exploration:
    """Run a program under many schedules and bring back the first that fails, as small as it can be.

    Arguments:
        main: a function without arguments that makes the coroutine to run; it is called for each run.
        runs: how many runs at most.
        seconds: how long at most, in real seconds; whichever ends first.
        seed: another seed is another exploration; the same one is the same.
        order: what may vary, see `VirtualLoop`. Without it, only what can happen on a loaded machine: how long things
            take, and when timers and results arrive; "tasks" goes further.
        check: raise the failing run's exception, with the story as a note. Else it is in the result.
        shrink: make the failing run small, and see at which order it fails at all.
        cancel: tasks to cancel, once a run, in every place where they wait: names of tasks, names of their coroutine
            functions, or a function of a task that returns whether it is one of them.
        executor: where the runs are made, as in a `ProcessPoolExecutor`; `main` has to be something it can send there.
            The result is that of a serial exploration.
        replay: a token of a failure, to make that one run and no other.
        lateness: how late an event may arrive, in seconds. Without it, 50 ms; and a reply, which is a delivery, a
            thread's result or a sleep that does not repeat, may also be later than the timeouts that wait for it. A
            test that only needs its reply in time does not fail: there is a warning of what it needs.
        network: a `Network`, which each run finds as it is now; what goes wrong there is part of the run.
        strict: whether a run also fails if it leaves anything open, see `VirtualLoop`.
        allow: exceptions that are a permitted outcome: a class, or several.
        every_failure: go on after a failure, and bring back all that differ; several are raised as an ExceptionGroup.
        patch_time: whether `time` and `datetime` follow the clock of the run, see `VirtualLoop`.
        patch_random: whether `uuid`, `secrets` and what else is random answer from the run.
        epoch: where the calendar stands at the start of each run. Without it, the real time when the exploration began,
            to the second; a token keeps it.

    The environment variable VIRTUALLOOP stands above these: `VIRTUALLOOP="runs=20000 seed=today seconds=600"`; with
    `jobs=4`, so many processes make the runs of an `explored` test, where it takes no fixtures.

    A run fails if `main()` raises, if nothing can run any more, if it spins or does not end, or if an exception is left
    to the loop's handler. A test that is skipped, or expected to fail, is not run again, and what a signal's handler
    raises ends the exploration. Raises TypeError or ValueError that names the
    argument, ReplayError for a token that does not fit (it needs the same `cancel`, `network` and `strict`),
    VirtualLoopError for a program that does something else in each run, and RuntimeError inside a running loop. Warns
    where there is nothing to vary, and where the runs do the same in another order, as through a set of objects.

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
    budget = overridden(Budget(runs, seed, _checked_seconds(seconds)))
    if order is not None and order not in LEVELS:
        raise ValueError(f"order must be one of {', '.join(LEVELS)}, not {order!r}")
    if replay is not None and not isinstance(replay, str):
        raise TypeError(f"replay must be a token, not {replay!r}")
    if lateness is not None:
        span_in_ticks(lateness, argument="lateness")
    if epoch is not None and not patch_time:
        raise ValueError("epoch is where the calendar starts, and patch_time=False leaves that as it is")
    begins = _moment(epoch) if patch_time else None
    if get_running_loop() is not None:
        test = name_of(main) if isinstance(main, TestCall) else None
        raise RuntimeError(loop_is_running(test or "explore", test or "explore, main"))
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError(no_executor(executor))
    if network is not None:
        from virtualloop.network import Network  # noqa: PLC0415  # it is loaded where there is one

        if not isinstance(network, Network):
            raise TypeError(f"network must be a virtualloop.Network, not {network!r}")
    program = Program(
        main,
        lateness=LATENESS if lateness is None else lateness,
        replies=lateness is None,
        chosen=predicate_of(cancel),
        network=network,
        strict=strict,
        allow=_exceptions(allow),
        options=None if isinstance(main, TestCall) else _options(cancel, network, strict, allow),
        epoch=begins,
        number=budget.seed * SEEDS_APART % NUMBERS if patch_random else None,
        usual=None if getattr(main, "remarks", None) is None else Usual(),
    )
    try:
        with controlled(patched=program.is_patched):
            if replay is not None:
                exploration = replay_run(program, replay, seed)
            else:
                if isinstance(main, TestCall):
                    executor = jobs(budget.jobs, program)
                search = Search(runs=budget.runs, seed=budget.seed, order=order)
                explorer = Explorer(
                    program, search, budget=budget, shrink=shrink, executor=executor, every_failure=every_failure
                )
                exploration = explorer.explore(main.first if isinstance(main, TestCall) else None)
                ledger.add(exploration, is_test=isinstance(main, TestCall))
                for need in exploration.needs:
                    _warn(main, f" needs {need}", NEEDS, remark=f"needs {need}{NEEDS_IN_SHORT}")
                # That there is little to vary in one of hypothesis's examples says nothing of the others.
                if exploration.failure is None and not _is_example():
                    # Of one that reads from outside that is said below, and that it has no I/O would be wrong.
                    if search.nothing_varies and order is None and not reads_outside():
                        _warn(main, ' leaves nothing to vary at order "io"', NOTHING_VARIES)
                    if exploration.unsteady:
                        _warn(main, f" is not the same in each run: {exploration.unsteady}", UNSTEADY)
                    if exploration.never:
                        _warn(main, f": {never_true(exploration.never, exploration.runs)}", NEVER_TRUE)
                    if cancel is not None and not search.cancels:
                        _warn(main, f" has no task that cancel={cancel!r} means", NO_SUCH_TASK)
    except VirtualLoopError as exc:
        raise _readable(exc, main)  # noqa: B904  # it is the same
    place = take_outside()
    if place is not None:
        _warn(main, f" reads from outside, at {place.file}:{place.line}", READS_OUTSIDE)
    for failure in exploration.failures:
        _readable(failure.exception, main)
    if check and exploration.failures:
        raise exploration.exception()
    return exploration


def _readable(exc: BaseException, main: Main) -> BaseException:
    """Return an exception with the program's lines in its traceback, and none of ours; or where main begins."""
    readable = readers_only if was_made_elsewhere(exc) else without_internals
    return exc.with_traceback(readable(exc.__traceback__) or at_definition(function_of(main)))


@overload
def explored(function: Callable[_P, Coroutine[Any, Any, Any]], /) -> Callable[_P, None]: ...
@overload
def explored(
    *,
    runs: int = ...,
    seconds: float | None = ...,
    seed: int = ...,
    order: Level | None = ...,
    shrink: bool = ...,
    cancel: Cancel | None = ...,
    lateness: float | None = ...,
    network: Network | None = ...,
    strict: bool = ...,
    allow: Allowed = ...,
    every_failure: bool = ...,
    patch_time: bool = ...,
    patch_random: bool = ...,
    epoch: datetime | float | None = ...,
    replay: Sequence[str] = ...,
) -> Callable[[Callable[_P, Coroutine[Any, Any, Any]]], Callable[_P, None]]: ...
def explored(function: Any = None, /, **options: Any) -> Any:
    """Make an async test a plain function that explores it, for any test framework.

    The keywords are those of `explore`, but for `check` and `executor`; `replay` is a list of tokens of runs that are
    always made first. Name and signature stay, so that fixtures, parameters and `self` arrive as before; each run gets
    the same ones. A method of a `unittest.TestCase` is set up and torn down by each run, on an object of its own.

    What fails is kept in the folder `.virtualloop`, and made first the next time; after an edit, as far as it fits.
    The environment variable VIRTUALLOOP_KEEP names another folder; empty, nothing is kept. Where VIRTUALLOOP_REPLAY
    holds a token of this test, that run is made and no other.

    Example:

        @virtualloop.explored(runs=200)
        async def test_queue():
            queue = asyncio.Queue()
            asyncio.get_running_loop().call_later(5, queue.put_nowait, "item")
            assert await queue.get() == "item"

        test_queue()
    """
    check_options(options)
    if function is None:
        return functools.partial(_explored_test, **options)
    return _explored_test(function, **options)


def check_options(options: Collection[str]) -> None:
    """Raise TypeError for a keyword that explored() does not take."""
    known = inspect.signature(explore).parameters.keys() - {"main", "check", "executor"}
    unknown = set(options) - known
    if "executor" in unknown:
        raise TypeError(NO_EXECUTOR)
    if unknown:
        raise TypeError(f"explored() takes no keyword {min(unknown)!r}")


class TestCall(functools.partial[Coroutine[Any, Any, Any]]):
    """A program that is a call of an explored test: to run the test again is how it is replayed."""

    #: What it will be called with, where that is only known in a run.
    parameters: Mapping[str, Any] = MappingProxyType({})
    #: Which runs are made first.
    first: FirstRuns | None = None
    #: Of a test that is explored as it stands, which it is one of many to be: what else would be a warning. Nor does it
    #: fail by what its plain run leaves to the loop's exception handler.
    remarks: list[str] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Node.resolve, (node_of(self.func, self.args, self.keywords),)


class CaseCall(TestCall):
    """A call of an explored method of a test case of unittest's."""

    def on(self, loop: RunLoop) -> CaseStage:
        """Return what a run on `loop` consists of."""
        return CaseStage(self, loop)


class ExploredTest(NamedTuple):
    """What an explored test was made of; the test has it as an attribute."""

    function: Callable[..., Coroutine[Any, Any, Any]]
    options: dict[str, Any]


def _explored_test(
    function: Callable[_P, Coroutine[Any, Any, Any]], *, replay: Sequence[str] = (), **options: Any
) -> Callable[_P, None]:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(no_async_function(function))
    if isinstance(replay, str) or not all(isinstance(token, str) for token in replay):
        raise TypeError(f"replay must be a list of tokens, not {replay!r}")
    for token in replay:
        decode(token)

    @functools.wraps(function)
    def test(*args: _P.args, **kwargs: _P.kwargs) -> None:
        __tracebackhide__ = True  # as in explore()
        call = (CaseCall if args and is_case(args[0]) else TestCall)(function, *args, **kwargs)
        exploration = explore_test(call, {**options, "replay": replay})
        if exploration is not None and exploration.failures:
            raise exploration.exception()

    vars(test)[EXPLORED] = ExploredTest(function, {**options, "replay": replay})
    return test


def explore_test(call: TestCall, options: dict[str, Any], *, token: str | None = None) -> Exploration | None:
    """Explore a call of a test, or make the one run of a token that is for this test.

    Returns None where a token does not fit one of hypothesis's examples: it is for another one.
    """
    __tracebackhide__ = True  # as in explore()
    options = {**options, "check": False}
    pinned = options.pop("replay", ())
    is_example = _is_example()
    token = requested_token(call, token, skips=not is_example)
    if token is None:
        # Hypothesis keeps examples itself.
        call.first = None if is_example else FirstRuns(call, pinned)
        exploration = explore(call, **options)
    else:
        try:
            exploration = explore(call, **options, replay=token)
        except ReplayError as exc:
            if not is_example:
                fits_not = ReplayError(f"{exc} Fixed? Run it without {REPLAY_VARIABLE}.")
                raise _readable(fits_not, call) from None
            return None
        ledger.replays(passes=exploration.failure is None)
    for failure in exploration.failures:
        _readable(failure.exception, call)
    return exploration


def _is_example() -> bool:
    """Return whether hypothesis runs this: then what holds for it is one of its examples', and there are others."""
    hypothesis = sys.modules.get("hypothesis")
    return hypothesis is not None and hypothesis.currently_in_test_context()


# --- small things -----------------------------------------------------------------------------------------------------


def _exceptions(allow: Allowed) -> tuple[type[BaseException], ...]:
    """Return the exceptions that are permitted. Raises TypeError that names the argument."""
    kinds = tuple(allow) if isinstance(allow, Collection) else (allow,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise TypeError(f"allow must be an exception class or several, not {allow!r}")
    return kinds


def _options(cancel: Cancel | None, network: Network | None, strict: bool, allow: Allowed) -> str:  # as in explore()
    """Return what a call that replays has to be given beside main and the token."""
    given = "" if cancel is None else f"cancel={'...' if callable(cancel) else repr(cancel)}, "
    given += "" if network is None else "network=..., "
    given += "strict=True, " if strict else ""
    return given + ("allow=..., " if allow != () else "")


def _check_integer(value: object, argument: str, *, least: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be an integer, not {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{argument} must be at least {least}, got {value}")


def _moment(epoch: datetime | float | None) -> datetime:
    """Return when the calendar begins: the present time without an epoch. Raises as VirtualLoop does."""
    from virtualloop._world.patches import as_datetime, epoch_in_ticks, epoch_now  # noqa: PLC0415  # as `network`

    return as_datetime(epoch_now() if epoch is None else epoch_in_ticks(epoch))


def _checked_seconds(seconds: object) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"seconds must be a number, not {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"seconds must not be negative, got {seconds}")
    return seconds


def _warn(main: Any, what: str, advice: str, *, remark: str = "") -> None:
    """Say, at the program's own line, that there was less to explore than it seems; in a summary, by `remark`."""
    remarks: list[str] | None = getattr(main, "remarks", None)
    if remarks is not None:
        remarks.append(remark or what.removeprefix(":").strip())
        return
    code = getattr(function_of(main), "__code__", _warn.__code__)
    message = f"{name_of(main)}(){what}{advice}"
    warnings.warn_explicit(message, UserWarning, code.co_filename, code.co_firstlineno)
