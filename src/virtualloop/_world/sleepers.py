"""Threads of a world that wait until its clock is somewhere: in a sleep, or at the limit of a wait.

Owns these waits. The end of each is a timer of the loop, and the clock gets there when nothing else is left to do.
While a step of the loop itself sleeps or waits, no timer comes: then the step lets the time pass, to whoever wakes
first. Where it waits for a thread in a way that nobody here has in hand, a join or a lock, that thread moves the clock.

While the loop does not run, as in the set-up of a test, nobody has the clock in hand. Then these waits are real,
because what they are for may be: a server that is about to start. The clock goes to where one ends in vain.
"""

from __future__ import annotations

import threading
from _thread import allocate_lock, get_ident
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Protocol

from virtualloop._core.clock import TICKS_PER_SECOND, Clock
from virtualloop._frames import frames_of_others
from virtualloop._world.originals import real_time
from virtualloop._world.parked import State, look_at

__all__ = ["Keeper", "Sleepers"]

#: Real seconds between two looks of a sleeper at the loop's thread: by the first of them it has mostly gone on.
LOOK = 0.005
#: How long a thread sleeps that has read the clock too often, in ticks: ten milliseconds, but once it has done so for
#: long, this part of that. So no moment that it waits for is missed by more, and none takes many pauses.
PAUSE = 10_000
PAUSES = 256
#: How many times in a row the loop's thread has to be seen at one place, waiting, before a sleeper moves the clock.
LOOKS = 3


class Sleep:
    """One wait of a thread. `gate` is what it waits for; `waits` says whether nobody else has woken it."""

    def __init__(self, tick: int, gate: Any, waits: Callable[[], bool]) -> None:
        self.tick = tick
        self.gate = gate
        self._waits = waits
        self._over = False

    def at_rest(self) -> bool:
        """Return whether the thread stays where it is."""
        return not self._over and self._waits()

    def end(self) -> None:
        """The clock is there."""
        if self.at_rest():
            self._over = True
            try:
                self.gate.release()
            except RuntimeError:
                return  # Another thread has woken it just now.


class Keeper(Protocol):
    """Who has the clock in hand: the loop, while it runs."""

    #: The thread in which it runs.
    thread: threading.Thread

    def next_tick(self) -> int | None:
        """Return the tick at which something happens next, as far as is known."""
        ...

    def call_at_tick(self, tick: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` in the loop's thread when the clock is at `tick`; return what calls it off. From any thread."""
        ...

    def threads_may_move(self) -> bool:
        """Return whether there may be other threads at work."""
        ...

    def settle(self) -> None:
        """Wait until all threads have come to rest."""
        ...

    def others_move(self, passed: float) -> bool:
        """Return whether anybody but this thread, and the loop's in its step, can move by himself.

        `passed` are the real seconds since this was asked last.
        """
        ...

    def others_go_first(self, tick: int, waits: Callable[[], bool]) -> bool:
        """Return whether other loops have run, since they have something to do before the clock is at `tick`.

        `waits()` says whether the loop's step, which calls this, still waits.
        """
        ...

    def main_is_at_work(self) -> bool:
        """Return whether the main thread is another one, and does something."""
        ...


class Sleepers:
    """The waiting threads of one world."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Not longer than the loop runs, because the loop has this object.
        self.keeper: Keeper | None = None
        self.closed = False
        # The wait of each thread, by its ident.
        self._sleeps: dict[int, Sleep] = {}

    def at_rest(self, thread: int | None) -> bool | None:
        """Return whether a thread waits for the clock, by its ident; False if it was woken, and has not gone on yet."""
        sleep = self._sleeps.get(thread or 0)
        return None if sleep is None else sleep.at_rest()

    # --- in other threads of the world --------------------------------------------------------------------------------

    def sleep_until(self, tick: int) -> None:
        """Return when the clock is there."""
        if self.keeper is None:
            self._really(tick, real_time.sleep)
            return
        gate = allocate_lock()
        gate.acquire()
        self.wait_until(tick, gate, lambda: True)

    def pause(self, since: int) -> None:
        """Return at the next instant that is known, or sooner, after a pause; `since` is when it was begun to pause."""
        keeper = self.keeper
        now = self._clock.tick
        tick = now + PAUSE
        if keeper is not None:
            ahead = keeper.next_tick()
            tick = max(tick, now + (now - since) // PAUSES)
            if ahead is not None:
                tick = min(tick, max(ahead, now + 1))
        self.sleep_until(tick)

    def wait_until(self, tick: int, gate: Any, waits: Callable[[], bool]) -> None:
        """Return when `gate`, a lock, is released, or when the clock is there; `waits` says whether it was not."""
        keeper = self.keeper
        if keeper is None:
            self._really(tick, partial(gate.acquire, True))
            return
        sleep = Sleep(tick, gate, waits)

        def wake() -> None:
            sleep.end()
            # It goes on now, and comes to rest again before anything else happens.
            keeper.settle()

        cancel = keeper.call_at_tick(tick, wake)
        # Only now: until then it is at work, and the loop waits for what it sends.
        self._sleeps[get_ident()] = sleep
        try:
            place, looks = None, 0
            while not gate.acquire(timeout=LOOK) and not self.closed:
                here = self._loop_waits_at()
                looks = looks + 1 if here is not None and here == place else 0
                place = here
                is_next = looks >= LOOKS and sleep is self._next()
                if is_next and not keeper.others_move(LOOK if looks > LOOKS else 0):
                    self._clock.move(tick)
                    return
        finally:
            del self._sleeps[get_ident()]
            if self._clock.tick < tick:
                cancel()

    def _loop_waits_at(self) -> object:
        """Return where the loop's thread waits for another one; None if it does not, or is in the hands of its loop."""
        keeper = self.keeper
        if keeper is None:
            return None
        frame: FrameType | None = frames_of_others().get(keeper.thread.ident or 0)
        if frame is None or str(frame.f_globals.get("__name__")).startswith("virtualloop."):
            # Thread.join() waits by way of us.
            if frame is None or frame.f_code.co_name != "join":
                return None
        return None if look_at(keeper.thread, frame).state is State.WORKING else (id(frame), frame.f_lasti)

    # --- in a step of the loop ----------------------------------------------------------------------------------------

    def pass_until(self, tick: int, gate: Any = None, waits: Callable[[], bool] = lambda: True) -> None:
        """Let time pass until the clock is at `tick`, and wake whoever sleeps until earlier; see `wait_until`."""
        keeper = self.keeper
        if keeper is None:
            self._really(tick, real_time.sleep if gate is None else partial(gate.acquire, True))
            return
        while self._sleeps or keeper.threads_may_move():
            keeper.settle()
            if not waits():
                return
            sleep = self._next()
            if keeper.others_go_first(tick if sleep is None else min(sleep.tick, tick), waits):
                continue
            if sleep is None or sleep.tick > tick:
                break
            self._clock.move(sleep.tick)
            sleep.end()
        # The main thread, which is no thread of the world, may be about to release it.
        end = real_time.monotonic() + (tick - self._clock.tick) / TICKS_PER_SECOND
        while gate is not None and waits() and keeper.main_is_at_work() and real_time.monotonic() < end:
            gate.acquire(timeout=LOOK)
        if waits():
            self._clock.move(tick)

    # --- while the loop does not run ----------------------------------------------------------------------------------

    def _really(self, tick: int, wait: Callable[[float], object]) -> None:
        """Wait, at most until the clock would be at `tick` if it went on; no longer than the loop is there."""
        if self.closed:
            return
        woken = wait(max(tick - self._clock.tick, 0) / TICKS_PER_SECOND)
        if not woken and self.keeper is None and tick > self._clock.tick:
            self._clock.move(tick)

    def _next(self) -> Sleep | None:
        """Return the wait that ends first."""
        waiting = [sleep for sleep in list(self._sleeps.values()) if sleep.at_rest()]
        return min(waiting, key=lambda sleep: sleep.tick, default=None)
