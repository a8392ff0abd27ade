"""Whose turn it is, where a world has several loops: one of them runs at a time, and all have one clock.

Owns the turn and the common clock; knows nothing of callbacks, nor how a loop waits.

A loop keeps the turn until it has nothing to do and nobody in the world can move by himself. Then the next one that has
something to do gets it, in the order in which the loops began to run; when none has, the one with the earliest
deadline. A loop whose step is parked, in a lock or in another loop's result, does not keep the turn: another one takes
it, and the first comes to the table again at the end of the turn of the loop that it was in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sized
from typing import Protocol

from virtualloop._core.clock import Clock
from virtualloop._folders import PACKAGE
from virtualloop._frames import frames_of_others
from virtualloop._world.parked import State, look_at
from virtualloop._world.world import World

__all__ = ["Seat", "where_parked"]

#: Real seconds between two looks at the loop that has the turn, by one that has something to do, and by one that has
#: not: it is woken when that changes, but not when the other one parks, nor by a signal.
PAUSE = 0.001
IDLE_PAUSE = 0.05


class News(Protocol):
    """How a loop hears of others."""

    def news(self) -> bool:
        """Return whether something was sent that the loop has not taken."""
        ...

    def receive(self, seconds: float) -> None:
        """Wait until something is sent, at most so long."""
        ...

    def wake(self) -> None:
        """End the wait above, from another thread."""
        ...


class Seat:
    """A loop's place in its world, while it runs."""

    def __init__(
        self,
        world: World,
        inbox: News,
        thread: threading.Thread,
        clock: Clock,
        interrupt: Callable[[], None],
        readable: Callable[[], bool],
        holds: Callable[[float, int | None], bool],
    ) -> None:
        self.world = world
        self.thread = thread
        # See `world.Driven`.
        self._readable = readable
        self._holds = holds
        self.waiting = False
        #: The next thing to happen on this loop while it waits, in ticks of the world's clock; None for nothing.
        self.deadline: int | None = None
        #: Whether it had its turn, found nothing that could ever happen, and goes on waiting.
        self.stuck = False
        # While a step of it waits and has left the turn to others: whether it does still.
        self._step_waits: Callable[[], bool] | None = None
        #: Whether it has just got the turn, and has not yet taken what was sent to it.
        self._fresh = False
        self.inbox = inbox
        self._clock = clock
        self.interrupt = interrupt
        with world.lock:
            # Each loop's clock begins where it was told to, whatever the world's shows.
            self._base = clock.tick - world.now
            world.seats.append(self)
            if world.turn is None:
                world.turn = self

    @property
    def shared(self) -> bool:
        """Whether there are other loops in the world."""
        return len(self.world.seats) > 1

    def world_tick(self, tick: int) -> int:
        """Return a tick of the loop's clock as one of the world's."""
        return tick - self._base

    def wants(self) -> bool:
        """Return whether there is something for the loop to do."""
        due = self.deadline is not None and self.deadline <= self.world.now
        if self._step_waits is not None:
            return due or not self._step_waits()
        return due or self.inbox.news() or self._readable()

    def others_hold(self, passed: float, ahead: int | None) -> bool:
        """Return whether something is bound to come from outside to a loop that waits for its turn.

        `passed` are the real seconds since this was asked last, `ahead` is the tick of the next event of any loop.
        """
        tick = None if ahead is None else self.world_tick(ahead)
        # Each is asked: they keep accounts.
        return True in [
            seat.holds_until(passed, tick) for seat in list(self.world.seats) if seat is not self and seat.waiting
        ]

    def holds_until(self, passed: float, tick: int | None) -> bool:
        """Return whether something is bound to come that is not there yet; `tick` is that of the world's next event."""
        return not self.wants() and self._holds(passed, None if tick is None else tick + self._base)

    def begin(self, ready: Sized) -> None:
        """Wait for the first turn."""
        self.deadline = self.world.now
        self.await_turn(ready)

    def take_turn(self, ready: Sized) -> None:
        """Between two turns of the loop, wait until this one may run."""
        if self.world.turn is not self:
            self.await_turn(ready)

    def await_turn(self, ready: Sized) -> None:
        """Wait until it is this loop's turn."""
        world = self.world
        seen: object = None
        self.waiting = True
        while world.turn is not self:
            self.inbox.receive(PAUSE if ready or self.wants() else IDLE_PAUSE)
            holder = world.turn
            if holder is None or holder is self:
                continue
            mark = None if holder.waiting else where_parked(holder.thread)
            if mark is None or mark != seen:
                seen = mark
                continue
            with world.lock:
                taken = world.turn is holder
                if taken:
                    world.turn = self
            if taken:
                holder.interrupt()
        self.waiting = False
        self._fresh = True
        self.follow()

    def next_of_all(self, ahead: int | None) -> int | None:
        """Return the tick of the next event of any loop of the world, `ahead` being that of this one."""
        world = self.world
        for seat in list(world.seats):
            if seat is not self and seat.waiting:
                if seat.wants():
                    return self._clock.tick
                if seat.deadline is not None:
                    tick = seat.deadline + self._base
                    ahead = tick if ahead is None else min(tick, ahead)
        return ahead

    def goes_first(self, ready: Sized, ahead: int | None) -> bool:
        """Return whether this loop goes on, now that nobody in the world can move by himself.

        `ahead` is its next event. Otherwise this returns when it is its turn again; the clock may have moved by then.
        """
        world = self.world
        self._show(self._clock.tick)
        fresh, self._fresh = self._fresh, False
        if fresh and self.inbox.news():
            return True  # Or two that have news would leave it to each other for ever.
        self.deadline = None if ahead is None else self.world_tick(ahead)
        with world.lock:
            at = world.seats.index(self)
            round_ = [*world.seats[at + 1 :], *world.seats[:at]]
        waiting = [seat for seat in round_ if seat.waiting]
        following = next((seat for seat in waiting if seat.wants()), None)
        if following is None and not self.inbox.news():
            following = min((seat for seat in waiting if seat.deadline is not None), key=_deadline, default=None)
            if following is not None and self.deadline is not None:
                mine, its = (self.deadline, at), (_deadline(following), world.seats.index(following))
                following = None if mine < its else following
        if following is None:
            if ahead is not None:
                self._show(ahead)  # It is on its way there.
            return True
        self._pass_to(following, ready)
        return False

    def lend(self, ahead: int, waits: Callable[[], bool]) -> bool:
        """In the middle of a step that waits until `ahead`, as `waits()` says, have the other loops run.

        Return whether the clock may go there. If not, something may have happened meanwhile.
        """
        world = self.world
        self._show(self._clock.tick)
        self.deadline = self.world_tick(ahead)
        others = [seat for seat in list(world.seats) if seat is not self and seat.waiting]
        following = next((seat for seat in others if seat.wants()), None)
        if following is None:
            following = min((seat for seat in others if seat.deadline is not None), key=_deadline, default=None)
            if following is None or self.deadline <= _deadline(following):
                self._show(ahead)
                return True
        self._step_waits = waits
        try:
            self._pass_to(following, ())
        finally:
            self._step_waits = None
        return self.deadline <= world.now

    def leave_to_others(self, ready: Sized) -> bool:
        """Nothing could ever happen here: have another loop find out whether that is so there. False if all have."""
        self.stuck = True
        following = next(
            (seat for seat in self.world.seats if seat is not self and seat.waiting and not seat.stuck), None
        )
        if following is None:
            return False
        self._pass_to(following, ready)
        return True

    def end(self) -> None:
        """The loop stops."""
        world = self.world
        self._show(self._clock.tick)
        with world.lock:
            world.seats.remove(self)
            if world.turn is not self:
                return
            following = next((seat for seat in world.seats if seat.waiting and seat.wants()), None)
            if following is None:
                following = min((s for s in world.seats if s.deadline is not None), key=_deadline, default=None)
            if following is None and world.seats:
                following = world.seats[0]
            world.turn = following
        if following is not None:
            following.inbox.wake()

    def _pass_to(self, following: Seat, ready: Sized) -> None:
        self.waiting = True
        self.world.turn = following
        following.inbox.wake()
        self.await_turn(ready)

    def _show(self, tick: int) -> None:
        """Have the world's clock show what this loop's does, or is about to, and those of the other loops."""
        world = self.world
        world.now = max(world.now, tick - self._base)
        for seat in list(world.seats):
            if seat is not self:
                seat.follow()

    def follow(self) -> None:
        """Show what the world's clock does."""
        tick = self.world.now + self._base
        if tick > self._clock.tick:
            self._clock.move(tick)


def _deadline(seat: Seat) -> int:
    assert seat.deadline is not None
    return seat.deadline


def where_parked(thread: threading.Thread) -> object:
    """Return where the step of a loop is parked, in this thread, or None if it is not: two looks show whether it is."""
    frame = frames_of_others().get(thread.ident or 0)
    if frame is None:
        return None
    look = look_at(thread, frame)
    if look.state is State.TIMED and look.limit is not None:
        # Mostly for somebody else, who may be another loop; but between two steps a loop waits for its threads as well.
        return None if frame.f_code.co_filename.startswith(PACKAGE) else look.mark
    return look.mark if look.state in (State.PARKED, State.PERHAPS) else None
