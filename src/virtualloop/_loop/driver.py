"""How a loop carries a network.

Owns the loop's side of `network._driver.Driver`: where an event from outside waits until it arrives, and how a power
cut stops tasks and callbacks where they are, without another step. Python has no such thing, so it is done at the
places where the loop would run them: nothing wakes them, and nothing of theirs is left in a queue.

An event waits among the timers, so that what holds for those holds for it: it arrives at the start of a turn, and at
the orders "io" and "tasks" it may be held.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any

from virtualloop._core.events import ExternalEvent
from virtualloop._core.recorder import Recorder
from virtualloop._loop.handles import report
from virtualloop._stock.handles import Handle, make_handle

__all__ = ["LoopDriver"]

#: The context of what happens between hosts, and not on one.
NOWHERE = Context()


class LoopDriver:
    """A loop as its network sees it."""

    __slots__ = ("_loop", "_post_now", "_timers", "clock", "made_socket")

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self.clock = loop._clock
        self._timers = loop._timers
        self._post_now: Any = None
        #: What takes note of where a socket was made, on a strict loop.
        self.made_socket: Callable[[int], None] | None = None if loop._watch is None else loop._watch.made_socket

    @property
    def recorder(self) -> Recorder | None:
        """What keeps the record of the run, if it is kept."""
        return self._loop._recorder  # type: ignore[no-any-return]  # the loop is above this module

    def choose(self, n: int, kind: str) -> int:
        """Return the schedule's answer; as long as anyone is within plain(), the network is at its best."""
        if self._loop._plain_scopes:
            return 0
        return self._loop._choose(n, kind)  # type: ignore[no-any-return]  # as above

    def event(self, arrive: Callable[[], None]) -> ExternalEvent:
        """Return an event that calls `arrive()`, on no host and in no task."""
        return ExternalEvent(arrive, "network", NOWHERE, self._timers)

    def post(self, event: Any, tick: int) -> None:
        """Let an event arrive when the clock is at `tick`."""
        self._loop._post(max(tick, self.clock.tick), event)

    @property
    def post_now(self) -> Callable[[Any], None]:
        """What lets an event arrive at the present instant: a function in C where nothing may vary or is recorded."""
        if self._post_now is None:
            loop = self._loop
            if loop._order == "fifo" and loop._recorder is None:
                self._post_now = loop._scheduling().arriving.append
            else:
                self._post_now = lambda event: loop._post(self.clock.tick, event)
        return self._post_now  # type: ignore[no-any-return]  # as above

    def run(self, watcher: Any) -> bool:
        """Run a callback that waited for a socket; return False if it was cancelled."""
        callback = watcher._callback
        if callback is None:
            return False
        if type(watcher) is not Handle:
            watcher._run()
            return True
        # What Handle._run() does, with one call less.
        args = watcher._args
        try:
            if args:
                watcher._context.run(callback, *args)
            else:
                watcher._context.run(callback)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            report(self._loop, exc, watcher)
        return True

    # --- a power cut --------------------------------------------------------------------------------------------------

    def stop(self, runs_here: Callable[[Context], bool], sockets: Iterable[int]) -> list[Coroutine[Any, Any, Any]]:
        """Stop all tasks and callbacks of a host, and the transports over its sockets; return the tasks' coroutines."""
        from virtualloop._report.survey import in_order  # few programs cut the power

        loop = self._loop
        stopped: list[Any] = []
        for task in in_order(asyncio.all_tasks(loop)):
            context = self._context_of(task)
            if context is not None and runs_here(context):
                _forget_wakeup(task)
                stopped.append(task.get_coro())
                # As a future only: a task would throw CancelledError into its coroutine.
                asyncio.Future.cancel(task)
        self._drop_steps(runs_here)
        for handle in self._callbacks():
            if handle._context is not NOWHERE and runs_here(handle._context):
                handle.cancel()
        for number in sockets:
            loop._silence(number)
        return stopped

    def _context_of(self, task: Any) -> Context | None:
        if sys.version_info < (3, 12):
            # It waits for a future, or its next step is in the queue.
            waiting = [context for callback, context in _callbacks_of(task._fut_waiter) if _task_of(callback) is task]
            queued = [entry[0] for entry in self._loop._queue if type(entry) is tuple and _task_of(entry[1]) is task]
            return next(iter(waiting + queued), None)
        context: Context = task.get_context()
        return context

    def _drop_steps(self, runs_here: Callable[[Context], bool]) -> None:
        """Put a cancelled callback in the place of each step in the queue: the loop counts on as many entries."""
        ready = self._loop._ready
        for position, entry in enumerate(ready):
            if type(entry) is tuple and runs_here(entry[0]):
                ready[position] = handle = make_handle(self._loop, _nothing, (), NOWHERE)
                handle.cancel()

    def _callbacks(self) -> list[Any]:
        """Return all handles that the loop would run, now or later."""
        return [entry for entry in self._loop._scheduling().entries() if type(entry) is not tuple]


def _nothing() -> None: ...


def _forget_wakeup(task: Any) -> None:
    """Have the future that a task awaits not wake it."""
    for callback, _ in _callbacks_of(task._fut_waiter):
        if _task_of(callback) is task:
            task._fut_waiter.remove_done_callback(callback)


def _callbacks_of(future: Any) -> list[tuple[Any, Context]]:
    return [] if future is None else list(future._callbacks or ())


def _task_of(callback: Any) -> Any:
    return getattr(callback, "__self__", None)
