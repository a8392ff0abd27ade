"""The simulation: a clock, what is pending, what is ready, and the loop that runs it.

Owns one turn and the drive that repeats it. Knows no asyncio: what it runs are queue entries (see `entries`), and what
it cannot know, whether threads are at work, what to say of a deadlock, it asks its `Outside`, which it holds only while
it drives, so that an unclosed loop is collected at once.

One turn is what it is in stock asyncio: what may arrive joins the queue, then all callbacks that are in the queue at
that moment run; what they queue runs in the next turn. Stock asyncio waits in `select()` before a turn; here, when
nothing is ready, the clock moves to the next deadline instead (`_idle`). At order "fifo" that is all. At the other
orders what arrives, and when, is the business of `Arrivals`, and who resumes first that of `ReorderingQueue`.

**The bodies are the hot path**, and trade form for speed: attributes are read into locals, and the two fast ones repeat
the few lines that run a callback, because a function call there costs a tenth of a task switch. A callback with few
arguments is called with each of them: `run(callback, *args)` costs four times as much. Whatever else looks at each step
(a trace, debug mode, cancellation, conditions) is an instrument, on the third body, which is short and plain. The body
is chosen when a drive starts and whenever `leave` was set, so that a feature that is off is not even asked about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop
from itertools import repeat
from math import inf
from types import CodeType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from virtualloop._core.clock import TICKS_PER_SECOND, Clock
from virtualloop._core.entries import FIRST, is_wakeup
from virtualloop._core.entries import run as run_entry
from virtualloop._core.outside import Instrument, Outside, Run, Source
from virtualloop._core.ready import ReorderingQueue
from virtualloop._core.settling import Settling, Waiter
from virtualloop._core.spin import SPIN_LIMIT, SpinWatch
from virtualloop._core.timers import Timers
from virtualloop._errors import PropertyError

if TYPE_CHECKING:
    from virtualloop._core.arrivals import Arrivals

__all__ = ["Scheduler"]

#: Instants that run_until_idle() lets pass before it concludes that a timer is always set again.
IDLE_LIMIT = 1_000_000

#: What turns of few callbacks are counted by: iterating a tuple needs no call, where making a `repeat` costs as much as
#: running a short callback.
FEW = tuple((None,) * n for n in range(17))


#: What the bodies read of arrivals, where there are none.
NOTHING_LATE = SimpleNamespace(held=(), by_turns=(), horizon=-inf)


class Scheduler:
    """What runs when. Made on first use, of parts that a loop has from the beginning.

    `ready` is where callbacks are appended: a deque, the one inside the `queue` where that reorders. `choose` decides
    what `order` leaves open; `lateness` is in ticks, `spin_limit` in steps.
    """

    __slots__ = (
        "_choose",
        "_clock",
        "_instants",
        "_instruments",
        "_jumps",
        "_jumps_at_look",
        "_ready",
        "_sources",
        "_stopping",
        "_timers",
        "alone",
        "arrivals",
        "arriving",
        "leave",
        "most_jumps",
        "outside",
        "queue",
        "reached_end",
        "settling",
        "spin",
    )

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        ready: Any,
        queue: Any,
        *,
        order: str = "fifo",
        choose: Callable[[int, str], int],
        lateness: int = 0,
        replies: bool = False,
        spin_limit: int = SPIN_LIMIT,
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._ready = ready
        self.queue: deque[Any] | ReorderingQueue = queue
        self._choose = choose
        self.arrivals: Arrivals | None = None
        #: At order "fifo", the events from outside that were posted for the present instant: at the start of the next
        #: turn they join the queue, before the timers that are due. Whoever posts may append to it by himself.
        self.arriving: list[Any] = []
        if order != "fifo":
            parts = {"clock": clock, "timers": timers, "ready": ready, "queue": queue, "choose": choose}
            self.arrivals = self._make_arrivals(lateness=lateness, replies=replies, **parts)
        self.settling: Settling | None = None
        self.spin = SpinWatch(spin_limit)
        self.outside: Outside | None = None
        self._instruments: list[Instrument] = []
        self._sources: list[Source] = []
        #: Whether the body has to return: to stop, because the drive is at its end, or to be chosen anew.
        self.leave = False
        self._stopping = False
        #: Whether the drive got to the end that was asked for.
        self.reached_end = False
        #: Whether nothing but callbacks and timers can be waited for, as far as the loop itself knows; and at order
        #: "fifo", by a clock that goes exactly where it is sent.
        self.alone = self.arrivals is not None or type(clock) is Clock
        #: How often the clock may jump before `Outside.endless` is asked.
        self.most_jumps: float = inf
        self._jumps = self._jumps_at_look = 0
        self._instants = 0

    def _make_arrivals(self, **options: Any) -> Arrivals:
        from virtualloop._core.arrivals import Arrivals  # noqa: PLC0415  # no loop at "fifo" has any

        return Arrivals(**options)

    # --- what is asked of it ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the drive, or the next one, at the end of its turn."""
        self._stopping = self.leave = True

    def add_instrument(
        self, instrument: Instrument, *, innermost: bool = False, inside: Instrument | None = None
    ) -> None:
        """Have `instrument` look at each step from the next turn on, outside or inside of those that do already."""
        place = len(self._instruments) if inside is None else self._instruments.index(inside)
        self._instruments.insert(0 if innermost else place, instrument)
        self.leave = True  # to the other body

    def remove_instrument(self, instrument: Instrument) -> None:
        """Let `instrument` look no more."""
        self._instruments.remove(instrument)
        self.leave = True

    def add_source(self, source: Source) -> None:
        """Look at `source` at the start of each turn."""
        self._sources.append(source)
        self.alone = False
        self.leave = True

    def remove_source(self, source: Source) -> None:
        """Look at `source` no more."""
        self._sources.remove(source)
        self.leave = True

    def post(self, tick: int, event: Any) -> None:
        """Let an event from outside arrive at `tick`, before the timers of that tick."""
        if tick <= self._clock.tick and self.arrivals is None:
            self._timers.added = True
            self.arriving.append(event)
        else:
            self._timers.add_event(tick, event)

    def await_tick(self, tick: int, waiter: Waiter) -> None:
        """Let `waiter` go on when the clock is at `tick` and all else has settled."""
        self._settling().await_tick(tick, waiter)

    def await_idle(self, waiter: Waiter) -> None:
        """Let `waiter` go on when nothing else could run."""
        self._settling().await_idle(waiter)
        self._instants = 0

    def vary_tasks(self, *, vary: bool) -> None:
        """Let the order of tasks be what the schedule says, or that in which they were woken."""
        if isinstance(self.queue, ReorderingQueue):
            self.queue.vary(self._choose if vary else _never)
            self.leave = True  # to the body, which has to read it again

    def is_empty(self) -> bool:
        """Return whether nothing is ready, pending, held or due."""
        return not self.queue and not self._timers.ticks and not self.has_due()

    def has_due(self) -> bool:
        """Return whether anything from outside is due that is not ready yet."""
        return bool(self.arriving) if self.arrivals is None else self.arrivals.pending()

    def entries(self) -> Iterator[Any]:
        """Iterate over all that is to run: what is held, what is ready, then what is pending, by tick."""
        if self.arrivals is not None:
            yield from self.arrivals.events()
        yield from self.queue
        yield from self.arriving
        for tick in sorted(self._timers.by_tick):
            yield from self._timers.of(tick)

    def clear(self) -> None:
        """Forget everything."""
        self.queue.clear()
        self.arriving.clear()
        self._timers.clear()
        self._sources.clear()
        if self.arrivals is not None:
            self.arrivals.clear()
        if self.settling is not None:
            self.settling.clear()

    def check(self) -> None:
        """Assert every invariant; for tests, which call it after each turn."""
        self._timers.check()
        if isinstance(self.queue, ReorderingQueue):
            self.queue.check()
        if self.arrivals is not None:
            self.arrivals.check()
        if self.settling is not None:
            self.settling.check()
            stop = self._next_stop()
            exact = type(self._clock) is Clock
            assert stop is None or not exact or self._clock.tick <= stop, "the clock has passed where it had to stop"

    # --- running ------------------------------------------------------------------------------------------------------

    def drive(self, outside: Outside, *, target: int | None = None, until_idle: bool = False) -> None:
        """Run until stop(), or until the clock is at `target` and settled, or until nothing could run."""
        self.outside, self.reached_end, self._instants = outside, False, 0
        if target is not None or until_idle:
            settling = self._settling()
            settling.target, settling.until_idle = target, until_idle
        elif not self._sources and (self.settling is None or not self.settling.waits_for_anything()):
            exact = self.arrivals is not None or type(self._clock) is Clock
            self.alone = exact and not outside.stirs()
        if self.arrivals is not None:
            self.arrivals.begin_at(self._clock.tick)
        try:
            while True:
                # What was asked for before the start still gets one turn, as in stock asyncio.
                self.leave = self._stopping
                if self._instruments:
                    self._run_instrumented()
                elif isinstance(self.queue, ReorderingQueue):
                    self._run_reordering(self.queue)
                else:
                    self._run_in_order()
                if self._stopping or self.reached_end:
                    break
                for instrument in self._instruments:
                    if (end_turn := getattr(instrument, "end_turn", None)) is not None:
                        end_turn()
                outside.take_turn()
        finally:
            self._stopping = False
            self.outside = None
            if self.settling is not None:
                self.settling.target, self.settling.until_idle = None, False

    def _run_in_order(self) -> None:
        """The body where the queue is first in, first out."""
        ready = self._ready
        kind_of, step = type, tuple  # as locals they are found faster
        clock = self._clock
        timers = self._timers
        ticks = timers.ticks
        by_tick = timers.by_tick
        arrivals = self.arrivals
        late: Any = arrivals or NOTHING_LATE
        held: Any = self.arriving if arrivals is None else late.held
        sources = self._sources
        # Whoever brings or takes a source has the body chosen anew.
        more = sources or late.by_turns
        outside = self.outside
        assert outside is not None
        jumps, most_jumps, crowd = self._jumps, self.most_jumps, outside.crowd
        spin, turns = self.spin, 0
        look_at = spin.next_look(1)
        while True:
            if held:
                if arrivals is None and not sources:
                    # What _begin_turn() comes to where something arrives at once.
                    ready.extend(held)
                    held.clear()
                    timers.added = True
                    if ticks and ticks[0] <= clock.tick:
                        timers.release(clock.tick, ready)
                else:
                    self._jumps = jumps
                    if self._begin_turn():
                        turns = 0
                    jumps = self._jumps
            elif not ready:
                if (
                    arrivals is None
                    and self.alone
                    and ticks
                    and ticks[0] > clock.tick
                    and jumps < most_jumps
                    and not self.leave
                    and not crowd()
                ):
                    # What _begin_turn() comes to where nothing but a timer can happen next.
                    tick = heappop(ticks)
                    entry = by_tick.pop(tick)
                    if type(entry) is list:
                        if all(timer._callback is None for timer in entry):
                            continue
                        ready.extend(entry)
                    elif entry._callback is None:
                        continue
                    else:
                        ready.append(entry)
                    clock.tick = tick
                    clock.seconds = tick / TICKS_PER_SECOND
                    jumps += 1
                    turns = 0
                elif crowd is not outside.crowd:
                    crowd = outside.crowd
                    continue
                else:
                    self._jumps = jumps
                    if self._begin_turn():
                        turns = 0
                    jumps = self._jumps
            elif (ticks and (ticks[0] <= clock.tick or ticks[0] <= late.horizon)) or more:
                self._begin_turn()
            n = len(ready)
            for _ in FEW[n] if n < 17 else repeat(None, n):
                entry = ready.popleft()
                try:
                    if kind_of(entry) is step:
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
                    self._jumps = jumps
                    raise
                except BaseException as exc:
                    outside.failed(exc, entry)
            # Nothing that has run may live on in these while the loop goes on to something else.
            entry = context = callback = argument = None
            if self.leave:
                self._jumps = jumps
                return
            turns += 1
            if turns >= look_at:
                self._jumps = jumps
                turns = self._check_livelock(turns)
                jumps = self._jumps
                look_at = turns + spin.next_look(len(ready))

    def _run_reordering(self, queue: ReorderingQueue) -> None:
        """The body at order "tasks": ReorderingQueue.take() in line, with its places in locals."""
        ready = self._ready
        popleft = ready.popleft
        choose = queue.choose
        clock = self._clock
        ticks = self._timers.ticks
        arrivals = self.arrivals
        assert arrivals is not None
        held, by_turns = arrivals.held, arrivals.by_turns
        sources = self._sources
        outside = self.outside
        assert outside is not None
        failed = outside.failed
        spin = self.spin
        turns = 0
        look_at = spin.next_look(1)
        loose, seen = queue.loose, queue.seen
        try:
            while True:
                has_due = ticks and (ticks[0] <= arrivals.horizon or ticks[0] <= clock.tick)
                if (has_due or not ready or held or by_turns or sources) and self._begin_turn():
                    turns = 0
                n = len(ready)
                for _ in FEW[n] if n < 17 else repeat(None, n):
                    joined = len(ready) - seen
                    if joined == 1:
                        entry = ready[-1]
                        place = seen
                        if seen > loose:
                            k = choose(seen - loose + 1, "task")
                            if k:
                                place = seen - k
                                ready[-1] = ready[place]
                                ready[place] = entry
                        if type(entry) is not tuple or entry[2] is FIRST:
                            loose = place + 1
                    elif joined:
                        queue.loose, queue.seen = loose, seen
                        try:
                            queue.settle()
                        finally:
                            loose, seen = queue.loose, queue.seen
                        seen -= 1
                    else:
                        seen -= 1
                    entry = popleft()
                    if loose:
                        loose -= 1
                    try:
                        if type(entry) is tuple:
                            context, callback, argument = entry
                            if argument is None or argument is FIRST:
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
                    look_at = turns + spin.next_look(len(ready))
        finally:
            queue.loose, queue.seen = loose, seen

    def _run_instrumented(self) -> None:
        """The body with instruments, at any order."""
        turn = self._turn()
        ready, clock, ticks, sources = self._ready, self._clock, self._timers.ticks, self._sources
        late: Any = self.arrivals or NOTHING_LATE
        held, by_turns = (self.arriving if self.arrivals is None else late.held), late.by_turns
        turns = 0
        look_at = self.spin.next_look(1)
        while True:
            has_due = ticks and (ticks[0] <= late.horizon or ticks[0] <= clock.tick)
            idle = bool(has_due or not ready or held or by_turns or sources) and self._begin_turn()
            if idle:
                turns = 0
            turn(idle)
            if self.leave:
                return
            turns += 1
            if turns >= look_at:
                turns = self._check_livelock(turns)
                look_at = turns + self.spin.next_look(len(ready))

    def _turn(self) -> Callable[[bool], None]:
        """Return what runs a turn, once what arrives is queued, told whether there was nothing else to do."""
        outside = self.outside
        assert outside is not None
        ready, take = self._ready, self._taking()
        if len(self._instruments) == 1 and (make := getattr(self._instruments[0], "turn", None)) is not None:
            alone: Callable[[bool], None] = make(take, ready)
            return alone
        failed = outside.failed
        run: Run = run_entry
        for instrument in self._instruments:
            run = instrument.around(run)
        begin = [told for each in self._instruments if (told := getattr(each, "begin_turn", None)) is not None]

        def turn(idle: bool) -> None:
            for begin_turn in begin:
                begin_turn(idle=idle)
            for _ in repeat(None, len(ready)):
                entry = take()
                try:
                    run(entry)
                except (SystemExit, KeyboardInterrupt, PropertyError):
                    raise
                except BaseException as exc:
                    failed(exc, entry)
            # An exception that somebody keeps may keep this frame.
            entry = None

        return turn

    def make_turn(self, run: Run) -> bool:
        """Make one turn of a drive, by `run`; return False if the clock has moved or the drive is to end."""
        if self._begin_turn():
            return False
        take = self._taking()
        for _ in repeat(None, len(self._ready)):
            run(take())
        return not self.leave

    def _taking(self) -> Callable[[], Any]:
        """Return what takes out the entry that runs next."""
        return self.queue.take if isinstance(self.queue, ReorderingQueue) else self.queue.popleft

    # --- the start of a turn ------------------------------------------------------------------------------------------

    def _begin_turn(self) -> bool:
        """Queue what arrives now; return whether there was nothing else to do."""
        arrivals = self.arrivals
        if self.arriving and not self._sources:
            self._release()
            return False
        if arrivals is not None and self._ready and not self._sources and self.settling is None:
            arrivals.begin_turn(None, leaving=self.leave)
            return False
        for source in self._sources:
            source.poll()
        if arrivals is None and self.alone and not self._ready and not self.arriving and self._jump():
            return True
        clock, ticks = self._clock, self._timers.ticks
        nothing = not self._ready and not self.leave
        if arrivals is None:
            idle = nothing and not (self.arriving or (ticks and ticks[0] <= clock.tick))
            if idle:
                self._idle()
            self._release()
            return idle
        idle = False
        if nothing:
            outside = self.outside
            assert outside is not None
            alone = self.alone and not outside.crowd()
            if alone and self._jumps < self.most_jumps and (arrivals.jump() or arrivals.move_on()):
                self._jumps += 1
                return True
            pending = arrivals.pending()
            if pending and not alone and outside.stirs():
                nothing = not outside.collect(clock.tick)
            idle = nothing and not pending and not (ticks and ticks[0] <= clock.tick)
            if idle:
                self._idle()
                arrivals.begin_at(clock.tick)
        arrivals.begin_turn(None if self.settling is None else self.settling.next_stop(), leaving=self.leave)
        return idle

    def _jump(self) -> bool:
        """At order "fifo", go to the next timer where nothing else can happen next; return whether that was so."""
        tick = self._timers.next_tick()
        if tick is None or tick <= self._clock.tick or self.leave or self._jumps >= self.most_jumps:
            return False
        outside = self.outside
        if outside is None or outside.crowd():
            return False
        self._clock.move(tick)
        self._jumps += 1
        self._timers.release(tick, self._ready)
        return True

    def _release(self) -> None:
        """Queue what is due, at order "fifo": as select() would say it, then timers."""
        if self.arriving:
            self._ready.extend(self.arriving)
            self.arriving.clear()
            self._timers.added = True
        self._timers.release(self._clock.tick, self._ready)

    def _idle(self) -> None:
        """Nothing is ready and nothing is due: hear what is outside, move the clock, or end."""
        outside = self.outside
        assert outside is not None
        outside.crowd()  # It is to know that the clock is about to move.
        if outside.stirs() and outside.collect(self._next_event()):
            return
        tick = self._timers.next_tick()
        settling = self.settling
        stop = None if settling is None else settling.next_stop()
        if tick is not None and (stop is None or tick <= stop):
            self._clock.move(tick)
            self._count_jump(settling)
        elif settling is not None and settling.settles_at(stop):
            self._resume_settled(settling)
        elif settling is not None and tick is None and (waiter := settling.take_idler()) is not None:
            waiter.set_result(None)
        elif settling is not None and settling.target is not None:
            self._clock.move(settling.target)
            self._end_drive()
        elif settling is not None and settling.until_idle:
            self._end_drive()
        elif not outside.wait() and (error := outside.deadlock()) is not None:
            raise error

    def _count_jump(self, settling: Settling | None) -> None:
        outside = self.outside
        assert outside is not None
        self._jumps += 1
        if self._jumps > self.most_jumps:
            self._jumps = 0  # so that what is cancelled then can end
            error = outside.endless(int(self.most_jumps))
            if error is not None:
                raise error
        if settling is not None and settling.waits_for_idle():
            self._instants += 1
            if self._instants > IDLE_LIMIT:
                raise outside.restless(IDLE_LIMIT)

    def _next_event(self) -> int | None:
        """Return the tick of what happens next where nothing is ready; None for nothing at all."""
        tick = self._timers.next_tick()
        settling = self.settling
        if settling is None:
            return tick
        stop = settling.next_stop()
        if tick is None or (stop is not None and stop < tick):
            tick = stop
        return self._clock.tick if tick is None and settling.waits_for_idle() else tick

    def _next_stop(self) -> int | None:
        return None if self.settling is None else self.settling.next_stop()

    def _settling(self) -> Settling:
        if self.settling is None:
            self.settling = Settling()
        self.alone = False
        return self.settling

    def _resume_settled(self, settling: Settling) -> None:
        tick, waiter = settling.take_settled()
        self._clock.move(tick)
        waiter.set_result(None)

    def _end_drive(self) -> None:
        self.reached_end = self.leave = True

    # --- spins --------------------------------------------------------------------------------------------------------

    def _check_livelock(self, turns: int) -> int:
        """Many turns have passed and the clock stands: make time pass, or report; return the turns to go on from."""
        outside = self.outside
        assert outside is not None
        outside.crowd()  # As in a jump: time is about to pass.
        if outside.stirs() and outside.collect(self._clock.tick, len(self.queue)):
            return 0
        if self._jumps != self._jumps_at_look:
            self._jumps_at_look = self._jumps
            self.spin.reset()
        queued = list(self.queue)
        polling = not self.arriving and not self._timers.added and not any(map(is_wakeup, queued))
        self._timers.added = False
        creep = self.spin.creep_after(turns, polling=polling)
        now = self._clock.tick
        # A timer that is always set again for a deadline that has passed lets none behind it come.
        tick = min((tick for tick in self._timers.ticks if tick > now), default=None)
        stop = self._next_stop()
        # Nor may the clock leave behind an event that is held.
        latest = None if self.arrivals is None else self.arrivals.latest()
        ahead = min((tick for tick in (tick, stop, latest) if tick is not None), default=None)
        if ahead is not None and ahead > now:
            self._clock.move(min(ahead, now + creep))
            if self.arrivals is not None:
                self.arrivals.begin_at(self._clock.tick)
            return 0
        if stop is not None and stop <= now and polling:
            # The present instant never settles, so whoever waits for that goes on all the same.
            settling = self._settling()
            if settling.settles_at(stop):
                self._resume_settled(settling)
            else:
                self._end_drive()
            return 0
        steps = turns * max(len(queued), 1)
        if not polling and self.spin.is_long(steps):
            # Tasks that wake each other may be at work for somebody.
            hang = outside.hang()
            if hang is not None:
                raise hang
        if self.spin.is_livelock(steps, polling=polling):
            if (error := outside.livelock(turns)) is None:
                return 0
            raise error
        return turns

    #: The code of the bodies. Each counts its turns in a variable, `turns`.
    BODIES: ClassVar[set[CodeType]] = {_run_in_order.__code__, _run_reordering.__code__, _run_instrumented.__code__}


def _never(n: int, kind: str) -> int:
    return 0
