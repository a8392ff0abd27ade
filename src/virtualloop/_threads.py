"""Threads that work for the program under test, while its clock stands still.

Owns what comes from other threads: jobs given to executors, and callbacks sent by call_soon_threadsafe. Knows nothing
of timers and order, and runs no callback: it says when the threads have settled and hands over what they sent.

How long a thread takes is no business of a run, so the loop asks only when nothing else is left to do, and then waits
in real time until each thread has either finished or parked in a lock or queue. All that they sent meanwhile goes in
at that one point: first what they called back, in the order in which it was sent, as in stock asyncio; then the results
of jobs, by the order of submission, however long each one took.

No thread may hold the clock for ever. A job that waits for a future after it has called back waits for the loop, and is
given up at once; a parked one after `patience` real seconds; one that is at work after ten times as many. A thread that
is no job's is given up after `patience`, or a quarter of that in a wait with a time limit, as threads that poll have
it; it counts again when it next sends something. Before a deadlock is reported, all other threads are given their
time as well, also those that are older than the loop.
"""

from __future__ import annotations

import _thread
import concurrent.futures
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sized
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from virtualloop._parked import State, is_scheduled, state_of, waits_for_future

__all__ = ["Threads", "others"]

#: Real seconds between two looks at the threads: short at first, because most jobs are done in no time, then longer,
#: because looking costs them the GIL.
FIRST_PAUSE = 0.0002
LONGEST_PAUSE = 0.005

#: How many times its patience the loop waits for a job that does not park: it may have a lot to do.
WORK_FACTOR = 10
#: In what part of its patience the loop gives up a thread that waits with a time limit.
TIMED_PART = 4
#: A job in a wait with a time limit up to this many real seconds is left its time: the wait ends by itself.
LONGEST_TIMED = 10.0

# Kept from before anyone can put these on a virtual clock.
_real_time = time.monotonic


class Job:
    """One call that an executor runs: `source` is the executor's future, `relay` the one that the loop gets."""

    def __init__(self, function: Callable[..., Any], *, pooled: bool) -> None:
        self.function = function
        #: Whether it may wait for a free thread; another executor's job is at work from the beginning.
        self.pooled = pooled
        self.source: concurrent.futures.Future[Any]
        self.relay: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.thread: threading.Thread | None = None
        self.called_back = False
        #: Where it was parked when it was given up: it is not waited for again while it stays there.
        self.given_up_at: object = None


def others() -> bool:
    """Return whether there may be any thread beside the main one; much cheaper than to look for them."""
    return _thread._count() > 0


class Threads:
    """The threads of one loop. `patience` is in real seconds; `known` are threads that are somebody else's."""

    def __init__(self, *, patience: float, known: Iterable[threading.Thread] = ()) -> None:
        self._patience = patience
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        # What was taken out of the inbox while waiting, in the order in which it came.
        self._sent: list[Any] = []
        # Those whose results have not been handed over, by the order of submission; and who runs which one.
        self._jobs: list[Job] = []
        self._job_of: dict[threading.Thread, Job] = {}
        # Objects, not idents: the system gives those out again.
        self._known = {threading.main_thread(), *known}
        self._given_up: set[threading.Thread] = set()
        #: Threads of the loop's own executor do nothing but jobs, so what they do is known from those.
        self._own: set[threading.Thread] = set()
        #: Where a thread looked parked at the last look.
        self._seen: dict[threading.Thread, object] = {}

    # --- from the loop's thread ---------------------------------------------------------------------------------------

    def submit(
        self, executor: concurrent.futures.Executor, function: Callable[..., Any], args: tuple[Any, ...], *, own: bool
    ) -> concurrent.futures.Future[Any]:
        """Run `function(*args)` in the executor; return a future that the loop's thread completes, see `finished`.

        `own` says that nobody else has the executor.
        """
        job = Job(function, pooled=isinstance(executor, concurrent.futures.ThreadPoolExecutor))
        if job.pooled:

            def work() -> Any:
                job.thread = threading.current_thread()
                if own:
                    self._own.add(job.thread)
                outer = self._job_of.get(job.thread)  # where submit() runs the job itself
                self._job_of[job.thread] = job
                try:
                    return function(*args)
                finally:
                    if outer is None:
                        del self._job_of[job.thread]
                    else:
                        self._job_of[job.thread] = outer

            job.source = source = executor.submit(work)
        else:
            # Whoever runs it may have to pickle it, so it goes as it is; it counts as at work until it is done.
            job.source = source = executor.submit(function, *args)
        self._jobs.append(job)
        source.add_done_callback(lambda _: self._inbox.put(None))
        # Not by way of the job, which holds the relay: futures keep their callbacks, and this would be a cycle.
        job.relay.add_done_callback(lambda relay: relay.cancelled() and source.cancel())
        return job.relay

    def anything(self) -> bool:
        """Return whether there may be something to wait for or to collect; cheap, because it is asked at each jump."""
        return bool(self._jobs) or others() or bool(self._sent) or not self._inbox.empty()

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

    def wait_for_anyone(self, ready: Sized, *, signals: bool) -> bool:
        """Wait for whoever may still send something; return False if there is nobody, so that this is a deadlock.

        That is any thread that is not parked. Jobs are waited for as long as they are at work, and so is the main
        thread where the loop runs in another, all others for `patience`. With `signals`, one may arrive.
        """
        main = threading.main_thread()
        here = threading.current_thread()
        pause = FIRST_PAUSE
        start = _real_time()
        self._seen.clear()
        while not ready and not self._sent and self._inbox.empty():
            if any(job.source.done() for job in self._jobs):
                return True
            frames = _frames_of_others()
            busy = []
            for thread in threading.enumerate():
                frame = frames.get(thread.ident or 0)
                if thread is not here and frame is not None and not self._has_parked(thread, frame, timed=False):
                    busy.append(thread)
            patient = _real_time() - start < self._patience
            bound_to_send = main in busy or any(job.thread in busy or not job.pooled for job in self._jobs)
            may_send = signals or any(thread not in self._given_up for thread in busy)
            if not bound_to_send and not (patient and may_send):
                self._given_up.update(busy)
                return False
            self._receive(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return True

    def collect(self) -> list[Any]:
        """Return the callbacks that threads have sent since the last call, in order."""
        while not self._inbox.empty():
            self._receive(0)
        sent, self._sent = self._sent, []
        return sent

    def finished(self) -> list[Callable[[], None]]:
        """Return what completes the future of each job that is done by now, by the order of submission."""
        done: list[Job] = []
        running: list[Job] = []
        for job in self._jobs:
            (done if job.source.done() else running).append(job)
        self._jobs = running
        return [lambda job=job: _copy(job.source, job.relay) for job in done]  # type: ignore[misc]  # mypy and default arguments

    def jobs(self) -> list[Job]:
        """Return the jobs whose results have not been handed over, by the order of submission."""
        return list(self._jobs)

    # --- from any thread ----------------------------------------------------------------------------------------------

    def send(self, callback: Any) -> None:
        """Hand over a callback. Safe in a signal handler too, since SimpleQueue.put() is."""
        thread = threading.current_thread()
        job = self._job_of.get(thread)
        if job is not None:
            job.called_back = True
        self._given_up.discard(thread)
        self._inbox.put(callback)

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
        jobs = [job for job in self._jobs if not job.source.done()]
        here = threading.current_thread()
        # A job's thread is looked at with its job, and once: a second look has to come after a pause.
        passed_over = (self._known, self._given_up, self._own, self._job_of)
        threads = [t for t in threading.enumerate() if t is not here and not any(t in others for others in passed_over)]
        if not jobs and not threads:
            return False
        frames = _frames_of_others()
        # Each is looked at, lest one that has parked meanwhile is seen for the first time when the others have.
        at_work = [self._job_at_work(job, frames, waited) for job in jobs]
        for thread in threads:
            frame = frames.get(thread.ident or 0)
            if frame is None or self._has_parked(thread, frame, timed=False):
                continue
            patience = self._patience / TIMED_PART if state_of(frame) is State.TIMED else self._patience
            if waited >= patience:
                self._given_up.add(thread)
            else:
                at_work.append(True)
        return any(at_work)

    def _job_at_work(self, job: Job, frames: dict[int, FrameType], waited: float) -> bool:
        frame = None if job.thread is None else frames.get(job.thread.ident or 0)
        if job.thread is not None and frame is not None:
            if self._has_parked(job.thread, frame, timed=True):
                place: object = (id(frame), frame.f_lasti)
                patience = 0.0 if job.called_back and waits_for_future(frame) else self._patience
            else:
                place, patience = "at work", WORK_FACTOR * self._patience
        elif job.pooled and not job.source.running():
            place, patience = "waits for its executor", self._patience
        else:
            place, patience = "at work", WORK_FACTOR * self._patience
        if waited >= patience:
            job.given_up_at = place
        return job.given_up_at != place

    def _has_parked(self, thread: threading.Thread, frame: FrameType, *, timed: bool) -> bool:
        """Return whether the thread waits to be woken; with `timed`, or waits longer than anyone has the time for."""
        state = state_of(frame)
        if state is State.TIMED and timed:
            # A time limit on a future's result is there for the worst case; on an event it is how long to pause.
            return waits_for_future(frame) or frame.f_locals["timeout"] > LONGEST_TIMED
        if state is State.PERHAPS and not is_scheduled(thread.native_id or 0):
            # Twice, with a pause in between: a thread that only waits for the GIL sleeps as well, but not for long.
            place = (id(frame), frame.f_lasti)
            if self._seen.get(thread) == place:
                return True
            self._seen[thread] = place
            return False
        self._seen.pop(thread, None)
        return state is State.PARKED


def _frames_of_others() -> dict[int, FrameType]:
    """Return the frames of all threads but this one, whose own would be a cycle with what is in its variables."""
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    return frames


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
