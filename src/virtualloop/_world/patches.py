"""What a loop has of its own while it runs: the clocks of the process, and its dice.

Owns putting the stand-ins in place while anyone needs them, and who is in the world while its loop runs. There is one
set of stand-ins in the process, for all worlds, and each of them asks who calls it; so it does not matter who puts them
in place first, and who takes them out last.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from virtualloop._core.clock import Clock
from virtualloop._world import calendar, clocks, entropy, shares, travel, waits
from virtualloop._world.aliases import Substitution
from virtualloop._world.clocks import LoopReader, as_datetime, epoch_in_ticks, wall_here
from virtualloop._world.entropy import Dice, Uuids
from virtualloop._world.shares import Share
from virtualloop._world.sleepers import Keeper, Sleepers
from virtualloop._world.steps import step_now

__all__ = ["Patches", "as_datetime", "epoch_in_ticks", "epoch_now", "in_place"]

_lock = threading.Lock()
_made: list[Substitution] = []


def _stand_ins() -> Substitution:
    """Return the stand-ins of this process; they are made when first needed, because `uuid` may have to be loaded."""
    if _made:
        return _made[0]
    with _lock:
        if not _made:

            def aside() -> AbstractContextManager[None]:
                return _made[0].aside()

            functions = [*clocks.pairs(), *entropy.pairs(), *shares.pairs(), *travel.pairs(aside)]
            _made.append(Substitution(functions, [*calendar.members(), *entropy.members(), *waits.members()]))
        return _made[0]


@contextmanager
def in_place() -> Iterator[None]:
    """Have the stand-ins in place, for many loops: each of them finds them there."""
    stand_ins = _stand_ins()
    stand_ins.hold()
    try:
        yield
    finally:
        stand_ins.release()


def epoch_now() -> int:
    """Return the present moment, to the second, in ticks since 1970."""
    return epoch_in_ticks(int(wall_here()))


class Patches:
    """The clock and the dice of one loop, while it runs.

    `epoch` is where the calendar stands now, in ticks since 1970; None leaves the clocks as they are. `number` is what
    the dice follow from; None leaves entropy as it is. `random_seed` is where the module `random` begins with a state
    of its own; None leaves that one as well.
    """

    def __init__(self, clock: Clock, *, epoch: int | None, number: int | None, random_seed: int | None) -> None:
        self._sleepers = sleepers = Sleepers(clock)
        reader = None if epoch is None else LoopReader(clock, epoch - clock.tick, sleepers, step_now)
        self._dice = None if number is None else Dice(number)
        self._uuids = Uuids()
        self._random_seed = random_seed
        self._share = Share(reader, self._dice)
        # What this thread had before, for each time that it has entered.
        self._before: list[Share | None] = []

    def enter(self, keeper: Keeper | None = None) -> None:
        """The loop begins to run in this thread; without `keeper`, something does that belongs to it."""
        if not self._before:
            _stand_ins().hold()
        self._sleepers.keeper = keeper
        before = shares.enter(self._share)
        self._before.append(before)
        if before is not self._share:
            self._exchange()

    def leave(self) -> None:
        """That is over: to be called as often as `enter`."""
        before = self._before.pop()
        try:
            if before is not self._share:
                self._exchange()
        finally:
            shares.leave(before)
            self._sleepers.keeper = None
            if not self._before:
                _stand_ins().release()

    def _exchange(self) -> None:
        self._uuids.exchange()
        if self._dice is not None and self._random_seed is not None:
            self._dice.exchange_random(self._random_seed)

    def close(self) -> None:
        """The loop has closed: nobody sleeps any longer."""
        self._sleepers.closed = True

    def at_rest(self, thread: int | None) -> bool | None:
        """Return whether a thread waits for the clock, by its ident; False if it was woken, and has not gone on yet."""
        return self._sleepers.at_rest(thread)

    def in_a_thread(self) -> Share:
        """Return the share of a thread while it runs the next job of the loop's."""
        return self._share.of_a_thread()
