"""One run of a program, kept apart from all others, and what counts as its failure.

Owns the conditions under which a program is tried: the same for each run, so that its schedule is all that decides it.
Knows nothing of which schedules are tried, and why.

A run fails if its main coroutine raises, if nothing can run any more, if it spins without end, and if an exception
reaches the loop's exception handler, which is also where exceptions go that nobody retrieves. The last are only found
when the task that holds them is gone, so the garbage of a run is collected before its verdict; that is also why the
collector is off while a run lasts: else it would be the collector's state that says when objects are gone.

Not everything that comes out of a program says that it is wrong: what a test framework raises to skip a test or to end
the session, Ctrl-C, and whatever else a signal's handler raises, end the exploration and are passed on as they are.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from virtualloop._core.outside import Instrument
from virtualloop._errors import LivelockError, VirtualLoopError
from virtualloop._exploration.body import ExploringScheduler
from virtualloop._exploration.control import NoAlarm, alarm_here, alone, ignore_unawaited, leave_behind
from virtualloop._exploration.steps import StateLog, StepLog, WithholdingLog
from virtualloop._loop.options import scheduler_of
from virtualloop._loop.virtual import VirtualLoop
from virtualloop._report.frames import Place, caller
from virtualloop._report.text import in_words
from virtualloop._stock.tasks import all_tasks
from virtualloop.trace._trace import recorder_of

if TYPE_CHECKING:
    from virtualloop._core.scheduler import Scheduler
    from virtualloop._loop.alarms import Alarm
    from virtualloop._world.patches import Patches
    from virtualloop.trace import Trace

__all__ = ["Main", "Result", "RunLoop", "SweptLoop", "add_note", "is_verdict", "reads_outside", "run", "take_outside"]

Main = Callable[[], Coroutine[Any, Any, Any]]

#: What our notes begin with.
HANDLED = "It came to the loop's exception handler"
BESIDES = "Besides, in the tear-down"
OUR_NOTES = ("virtualloop: ", HANDLED, BESIDES)
#: Jumps of the clock in one run before it is said not to end: a minute of heartbeats a millisecond apart, and about as
#: long as anyone waits for one of hundreds of runs.
MOST_JUMPS = 60_000

#: Exceptions by which a test says that it cannot be run at all or is known to fail, that the session is over, or that
#: hypothesis has to go on with other data: by name, because these frameworks may not be installed. They end an
#: exploration and are no failure.
NO_VERDICT = frozenset({"SkipTest", "Skipped", "XFailed", "Exit", "UnsatisfiedAssumption", "StopTest"})
FRAMEWORKS = frozenset({"unittest", "_pytest", "hypothesis"})


class NoProgramError(TypeError):
    """What was to be run is no program."""


class Cancels(Instrument, Protocol):
    """What asks about a task that waits whether it is cancelled."""

    def ask(self, task: asyncio.Task[Any], *, waits: bool) -> None:
        """Ask here: where it has begun to wait, or before it goes on."""
        ...


class _Outside(threading.local):
    """Where a program that this thread has run was reading from outside of it: from a descriptor, or a process."""

    place: Place | None = None


_outside = _Outside()


def reads_outside() -> bool:
    """Return whether a program of this thread has read from outside since `take_outside` was last called."""
    return _outside.place is not None


def take_outside() -> Place | None:
    """Return where a program of this thread has read from outside since this was last asked, or None."""
    place, _outside.place = _outside.place, None
    return place


class RunLoop(VirtualLoop):
    """A loop that keeps what would be logged."""

    _apart = True
    # The module `random` starts from the same state in each run, see `alone`.
    _has_own_random = False
    reported: list[dict[str, Any]] = []  # noqa: RUF012  # replaced, see run(): __init__ would cost each run
    # Whether a task was cancelled because the schedule said so.
    has_cancelled = False
    # Whether all are, because the run is over.
    is_over = False
    # Whether what comes to the exception handler is logged as well, as on a stock loop.
    logs_errors = False
    # What becomes of main, until it has passed, and what it has returned, which lives as long as the loop; and whether
    # it would wait forever for what is withheld.
    main: asyncio.Future[Any] | None = None
    returned: Any = None
    waits_in_vain = False
    # A task that is there for main and its fixtures, and is no part of the program where main has ended.
    host: asyncio.Task[Any] | None = None
    # Why this is no run of the program: what was raised by something else than it.
    aborted: BaseException | None = None

    def __init__(self, *, number: int | None, **options: Any) -> None:
        self._number = number
        super().__init__(patch_random=number is not None, **options)

    @property
    def _most_jumps(self) -> int:  # type: ignore[override]  # a heartbeat goes on beside a main that waits in vain
        return MOST_JUMPS

    def _endless(self, jumps: int) -> BaseException | None:
        return LivelockError(
            f"the run does not end: the clock has jumped {jumps} times, and main is not done.\n"
            f"{self.describe_tasks()}\n"
            "Look for what main waits for. A test that is as long as that is for a plain VirtualLoop."
        )

    @property
    def patches(self) -> Patches | None:
        """The clocks and dice of the run, if it has its own."""
        return self._patches

    def _scheduling(self) -> Scheduler:
        if self._scheduler is None:
            self._scheduler = scheduler_of(self, usual=ExploringScheduler)
        return self._scheduler

    def watch(self, log: StepLog, *, replies: bool) -> None:
        """Have `log` look at each step, and `replies` say whether these may be later than their timeouts."""
        self._replies = replies
        scheduler = self._scheduling()
        if isinstance(log, StateLog):
            log.attach(scheduler.arrivals, self._clock, self._recorder)
        elif isinstance(log, WithholdingLog):
            log.give_up = self.give_up
            if scheduler.arrivals is not None:
                scheduler.arrivals.on_ask = log.asks
        scheduler.add_instrument(log)

    def _note_outside(self) -> None:
        _outside.place = caller()

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep the error that `context` describes."""
        # Up to Python 3.12, a server says so of each handler that we cancel.
        if not (self.is_over and isinstance(context.get("exception"), asyncio.CancelledError)):
            self.reported.append(context)
            if self.logs_errors:
                super().default_exception_handler(context)

    @property
    def is_strict(self) -> bool:
        """Whether what is left open is an error."""
        return self._watch is not None

    def sometimes(self) -> tuple[tuple[str, bool], ...]:
        """Return what the program says that is sometimes true, and whether it was."""
        return () if self._conditions is None else tuple(self._conditions.sometimes.items())

    def drop(self) -> None:
        """Close without a word about what a failed run leaves open."""
        self._close()

    def has_raised(self, exc: BaseException) -> None:
        """Main has failed with `exc` in this step, and its task goes on."""
        if self._recorder is not None:
            self._recorder.raises(exc)

    def give_up(self) -> None:
        """End the run: main waits for what is withheld."""
        self.waits_in_vain = True
        self.stop()

    def abort(self, exc: BaseException) -> None:
        """End the run with what is no fault of the program's."""
        if self.aborted is None:
            self.aborted = exc
            self.stop()


class SweptLoop(RunLoop):
    """The same where tasks are cancelled wherever they wait."""

    cancels: Cancels | None = None

    def cancel_wherever_it_waits(self, sweep: Cancels) -> None:
        """Have `sweep` ask about tasks, at each of their steps and where they begin eagerly."""
        self.cancels = sweep
        self._scheduling().add_instrument(sweep, innermost=True)

    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Return a task; where it has begun already, and waits, it may be cancelled there."""
        task = super().create_task(coro, **kwargs)
        if self.cancels is not None and getattr(coro, "cr_await", None) is not None:
            self.cancels.ask(task, waits=True)
        return task

    def ask_to_cancel(self, task: asyncio.Task[Any], *, waits: bool) -> None:
        """Cancel the task, if the schedule says so."""
        if self._choose(2, "cancel"):
            if not self.has_cancelled:
                # A task that is cancelled before it begins, as anyio's, leaves the coroutine that it was to await.
                ignore_unawaited()
            self.has_cancelled = True
            if self._recorder is None:
                task.cancel()
            else:
                self._recorder.cancel(task, waits=waits)


# People read this name in the repr of the loop.
for _kind in (RunLoop, SweptLoop):
    _kind.__name__ = _kind.__qualname__ = "VirtualLoop"


class Result(NamedTuple):
    """What a run failed with, if it did; and of a failed main, what its tasks did.

    Besides, what the program says that is sometimes true, and whether it was; and where main has not failed, all that
    came to the loop's exception handler, the first of which is the failure.
    """

    exception: BaseException | None
    tasks: str = ""
    sometimes: tuple[tuple[str, bool], ...] = ()
    handled: tuple[BaseException, ...] = ()


class Stage(Protocol):
    """What surrounds main in one run: it is set up before, and torn down after, on the loop of the run."""

    def __call__(self) -> Coroutine[Any, Any, Any] | asyncio.Future[Any]:
        """Set up; return the main coroutine, or what becomes of it where it is in a task already."""
        ...

    def close(self, *, failed: bool) -> None:
        """Tear down."""


def run(main: Main, make_loop: Callable[[], RunLoop], *, trace: Trace | None = None) -> Result:
    """Run `main()` on a new loop; return what came of it. To be called within `controlled()`.

    With a trace, which the loop keeps, what the tasks did when main failed is told: before anything is cancelled.
    The random module starts from the same state in each run, and what a run puts into context variables stays there.
    A `main` with a method `on(loop)` is asked for the stage of the run.
    """
    return alone(contextvars.copy_context().run, _run, main, make_loop, trace)


def _run(main: Main, make_loop: Callable[[], RunLoop], trace: Trace | None) -> Result:
    loop = make_loop()
    reported = loop.reported = []
    patches = loop.patches
    entered = None
    alarm = alarm_here()
    try:
        if patches is not None:
            # What is set up before main, and torn down after it, is a part of the run.
            alarm.waits = True
            patches.enter()
            entered = patches
            alarm.waits = False
        # What is known of the loop on the way is known there only: here it is to go.
        result = _result(loop, main, trace, alarm)
        if result.exception is None:
            aside = _unawaited() if loop.waits_in_vain else nullcontext()
            del loop
            with aside:
                gc.collect(0)
            if reported:
                handled = tuple(map(_as_exception, reported))
                result = result._replace(exception=handled[0], handled=handled)
        if result.exception is not None:
            leave_behind()
    finally:
        if entered is not None:
            alarm.waits = True
            entered.leave()
            alarm.waits = False
    return result


def _result(loop: RunLoop, main: Main, trace: Trace | None, alarm: Alarm | NoAlarm) -> Result:
    result = Result(None)
    on: Callable[[RunLoop], Stage] | None = getattr(main, "on", None)
    stage = None if on is None else on(loop)
    try:
        try:
            alarm.check()
            _run_main(loop, main, stage)
        except BaseException as exc:
            _pass_on(loop, exc)
            # Who awaits a task that was cancelled is cancelled, too: that is no fault of the program.
            if not loop.waits_in_vain and not (loop.has_cancelled and isinstance(exc, asyncio.CancelledError)):
                result = Result(exc)
            if trace is not None:
                recorder_of(trace).has_failed()
                result = Result(result.exception, _tasks_of(loop, exc))
        raised = result.exception
        result = result._replace(sometimes=loop.sometimes())
        loop.is_over = True
        tear_downs = [functools.partial(_tear_down, loop)]
        if stage is not None:
            tear_downs.insert(0, functools.partial(stage.close, failed=result.exception is not None))
            stage = None
        with _unawaited() if result.exception is not None or loop.waits_in_vain else nullcontext():
            for tear_down in tear_downs:
                try:
                    tear_down()
                except BaseException as exc:
                    _pass_on(loop, exc)
                    if result.exception is None:
                        result = result._replace(exception=exc)
                    elif tear_down is not tear_downs[-1]:
                        first = in_words(exc).partition("\n")[0]
                        add_note(result.exception, f"{BESIDES}: {first}")
        if loop.waits_in_vain:
            # Also where it is only the tear-down that waits: by then main may have failed.
            result = Result(raised or _in_flight(loop.main))
        elif result.exception is None and loop.is_strict:
            # It says what is left open.
            try:
                loop.close()
            except VirtualLoopError as exc:
                result = result._replace(exception=exc)
    finally:
        if stage is not None:
            stage.close(failed=True)
        if not loop.is_closed():
            loop.drop()
    return result


@contextmanager
def _unawaited() -> Iterator[None]:
    """Let nobody warn of coroutines that a run had not come to when it ended: a test may pass all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* was never awaited", RuntimeWarning)
        yield


def _pass_on(loop: RunLoop, exc: BaseException) -> None:
    """Raise what says nothing about the program."""
    if loop.aborted is not None:
        raise loop.aborted
    if not is_verdict(exc):
        raise exc


def _in_flight(main: asyncio.Future[Any] | None) -> BaseException | None:
    """Return what a main that was cancelled had failed with before, while it waits in a `finally`."""
    if main is None or not main.done():
        return None
    try:
        main.result()
    except asyncio.CancelledError as exc:
        error: BaseException | None = exc
        while isinstance(error, asyncio.CancelledError):
            error = error.__context__
        return error
    except BaseException:
        return None
    return None


def _tasks_of(loop: RunLoop, exc: BaseException) -> str:
    """Return what each task does; nothing where the error says so itself."""
    left = asyncio.all_tasks(loop) - {loop.host}
    return "" if isinstance(exc, VirtualLoopError) or not left else loop.describe_tasks()


def is_verdict(exc: BaseException) -> bool:
    """Return whether this exception says that the program is wrong."""
    if isinstance(exc, NoProgramError | KeyboardInterrupt | GeneratorExit):
        return False
    kinds = type(exc).__mro__
    # Some of pytest's say that they are builtins, but not those that they inherit from.
    of_framework = any(cls.__module__.partition(".")[0] in FRAMEWORKS for cls in kinds)
    return not (of_framework and NO_VERDICT & {cls.__name__ for cls in kinds}) and not _is_of_a_signal(exc)


def _is_of_a_signal(exc: BaseException) -> bool:
    """Return whether an exception was raised while a signal's handler ran, as by a test's time limit."""
    if exc.__traceback__ is None:
        return False
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()} - {None}
    return bool(handlers) and any(frame.f_code in handlers for frame, _ in traceback.walk_tb(exc.__traceback__))


def _run_main(loop: RunLoop, main: Main, stage: Stage | None) -> None:
    coro = main() if stage is None else stage()
    context = contextvars.copy_context()
    if stage is not None and asyncio.isfuture(coro):
        loop.main = coro
        loop.run_until_complete(coro)
        return
    if not asyncio.iscoroutine(coro):
        raise NoProgramError(f"main must be a function that returns a coroutine, and it returned {coro!r}")
    loop.main = loop.create_task(coro, context=context)
    loop.returned = loop.run_until_complete(loop.main)
    if not loop.waits_in_vain:
        # Where no task is left nobody has to look for those that are.
        loop.main = None


def _tear_down(loop: VirtualLoop) -> None:
    """Cancel and close what is left, as asyncio.run() does."""
    left = all_tasks(loop)
    if left:
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        for task in left:
            if not task.cancelled() and task.exception() is not None:
                loop.call_exception_handler(
                    {
                        "message": "unhandled exception during asyncio.run() shutdown",
                        "exception": task.exception(),
                        "task": task,
                    }
                )
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())


def _as_exception(context: dict[str, Any]) -> BaseException:
    exception = context.get("exception")
    message = context.get("message") or "an error that nobody handled"
    if not isinstance(exception, BaseException):
        return VirtualLoopError(message)
    add_note(exception, f"{HANDLED}, not out of main: {message}")
    return exception


def add_note(exc: BaseException, note: str) -> None:
    """Add a note to an exception, in place of one that an earlier run added to the same; to stderr if it takes none."""
    kind = next(beginning for beginning in OUR_NOTES if note.startswith(beginning))
    try:
        if hasattr(exc, "__notes__"):
            exc.__notes__ = [old for old in exc.__notes__ if not str(old).startswith(kind)]
        exc.add_note(note)
    except Exception:
        print(note, file=sys.stderr)  # noqa: T201  # a frozen exception takes none, and the story has to be told
