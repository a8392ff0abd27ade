"""What arrives at the start of a turn, and what arrives later: the order model, but for that of ready tasks.

Owns the events that are held, and the freedom that each order gives; knows no asyncio, and is tested with plain tuples.
An event is any object whose `_callback` is None once it was cancelled: a timer, a delivery, a thread's result.

At order "timing" the clock may have passed further deadlines when the loop reads it, within `lateness`: callbacks took
long, or it woke late. Deadlines pass in their order; what else there is at this order has a module of its own,
`punctual`. At "io" and "tasks" each event that is due may besides be held: by so many turns, in the middle of what
others set off, or until the schedule releases it, its lateness ends, or nothing else could run. So the order is any
order, each event costs a question, those that are held one more a turn, however many are pending, and one answer is all
it takes to be late by much. What could not be overtaken is not asked about.

Where replies may be later than the timeouts that wait for them, an answer may also put an event off by any time: it is
then due at a later tick, as a reply that took longer. How answers read is owned by `lateness`.

At order "fifo" there is nothing to decide, and no object of this class.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from heapq import heappop, nsmallest
from itertools import chain
from math import inf
from typing import Any

from virtualloop._core.clock import Clock
from virtualloop._core.events import ExternalEvent
from virtualloop._core.lateness import CLOSE, HELD, LONGEST
from virtualloop._core.plain import set_within
from virtualloop._core.ready import ReorderingQueue
from virtualloop._core.timers import Timers

__all__ = ["Arrivals"]

# The tick it was due at; its number among those that were held, so that no two are equal; the event.
_Late = tuple[int, int, Any]


class Arrivals:
    """The events that are due, and those that are held.

    `ready` is where what arrives is appended, and empty where nothing is ready; `queue` tells its order. `choose`
    decides; `lateness` is in ticks; `replies` says whether events may be put off as well.
    """

    __slots__ = (
        "_choose",
        "_clock",
        "_due",
        "_hold_answers",
        "_near",
        "_number",
        "_queue",
        "_ready",
        "_replies",
        "_timers",
        "_turn",
        "by_turns",
        "held",
        "horizon",
        "instant",
        "lateness",
        "names",
        "on_ask",
        "on_hold",
        "on_pass",
        "plain",
        "scopes",
    )

    def __init__(
        self,
        *,
        clock: Clock,
        timers: Timers,
        ready: Any,
        queue: deque[Any] | ReorderingQueue,
        choose: Callable[[int, str], int],
        lateness: int,
        replies: bool = False,
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._ready = ready
        self._queue = queue
        self._choose = choose
        self._replies = replies
        self._hold_answers = HELD + 1 + (LONGEST if replies else 0)
        #: How late an event may arrive, in ticks.
        self.lateness = lateness
        # What is further apart than this has nothing to do with each other, also by a clock that is late by a tick.
        self._near = max(lateness, CLOSE) + 1
        #: The tick at which the loop was last idle: what it may be late by counts from there.
        self.instant = clock.tick
        #: Deadlines beyond are of no concern as long as anything is ready and nothing is held.
        self.horizon: float = inf
        #: Those that are held until they are released, (tick, number, event) by tick; and those that are late by turns,
        #: by the turn they arrive in. The bodies of the run loop read both, so they are changed in place.
        self.held: list[_Late] = []
        self.by_turns: dict[int, list[_Late]] = {}
        # How many were held so far.
        self._number = 0
        # How many turns have begun.
        self._turn = 0
        # Those whose deadline has passed and that have not been asked about.
        self._due: deque[tuple[int, Any]] = deque()
        #: Told of each event that is asked about, and of each that is held; and whenever the clock is about to pass the
        #: next deadline in the middle of a turn.
        self.on_ask: Callable[[Any], object] | None = None
        self.on_hold: Callable[[Any], object] | None = None
        self.on_pass: Callable[[], object] | None = None
        #: Whether the program has said of anything that it does not vary, and in how many scopes it is now: as long
        #: as there are any, nothing from outside varies, since nobody in the program has set that.
        self.plain = False
        self.scopes = 0
        #: Where whoever compares runs has given a dict: the names of events that are due, held or ready, by id. Each is
        #: its tick and which it was of that tick, the same in all runs that came the same way; and the event, whose
        #: id stays its own.
        self.names: dict[int, tuple[int, int, Any]] | None = None

    def pending(self) -> bool:
        """Return whether anything is due or held."""
        return bool(self.held or self.by_turns or self._due)

    def events(self) -> Iterator[Any]:
        """Iterate over what is held or due, by tick."""
        late = sorted(chain(self.held, *self.by_turns.values()))
        return (event for *_, event in (*late, *self._due))

    def next_deadlines(self, most: int) -> list[int]:
        """Return the next ticks for which timers are set, so many at most; those included that were cancelled."""
        return nsmallest(most, self._timers.ticks)

    def begin_at(self, tick: int) -> None:
        """The loop has nothing to do at `tick`, or begins: whatever there is may happen from there."""
        self.instant = tick
        self.horizon = inf

    def jump(self) -> bool:
        """Go to the next timer, and let it arrive, where nothing about that could vary; return whether it was so.

        To be called where the loop has nothing to do. It is what `begin_at` and `begin_turn` come to, for most timers
        of a small program: no other is due as long as this one may be late.
        """
        timers = self._timers
        ticks = timers.ticks
        several = len(ticks) > 1
        if (several and self._replies) or not ticks or self.held or self.by_turns or self._due:
            return False
        tick = ticks[0]
        event = timers.by_tick[tick]
        if type(event) is list or event._callback is None or tick <= self._clock.tick or self.names is not None:
            return False
        if several and timers.second_tick() - tick <= self._near:  # type: ignore[operator]  # there is one
            return False
        heappop(ticks)
        del timers.by_tick[tick]
        self._clock.move(tick)
        self.instant = tick = self._clock.tick
        self.horizon = tick + self.lateness
        self._turn += 1
        self._ready.append(event)
        return True

    def move_on(self) -> bool:
        """Go to the next tick and begin a turn there, unless something is due or held, or nothing pending.

        To be called as `jump`, where that did nothing; return whether it was so.
        """
        ticks = self._timers.ticks
        if self.held or self.by_turns or self._due or not ticks or ticks[0] <= self._clock.tick:
            return False
        tick = self._timers.next_tick()
        if tick is None:  # all were cancelled
            return False
        self._clock.move(tick)
        self.begin_at(self._clock.tick)
        self.begin_turn(None, leaving=False)
        return True

    def begin_turn(self, stop: int | None, *, leaving: bool) -> None:
        """Queue what arrives now. The clock does not pass `stop`; with `leaving` it does not move at all."""
        ticks = self._timers.ticks
        held, by_turns = self.held, self.by_turns
        self._turn = turn = self._turn + 1
        if turn in by_turns:
            self._deliver(by_turns.pop(turn))
        if held or by_turns or self._due or (ticks and ticks[0] <= self._clock.tick):
            self._take_due(stop)
        if leaving:
            return
        self.horizon = latest = self.instant + self.lateness
        while ticks and (tick := ticks[0]) <= latest:
            entry = self._timers.by_tick[tick]
            if type(entry) is list:
                entry = entry[0]
            if self.plain or stop is not None or entry._callback is None or tick <= self._clock.tick:
                found = self._next_to_pass(latest, stop)
                if found is None:
                    break
                tick = found
            elif (held or by_turns) and tick > self.latest():  # type: ignore[operator]  # something is held
                break
            if not self._choose(2, "late"):
                break
            self._clock.move(tick)
            self._take_due(stop)
        while not self._ready and (held or by_turns):
            self._go_on_without_the_held(stop)

    def latest(self) -> int | None:
        """Return the tick by which the first of those that are held has to arrive, or None."""
        held = self.held
        if not self.by_turns:
            return held[0][0] + self.lateness if held else None
        firsts = [late[0][0] for late in (held, *self.by_turns.values()) if late]
        return min(firsts) + self.lateness if firsts else None

    def state(self, name_of: Callable[[Any], Hashable]) -> Hashable:
        """Return all that decides what happens next, but for what the program itself holds; `names` has to be kept.

        `name_of` names entries of the queue.
        """
        names = self.names
        assert names is not None
        return (
            self._clock.tick,
            self.instant,
            *self._queue_state(name_of),
            tuple(names[id(event)][:2] for *_, event in self.held),
            tuple(
                (turn - self._turn, *(names[id(event)][:2] for *_, event in late))
                for turn, late in sorted(self.by_turns.items())
            ),
            tuple(names[id(event)][:2] for _, event in self._due),
        )

    def clear(self) -> None:
        """Forget all events."""
        self.held.clear()
        self.by_turns.clear()
        self._due.clear()

    def check(self) -> None:
        """Assert every invariant; for tests, which call it after each turn."""
        late = [self.held, *self.by_turns.values()]
        assert all(each == sorted(each) for each in late), "those that are held are out of order"
        ticks = [tick for tick, *_ in chain(*late, self._due)]
        assert all(tick <= self._clock.tick for tick in ticks), "held before its deadline"
        assert all(tick + self.lateness >= self._clock.tick for tick, *_ in chain(*late)), "held for too long"
        assert all(self.by_turns.values()), "a turn in which nothing arrives"
        assert all(turn > self._turn for turn in self.by_turns), "held for too many turns"

    def _queue_state(self, name_of: Callable[[Any], Hashable]) -> tuple[Hashable, ...]:
        queue = self._queue
        if isinstance(queue, ReorderingQueue):
            return (queue.loose, queue.seen, *map(name_of, queue))
        return tuple(map(name_of, queue))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _next_to_pass(self, latest: int, stop: int | None) -> int | None:
        """Return the next deadline, up to `latest`, if the clock may pass it before anything else happens."""
        tick = self._timers.next_tick()
        if tick is None or tick <= self._clock.tick or tick > latest:
            return None
        if (self.held or self.by_turns) and tick > self.latest():  # type: ignore[operator]  # something is held
            return None
        if self.plain and any(map(set_within, self._timers.of(tick))):
            return None
        return tick if stop is None or tick <= stop else None

    def _take_due(self, stop: int | None) -> None:
        """Let the events that are due arrive or be held; whenever one arrives, those that are held may follow.

        The questions about them, one for each event at least, are most of what a run costs here: so they are put in
        line, and with their places in locals.
        """
        names = self.names
        timers = self._timers
        ready = self._ready
        now = self._clock.tick
        ticks, by_tick = timers.ticks, timers.by_tick
        due = self._due
        held, by_turns = self.held, self.by_turns
        choose, on_ask, lateness, plain = self._choose, self.on_ask, self.lateness, self.plain
        while ticks and (tick := ticks[0]) <= now:
            heappop(ticks)
            entry = by_tick.pop(tick)
            if type(entry) is list:
                due.extend([(tick, event) for event in entry])
            else:
                due.append((tick, entry))
            if names is not None:
                events = entry if type(entry) is list else (entry,)
                first = sum(name[0] == tick for name in names.values())
                names.update((id(event), (tick, first + k, event)) for k, event in enumerate(events))
        if by_turns or (held and held[0][0] + lateness <= now):
            self._deliver_overdue(now)
        if ready:
            # select() looks at every turn, so what is late may arrive at any of them, while callbacks run as well.
            while held and (answer := choose(len(held) + 1, "release")):
                self._deliver([held.pop(answer - 1)])
        while due:
            tick, event = due[0]
            if event._callback is None:  # cancelled
                due.popleft()
                continue
            if plain and self._is_plain(event):
                answer = 0
            elif ready or held or len(due) > 1 or by_turns or self._is_followed(tick, stop):
                if on_ask is not None:
                    on_ask(event)
                answer = choose(self._hold_answers, "hold")
            elif self._replies and timers.next_tick() is not None:
                if on_ask is not None:
                    on_ask(event)
                answer = choose(1 + LONGEST, "reply")
                answer = answer and answer + HELD
            else:
                answer = 0
            due.popleft()
            if not answer:
                ready.append(event)
                while held:
                    answer = choose(len(held) + 1, "release")
                    if not answer:
                        break
                    _, _, event = held.pop(answer - 1)
                    if event._callback is not None:  # not cancelled
                        ready.append(event)
                continue
            if self.on_hold is not None:
                self.on_hold(event)
            if answer > HELD:
                self._put_off(event, tick + answer - HELD)
                continue
            late = held if answer == HELD else by_turns.setdefault(self._turn + answer, [])
            self._number += 1
            if not late or late[-1][0] <= tick:
                late.append((tick, self._number, event))
            else:
                insort(late, (tick, self._number, event))

    def _is_plain(self, event: Any) -> bool:
        """Return whether the program has said that an event does not vary."""
        return set_within(event) or (bool(self.scopes) and type(event) is ExternalEvent)

    def _is_followed(self, tick: int, stop: int | None) -> bool:
        """Return whether anything could happen while an event is held that was due at `tick`."""
        ticks = self._timers.ticks
        latest = tick + self.lateness
        if stop is not None and stop < latest:
            latest = stop
        if not ticks or ticks[0] > latest:
            return False
        following = self._timers.next_tick()
        return following is not None and following <= latest

    def _put_off(self, event: Any, tick: int) -> None:
        # Should it be cancelled now, its deadline will seem to be in the past: it is counted before.
        self._timers.count_cancelled()
        self._timers.added = True
        self._timers.add(tick, event)

    def _deliver(self, late: list[_Late]) -> None:
        """Let those arrive, unless they were cancelled."""
        self._ready.extend([event for _, _, event in late if event._callback is not None])

    def _deliver_overdue(self, now: int) -> None:
        """Let those arrive whose lateness has ended, by tick."""
        if not any(late[0][0] + self.lateness <= now for late in (self.held, *self.by_turns.values()) if late):
            return
        end = (now - self.lateness + 1,)
        overdue: list[_Late] = []
        for late in (self.held, *self.by_turns.values()):
            if late and late[0] < end:
                count = bisect_left(late, end)
                overdue += late[:count]
                del late[:count]
        for turn in [turn for turn, late in self.by_turns.items() if not late]:
            del self.by_turns[turn]
        self._deliver(sorted(overdue))

    def _go_on_without_the_held(self, stop: int | None) -> None:
        """Nothing is ready, as all that was due is held: let a later deadline pass, or the earliest of them arrive."""
        if self.by_turns:
            self._deliver(self.by_turns.pop(min(self.by_turns)))
            return
        tick = self._timers.next_tick()
        if tick is not None and tick <= self.held[0][0] + self.lateness and (stop is None or tick <= stop):
            self._clock.move(tick)
            self._take_due(stop)
        else:
            self._deliver([self.held.pop(0)])
