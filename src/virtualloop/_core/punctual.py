"""What arrives at order "timing": every event in its order, however long callbacks and wake-ups take.

Owns what may differ at this order beside `arrivals`, whose events are never held here. The clock may also pass a
deadline between two callbacks of a turn; and those that are due at one time come in as they were set, but for a moment
that a callback may have taken, which `moments` knows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from heapq import heappop
from itertools import chain
from typing import Any

from virtualloop._core.arrivals import Arrivals
from virtualloop._core.clock import Clock
from virtualloop._core.lateness import CLOSE
from virtualloop._core.moments import Interval, Moments
from virtualloop._core.plain import set_within
from virtualloop._core.scheduler import Scheduler

__all__ = ["Punctual", "PunctualScheduler"]

#: What turns of few callbacks are counted down by, as `scheduler.FEW`.
DOWN = tuple(tuple(range(n, 0, -1)) for n in range(17))


class Punctual(Arrivals):
    """The events that are due."""

    __slots__ = ("_close", "_moments", "left", "passes", "wait")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._moments = Moments(self._clock, self._timers)
        self._close = 0 if type(self._clock) is Clock else CLOSE
        #: Callbacks of this turn that have not run, and how many of them run before the clock is looked at; the body of
        #: the run loop that has no instruments keeps both by itself.
        self.left = self.wait = 0
        #: Whether the clock passes a deadline when it is looked at next in this turn.
        self.passes = False

    def begin_at(self, tick: int) -> None:
        """The loop has nothing to do at `tick`, or begins, as above."""
        super().begin_at(tick)
        self._moments.look()

    def jump(self) -> bool:
        """Go to the next timer where nothing about it could vary, as above."""
        ticks, by_tick = self._timers.ticks, self._timers.by_tick
        if not ticks or self._moments.disturb(by_tick[ticks[0]]) or not super().jump():
            return False
        if ticks:
            self._moments.look()
            self._moments.arrive_alone(self._ready[-1])
        else:
            self._moments.begin_anew()
        return True

    def take(self, stop: int | None) -> Any:
        """Take out the entry that runs next; the clock may have moved while the one before it ran, up to `stop`."""
        if not self.left:
            self.left, self.wait, self.passes = len(self._ready), 1, False
        if self.wait:
            self.wait -= 1
        elif self._timers.ticks and self._clock.tick < self._timers.ticks[0] <= self.horizon:
            self.wait = self.look(self.left, stop)
        self.left -= 1
        return self._ready.popleft()

    def look(self, left: int, stop: int | None) -> int:
        """A callback has run, and `left` are in this turn: the clock may have passed the next deadline meanwhile.

        Return how many more of them run before this has to be called again. One question is for all of them.
        """
        tick = self._timers.ticks[0]
        entry = self._timers.by_tick[tick]
        if type(entry) is list:
            entry = entry[0]
        latest = self.instant + self.lateness
        if entry._callback is None or self.plain or stop is not None or tick > latest:
            found = self._next_to_pass(latest, stop)
            if found is None:
                return 0
            tick = found
        if not self.passes:
            answer = self._choose(left + 1, "slow")
            if not answer:
                return left
            if answer > 1:
                self.passes = True
                return answer - 2
        self.passes = False
        self._pass_by(tick)
        return 0

    def _pass_by(self, tick: int) -> None:
        """The clock passes a deadline in the middle of a turn."""
        if self.on_pass is not None:
            self.on_pass()
        self._clock.move(tick)
        self._moments.look()

    def state(self, name_of: Callable[[Any], Hashable]) -> Hashable:
        """Return all that decides what happens next, as above."""
        return (super().state(name_of), self.left, self.wait, self.passes, self._moments.state())

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
            if type(event) is not list and names is None and event._callback is not None and not moments.disturb(event):
                second = timers.second_tick() if self._close else None
                if second is None or second > tick + self._close:
                    # It is due alone, as most are: nothing to ask.
                    timers.pop()
                    moments.arrive_alone(event)
                    self._ready.append(event)
                    continue
            events = moments.in_order(event if type(event) is list else (event,))
            only = moments.only_interval(events)
            if stop is None and events:  # else whoever waits for this tick waits for all that is due by then
                events = self._take_apart(tick, events, only)
            del timers.by_tick[heappop(ticks)]
            if names is not None:
                first = sum(name[0] == tick for name in names.values())
                names.update((id(event), (tick, first + k, event)) for k, event in enumerate(events))
            if ticks:
                moments.arrive(events, only)
            self._ready.extend(events)
        if not ticks:
            moments.begin_anew()

    def _take_apart(self, tick: int, events: list[Any], only: Interval | None) -> list[Any]:
        """Ask which of those that are due at one time were set a moment later than it seems; return who is on time."""
        moments, timers = self._moments, self._timers
        others: list[Any] = []
        span = 0
        if self._close:
            # What was put off is so for the sake of another one: else two would be put off behind each other for ever.
            near = timers.ticks_until(tick + self._close)
            beside = {other: moments.on_time(timers.of(other)) for other in near if other != tick}
            span = max((other for other, found in beside.items() if found), default=tick) - tick
            others = [*chain.from_iterable(beside.values())]
        on_time, within = events, only
        while True:
            if late := moments.late(events, only, plain=self.plain):
                on_time = [event for event in events if id(event) not in late]
                within = only or moments.only_interval(on_time)
            candidates = moments.candidates(on_time, within, others, span) if len(on_time) + len(others) > 1 else []
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
        arrivals.left = 0
        if self.settling is None:
            return functools.partial(arrivals.take, None)
        return lambda: arrivals.take(self._next_stop())

    def _run_in_order(self) -> None:
        """The body without instruments: `Punctual.take` in line."""
        ready = self._ready
        popleft = ready.popleft
        clock = self._clock
        ticks = self._timers.ticks
        arrivals: Any = self.arrivals
        sources = self._sources
        outside = self.outside
        assert outside is not None
        failed = outside.failed
        look = arrivals.look
        turns = 0
        look_at = self.spin.next_look(1)
        while True:
            if not ready or sources or (ticks and (ticks[0] <= arrivals.horizon or ticks[0] <= clock.tick)):
                if self._begin_turn():
                    turns = 0
            horizon = arrivals.horizon
            arrivals.passes = False
            n = len(ready)
            again = n - 1
            for left in DOWN[n] if n < 17 else range(n, 0, -1):
                if ticks and left <= again and clock.tick < ticks[0] <= horizon:
                    again = left - 1 - look(left, None if self.settling is None else self.settling.next_stop())
                entry = popleft()
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
                            elif len(argument) == 2:  # as what ends a sleep has
                                entry._context.run(callback, argument[0], argument[1])
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
