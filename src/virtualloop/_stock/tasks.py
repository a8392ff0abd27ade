"""Tasks that hash and are named by the order of their creation.

Owns the Task class of this loop, the numbers that tasks and futures are told apart by, and how to tell a task's wake-up
from a plain callback. Knows nothing of the loop but that it is a `TaskOwner`, and changes nobody's class.

Programs and libraries keep tasks in sets and cancel them in the order of iteration. Tasks hash by address, so that
order differs from run to run, whatever the seed. Those of this class hash by the number of their creation. A task that
somebody makes by asyncio.Task, or by a class of his own, keeps its hash and gets a number; in what order the sets of
asyncio itself are gone through, where such a task may be, is the matter of `sets`.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import sys
import types
from _asyncio import Task as _StockTask
from collections.abc import Callable, Coroutine, Iterable
from math import inf
from typing import TYPE_CHECKING, Any, cast

__all__ = [
    "STOCK_TASK",
    "WAKEUP_NAME",
    "FactoryTask",
    "NumberedTask",
    "Task",
    "TaskOwner",
    "TracedTask",
    "adopt",
    "all_tasks",
    "any_left",
    "cancel_by_force",
    "future_iterator_type",
    "is_default_name",
    "is_first_step",
    "is_ours",
    "is_step",
    "number_future",
    "number_of",
    "number_tasks",
    "step_type",
    "wakeup_type",
    "with_own_tasks",
]

#: Numbers for tasks of this class on a loop of another kind, where nothing depends on them.
_elsewhere = itertools.count(1)

#: Numbers for futures, far beyond those of tasks. What counts is which of two is greater, so all loops share them.
_futures = itertools.count(1 << 40)

#: asyncio's Task as it comes with Python, written in C; asyncio.Task may be somebody's replacement.
STOCK_TASK: type[asyncio.Task[Any]] = _StockTask

if TYPE_CHECKING:
    _TaskOfAny = asyncio.Task[Any]
else:
    _TaskOfAny = _StockTask


class TaskOwner:
    """The part of a loop that tasks of this class know: it counts them, and hears which one is cancelled."""

    #: How many tasks were made.
    _task_number = 0

    def _next_task_number(self) -> int:
        """Count one more task; tasks of this loop are named, and told apart, by the result."""
        self._task_number += 1
        return self._task_number

    def _task_cancelled(self, task: asyncio.Task[Any]) -> None:
        """A task that is traced is about to be cancelled."""


def is_ours(loop: object) -> bool:
    """Return whether a loop is one that numbers tasks."""
    return isinstance(loop, TaskOwner)


def _next_number(owner: object) -> int:
    return owner._next_task_number() if isinstance(owner, TaskOwner) else next(_elsewhere)


class Task(_TaskOfAny):
    """asyncio's task, made by the loop, which gives it its number or a name that tells it.

    An `__init__` here, or one more slot, would cost each task more than making it does.
    """

    __slots__ = ()

    def set_name(self, value: object, /) -> None:
        number_of(self)
        super().set_name(value)


class NumberedTask(Task):
    """The same, hashed by the number of its creation on its loop.

    The loop gives it its number before asyncio's own `__init__`, which puts the task into a set and may run its first
    step.
    """

    __slots__ = ("_virtualloop_number",)
    _virtualloop_number: int

    def __hash__(self) -> int:
        return self._virtualloop_number


class TracedTask(NumberedTask):
    """The same on a loop that keeps a record: it says when it is cancelled, so that a trace knows who did it.

    And it keeps for the recorder where it rests, as long as it lives.
    """

    __slots__ = ("_virtualloop_rest",)
    #: As a recorder knows those that do.
    _virtualloop_tells_who_cancels = True
    _virtualloop_rest: Any

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the task, as asyncio's own does."""
        owner = cast("TaskOwner", self.get_loop())  # No other loop makes any.
        owner._task_cancelled(self)
        return super().cancel(msg)


class FactoryTask(TracedTask):
    """The same for whoever calls it as he would call asyncio.Task."""

    __slots__ = ()

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        name: object = None,
        **kwargs: Any,
    ) -> None:
        number = self._virtualloop_number = _next_number(loop)
        self._virtualloop_rest = None
        super().__init__(coro, loop=loop, name=f"Task-{number}" if name is None else name, **kwargs)  # type: ignore[arg-type]  # asyncio takes any object for a name


# People read these names in the repr of a task, which is asyncio's.
for _kind in (NumberedTask, TracedTask, FactoryTask):
    _kind.__name__ = _kind.__qualname__ = "Task"


def with_own_tasks(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return a user's task factory as it is; but asyncio's own eager one, with tasks that hash by number."""
    eager = getattr(asyncio, "eager_task_factory", None)  # since Python 3.12
    if eager is None or getattr(factory, "__code__", None) is not eager.__code__:
        return factory
    (constructor,) = (cell.cell_contents for cell in factory.__closure__ or ())
    if constructor is not STOCK_TASK:
        return factory
    rebuilt: Callable[..., Any] = asyncio.create_eager_task_factory(FactoryTask)  # type: ignore[attr-defined,unused-ignore]  # since Python 3.12
    return rebuilt


# --- numbers ----------------------------------------------------------------------------------------------------------


def number_of(task: Any) -> int:
    """Return the number of a task; one that has none yet gets the next."""
    number = getattr(task, "_virtualloop_number", None)
    return number if type(number) is int else adopt(task)


def number_tasks(tasks: Iterable[Any]) -> None:
    """Give numbers to those tasks that have none, in the order of their creation as far as their names tell it."""
    for task in sorted((task for task in tasks if not hasattr(task, "_virtualloop_number")), key=_age):
        adopt(task)


def _age(task: Any) -> float:
    # asyncio counts the tasks of the process that it gives a name.
    name = task.get_name()
    return int(name[5:]) if is_default_name(name) else inf


def adopt(task: Any) -> int:
    """Give a task its number: what its name tells if the loop has made it, else the next, and a name by that."""
    name = task.get_name()
    default = is_default_name(name)
    own = default and type(task) is Task
    number = int(name[5:]) if own else _next_number(task.get_loop())
    try:
        setattr(task, "_virtualloop_number", number)  # noqa: B010  # which Task has no slot for, nor asyncio's classes
    except AttributeError:
        return number  # Its class allows no more attributes.
    if default and not own:
        task.set_name(f"Task-{number}")
    return number


def number_future(thing: object) -> bool:
    """Give a future that is no task a number, after those of all tasks; return whether it is one and takes it."""
    if not asyncio.isfuture(thing):
        return False
    future: Any = thing
    try:
        future._virtualloop_number = next(_futures)
    except AttributeError:
        return False
    return True


def is_default_name(name: object) -> bool:
    """Return whether `name` is one that asyncio gives, from a counter that all loops of the process share."""
    return isinstance(name, str) and name.startswith("Task-") and name[5:].isdecimal()


# --- which callback is what -------------------------------------------------------------------------------------------


def _observe_types() -> tuple[type, type]:
    """Return the types of the callback that a new task gives to its loop, and of what a coroutine awaits a future by.

    asyncio has no names for them.
    """
    seen: list[object] = []

    class Observer:
        def get_debug(self) -> bool:
            return False

        def call_soon(self, callback: object, *, context: object) -> None:
            seen.append(callback)

        def call_exception_handler(self, context: object) -> None:
            """Not a word about the task below, which is dropped before it starts."""

    async def nothing() -> None:
        """Never run."""

    coro = nothing()
    loop: Any = Observer()
    STOCK_TASK(coro, loop=loop, name="observed")
    coro.close()
    return type(seen.pop()), type(iter(asyncio.Future(loop=loop)))  # the task goes with its callback


#: A task's first step, the one after a bare yield as in sleep(0), and the one that throws into it.
step_type, future_iterator_type = _observe_types()
#: A task's resumption by a future that it awaits is a built-in method of the task, and so are others: task.cancel.
wakeup_type = types.BuiltinMethodType
WAKEUP_NAME = "task_wakeup"


def is_step(callback: object) -> bool:
    """Return whether `callback` is a step of a task that nothing but the loop itself will ever hold."""
    kind = type(callback)
    return kind is step_type or (kind is wakeup_type and callback.__name__ == WAKEUP_NAME)  # type: ignore[attr-defined]  # built-in methods have it


def is_first_step(callback: Any) -> bool:
    """Return whether this step of a task is its first."""
    coro = callback.__self__.get_coro()
    return inspect.iscoroutine(coro) and inspect.getcoroutinestate(coro) == inspect.CORO_CREATED


def cancel_by_force(task: asyncio.Task[Any], awaited: asyncio.Future[Any]) -> None:
    """Throw CancelledError into a task at once, without cancelling the future that it awaits.

    In a circle of tasks that await each other, `task.cancel()` goes round until the stack overflows.
    """
    referents = gc.get_referents(awaited)
    # The first callback is in a slot, its context in the next one; all others are in a list of such pairs.
    pairs = [
        *itertools.pairwise(referents),
        *(pair for thing in referents if type(thing) is list for pair in thing),
    ]
    for callback, context in pairs:
        if type(callback) is wakeup_type and callback.__name__ == WAKEUP_NAME and callback.__self__ is task:
            cancelled = task.get_loop().create_future()
            cancelled.cancel()
            awaited.remove_done_callback(callback)
            context.run(callback, cancelled)
            return


# --- what is left -----------------------------------------------------------------------------------------------------


if sys.version_info >= (3, 14):

    def any_left() -> bool:
        """Return True: to look costs little here."""
        return True

else:
    _known = asyncio.tasks._all_tasks if sys.version_info < (3, 12) else asyncio.tasks._scheduled_tasks  # type: ignore[attr-defined,unused-ignore]  # not in the stub

    def any_left() -> bool:
        """Return whether there may be tasks in the process that have not ended; much cheaper than to look for them."""
        return bool(_known.data)


def all_tasks(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[Any]]:
    """Return asyncio.all_tasks(loop), at a tenth of its cost where no task is alive at all, as after asyncio.run()."""
    return asyncio.all_tasks(loop) if any_left() else set()
