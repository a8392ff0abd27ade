"""call_soon() and call_at() where something is out of the ordinary: in debug mode, on a closed loop, with a record.

Owns what they check and note there; the ordinary ways, which are short, stand in the loop itself. Knows no order.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from virtualloop._loop.base import check_callback, trimmed
from virtualloop._loop.creation import mark_of
from virtualloop._loop.timer_handle import TimerHandle
from virtualloop._stock.handles import make_handle
from virtualloop._stock.tasks import Task, is_step, step_type

if TYPE_CHECKING:
    from typing import Protocol

    from virtualloop._core.clock import Clock
    from virtualloop._core.recorder import Recorder
    from virtualloop._core.timers import Timers
    from virtualloop._loop.creation import Making

    class Checked(Making, Protocol):
        """A loop, as far as it looks twice at what it is to call."""

        _clock: Clock
        _timers: Timers

        @property
        def _closed(self) -> bool: ...
        @property
        def _recorder(self) -> Recorder | None: ...
        def _check_closed(self) -> None: ...
        def _check_thread(self) -> None: ...


__all__ = ["call_soon", "set_timer"]


def call_soon(
    loop: Checked, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
) -> asyncio.Handle:
    """Queue a callback."""
    handle: Any
    recorder = loop._recorder
    plain = loop._debug is False and not loop._closed
    if not plain:
        _check(loop, callback, "call_soon")
    kind = type(callback)
    if context is not None and (kind is step_type or is_step(callback)):
        mark: object = None
        if args:
            mark = args[0]
            if recorder is not None:
                recorder.wakes(callback.__self__, sys._getframe(2))  # type: ignore[attr-defined]  # steps have it
        elif type(callback.__self__) is not (loop._own_task or Task):  # type: ignore[attr-defined]  # as above
            mark = mark_of(loop, callback)
        if recorder is None:
            loop._ready.append((context, callback, mark))
        else:
            here = recorder.here() if recorder.begins else recorder.now
            loop._ready.append((context, callback, mark, here, callback.__self__))  # type: ignore[attr-defined]  # as above
        return None  # type: ignore[return-value]  # to a C function that drops it, as in the loop's own call_soon()
    if plain:
        handle = make_handle(loop, callback, args, copy_context() if context is None else context)  # type: ignore[arg-type]
    else:
        handle = trimmed(asyncio.Handle(callback, args, loop, context))  # type: ignore[arg-type]
    if recorder is not None:
        recorder.tags[id(handle)] = recorder.here() if recorder.begins else recorder.now
    loop._ready.append(handle)
    return handle  # type: ignore[no-any-return]  # either class


def set_timer(
    loop: Checked,
    tick: int | None,
    when: float,
    callback: Callable[..., object],
    args: tuple[Any, ...],
    context: Context | None,
    method: str,
) -> asyncio.TimerHandle:
    """Set a timer for a tick, or one that never fires."""
    handle: Any
    if loop._debug is not False or loop._closed:
        _check(loop, callback, method)
        handle = trimmed(asyncio.TimerHandle(when, callback, args, loop, context))  # type: ignore[arg-type]
    else:
        handle = TimerHandle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = loop
        handle._when = when
    if tick is not None:
        number = 0
        if tick > loop._clock.tick:
            loop._timers.added = True
            loop._timers.number = number = loop._timers.number + 1
        number = -number if method == "call_at" else number
        recorder = loop._recorder
        if recorder is None:
            handle._scheduled = number
        else:
            here = recorder.here() if recorder.begins else recorder.now
            handle._scheduled = (here, tick if number else loop._clock.tick, number)
        loop._timers.add(tick, handle)
    return handle  # type: ignore[no-any-return]  # either class


def _check(loop: Checked, callback: object, method: str) -> None:
    loop._check_closed()
    loop._check_thread()
    check_callback(callback, method)
