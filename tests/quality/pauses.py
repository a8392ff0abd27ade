"""Runs at order "timing" on stock asyncio: what took how long in a run, and stock loops on which it takes as long.

The loop under test says when each timer was set, pauses included, and what the clock showed at each turn. A stock loop
pauses until it is that late; every line that decides the order of events is its own.
"""

import asyncio
import time
from typing import NamedTuple

from helpers import OracleLoop
from virtualloop import VirtualLoop
from virtualloop._core.moments import MOMENT, Moments

TICK = 1e-6
#: Turns that it takes to shut down.
SHUTDOWN = 100


class StockGoesOnError(Exception):
    """Stock asyncio has more turns than the script, or waits for ever."""


class Script(NamedTuple):
    """The ticks of the clock at each turn, and of each timer the turn and the tick in which it is set."""

    turns: list
    timers: list


class NotingMoments(Moments):
    """Moments that forget nothing: from which timer on those of one time are late, and by how much."""

    def __init__(self, loop):
        super().__init__(loop._clock, loop._timers)
        self.noted = []

    def delay(self, event, ticks):
        super().delay(event, ticks)
        self.noted.append(self._delays[-1])


class NotingLoop(VirtualLoop):
    """A loop at order "timing" that takes note of how long what takes in its run."""

    def __init__(self, **options):
        super().__init__(order="timing", **options)
        self._turns = []
        self._set = []
        self._moments = self._scheduling().arrivals._moments = NotingMoments(self)
        self._scheduling().add_instrument(self)

    def begin_turn(self, *, idle):
        if self._queue:
            self._turns.append(self._clock.tick)

    def around(self, run):
        return run

    def call_later(self, *args, **kwargs):
        return self._noted(super().call_later(*args, **kwargs))

    def call_at(self, *args, **kwargs):
        return self._noted(super().call_at(*args, **kwargs))

    def _noted(self, handle):
        self._set.append((len(self._turns) - 1, self._clock.tick, abs(handle._scheduled)))
        return handle

    def script(self):
        return Script(self._turns, [(turn, tick + self._late_by(tick, number)) for turn, tick, number in self._set])

    def _late_by(self, tick, number):
        """Return how late a timer was set of which the clock said that it was set at this tick."""
        set_at = {other: at for _, at, other in self._set}
        late = [more for first, more in self._moments.noted if set_at.get(first) == tick and first <= number]
        return max(late, default=0)


class Pausing:
    """A stock loop that pauses as a script says. `guards` are timers set first that the script does not have."""

    def __init__(self, script, guards=0):
        super().__init__()
        self._script = script
        self._turn = -1
        self._number = -guards
        self._is_fresh = False

    def _process_events(self, events):
        super()._process_events(events)
        self._turn += 1
        if self._turn < len(self._script.turns):
            self._pause_until(self._script.turns[self._turn], reads=True)
        else:  # the program is over, or it is another run
            if self._turn >= len(self._script.turns) + SHUTDOWN:
                raise StockGoesOnError
        self._is_fresh = True

    def time(self):
        now = self._now()
        if self._is_fresh:  # this is what the turn goes by
            self._is_fresh = False
            self._pause()
        return now

    def call_at(self, when, callback, *args, context=None):
        handle = asyncio.SelectorEventLoop.call_at(self, when, callback, *args, context=context)
        self._number += 1
        self._elapse()
        self._pause()
        return handle

    def _elapse(self):
        """Let the time pass that it takes to set a timer."""

    def _pause(self):
        """Let the time come at which the next timer is set, if that is in this turn."""
        if 0 <= self._number < len(self._script.timers):
            turn, tick = self._script.timers[self._number]
            if turn == self._turn:
                self._pause_until(tick)


class PausingOracle(Pausing, OracleLoop):
    """Stock asyncio with a clock that goes by the script and nothing else."""

    #: Even where nobody pauses, what is set later is set later.
    JITTER = 1e-10

    def __init__(self, script, guards=0):
        super().__init__(script, guards)
        self._clock.select = lambda timeout=None: []
        self._clock_resolution = 0.0

    def _now(self):
        return self._clock.now

    def _elapse(self):
        self._clock.now += self.JITTER

    def _pause_until(self, tick, *, reads=False):
        self._clock.now = max(self._clock.now, tick * TICK + self._number * self.JITTER)


class StallingLoop(Pausing, asyncio.SelectorEventLoop):
    """Stock asyncio in a process that stalls, for real, in slow motion: what callbacks take is little beside that."""

    #: So many times slower than the program means.
    SLOW = 4
    #: How long a moment is, in the program's seconds.
    LONG = 0.003
    #: What is set after a turn's reading is late by as much; so each time the clock moves it is read a little later.
    SLACK = 0.0003

    def __init__(self, script, guards=0):
        super().__init__(script, guards)
        select = self._selector.select
        self._selector.select = lambda timeout=None: select(timeout and timeout * self.SLOW)

    def _now(self):
        return time.monotonic() / self.SLOW

    def _pause_until(self, tick, *, reads=False):
        if not tick:
            self._began = self._now()
            return
        whole = tick - tick % 1000
        moves = len(set(self._script.turns[: self._turn + 1])) if reads else 0
        until = self._began + whole * TICK + (tick - whole) / MOMENT * self.LONG + moves * self.SLACK
        time.sleep(max(until - self._now(), 0) * self.SLOW)
