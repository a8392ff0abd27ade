"""call_soon(), call_later() and call_at() of a loop that keeps a record, where nothing else is out of the ordinary.

Owns these three, which stand in the loop's dict in the place of its methods: the same as those, in line, and each entry
is tagged with the step that runs. Where more is to be checked it is `checked` that does, by way of the methods.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heappush
from typing import TYPE_CHECKING, Any

from virtualloop._core.clock import TICKS
from virtualloop._core.recorder import BOTTOMS
from virtualloop._loop import checked
from virtualloop._loop.timer_handle import TimerHandle
from virtualloop._stock.handles import RecordedHandle
from virtualloop._stock.tasks import WAKEUP_NAME, TracedTask, step_type, wakeup_type

if TYPE_CHECKING:
    from typing import Protocol

    class Recorded(checked.Checked, Protocol):
        """A loop whose methods are these."""

        def call_later(self, delay: Any, callback: Any, *args: Any, context: Any = None) -> Any: ...
        def call_at(self, when: Any, callback: Any, *args: Any, context: Any = None) -> Any: ...


__all__ = ["methods"]

#: What a step begins with: whoever is called from there by C runs no line of the reader's.
_TURN, _STEP, *_ = BOTTOMS


def methods(loop: Recorded, common_span: float) -> dict[str, Callable[..., Any]]:
    """Return the three by name. Delays and times are up to `common_span`, with more the methods deal."""
    recorder, ready, clock, timers = loop._recorder, loop._ready, loop._clock, loop._timers
    assert recorder is not None
    ticks, by_tick = timers.ticks, timers.by_tick
    skipped, told = recorder.places.skipped, recorder.places.told
    events, names = recorder.events, recorder.names
    later, at = loop.call_later, loop.call_at

    def call_soon(callback: Any, *args: Any, context: Context | None = None) -> Any:
        kind = type(callback)
        if context is None:
            context = copy_context()
        elif kind is step_type:
            if type(task := callback.__self__) is not TracedTask:
                return checked.call_soon(loop, callback, args, context)
            ready.append((context, callback, None, recorder.here() if recorder.begins else recorder.now, task))
            return None  # to a C function that drops it, as in the loop's own call_soon()
        elif kind is wakeup_type and callback.__name__ == WAKEUP_NAME:
            task = callback.__self__
            if (now := recorder.now) is not None:
                frame: Any = sys._getframe(1)
                try:
                    while (file := (code := frame.f_code).co_filename) in skipped:
                        frame = frame.f_back
                    if file in told and not recorder.begins and (number := task._virtualloop_number) in names:
                        # What wakes() comes to for most tasks.
                        events.append((now, clock.tick, "wakes", False, (number, code, frame.f_lasti)))
                    elif code is not _TURN and code is not _STEP:
                        recorder.wakes(task, frame)
                except AttributeError:  # the last frame, of another thread's, or a task without a number
                    recorder.wakes(task, frame)
                if recorder.begins:
                    now = recorder.here()
            ready.append((context, callback, args[0], now, task))
            return None  # as above
        handle = RecordedHandle()
        handle._callback = callback
        handle._args = args
        handle._context = context
        handle._loop = loop
        handle._waker = recorder.here() if recorder.begins else recorder.now
        ready.append(handle)
        return handle

    def call_later(delay: Any, callback: Any, *args: Any, context: Context | None = None) -> Any:
        if delay is None or not 0.0 < delay < common_span:
            return later(delay, callback, *args, context=context)
        tick = clock.tick + (int(delay * TICKS + 0.5) or 1)
        handle = TimerHandle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = loop
        handle._when = clock.seconds + delay
        timers.added = True
        timers.number = number = timers.number + 1
        handle._scheduled = (recorder.here() if recorder.begins else recorder.now, tick, number)
        entry = by_tick.get(tick)
        if entry is None:
            by_tick[tick] = handle
            heappush(ticks, tick)
        elif type(entry) is list:
            entry.append(handle)
        else:
            by_tick[tick] = [entry, handle]
        return handle

    def call_at(when: Any, callback: Any, *args: Any, context: Context | None = None) -> Any:
        if when is None or not 0.0 <= clock.seconds < when < common_span:
            return at(when, callback, *args, context=context)
        if (tick := int(when * TICKS + 0.5)) <= clock.tick:
            tick = clock.tick + 1
        handle = TimerHandle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = loop
        handle._when = when
        timers.added = True
        timers.number = number = timers.number + 1
        handle._scheduled = (recorder.here() if recorder.begins else recorder.now, tick, -number)
        entry = by_tick.get(tick)
        if entry is None:
            by_tick[tick] = handle
            heappush(ticks, tick)
        elif type(entry) is list:
            entry.append(handle)
        else:
            by_tick[tick] = [entry, handle]
        return handle

    found: dict[str, Callable[..., Any]] = {"call_soon": call_soon, "call_later": call_later, "call_at": call_at}
    for name, method in found.items():
        method.__qualname__ = f"VirtualLoop.{name}"  # as errors call it
    return found
