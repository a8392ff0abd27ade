"""The way from one host to another: how long it takes, and what goes wrong on it.

Owns the conditions of each direction and every question about them that is put to the schedule. Whatever is not
configured is not asked; the answer 0 is the perfect link's. Knows nothing of sockets and connections.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from virtualloop._core.clock import TICKS_PER_SECOND, span_in_ticks
from virtualloop.network._driver import Driver, Event
from virtualloop.network._kernel import HostKernel

__all__ = ["PERFECT", "Conditions", "Link", "checked"]

#: How many values a range of latencies is divided into: a choice of few, so that a schedule that tries all of them
#: ends, and of enough that two replies rarely take equally long.
LATENCIES = 16
#: How late a datagram is that others overtake, beyond its latency, in seconds.
OVERTAKEN = 0.05
#: How long a write is held back to join the next one, in seconds: as long as the algorithm of Nagle and a delayed
#: acknowledgement together make it wait.
JOINED = 0.04
#: With less than so many bytes a second, a megabyte would take longer than floats can count.
LEAST_BANDWIDTH = 1e-200
#: Probabilities are rounded to fractions with a denominator of this at most.
FINEST = 1_000_000


class Conditions(NamedTuple):
    """What a link does. Probabilities are (k, n): k answers of n."""

    latency: tuple[int, int] = (0, 0)
    bandwidth: float = math.inf
    loss: tuple[int, int] = (0, 1)
    duplication: tuple[int, int] = (0, 1)
    reordering: tuple[int, int] = (0, 1)
    fragmentation: tuple[int, int] = (0, 1)
    coalescing: tuple[int, int] = (0, 1)
    resets: tuple[int, int] = (0, 1)


PERFECT = Conditions()


def checked(**given: Any) -> dict[str, Any]:
    """Return the conditions that are not None, in the form of `Conditions`.

    Raises TypeError or ValueError that names the argument.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name == "latency":
            ends: tuple[Any, ...] = value if isinstance(value, tuple) and len(value) == 2 else (value, value)
            span = span_in_ticks(ends[0], argument="latency"), span_in_ticks(ends[1], argument="latency")
            if span[0] > span[1]:
                raise ValueError(f"latency must be a number or a range (lowest, highest), got {value!r}")
            found[name] = span
        elif name == "bandwidth":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"bandwidth must be a number of bytes a second, not {value!r}")
            if not value > 0:
                raise ValueError(f"bandwidth must be above 0, got {value!r}")
            if value < LEAST_BANDWIDTH:
                raise ValueError(f"bandwidth must be at least {LEAST_BANDWIDTH:g} bytes a second, got {value!r}")
            found[name] = value
        else:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a probability, not {value!r}")
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value!r}")
            found[name] = (int(value), 1) if value in (0, 1) else _fraction(value)
    return found


def _fraction(probability: float) -> tuple[int, int]:
    from fractions import Fraction  # noqa: PLC0415  # it takes longer to load than the rest of the network

    fraction = Fraction(probability).limit_denominator(FINEST)
    return fraction.numerator, fraction.denominator


class Link:
    """The way from `source` to `target`; `note(kind, text)` keeps what goes wrong on it."""

    __slots__ = ("_busy_until", "_driver", "_waiting", "conditions", "is_partitioned", "is_perfect", "note", "source",
                 "target")  # fmt: skip

    def __init__(
        self,
        driver: Driver,
        note: Callable[[str, str], None],
        source: HostKernel,
        target: HostKernel,
        conditions: Conditions,
        *,
        is_partitioned: bool = False,
    ) -> None:
        self._driver = driver
        #: Keeps that something went another way than on a perfect network: note(kind, text).
        self.note = note
        self.source = source
        self.target = target
        self.conditions = conditions
        self.is_partitioned = is_partitioned
        #: Whether all that is sent arrives at once, so that nobody need ask.
        self.is_perfect = False
        # When the last byte that was sent has left, if bandwidth is limited.
        self._busy_until = 0
        # Who waits for the way to be free again: callbacks.
        self._waiting: list[Callable[[], None]] = []
        self.refresh()

    def refresh(self) -> None:
        """Something has changed: what waits for a free way goes on if there is one."""
        self.is_perfect = self.conditions == PERFECT and self.is_open()
        if self.is_open() and self._waiting:
            waiting, self._waiting = self._waiting, []
            for resume in waiting:
                resume()

    def is_open(self) -> bool:
        """Return whether anything arrives at the other end."""
        return not self.is_partitioned and self.target.is_up

    @property
    def closed_by(self) -> str:
        """What keeps everything from arriving at the other end."""
        return "partition" if self.is_partitioned else "crash"

    def when_open(self, resume: Callable[[], None]) -> None:
        """Have `resume()` called when the way is free again."""
        self._waiting.append(resume)

    def post(self, tick: int, arrive: Callable[[], None]) -> Event:
        """Have `arrive()` called when the clock is at `tick`, and the driver lets it in."""
        event = self._driver.event(arrive)
        self._driver.post(event, tick)
        return event

    def post_after(self, seconds: float, arrive: Callable[[], None]) -> Event:
        """The same, so many seconds from now."""
        return self.post(self._driver.clock.tick + int(seconds * TICKS_PER_SECOND), arrive)

    # --- bytes --------------------------------------------------------------------------------------------------------

    def piece_arrival(self, what: object, size: int) -> int:
        """Return the tick at which a piece of a stream, of so many bytes, arrives if it is sent now."""
        tick = self.arrival(what, size)
        if size and self._happens(self.conditions.coalescing, "coalesce"):
            tick += int(JOINED * TICKS_PER_SECOND)
            self.note("coalesce", f"{what}: {size} bytes held back for {JOINED * 1000:g} ms")
        return tick

    def arrival(self, what: object, size: int) -> int:
        """Return the tick at which something of so many bytes arrives if it is sent now."""
        low, high = self.conditions.latency
        now = self._driver.clock.tick
        tick = now + low
        if high > low:
            steps = min(LATENCIES, high - low + 1)
            late = (high - low) * self._driver.choose(steps, "latency") // (steps - 1)
            if late:
                tick += late
                self.note("latency", f"{what}: {late * 1000 / TICKS_PER_SECOND:.3g} ms late")
        if self.conditions.bandwidth != math.inf and size:
            starts = max(now, self._busy_until)
            self._busy_until = starts + math.ceil(size * TICKS_PER_SECOND / self.conditions.bandwidth)
            tick += self._busy_until - now
        return tick

    def piece(self, what: object, size: int) -> int:
        """Return how many of `size` bytes that have arrived are read at once."""
        if size < 2 or not self._happens(self.conditions.fragmentation, "fragment"):
            return size
        kept = size - 1 - (self._driver.choose(size - 1, "cut") if size > 2 else 0)
        self.note("fragment", f"{what}: {kept} of {size} bytes arrive first")
        return kept

    def resets(self) -> bool:
        """Return whether the connection is reset by what is sent now."""
        return self._happens(self.conditions.resets, "reset")

    # --- datagrams ----------------------------------------------------------------------------------------------------

    def send_datagram(self, what: str, size: int, arrive: Callable[[], None]) -> None:
        """Have `arrive()` called when the datagram arrives: once, twice or never."""
        if self.is_perfect:
            arrive()
            return
        conditions = self.conditions
        if not self.is_open():
            self._lose(what)
            return
        if self._happens(conditions.loss, "loss"):
            self.note("loss", f"{what}: lost")
            return
        copies = 1
        if self._happens(conditions.duplication, "duplicate"):
            copies = 2
            self.note("duplicate", f"{what}: arrives twice")
        for _ in range(copies):
            tick = self.arrival(what, size)
            if self._happens(conditions.reordering, "reorder"):
                tick += int(OVERTAKEN * TICKS_PER_SECOND)
                self.note("reorder", f"{what}: overtaken, {OVERTAKEN * 1000:g} ms late")
            self.post(tick, lambda: arrive() if self.is_open() else self._lose(what))

    def _lose(self, what: str) -> None:
        self.note(self.closed_by, f"{what}: lost")

    def _happens(self, probability: tuple[int, int], kind: str) -> bool:
        k, n = probability
        if not k:
            return False
        if k == n:
            return True
        return 1 <= self._driver.choose(n, kind) <= k
