"""Which timers are pending, in the order of their deadlines.

Owns the pending timers and nothing else: no clock, no asyncio, no say in what happens to a timer that is due. A timer
is any object whose `_callback` is None once it was cancelled, as that of asyncio's handles is. What arrives from
outside stands among them, in front of those that are due at the same instant: select() comes before them.

The heap holds ticks, not timers, and each tick has one entry in a dict: the timer itself, or a list of them once there
are two. Comparing integers in C is several times cheaper than comparing handles, equal deadlines cost no comparison at
all, and a list keeps the order of registration for free.

A cancelled timer stays where it is until its tick comes or until a sweep: a sweep is due when more timers have been
cancelled than were alive after the last one, so its cost is spread over the cancellations that caused it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

__all__ = ["MIN_CANCELLED", "Timer", "Timers"]

#: Fewer cancelled timers than this are not worth a sweep; stock asyncio starts to look at 100 for the same reason.
MIN_CANCELLED = 64


class Timer(Protocol):
    """What a timer has to be."""

    _callback: Any


class Timers:
    """Timers by tick. Adding costs O(log of distinct ticks), cancelling O(1) on average."""

    __slots__ = ("added", "by_tick", "cancelled", "number", "numbered", "sweep_above", "ticks")

    def __init__(self) -> None:
        #: The heap of distinct ticks, and what each one has. The loop's hot path reads and adds to both by itself, as
        #: `add` does, so they are only ever changed in place.
        self.ticks: list[int] = []
        # Any: one timer or a list of them; a union would cost a cast on each of the lines that tell them apart.
        self.by_tick: dict[int, Any] = {}
        #: Set by those who add one for a later tick, or bring an event: a spin does neither.
        self.added = False
        #: Whether those who add number the timers as well, where something may change their order. Each is marked with
        #: its number, `_scheduled`: negative where the program has computed the deadline, 0 if it is due at once.
        self.numbered = False
        self.number = 0
        #: How many may have been cancelled since the last sweep, and how many have to be for the next one. The loop's
        #: hot path counts by itself, as `count_cancelled` does.
        self.cancelled = 0
        self.sweep_above = MIN_CANCELLED

    def add(self, tick: int, timer: Timer) -> None:
        """Put `timer` behind those already registered for `tick`."""
        entry = self.by_tick.get(tick)
        if entry is None:
            self.by_tick[tick] = timer
            heappush(self.ticks, tick)
        elif type(entry) is list:
            entry.append(timer)
        else:
            self.by_tick[tick] = [entry, timer]

    def add_event(self, tick: int, event: Any) -> None:
        """Put an event from outside in front of the timers of `tick`, behind other events: all are of one class."""
        self.added = True
        self.number += 1
        if type(event._scheduled) is not tuple:
            event._scheduled = self.number
        entry = self.by_tick.get(tick)
        if entry is None:
            self.by_tick[tick] = event
            heappush(self.ticks, tick)
        elif type(entry) is list:
            entry.insert(bisect_right(entry, False, key=lambda other: type(other) is not type(event)), event)
        else:
            self.by_tick[tick] = [entry, event] if type(entry) is type(event) else [event, entry]

    def count_cancelled(self) -> None:
        """Take note that a timer was cancelled that is pending, or may be."""
        self.cancelled += 1
        if self.cancelled > self.sweep_above:
            self.sweep_if_worth_it()

    def sweep_if_worth_it(self) -> None:
        """Let go of the cancelled timers, unless many more have been added since that was last done."""
        # There are at least as many timers as ticks.
        self.sweep_above = max(self.sweep_above, len(self.by_tick) // 2)
        if self.cancelled > self.sweep_above:
            self._sweep()

    def next_tick(self) -> int | None:
        """Return the tick of the earliest timer that was not cancelled, or None."""
        ticks = self.ticks
        while ticks:
            tick = ticks[0]
            entry = self.by_tick[tick]
            if type(entry) is not list:
                if entry._callback is not None:
                    return tick
            elif any(timer._callback is not None for timer in entry):
                return tick
            del self.by_tick[heappop(ticks)]
        return None

    def second_tick(self) -> int | None:
        """Return the earliest tick but one, or None; its timers may have been cancelled."""
        return min(self.ticks[1:3], default=None)

    def release(self, tick: int, queue: deque[Any]) -> None:
        """Move the timers due by `tick` to the end of `queue`, cancelled ones too: by tick, then as registered."""
        ticks = self.ticks
        while ticks and ticks[0] <= tick:
            entry = self.by_tick.pop(heappop(ticks))
            if type(entry) is list:
                queue.extend(entry)
            else:
                queue.append(entry)

    def pop(self) -> tuple[int, list[Any]]:
        """Take out the earliest tick; return it and its timers, in the order of registration."""
        tick = heappop(self.ticks)
        entry = self.by_tick.pop(tick)
        return tick, entry if type(entry) is list else [entry]

    def ticks_until(self, tick: int) -> list[int]:
        """Return the pending ticks up to this one, in no order; it costs no more than there are of them."""
        ticks = self.ticks
        found = []
        places = [0]
        while places:
            place = places.pop()
            if place < len(ticks) and ticks[place] <= tick:
                found.append(ticks[place])
                places += (2 * place + 1, 2 * place + 2)
        return found

    def of(self, tick: int) -> list[Any]:
        """Return the timers of a tick, in the order of registration."""
        entry = self.by_tick[tick]
        return list(entry) if type(entry) is list else [entry]

    def clear(self) -> None:
        """Forget all timers."""
        self.ticks.clear()
        self.by_tick.clear()
        self.cancelled = 0

    def check(self) -> None:
        """Assert every invariant; for tests, which call it after each step."""
        by_tick = self.by_tick
        assert sorted(self.ticks) == sorted(by_tick), "the heap and the dict disagree"
        assert all(self.ticks[(i - 1) // 2] <= tick for i, tick in enumerate(self.ticks) if i), (
            "the heap is out of order"
        )
        entries = [entry if type(entry) is list else [entry] for entry in by_tick.values()]
        assert all(entries), "a tick without a timer"
        cancelled = sum(timer._callback is None for entry in entries for timer in entry)
        assert cancelled <= self.cancelled <= self.sweep_above, "cancelled timers are miscounted"

    def _sweep(self) -> None:
        live = 0
        kept = {}
        for tick, entry in self.by_tick.items():
            timers = [timer for timer in (entry if type(entry) is list else [entry]) if timer._callback is not None]
            if timers:
                live += len(timers)
                kept[tick] = timers[0] if len(timers) == 1 else timers
        self.by_tick.clear()
        self.by_tick.update(kept)
        self.ticks[:] = kept
        heapify(self.ticks)
        self.cancelled = 0
        self.sweep_above = max(MIN_CANCELLED, live)
