"""Child processes that the program runs, and when they are at rest.

Owns which children are awaited, that they have ended, and whether the clock waits for one. Knows no loop and no pipe.

A child runs in real time, so the clock stands while one that somebody awaits is at work. Where nothing else could
happen any is waited for, for the patience: somebody may await it in a way that is not known here. One that sleeps until
this process writes to it, or reads from it (Linux tells), is at rest. One that is at work for longer than the patience
sets the pace (see `pace`), and is given up in the end: there is a warning, time goes on, and the child counts again
when something has come from it, or somebody else awaits it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from typing import Protocol

from virtualloop._world import system
from virtualloop._world.pace import Pace

__all__ = ["Child", "Processes"]


class Child(Protocol):
    """A child process, as whoever runs it knows it."""

    pid: int

    def awaited(self) -> Collection[object]:
        """Return who waits for its end, or for what it writes."""
        ...

    def descriptors(self) -> Collection[int]:
        """Return this process's ends of its pipes."""
        ...

    def ended(self, reap: Callable[[], int]) -> None:
        """It has ended. Its number may be another one's as soon as `reap()` has returned how."""


class _Account:
    """A child, how long it was waited for since something came from it, and who awaited it then."""

    def __init__(self, child: Child, patience: float) -> None:
        self.child = child
        self.pace = Pace(patience)
        self.awaited: Collection[object] = ()
        #: How long it was waited for although nobody is known to await it.
        self.waited_for_nobody = 0.0
        #: Whether it has ended; what it has started itself may still have its pipes.
        self.has_ended = False


class Processes:
    """The children of one loop. `patience` is in real seconds.

    `moved()` returns descriptors that were ready lately; `emptied()` is called when the last child is gone.
    """

    def __init__(
        self, *, patience: float, moved: Callable[[], set[int]], emptied: Callable[[], object] = lambda: None
    ) -> None:
        self._patience = patience
        self._emptied = emptied
        self._moved = moved
        self._accounts: dict[int, _Account] = {}

    def __bool__(self) -> bool:
        return bool(self._accounts)

    def known(self) -> dict[int, Collection[int] | None]:
        """Return the children, by their numbers: None for one that is awaited, else our ends of its pipes."""
        children = [account.child for account in self._accounts.values()]
        return {child.pid: None if child.awaited() else child.descriptors() for child in children}

    def add(self, child: Child) -> None:
        """Await a child's end."""
        self._accounts[child.pid] = _Account(child, self._patience)

    def poll(self) -> None:
        """Tell of the children that have ended."""
        for pid, account in list(self._accounts.items()):
            if not account.has_ended:
                reap = _end_of(pid)
                if reap is None:
                    continue
                account.has_ended = True
                account.child.ended(reap)
            if not account.child.descriptors():
                del self._accounts[pid]
                if not self._accounts:
                    self._emptied()

    def has_come(self) -> bool:
        """Return whether a child has ended of which nobody was told."""
        return any(not account.has_ended and _end_of(pid) is not None for pid, account in list(self._accounts.items()))

    def holds(self, passed: float, ahead: float | None) -> bool:
        """Return whether an awaited child is at work, `passed` real seconds after it was last waited for.

        `ahead`: how many seconds the next timer is, or None without one.
        """
        moved = self._moved()
        # Each is looked at: they keep accounts.
        return True in [self._one_holds(account, moved, passed, ahead) for account in self._accounts.values()]

    def _one_holds(self, account: _Account, moved: set[int], passed: float, ahead: float | None) -> bool:
        child = account.child
        awaited = child.awaited()
        if awaited != account.awaited or (moved and not moved.isdisjoint(child.descriptors())):
            account.pace.restart()
            account.awaited = awaited
        if not awaited and ahead is not None:
            return False
        if not account.has_ended and system.is_child_asleep(child.pid):
            return False
        if not awaited:
            account.waited_for_nobody += passed
            return account.waited_for_nobody < self._patience
        what = f"process {child.pid} is at work, and is awaited: it has not ended, and nothing has come from it"
        return account.pace.holds_or_tells(passed, ahead, f"although {what}")


def _end_of(pid: int) -> Callable[[], int] | None:
    """Return what tells how a child has ended, or None while it runs."""
    if sys.platform == "win32" or not hasattr(os, "waitid"):
        returncode = _reap(pid)
        return None if returncode is None else lambda: returncode
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        pass  # Somebody else has asked for it.
    else:
        # Some systems tell of one that was only stopped.
        if found is None or found.si_code == os.CLD_STOPPED:
            return None
    return lambda: _reap(pid) or 0


def _reap(pid: int) -> int | None:
    """Return how a child has ended, or None while it runs; its number may be another one's from now on."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 255  # Somebody else has asked for it, as stock asyncio says in this case.
    return None if found == 0 else os.waitstatus_to_exitcode(status)
