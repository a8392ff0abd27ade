"""Jobs that a loop has given to executors.

Owns their order, that of submission, in which results are handed over however long each took; and how long one is
waited for where nobody knows who works on it. Knows nothing of loops; what a thread does it asks `parked`.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Container
from types import FrameType
from typing import Any

from virtualloop._world import system
from virtualloop._world.executors import runs_here
from virtualloop._world.parked import State, look_at
from virtualloop._world.patience import WORK_FACTOR

__all__ = ["Job", "Jobs"]


class Job:
    """One call that an executor runs: `source` is the executor's future, `relay` the one that the loop gets."""

    def __init__(self, executor: Any, function: Callable[..., Any], number: int) -> None:
        self.executor = executor
        self.function = function
        self.number = number
        #: Whether it is known which thread runs it, as soon as one does.
        self.pooled = runs_here(executor)
        self.source: concurrent.futures.Future[Any]
        self.relay: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.thread: threading.Thread | None = None
        #: How long it was waited for, where it is not known who works on it.
        self.waited = 0.0


class Jobs:
    """Those of one loop whose results have not been handed over. `patience` is in real seconds."""

    def __init__(self, *, patience: float) -> None:
        self._longest = WORK_FACTOR * patience
        self._all: list[Job] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, job: Job, done: Callable[[], None]) -> Any:
        """Take in a job that was submitted; return the loop's future of it. `done()` is called when it is."""
        self._all.append(job)
        source = job.source
        source.add_done_callback(lambda _: done())
        # Not by way of the job, which holds the relay: futures keep their callbacks, and this would be a cycle.
        job.relay.add_done_callback(lambda relay: relay.cancelled() and source.cancel())
        return job.relay

    def all(self) -> list[Job]:
        """Return them, by the order of submission."""
        return list(self._all)

    def running(self) -> list[Job]:
        """Return those that are not done."""
        return [job for job in self._all if not job.source.done()]

    def any_done(self) -> bool:
        """Return whether there is a result to hand over."""
        return any(job.source.done() for job in self._all)

    def finished(self) -> list[Callable[[], None]]:
        """Return what completes the future of each job that is done by now, by the order of submission."""
        done: list[Job] = []
        running: list[Job] = []
        for job in self._all:
            (done if job.source.done() else running).append(job)
        self._all = running
        return [lambda job=job: _copy(job.source, job.relay) for job in done]  # type: ignore[misc]  # mypy and default arguments

    def holds(
        self, job: Job, frames: dict[int, FrameType], passed: float, members: Container[threading.Thread]
    ) -> bool:
        """Return whether a job that has no thread yet, or whose thread nobody knows, keeps the clock from moving."""
        if job.pooled:
            threads = getattr(job.executor, "_threads", None)
            queue = getattr(job.executor, "_work_queue", None)
            if threads is None or queue is None:
                return self._is_waited_for(job, passed)
            # Else it was taken out, or waits for those that run others.
            if queue.empty():
                return self._is_waited_for(job, passed)
            return any(
                thread.ident in frames and look_at(thread, frames[thread.ident]).state is State.WORKING
                for thread in threads
                if thread not in members
            )
        return not system.AVAILABLE and self._is_waited_for(job, passed)

    def _is_waited_for(self, job: Job, passed: float) -> bool:
        job.waited += passed
        return job.waited < self._longest


def _copy(source: concurrent.futures.Future[Any], relay: concurrent.futures.Future[Any]) -> None:
    if source.cancelled():
        relay.cancel()
    if not relay.set_running_or_notify_cancel():
        return
    exception = source.exception()
    if exception is None:
        relay.set_result(source.result())
    else:
        relay.set_exception(exception)
