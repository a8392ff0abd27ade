"""What is said of a loop that cannot go on, and of what one that closes leaves open.

Owns who is asked for the words, which are those of `_report`, and what is done to the tasks meanwhile. What is looked
at stays in the frames of these functions, so that the traceback of an error keeps no task alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from virtualloop._loop.handles import handle_of, subject_of
from virtualloop._stock.tasks import all_tasks, any_left, cancel_by_force

if TYPE_CHECKING:
    from typing import Protocol

    from virtualloop._core.scheduler import Scheduler
    from virtualloop._report.leaks import Watch
    from virtualloop._report.survey import Survey
    from virtualloop._world.threads import Threads
    from virtualloop.network import Network
    from virtualloop.network._stack import Stack

    class Ending(Protocol):
        """A loop, as far as somebody is told how it ends."""

        _ready: Any

        @property
        def _asyncgens(self) -> Mapping[int, Any] | None: ...
        @property
        def _errors(self) -> Sequence[list[str]]: ...
        @property
        def _network(self) -> Network | None: ...
        @property
        def _stack(self) -> Stack: ...
        @property
        def _threads(self) -> Threads: ...
        @property
        def _watch(self) -> Watch | None: ...
        def _scheduling(self) -> Scheduler: ...
        def time(self) -> float: ...


__all__ = ["deadlock", "hang", "left_open", "livelock", "point_at_wait", "restless", "survey"]


def survey(loop: Ending) -> Survey:
    """Return what the tasks of a loop do."""
    from virtualloop._report.survey import Survey, in_order

    running = asyncio.current_task(_as_asyncio(loop))
    return Survey(in_order(asyncio.all_tasks(_as_asyncio(loop))), running=running, jobs=loop._threads.jobs())


def deadlock(loop: Ending) -> str:
    """Return what to say of a deadlock; end the circles of tasks that await each other."""
    from virtualloop._report.text import deadlock as words

    found = survey(loop)
    message = words(loop.time(), found, loop._errors, loop._threads.restless())
    for task, awaited in found.awaiting_circles():
        # Nothing else could, not even the cancellation that asyncio.run() ends with.
        cancel_by_force(task, awaited)
    return message


def livelock(loop: Ending, turns: int) -> str | None:
    """Make some more steps; return what to say of them, or None if they were no spin any more."""
    from virtualloop._report.spinning import last_steps
    from virtualloop._report.text import livelock as words

    steps = last_steps(
        loop._scheduling().make_turn,
        loop=loop,
        newest=lambda: loop._ready[-1],
        as_handle=partial(handle_of, loop),
        subject=subject_of,
    )
    if steps is None:
        return None
    return words(loop.time(), turns, "spin_limit", steps=steps, survey=survey(loop), errors=loop._errors)


def hang(loop: Ending, found: Survey, *, stuck: Iterable[asyncio.Task[Any]], repeating: Sequence[Any]) -> str:
    """Return what to say where the tasks `stuck` wait in vain, and all else only repeats itself."""
    from virtualloop._report.text import hang as words

    return words(loop.time(), found, stuck=stuck, repeating=repeating, errors=loop._errors)


def restless(loop: Ending, instants: int) -> str:
    """Return what to say of a loop that is never idle."""
    from virtualloop._report.text import never_idle

    return never_idle(loop.time(), instants, survey(loop))


def left_open(loop: Ending) -> str | None:
    """Return what is open, in words, or None."""
    if loop._watch is None and loop._network is None and not loop._asyncgens and not any_left():
        return None
    tasks = all_tasks(_as_asyncio(loop))
    generators = [agen for agen in (loop._asyncgens or {}).values() if agen.ag_frame is not None]
    if not tasks and not generators and loop._watch is None and loop._network is None:
        return None
    from virtualloop._report.leaks import left_open as words
    from virtualloop._report.survey import in_order

    return words(
        loop.time(),
        tasks=in_order(tasks),
        generators=generators,
        sockets=() if loop._network is None else loop._stack.open_sockets(),
        handles=[entry for entry in loop._scheduling().entries() if isinstance(entry, asyncio.Handle)],
        errors=loop._errors,
        watch=loop._watch,
    )


def point_at_wait(exc: BaseException, future: Any) -> None:
    """Have the traceback of an error end where the program waits, not where the loop found out."""
    from virtualloop._report.tracebacks import waiting_at, without_internals

    where = waiting_at(future) if isinstance(future, asyncio.Task) and not future.done() else None
    exc.__traceback__ = where or without_internals(exc.__traceback__)


def _as_asyncio(loop: Ending) -> asyncio.AbstractEventLoop:
    return cast("asyncio.AbstractEventLoop", loop)
