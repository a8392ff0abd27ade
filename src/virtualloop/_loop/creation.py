"""How a loop makes a task where that is out of the ordinary: with a name, on a loop whose runs vary, by a factory.

Owns these ways; which one a loop takes is in its `_make_task`, and the ordinary one stands in `create_task` itself.
Knows neither time nor what runs next. The traceback of a task that has failed at once, an eager one, holds the frames
of these functions, which must not hold the task.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from virtualloop._core.entries import FIRST
from virtualloop._loop.base import trim
from virtualloop._stock.tasks import STOCK_TASK, Task, TracedTask, is_first_step, number_of

if TYPE_CHECKING:
    from typing import Protocol

    from virtualloop._core.ready import ReorderingQueue
    from virtualloop._report.leaks import Watch

    class Making(Protocol):
        """A loop, as far as it makes tasks."""

        _ready: Any
        _own_task: type[Task] | None
        _task_number: int
        _factory: Callable[..., Any]

        @property
        def _reordering(self) -> ReorderingQueue | None: ...
        @property
        def _watch(self) -> Watch | None: ...
        @property
        def _debug(self) -> bool | None: ...
        def get_debug(self) -> bool: ...


__all__ = ["NOT_GIVEN", "TASKS_SPACE", "attended", "by_factory", "by_replacement", "mark_of", "particular", "refused"]

#: In place of a name that create_task() was not given.
NOT_GIVEN: Any = object()

#: Its names are looked up in the dict: as attributes they would be looked up anew after each start of a loop, which
#: writes another name into it.
TASKS_SPACE = vars(asyncio.tasks)

# What stock asyncio hands to a task factory: everything, and so also the name, from Python 3.14 on; the name itself
# gives it to the task before.
_parameters = inspect.signature(asyncio.BaseEventLoop.create_task).parameters
FACTORIES_NAME_TASKS = "name" not in _parameters
FACTORIES_TAKE_ALL = any(parameter.kind is parameter.VAR_KEYWORD for parameter in _parameters.values())


def particular(
    loop: Making, kind: type[asyncio.Task[Any]], number: int, coro: Any, name: Any, kwargs: dict[str, Any]
) -> asyncio.Task[Any]:
    """Make a task with a name or a context of its own, in debug mode, or of another class than the ordinary one."""
    default = name is None or name is NOT_GIVEN
    if default and kind is Task and not loop.get_debug():
        return kind(coro, loop=loop, name=f"Task-{number}", **kwargs)  # type: ignore[arg-type]  # it is one
    task: Any = kind.__new__(kind)
    try:
        if not default or kind is not Task:
            task._virtualloop_number = number
            if kind is TracedTask:
                task._virtualloop_rest = None
        task.__init__(coro, loop=loop, name=f"Task-{number}" if default else name, **kwargs)
        if loop._debug:
            trim(task._source_traceback)
        return task  # type: ignore[no-any-return]  # the stubs do not know of a task without __init__
    finally:
        del task


def attended(loop: Making, coro: Any, name: Any, kwargs: dict[str, Any]) -> asyncio.Task[Any]:
    """Make a task on a loop whose runs can be had again, or a strict one."""
    if TASKS_SPACE["Task"] is not STOCK_TASK:
        task = by_replacement(loop, coro, name, kwargs)
    else:
        loop._task_number = number = loop._task_number + 1
        kind: Any = loop._own_task
        if kwargs or loop._debug is not False or kind is None or (name is not None and name is not NOT_GIVEN):
            task = particular(loop, kind or Task, number, coro, name, kwargs)
        else:
            # What particular() comes to.
            task = kind.__new__(kind)
            task._virtualloop_number = number
            if kind is TracedTask:
                task._virtualloop_rest = None
            task.__init__(coro, loop=loop, name=f"Task-{number}")
        # Its first step is a plain callback, in a queue whose entries change places.
        if loop._reordering is not None and not kwargs.get("eager_start"):
            context, step, _, *tag = loop._ready[-1]
            loop._ready[-1] = (context, step, FIRST, *tag)
    try:
        if loop._watch is not None:
            loop._watch.made(task)
        return task
    finally:
        del task


def by_replacement(loop: Making, coro: Any, name: Any, kwargs: dict[str, Any]) -> asyncio.Task[Any]:
    """Make a task by what somebody has put in the place of asyncio.Task, as asyncio's own tests of Python code do."""
    if name is not NOT_GIVEN:
        kwargs["name"] = name
    task: asyncio.Task[Any] = TASKS_SPACE["Task"](coro, loop=loop, **kwargs)
    try:
        number_of(task)
        return task
    finally:
        del task


def by_factory(loop: Making, coro: Any, name: Any, kwargs: dict[str, Any]) -> Any:
    """Have a user's task factory make a task, of what stock asyncio gives it."""
    if FACTORIES_NAME_TASKS:
        if name is not NOT_GIVEN:
            kwargs["name"] = name
        task = loop._factory(loop, coro, **kwargs)
    else:
        if "context" in kwargs and kwargs["context"] is None:
            del kwargs["context"]
        if not FACTORIES_TAKE_ALL and kwargs.keys() - {"context"}:
            raise TypeError(f"create_task() got an unexpected keyword argument {next(iter(kwargs))!r}")
        task = loop._factory(loop, coro, **kwargs)
        if name is not None and name is not NOT_GIVEN and hasattr(task, "set_name"):
            task.set_name(name)
    try:
        if isinstance(task, asyncio.Task):
            number_of(task)
        if loop._watch is not None:
            loop._watch.made(task)
        return task
    finally:
        del task


def refused(loop: Making, coro: Any, name: Any, kwargs: dict[str, Any]) -> NoReturn:
    """Make no task: the loop is closed."""
    raise RuntimeError("Event loop is closed")


def mark_of(loop: Making, step: Any) -> object:
    """Return what stands in place of an argument for a step of a task that create_task() did not make itself."""
    number_of(step.__self__)
    return FIRST if loop._reordering is not None and is_first_step(step) else None
