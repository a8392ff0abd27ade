"""What arrives at order "timing": every event in its order, however long callbacks and wake-ups take.

Owns what may differ at this order beside `arrivals`, whose events are never held here. The clock may also pass a
deadline between two callbacks of a turn; and those that are due at one time come in as they were set, but for a moment
that a callback may have taken, which `moments` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import chain, repeat
from typing import Any

from virtualloop._core.arrivals import Arrivals
from virtualloop._core.clock import Clock
from virtualloop._core.lateness import CLOSE
from virtualloop._core.moments import Moments
from virtualloop._core.plain import set_within
from virtualloop._core.scheduler import FEW, Scheduler

__all__ = ["Punctual", "PunctualScheduler"]


class Punctual(Arrivals):
    """The events that are due."""

    __slots__ = ("_close", "_moments", "runs_first")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._moments = Moments(self._clock, self._timers)
        self._close = 0 if type(self._clock) is Clock else CLOSE
        #: Whether no callback of this turn has run. The body of the run loop writes it.
        self.runs_first = True

    def begin_at(self, tick: int) -> None:
        """The loop has nothing to do at `tick`, or begins, as above."""
        super().begin_at(tick)
        self._moments.look()

    def jump(self) -> bool:
        """Go to the next timer where nothing about it could vary, as above."""
        if not self._moments.are_undisturbed() or not super().jump():
            return False
        self.runs_first = True
        self._moments.look()
        self._moments.arrive_alone(self._ready[-1])
        return True

    def begin_turn(self, stop: int | None, *, leaving: bool) -> None:
        """Queue what arrives now, as above."""
        self.runs_first = True
        super().begin_turn(stop, leaving=leaving)

    def take(self, stop: int | None) -> Any:
        """Take out the entry that runs next; the clock may have moved while the one before it ran, up to `stop`."""
        if self.runs_first:
            self.runs_first = False
        elif self._timers.ticks and self._clock.tick < self._timers.ticks[0] <= self.horizon:
            tick = self._next_to_pass(self.instant + self.lateness, stop)
            if tick is not None and self._choose(2, "slow"):
                self.pass_by(tick)
        return self._ready.popleft()

    def pass_by(self, tick: int) -> None:
        """The clock passes a deadline in the middle of a turn."""
        self._clock.move(tick)
        self._moments.look()

    def state(self, name_of: Callable[[Any], Hashable]) -> Hashable:
        """Return all that decides what happens next, as above."""
        return (super().state(name_of), self.runs_first, self._moments.state())

    def clear(self) -> None:
        """Forget all events."""
        super().clear()
        self._moments.clear()

    def check(self) -> None:
        """Assert every invariant, as above."""
        super().check()
        assert not self.pending(), "an event is held at an order that holds none"

    def _take_due(self, stop: int | None) -> None:
        """Let the events that are due arrive."""
        timers, moments, names = self._timers, self._moments, self.names
        ticks = timers.ticks
        moments.look()
        while ticks and ticks[0] <= self._clock.tick:
            tick = ticks[0]
            event = timers.by_tick[tick]
            if type(event) is not list and names is None and moments.are_undisturbed() and event._callback is not None:
                second = timers.second_tick() if self._close else None
                if second is None or second > tick + self._close:
                    # It is due alone, as most are: nothing to ask.
                    timers.pop()
                    moments.arrive_alone(event)
                    self._ready.append(event)
                    continue
            events = moments.in_order(timers.of(tick))
            if stop is None:  # else whoever waits for this tick waits for all that is due by then
                events = self._take_apart(tick, events)
            timers.pop()
            if names is not None:
                first = sum(name[0] == tick for name in names.values())
                names.update((id(event), (tick, first + k, event)) for k, event in enumerate(events))
            moments.arrive(events)
            self._ready.extend(events)

    def _take_apart(self, tick: int, events: list[Any]) -> list[Any]:
        """Ask which of those that are due at one time were set a moment later than it seems; return who is on time."""
        moments, timers = self._moments, self._timers
        near = timers.ticks_until(tick + self._close) if self._close else [tick]
        # What was put off is so for the sake of another one: else two would be put off behind each other for ever.
        beside = {other: moments.on_time(timers.of(other)) for other in near if other != tick}
        span = max((other for other, found in beside.items() if found), default=tick) - tick
        others = [*chain.from_iterable(beside.values())]
        on_time = events
        while True:
            if late := moments.late(events):
                on_time = [event for event in events if id(event) not in late]
            candidates = moments.candidates(on_time, others, span) if len(on_time) + len(others) > 1 else []
            if self.plain:
                candidates = [event for event in candidates if not set_within(event)]
            answer = self._choose(len(candidates) + 1, "apart") if candidates else 0
            if not answer:
                break
            moments.delay(candidates[answer - 1], span)
        for event in events if late else ():
            if id(event) in late:
                if self.on_hold is not None:
                    self.on_hold(event)
                moments.put_off(event, late[id(event)])
                self._put_off(event, tick + late[id(event)])
        return on_time


class PunctualScheduler(Scheduler):
    """What runs when, at order "timing"."""

    __slots__ = ()

    def _make_arrivals(self, **options: Any) -> Arrivals:
        return Punctual(**options)

    def _taking(self) -> Callable[[], Any]:
        arrivals: Any = self.arrivals
        clock, choose, popleft = self._clock, self._choose, self._ready.popleft
        ticks, by_tick = self._timers.ticks, self._timers.by_tick
        lateness = arrivals.lateness

        def take() -> Any:
            # What Punctual.take() does, in line where the next timer has not been cancelled, as most have not.
            if arrivals.runs_first:
                arrivals.runs_first = False
            elif ticks and clock.tick < (tick := ticks[0]) <= arrivals.instant + lateness:
                entry = by_tick[tick]
                if type(entry) is list:
                    entry = entry[0]
                if entry._callback is None or arrivals.plain or self.settling is not None:
                    return arrivals.take(None if self.settling is None else self.settling.next_stop())
                if choose(2, "slow"):
                    arrivals.pass_by(tick)
            return popleft()

        return take

    def _run_in_order(self) -> None:
        """The body without instruments; `Punctual.take` is called only where it could ask."""
        ready = self._ready
        popleft, take = ready.popleft, self._taking()
        clock = self._clock
        ticks = self._timers.ticks
        arrivals: Any = self.arrivals
        sources = self._sources
        outside = self.outside
        assert outside is not None
        failed = outside.failed
        turns = 0
        look_at = self.spin.next_look(1)
        while True:
            if not ready or sources or (ticks and (ticks[0] <= arrivals.horizon or ticks[0] <= clock.tick)):
                if self._begin_turn():
                    turns = 0
            horizon = arrivals.horizon
            if not ticks or ticks[0] > horizon:
                arrivals.runs_first = False
            n = len(ready)
            for _ in FEW[n] if n < 17 else repeat(None, n):
                entry = take() if ticks and clock.tick < ticks[0] <= horizon else popleft()
                try:
                    if type(entry) is tuple:
                        context, callback, argument = entry
                        if argument is None:
                            context.run(callback)
                        else:
                            context.run(callback, argument)
                    else:
                        callback = entry._callback
                        if callback is not None:
                            argument = entry._args
                            if not argument:
                                entry._context.run(callback)
                            elif len(argument) == 1:
                                entry._context.run(callback, argument[0])
                            else:
                                entry._context.run(callback, *argument)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as exc:
                    failed(exc, entry)
            # Nothing that has run may live on in these while the loop goes on to something else.
            entry = context = callback = argument = None
            if self.leave:
                return
            turns += 1
            if turns >= look_at:
                turns = self._check_livelock(turns)
                look_at = turns + self.spin.next_look(len(ready))

    Scheduler.BODIES.add(_run_in_order.__code__)
