"""One run of a program, kept apart from all others, and what counts as its failure.

Owns the conditions under which a program is tried: the same for each run, so that its schedule is all that decides it.
Knows nothing of which schedules are tried, and why.

A run may also have a task cancelled wherever it awaits something, as a timeout or a user who gives up would do. Two
moments matter: when it has just begun to wait, and when it was woken and has not yet run, where what it was handed may
get lost. In both the schedule is asked.

A run fails if its main coroutine raises, if nothing can run any more, if it spins without end, and if an exception
reaches the loop's exception handler, which is also where exceptions go that nobody retrieves. The last are only found
when the task that holds them is gone, so the garbage of a run is collected before its verdict; that is also why the
collector is off while a run lasts: else it would be the collector's state that says when objects are gone.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from virtualloop._errors import LivelockError, VirtualLoopError
from virtualloop._frames import is_machinery
from virtualloop._loop import VirtualLoop

__all__ = ["CancellingLoop", "Named", "Program", "TrialLoop", "add_note", "controlled", "is_verdict", "key", "run"]

Program = Callable[[], Coroutine[Any, Any, Any]]

#: What our notes begin with.
HANDLED = "It came to the loop's exception handler"
OUR_NOTES = ("virtualloop: ", HANDLED)
#: Jumps of the clock in one run before it is said not to end: a minute of heartbeats a millisecond apart, and about as
#: long as anyone waits for one of hundreds of runs.
MOST_JUMPS = 60_000

#: Exceptions by which a test says that it cannot be run at all, or that hypothesis has to go on with other data: by
#: name, because these frameworks may not be installed. They end an exploration and are no failure.
NO_VERDICT = frozenset({"SkipTest", "Skipped", "UnsatisfiedAssumption"})
FRAMEWORKS = frozenset({"unittest", "_pytest", "hypothesis"})
#: Exceptions that are a failure although they are none of Exception's.
VERDICTS = frozenset({"CancelledError", "Failed", "XFailed", "BaseExceptionGroup"})


class NoProgramError(TypeError):
    """What was to be run is no program."""


class TrialLoop(VirtualLoop):
    """A loop that keeps what would be logged."""

    reported: list[dict[str, Any]] = []  # noqa: RUF012  # replaced, see run(): __init__ would cost each run
    # Whether a task was cancelled because the schedule said so.
    has_cancelled = False
    # How often the clock has jumped: a heartbeat goes on for ever beside a main that waits in vain.
    _jumps = 0

    def _idle(self) -> None:
        self._jumps += 1
        if self._jumps > MOST_JUMPS:
            self._jumps = 0  # so that what is cancelled then can end
            raise LivelockError(
                f"the run does not end: the clock has jumped {MOST_JUMPS} times, and main is not done.\n"
                f"{self.describe_tasks()}\n"
                "Look for what main waits for. A test that is as long as that is for a plain VirtualLoop."
            )
        super()._idle()

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep the error that `context` describes."""
        self.reported.append(context)


class Named:
    """Tells tasks by their names, or by those of their coroutine functions."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    def __call__(self, task: asyncio.Task[Any]) -> bool:
        coro = task.get_coro()
        names = {task.get_name(), getattr(coro, "__name__", ""), getattr(coro, "__qualname__", "")}
        return not names.isdisjoint(self._names)


class CancellingLoop(TrialLoop):
    """A loop that asks, wherever certain tasks wait, whether to cancel them."""

    def __init__(self, *, chosen: Callable[[asyncio.Task[Any]], bool], **options: Any) -> None:
        super().__init__(**options)
        self._chosen = chosen

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]  # whatever the callback takes
        """Queue the callback; in place of a step of a task, one that may ask."""
        handle: Any = super().call_soon(callback, *args, context=context)
        if handle is None:
            context, _, *rest = self._ready[-1]
            self._ready[-1] = (context, CancellableStep(self, callback), *rest)
        return handle  # type: ignore[no-any-return]  # None, for a step

    def ask(self, task: asyncio.Task[Any], *, waits: bool) -> None:
        """Cancel the task here, if the schedule says so: where it has begun to wait, or before it goes on."""
        # Who it is is asked last: before Python 3.13, a task gets its name after its first step was queued.
        if not task.done() and self._chosen(task) and self._choose(2, "cancel"):
            self.has_cancelled = True
            if self._recorder is None:
                task.cancel()
            else:
                self._recorder.cancel(task, waits=waits)


class CancellableStep:
    """A step of a task, with a question before and after it."""

    __slots__ = ("__self__", "_loop", "_step")

    def __init__(self, loop: CancellingLoop, step: Any) -> None:
        self.__self__ = step.__self__
        self._loop = loop
        self._step = step

    def __call__(self, *args: Any) -> None:
        task = self.__self__
        self._loop.ask(task, waits=False)
        self._step(*args)
        self._loop.ask(task, waits=True)


# People read these names in the repr of the loop.
for _cls in (TrialLoop, CancellingLoop):
    _cls.__name__ = _cls.__qualname__ = "VirtualLoop"


@contextmanager
def controlled() -> Iterator[None]:
    """Have the garbage collector, the random module's state and the filters of warnings restored after some runs.

    What a failed run leaves open it leaves open because it failed, and there are many such runs on the way to a small
    one: no warnings of that. A strict loop tells it of those that would pass.
    """
    state = random.getstate()
    enabled = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
            gc.collect(1)
    finally:
        random.setstate(state)
        if enabled:
            gc.enable()


def run(
    program: Program,
    make_loop: Callable[[], TrialLoop],
    at_failure: Callable[[TrialLoop], None] | None = None,
) -> BaseException | None:
    """Run `program()` on a new loop; return what it failed with, or None. To be called within `controlled()`.

    `at_failure` is called when main has failed and nothing has been cancelled yet.
    The random module starts from the same state in each run, and what a run puts into context variables stays there.
    """
    random.seed(0)
    loop = make_loop()
    reported = loop.reported = []
    failure: BaseException | None = None
    try:
        try:
            _run_main(loop, program)
        except BaseException as exc:
            if not is_verdict(exc):
                raise
            # Who awaits a task that was cancelled is cancelled, too: that is no fault of the program.
            failure = None if loop.has_cancelled and isinstance(exc, asyncio.CancelledError) else exc
            if at_failure is not None:
                at_failure(loop)
        try:
            _tear_down(loop)
        except BaseException as exc:
            if not is_verdict(exc):
                raise
            failure = failure or exc
        if failure is None:
            # A strict loop says what is left open.
            try:
                loop.close()
            except VirtualLoopError as exc:
                failure = exc
    finally:
        if not loop.is_closed():
            loop._close()  # without a word about what a failed run leaves open
    if failure is None:
        del loop
        gc.collect(0)
        if reported:
            failure = _as_exception(reported[0])
    return failure


def is_verdict(exc: BaseException) -> bool:
    """Return whether this exception says that the program is wrong."""
    if isinstance(exc, NoProgramError):
        return False
    names = {cls.__name__ for cls in type(exc).__mro__}
    frameworks = {cls.__name__ for cls in type(exc).__mro__ if cls.__module__.partition(".")[0] in FRAMEWORKS}
    return not frameworks & NO_VERDICT and (isinstance(exc, Exception) or bool(names & VERDICTS))


def _run_main(loop: VirtualLoop, program: Program) -> None:
    context = contextvars.copy_context()
    coro = context.run(program)
    if not asyncio.iscoroutine(coro):
        raise NoProgramError(f"main must be a function that returns a coroutine, and it returned {coro!r}")
    loop.run_until_complete(loop.create_task(coro, context=context))


def _tear_down(loop: VirtualLoop) -> None:
    """Cancel and close what is left, as asyncio.run() does."""
    left = asyncio.all_tasks(loop)
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


def key(exc: BaseException) -> tuple[Any, ...]:
    """Return what two failures have in common if they are the same: type of exception, and how it came about.

    That is where in the program it was raised, and by whom that was called; or, for the loop's own errors, the places
    that their text names.
    """
    if isinstance(exc, BaseExceptionGroup):
        return (type(exc).__qualname__, frozenset(key(each) for each in exc.exceptions))
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(exc.__traceback__)
        if not is_machinery(frame.f_code)
    ]
    if not frames and isinstance(exc, VirtualLoopError):
        return (type(exc).__qualname__, frozenset(re.findall(r'File ".*", line \d+', str(exc))))
    return (type(exc).__qualname__, tuple(frames))
