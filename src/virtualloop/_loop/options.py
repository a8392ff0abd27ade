"""What the keywords of a new loop turn on.

Owns, for each, whether its value will do, and what the loop is given for it: an order that varies, a record, a memory
of where things are made, clocks and dice of its own. Whatever is not asked for is neither made nor imported.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache, partial, wraps
from typing import TYPE_CHECKING, Any, Literal, get_args

from virtualloop._core.clock import SECONDS
from virtualloop._core.entries import FIRST
from virtualloop._core.ready import ReorderingQueue
from virtualloop._core.scheduler import Scheduler
from virtualloop._loop.creation import attended
from virtualloop._loop.handles import report, run_unless_cancelled
from virtualloop._loop.timer_handle import TimerHandle
from virtualloop._stock.handles import RecordedHandle
from virtualloop._stock.tasks import NumberedTask, Task, TracedTask, future_iterator_type

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Protocol

    from virtualloop._core.clock import Clock
    from virtualloop._core.recorder import Recorder
    from virtualloop._core.timers import Timers
    from virtualloop._report.leaks import Watch
    from virtualloop._world.patches import Patches
    from virtualloop.schedules._choice import Schedule
    from virtualloop.schedules._random import Random
    from virtualloop.trace import Trace

    class Fitted(Protocol):
        """A loop, as far as it is given what its keywords ask for."""

        _clock: Clock
        _timers: Timers
        _ready: Any
        _queue: Any
        _order: Order
        _schedule: Schedule
        _choose: Any  # a function: as a type of one, it would be taken for a method
        _reordering: ReorderingQueue | None
        _own_task: type[Task] | None
        _in_place: Mapping[str, Callable[..., Any]]
        _make_task: Callable[..., Any] | None

        def create_future(self) -> asyncio.Future[Any]: ...
        def is_running(self) -> bool: ...

        _recorder: Recorder | None
        _watch: Watch | None
        _patches: Patches | None

        @property
        def _seed(self) -> int | None: ...
        @property
        def _number(self) -> int | None: ...
        @property
        def _has_own_random(self) -> bool: ...
        def get_debug(self) -> bool: ...

    class Scheduled(Fitted, Protocol):
        """A loop, as far as its scheduler is made."""

        _lateness: int
        _replies: bool
        _spin_limit: int

        _reading: Any

        @property
        def _most_jumps(self) -> int: ...


__all__ = [
    "Order",
    "be_strict",
    "check_limit",
    "check_order",
    "drawing",
    "keep_record",
    "patch",
    "scheduler_of",
    "settle_queue",
    "vary",
]

Order = Literal["fifo", "timing", "io", "tasks"]


_ORDERS = get_args(Order)


def check_order(order: str) -> None:
    """Raise ValueError for what is no order."""
    if order not in _ORDERS:
        raise ValueError(f"order must be one of {', '.join(_ORDERS)}, not {order!r}")


def check_limit(limit: object, argument: str) -> None:
    """Raise TypeError or ValueError for what is no number of steps."""
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{argument} must be an integer, not {limit!r}")
    if limit < 1:
        raise ValueError(f"{argument} must be at least 1, got {limit}")


@cache  # an import statement takes as long as all else that a loop is made of
def drawing() -> tuple[type[Random], Callable[[Schedule], Callable[[int, str], int]]]:
    """Return the class of schedules that draw, and what makes sure of the answers of any: only some loops need them."""
    from virtualloop.schedules._answers import answers_of
    from virtualloop.schedules._random import Random

    return Random, answers_of


def vary(loop: Fitted, order: Order, schedule: Schedule) -> None:
    """Let `schedule` decide what may vary at `order`."""
    loop._order = order
    loop._schedule = schedule
    loop._choose = drawing()[1](schedule)
    loop._timers.numbered = True
    # Its runs can be had again, so tasks have their places in sets of the program's own as well.
    loop._own_task = NumberedTask
    loop._make_task = attended
    if order == "tasks":
        _reorder(loop)


def scheduler_of(loop: Scheduled, *, usual: type[Scheduler] = Scheduler) -> Scheduler:
    """Return a new scheduler for a loop; `usual` is its class where events arrive late."""
    if loop._order == "fifo":
        scheduler = Scheduler(
            loop._clock, loop._timers, loop._ready, loop._queue, choose=loop._choose, spin_limit=loop._spin_limit
        )
    else:
        settle_queue(loop)
        scheduler = (_punctual() if loop._order == "timing" else usual)(
            loop._clock,
            loop._timers,
            loop._ready,
            loop._queue,
            order=loop._order,
            choose=loop._choose,
            lateness=loop._lateness,
            replies=loop._replies,
            spin_limit=loop._spin_limit,
        )
    scheduler.most_jumps = loop._most_jumps
    # From now on time() is in C throughout, because a timeout asks for it twice.
    loop._reading = partial(SECONDS, loop._clock)
    if loop._recorder is not None:
        scheduler.add_instrument(loop._recorder)
        if scheduler.arrivals is not None:
            scheduler.arrivals.on_hold, scheduler.arrivals.on_pass = loop._recorder.hold, loop._recorder.passes
    return scheduler


def _punctual() -> type[Scheduler]:
    from virtualloop._core.punctual import PunctualScheduler

    return PunctualScheduler


def settle_queue(loop: Fitted) -> None:
    """Do without asking a schedule that keeps the order of tasks: to know it may take longer than to make a loop."""
    if loop._reordering is not None and loop._recorder is None and getattr(loop._schedule, "keeps_task_order", False):
        loop._reordering = None
        loop._ready = loop._queue = deque(
            (*entry[:2], None) if type(entry) is tuple and entry[2] is FIRST else entry for entry in loop._ready
        )


def _reorder(loop: Fitted) -> None:
    loop._queue = loop._reordering = ReorderingQueue(loop._choose)
    loop._ready = loop._queue.items


def keep_record(loop: Fitted, trace: Trace, ordinary: type, common_span: float) -> None:
    """Have `trace` keep the record of a loop; the class `ordinary` has the methods that others stand in for."""
    from virtualloop._loop.recorded import methods
    from virtualloop.trace._trace import Trace, recorder_of  # few loops have one

    if not isinstance(trace, Trace):
        raise TypeError(f"trace must be a virtualloop.Trace, not {trace!r}")
    recorder = recorder_of(trace)
    seed = "" if loop._seed is None else f"seed={loop._seed}, "
    recorder.begin(f"{type(loop).__name__}({seed}order={loop._order!r})")
    settle_queue(loop)
    loop._choose = recorder.watch(loop._choose)
    if loop._reordering is not None:
        _reorder(loop)
    recorder.attach(
        clock=loop._clock,
        timers=loop._timers,
        queue=loop._queue,
        current_task=partial(asyncio.current_task, loop),  # type: ignore[arg-type]  # it is one
        failed=partial(report, loop),
        wrapper=run_unless_cancelled,
        task_type=TracedTask,
        handle_type=RecordedHandle,
        timer_type=TimerHandle,
        iterator_type=future_iterator_type,
    )
    loop._recorder = recorder
    setattr(loop, "is_running", _noticing(loop, recorder, loop.is_running))  # noqa: B010  # a method to type checkers
    loop._own_task = TracedTask
    loop._make_task = attended
    found: Any = loop
    loop._in_place = {
        name: method
        for name, method in methods(found, common_span).items()
        if getattr(type(loop), name) is getattr(ordinary, name)  # else it is one of the user's
    }
    if not loop.get_debug():
        vars(loop).update(loop._in_place)


def _noticing(loop: Fitted, recorder: Recorder, is_running: Callable[[], bool]) -> Callable[[], bool]:
    """Return an is_running() that notices tasks that begin in the midst of a step: each of them asks that first.

    What such a task is, is seen where it makes what it waits for, or does anything else to the loop.
    """

    def noticed() -> asyncio.Future[Any]:
        recorder.here()
        return create_future()

    @wraps(is_running)
    def noticing() -> bool:
        if recorder.now is not None:
            setattr(loop, "create_future", noticed)  # noqa: B010  # a method to type checkers
            recorder.may_begin()
        return is_running()

    create_future = loop.create_future
    return noticing


def be_strict(loop: Fitted) -> None:
    """Have a loop remember where tasks are made, for what is told about them when it closes."""
    from virtualloop._report.leaks import Watch

    loop._watch = Watch()
    loop._make_task = attended


def patch(loop: Fitted, *, time: bool, epoch: datetime | float | None, random: bool) -> None:
    """Give a loop clocks and dice of its own while it runs."""
    from virtualloop._world.patches import Patches, epoch_in_ticks, epoch_now

    if epoch is not None and not time:
        raise ValueError("epoch is where the calendar of a loop with patch_time=True starts")
    start = None
    if time:
        start = epoch_now() if epoch is None else epoch_in_ticks(epoch)
    seed = loop._seed or 0
    number = seed if loop._number is None else loop._number
    loop._patches = Patches(
        loop._clock,
        epoch=start,
        number=number if random else None,
        random_seed=seed if loop._has_own_random else None,
    )
