"""The way from one host to another: how long it takes, and what goes wrong on it.

Owns the conditions of each direction and every question about them that is put to the schedule. Whatever is not
configured is not asked; the answer 0 is the perfect medium.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from virtualloop._clock import TICKS_PER_SECOND, span_in_ticks

if TYPE_CHECKING:
    from virtualloop.network._machines import Machine
    from virtualloop.network._medium import Medium
    from virtualloop.network._wire import Wire

__all__ = ["PERFECT", "Conditions", "Link", "checked"]

#: How many values a range of latencies is divided into: a choice of few, so that a schedule that tries all of them
#: ends, and of enough that two replies rarely take equally long.
LATENCIES = 16
#: How late a datagram is that others overtake, beyond its latency, in seconds.
OVERTAKEN = 0.05
#: How long a write is held back to join the next one, in seconds: as long as the algorithm of Nagle and a delayed
#: acknowledgement together make it wait.
JOINED = 0.04
#: How long a sender repeats what is not acknowledged before the connection has timed out, in seconds: Linux's fifteen
#: retransmissions.
GIVE_UP = 924.6
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
    """The way from `source` to `target`."""

    __slots__ = ("_busy_until", "_held", "conditions", "is_partitioned", "is_perfect", "medium", "source", "target")

    def __init__(self, medium: Medium, source: Machine, target: Machine, conditions: Conditions) -> None:
        self.medium = medium
        self.source = source
        self.target = target
        self.conditions = conditions
        self.is_partitioned = False
        #: Whether all that is sent comes in at once, so that nobody need ask.
        self.is_perfect = False
        # When the last byte that was sent has left, if bandwidth is limited.
        self._busy_until = 0
        # Who waits for the way to be free again: callbacks.
        self._held: list[Callable[[], None]] = []
        self.refresh()

    def refresh(self) -> None:
        """Something has changed: what waits for a free way goes on if there is one."""
        self.is_perfect = self.conditions == PERFECT and self.is_open()
        if self.is_open() and self._held:
            held, self._held = self._held, []
            for resume in held:
                resume()

    def is_open(self) -> bool:
        """Return whether anything comes in at the other end."""
        return not self.is_partitioned and self.target.is_up

    def when_open(self, resume: Callable[[], None]) -> None:
        """Have `resume()` called when the way is free again."""
        self._held.append(resume)

    # --- bytes --------------------------------------------------------------------------------------------------------

    def arrival(self, wire: Wire, size: int) -> int:
        """Return the tick at which a piece of so many bytes, sent now, comes in: after those sent before."""
        tick = self.tick_of(wire, size)
        if size and self._happens(self.conditions.coalescing, "coalesce"):
            tick += int(JOINED * TICKS_PER_SECOND)
            self.note("coalesce", f"{wire}: {size} bytes held back for {JOINED * 1000:g} ms")
        wire.last_tick = tick = max(tick, wire.last_tick)
        return tick

    def tick_of(self, what: object, size: int) -> int:
        """Return the tick at which something of so many bytes, sent now, comes in."""
        low, high = self.conditions.latency
        tick = self.medium.loop._clock.tick + low
        if high > low:
            steps = min(LATENCIES, high - low + 1)
            late = (high - low) * self.medium.loop._choose(steps, "latency") // (steps - 1)
            if late:
                tick += late
                self.note("latency", f"{what}: {late * 1000 / TICKS_PER_SECOND:.3g} ms late")
        if self.conditions.bandwidth != math.inf and size:
            now = self.medium.loop._clock.tick
            starts = max(now, self._busy_until)
            self._busy_until = starts + math.ceil(size * TICKS_PER_SECOND / self.conditions.bandwidth)
            tick += self._busy_until - now
        return tick

    def set_timer(self, tick: int, callback: Callable[[], None]) -> Any:
        """Have `callback()` run when the clock is there."""
        return self.medium.set_timer(tick, callback)

    def hold(self, wire: Wire) -> None:
        """A piece could not come in: it is sent again when the way is free, until its sender gives up."""
        if wire.stuck > 1:
            return
        sender = wire.source

        def give_up() -> None:
            if wire.stuck:
                wire.cut()
                sender.fail(errno.ETIMEDOUT)

        timer = None
        if not sender.closed:
            timer = self.set_timer(self.medium.loop._clock.tick + int(GIVE_UP * TICKS_PER_SECOND), give_up)

        def resume() -> None:
            if timer is not None:
                timer.cancel()
            stuck, wire.stuck = wire.stuck, 0
            for _ in range(stuck):
                wire.last_tick = max(self.tick_of(wire, 0), wire.last_tick)
                self.set_timer(wire.last_tick, wire.deliver)

        self.when_open(resume)

    def piece(self, wire: Wire, size: int) -> int:
        """Return how many of `size` bytes that came in are read at once."""
        if size < 2 or not self._happens(self.conditions.fragmentation, "fragment"):
            return size
        kept = size - 1 - (self.medium.loop._choose(size - 1, "cut") if size > 2 else 0)
        self.note("fragment", f"{wire}: {kept} of {size} bytes come in first")
        return kept

    def resets(self, wire: Wire) -> bool:
        """Return whether the connection is reset by what is sent now."""
        return self._happens(self.conditions.resets, "reset")

    # --- datagrams ----------------------------------------------------------------------------------------------------

    def send_datagram(self, what: str, size: int, arrive: Callable[[], None]) -> None:
        """Have `arrive()` called when the datagram comes in: once, twice or never."""
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
            self.note("duplicate", f"{what}: comes in twice")
        for _ in range(copies):
            tick = self.tick_of(what, size)
            if self._happens(conditions.reordering, "reorder"):
                tick += int(OVERTAKEN * TICKS_PER_SECOND)
                self.note("reorder", f"{what}: overtaken, {OVERTAKEN * 1000:g} ms late")
            self.set_timer(tick, lambda: arrive() if self.is_open() else self._lose(what))

    @property
    def closed_by(self) -> str:
        """What keeps everything from coming in at the other end."""
        return "partition" if self.is_partitioned else "crash"

    def note(self, kind: str, text: str) -> None:
        """Keep that something went another way than on a perfect network."""
        self.medium.note(kind, text)

    def _lose(self, what: str) -> None:
        self.note(self.closed_by, f"{what}: lost")

    def _happens(self, probability: tuple[int, int], kind: str) -> bool:
        k, n = probability
        if not k:
            return False
        if k == n:
            return True
        return 1 <= self.medium.loop._choose(n, kind) <= k
