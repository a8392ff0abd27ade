"""When timers were set, and which of those that are due at one time may have been set a moment later than it seems.

Owns what is known of the real time that a virtual clock does not show; knows no queue and no asyncio, and asks nothing.

Between two moves of the clock callbacks take no time here. On a real machine each takes a moment, so what one callback
sets is due a moment after what callbacks before it have set for the same deadline, and comes in at a later turn if the
loop looks between. By how much only shows where two are due at one time, so it is decided there. What is late then was
set late, so all that was set after it, until the clock moved, is late by as much at least; so it may be late only as
long as nothing of that has come in. What is set by one callback keeps its order in this way.

Deadlines that are equal as the program computed them are one deadline, and come in together. One that was computed at
an earlier moment than it was set at is not told from others.

Timers are numbered in the order in which they are set, by those who set them (see `timers`), and nothing is done for
one until it comes in.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import compress, islice
from operator import attrgetter, gt
from typing import Any

from virtualloop._core.clock import Clock
from virtualloop._core.events import ExternalEvent
from virtualloop._core.plain import set_within
from virtualloop._core.timers import Timers

__all__ = ["MOMENT", "Moments", "number_of"]

#: A moment, in ticks: more than one, as a clock may be late by a tick itself.
MOMENT = 2
#: What has come in is sorted, and intervals that are over are forgotten, from so many on.
MANY = 1000


_SCHEDULED = attrgetter("_scheduled")


def number_of(event: Any) -> int:
    """Return the number of a timer: negative where the program has computed its deadline, 0 if it was due at once."""
    mark = event._scheduled
    return mark[2] if type(mark) is tuple else mark  # type: ignore[no-any-return]  # both are integers


class Interval:
    """The time between two moves of the clock: its tick, and that of the next."""

    __slots__ = ("arrived", "end", "first", "late", "tick")

    def __init__(self, tick: int, first: int) -> None:
        self.tick = tick
        #: The number of the first timer that is set in it.
        self.first = first
        self.end: int | None = None
        #: From which timer on those that were set are late, by their numbers, and by how much: for most, none.
        self.late: tuple[tuple[int, int], ...] = ()
        #: The last timer that has come in, by how late it was; None before one has.
        self.arrived: dict[int, int] | None = None

    def first_open(self, late: int) -> int | None:
        """Return from which timer on one may have been set so much later, and nobody has noticed; None for no one."""
        if self.end is None or self.tick + late + MOMENT > self.end:  # which may be a tick after the deadline it was
            return None
        if self.arrived is None:
            return 0
        return max((number for ticks, number in self.arrived.items() if ticks < late), default=0)


class Moments:
    """The timers that are pending, by when they were set."""

    __slots__ = ("_arrived", "_clock", "_delays", "_firsts", "_intervals", "_late", "_many", "_timers")

    def __init__(self, clock: Clock, timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self._intervals = [Interval(clock.tick, 1)]
        self._firsts = [1]
        # Events that have been put off, by id, and by how much; and numbers of those that have come in, likewise.
        self._late: dict[int, tuple[Any, int]] = {}
        self._arrived: list[tuple[int, int]] = []
        self._many = MANY
        self._delays: list[tuple[int, int]] = []

    def look(self) -> None:
        """The clock may have moved."""
        tick = self._clock.tick
        last = self._intervals[-1]
        if tick == last.tick:
            return
        last.end = tick
        first = self._timers.number + 1
        if first == last.first:
            # Nobody needs it.
            self._intervals.pop()
            self._firsts.pop()
        elif len(self._intervals) > self._many:
            self._sort()
            self._forget()
        self._intervals.append(Interval(tick, first))
        self._firsts.append(first)

    def begin_anew(self) -> None:
        """The clock may have moved, and nothing is pending: whatever was, nobody will ask."""
        last = self._intervals[-1]
        if len(self._intervals) > 1 or self._delays or self._late:
            last = Interval(0, 0)
            self._intervals, self._firsts = [last], [0]
            self._delays.clear()
            self._late.clear()
        last.tick = self._clock.tick
        last.first = self._firsts[0] = self._timers.number + 1
        self._arrived.clear()

    def in_order(self, events: Iterable[Any]) -> list[Any]:
        """Return those that are not cancelled, of one tick: what comes from outside, then timers as they were set."""
        live = [event for event in events if event._callback is not None]
        if self._late and len(live) > 1 and not _are_in_order(live):
            live.sort(key=_place_at_one_tick)
        return live

    def on_time(self, events: Iterable[Any]) -> list[Any]:
        """Return those that are not cancelled and have not been put off."""
        return [event for event in events if event._callback is not None and id(event) not in self._late]

    def only_interval(self, events: Sequence[Any]) -> Interval | None:
        """Return the interval in which all of these were set, that stand in this order; None if there are several."""
        if not events or type(events[0]) is ExternalEvent:
            return None
        firsts, place = self._firsts, _place(events[-1])
        following = bisect_right(firsts, _place(events[0]))
        if firsts[following - 1] <= place and (following == len(firsts) or place < firsts[following]):
            return self._intervals[following - 1]
        return None

    def late(self, events: Sequence[Any], only: Interval | None, *, plain: bool = True) -> dict[int, int]:
        """Return which of these are late, as they or what was set before them is: by how many ticks more, by id.

        `only` is the interval in which all of them were set; `plain` says whether any may be that does not vary.
        """
        found: dict[int, int] = {}
        if not self._delays or (only is not None and not only.late):
            return found
        late = self._late
        for event, place in zip(events, _places(_numbers(events)), strict=True):
            more = 0
            for first, ticks in (only or self._interval_of(place)).late:
                if first <= place and ticks > more:
                    more = ticks
            key = id(event)
            if more and key in late:
                more -= late[key][1]
            if more > 0 and not (plain and set_within(event)):
                found[key] = more
        return found

    def put_off(self, event: Any, ticks: int) -> None:
        """An event is due so much later."""
        key = id(event)
        self._late[key] = (event, self._late[key][1] + ticks if key in self._late else ticks)

    def candidates(
        self, events: Sequence[Any], only: Interval | None, beside: Sequence[Any] = (), ticks: int = 0
    ) -> list[Any]:
        """Return which of these, due at one tick, may have been set a moment later than it seems.

        `only` is the interval in which all of them were set. `beside` are others that are due at the same time, within
        so many ticks more; a moment is longer than that.
        """
        if self._arrived:
            self._sort()
        if only is not None and not beside and not self._late:
            numbers = _numbers(events)
            if min(numbers) > 0:
                # As most are, at a fraction of the cost: they stand as they were set.
                least = only.first_open(ticks + MOMENT)
                return [] if least is None else [*events[bisect_left(numbers, least, 1) :]]
        everything = events
        if beside:
            everything = sorted((*events, *beside), key=_place)
            only = self.only_interval(everything)
        numbers = _numbers(everything)
        parting = self._parting(everything) if min(numbers) < 0 else ()
        places = _places(numbers)
        if only is not None and not beside and not parting:
            late = {self._late[key][1] if (key := id(event)) in self._late else 0 for event in events}
            if len(late) == 1:
                # All of them are late by as much.
                least = only.first_open(late.pop() + ticks + MOMENT)
                return [] if least is None else list(compress(events[1:], [place >= least for place in places[1:]]))
        asked = set(map(id, events)) if beside else None
        found = []
        # What is late takes along all that was set after it.
        for event, place in islice(zip(everything, places, strict=True), 0 if only is None else 1, None):
            if (asked is None or id(event) in asked) and id(event) not in parting:
                interval = only or self._interval_of(place)
                least = interval.first_open(self._late_now(event) + ticks + MOMENT)
                if least is not None and least <= place:
                    found.append(event)
        return found

    def _parting(self, events: Sequence[Any]) -> set[int]:
        """Return those that, were they late, would part deadlines that are equal as the program computed them."""
        deadlines = Counter(event._when for event in events if number_of(event) < 0)
        parting = set()
        incomplete: dict[int, dict[float, int]] = {}
        for event in reversed(events):
            left = incomplete.setdefault(id(self._interval_of(_place(event))), {})
            if number_of(event) < 0:
                left[event._when] = left.get(event._when, deadlines[event._when]) - 1
                if not left[event._when]:
                    del left[event._when]
            if left:
                parting.add(id(event))
        return parting

    def delay(self, event: Any, ticks: int) -> None:
        """An event was set a moment later than it seems, and with it all that was set after it."""
        number = _place(event)
        late = self._late_now(event) + ticks + MOMENT
        interval = self._interval_of(number)
        interval.late = (*interval.late, (number, late))
        self._delays.append((number, late))

    def arrive(self, events: Sequence[Any], only: Interval | None) -> None:
        """Events come in, of which `only` is the interval in which all of them were set."""
        late = self._late
        if only is not None and not late:
            events = events[-1:]  # all that was set before it is as late
        for event in events:
            mark = event._scheduled
            number = mark if type(mark) is int else mark[2]
            by = late.pop(id(event))[1] if id(event) in late else 0
            if number:
                self._arrived.append((abs(number), by))
        if len(self._arrived) > MANY:
            self._sort()

    def disturb(self, event: Any) -> bool:
        """Return whether an event is late, or may be for the sake of one that is; a list of several may be."""
        if not self._delays and not self._late:
            return False
        return type(event) is list or id(event) in self._late or bool(self._interval_of(_place(event)).late)

    def arrive_alone(self, event: Any) -> None:
        """One event comes in that nothing disturbs."""
        mark = event._scheduled
        number = mark if type(mark) is int else mark[2]
        if number:
            self._arrived.append((abs(number), 0))
            if len(self._arrived) > MANY:
                self._sort()

    def state(self) -> Hashable:
        """Return what was late."""
        return tuple(self._delays)

    def clear(self) -> None:
        """Forget all timers."""
        self._arrived.clear()
        self._late.clear()

    def _late_now(self, event: Any) -> int:
        """Return by how much an event has been put off."""
        return self._late[id(event)][1] if id(event) in self._late else 0

    def _interval_of(self, number: int) -> Interval:
        return self._intervals[bisect_right(self._firsts, number) - 1]

    def _sort(self) -> None:
        """Take note of what has come in."""
        for number, late in self._arrived:
            interval = self._interval_of(number)
            if interval.arrived is None:
                interval.arrived = {late: number}
            elif number > interval.arrived.get(late, 0):
                interval.arrived[late] = number
        self._arrived.clear()

    def _forget(self) -> None:
        """Forget the intervals of which no timer is pending, but for the last."""
        pending = {
            id(self._interval_of(_place(event))) for tick in self._timers.by_tick for event in self._timers.of(tick)
        }
        *others, last = self._intervals
        self._intervals = [*(interval for interval in others if id(interval) in pending), last]
        self._firsts = [interval.first for interval in self._intervals]
        self._many = max(MANY, 2 * len(self._intervals))
        self._late = {key: (event, late) for key, (event, late) in self._late.items() if event._callback is not None}


def _numbers(events: Sequence[Any]) -> list[int]:
    """Return the numbers of some timers."""
    marks = [*map(_SCHEDULED, events)]
    return marks if type(marks[0]) is int else [number for *_, number in marks]


def _places(numbers: list[int]) -> list[int]:
    """Return the places of timers with these numbers among all that were set, as _place() does."""
    return numbers if min(numbers) > 0 else [abs(number) or sys.maxsize for number in numbers]


def _are_in_order(events: Sequence[Any]) -> bool:
    """Return whether events of one tick stand as they were set: all are timers then."""
    places = _places(_numbers(events))
    return type(events[0]) is not ExternalEvent and not any(map(gt, places, places[1:]))


def _place(event: Any) -> int:
    """Return the place of a timer among all that were set; one that was due at once comes last."""
    mark = event._scheduled  # number_of() in line: this is asked several times of each timer that comes in
    return abs(mark if type(mark) is int else mark[2]) or sys.maxsize


def _place_at_one_tick(event: Any) -> int:
    """Return the place of an event among those of one tick: what comes from outside is in front of all timers."""
    return _place(event) - 2 * sys.maxsize if type(event) is ExternalEvent else _place(event)
