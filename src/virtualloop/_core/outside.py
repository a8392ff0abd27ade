"""What the scheduler asks of others while it drives.

Owns three protocols: of whoever it drives for, of what looks at each step, and of what is looked at before each turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Instrument", "Outside", "Run", "Source"]

Run = Callable[[Any], None]


class Outside(Protocol):
    """What the scheduler asks of whoever it drives for."""

    @property
    def crowd(self) -> Callable[[], int]:
        """What returns how many threads there are beside the main one; called at each jump, and another after one."""
        ...

    def stirs(self) -> bool:
        """Return whether there may be anything to collect or to wait for; asked at each jump where there is a crowd."""
        ...

    def collect(self, ahead: int | None, beside: int = 0) -> bool:
        """Wait until whoever is at work outside is at rest, and queue what was sent; return whether to look again.

        `ahead` is the tick of what happens next without that; None if it would be nothing at all. So many entries of
        the queue, `beside`, are there already.
        """
        ...

    def wait(self) -> bool:
        """Wait for whoever may still send something; return False if there is nobody."""
        ...

    def take_turn(self) -> None:
        """Wait until this loop may run, where others share its world; asked between the bodies of a drive."""
        ...

    def failed(self, exc: BaseException, entry: Any) -> None:
        """Report what an entry raised."""
        ...

    def deadlock(self) -> BaseException | None:
        """Return what to raise where nothing can run any more; None if the loop is to look again."""
        ...

    def livelock(self, turns: int) -> BaseException | None:
        """Return what to raise after so many turns at one instant; None if that is no spin any more."""
        ...

    def restless(self, instants: int) -> BaseException:
        """Return what to raise where run_until_idle() has passed so many instants."""
        ...

    def hang(self) -> BaseException | None:
        """Return what to raise where the drive waits in vain, beside what only repeats itself; else None."""
        ...

    def endless(self, jumps: int) -> BaseException | None:
        """Return what to raise where the clock has jumped as often as it may; None to go on."""
        ...


class Instrument(Protocol):
    """What looks at each step of a run.

    One that has a method `begin_turn(*, idle)` is told when what arrives in a turn is queued, and whether there was
    nothing else to do. One that has a method `end_turn()` is told when a turn is over in which it was added, before the
    clock moves, unless the drive ends with it. One that has a method `turn(take, ready)` is asked by it, where it is
    the only one, for what runs all of a turn: `take` takes out the entry that runs next, `ready` is as long as that.
    """

    def around(self, run: Run) -> Run:
        """Return what runs an entry in place of `run`, which does it."""
        ...


class Source(Protocol):
    """What is looked at at the start of each turn, without waiting, while it is attached: descriptors are."""

    def poll(self) -> None:
        """Queue what has arrived."""
        ...
