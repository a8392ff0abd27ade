"""Which task waits for what, and for whom.

Owns what asyncio's and anyio's operations are called in words, what each one waits for, and who holds a lock. Reads
all of it from suspended frames, so that nothing is recorded while all is well; decides nothing.

The innermost frames of a blocked task are those of the operation, with the lock, queue or group in their variables. A
lock that was entered by `async with` is held by the task in whose frames the block is. What `acquire()` took leaves no
such trace, so about that nothing is claimed but that no block holds it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf
from typing import Any, Literal, NamedTuple, Protocol

from virtualloop._frames import frames_of_others
from virtualloop._report.circles import circles
from virtualloop._report.frames import (
    Frame,
    Place,
    blocks_of,
    chain_of,
    is_machinery,
    name_of,
    own_frames,
    place_of,
    reach_of,
)
from virtualloop._stock.tasks import number_of, number_tasks
from virtualloop._words import moment, told_apart

__all__ = ["Job", "Look", "Survey", "Wait", "address", "in_order"]

#: More names than this are counted, not listed.
MAX_NAMES = 3
#: So many pending tasks are asked what they know of tasks that have failed.
MAX_ASKED = 100

_Task = asyncio.Task[Any]


class Job(Protocol):
    """A call that runs in a thread: what `Threads` keeps of it."""

    relay: concurrent.futures.Future[Any]
    function: Callable[..., object]
    thread: threading.Thread | None


class Holder(NamedTuple):
    """Who holds a lock, and where the block begins that took it."""

    task: _Task
    place: Place


@dataclass
class Wait:
    """What a task waits for: in words, the tasks that have to be done first, and the lock that has to come free."""

    what: str
    tasks: list[_Task] = field(default_factory=list)
    #: What stands between the two.
    link: str = " of "
    lock: Any = None
    #: Who holds it, as far as blocks tell, or None where that is not known.
    holders: list[Holder] | None = None
    #: Where the thread stands that has to be done.
    thread: Place | None = None
    #: Whether it is over with the first of these tasks.
    takes_any: bool = False


@dataclass
class Look:
    """One task: where it stands in the reader's code, outermost first, and what it waits for."""

    task: _Task
    state: Literal["running", "ready", "not started", "blocked"]
    places: list[Place]
    wait: Wait | None = None
    #: When the earliest of the timeouts that it is inside of ends.
    timeout: float | None = None
    #: Where it was made, if that is known and asked for.
    made: Place | None = None

    @property
    def waits_for(self) -> list[_Task]:
        """The tasks that this one waits for: those it awaits, and those that hold its lock."""
        if self.wait is None:
            return []
        return [*self.wait.tasks, *(holder.task for holder in self.wait.holders or ())]


class Survey:
    """All tasks of a loop at one moment. `jobs` are those that threads are at work on; `made` says where tasks were."""

    def __init__(
        self,
        tasks: Iterable[_Task],
        *,
        running: _Task | None = None,
        jobs: Iterable[Job] = (),
        made: Callable[[_Task], Place | None] | None = None,
    ) -> None:
        self._jobs = list(jobs)
        self._running = running
        self._chains = {task: chain_of(task.get_coro()) for task in tasks}
        self._names = told_apart({task: task.get_name() for task in self._chains})
        self.looks = [self._look(task) for task in self._chains]
        self._find_holders()
        if made is not None:
            for look in self.looks:
                look.made = made(look.task)
        #: Tasks that have failed, and of which those that are pending have heard nothing.
        self.failed = in_order(set(self._failed()))
        #: The circles of tasks that wait for each other, each in the order of waiting; no task is in two.
        looks = {look.task: look for look in self.looks}
        self.circles = [
            [looks[task] for task in circle] for circle in circles({look.task: look.waits_for for look in self.looks})
        ]

    def name(self, task: _Task) -> str:
        """Return the name of a task, in quotes; no two tasks of a survey have the same."""
        return repr(self._names.get(task) or task.get_name())

    def names(self, tasks: Iterable[_Task]) -> str:
        """Return the names of the tasks, the first few of them."""
        tasks = list(tasks)
        shown = tasks if len(tasks) <= MAX_NAMES + 1 else tasks[:MAX_NAMES]
        quoted = [self.name(task) for task in shown]
        if shown is not tasks:
            quoted.append(f"{len(tasks) - MAX_NAMES} more")
        return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)

    def awaiting_circles(self) -> list[tuple[_Task, asyncio.Future[Any]]]:
        """Return the last task of each circle that consists of tasks awaiting tasks, and what it awaits."""
        circles = [[(look.task, self._chains[look.task][1]) for look in circle] for circle in self.circles]
        return [
            circle[-1]
            for circle in circles
            if all(isinstance(awaited, asyncio.Task) or hasattr(awaited, "_children") for _, awaited in circle)
        ]

    def _failed(self) -> Iterator[_Task]:
        """Yield the tasks that gather() collects, and those that variables of the pending tasks lead to, unasked."""
        for frames, awaited in islice(self._chains.values(), MAX_ASKED):
            for task in getattr(awaited, "_children", ()):
                if _exception_of(task) is not None:
                    yield task
            things = [thing for frame in frames for _, thing in reach_of(frame)]
            things += [task for thing in things if type(thing) is set for task in thing]
            yield from (task for task in things if _exception_of(task) is not None and task._log_traceback)

    # --- one task -----------------------------------------------------------------------------------------------------

    def _look(self, task: _Task) -> Look:
        frames, awaited = self._chains[task]
        places = [frame.place for frame in own_frames(frames)]
        if task is self._running:
            return Look(task, "running", places)
        if inspect.iscoroutine(coro := task.get_coro()) and inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
            return Look(task, "not started", places)
        if awaited is None or (asyncio.isfuture(awaited) and awaited.done()):
            return Look(task, "ready", places)
        timeouts = [block.manager.when() for block in blocks_of(frames) if type(block.manager) is asyncio.Timeout]
        timeout = min((when for when in timeouts if when is not None), default=None)
        return Look(task, "blocked", places, self._wait(frames, awaited), timeout)

    def _wait(self, frames: list[Frame], awaited: Any) -> Wait:
        own = next((k for k in reversed(range(len(frames))) if not is_machinery(frames[k].code)), -1)
        return self._operation(frames[own + 1 :], awaited, _Namer(frames[own] if own >= 0 else None))

    def _operation(self, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
        """Return what it is to wait in these frames of an operation."""
        for k, frame in enumerate(frames):
            describe = OPERATIONS.get(frame.name)
            if describe is not None:
                return describe(self, frames[k:], awaited, namer)
        wait = self._future(awaited, namer)
        public = next((frame for frame in frames if not _is_private(frame.name)), None)
        if public is None:
            return wait
        return replace(wait, what=f"{public.name}()" + (f", on {wait.what}" if wait.tasks or wait.thread else ""))

    def _future(self, awaited: Any, namer: _Namer) -> Wait:
        """Return what it is to wait for a future, or for something that only looks like one."""
        if isinstance(awaited, asyncio.Task):
            return Wait("task", [awaited], " ")
        if not asyncio.isfuture(awaited):
            return Wait(_one(type(awaited).__name__))
        children = getattr(awaited, "_children", None)
        if children is not None:
            tasks = [task for child in children for task in _tasks_behind(child)]
            return Wait("gather()", tasks)
        if (inner := _behind(awaited, "inner")) is not None:
            return replace(wait := self._future(inner, namer), what=f"shield() of {wait.what}")
        if (source := _behind(awaited, "source")) is not None:
            return self._thread(source, namer)
        return Wait(namer.called("Future", awaited, else_="a future") + ", which is not done")

    def _thread(self, source: Any, namer: _Namer) -> Wait:
        """Return what it is to wait for a future of concurrent.futures: for a thread."""
        job = next((job for job in self._jobs if job.relay is source), None)
        if job is None:
            return Wait(namer.called("concurrent Future", source, else_="a concurrent future"))
        frame = frames_of_others().get(job.thread.ident or 0) if job.thread is not None else None
        while frame is not None and is_machinery(frame.f_code):
            frame = frame.f_back
        return Wait(f"{_function_name(job.function)}() in a thread", thread=None if frame is None else place_of(frame))

    # --- locks --------------------------------------------------------------------------------------------------------

    def _find_holders(self) -> None:
        waiting = [look.wait for look in self.looks if look.wait is not None and look.wait.lock is not None]
        if not waiting:
            return
        held: dict[int, list[Holder]] = {}
        for task, (frames, _) in self._chains.items():
            if task is self._running:
                continue  # What it has entered cannot be seen.
            # What Condition.wait() gives up it has not got while it waits.
            given_up = {id(_lock_of(frame.local("self"))) for frame in frames if frame.name == "Condition.wait"}
            locks = {id(_lock_of(block.manager)): block for block in reversed([*blocks_of(frames)])}
            for lock, block in locks.items():
                if lock not in given_up:
                    held.setdefault(lock, []).append(Holder(task, block.place))
        for wait in waiting:
            wait.holders = held.get(id(wait.lock), None if self._running is not None else [])


class _Namer:
    """What the reader's code calls the things that an operation is about."""

    def __init__(self, caller: Frame | None) -> None:
        self.caller = caller

    def called(self, kind: str, thing: Any, *, else_: str | None = None) -> str:
        """Return the kind and the name of a thing."""
        name = None if self.caller is None else name_of(thing, self.caller)
        return f"{kind} {name!r}" if name is not None else else_ or _one(kind)

    def generator_variable(self, function: str, name: str) -> Any:
        """Return a variable of the generator that the reader's code iterates over, or an empty tuple."""
        things = () if self.caller is None else gc.get_referents(self.caller.owner)
        generators = (thing for thing in things if inspect.isgenerator(thing) and thing.__name__ == function)
        frame = next((generator.gi_frame for generator in generators), None)
        return () if frame is None else frame.f_locals[name]

    def kind_of(self, thing: Any) -> str:
        """Return the kind and the name of a thing, by its own class."""
        return self.called(_class_name(thing), thing)


# --- the operations ---------------------------------------------------------------------------------------------------
# Each is given its own frame and those below, and what the last one awaits.


def _acquire(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    lock = frames[0].local("self")
    return Wait(namer.kind_of(lock), lock=lock)


def _enter(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    """`async with`: a condition's lock is called as the condition is."""
    manager = frames[0].local("self")
    lock = _lock_of(manager)
    return Wait(namer.kind_of(manager) if lock is manager else f"the lock of {namer.kind_of(manager)}", lock=lock)


def _condition(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    condition = frames[0].local("self")
    if any(frame.name == "Lock.acquire" for frame in frames):
        # It was notified.
        return Wait(f"the lock of {namer.kind_of(condition)}", lock=_lock_of(condition))
    return Wait(f"{namer.kind_of(condition)}, to be notified")


def _event(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    return Wait(f"{namer.kind_of(frames[0].local('self'))}, which is not set")


def _barrier(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    barrier = frames[0].local("self")
    return Wait(f"{namer.kind_of(barrier)}, where {barrier.n_waiting} of {barrier.parties} have arrived")


def _get(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    return Wait(f"get() from {namer.kind_of(frames[0].local('self'))}, which is empty")


def _put(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    queue = frames[0].local("self")
    return Wait(f"put() into {namer.kind_of(queue)}, which is full (maxsize={queue.maxsize})")


def _join(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    queue = frames[0].local("self")
    left = queue._unfinished_tasks
    items = "1 item" if left == 1 else f"{left} items"
    return Wait(f"join() of {namer.kind_of(queue)}, with {items} left without task_done()")


def _group(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    group = frames[0].local("self")
    tasks = in_order(getattr(group, "_tasks", ()))  # anyio's has had it elsewhere
    return Wait(f"the tasks of {namer.kind_of(group)}", tasks, ": ")


def _any_or_all(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    tasks = in_order(task for future in frames[0].local("fs") for task in _tasks_behind(future))
    takes_any = frames[0].local("return_when") != asyncio.ALL_COMPLETED
    return Wait("wait()", tasks, " for one of " if takes_any else " for ", takes_any=takes_any)


def _completed(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    iterator = frames[0].local("self")
    # Until Python 3.12 it is a generator, which the caller's loop has on its stack.
    todo = namer.generator_variable("as_completed", "todo") if iterator is None else iterator._todo
    tasks = in_order(task for future in todo for task in _tasks_behind(future))
    return Wait("as_completed()", tasks, takes_any=True)


def _wait_for(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    """Until Python 3.11 it awaits a future of its own."""
    future = frames[0].local("fut")
    return survey._operation(frames[1:], future if len(frames) == 1 and asyncio.isfuture(future) else awaited, namer)


def _sleep(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    handle = frames[-1].local("h")
    when = (
        "" if handle is None else f", until t={moment(handle.when())}" if handle.when() < inf else ", which never ends"
    )
    return Wait(f"sleep({frames[0].local('delay')}){when}")


def _in_thread(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    return survey._future(awaited, namer)


def _stream(survey: Survey, frames: list[Frame], awaited: Any, namer: _Namer) -> Wait:
    stream = frames[0].local("self")
    transport = getattr(stream, "_transport", None)
    peer = None if transport is None else transport.get_extra_info("peername")
    method = frames[0].name.rpartition(".")[2]
    return Wait(f"{method}() of {namer.kind_of(stream)}" + (f", connected to {address(peer)}" if peer else ""))


#: By the qualified name of the operation's frame; anyio's have the names of asyncio's.
OPERATIONS: dict[str, Callable[[Survey, list[Frame], Any, _Namer], Wait]] = {
    "Lock.acquire": _acquire,
    "Semaphore.acquire": _acquire,
    "CapacityLimiter.acquire": _acquire,
    "_ContextManagerMixin.__aenter__": _enter,
    "Condition.acquire": _enter,
    "Condition.wait": _condition,
    "Event.wait": _event,
    "Barrier.wait": _barrier,
    "Queue.get": _get,
    "Queue.put": _put,
    "Queue.join": _join,
    "TaskGroup.__aexit__": _group,
    "wait": _any_or_all,
    "as_completed.<locals>._wait_for_one": _completed,
    "_AsCompletedIterator._wait_for_one": _completed,
    "wait_for": _wait_for,
    "sleep": _sleep,
    "to_thread": _in_thread,
    "MemoryObjectReceiveStream.receive": _stream,
    "MemoryObjectSendStream.send": _stream,
    **{
        f"Stream{name}": _stream
        for name in (
            "Reader.read",
            "Reader.readline",
            "Reader.readuntil",
            "Reader.readexactly",
            "Writer.drain",
            "Writer.wait_closed",
        )
    },
}


def _class_name(thing: Any) -> str:
    cls = type(thing)
    return f"anyio {cls.__name__}" if cls.__module__.partition(".")[0] == "anyio" else cls.__name__


def _one(kind: str) -> str:
    return f"an {kind}" if kind[0] in "AEIOUaeiou" else f"a {kind}"


def _function_name(function: Any) -> str:
    """Return the name of what a job runs, inside of what to_thread() wraps it in."""
    while isinstance(function, functools.partial):
        runs = isinstance(getattr(function.func, "__self__", None), Context)
        function = function.args[0] if runs else function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _lock_of(manager: Any) -> Any:
    """Return the lock that entering a context manager takes: a condition's is its own, or one that it was given."""
    return manager._lock if issubclass(type(manager), asyncio.Condition) else manager


def _tasks_behind(future: Any) -> list[_Task]:
    """Return the tasks that have to be done before a future is."""
    if future.done():
        return []
    if isinstance(future, asyncio.Task):
        return [future]
    children = [*(getattr(future, "_children", None) or ()), _behind(future, "inner")]
    return [task for child in children if child is not None for task in _tasks_behind(child)]


def _behind(future: asyncio.Future[Any], name: str) -> Any:
    """Return what a future stands for, as the callback knows that would cancel it: shield(), wrap_future()."""
    callbacks = (thing for thing in gc.get_referents(future) if inspect.isfunction(thing))
    closures = (inspect.getclosurevars(callback).nonlocals for callback in callbacks)
    return next((variables[name] for variables in closures if name in variables), None)


def _exception_of(task: Any) -> BaseException | None:
    """Return what a task has failed with. Its exception() would count as having been asked."""
    return task._exception if issubclass(type(task), asyncio.Task) and task.done() else None


def _is_private(name: str) -> bool:
    return any(part.startswith("_") and part[1:2] != "_" for part in name.split("."))


def address(peer: object) -> str:
    """Return an address as people write it."""
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer)


def in_order(tasks: Iterable[_Task]) -> list[_Task]:
    """Return tasks in the order of their creation, whatever order the set they came from has."""
    tasks = list(tasks)
    number_tasks(tasks)
    return sorted(tasks, key=number_of)
