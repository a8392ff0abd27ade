"""VirtualLoop: asyncio's event loop over a clock that jumps and a schedule that decides.

Owns the face that asyncio sees and the run loop. What is pending, what is ready, what time it is, which way a run goes
and what other threads do are each owned by a module of their own, below this one.

One turn of the loop is what it is in stock asyncio: timers that are due join the queue, then all callbacks that are in
the queue at that moment run; what they queue runs in the next turn. Stock asyncio waits in `select()` before a turn;
this loop, when nothing is ready, moves its clock to the next deadline instead (`_idle`). At order "fifo" that is all.
At the other orders each turn begins with what may come in now and what may come in later (`_arrive`).

**This module is the hot path.** `call_soon`, `call_at`, `call_later` and the bodies of the run loop trade form for
speed: attributes are read into locals, handles are made without `__init__`, and the two fast bodies repeat the few
lines that run a callback, because a function call there costs a tenth of a task switch. Four rules keep them short:

- A task's steps are queued as (context, callback, argument), without a handle: their callers, the C functions of
  asyncio, drop it. Everything else in the queue is a handle. At order "tasks" the tuples may change places.
- A callback with few arguments is called with each of them: `run(callback, *args)` costs four times as much.
- Whatever is out of the ordinary (closed, debug mode, a trace) is behind the one flag `_checked`.
- The body is chosen when the loop starts, so that a feature that is off is not even asked about.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
import threading
import warnings
from bisect import insort
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from heapq import heappop, heappush
from itertools import repeat
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple, cast, get_args

from virtualloop._clock import EPOCH, TICKS_PER_SECOND, Clock, span_in_ticks
from virtualloop._errors import DeadlockError, LivelockError, VirtualLoopError
from virtualloop._handles import Handle, TimerHandle, describe_handle, make_handle
from virtualloop._private import ThreadSafeHandle, logger, set_running_loop
from virtualloop._ready import FIRST, LooseQueue
from virtualloop._services import NOTHING_TO_DO, THREAD_PATIENCE, Services, check_callback, real_time, trim, trimmed
from virtualloop._tasks import (
    WAKEUP_NAME,
    FactoryTask,
    StandIn,
    Task,
    all_tasks,
    cancel_by_force,
    is_default_name,
    is_first_step,
    is_step,
    number_of,
    step_type,
    wakeup_type,
)
from virtualloop._threads import Threads, others
from virtualloop._timers import Timers
from virtualloop.schedules import PLAIN, Random, Schedule, answers_of, check_schedule, terms_of

if TYPE_CHECKING:
    from virtualloop._recorder import Recorder
    from virtualloop._waits import Survey
    from virtualloop.network import Network
    from virtualloop.trace import Trace

__all__ = ["Order", "VirtualLoop"]

Order = Literal["fifo", "timing", "io", "tasks"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_TaskFactory = Callable[..., Any]

#: How late an event may come in unless told otherwise, in seconds: more than a loaded machine delays a wake-up, and
#: less than the timeouts that programs set.
LATENESS = 0.05

#: Steps at one instant, with nothing but polling, before a spin without a timer ahead is a LivelockError. It takes a
#: third of a second to spin so often; a million steps of real work are no spin, so that is given ten times as many.
SPIN_LIMIT = 1_000_000
#: How many looks at a spin that limit is divided into. At each the clock creeps on, if there is a deadline ahead.
SPIN_LOOKS = 20
#: A look also takes this part of the limit in turns, so that ten thousand tasks, which make many steps in few turns,
#: are not taken for a spin.
SPIN_TURNS = 1000
#: How many times the limit is allowed where tasks wake each other, which polling does not.
WORK_FACTOR = 10

#: Spans up to this, in seconds, take the short way into the timers: there a float still tells microseconds apart.
COMMON_SPAN = 1e9

#: Instants that run_until_idle() lets pass before it concludes that a timer is always set again.
IDLE_LIMIT = 1_000_000

_stock_task = asyncio.Task
_new_task = asyncio.Task.__new__

#: In place of a step's argument: whether it is its task's first has to be asked.
UNSURE = object()

# asyncio hands a factory all keywords since 3.13.3; before, only a context, and the name afterwards.
_FACTORY_TAKES_ALL = any(
    parameter.kind is parameter.VAR_KEYWORD
    for parameter in inspect.signature(asyncio.BaseEventLoop.create_task).parameters.values()
)


class VirtualLoop(Services):
    """An asyncio event loop with virtual time and, given a seed, another order of events.

    Arguments:
        seed: an integer; the same seed is the same run, on every machine. Or a random.Random to draw everything from,
            which lets hypothesis find a run and shrink it.
        schedule: whatever answers the loop's questions, instead of a seed; see `virtualloop.schedules`.
        order: what may vary. "fifo": nothing; asyncio's own order. "timing": how long things take. "io": also when
            timers and results of threads come in. "tasks": also which task resumes next. Without it, what the schedule
            was recorded with, "tasks" with a seed or another schedule, else "fifo".
        lateness: how late an event may come in, in seconds.
        start: the clock's first reading, in seconds.
        spin_limit: how many steps of polling at one instant are a LivelockError.
        thread_patience: how long to wait for a thread that does not come to rest, in real seconds.
        trace: a `virtualloop.Trace`, which keeps a record of the run.
        strict: whether what a closing loop leaves open, and errors that nobody has seen, are an error.
        network: the `virtualloop.Network` that connections go through; a perfect one by default.

    Raises TypeError or ValueError that names the argument.

    Example:

        async def main():
            await asyncio.sleep(3600)
            return asyncio.get_running_loop().time()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            assert runner.run(main()) == 3600.0

    Since Python 3.12 `asyncio.run(main(), loop_factory=VirtualLoop)` does the same.
    """

    # As in Services, what a new loop has in common with all others. Where a list may come there is an empty tuple: it
    # can be asked about, and not be changed.
    _order: Order = "fifo"
    _schedule: Schedule = PLAIN
    _choose: Callable[[int, str], int] = PLAIN.choose
    _seed: int | None = None
    _lateness = span_in_ticks(LATENESS, argument="lateness")
    _spin_limit = SPIN_LIMIT
    _loose_queue: LooseQueue | None = None
    # Whether external events may be held; those whose deadline has passed and that have not been asked about; and those
    # that are held: (tick, handle), by tick.
    _holds = False
    _due: deque[tuple[int, Any]] = ()  # type: ignore[assignment]  # see above
    _held: list[tuple[int, Any]] = ()  # type: ignore[assignment]  # see above
    # Callers of the awaitable twins: (tick, number, future) as a heap, and futures.
    _settlers: list[tuple[int, int, asyncio.Future[None]]] = ()  # type: ignore[assignment]  # see above
    _idlers: deque[asyncio.Future[None]] = ()  # type: ignore[assignment]  # see above
    # How far the clock creeps in a spin, and how often it was looked at without finding anything but polling.
    _creep = 0
    _looks = 0
    # What the present drive ends at: a tick for advance(); nothing left to run for run_until_idle(); else neither.
    _target: int | None = None
    _until_idle = False
    # Whether it got there, and through how many instants.
    _reached_end = False
    _instants = 0
    _stopping = False
    _settler_number = 0
    _task_number = 0
    _task_factory: _TaskFactory | None = None
    _make_task: _TaskFactory | None = None

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
    ) -> None:
        # The defaults need no check, and most loops of a test suite are made with them.
        recorded_order = recorded_lateness = None
        if seed is not None:
            if schedule is not None:
                raise ValueError("seed and schedule exclude each other: pass schedule=Random(seed) or the seed alone")
            schedule = Random(seed)
        elif schedule is not None:
            check_schedule(schedule)
            recorded_order, recorded_lateness = terms_of(schedule)
        if order is None:
            order = "fifo" if schedule is None else cast("Order", recorded_order or "tasks")
        elif order not in get_args(Order):
            raise ValueError(f"order must be one of {', '.join(get_args(Order))}, not {order!r}")
        if lateness is LATENESS and recorded_lateness is not None:
            lateness = recorded_lateness
        if lateness is not LATENESS:
            self._lateness = span_in_ticks(lateness, argument="lateness")
        if spin_limit is not SPIN_LIMIT:
            self._spin_limit = _checked_limit(spin_limit, "spin_limit")
        if thread_patience is not THREAD_PATIENCE:
            span_in_ticks(thread_patience, argument="thread_patience")
            self._thread_patience = thread_patience
        self._clock = clock = Clock(start)

        # The tick at which the loop was last idle: what it may be late by counts from there.
        self._instant = clock.tick
        self._timers = Timers()
        # Where callbacks are queued: a deque, or the list inside the loose queue; and what tells how many there are.
        self._ready: Any = deque()
        self._queue: Any = self._ready
        # The next five are read at each step, timer or future: Python finds them faster where the class has none of
        # that name. Whether call_soon() and its kin have more to do than usual: debug mode is on or not known, the loop
        # is closed, or the run is recorded.
        self._checked = True
        self._debug = None
        # What a step is queued with, in place of an argument. At order "tasks", where a task's first step is a plain
        # callback, it is FIRST while a task is made, and at other times told from the step.
        self._step_mark: object = None
        # Whether the body has to return: to stop, because the drive is at its end, or to be chosen anew.
        self._leave = False
        # Timers set for a later tick since the loop was made: a spin sets none.
        self._set_ahead = 0
        if schedule is not None or order != "fifo":
            self._vary(order, PLAIN if schedule is None else schedule)
        self._seed = None if isinstance(seed, random.Random) else seed
        if trace is not None:
            self._keep_record(trace)
        if strict:
            self._be_strict()
        if network is not None:
            self._join_network(network)
        self._closed = False
        if others():
            # These are older than the loop, and so somebody else's.
            self._threads = Threads(patience=thread_patience, known=threading.enumerate())

    def _vary(self, order: Order, schedule: Schedule) -> None:
        """Let `schedule` decide what may vary at `order`."""
        self._order = order
        self._schedule = schedule
        self._choose = answers_of(schedule)
        if order in ("io", "tasks"):
            self._holds = True
            self._due, self._held = deque(), []
        # A schedule that is known to keep the order of tasks need not be asked about it.
        if order == "tasks" and not getattr(schedule, "keeps_task_order", False):
            self._queue = self._loose_queue = LooseQueue(self._choose)
            self._ready = self._queue.items
            self._step_mark = UNSURE

    def _be_strict(self) -> None:
        """Remember where tasks are made, for what is told about them when the loop closes."""
        from virtualloop._leftovers import Watch

        self._watch = Watch()
        self._make_task = _make_factory_task

    def _keep_record(self, trace: Trace) -> None:
        """Have `trace` keep the record of this loop."""
        from virtualloop.trace import Trace  # few loops have one

        if not isinstance(trace, Trace):
            raise TypeError(f"trace must be a virtualloop.Trace, not {trace!r}")
        recorder = trace._recorder
        seed = "" if self._seed is None else f"seed={self._seed}, "
        recorder.begin(f"{type(self).__name__}({seed}order={self._order!r})")
        self._choose = recorder.watch(self._choose)
        if self._loose_queue is not None:
            self._queue = self._loose_queue = LooseQueue(self._choose)
            self._ready = self._queue.items
        recorder.attach(
            clock=self._clock,
            timers=self._timers,
            queue=self._queue,
            failed=self._failed,
            wrapper=_run_unless_cancelled,
        )
        self._recorder = recorder
        self.get_debug()

    def __repr__(self) -> str:
        seed = "" if self._seed is None else f" seed={self._seed}"
        return (
            f"<{type(self).__name__}{seed} order={self._order} t={self._clock.seconds:g} "
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

    def time(self) -> float:
        """Return the clock's reading in seconds. Reading it never moves it."""
        return self._clock.seconds

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
        self._drive(target=target)
        if not self._reached_end:
            raise RuntimeError(f"Event loop stopped at t={self.time():g}, before advance({seconds!r}) was done.")

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
        self._drive(until_idle=True)
        if not self._reached_end:
            raise RuntimeError(f"Event loop stopped at t={self.time():g}, before it was idle.")

    def _settled_after(self, seconds: float) -> asyncio.Future[None]:
        """Return a future that is done `seconds` from now, after all else; what virtualloop.advance() waits for."""
        target = self._clock.tick + span_in_ticks(seconds, argument="seconds")
        future = self.create_future()
        self._settler_number += 1
        self._settlers = self._settlers or []
        heappush(self._settlers, (target, self._settler_number, future))
        return future

    def _idle_at_last(self) -> asyncio.Future[None]:
        """Return a future that is done when nothing else could run; what virtualloop.run_until_idle() waits for."""
        while self._idlers and self._idlers[0].done():
            self._idlers.popleft()  # Its caller was cancelled.
        future = self.create_future()
        self._idlers = self._idlers or deque()
        self._idlers.append(future)
        self._instants = 0
        return future

    # --- callbacks ----------------------------------------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run `callback(*args)` in the next turn, after what is already queued. Return a handle to cancel it by."""
        if self._checked:
            return self._call_soon_checked(callback, args, context)
        if context is None:
            context = copy_context()
        else:
            kind = type(callback)
            if kind is step_type:
                mark = self._step_mark
                if mark is UNSURE:
                    mark = None if type(callback.__self__) is Task else FIRST if is_first_step(callback) else None  # type: ignore[attr-defined]  # steps have it
                self._ready.append((context, callback, mark))
                return None  # type: ignore[return-value]  # to a C function that drops it, see the module's docstring
            elif kind is wakeup_type and callback.__name__ == WAKEUP_NAME:
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
        if self._checked or not 0 < delay < COMMON_SPAN:
            tick = clock.tick_after(delay)
            return self._set_timer(tick, clock.seconds + delay, callback, args, context, "call_later")
        # What follows is clock.tick_after() and _set_timer(), in line.
        tick = clock.tick + (int(delay * TICKS_PER_SECOND + 0.5) or 1)
        self._set_ahead += 1
        handle = TimerHandle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._when = clock.seconds + delay
        timers = self._timers
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
        if self._checked or not 0 <= clock.seconds < when < COMMON_SPAN:
            return self._set_timer(clock.tick_at(when), when, callback, args, context, "call_at")
        # What follows is clock.tick_at() and _set_timer(), in line.
        tick = int(when * TICKS_PER_SECOND + 0.5)
        if tick <= clock.tick:
            tick = clock.tick + 1
        self._set_ahead += 1
        handle = TimerHandle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._when = when
        self._timers.add(tick, handle)
        return handle

    def _set_timer(
        self,
        tick: int | None,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
        method: str,
    ) -> asyncio.TimerHandle:
        handle: Any
        if self._debug is not False or self._closed:
            self._check_closed()
            self._check_thread()
            check_callback(callback, method)
            handle = trimmed(asyncio.TimerHandle(when, callback, args, self, context))
        else:
            handle = TimerHandle()
            handle._callback = callback
            handle._args = args
            handle._context = copy_context() if context is None else context
            handle._loop = self
            handle._when = when
        if tick is not None:
            if tick > self._clock.tick:
                self._set_ahead += 1
            if self._recorder is not None:
                handle._scheduled = (self._recorder.now, max(tick, self._clock.tick))
            self._timers.add(tick, handle)
        return handle  # type: ignore[no-any-return]  # either class; see above

    def _call_soon_checked(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.Handle:
        """call_soon() where something is out of the ordinary: in debug mode, with a trace, or after close()."""
        recorder = self._recorder
        plain = self._debug is False and not self._closed
        if not plain:
            self._check_closed()
            self._check_thread()
            check_callback(callback, "call_soon")
        kind = type(callback)
        if context is not None and (kind is step_type or is_step(callback)):
            mark: object = args[0] if args else self._step_mark
            if mark is UNSURE:
                mark = FIRST if type(callback.__self__) is not Task and is_first_step(callback) else None  # type: ignore[attr-defined]  # as in call_soon
            entry = (context, callback, mark) if recorder is None else (context, callback, mark, recorder.now)
            self._ready.append(entry)
            return None  # type: ignore[return-value]  # as in call_soon
        handle: Any
        if plain:
            handle = make_handle(self, callback, args, copy_context() if context is None else context)
        else:
            handle = trimmed(asyncio.Handle(callback, args, self, context))
        if recorder is not None:
            recorder.tags[id(handle)] = recorder.now
        self._ready.append(handle)
        return handle  # type: ignore[no-any-return]  # either class

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
        entry = make_handle(self, _run_unless_cancelled, (handle,), copy_context())
        if self._thread_id is None or threading.get_ident() == self._thread_id:
            if self._recorder is not None:
                self._recorder.tags[id(entry)] = self._recorder.now
            self._ready.append(entry)
        else:
            self._threads.send(entry)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if handle._when > self._clock.seconds:  # type: ignore[attr-defined]  # else it is due, and will be gone at once
            self._timers.count_cancelled()

    # --- futures and tasks --------------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], **kwargs: Any) -> asyncio.Task[_T]:
        """Return a task that runs `coro` on this loop; keywords are those of asyncio's own create_task()."""
        self._check_closed()
        if self._make_task is not None:
            return self._create_task_with_factory(self._make_task, coro, kwargs)  # type: ignore[no-any-return]  # a factory may return anything
        if asyncio.tasks.Task is not _stock_task:
            # It is somebody's replacement, as in asyncio's own tests of its Python implementation.
            return asyncio.tasks.Task(coro, loop=self, **kwargs)  # type: ignore[arg-type,unused-ignore]  # it says no itself; the stub before 3.12 does not
        self._task_number = number = self._task_number + 1
        if kwargs.get("name") is None:
            kwargs["name"] = f"Task-{number}"
        task: Any = _new_task(Task)
        task.number = number
        mark = self._step_mark
        if mark is not None and not kwargs.get("eager_start"):
            self._step_mark = FIRST
        try:
            task.__init__(coro, loop=self, **kwargs)
        finally:
            self._step_mark = mark
        if self._debug:
            trim(task._source_traceback)
        try:
            return task  # type: ignore[no-any-return]  # the stubs know neither number nor __init__
        finally:
            # A failed task's traceback holds this frame; this frame must not hold the task.
            del task

    def _create_task_with_factory(self, factory: _TaskFactory, coro: Any, kwargs: dict[str, Any]) -> Any:
        if _FACTORY_TAKES_ALL:
            task = factory(self, coro, **kwargs)
        else:
            name = kwargs.pop("name", None)
            context = kwargs.pop("context", None)
            if kwargs:
                raise TypeError(f"create_task() got an unexpected keyword argument {next(iter(kwargs))!r}")
            task = factory(self, coro) if context is None else factory(self, coro, context=context)
            if name is not None and hasattr(task, "set_name"):
                task.set_name(name)
        if isinstance(task, asyncio.Task) and not isinstance(task, Task) and is_default_name(task.get_name()):
            task.set_name(f"Task-{number_of(task)}")
        if self._watch is not None:
            self._watch.made(task)
        return task

    def _next_task_number(self) -> int:
        """Count one more task; tasks of this loop are named and hashed by the result."""
        self._task_number += 1
        return self._task_number

    def set_task_factory(self, factory: _TaskFactory | None) -> None:
        """Have `factory(loop, coro, ...)` make this loop's tasks; None restores the default."""
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._task_factory = factory
        default = None if self._watch is None else _make_factory_task
        self._make_task = default if factory is None else StandIn(factory)

    def get_task_factory(self) -> _TaskFactory | None:
        """Return the task factory, or None if the default one is in use."""
        return self._task_factory

    # --- running ------------------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until stop() is called. Raises DeadlockError when nothing can run any more."""
        self._check_closed()
        self._check_running()
        self._drive()

    def run_until_complete(self, future: Any) -> Any:
        """Run until the future, or the coroutine as a task, is done; return its result or raise its exception.

        Raises DeadlockError when nothing can run any more and the future is not done.
        """
        self._check_closed()
        self._check_running()
        if future is NOTHING_TO_DO and not self._queue and not self._held and not self._due and not self._timers.ticks:
            return None  # Stock asyncio runs two empty turns here, which nobody can tell from none.
        new_task = not asyncio.isfuture(future)
        future = self.create_task(future) if type(future) is CoroutineType else asyncio.ensure_future(future, loop=self)
        if new_task:
            future._log_destroy_pending = False
        future.add_done_callback(_stop_loop_of)
        try:
            self._drive()
        except BaseException:
            if new_task and future.done() and not future.cancelled():
                # The caller has no access to this task: retrieve its exception, lest it be logged as never retrieved.
                future.exception()
            raise
        finally:
            future.remove_done_callback(_stop_loop_of)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def stop(self) -> None:
        """Stop at the end of this turn: what is queued now still runs."""
        self._stopping = True
        self._leave = True

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
        left_open = self._left_open() if self._task_number or self._watch is not None else None
        self._close()
        if left_open is None:
            return
        exception = sys.exception()
        if self._watch is None:
            if exception is None:
                warnings.warn(left_open, ResourceWarning, stacklevel=2)
        elif exception is None:
            raise VirtualLoopError(left_open)
        else:
            exception.add_note(left_open)

    def _left_open(self) -> str | None:
        """Return what is open, in words, or None."""
        tasks = all_tasks(self)
        generators = [agen for agen in (self._asyncgens or {}).values() if agen.ag_frame is not None]  # type: ignore[attr-defined]  # not in the stub
        if not tasks and not generators and self._watch is None and self._network is None:
            return None
        from virtualloop._leftovers import left_open
        from virtualloop._waits import in_order

        timers = [handle for tick in sorted(self._timers.by_tick) for handle in self._timers.of(tick)]
        handles = [*(handle for _, handle in self._held), *self._ready, *timers]
        return left_open(
            self.time(),
            tasks=in_order(tasks),
            generators=generators,
            sockets=() if self._network is None else self._medium.sockets.values(),
            handles=[handle for handle in handles if handle is not None and type(handle) is not tuple],
            errors=self._errors,
            watch=self._watch,
        )

    def _close(self) -> None:
        if self._debug:
            logger().debug("Close %r", self)
        self._close_services()
        if self._recorder is not None:
            self._recorder.end()
        self._ready.clear()
        if self._loose_queue is not None:
            self._loose_queue.clear()
        self._timers.clear()
        self._due = self._held = self._settlers = self._idlers = ()  # type: ignore[assignment]  # as in a new loop

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not self._closed:
            _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
            if not self.is_running():
                self._close()

    def _drive(self, *, target: int | None = None, until_idle: bool = False) -> None:
        """Run until stop(), or until the clock is at `target` and settled, or until nothing could run."""
        debug = self.get_debug()
        hooks = sys.get_asyncgen_hooks()
        self._target = target
        self._until_idle = until_idle
        self._reached_end = False
        self._instants = 0
        self._instant = self._clock.tick
        self._thread_id = threading.get_ident()
        try:
            if debug:
                self._track_origins(enabled=True)
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_starts, finalizer=self._asyncgen_dies)
            set_running_loop(self)
            while True:
                # What was asked for before the start still gets one turn, as in stock asyncio.
                self._leave = self._stopping
                if self._recorder is not None:
                    self._run_traced(self._recorder)
                elif self._debug:
                    self._run_debug()
                elif self._loose_queue is None:
                    self._run_in_order()
                else:
                    self._run_loose()
                if self._stopping or self._reached_end:
                    break
        finally:
            self._stopping = False
            self._thread_id = None
            self._target = None
            self._until_idle = False
            set_running_loop(None)
            if self._origin_depth is not None:
                self._track_origins(enabled=False)
            sys.set_asyncgen_hooks(*hooks)

    def _run_in_order(self) -> None:
        """The body where the queue is first in, first out."""
        ready = self._ready
        clock = self._clock
        ticks = self._timers.ticks
        held = self._held
        varies = self._order != "fifo"
        turns = 0
        look_at = self._next_look(1)
        while True:
            if not ready or (ticks and (varies or ticks[0] <= clock.tick)) or held:
                if self._arrive():
                    turns = 0
            for _ in repeat(None, len(ready)):
                entry = ready.popleft()
                try:
                    if type(entry) is tuple:
                        context, callback, argument = entry
                        if argument is None:
                            context.run(callback)
                        else:
                            context.run(callback, argument)
                    else:
                        callback = entry._callback
                        if callback is not None:
                            argument = entry._args
                            if not argument:
                                entry._context.run(callback)
                            elif len(argument) == 1:
                                entry._context.run(callback, argument[0])
                            else:
                                entry._context.run(callback, *argument)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as exc:
                    self._failed(exc, entry)
            # Nothing that has run may live on in these while the loop goes on to something else.
            entry = context = callback = argument = None
            if self._leave:
                return
            turns += 1
            if turns >= look_at:
                turns = self._look_at_spin(turns)
                look_at = turns + self._next_look(len(ready))

    def _run_loose(self) -> None:
        """The body at order "tasks": LooseQueue.take() in line, with its places in locals during a turn."""
        ready = self._ready
        queue = self._loose_queue
        assert queue is not None
        choose = self._choose
        ticks = self._timers.ticks
        held = self._held
        turns = 0
        look_at = self._next_look(1)
        while True:
            if ticks or held or not queue:
                if self._arrive():
                    turns = 0
            head, loose, seen = queue.head, queue.loose, queue.seen
            try:
                for _ in repeat(None, len(ready) - head):
                    while seen < len(ready):
                        entry = ready[seen]
                        if loose < head:
                            loose = head
                        place = seen
                        if seen > loose:
                            k = choose(seen - loose + 1, "task")
                            if k:
                                place = seen - k
                                ready[seen] = ready[place]
                                ready[place] = entry
                        if type(entry) is not tuple or entry[2] is FIRST:
                            loose = place + 1
                        seen += 1
                    entry = ready[head]
                    ready[head] = None
                    head += 1
                    try:
                        if type(entry) is tuple:
                            context, callback, argument = entry
                            if argument is None or argument is FIRST:
                                context.run(callback)
                            else:
                                context.run(callback, argument)
                        else:
                            callback = entry._callback
                            if callback is not None:
                                argument = entry._args
                                if not argument:
                                    entry._context.run(callback)
                                elif len(argument) == 1:
                                    entry._context.run(callback, argument[0])
                                else:
                                    entry._context.run(callback, *argument)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as exc:
                        self._failed(exc, entry)
            finally:
                queue.head, queue.loose, queue.seen = head, loose, seen
                queue.cut()
            # Nothing that has run may live on in these while the loop goes on to something else.
            entry = context = callback = argument = None
            if self._leave:
                return
            turns += 1
            if turns >= look_at:
                turns = self._look_at_spin(turns)
                look_at = turns + self._next_look(len(queue))

    def _run_debug(self) -> None:
        """The body in debug mode, at any order: every callback is timed, in real seconds."""
        take, count = self._taking()
        turns = 0
        look_at = self._next_look(1)
        while True:
            if self._arrive():
                turns = 0
            for _ in repeat(None, count()):
                self._run_timed(take())
            if self._leave:
                return
            turns += 1
            if turns >= look_at:
                turns = self._look_at_spin(turns)
                look_at = turns + self._next_look(len(self._queue))

    def _run_timed(self, entry: Any) -> None:
        """Run an entry of the queue; log it if it takes long."""
        handle: Any = self._as_handle(entry)
        if handle._cancelled:
            return
        self._current_handle = handle
        start = real_time()
        try:
            handle._run()
        finally:
            self._current_handle = None
        duration = real_time() - start
        if duration >= self.slow_callback_duration:
            logger().warning("Executing %s took %.3f seconds", describe_handle(handle), duration)
        # What a task raised holds this frame, which must not hold the task.
        entry = handle = None

    def _run_traced(self, recorder: Recorder) -> None:
        """The body with a trace, at any order and in debug mode too: the recorder runs each callback."""
        take, count = self._taking()
        resume, call = recorder.resume, recorder.call
        run = self._run_timed if self._debug else None
        turns = 0
        look_at = self._next_look(1)
        try:
            while True:
                idle = self._arrive()
                recorder.arrived(idle=idle)
                if idle:
                    turns = 0
                for _ in repeat(None, count()):
                    entry = take()
                    if type(entry) is tuple:
                        resume(entry, run)
                    else:
                        call(entry, run)
                entry = None
                recorder.now = None
                if self._leave:
                    return
                turns += 1
                if turns >= look_at:
                    turns = self._look_at_spin(turns)
                    look_at = turns + self._next_look(len(self._queue))
        finally:
            recorder.now = None

    def _taking(self) -> tuple[Callable[[], Any], Callable[[], int]]:
        """Return how to take the next entry of the queue, and how to count them."""
        if self._loose_queue is None:
            return self._ready.popleft, self._ready.__len__
        return self._loose_queue.take, self._loose_queue.__len__

    # --- what comes in at the start of a turn -------------------------------------------------------------------------

    def _arrive(self) -> bool:
        """Queue what comes in now; return whether the loop was idle."""
        clock = self._clock
        ticks = self._timers.ticks
        nothing = not self._queue and not self._leave
        if nothing and self._held and self._threads.anything():
            nothing = not self._hear_threads()
        idle = nothing and not self._held and not self._due and not (ticks and ticks[0] <= clock.tick)
        if idle:
            self._idle()
            self._instant = clock.tick
        if self._order == "fifo":
            self._timers.release(clock.tick, self._ready)
            return idle
        take_due = self._hold_due if self._holds else self._release_due
        if self._held or self._due or (ticks and ticks[0] <= clock.tick):
            take_due()
        # The loop reads its clock late: callbacks took long, or it woke late. Deadlines pass in their order.
        while ticks and not self._leave and (tick := self._next_within_lateness()) is not None:
            if not self._choose(2, "late"):
                break
            clock.move(tick)
            take_due()
        while self._held and not self._queue and not self._leave:
            self._go_on_without_the_held()
        return idle

    def _release_due(self) -> None:
        """Queue the timers that are due."""
        self._timers.release(self._clock.tick, self._ready)

    def _next_within_lateness(self) -> int | None:
        """Return the next deadline, if it is one that the clock may pass before anything else happens."""
        ticks = self._timers.ticks
        latest = self._instant + self._lateness
        if not ticks or ticks[0] > latest:
            return None
        tick = self._timers.next_tick()
        if tick is None or tick <= self._clock.tick or tick > latest:
            return None
        if self._held and tick > self._held[0][0] + self._lateness:
            return None
        stop = self._next_stop()
        return tick if stop is None or tick <= stop else None

    def _hold_due(self) -> None:
        """Let the events that are due come in or be late; whenever one comes in, those that are late may follow.

        So the order is any order, each event costs a question or two, however many are pending, and one answer is all
        it takes for an event to be late by much: it is, until the schedule lets it in, its lateness ends, or nothing
        else could come in.
        """
        ticks = self._timers.ticks
        now = self._clock.tick
        due = self._due
        held = self._held
        while ticks and ticks[0] <= now:
            tick, handles = self._timers.pop()
            for handle in handles:
                due.append((tick, handle))
        while held and held[0][0] + self._lateness <= now:
            self._let_in(0)
        choose = self._choose
        while due:
            handle = due[0][1]
            if handle._callback is None:  # cancelled
                due.popleft()
            elif choose(2, "hold"):
                event = due.popleft()
                if self._recorder is not None:
                    self._recorder.hold(handle)
                if not held or held[-1][0] <= event[0]:
                    held.append(event)
                else:
                    insort(held, event, key=_tick_of)
            else:
                due.popleft()
                self._ready.append(handle)
                while held and (k := choose(len(held) + 1, "release")):
                    self._let_in(k - 1)

    def _let_in(self, position: int) -> None:
        _, handle = self._held.pop(position)
        if handle._callback is not None:  # not cancelled
            self._ready.append(handle)

    def _go_on_without_the_held(self) -> None:
        """Nothing is ready, as all that was due is held: let a later deadline pass, or the earliest of them come in."""
        tick = self._timers.next_tick()
        stop = self._next_stop()
        if tick is not None and tick <= self._held[0][0] + self._lateness and (stop is None or tick <= stop):
            self._clock.move(tick)
            self._hold_due()
        else:
            self._let_in(0)

    # --- when nothing is ready ----------------------------------------------------------------------------------------

    def _next_stop(self) -> int | None:
        """Return the tick that the clock must not pass before everything up to it has settled, or None."""
        settlers = self._settlers
        while settlers and settlers[0][2].done():
            heappop(settlers)  # Its caller was cancelled.
        if not settlers:
            return self._target
        return settlers[0][0] if self._target is None else min(settlers[0][0], self._target)

    def _idle(self) -> None:
        """Nothing is ready and nothing is due: hear the threads, move the clock, or end."""
        self._creep = self._looks = 0
        if self._threads.anything() and self._hear_threads():
            return
        tick = self._timers.next_tick()
        stop = self._next_stop()
        if tick is not None and (stop is None or tick <= stop):
            self._clock.move(tick)
            if self._until_idle or self._idlers:
                self._count_instant()
        elif self._settlers and self._settlers[0][0] == stop:
            self._resume_settler()
        elif tick is None and not self._settlers and self._idlers:
            future = self._idlers.popleft()
            if not future.done():
                future.set_result(None)
        elif self._target is not None:
            self._clock.move(self._target)
            self._end_drive()
        elif self._until_idle:
            self._end_drive()
        elif not self._threads.wait_for_anyone(self._queue, signals=self._handles_signals()):
            raise DeadlockError(self._deadlock())

    def _resume_settler(self) -> None:
        tick, _, future = heappop(self._settlers)
        self._clock.move(tick)
        future.set_result(None)

    def _end_drive(self) -> None:
        self._reached_end = True
        self._leave = True

    def _count_instant(self) -> None:
        self._instants += 1
        if self._instants > IDLE_LIMIT:
            from virtualloop._report import never_idle

            raise LivelockError(never_idle(self.time(), IDLE_LIMIT, self._survey()))

    def _hear_threads(self) -> bool:
        """Wait until all threads have settled, and queue what they have sent; return whether there was anything."""
        threads = self._threads
        threads.settle(self._queue)
        self._ready.extend(threads.collect())
        finished = threads.finished()
        for complete in finished:
            if not self._holds:
                complete()
            else:
                # A result is an external event: it may come in late.
                self._set_timer(self._clock.tick, self.time(), complete, (), None, "run_in_executor")
        return bool(self._queue or finished)

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
        from virtualloop._report import describe_tasks

        return describe_tasks(self.time(), self._survey())

    # What these look at stays in their frames, lest the traceback of an error keep tasks alive.

    def _deadlock(self) -> str:
        """Return what to say of a deadlock; end the circles of tasks that await each other."""
        from virtualloop._report import deadlock

        survey = self._survey()
        message = deadlock(self.time(), survey, self._errors)
        for task, awaited in survey.awaiting_circles():
            # Nothing else could, not even the cancellation that asyncio.run() ends with.
            cancel_by_force(task, awaited)
        return message

    def _survey(self) -> Survey:
        from virtualloop._waits import Survey, in_order

        running = asyncio.current_task(self)
        return Survey(in_order(asyncio.all_tasks(self)), running=running, jobs=self._threads.jobs())

    # --- spins --------------------------------------------------------------------------------------------------------

    def _next_look(self, entries: int) -> int:
        """Return after how many turns, with so many callbacks each, to look whether the loop spins."""
        limit = self._spin_limit
        return max(limit // SPIN_TURNS, limit // SPIN_LOOKS // max(entries, 1), 1)

    def _look_at_spin(self, turns: int) -> int:
        """Many turns have passed and the clock stands: make time pass, or report; return the turns to go on from.

        On a real machine turns take time, so the clock creeps on: by a microsecond a turn if tasks wake each other or
        set timers, which is work and not a spin, and twice as far each time after long polling.
        """
        if self._threads.anything() and self._hear_threads():
            return 0
        queued = list(self._queue)
        polling = self._set_ahead == 0 and not any(
            type(entry) is tuple and entry[2] not in (None, FIRST) for entry in queued
        )
        self._set_ahead = 0
        self._looks = self._looks + 1 if polling else 0
        self._creep = 2 * self._creep if self._looks > SPIN_LOOKS else turns
        now = self._clock.tick
        # A timer that is always set again for a deadline that has passed lets none behind it come.
        tick = min((tick for tick in self._timers.ticks if tick > now), default=None)
        stop = self._next_stop()
        # Nor may the clock leave behind an event that is held.
        held = self._held[0][0] + self._lateness if self._held else None
        ahead = min((tick for tick in (tick, stop, held) if tick is not None), default=None)
        if ahead is not None and ahead > now:
            self._clock.move(min(ahead, now + self._creep))
            self._instant = self._clock.tick
            return 0
        if stop == now and polling:
            # The present instant never settles, so whoever waits for that goes on all the same.
            if self._settlers and self._settlers[0][0] == stop:
                self._resume_settler()
            else:
                self._end_drive()
            return 0
        if turns * max(len(queued), 1) >= self._spin_limit * (1 if polling else WORK_FACTOR):
            message = self._livelock(turns)
            if message is None:
                return 0
            raise LivelockError(message)
        return turns

    def _livelock(self, turns: int) -> str | None:
        """Make some more steps; return what to say of them, or None if they were no spin any more."""
        from virtualloop._report import livelock
        from virtualloop._spins import last_steps

        steps = last_steps(self)
        if steps is None:
            return None
        return livelock(self.time(), turns, "spin_limit", steps=steps, survey=self._survey(), errors=self._errors)

    def _queue_handle(self, handle: asyncio.Handle) -> None:
        self._ready.append(handle)

    def _subject(self, entry: Any) -> Any:
        """Return the task or the callback that a queue entry is about."""
        callback = entry[1] if type(entry) is tuple else entry._callback
        return callback.__self__ if is_step(callback) else callback

    def _as_handle(self, entry: Any) -> asyncio.Handle:
        """Return the handle of a queue entry; a task's step has none until somebody asks."""
        if type(entry) is not tuple:
            return entry  # type: ignore[no-any-return]  # it is the handle
        context, callback, argument = entry[:3]
        return make_handle(self, callback, () if argument in (None, FIRST) else (argument,), context)

    def _failed(self, exc: BaseException, entry: Any) -> None:
        """Report what a callback raised; the words are those of asyncio.Handle."""
        handle: Any = self._as_handle(entry)
        # The repr of a plain handle is its class, then the callback and its place.
        plain = make_handle(self, handle._callback, tuple(handle._args or ()), handle._context)
        what = repr(plain)[1:-1].partition(" ")[2]
        self.call_exception_handler({"message": f"Exception in callback {what}", "exception": exc, "handle": handle})


def _make_factory_task(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
    return FactoryTask(coro, loop=loop, **kwargs)


def _tick_of(event: tuple[int, Any]) -> int:
    return event[0]


def _run_unless_cancelled(handle: asyncio.Handle) -> None:
    # Through the handle's own method, which holds the lock against cancel() in another thread.
    if not handle._cancelled:
        handle._run()


def _stop_loop_of(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and isinstance(future.exception(), SystemExit | KeyboardInterrupt):
        # It is on its way out of the loop already.
        return
    future.get_loop().stop()


def _checked_limit(limit: object, argument: str) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{argument} must be an integer, not {limit!r}")
    if limit < 1:
        raise ValueError(f"{argument} must be at least 1, got {limit}")
    return limit
