"""Threads that work for the program under test, while its clock stands still.

Owns what comes from other threads: jobs given to executors, and callbacks sent by call_soon_threadsafe. Knows nothing
of timers and order, and runs no callback: it says when the threads have settled and hands over what they sent.

How long a thread takes is no business of a run, so the loop asks only when nothing else is left to do, and then waits
in real time until each thread has either finished or parked in a lock or queue. All that they sent meanwhile goes in
at that one point, in an order that does not depend on the machine: first what jobs and other threads called back, each
in its own order, jobs by the order of submission, other threads by that of their start; then the jobs' results, again
by the order of submission.

A thread that waits for the loop must not hold the clock: a job that is parked after it has called back is given up
at once, any other only after `patience` real seconds. So is a foreign thread that does not come to rest; it counts
again when it next sends something.
"""

from __future__ import annotations

import _thread
import concurrent.futures
import sys
import threading
import time
from collections.abc import Callable, Sized
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from virtualloop._parked import State, is_scheduled, state_of

__all__ = ["Threads"]

#: Real seconds between two looks at the threads: short at first, because most jobs are done in no time, then longer,
#: because looking costs them the GIL.
FIRST_PAUSE = 0.0002
LONGEST_PAUSE = 0.005

# Kept from before anyone can put these on a virtual clock.
_real_time = time.monotonic


class Job:
    """One call that an executor runs: `source` is the executor's future, `relay` the one that the loop gets."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.source: concurrent.futures.Future[Any]
        self.relay: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.thread: threading.Thread | None = None
        self.called_back = False
        #: Where it was parked when it was given up: it is not waited for again while it stays there.
        self.given_up_at: object = None


class Threads:
    """The threads of one loop. `patience` is in real seconds."""

    def __init__(self, *, patience: float) -> None:
        self._patience = patience
        self._inbox: SimpleQueue[tuple[tuple[int, int], Any] | None] = SimpleQueue()
        # What was taken out of the inbox while waiting, in the order in which it came.
        self._sent: list[tuple[tuple[int, int], Any]] = []
        self._jobs: dict[int, Job] = {}
        self._job_of: dict[threading.Thread, Job] = {}
        self._number = 0
        # Threads from before this loop are somebody else's. Objects, not idents: the system gives those out again.
        self._known = set(threading.enumerate()) if _thread._count() else set()
        self._given_up: set[threading.Thread] = set()
        #: Threads of executors: what they do is known from their jobs.
        self._workers: set[threading.Thread] = set()
        #: Where a thread looked parked at the last look.
        self._seen: dict[threading.Thread, object] = {}

    # --- from the loop's thread ---------------------------------------------------------------------------------------

    def submit(
        self, executor: concurrent.futures.Executor, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> concurrent.futures.Future[Any]:
        """Run `function(*args)` in the executor; return a future that the loop's thread completes, see `finished`."""
        self._number += 1
        job = Job(self._number)
        if isinstance(executor, concurrent.futures.ThreadPoolExecutor):

            def work() -> Any:
                job.thread = threading.current_thread()
                self._workers.add(job.thread)
                self._job_of[job.thread] = job
                try:
                    return function(*args)
                finally:
                    del self._job_of[job.thread]

            job.source = executor.submit(work)
        else:
            # Whoever runs it may have to pickle it, so it goes as it is; it counts as at work until it is done.
            job.source = executor.submit(function, *args)
        self._jobs[job.number] = job
        job.source.add_done_callback(lambda _: self._inbox.put(None))
        job.relay.add_done_callback(lambda relay: relay.cancelled() and job.source.cancel())
        return job.relay

    def anything(self) -> bool:
        """Return whether there may be something to wait for or to collect; cheap, because it is asked at each jump."""
        return bool(self._jobs) or _thread._count() > 0 or bool(self._sent) or not self._inbox.empty()

    def settle(self, ready: Sized) -> None:
        """Wait, in real time, until each thread has finished what it does, has parked, or was given up.

        Ends early when a signal handler has put something into `ready`.
        """
        pause = FIRST_PAUSE
        start = _real_time()
        self._seen.clear()
        while not ready and self._at_work(_real_time() - start):
            self._receive(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def wait_for_main_thread(self, ready: Sized) -> bool:
        """Wait until the main thread sends something; return False if it is parked or gone, or is this one.

        A loop that runs in a thread of its own has nothing to do whenever the main thread is busy elsewhere.
        """
        main = threading.main_thread()
        pause = FIRST_PAUSE
        self._seen.clear()
        while not ready and not self._sent and self._inbox.empty():
            if main is threading.current_thread() or main.ident is None or not main.is_alive():
                return False
            frame = sys._current_frames().get(main.ident)
            if frame is None or self._has_parked(main, frame):
                return False
            self._receive(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return True

    def collect(self) -> list[Any]:
        """Return the callbacks that threads have sent since the last call, in order."""
        while not self._inbox.empty():
            self._receive(0)
        sent, self._sent = sorted(self._sent, key=lambda item: item[0]), []
        return [callback for _, callback in sent]

    def finished(self) -> list[Callable[[], None]]:
        """Return what completes the future of each job that is done by now, by the order of submission."""
        done = [job for job in self._jobs.values() if job.source.done()]
        for job in done:
            del self._jobs[job.number]
        return [lambda job=job: _copy(job.source, job.relay) for job in done]  # type: ignore[misc]  # mypy and default arguments

    # --- from any thread ----------------------------------------------------------------------------------------------

    def send(self, callback: Any) -> None:
        """Hand over a callback. Safe in a signal handler too, since SimpleQueue.put() is."""
        thread = threading.current_thread()
        job = self._job_of.get(thread)
        if job is not None:
            job.called_back = True
            self._inbox.put(((0, job.number), callback))
        else:
            self._given_up.discard(thread)
            # The system numbers threads in the order of their start (Windows may not).
            self._inbox.put(((1, thread.native_id or 0), callback))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _receive(self, seconds: float) -> None:
        """Wait until a thread sends something or finishes a job, at most `seconds`: the threads run meanwhile."""
        try:
            item = self._inbox.get(timeout=seconds)
        except Empty:
            return
        if item is not None:
            self._sent.append(item)

    def _at_work(self, waited: float) -> bool:
        jobs = [job for job in self._jobs.values() if not job.source.done()]
        here = threading.current_thread()
        passed_over = (self._known, self._workers, self._given_up)
        threads = [t for t in threading.enumerate() if t is not here and not any(t in others for others in passed_over)]
        if not jobs and not threads:
            return False
        frames = sys._current_frames()
        # Each is looked at, lest one that has parked meanwhile is seen for the first time when the others have.
        at_work = [self._job_at_work(job, frames, waited) for job in jobs]
        for thread in threads:
            frame = frames.get(thread.ident or 0)
            if frame is None or self._has_parked(thread, frame):
                continue
            if waited >= self._patience:
                self._given_up.add(thread)
            else:
                at_work.append(True)
        return any(at_work)

    def _job_at_work(self, job: Job, frames: dict[int, FrameType], waited: float) -> bool:
        frame = None if job.thread is None else frames.get(job.thread.ident or 0)
        if job.thread is not None and frame is not None:
            if not self._has_parked(job.thread, frame):
                return True
            place: object = (id(frame), frame.f_lasti)
        elif job.source.running():
            return True
        else:
            place = "waits for its executor"
        if job.called_back or waited >= self._patience:
            job.given_up_at = place
        return job.given_up_at != place

    def _has_parked(self, thread: threading.Thread, frame: FrameType) -> bool:
        state = state_of(frame)
        if state is State.PERHAPS:
            place = (id(frame), frame.f_lasti)
            if self._seen.get(thread) == place:
                return not is_scheduled(thread.native_id or 0)
            self._seen[thread] = place
            return False
        self._seen.pop(thread, None)
        return state is State.PARKED


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
