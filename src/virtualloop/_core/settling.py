"""Who waits for the present to be over: advance() and run_until_idle(), from outside and from within.

Owns what the present drive ends at, and the callers of the awaitable twins; knows no clock, no queue and no asyncio. A
caller is any object with `done()` and `set_result(None)`, as a future is.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Protocol

__all__ = ["Settling", "Waiter"]


class Waiter(Protocol):
    """Who is to go on when everything else at its tick has settled."""

    def done(self) -> bool:
        """Return whether it waits no more, as when it was cancelled."""
        ...

    def set_result(self, result: None, /) -> None:
        """Let it go on."""
        ...


class Settling:
    """What has to settle, and who is told."""

    __slots__ = ("_idlers", "_number", "_settlers", "target", "until_idle")

    def __init__(self) -> None:
        #: What the present drive ends at: a tick, or nothing left to run; else neither.
        self.target: int | None = None
        self.until_idle = False
        self._number = 0
        self._settlers: list[tuple[int, int, Waiter]] = []  # a heap
        self._idlers: deque[Waiter] = deque()

    def await_tick(self, tick: int, waiter: Waiter) -> None:
        """Let `waiter` go on when the clock is at `tick` and all else has settled; those of one tick in their order."""
        self._number += 1
        heappush(self._settlers, (tick, self._number, waiter))

    def await_idle(self, waiter: Waiter) -> None:
        """Let `waiter` go on when nothing else could run."""
        self._idlers.append(waiter)

    def next_stop(self) -> int | None:
        """Return the tick that the clock must not pass before everything up to it has settled, or None."""
        settlers = self._settlers
        while settlers and settlers[0][2].done():
            heappop(settlers)
        if not settlers:
            return self.target
        return settlers[0][0] if self.target is None else min(settlers[0][0], self.target)

    def settles_at(self, stop: int | None) -> bool:
        """Return whether the next caller that waits for a tick waits for this one."""
        return bool(self._settlers) and self._settlers[0][0] == stop

    def take_settled(self) -> tuple[int, Waiter]:
        """Take out the next caller that waits for a tick; return that tick and the caller."""
        tick, _, waiter = heappop(self._settlers)
        return tick, waiter

    def waits_for_anything(self) -> bool:
        """Return whether any caller waits, for a tick or until nothing could run."""
        return bool(self._settlers or self._idlers)

    def waits_for_idle(self) -> bool:
        """Return whether the drive, or any caller, waits until nothing could run."""
        idlers = self._idlers
        while idlers and idlers[0].done():
            idlers.popleft()
        return self.until_idle or bool(idlers)

    def take_idler(self) -> Waiter | None:
        """Take out the next caller that waits until nothing could run, if there is one and nobody waits for a tick."""
        return self._idlers.popleft() if not self._settlers and self.waits_for_idle() and self._idlers else None

    def clear(self) -> None:
        """Forget all callers."""
        self._settlers.clear()
        self._idlers.clear()

    def check(self) -> None:
        """Assert every invariant; for tests, which call it after each step."""
        settlers = self._settlers
        assert all(settlers[(i - 1) // 2] <= settler for i, settler in enumerate(settlers) if i), "out of order"
        assert self.target is None or not self.until_idle, "a drive has two ends"
