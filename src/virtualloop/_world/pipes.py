"""Children that the program has started by itself, at the other ends of pipes that a loop watches.

Owns how long each was waited for. Those that the loop has started are the affair of `processes`; here are those of
`subprocess.Popen` and its kin, whose output somebody reads by `add_reader()` or `connect_read_pipe()`. While one is at
work, something is bound to come. Linux alone tells who has a pipe; elsewhere there are none of these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from virtualloop._world import system
from virtualloop._world.pace import Pace

__all__ = ["PipedChildren"]


class PipedChildren:
    """The children at other ends. `patience` is in real seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._paces: dict[str, Pace] = {}

    def heard(self) -> None:
        """Something has come through a pipe."""
        self._paces.clear()

    def hold(self, pipes: Iterable[int], known: Collection[int], passed: float, ahead: float | None) -> bool:
        """Return whether a child at work has an end of one of these pipes, `passed` real seconds after the last look.

        `known` are the children that are awaited otherwise. `ahead`: how many seconds the next timer is, or None.
        """
        if not system.AVAILABLE:
            return False
        watched = {system.pipe_at(fd) for fd in pipes} - {None}
        # Each is looked at: they keep accounts.
        return True in [
            self._one_holds(child, passed, ahead)
            for child in system.descendants(known)
            if not watched.isdisjoint(system.pipes_of(child)) and not system.is_child_asleep(int(child))
        ]

    def _one_holds(self, child: str, passed: float, ahead: float | None) -> bool:
        pace = self._paces.get(child)
        if pace is None:
            pace, passed = self._paces.setdefault(child, Pace(self._patience)), 0.0
        what = f"although process {child} is at work, and the loop watches its pipe: nothing has come"
        return pace.holds_or_tells(passed, ahead, what)
