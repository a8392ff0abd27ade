"""VirtualLoop: asyncio's event loop over a clock that jumps and a schedule that decides.

Owns the face that asyncio sees. What is pending, what is ready, what time it is and what runs next is the scheduler's
business, which way a run goes that of the schedule, and what other threads do that of the world: rooms below this one.

**`call_soon`, `call_at` and `call_later` are the hot path** and trade form for speed: the parts of the scheduler that
they need are the loop's own attributes, and handles are made without `__init__`. Three rules keep them short:

- A task's steps are queued as (context, callback, argument), without a handle: their callers, the C functions of
  asyncio, drop it. Everything else in the queue is a handle. At order "tasks" the tuples may change places.
- Whatever is out of the ordinary (closed, debug mode, a trace) is behind the one flag `_checked`; for the steps of
  tasks `_step_type` stands for it, so that they need one test for both.
- The scheduler itself is made when the loop first runs or somebody asks for what only it has.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from heapq import heappush
from operator import attrgetter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, cast

from virtualloop._core.clock import EPOCH, TICKS, TICKS_PER_SECOND, Clock, LateClock, span_in_ticks
from virtualloop._core.events import ExternalEvent
from virtualloop._core.ready import ReorderingQueue
from virtualloop._core.spin import JUMP_LIMIT, SPIN_LIMIT
from virtualloop._core.timers import Timers
from virtualloop._errors import DeadlockError, LivelockError
from virtualloop._loop import checked, creation, endings, options
from virtualloop._loop.base import NOTHING_TO_DO, THREAD_PATIENCE, Services, check_callback, trimmed
from virtualloop._loop.creation import NOT_GIVEN, TASKS_SPACE
from virtualloop._loop.drive import drive
from virtualloop._loop.explaining import explained_result
from virtualloop._loop.handles import run_unless_cancelled
from virtualloop._loop.options import Order, check_limit, check_order
from virtualloop._loop.replaced import replace_time, restore_time
from virtualloop._loop.timer_handle import TimerHandle
from virtualloop._stock import sets
from virtualloop._stock.handles import Handle, make_handle
from virtualloop._stock.private import ThreadSafeHandle, get_running_loop, logger, stop_loop_of
from virtualloop._stock.tasks import STOCK_TASK, WAKEUP_NAME, Task, wakeup_type, with_own_tasks
from virtualloop._words import moment
from virtualloop._world.threads import others
from virtualloop.schedules._choice import PLAIN, Schedule, check_schedule

if TYPE_CHECKING:
    import random
    from datetime import datetime

    from virtualloop._core.scheduler import Scheduler
    from virtualloop._loop.conditions import Condition, Conditions
    from virtualloop._loop.inbox import Inbox
    from virtualloop.network import Network
    from virtualloop.network._driver import Driver
    from virtualloop.trace import Trace

__all__ = ["Order", "VirtualLoop"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_TaskFactory = Callable[..., Any]

#: How late an event may arrive unless told otherwise, in seconds: more than a loaded machine delays a wake-up, and
#: less than the timeouts that programs set.
LATENESS = 0.05

#: Spans up to this, in seconds, take the short way into the timers: there a float still tells microseconds apart.
COMMON_SPAN = 1e9


class VirtualLoop(Services):
    """An asyncio event loop with virtual time and, given a seed, another order of events.

    Arguments:
        seed: an integer; the same seed is the same run, on every machine. Or a random.Random to draw everything from,
            which lets hypothesis find a run and shrink it.
        schedule: whatever answers the loop's questions, instead of a seed; see `virtualloop.schedules`.
        order: what may vary. "fifo": nothing; asyncio's own order. "timing": how long things take. "io": also when
            timers and results of threads arrive. "tasks": also which task resumes next. Without it, what the schedule
            was recorded with, "tasks" with a seed or another schedule, else "fifo".
        lateness: how late an event may arrive, in seconds.
        start: the clock's first reading, in seconds.
        spin_limit: how many steps of polling at one instant are a LivelockError.
        thread_patience: how long to wait for a thread that does not come to rest, in real seconds.
        trace: a `virtualloop.Trace`, which keeps a record of the run.
        strict: whether what a closing loop leaves open, and errors that nobody has seen, are an error. A task that
            `asyncio.run()` has cancelled before is not open any more.
        network: the `virtualloop.Network` that connections go through; a perfect one by default.
        patch_time: whether `time`, `datetime` and their like follow this loop's clock while it runs, in its thread and
            in those that belong to it. The clock is a microsecond late then wherever it jumps to.
        epoch: where the calendar stands when the loop is made, with `patch_time`: a datetime, or seconds since 1970.
            Without it, the real time, to the second.
        patch_random: whether `uuid`, `secrets`, `os.urandom`, `random.SystemRandom` and the functions of `random`
            answer from the run, which follows from the seed.

    Raises TypeError or ValueError that names the argument.

    Example:

        async def main():
            await asyncio.sleep(3600)
            return asyncio.get_running_loop().time()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            assert runner.run(main()) == 3600.0

    Since Python 3.12 `asyncio.run(main(), loop_factory=VirtualLoop)` does the same.
    """

    # As in Services, what a new loop has in common with all others.
    _order: Order = "fifo"
    _schedule: Schedule = PLAIN
    _choose: Callable[[int, str], int] = PLAIN.choose
    _seed: int | None = None
    _lateness = span_in_ticks(LATENESS, argument="lateness")
    _spin_limit = SPIN_LIMIT
    # Whether a reply may be later than the timeout that waits for it.
    _replies = False
    #: What threads have sent that has not arrived, where that may be late.
    _inbox: Inbox | None = None
    _reordering: ReorderingQueue | None = None
    _scheduler: Scheduler | None = None
    # Whether run_forever() runs it, which nobody waits for.
    _runs_forever = False
    #: What its dice follow from, if not from the seed.
    _number: int | None = None
    #: Whether it is this loop that has `random` in a state of its own, if anyone has.
    _has_own_random = True
    #: How often the clock may jump in one run before `_endless` is asked.
    _most_jumps = JUMP_LIMIT
    # What is looked at after each step; and whether a main runs that conditions may belong to.
    _conditions: Conditions | None = None
    _awaited: asyncio.Future[Any] | None = None
    # How many scopes of plain() are entered.
    _plain_scopes = 0
    _task_factory: _TaskFactory | None = None

    def __init__(
        self,
        seed: int | random.Random | None = None,
        *,
        schedule: Schedule | None = None,
        order: Order | None = None,
        lateness: float = LATENESS,
        start: float = EPOCH,
        spin_limit: int = SPIN_LIMIT,
        thread_patience: float = THREAD_PATIENCE,
        trace: Trace | None = None,
        strict: bool = False,
        network: Network | None = None,
        patch_time: bool = False,
        epoch: datetime | float | None = None,
        patch_random: bool = False,
    ) -> None:
        # The defaults need no check, and most loops of a test suite are made with them.
        if seed is not None:
            if schedule is not None:
                raise ValueError("seed and schedule exclude each other: pass schedule=Random(seed) or the seed alone")
            schedule = options.drawing()[0](seed)
        elif schedule is not None:
            from virtualloop.schedules._replay import terms_of  # as above

            check_schedule(schedule)
            recorded = terms_of(schedule)
            self._replies = recorded.replies
            if order is None:
                order = cast("Order | None", recorded.order)
            if lateness is LATENESS and recorded.lateness is not None:
                lateness = recorded.lateness
            if recorded.epoch is not None:
                patch_time, epoch = True, recorded.epoch if epoch is None else epoch
            if recorded.number is not None:
                patch_random, self._number = True, recorded.number
        if order is None:
            order = "fifo" if schedule is None else "tasks"
        else:
            check_order(order)
        if lateness is not LATENESS:
            self._lateness = span_in_ticks(lateness, argument="lateness")
        if spin_limit is not SPIN_LIMIT:
            check_limit(spin_limit, "spin_limit")
            self._spin_limit = spin_limit
        if thread_patience is not THREAD_PATIENCE:
            span_in_ticks(thread_patience, argument="thread_patience")
            self._thread_patience = thread_patience
        self._clock = LateClock(start) if patch_time else Clock(start)

        self._timers = Timers()
        # Where callbacks are queued, a deque; and what they are taken from, it or the reordering queue around it.
        self._ready: Any = deque()
        self._queue: Any = self._ready
        # The next three are read at each step, timer or future: Python finds them faster where the class has none of
        # that name. Whether call_soon() and its kin have more to do than usual: debug mode is on or not known, the loop
        # is closed, or the run is recorded.
        self._checked = True
        self._debug = None
        # What makes a task where that is out of the ordinary: a function of `creation`.
        self._make_task: Callable[..., Any] | None = None
        # The class of the loop's own tasks, where others are looked at when they begin.
        self._own_task: type[Task] | None = None
        # The type of tasks' steps, which call_soon() looks for before all else; None where it has more to do.
        self._step_type: type | None = None
        if schedule is not None or order != "fifo":
            options.vary(self, order, PLAIN if schedule is None else schedule)
        self._seed = seed if isinstance(seed, int) else None
        if trace is not None:
            options.keep_record(self, trace, VirtualLoop, COMMON_SPAN)
        if strict:
            options.be_strict(self)
        if network is not None:
            self._join_network(network)
        if patch_time or patch_random or epoch is not None:
            options.patch(self, time=patch_time, epoch=epoch, random=patch_random)
        self._closed = False
        if others():
            # These are older than the loop, and so somebody else's.
            self._idle_threads = self._new_threads(threading.enumerate())

    def _driver(self) -> Driver:
        from virtualloop._loop.driver import LoopDriver  # only a loop with a network has one

        return LoopDriver(self)

    def __repr__(self) -> str:
        seed = "" if self._seed is None else f" seed={self._seed}"
        return (
            f"<{type(self).__name__}{seed} order={self._order} t={moment(self._clock.seconds)} "
            f"running={self.is_running()} closed={self.is_closed()} debug={self.get_debug()}>"
        )

    @property
    def seed(self) -> int | None:
        """The seed of this loop; None without one, and with a random.Random."""
        return self._seed

    @property
    def order(self) -> Order:
        """What may vary: "fifo", "timing", "io" or "tasks"."""
        return self._order

    # --- time ---------------------------------------------------------------------------------------------------------

    if TYPE_CHECKING:
        _reading: Any

        def time(self) -> float:
            """Return the clock's reading in seconds. Reading it never moves it."""
            raise NotImplementedError
    else:

        def _reading(self) -> float:
            return self._clock.seconds

        # A property, because a test may put something else in its place, and then timers fall due by that.
        doc = "Return the clock's reading in seconds. Reading it never moves it."
        time = property(attrgetter("_reading"), replace_time, restore_time, doc)
        del doc

    def next_deadline(self) -> float | None:
        """Return when the next thing happens that is known: the present time if something is ready; None if nothing is.

        Threads, and what else is outside, may send something earlier.

        Example:

            loop = VirtualLoop()
            loop.call_later(10, loop.stop)
            loop.advance(loop.next_deadline() - loop.time() - 1)
            assert loop.time() == 9.0
            loop.close()
        """
        scheduler = self._scheduler
        if self._queue or (scheduler is not None and scheduler.has_due()):
            return self._clock.seconds
        tick = self._timers.next_tick()
        return None if tick is None else max(tick / TICKS_PER_SECOND, self._clock.seconds)

    def advance(self, seconds: float) -> None:
        """Run everything that is due within the next `seconds`, from outside; leave the clock at exactly their end.

        Instant by instant, each settled before the next. `advance(0)` settles the present instant. Tasks that wait for
        something that only the test can give stay blocked.

        Raises TypeError or ValueError for what is no length of time, and RuntimeError inside a running loop (there,
        await `virtualloop.advance()`) and when stop() ends it early.

        Example:

            loop = VirtualLoop()
            ticks = []
            loop.call_later(10, ticks.append, "late")
            loop.advance(9.5)
            assert not ticks and loop.time() == 9.5
            loop.advance(0.5)
            assert ticks == ["late"]
            loop.close()
        """
        span = span_in_ticks(seconds, argument="seconds")
        self._check_outside("advance")
        target = self._clock.tick + span
        if not drive(self, target=target):
            raise RuntimeError(f"Event loop stopped at t={moment(self.time())}, before advance({seconds!r}) was done.")

    def run_until_idle(self) -> None:
        """Run, from outside, until nothing is left that could ever run: no callback, no timer, no job in a thread.

        Tasks that wait for something that only the test can give stay blocked, and that is no error.

        Raises RuntimeError inside a running loop (there, await `virtualloop.run_until_idle()`) and when stop() ends it
        early, and LivelockError when a timer is always set again.

        Example:

            loop = VirtualLoop()
            task = loop.create_task(asyncio.sleep(60, "done"))
            loop.run_until_idle()
            assert task.result() == "done" and loop.time() == 60.0
            loop.close()
        """
        self._check_outside("run_until_idle")
        if not drive(self, until_idle=True):
            raise RuntimeError(f"Event loop stopped at t={moment(self.time())}, before it was idle.")

    def _settled_after(self, seconds: float) -> asyncio.Future[None]:
        """Return a future that is done `seconds` from now, after all else; what virtualloop.advance() waits for."""
        target = self._clock.tick + span_in_ticks(seconds, argument="seconds")
        future = self.create_future()
        self._scheduling().await_tick(target, future)
        return future

    def _idle_at_last(self) -> asyncio.Future[None]:
        """Return a future that is done when nothing else could run; what virtualloop.run_until_idle() waits for."""
        future = self.create_future()
        self._scheduling().await_idle(future)
        return future

    # --- callbacks ----------------------------------------------------------------------------------------------------

    def call_soon(
        self, /, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run `callback(*args)` in the next turn, after what is already queued. Return a handle to cancel it by."""
        if context is None:
            if self._checked:
                return checked.call_soon(self, callback, args, None)
            context = copy_context()
        elif type(callback) is self._step_type:
            if self._own_task is None or type(callback.__self__) is self._own_task:  # type: ignore[attr-defined]  # steps have it
                self._ready.append((context, callback, None))
            else:
                self._ready.append((context, callback, creation.mark_of(self, callback)))
            return None  # type: ignore[return-value]  # to a C function that drops it, see the module's docstring
        elif self._checked:
            return checked.call_soon(self, callback, args, context)
        elif type(callback) is wakeup_type and callback.__name__ == WAKEUP_NAME:
            self._ready.append((context, callback, args[0]))  # type: ignore[misc]  # a wake-up has one
            return None  # type: ignore[return-value]  # as above
        handle = Handle()
        handle._callback = callback
        handle._args = args
        handle._context = context
        handle._loop = self
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback(*args)` after `delay` seconds of virtual time. Return a handle to cancel it by.

        A delay that is not positive is due now; an infinite one never fires. Raises ValueError for nan.
        """
        if delay is None:
            raise TypeError("delay must not be None")
        clock = self._clock
        if self._checked or not 0.0 < delay < COMMON_SPAN:
            if self._replaced is not None:
                self._replaced.poll()
            tick = clock.tick_after(delay)
            return checked.set_timer(self, tick, clock.seconds + delay, callback, args, context, "call_later")
        # What follows is clock.tick_after() and checked.set_timer(), in line.
        tick = clock.tick + (int(delay * TICKS + 0.5) or 1)
        handle = TimerHandle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._when = clock.seconds + delay
        timers = self._timers
        timers.added = True
        if timers.numbered:
            timers.number = handle._scheduled = timers.number + 1
        entry = timers.by_tick.get(tick)
        if entry is None:
            timers.by_tick[tick] = handle
            heappush(timers.ticks, tick)
        elif type(entry) is list:
            entry.append(handle)
        else:
            timers.by_tick[tick] = [entry, handle]
        return handle

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback(*args)` when `time()` reaches `when`. Return a handle to cancel it by.

        A deadline that has passed is due now; an infinite one never fires. Raises ValueError for nan.
        """
        if when is None:
            raise TypeError("when cannot be None")
        clock = self._clock
        if self._checked or not 0.0 <= clock.seconds < when < COMMON_SPAN:
            if self._replaced is not None:
                self._replaced.poll()
            return checked.set_timer(self, clock.tick_at(when), when, callback, args, context, "call_at")
        # What follows is clock.tick_at() and checked.set_timer(), in line.
        if (tick := int(when * TICKS + 0.5)) <= clock.tick:
            tick = clock.tick + 1
        handle = TimerHandle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._when = when
        timers = self._timers
        timers.added = True
        if timers.numbered:
            timers.number = number = timers.number + 1
            handle._scheduled = -number
        entry = timers.by_tick.get(tick)
        if entry is None:
            timers.by_tick[tick] = handle
            heappush(timers.ticks, tick)
        elif type(entry) is list:
            entry.append(handle)
        else:
            timers.by_tick[tick] = [entry, handle]
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Like call_soon(), from any thread.

        What other threads send goes into the queue, as it was sent, when the loop has nothing else to do and those
        threads have come to rest.
        """
        self._check_closed()
        if self.get_debug():
            check_callback(callback, "call_soon_threadsafe")
        handle = trimmed(ThreadSafeHandle(callback, args, self, context))
        entry = make_handle(self, run_unless_cancelled, (handle,), copy_context())
        if self._thread_id is None or threading.get_ident() == self._thread_id:
            if self._recorder is not None:
                self._recorder.tags[id(entry)] = self._recorder.here()
            self._ready.append(entry)
        else:
            self._scheduling().alone = False
            self._threads.send(entry)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if handle._when > self._clock.seconds:  # type: ignore[attr-defined]  # else it is due, and will be gone at once
            timers = self._timers  # what follows is count_cancelled(), in line
            timers.cancelled += 1
            if timers.cancelled > timers.sweep_above:
                timers.sweep_if_worth_it()

    # --- futures and tasks --------------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], *, name: Any = NOT_GIVEN, **kwargs: Any
    ) -> asyncio.Task[_T]:
        """Return a task that runs `coro` on this loop; keywords are those of asyncio's own create_task()."""
        if self._make_task is not None:
            return self._make_task(self, coro, name, kwargs)  # type: ignore[no-any-return]  # a factory may return anything
        if TASKS_SPACE["Task"] is not STOCK_TASK:
            return creation.by_replacement(self, coro, name, kwargs)
        self._task_number = number = self._task_number + 1
        if kwargs or self._debug is not False or (name is not None and name is not NOT_GIVEN):
            return creation.particular(self, Task, number, coro, name, kwargs)
        return Task(coro, loop=self, name=f"Task-{number}")  # type: ignore[arg-type,unused-ignore]  # it says no itself

    def set_task_factory(self, factory: _TaskFactory | None) -> None:
        """Have `factory(loop, coro, ...)` make this loop's tasks; None restores the default."""
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._task_factory = factory
        if self._closed:
            return
        if factory is not None:
            self._factory = with_own_tasks(factory)
            self._make_task = creation.by_factory
        else:
            plain = self._own_task is None and self._watch is None
            self._make_task = None if plain else creation.attended

    def get_task_factory(self) -> _TaskFactory | None:
        """Return the task factory, or None if the default one is in use."""
        return self._task_factory

    # --- running ------------------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until stop() is called. Raises DeadlockError when nothing can run any more.

        In another thread than the main one it goes on waiting instead, as a service does; whoever waits there for the
        result of run_coroutine_threadsafe() is told.
        """
        __tracebackhide__ = True  # pytest shows the program's frames, not ours
        self._check_closed()
        self._check_running()
        self._runs_forever = True
        try:
            drive(self)
        finally:
            self._runs_forever = False

    def run_until_complete(self, future: Any) -> Any:
        """Run until the future, or the coroutine as a task, is done; return its result or raise its exception.

        Raises DeadlockError when nothing can run any more and the future is not done.
        """
        __tracebackhide__ = True  # as in run_forever()
        if self._closed or self._thread_id is not None or get_running_loop() is not None:
            self._check_closed()
            self._check_running()
        if future is NOTHING_TO_DO and not self._queue and (self._scheduler is None or self._scheduler.is_empty()):
            return None  # Stock asyncio runs two empty turns here, which nobody can tell from none.
        kind = type(future)
        new_task = False
        # The first two are what ensure_future() comes to, for whatever asyncio.run() gives.
        if kind is CoroutineType:
            new_task, future = True, self.create_task(future)
        elif kind is not Task or future.get_loop() is not self:
            new_task = not asyncio.isfuture(future)
            future = asyncio.ensure_future(future, loop=self)
        if new_task:
            future._log_destroy_pending = False
        future.add_done_callback(stop_loop_of)
        self._awaited = future
        try:
            drive(self)
        except BaseException as exc:
            if new_task and future.done() and not future.cancelled():
                # The caller has no access to this task: retrieve its exception, else it is logged as never retrieved.
                future.exception()
            if isinstance(exc, DeadlockError | LivelockError):
                endings.point_at_wait(exc, future)
            raise
        finally:
            self._awaited = None
            if self._conditions is not None:
                self._conditions.main_ends(self)
            future.remove_done_callback(stop_loop_of)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result() if self._network is None else explained_result(future)

    def stop(self) -> None:
        """Stop at the end of this turn: what is queued now still runs."""
        (self._scheduler or self._scheduling()).stop()

    def close(self) -> None:
        """Drop everything that is pending, and close. Closing twice is fine; closing while running is an error.

        What is left open is a ResourceWarning, or with `strict` a VirtualLoopError, once all is closed: tasks that are
        pending, async generators, servers, connections. A program that fails leaves things open because it fails, so
        while another exception is on its way there is no warning, and the error is a note on that exception.
        """
        if self._thread_id is not None:
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        # A loop that never had a task opened nothing.
        left_open = endings.left_open(self) if self._task_number or self._watch is not None else None
        self._close()
        if left_open is None:
            return
        exception = sys.exception()
        if self._watch is None:
            if exception is None:
                warnings.warn(left_open, ResourceWarning, stacklevel=2)
        elif exception is None:
            self._watch.complain(left_open)
        else:
            exception.add_note(left_open)

    def _close(self) -> None:
        if self._debug:
            logger().debug("Close %r", self)
        self._close_services()
        if self._patches is not None:
            self._patches.close()
        self._make_task = creation.refused
        if self._recorder is not None:
            self._recorder.end()
        if self._scheduler is None:
            self._queue.clear()
            self._timers.clear()
        else:
            self._scheduler.clear()
            sets.finish(self)

    def __del__(self, _warn: Any = warnings.warn, _at_exit: Any = sys.is_finalizing) -> None:
        # At the end of the process the modules that this needs may be gone, as is all that could be closed.
        if not self._closed and not _at_exit():
            _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
            self._close()  # What runs is referred to, so it does not run.

    def _scheduling(self) -> Scheduler:
        """Return the scheduler, made when it is first needed: most of a short test's loops do without for long."""
        if (scheduler := self._scheduler) is None:
            scheduler = self._scheduler = options.scheduler_of(self)
        return scheduler

    def _post(self, tick: int, event: ExternalEvent) -> None:
        """Let an event from outside arrive at `tick`."""
        if self._recorder is not None:
            event._scheduled = (self._recorder.here(), tick, self._timers.number + 1)
        self._scheduling().post(tick, event)

    def _endless(self, jumps: int) -> BaseException | None:
        """Return what to raise where the clock has jumped as often as it may; None to go on."""
        return None

    # --- what is looked at between steps ------------------------------------------------------------------------------

    def until(self, condition: Condition, *, within: float | None = None) -> None:
        """Run until `condition()` is true, from outside: looked at now, and after each step.

        Arguments:
            condition: a function without arguments; it is called often, and must change nothing.
            within: how long at most, in seconds of virtual time.

        Raises TimeoutError when the time is over, which says what each task does; DeadlockError where nothing can run
        any more; RuntimeError inside a running loop (there, await `virtualloop.until()`) and when stop() ends it early;
        TypeError or ValueError that names the argument; and what the condition raises.

        Example:

            loop = VirtualLoop()
            queue = asyncio.Queue()
            loop.call_later(5, queue.put_nowait, "item")
            loop.until(lambda: not queue.empty())
            assert loop.time() == 5
            loop.close()
        """
        from virtualloop._loop.conditions import check_condition, check_within, conditions_of

        self._check_outside("until")
        check_condition(condition, "until")
        check_within(within)
        if condition():
            return
        future = conditions_of(self).wait(self, condition, within)
        future.add_done_callback(stop_loop_of)
        try:
            drive(self)
        finally:
            future.cancel()
        if future.cancelled():
            raise RuntimeError("Event loop stopped before the condition was true.")
        future.result()

    # --- what people read ---------------------------------------------------------------------------------------------

    def describe_tasks(self) -> str:
        """Return what each pending task does, as text: where it stands, what it waits for, and who holds that.

        Callable at any time, from outside and while the loop runs. Tasks that wait for each other come first.

        Example:

            loop = VirtualLoop()
            inbox = asyncio.Queue()
            reader = loop.create_task(inbox.get(), name="reader")
            loop.run_until_idle()
            assert "'reader' awaits get() from a Queue, which is empty" in loop.describe_tasks()
            reader.cancel()
            loop.run_until_idle()
            loop.close()
        """
        from virtualloop._report.text import describe_tasks

        return describe_tasks(self.time(), endings.survey(self))
