"""Tasks whose order in a set is the order of their creation.

Owns the Task class of this loop, what it takes to have a user's task factory make such tasks, and how to tell a task's
wake-up from a plain callback. Knows nothing of the loop beyond `_next_task_number()`.

TaskGroup, asyncio.wait() and asyncio.run() keep tasks in sets and cancel them in the order of iteration. Tasks hash by
address, so that order differs from run to run, whatever the seed. Here they hash by the number of their creation.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import itertools
import sys
import types
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

__all__ = [
    "WAKEUP_NAME",
    "FactoryTask",
    "StandIn",
    "Task",
    "all_tasks",
    "cancel_by_force",
    "is_default_name",
    "is_first_step",
    "is_step",
    "number_of",
    "step_type",
    "wakeup_type",
]

#: Numbers for tasks of this class on a loop of another kind, where nothing depends on them.
_elsewhere = itertools.count(1)

_STOCK_TASK: type[asyncio.Task[Any]] = asyncio.Task

if TYPE_CHECKING:
    _TaskOfAny = asyncio.Task[Any]
else:
    _TaskOfAny = asyncio.Task


def _number(loop: object) -> int:
    number: Callable[[], int] | None = getattr(loop, "_next_task_number", None)
    return next(_elsewhere) if number is None else number()


class Task(_TaskOfAny):
    """asyncio's task, hashed by the number of its creation on its loop.

    The loop gives it its number, and its name, before asyncio's own `__init__`, which puts the task into a set and may
    run its first step. An `__init__` here would cost each task a call.
    """

    __slots__ = ("number",)
    number: int

    def __hash__(self) -> int:
        return self.number


class FactoryTask(Task):
    """The same for a user's task factory, which calls it as it would call asyncio.Task."""

    __slots__ = ()

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        name: object = None,
        **kwargs: Any,
    ) -> None:
        self.number = _number(loop)
        super().__init__(coro, loop=loop, name=f"Task-{self.number}" if name is None else name, **kwargs)  # type: ignore[arg-type]  # asyncio takes any object for a name


# People read these names in the repr of a task, which is asyncio's.
FactoryTask.__name__ = FactoryTask.__qualname__ = "Task"


def number_of(task: asyncio.Task[Any]) -> int:
    """Return the number of a task's creation; one that does not hash by it gets the next."""
    return _number(task.get_loop()) if type(task).__hash__ is object.__hash__ else hash(task)


def is_default_name(name: str) -> bool:
    """Return whether `name` is one that asyncio gives, from a counter that all loops of the process share."""
    return name.startswith("Task-") and name[5:].isdecimal()


# --- which callback is what -------------------------------------------------------------------------------------------


def _observe_step_type() -> type:
    """Return the type of the callback that a new task gives to its loop; asyncio has no name for it."""
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
    _STOCK_TASK(coro, loop=loop, name="observed")
    coro.close()
    return type(seen.pop())  # which the task goes with


#: A task's first step, the one after a bare yield as in sleep(0), and the one that throws into it.
step_type = _observe_step_type()
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


# --- all_tasks() ------------------------------------------------------------------------------------------------------


class _OrderedReferences(dict[Any, None]):
    """As much of a set of weak references as a WeakSet needs, iterated in the order of insertion."""

    def __init__(self, references: Iterable[Any]) -> None:
        super().__init__(dict.fromkeys(references))
        # A method in C in place of one in Python: it is called for each task of the process.
        self.add = self.setdefault

    def discard(self, reference: Any) -> None:
        self.pop(reference, None)

    def remove(self, reference: Any) -> None:
        del self[reference]


def _keep_tasks_in_order() -> None:
    """Make asyncio.all_tasks() find tasks in the order of their creation.

    asyncio.run() cancels what it returns, a set, filled from a WeakSet of all tasks of the process. Which of two tasks
    with colliding hashes comes first in the one depends on their order in the other, and that on every task that some
    other loop has left behind. Python 3.14 keeps a list, and has no such set of its own tasks.
    """
    tasks = getattr(asyncio.tasks, "_scheduled_tasks", getattr(asyncio.tasks, "_all_tasks", None))
    if (
        sys.version_info < (3, 14)
        and isinstance(tasks, weakref.WeakSet)
        and isinstance(getattr(tasks, "data", None), set)
    ):
        tasks.data = _OrderedReferences(tasks.data)  # type: ignore[attr-defined,unused-ignore]  # not in the stub


_keep_tasks_in_order()


def all_tasks(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[Any]]:
    """Return asyncio.all_tasks(loop), at a tenth of its cost where no task is alive at all, as after asyncio.run()."""
    # Since Python 3.14 there is nothing to look at, nor to save.
    known = None if sys.version_info >= (3, 14) else getattr(asyncio.tasks, "_scheduled_tasks", None)
    return set() if known is not None and not known.data else asyncio.all_tasks(loop)


# --- a user's task factory --------------------------------------------------------------------------------------------


class StandIn:
    """A user's task factory, made to build tasks that hash by number.

    asyncio's own eager factories are rebuilt around `FactoryTask`. Classes derived from asyncio.Task get the hash. And
    while any other factory runs, `asyncio.Task` is `FactoryTask`, also under the name that the factory's module
    imported: an instance of asyncio's own class, being written in C, can neither change its class nor its hash.
    """

    def __init__(self, factory: Callable[..., Any]) -> None:
        self._factory = _rebuilt_if_eager(factory)
        spaces = [vars(asyncio), vars(asyncio.tasks), _globals_of(factory)]
        self._names = [(space, name) for space in spaces for name, value in space.items() if value is _STOCK_TASK]
        for cls in _derived(_STOCK_TASK):
            _hash_by_number(cls)

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
        with self._standing_in():
            return self._factory(loop, coro, **kwargs)

    @contextmanager
    def _standing_in(self) -> Iterator[None]:
        for space, name in self._names:
            space[name] = FactoryTask
        try:
            yield
        finally:
            # Always to the one value that was there, so that two loops in two threads cannot leave a wrong one behind.
            for space, name in self._names:
                space[name] = _STOCK_TASK


def _rebuilt_if_eager(factory: Callable[..., Any]) -> Callable[..., Any]:
    stock = getattr(asyncio, "eager_task_factory", None)  # since Python 3.12
    if stock is None or getattr(factory, "__code__", None) is not stock.__code__:
        return factory
    (constructor,) = (cell.cell_contents for cell in factory.__closure__ or ())
    if constructor is not _STOCK_TASK:
        return factory
    rebuilt: Callable[..., Any] = asyncio.create_eager_task_factory(FactoryTask)  # type: ignore[attr-defined,unused-ignore]  # since Python 3.12
    return rebuilt


def _globals_of(factory: Any) -> dict[str, Any]:
    while isinstance(factory, functools.partial):
        factory = factory.func
    if isinstance(factory, types.MethodType):
        factory = factory.__func__
    if not isinstance(factory, types.FunctionType):
        factory = inspect.getattr_static(type(factory), "__call__", None)
    return getattr(factory, "__globals__", {})


def _derived(cls: type) -> Iterator[type]:
    derived: type
    for derived in type.__subclasses__(cls):
        yield derived
        yield from _derived(derived)


def _hash_by_number(cls: type) -> None:
    """Make the tasks of a user's class hash by number on this loop, and by address as before on any other.

    Only where nothing else decides their hash. It has to be the class: a task is put into a set, and its hash asked
    for, before its constructor returns.
    """
    hasher: object = cls.__hash__
    if hasher is not object.__hash__:
        return

    def hash_by_number(task: Any) -> int:
        number = getattr(task, "_virtualloop_number", None)
        if number is None:
            loop = task.get_loop()
            if not hasattr(loop, "_next_task_number"):
                return object.__hash__(task)
            number = task._virtualloop_number = _number(loop)
        return int(number)

    try:
        cls.__hash__ = hash_by_number  # type: ignore[method-assign,assignment]  # see the docstring
    except TypeError:
        return  # Written in C as well: nothing can be changed.
