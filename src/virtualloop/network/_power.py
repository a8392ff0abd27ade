"""What a power cut does to what runs on a machine.

Owns how tasks and callbacks are stopped where they are, without another step. Python has no such thing, so it is done
at the places where the loop would run them: nothing wakes them, and nothing of theirs is left in a queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from virtualloop._handles import make_handle
from virtualloop.network._faces import endpoint_of
from virtualloop.network._watch import NOWHERE

if TYPE_CHECKING:
    from virtualloop.network._machines import Machine
    from virtualloop.network._medium import Medium

__all__ = ["stop"]


def stop(medium: Medium, machine: Machine, runs_here: Callable[[Context], bool]) -> list[Coroutine[Any, Any, Any]]:
    """Stop all tasks and callbacks that run on a machine, and return the coroutines of these tasks."""
    from virtualloop._waits import in_order  # noqa: PLC0415  # few programs cut the power

    loop: Any = medium.loop
    stopped: list[Any] = []
    for task in in_order(asyncio.all_tasks(loop)):
        context = _context_of(task, loop)
        if context is not None and runs_here(context):
            _forget_wakeup(task)
            coroutine = task.get_coro()
            if coroutine is not None:
                stopped.append(coroutine)
            # As a future only: a task would throw CancelledError into its coroutine.
            asyncio.Future.cancel(task)
    _drop_steps(loop, runs_here)
    for handle in _callbacks(loop):
        if handle._context is not NOWHERE and runs_here(handle._context):
            handle.cancel()
    for transport in list(medium.transports.values()):
        endpoint = None if transport._sock is None else endpoint_of(transport._sock)
        if endpoint is not None and endpoint.host is machine:
            _silence(transport)
    return stopped


def _context_of(task: Any, loop: Any) -> Context | None:
    if hasattr(task, "get_context"):
        return task.get_context()  # type: ignore[no-any-return]  # since Python 3.12
    # It waits for a future, or its next step is in the queue.
    waiting = [context for callback, context in _callbacks_of(task._fut_waiter) if _task_of(callback) is task]
    queued = [entry[0] for entry in loop._queue if type(entry) is tuple and _task_of(entry[1]) is task]
    return next(iter(waiting + queued), None)


def _drop_steps(loop: Any, runs_here: Callable[[Context], bool]) -> None:
    """Put a cancelled callback in the place of each step in the queue: the loop counts on as many entries."""
    ready = loop._ready
    for position, entry in enumerate(ready):
        if type(entry) is tuple and runs_here(entry[0]):
            ready[position] = handle = make_handle(loop, _nothing, (), NOWHERE)
            handle.cancel()


def _nothing() -> None: ...


def _callbacks(loop: Any) -> list[Any]:
    """Return all handles that the loop would run, now or later."""
    found: list[Any] = [entry for entry in loop._queue if entry is not None and type(entry) is not tuple]
    found += [handle for _, handle in loop._held]
    for entry in loop._timers.by_tick.values():
        found.extend(entry if type(entry) is list else [entry])
    return found


def _forget_wakeup(task: Any) -> None:
    """Have the future that a task awaits not wake it."""
    for callback, _ in _callbacks_of(task._fut_waiter):
        if _task_of(callback) is task:
            task._fut_waiter.remove_done_callback(callback)


def _callbacks_of(future: Any) -> list[tuple[Any, Context]]:
    return [] if future is None else list(future._callbacks or ())


def _task_of(callback: Any) -> Any:
    return getattr(callback, "__self__", None)


def _silence(transport: Any) -> None:
    """Have a transport do nothing any more, and say nothing when it is collected."""
    transport._closing = True
    transport._conn_lost += 1
    transport._sock = None
    tls = getattr(transport.get_protocol(), "_app_transport", None)
    if tls is not None:
        tls._closed = True
