"""A drive: what is so as long as a loop runs, in its thread and in the process.

Owns what a running loop changes there, and that all of it is put back: who is the running loop, asyncio's sets and
hooks, the handler of an alarm, debug mode's watch, and with clocks of its own those of the thread. What runs, and when,
is the scheduler's business.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from virtualloop._loop.alarms import Alarm, alarm_for
from virtualloop._loop.outside import LoopOutside
from virtualloop._stock import sets
from virtualloop._stock.private import set_running_loop
from virtualloop._world.world import enter as enter_world
from virtualloop._world.world import leave as leave_world
from virtualloop._world.world import running

if TYPE_CHECKING:
    from typing import Protocol

    from virtualloop._core.scheduler import Scheduler
    from virtualloop._loop.debugging import Stopwatch
    from virtualloop._loop.outside import Driven
    from virtualloop._world.patches import Patches

    class Drivable(Driven, Protocol):
        """A loop, as far as it is driven."""

        @property
        def _scheduler(self) -> Scheduler | None: ...
        @property
        def _patches(self) -> Patches | None: ...
        @property
        def _stopwatch(self) -> Stopwatch | None: ...
        @property
        def _origin_depth(self) -> int | None: ...
        @property
        def _task_number(self) -> int: ...
        def get_debug(self) -> bool: ...
        def _debug_run(self, *, enabled: bool) -> None: ...
        def _asyncgen_starts(self, agen: AsyncGenerator[Any, Any]) -> None: ...
        def _asyncgen_dies(self, agen: AsyncGenerator[Any, Any]) -> None: ...


__all__ = ["drive"]


def drive(loop: Drivable, *, target: int | None = None, until_idle: bool = False) -> bool:
    """Run a loop until stop(), or to the end that is asked for; return whether that was reached."""
    scheduler = loop._scheduler or loop._scheduling()
    alarm = alarm_for(scheduler.stop, waits=True)
    if alarm is None:
        _drive(loop, scheduler, None, target, until_idle)
    else:
        # Around all else: an alarm that interrupts what is below would leave half of it behind.
        with alarm:
            _drive(loop, scheduler, alarm, target, until_idle)
    return scheduler.reached_end


def _drive(loop: Drivable, scheduler: Scheduler, alarm: Alarm | None, target: int | None, until_idle: bool) -> None:
    debug = loop.get_debug()
    hooks = sys.get_asyncgen_hooks()
    patches = loop._patches
    if patches is not None:
        from virtualloop._loop.keeper import LoopKeeper

        patches.enter(LoopKeeper(loop))
    loop._thread_id = threading.get_ident()
    outside = LoopOutside(loop)
    if enter_world(outside, has_threads=loop._idle_threads is not None):
        loop._threads.begin(outside)
    try:
        sets.begin(loop)
        if debug:
            loop._debug_run(enabled=True)
        sys.set_asyncgen_hooks(loop._asyncgen_starts, loop._asyncgen_dies)
        set_running_loop(loop)  # type: ignore[arg-type]  # it is one
        if alarm is not None:
            alarm.waits = False
        scheduler.drive(outside, target=target, until_idle=until_idle)
    finally:
        if alarm is not None:
            alarm.waits = True
        loop._thread_id = None
        if loop._idle_threads is not None and loop._idle_threads.seat is not None:
            loop._idle_threads.end()
        outside.end()
        leave_world()
        set_running_loop(None)
        sets.end(running)
        if loop._stopwatch is not None or loop._origin_depth is not None:
            loop._debug_run(enabled=False)
        sys.set_asyncgen_hooks(*hooks)
        if patches is not None:
            patches.leave()
