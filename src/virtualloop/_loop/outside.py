"""What the scheduler asks of the loop it drives for: threads, errors, and what to say when it cannot go on.

Owns the answers. An object of this kind lives as long as a drive, so that scheduler and loop are no cycle.
"""

from __future__ import annotations

import _thread
import asyncio
import threading
from collections.abc import Callable, Iterable, Sized
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from virtualloop._core.clock import TICKS_PER_SECOND
from virtualloop._core.events import ExternalEvent
from virtualloop._errors import DeadlockError, LivelockError
from virtualloop._loop import endings
from virtualloop._loop.handles import report, run_unless_cancelled
from virtualloop._loop.inbox import Inbox
from virtualloop._world import system
from virtualloop._world.children import signals_are_heard
from virtualloop._world.descriptors import LONGEST_PAUSE, Descriptors
from virtualloop._world.polls import Polls
from virtualloop._world.polls import watch as watch_polls

if TYPE_CHECKING:
    from typing import Protocol

    from virtualloop._core.clock import Clock
    from virtualloop._core.outside import Source
    from virtualloop._core.recorder import Recorder
    from virtualloop._core.timers import Timers
    from virtualloop._loop.endings import Ending
    from virtualloop._loop.hangs import Hang
    from virtualloop._loop.signals import Signals
    from virtualloop._world.threads import Threads

    class Driven(Ending, Protocol):
        """A loop, as far as its outside is concerned."""

        _clock: Clock
        _timers: Timers
        _queue: Any
        _order: Any
        _thread_id: int | None

        @property
        def _awaited(self) -> asyncio.Future[Any] | None: ...
        @property
        def _idle_threads(self) -> Threads | None: ...
        @property
        def _watched(self) -> Descriptors | None: ...
        @property
        def _descriptors(self) -> Descriptors: ...
        @property
        def _signals(self) -> Signals | None: ...
        @property
        def _runs_forever(self) -> bool: ...
        def _handles_signals(self) -> bool: ...
        def _look_again(self) -> None: ...

        _inbox: Inbox | None
        _recorder: Recorder | None

        def _post(self, tick: int, event: ExternalEvent) -> None: ...
        def _endless(self, jumps: int) -> BaseException | None: ...


__all__ = ["LoopOutside"]


class _Polling:
    """A queue that is filled, when somebody asks whether it is empty, from what can be looked at without waiting.

    What was in it before, so many entries, does not count: they are those of who polls.
    """

    def __init__(self, queue: Sized, sources: Iterable[Source], before: int) -> None:
        self._queue = queue
        self._sources = sources
        self._before = before

    def __len__(self) -> int:
        if len(self._queue) <= self._before:
            for source in self._sources:
                source.poll()
        return max(len(self._queue) - self._before, 0)


class LoopOutside:
    """The outside of a loop that runs."""

    __slots__ = ("_doubted", "_hang", "_hears_signals", "_loop", "crowd")

    def __init__(self, loop: Driven) -> None:
        self._loop = loop
        #: What returns how many threads there are beside the main one: C after the first jump, as it is called at each.
        self.crowd: Any = self._first_jump
        #: Whether the program handles a signal that children send, as far as was seen then.
        self._hears_signals = False
        self._hang: Hang | None = None
        #: Whether the threads were looked at once more, and nothing has come of it.
        self._doubted = False

    # --- as its world knows it ----------------------------------------------------------------------------------------

    @property
    def threads(self) -> Threads:
        """What other threads do for the loop."""
        return self._loop._threads

    @property
    def clock(self) -> Clock:
        """The loop's clock."""
        return self._loop._clock

    @property
    def ready(self) -> Sized:
        """What is ready to run."""
        return self._loop._queue  # type: ignore[no-any-return]  # either kind of queue

    def interrupt(self) -> None:
        """Have the loop look whose turn it is, at the end of its present turn; from any thread."""
        self._loop._scheduling().leave = True

    def readable(self) -> bool:
        """Return whether something has come to a descriptor that the loop watches; from any thread, while it waits."""
        descriptors = self._loop._watched
        return descriptors is not None and descriptors.readable()

    def holds(self, passed: float, ahead: int | None) -> bool:
        """Return whether something is bound to come from outside; from any thread, while the loop waits."""
        descriptors = self._loop._watched
        return descriptors is not None and descriptors.holds(passed, self._seconds_to(ahead))

    def child_asked(self, child: int, *, ended: bool) -> None:
        """A step of the loop has asked a child process whether it has ended."""
        loop = self._loop
        descriptors = loop._descriptors
        if descriptors.polls is None:
            descriptors.polls = Polls(loop._clock)
        descriptors.polls.asked(child, ended=ended)
        if not ended and descriptors.polls.now():
            # It depends on the outside from now on, and the clock does not move unasked.
            loop._scheduling().alone = False
            loop._look_again()

    def thread_started(self) -> None:
        """A step of the loop starts a thread: from now on the clock does not move unasked, even if it ends at once."""
        self._loop._scheduling().alone = False

    def take_from(self, thread: threading.Thread) -> None:
        """Queue what a thread has sent: what it does next may be what a step of the loop waits for."""
        threads = self._loop._idle_threads
        if threads is not None:
            if self._loop._inbox is not None:
                self._loop._inbox.let_in()
            self._loop._ready.extend(threads.sent_by(thread))

    # --- as the scheduler knows it ------------------------------------------------------------------------------------

    def stirs(self) -> bool:
        """Return whether there may be anything to collect or to wait for."""
        loop = self._loop
        if loop._watched or self._polls():
            return True
        if (self._hears_signals or loop._handles_signals()) and _children_may_signal():
            return True
        if loop._signals is not None and self._alarm() is not None:
            return True
        return _thread._count() > 0 if loop._idle_threads is None else loop._idle_threads.anything()

    def _first_jump(self) -> int:
        """The clock is about to move for the first time in this drive: stands for `crowd` until then.

        What may come of processes is looked for only now: before, nobody has waited.
        """
        self.crowd = _thread._count
        watch_polls()
        self._hears_signals = signals_are_heard()
        if self._hears_signals:
            self._loop._scheduling().alone = False
        return 1

    def collect(self, ahead: int | None, beside: int = 0) -> bool:
        """Wait until nobody else can move by himself, and queue what came; return whether to look again.

        So it is if there was anything, and if another loop has had its turn meanwhile. What comes from a thread that
        sends without a pause does not keep the clock from moving; nor do entries that are there, `beside`.
        """
        loop = self._loop
        queue = self._polling(beside)
        if loop._watched or _children_may_signal() or self._polls():
            found = loop._descriptors.settle(
                loop._queue if loop._signals is None else queue,
                self._seconds_to(ahead),
                lambda: self._stirring_threads() and self._collect_from_threads(queue, ahead),
            )
        else:
            found = self._collect_from_threads(queue, ahead)
        return found or self._wait_for_alarm(queue, ahead)

    def _polls(self) -> bool:
        """Return whether the program waits for the end of a child by asking for it."""
        watched = self._loop._watched
        return watched is not None and watched.polls is not None and bool(watched.polls.now())

    def _seconds_to(self, tick: int | None) -> float | None:
        return None if tick is None else max(tick - self._loop._clock.tick, 0) / TICKS_PER_SECOND

    def _alarm(self) -> int | None:
        loop = self._loop
        return None if loop._signals is None else loop._signals.alarm(loop._clock.tick)

    def _wait_for_alarm(self, queue: Sized, ahead: int | None) -> bool:
        """Wait for the alarm that comes before the loop's next event, if one does; return whether one does."""
        due = self._alarm()
        if due is None or (ahead is not None and ahead < due):
            return False
        while not queue and self._alarm() == due:
            self._loop._threads.receive(LONGEST_PAUSE)
        return True

    def _stirring_threads(self) -> bool:
        threads = self._loop._idle_threads
        return _thread._count() > 0 if threads is None else threads.anything()

    def _collect_from_threads(self, queue: Sized, ahead: int | None) -> bool:
        loop = self._loop
        threads = loop._threads
        if not threads.settle(queue, loop._clock, ahead):
            return True
        sent, stands = threads.collect()
        finished = threads.finished()
        if sent or finished:
            self._doubted = False
        if loop._order in ("fifo", "timing"):
            loop._ready.extend(sent)
            for complete in finished:
                complete()
        else:
            # What comes from a thread is an external event: it may arrive late.
            inbox = loop._inbox
            if inbox is None:
                inbox = loop._inbox = Inbox(loop._ready, loop._recorder)
            loop._ready.extend(entry for entry in sent if entry._callback is not run_unless_cancelled)
            if inbox.add(entry for entry in sent if entry._callback is run_unless_cancelled):
                self._arrives(inbox.let_in)
            for complete in finished:
                self._arrives(inbox.before(complete))
        return (stands or ahead is None) and bool(queue or sent or finished)

    def _arrives(self, callback: Callable[[], object]) -> None:
        """Have a callback run as an event from outside."""
        loop = self._loop
        event = ExternalEvent(callback, kind="result", context=copy_context(), timers=loop._timers)
        loop._post(loop._clock.tick, event)

    def wait(self) -> bool:
        """Wait for a signal, if one may arrive; return False if none has."""
        loop = self._loop
        if loop._handles_signals():
            return loop._threads.wait_for_signal(self._polling())
        # Somebody may have set a handler that the loop knows nothing of.
        return _children_may_signal() and loop._descriptors.settle(loop._queue, None, loop._threads.news)

    def _polling(self, before: int = 0) -> Sized:
        """Return the queue, as one that is filled while somebody waits for it, where there are sources."""
        loop = self._loop
        sources: list[Source] = [loop._watched] if loop._watched else []
        if loop._signals is not None and loop._signals.any():
            sources.append(loop._signals)
        queue: Sized = loop._queue
        return _Polling(queue, sources, before) if sources or before else queue

    def take_turn(self) -> None:
        """Wait until this loop may run, where others share its world."""
        threads = self._loop._idle_threads
        if threads is not None and threads.seat is not None:
            threads.seat.take_turn(self._loop._queue)

    def failed(self, exc: BaseException, entry: Any) -> None:
        """Report what an entry of the queue raised."""
        report(self._loop, exc, entry)

    def deadlock(self) -> BaseException | None:
        """Return what to raise where nothing can run any more; None if the loop goes on waiting, in a thread.

        Whoever waits there for one of its coroutines is told, and may go on.
        """
        loop = self._loop
        threads = loop._idle_threads
        if threads is not None and not self._doubted and threads.move_after_all():
            self._doubted = True
            return None
        if loop._thread_id == threading.main_thread().ident:
            return DeadlockError(endings.deadlock(loop))
        callers = loop._threads.callers()
        if callers:
            from virtualloop._world.callers import release_caller

            error = DeadlockError(endings.deadlock(loop))
            for future in callers:
                release_caller(future, asyncio.all_tasks(cast("asyncio.AbstractEventLoop", loop)))
                future.set_exception(error)
        elif loop._runs_forever:
            loop._threads.wait_for_news(loop._queue)
        else:
            return DeadlockError(endings.deadlock(loop))
        return None

    def livelock(self, turns: int) -> BaseException | None:
        """Return what to raise after so many turns at one instant; None if that is no spin any more."""
        message = endings.livelock(self._loop, turns)
        return None if message is None else LivelockError(message)

    def restless(self, instants: int) -> BaseException:
        """Return what to raise where run_until_idle() has passed so many instants."""
        return LivelockError(endings.restless(self._loop, instants))

    def endless(self, jumps: int) -> BaseException | None:
        """Return what to raise where the clock has jumped as often as it may."""
        return self._loop._endless(jumps) or self.hang()

    def hang(self) -> BaseException | None:
        """Return what to raise where what the drive is for waits in vain, beside what only repeats itself; else None.

        Asked now and then; it takes more than one look to know.
        """
        if self._hang is None:
            from virtualloop._loop.hangs import Hang

            self._hang = Hang(self._loop)
        message = self._hang.look()
        return None if message is None else LivelockError(message)

    def end(self) -> None:
        """The drive is over."""
        if self._hang is not None:
            self._hang.end()


def _children_may_signal() -> bool:
    """Return whether the program has children, and handles the signals that those send; cheap where it has none."""
    return system.has_children() and signals_are_heard()
