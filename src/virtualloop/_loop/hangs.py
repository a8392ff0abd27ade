"""Whether a drive hangs beside a heartbeat: what it is for waits in vain, and all that still runs repeats itself.

Owns that judgement, and how much is looked at before it is made, in jumps and steps and never by a wall clock. What the
tasks wait for is `_report`'s to say.

A program hangs where the task that it was started for, and whoever that one waits for and cannot do without, have not
made a step for long and wait for what they waited for before; where whatever else has run went through the same lines
again and again; where no timer is pending that was there all along, which might change that; and where nobody outside
could, as a thread might that has moved. Who really needs so many repetitions until something happens has no timer ahead
for that either, so his is a false alarm: a timeout around what is awaited is a timer, and ends the doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from virtualloop._core.entries import callback_of
from virtualloop._loop import endings
from virtualloop._loop.handles import subject_of

if TYPE_CHECKING:
    from typing import Protocol

    from virtualloop._core.timers import Timers
    from virtualloop._report.survey import Survey
    from virtualloop._world.descriptors import Descriptors
    from virtualloop._world.threads import Threads

    class Driven(endings.Ending, Protocol):
        """A loop, as far as it may hang."""

        _timers: Timers

        @property
        def _awaited(self) -> asyncio.Future[Any] | None: ...
        @property
        def _idle_threads(self) -> Threads | None: ...
        @property
        def _watched(self) -> Descriptors | None: ...
        def _handles_signals(self) -> bool: ...


__all__ = ["Hang"]

#: So many looks have come to nothing before main is said to hang that also waits for what goes on, as a group of tasks
#: does for a heartbeat in it: that may yet end the others.
LOOKS_BESIDE = 8


class Hang:
    """A hang that is looked for, as long as a drive lasts."""

    def __init__(self, loop: Driven) -> None:
        self._loop = loop
        self._watch: _Repetition | None = None
        self._looks = 0
        # What waited when the watch began, for what, where the threads did, and the timers that were pending.
        self._stuck: dict[asyncio.Task[Any], str] = {}
        self._threads: dict[Any, str] = {}
        self._timers: dict[int, Any] = {}

    def look(self) -> str | None:
        """Begin to watch, where it may be a hang; or end that, and return what to say if it is one."""
        if self._watch is None:
            self._looks += 1
            # A look at all tasks costs something: only at the first, second, fourth, eighth... time.
            if self._looks & (self._looks - 1) == 0:
                self._begin()
            return None
        watch, before, threads_before = self._watch, self._stuck, self._threads
        timers = self._timers
        self.end()
        if not watch.only_repeats or any(id(entry) in timers for entry in self._pending()):
            return None
        threads = self._where_threads_wait()
        if threads is None or any(threads.get(thread, at) != at for thread, at in threads_before.items()):
            return None
        found = endings.survey(self._loop)
        stuck = self._find_stuck(found, lambda task, what: before.get(task) != what or task in watch.went_on)
        if stuck is None or (len(stuck) < len(before) and self._looks < LOOKS_BESIDE):
            return None
        tasks = [look.task for look in found.looks if look.task not in stuck]
        return endings.hang(self._loop, found, stuck=stuck, repeating=watch.repeating(tasks))

    def end(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._loop._scheduling().remove_instrument(self._watch)
        self._watch = None
        self._stuck, self._threads, self._timers = {}, {}, {}

    def _begin(self) -> None:
        threads = self._where_threads_wait()
        if threads is None:
            return
        stuck = self._find_stuck(endings.survey(self._loop), lambda task, what: False)
        if stuck is not None:
            self._stuck, self._threads = stuck, threads
            self._timers = {id(entry): entry for entry in self._pending()}
            self._watch = _Repetition(stuck)
            self._loop._scheduling().add_instrument(self._watch)

    def _where_threads_wait(self) -> dict[Any, str] | None:
        """Return where each thread of the world waits; None if one may move by itself, or waits for a task."""
        threads = self._loop._idle_threads
        if threads is None:
            return {}
        return None if threads.callers() else threads.where_all_wait()

    def _find_stuck(
        self, found: Survey, goes_on: Callable[[asyncio.Task[Any], str], bool]
    ) -> dict[asyncio.Task[Any], str] | None:
        """Return main, those that it waits for who wait themselves, and for what; None if it may go on, or by others.

        `goes_on` says of a task, and of what it waits for now, whether that will come to an end.
        """
        loop = self._loop
        main: Any = loop._awaited
        if loop._watched or loop._handles_signals():
            return None
        looks = {look.task: look for look in found.looks}
        stuck: dict[asyncio.Task[Any], str] = {}
        # How many of those that a task waits for have to be done, and who waits for whom.
        needs: dict[Any, int] = {}
        waiters: dict[Any, list[Any]] = {}
        free: list[Any] = []
        tasks: list[Any] = [main]
        while tasks:
            task = tasks.pop()
            if task in needs:
                continue
            look = looks.get(task)
            if look is None or look.wait is None or look.timeout is not None or goes_on(task, look.wait.what):
                needs[task] = 0
                free.append(task)
                continue
            stuck[task] = look.wait.what
            others = dict.fromkeys(look.waits_for)
            takes_any = look.wait.takes_any or look.wait.lock is not None  # a semaphore has several holders
            needs[task] = min(1, len(others)) if takes_any else len(others)
            for other in others:
                waiters.setdefault(other, []).append(task)
            tasks += others
        for task in free:
            stuck.pop(task, None)
            for waiter in waiters.get(task, ()):
                needs[waiter] -= 1
                if needs[waiter] == 0:
                    free.append(waiter)
        return stuck if main in stuck else None

    def _pending(self) -> Iterable[Any]:
        timers = self._loop._timers
        return (entry for tick in timers.ticks for entry in timers.of(tick) if callback_of(entry) is not None)


class _Repetition:
    """Sees at each step whether something is new, a line or a callback, and which of the tasks `stuck` go on."""

    def __init__(self, stuck: Iterable[asyncio.Task[Any]]) -> None:
        self._stuck = frozenset(stuck)
        # Where tasks stood after a step; and which callbacks ran.
        self._lines: set[object] = set()
        self._callbacks: dict[object, Any] = {}
        self._steps = self._new = 0
        #: Which of the tasks have.
        self.went_on: set[object] = set()

    @property
    def only_repeats(self) -> bool:
        """Whether nothing was new in the second half of all steps."""
        return self._steps > 0 and 2 * self._new <= self._steps

    def repeating(self, tasks: Iterable[asyncio.Task[Any]]) -> list[Any]:
        """Return which of the tasks stand where somebody was seen, and the callbacks, one for all that do the same."""
        return [*(task for task in tasks if _lines_of(task.get_coro()) in self._lines), *self._callbacks.values()]

    def around(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return what runs an entry, and looks where that has led."""

        def watched(entry: Any) -> None:
            subject = subject_of(entry)
            run(entry)
            if subject is not None:
                self._see(subject)

        return watched

    def _see(self, subject: Any) -> None:
        self._steps += 1
        known = len(self._lines) + len(self._callbacks)
        if isinstance(subject, asyncio.Task):
            self._lines.add(_lines_of(subject.get_coro()))
        else:
            self._callbacks[_name_of(subject)] = subject
        if len(self._lines) + len(self._callbacks) > known:
            self._new = self._steps
        if subject in self._stuck:
            self.went_on.add(subject)


def _lines_of(coro: Any) -> tuple[object, ...]:
    """Return where a coroutine stands, from its own line to that of the innermost one that it awaits."""
    lines: list[object] = []
    while coro is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(coro, f"{kind}_frame")), None)
        if kind is None:
            break
        frame = getattr(coro, f"{kind}_frame")
        lines.append(getattr(coro, f"{kind}_code") if frame is None else (frame.f_code, frame.f_lineno))
        coro = getattr(coro, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return tuple(lines)


def _name_of(callback: Any) -> object:
    return getattr(callback, "__code__", None) or getattr(callback, "__qualname__", type(callback))
