"""What an asyncio loop offers beside running: errors, debug mode, executors, async generators, signals.

Owns these services and the state of the loop as a whole (open, running, in debug mode), and imitates stock asyncio's
texts. Knows nothing of time and order; whatever it has to run, it gives to call_soon().
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Mapping, Sequence, Sized
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple

from virtualloop._folders import ASYNCIO, PACKAGE
from virtualloop._loop.networking import Networking
from virtualloop._loop.signals import Signals, check_signal
from virtualloop._stock.private import get_running_loop, is_debug_mode, logger
from virtualloop._stock.tasks import TaskOwner, number_future, step_type
from virtualloop._world.executors import runs_here
from virtualloop._world.threads import Threads
from virtualloop._world.world import exclusively

if TYPE_CHECKING:
    from virtualloop._core.recorder import Recorder
    from virtualloop._loop.debugging import Stopwatch
    from virtualloop._loop.replaced import ReplacedTime
    from virtualloop._report.leaks import Watch
    from virtualloop._world.patches import Patches

__all__ = ["NOTHING_TO_DO", "THREAD_PATIENCE", "Services", "check_callback", "trim", "trimmed"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_HandleT = TypeVar("_HandleT", bound=asyncio.Handle)
_ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

#: How many errors that were logged a loop remembers.
MAX_ERRORS = 20

#: How many frames of a coroutine's creation debug mode keeps; as many as stock asyncio.
ORIGIN_DEPTH = 10

#: How long to wait for a thread that does not come to rest, in real seconds. A query to a database in memory is done
#: long before; a thread that sleeps and polls forever costs this much once.
THREAD_PATIENCE = 2.0

#: Whose frames are cut from the end of a traceback: users look for the line of theirs.
_MACHINERY = (PACKAGE, ASYNCIO)


class NothingToDo(Coroutine[Any, Any, None]):
    """A coroutine that returns at once.

    Each `asyncio.run()` ends with two coroutines that mostly find nothing to shut down, and as tasks they would take as
    long as all the rest of a short run. A loop with nothing else to do either is done with this one as it is.
    """

    def send(self, value: object) -> NoReturn:
        raise StopIteration

    def throw(self, *exception: Any) -> NoReturn:
        raise exception[0]

    def close(self) -> None:
        """Nothing to close either."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


NOTHING_TO_DO = NothingToDo()


class Services(TaskOwner, Networking):
    """The part of VirtualLoop that has nothing to do with time and order."""

    # The loop's: what is ready to run.
    _queue: Sized

    # The state of a new loop. Most loops of a test suite live for a moment and change little of it, so it stands here
    # and not in __init__, where each line would cost every one of them.
    _closed = True  # until __init__ is through, so that a loop whose __init__ fails has nothing to close
    #: Debug mode; None until somebody asks: looking it up in the environment takes as long as making a loop.
    _debug: bool | None
    #: Whether call_soon() and its kin have more to do than usual, and for tasks' steps the type of these if they have
    #: not. All are the loop's to set.
    _checked: bool
    _step_type: type | None
    #: What keeps the record of the run, for a trace.
    _recorder: Recorder | None = None
    #: Methods that stand in for the class's where a record is kept and nothing else is out of the ordinary, by name.
    _in_place: Mapping[str, Callable[..., Any]] = MappingProxyType({})
    #: What somebody has put in the place of `time`; and the clocks and dice of its own, if it has any.
    _replaced: ReplacedTime | None = None
    _patches: Patches | None = None
    _thread_patience = THREAD_PATIENCE
    #: Whether the loop has a world of its own, that nobody joins.
    _apart = False
    _thread_id: int | None = None
    _signals: Signals | None = None
    _exception_handler: _ExceptionHandler | None = None
    _default_executor: concurrent.futures.ThreadPoolExecutor | None = None
    _executor_shutdown_called = False
    # By number, because a WeakSet would give them back by address.
    _asyncgens: weakref.WeakValueDictionary[int, AsyncGenerator[Any, Any]] | None = None
    _asyncgen_number = 0
    _asyncgens_shutdown_called = False
    _origin_depth: int | None = None
    # What was logged: the last errors, in lines.
    _errors: Sequence[list[str]] = ()
    # What a strict loop remembers.
    _watch: Watch | None = None
    #: In debug mode, while the loop runs: what times its callbacks.
    _stopwatch: Stopwatch | None = None
    #: In debug mode, a callback that takes longer than this, in real seconds, is logged.
    slow_callback_duration: float = 0.1

    #: What other threads do for this loop, if anything has asked for it.
    _idle_threads: Threads | None = None

    if not TYPE_CHECKING:  # to a type checker a loop is no function, and it says so earlier

        def __call__(self):
            """Say what to write: `loop_factory=` was given a loop."""
            seed = "" if self.seed is None else f"seed={self.seed}"
            raise TypeError(
                "loop_factory takes a function that makes a loop, and was given one that is made: "
                f"write loop_factory=lambda: VirtualLoop({seed})"
            )

    @property
    def _threads(self) -> Threads:
        """What other threads do for this loop; made on first use, because most loops live without."""
        return self._idle_threads or exclusively(self._make_threads)  # another thread may ask at the same time

    def _make_threads(self) -> Threads:
        threads = self._idle_threads
        if threads is None:
            threads = self._idle_threads = self._new_threads()
            self._scheduling().alone = False
        return threads

    def _close_services(self) -> None:
        if self._signals is not None:
            self._signals.clear()
        if self._network is not None:
            self._stack.fabric.close()
        if self._watched is not None:
            self._watched.close()
            self._look_again()
        self._closed = True
        self._checked = True
        self._step_type = None
        if self._recorder is not None:
            self._check_anew()
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is not None:
            self._default_executor = None
            executor.shutdown(wait=False)

    def _new_threads(self, known: Iterable[threading.Thread] = ()) -> Threads:
        threads = Threads(patience=self._thread_patience, known=known, apart=self._apart)
        if self._patches is not None:
            threads.waits_for_clock = self._patches.at_rest
        return threads

    def _handles_signals(self) -> bool:
        return self._signals is not None and self._signals.any()

    # --- checks -------------------------------------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Return whether the loop is running."""
        return self._thread_id is not None

    def is_closed(self) -> bool:
        """Return whether the loop was closed."""
        return self._closed

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def _check_running(self) -> None:
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        if get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    def _check_outside(self, method: str) -> None:
        self._check_closed()
        if get_running_loop() is self:
            raise RuntimeError(
                f"loop.{method}() drives the loop from outside, and it is running: in a coroutine, "
                f"await virtualloop.{method}() instead"
            )
        self._check_running()

    def _check_thread(self) -> None:
        if self._thread_id is not None and threading.get_ident() != self._thread_id:
            raise RuntimeError("Non-thread-safe operation invoked on an event loop other than the current one")

    # --- debug mode ---------------------------------------------------------------------------------------------------

    def get_debug(self) -> bool:
        """Return whether debug mode is on."""
        debug = self._debug
        if debug is None:
            debug = self._debug = is_debug_mode()
            self._check_anew()
            if not debug and type(self).get_debug is Services.get_debug:
                # Whoever makes a future or a task in C asks: bool() is False, without a frame of Python's.
                self.get_debug = bool  # type: ignore[method-assign]  # until set_debug()
        return debug

    def set_debug(self, enabled: bool) -> None:
        """Turn debug mode on or off."""
        self._debug = enabled
        vars(self).pop("get_debug", None)
        self._check_anew()
        if self.is_running():
            self.call_soon_threadsafe(functools.partial(self._debug_run, enabled=enabled))

    def _check_anew(self) -> None:
        """Find out whether call_soon() and its kin have more to do than usual."""
        unusual = self._debug is not False or self._closed or self._replaced is not None
        self._checked = unusual or self._recorder is not None
        self._step_type = None if self._checked else step_type
        if self._recorder is not None:
            for name, method in self._in_place.items():
                # What somebody else has put there stays.
                there = vars(self).get(name)
                if unusual and there is method:
                    del vars(self)[name]
                elif not unusual and there is None:
                    vars(self)[name] = method

    def _debug_run(self, *, enabled: bool) -> None:
        """Have what runs watched as debug mode does, or not any more."""
        scheduler = self._scheduling()
        # What an interpreter that is taken down has not imported, it cannot.
        if enabled and self._stopwatch is None and not sys.is_finalizing():
            from virtualloop._loop.debugging import Stopwatch

            self._stopwatch = Stopwatch(self)
            scheduler.add_instrument(self._stopwatch, innermost=True)
        elif not enabled and self._stopwatch is not None:
            scheduler.remove_instrument(self._stopwatch)
            self._stopwatch = None
        self._track_origins(enabled=enabled)

    def _track_origins(self, *, enabled: bool) -> None:
        if enabled and self._origin_depth is None:
            self._origin_depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(ORIGIN_DEPTH)
        elif not enabled and self._origin_depth is not None:
            sys.set_coroutine_origin_tracking_depth(self._origin_depth)
            self._origin_depth = None

    # --- errors -------------------------------------------------------------------------------------------------------

    def set_exception_handler(self, handler: _ExceptionHandler | None) -> None:
        """Have `handler(loop, context)` told of errors that nobody else will see; None restores the default."""
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def get_exception_handler(self) -> _ExceptionHandler | None:
        """Return the exception handler, or None if the default one is in use."""
        return self._exception_handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log the error that `context` describes, in the words of stock asyncio."""
        message = context.get("message") or "Unhandled exception in event loop"
        exception = context.get("exception")
        exc_info: Any = (type(exception), exception, exception.__traceback__) if exception is not None else False
        current: Any = None if self._stopwatch is None else self._stopwatch.handle
        if "source_traceback" not in context and current is not None and current._source_traceback:
            context["handle_traceback"] = current._source_traceback
        lines = [message]
        for key in sorted(context):
            value = context[key]
            if key == "source_traceback":
                value = "Object created at (most recent call last):\n" + _formatted(value)
            elif key == "handle_traceback":
                value = "Handle created at (most recent call last):\n" + _formatted(value)
            elif key in ("message", "exception"):
                continue
            else:
                value = repr(value)
            lines.append(f"{key}: {value}")
        logger().error("\n".join(lines), exc_info=exc_info)

    def _note_error(self, context: dict[str, Any]) -> None:
        """Keep what is said of an error that will only be logged, for reports of what comes of it."""
        from virtualloop._report.text import logged_lines

        self._errors = [*self._errors, logged_lines(context)][-MAX_ERRORS:]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell the exception handler of the error that `context` describes, in the context it happened in."""
        if self._exception_handler is None:
            if not self._closed:
                self._note_error(context)
            try:
                self.default_exception_handler(context)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                logger().error("Exception in default exception handler", exc_info=True)
            return
        try:
            owner: Any = next((context[k] for k in ("task", "future", "handle") if context.get(k) is not None), None)
            if isinstance(owner, asyncio.Handle):
                where: Any = owner._context  # type: ignore[attr-defined]  # its get_context() came with Python 3.12
            else:
                where = owner.get_context() if hasattr(owner, "get_context") else None
            if where is not None and hasattr(where, "run"):
                where.run(self._exception_handler, self, context)
            else:
                self._exception_handler(self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            try:
                self.default_exception_handler(
                    {"message": "Unhandled error in exception handler", "exception": exc, "context": context}
                )
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                logger().error(
                    "Exception in default exception handler while handling an unexpected error in custom exception "
                    "handler",
                    exc_info=True,
                )

    # --- executors ----------------------------------------------------------------------------------------------------

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Run `func(*args)` in the executor, in a real thread, while the clock stands still; return a future.

        Results arrive when the loop has nothing else to do, in the order in which the calls were made, however long
        each one takes.
        """
        self._check_closed()
        if self.get_debug():
            check_callback(func, "run_in_executor")
        if executor is None:
            if self._executor_shutdown_called:
                raise RuntimeError("Executor shutdown has been called")
            if self._default_executor is None:
                self._default_executor = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")
            executor = self._default_executor
        if self._patches is not None and runs_here(executor):
            # Another kind may have to pickle the function; threads that it starts itself belong to this world anyway.
            args, func = (func, *args), self._patches.in_a_thread().run  # type: ignore[assignment]  # it runs that one
        future: asyncio.Future[_T] = asyncio.wrap_future(self._threads.submit(executor, func, args), loop=self)
        # Jobs are made in a set comprehension as well, whose order is that of addresses.
        number_future(future)
        return future

    def set_default_executor(self, executor: concurrent.futures.ThreadPoolExecutor) -> None:  # type: ignore[override]  # asyncio takes only this kind too, whatever its stub says
        """Use `executor` where run_in_executor() is given None."""
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    def shutdown_default_executor(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:  # pyright: ignore[reportIncompatibleMethodOverride]  # mostly it is none of Python's
        """Wait until the default executor's threads have ended, at most `timeout` seconds of virtual time."""
        if self._default_executor is None and not self._queue:
            self._executor_shutdown_called = True
            return NOTHING_TO_DO
        return self._shutdown_executor(timeout)

    async def _shutdown_executor(self, timeout: float | None) -> None:
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is None:
            return
        # A thread of its own waits for the executor's threads, in an executor because that is what jobs run in.
        waiting = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="virtualloop shutdown")
        try:
            async with asyncio.timeout(timeout):
                await self.run_in_executor(waiting, executor.shutdown)
        except TimeoutError:
            warnings.warn(
                f"The executor did not finishing joining its threads within {timeout} seconds.",
                RuntimeWarning,
                stacklevel=2,
            )
            executor.shutdown(wait=False)
            waiting.shutdown(wait=False)
        else:
            waiting.shutdown()

    # --- async generators ---------------------------------------------------------------------------------------------

    def shutdown_asyncgens(self) -> Coroutine[Any, Any, None]:  # pyright: ignore[reportIncompatibleMethodOverride]  # mostly it is none of Python's
        """Close all async generators that are still alive, in the order in which they were first iterated."""
        if not self._asyncgens and not self._queue:
            self._asyncgens_shutdown_called = True
            return NOTHING_TO_DO
        return self._close_asyncgens()

    async def _close_asyncgens(self) -> None:
        self._asyncgens_shutdown_called = True
        if not self._asyncgens:
            return
        closing = list(self._asyncgens.values())
        self._asyncgens.clear()
        results = await asyncio.gather(*[agen.aclose() for agen in closing], return_exceptions=True)
        for result, agen in zip(results, closing, strict=True):
            if isinstance(result, Exception):
                self.call_exception_handler(
                    {
                        "message": f"an error occurred during closing of asynchronous generator {agen!r}",
                        "exception": result,
                        "asyncgen": agen,
                    }
                )

    def _asyncgen_starts(self, agen: AsyncGenerator[Any, Any]) -> None:
        if self._asyncgens_shutdown_called:
            warnings.warn(
                f"asynchronous generator {agen!r} was scheduled after loop.shutdown_asyncgens() call",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        if self._asyncgens is None:
            self._asyncgens = weakref.WeakValueDictionary()
        self._asyncgen_number += 1
        self._asyncgens[self._asyncgen_number] = agen

    def _asyncgen_dies(self, agen: AsyncGenerator[Any, Any]) -> None:
        # Its weak reference is gone already.
        if not self.is_closed():
            self.call_soon_threadsafe(self.create_task, agen.aclose())

    # --- signals ------------------------------------------------------------------------------------------------------

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Run `callback(*args)` on the loop whenever the signal arrives. Main thread only."""
        self._check_closed()
        if self._signals is None:
            scheduler = self._scheduling()
            self._signals = Signals(
                self.call_soon, self._queue_handle, attach=scheduler.add_source, detach=scheduler.remove_source
            )
        self._signals.add(sig, callback, trimmed(asyncio.Handle(callback, args, self, None)))

    def remove_signal_handler(self, sig: int) -> bool:
        """Restore the default for the signal; return whether there was a handler."""
        if self._signals is None:
            check_signal(sig)
            return False
        return self._signals.remove(sig)

    # --- tasks --------------------------------------------------------------------------------------------------------

    def _task_cancelled(self, task: asyncio.Task[Any]) -> None:
        if self._recorder is not None:
            self._recorder.cancels(task)


def check_callback(callback: object, method: str) -> None:
    """Raise TypeError for what cannot be called back, in the words of stock asyncio."""
    if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
        raise TypeError(f"coroutines cannot be used with {method}()")
    if not callable(callback):
        raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")


def trimmed(handle: _HandleT) -> _HandleT:
    """Return the handle, with this package's frames cut from its traceback in debug mode."""
    if handle._source_traceback:  # type: ignore[attr-defined]  # not in the stub
        trim(handle._source_traceback)  # type: ignore[attr-defined]  # as above
    return handle


def trim(stack: traceback.StackSummary) -> None:
    """Cut the frames of this package and of asyncio from the end of a traceback."""
    while stack and stack[-1].filename.startswith(_MACHINERY):
        del stack[-1]


def _formatted(stack: traceback.StackSummary) -> str:
    return "".join(traceback.format_list(stack)).rstrip()
