"""What a loop's world asks of it while it runs: when something happens next, and whether threads are at work.

Owns the answers; see `Keeper` in `_world/sleepers`. An object of this kind lives as long as a drive, so that a loop and
its world are no cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from threading import current_thread
from typing import TYPE_CHECKING, Any, Protocol

from virtualloop._core.events import ExternalEvent
from virtualloop._stock.handles import make_handle

if TYPE_CHECKING:
    from virtualloop._core.clock import Clock
    from virtualloop._core.scheduler import Scheduler
    from virtualloop._core.timers import Timers
    from virtualloop._world.threads import Threads

__all__ = ["LoopKeeper"]


class Kept(Protocol):
    """A loop, as far as its time is concerned."""

    _clock: Clock
    _timers: Timers
    _queue: Any

    @property
    def _threads(self) -> Threads: ...
    def _scheduling(self) -> Scheduler: ...
    def _post(self, tick: int, event: ExternalEvent) -> None: ...


class LoopKeeper:
    """A loop that runs, as it keeps the time for its world."""

    def __init__(self, loop: Kept) -> None:
        self._loop = loop
        self.thread = current_thread()

    def next_tick(self) -> int | None:
        """Return the tick at which something happens next, as far as is known."""
        loop = self._loop
        return loop._clock.tick if loop._queue or loop._scheduling().arriving else loop._timers.next_tick()

    def call_at_tick(self, tick: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` in the loop's thread when the clock is at `tick`; return what calls it off. From any thread."""
        loop: Any = self._loop  # a handle wants all of it
        context = copy_context()
        event = ExternalEvent(wake, kind="sleep", context=context, timers=loop._timers)

        def send(callback: Callable[..., object], *args: object) -> None:
            loop._threads.send(make_handle(loop, callback, args, context))

        send(loop._post, tick, event)
        return lambda: send(event.cancel)

    def threads_may_move(self) -> bool:
        """Return whether there may be other threads at work."""
        return self._loop._threads.anything()

    def settle(self) -> None:
        """Wait until all threads have come to rest."""
        self._loop._threads.rest(self._loop._clock)

    def others_move(self, passed: float) -> bool:
        """Return whether anybody but this thread, and the loop's in its step, can move by himself.

        `passed` are the real seconds since this was asked last.
        """
        return self._loop._threads.others_move(passed, self._loop._clock)

    def others_go_first(self, tick: int, waits: Callable[[], bool]) -> bool:
        """Return whether other loops have run, since they have something to do before the clock is at `tick`."""
        seat = self._loop._threads.seat
        return seat is not None and seat.shared and not seat.lend(tick, waits)

    def main_is_at_work(self) -> bool:
        """Return whether the main thread is another one, and does something."""
        return self._loop._threads.main_is_at_work()
