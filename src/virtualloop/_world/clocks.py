"""What the clocks of this process say, and to whom.

Owns the stand-ins for the functions of `time`, who of the threads reads which clock, and what time it is on the
calendar of a world. The stand-ins for `datetime` are those of `calendar`, and how all of them get to where the
functions are known is the business of `aliases`.

Each stand-in asks whose thread is calling. A thread that belongs to a world gets the time of its loop's clock;
everyone else's, and code that measures the machine itself (see `frameworks`), gets what the function returns. So a
stand-in that somebody has kept does no harm.

A clock moves when the loop jumps, not when it is read. A program that does nothing but read it until it is late enough
would do so for ever; on a real machine its readings take time, and so they do here after a great many.
"""

from __future__ import annotations

import functools
import sys
import time
from _thread import get_ident
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import index
from types import MethodType
from typing import Any, Protocol

from virtualloop._core.clock import TICKS_PER_SECOND, Clock
from virtualloop._world.frameworks import keeps_real
from virtualloop._world.originals import Originals
from virtualloop._world.shares import share_of

__all__ = [
    "NANOSECONDS",
    "READINGS",
    "LoopReader",
    "Reader",
    "Sleeper",
    "ThreadReader",
    "as_datetime",
    "epoch_in_ticks",
    "moment",
    "pairs",
    "reader_here",
    "wall_here",
]

#: Readings of a clock that stands, one after the other, before they take time.
READINGS = 10_000
#: Each so many of them it is looked whether one step makes them all.
LOOK = 1_000
#: What a reading takes then, in ticks: a millisecond.
READING = TICKS_PER_SECOND // 1_000
#: Seconds that time.sleep() takes; for more, and for less than none, it raises.
LONGEST_SLEEP = 9_223_372_036.0
NANOSECONDS = 1_000_000_000 // TICKS_PER_SECOND

_START_OF_UNIX = datetime(1970, 1, 1, tzinfo=UTC)


def epoch_in_ticks(epoch: datetime | float) -> int:
    """Return a moment on the calendar as ticks since 1970; a datetime without a time zone is one of this machine's.

    Raises TypeError or ValueError that names `epoch`.
    """
    if isinstance(epoch, datetime):
        if epoch.tzinfo is UTC:  # as that of an exploration, which each of its runs has
            return _ticks_since_1970(epoch)
        return (epoch.astimezone(UTC) - _START_OF_UNIX) // timedelta(microseconds=1)
    if isinstance(epoch, bool) or not isinstance(epoch, int | float):
        raise TypeError(f"epoch must be a datetime or seconds since 1970, not {epoch!r}")
    try:
        datetime.fromtimestamp(epoch, UTC)
    except (OverflowError, ValueError, OSError):
        raise ValueError(f"epoch must be a moment that datetime knows, got {epoch!r}") from None
    return round(epoch * TICKS_PER_SECOND)


@functools.lru_cache(1)
def _ticks_since_1970(moment: datetime) -> int:
    return (moment - _START_OF_UNIX) // timedelta(microseconds=1)


def as_datetime(ticks: int) -> datetime:
    """Return the moment that is so many ticks after 1970."""
    return _START_OF_UNIX + timedelta(microseconds=ticks)


class Sleeper(Protocol):
    """What threads of a world wait by; see `sleepers`."""

    def sleep_until(self, tick: int) -> None:
        """Return when the clock is there."""
        ...

    def pause(self, since: int) -> None:
        """Return when the clock has moved by a little, as measured by how long this has been done."""
        ...

    def wait_until(self, tick: int, gate: Any, waits: Callable[[], bool]) -> None:
        """Return when `gate` is released or the clock is there."""
        ...

    def pass_until(self, tick: int, gate: Any = None, waits: Callable[[], bool] = ...) -> None:
        """The same in a step of the loop."""
        ...


class Reader:
    """One thread of a world, as it reads the clock. `offset` leads from a tick to the calendar, in ticks since 1970."""

    __slots__ = ("_clock", "_looks", "_offset", "_readings", "_step", "_tick", "origin")

    def __init__(self, clock: Clock, offset: int) -> None:
        self._clock = clock
        self._offset = offset
        #: Where `travel` has tick 0, in ticks since 1970, once it was asked.
        self.origin: int | None = None
        self._tick = clock.tick
        self._readings = 0
        self._looks = 0
        self._step: object = None

    def now(self) -> int:
        """Return the tick, and count this reading."""
        tick = self._clock.tick
        if tick != self._tick:
            self._tick = tick
            self._readings = self._looks = 0
        self._readings += 1
        if self._readings >= LOOK:
            self._many_readings()
            return self._clock.tick
        return tick

    def seconds(self) -> float:
        """Return the time of the loop, and count this reading."""
        self.now()
        return self._clock.seconds

    def wall(self) -> int:
        """Return the time on the calendar, in ticks since 1970, and count this reading."""
        return self.now() + self._offset

    def sleep(self, ticks: int) -> None:
        """Let so much time pass."""
        raise NotImplementedError

    def wait(self, ticks: int, gate: Any, waits: Callable[[], bool]) -> None:
        """Wait for `gate` to be released for so much time at most; `waits` says whether nobody has released it."""
        raise NotImplementedError

    def of_a_thread(self) -> Reader:
        """Return the reader of another thread, which this one starts."""
        raise NotImplementedError

    def _many_readings(self) -> None:
        raise NotImplementedError


class LoopReader(Reader):
    """The thread in which the loop runs. `step` returns what tells the step that runs now from others."""

    __slots__ = ("_sleeper", "_step_now")

    def __init__(self, clock: Clock, offset: int, sleeper: Sleeper, step: Callable[[], object]) -> None:
        super().__init__(clock, offset)
        self._sleeper = sleeper
        self._step_now = step

    def of_a_thread(self) -> Reader:
        """Return the reader of a thread that this one starts."""
        return ThreadReader(self._clock, self._offset, self._sleeper)

    def sleep(self, ticks: int) -> None:
        """Move the clock: nothing else of the loop can happen meanwhile, and what is due by then will be late."""
        if ticks:
            self._sleeper.pass_until(self._clock.tick + ticks)

    def wait(self, ticks: int, gate: Any, waits: Callable[[], bool]) -> None:
        """Move the clock, unless another thread releases `gate` before."""
        self._sleeper.pass_until(self._clock.tick + ticks, gate, waits)

    def _many_readings(self) -> None:
        step = self._step_now()
        if step != self._step:
            self._step = step
            self._readings = self._looks = 0
            return
        if self._looks < READINGS // LOOK - 2:
            self._looks += 1
            self._readings = 0
            return
        self._clock.move(self._clock.tick + READING)
        self._tick = self._clock.tick


class ThreadReader(Reader):
    """Another thread of the world."""

    __slots__ = ("_since", "_sleeper")

    def __init__(self, clock: Clock, offset: int, sleeper: Sleeper) -> None:
        super().__init__(clock, offset)
        self._sleeper = sleeper
        #: When it began to do nothing but read the clock.
        self._since: int | None = None

    def of_a_thread(self) -> Reader:
        """Return the reader of a thread that this one starts."""
        return ThreadReader(self._clock, self._offset, self._sleeper)

    def sleep(self, ticks: int) -> None:
        """Wait until the clock is there."""
        if ticks:
            self._since = None
            self._sleeper.sleep_until(self._clock.tick + ticks)

    def wait(self, ticks: int, gate: Any, waits: Callable[[], bool]) -> None:
        """Wait for `gate`, or until the clock is there."""
        self._since = None
        self._sleeper.wait_until(self._clock.tick + ticks, gate, waits)

    def _many_readings(self) -> None:
        self._looks += 1
        self._readings = 0
        if self._looks >= READINGS // LOOK:
            if self._since is None:
                self._since = self._clock.tick
            self._sleeper.pause(self._since)
            self._tick = self._clock.tick  # so that it is known for what it does


def reader_here() -> Reader | None:
    """Return what this thread reads, if it belongs to a world that has a clock."""
    share = share_of(get_ident())
    reader: Reader | None = None if share is None else share.reader
    return reader


def wall_here() -> float:
    """Return the time on the calendar as whoever calls sees it, in seconds since 1970."""
    reader = reader_here()
    return time.time() if reader is None else reader.wall() / TICKS_PER_SECOND


# --- the stand-ins ----------------------------------------------------------------------------------------------------


#: What is stood in for.
NAMES = (
    *("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"),
    *("clock_gettime", "clock_gettime_ns", "localtime", "gmtime", "ctime", "asctime", "strftime"),
)
_real: Any = Originals(time, NAMES)

#: Clocks of the operating system that measure the calendar, and those that measure how long something takes.
_WALL_CLOCKS = frozenset(getattr(time, name) for name in ("CLOCK_REALTIME", "CLOCK_TAI") if hasattr(time, name))
_STEADY_CLOCKS = frozenset(
    getattr(time, name)
    for name in (
        "CLOCK_BOOTTIME",
        "CLOCK_HIGHRES",
        "CLOCK_MONOTONIC",
        "CLOCK_MONOTONIC_RAW",
        "CLOCK_UPTIME",
        "CLOCK_UPTIME_RAW",
    )
    if hasattr(time, name)
)


def _reader() -> Reader | None:
    """Return what the caller's caller reads, unless it is real time."""
    reader = reader_here()
    return None if reader is None or keeps_real(sys._getframe(2)) else reader


class StandIns:
    """The functions of `time`, as a world has them. Methods, because those do not bind to a class that has them."""

    def __reduce__(self) -> Any:
        # What is pickled is the function itself, by its name.
        return __import__, ("time",)

    def time(self) -> Any:
        """Return seconds since 1970."""
        share = share_of(get_ident())
        if share is None or (reader := share.reader) is None or keeps_real(sys._getframe(1)):
            return _real.time()
        return _travelled(reader) / TICKS_PER_SECOND

    def time_ns(self) -> Any:
        """Return nanoseconds since 1970."""
        reader = _reader()
        return _real.time_ns() if reader is None else _travelled(reader) * NANOSECONDS

    def monotonic(self) -> Any:
        """Return the time of the loop."""
        share = share_of(get_ident())
        if share is None or (reader := share.reader) is None or keeps_real(sys._getframe(1)):
            return _real.monotonic()
        return reader.seconds()

    def monotonic_ns(self) -> Any:
        """Return the time of the loop in nanoseconds."""
        reader = _reader()
        return _real.monotonic_ns() if reader is None else reader.now() * NANOSECONDS

    def perf_counter(self) -> Any:
        """Return the time of the loop."""
        share = share_of(get_ident())
        if share is None or (reader := share.reader) is None or keeps_real(sys._getframe(1)):
            return _real.perf_counter()
        return reader.seconds()

    def perf_counter_ns(self) -> Any:
        """Return the time of the loop in nanoseconds."""
        reader = _reader()
        return _real.perf_counter_ns() if reader is None else reader.now() * NANOSECONDS

    def clock_gettime(self, clk_id: int, /) -> Any:
        """Return what that clock says."""
        reader = _reader()
        if reader is not None and clk_id in _WALL_CLOCKS:
            return _travelled(reader) / TICKS_PER_SECOND
        if reader is not None and clk_id in _STEADY_CLOCKS:
            return reader.seconds()
        return _real.clock_gettime(clk_id)

    def clock_gettime_ns(self, clk_id: int, /) -> Any:
        """Return what that clock says, in nanoseconds."""
        reader = _reader()
        if reader is not None and clk_id in _WALL_CLOCKS:
            return _travelled(reader) * NANOSECONDS
        if reader is not None and clk_id in _STEADY_CLOCKS:
            return reader.now() * NANOSECONDS
        return _real.clock_gettime_ns(clk_id)

    def sleep(self, seconds: float, /) -> None:
        """Let so much time pass."""
        reader = _reader()
        if reader is not None and not isinstance(seconds, float) and hasattr(seconds, "__index__"):
            seconds = index(seconds)
        if reader is None or not isinstance(seconds, int | float) or not 0 <= seconds < LONGEST_SLEEP:
            _real.sleep(seconds)  # which knows what to say of it
        else:
            reader.sleep(round(seconds * TICKS_PER_SECOND) or (1 if seconds > 0 else 0))

    def localtime(self, seconds: float | None = None, /) -> Any:
        """Return a moment as a tuple, in the machine's time zone; without an argument, the present one."""
        return _real.localtime(_moment() if seconds is None else seconds)

    def gmtime(self, seconds: float | None = None, /) -> Any:
        """Return a moment as a tuple, in UTC; without an argument, the present one."""
        return _real.gmtime(_moment() if seconds is None else seconds)

    def ctime(self, seconds: float | None = None, /) -> Any:
        """Return a moment as text; without an argument, the present one."""
        return _real.ctime(_moment() if seconds is None else seconds)

    def asctime(self, *moment: Any) -> Any:
        """Return a moment as text; without an argument, the present one."""
        return _real.asctime(*moment or (_real.localtime(_moment()),))

    def strftime(self, form: str, /, *moment: Any) -> Any:
        """Return a moment as text of that form; without a moment, the present one."""
        return _real.strftime(form, *moment or (_real.localtime(_moment()),))


def _moment() -> float | None:
    """Return the present moment to the caller's caller, in seconds since 1970; None for the real one."""
    reader = reader_here()
    return None if reader is None or keeps_real(sys._getframe(2)) else _travelled(reader) / TICKS_PER_SECOND


def moment() -> int | None:
    """Return the present moment to the caller's caller, in ticks since 1970; None for the real one."""
    reader = reader_here()
    return None if reader is None or keeps_real(sys._getframe(2)) else _travelled(reader)


def _travelled(reader: Reader) -> int:
    """Return the time on the calendar in ticks, or that to which `time_machine` has travelled; see `travel`."""
    machine = sys.modules.get("time_machine")
    if machine is not None and getattr(machine, "traveller_stack", None):
        return int(_real.time_ns()) // NANOSECONDS
    return reader.wall()


_stand_ins = StandIns()


def _stand_in(name: str) -> MethodType:
    function = vars(StandIns)[name]
    function.__module__, function.__qualname__ = "time", name
    return MethodType(function, _stand_ins)


def pairs() -> list[tuple[object, object]]:
    """Return the functions of `time`, each with its stand-in."""
    return [(getattr(_real, name), _stand_in(name)) for name in NAMES if hasattr(_real, name)]
