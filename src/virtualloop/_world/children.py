"""Children at work of whom a loop may hear in another way than by awaiting them.

Owns how long each was waited for. Those that somebody awaits are the affair of `processes`; here are those of
`subprocess.Popen`, `multiprocessing` and their kin: one that has the other end of what the loop watches, or whose end
is told by a descriptor, one that the program asks whether it has ended (`polls`), and any where the program handles the
signals that children send, at their end or before, or watches what anybody may connect to. While one is at work,
something is bound to come. Linux alone tells; elsewhere there are none of these.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import import_module
from typing import Any

from virtualloop._world import system
from virtualloop._world.ends import Ends, other_ends
from virtualloop._world.pace import Pace

__all__ = ["Children", "signals_are_heard"]

#: Those that processes send each other. The others come from people and from supervisors.
_SIGNALS = [getattr(signal, name) for name in ("SIGCHLD", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
#: In C: what `signal` has around it makes enums of numbers, and this is asked in each drive.
_handler_of: Callable[[int], Any] = import_module("_signal").getsignal
#: What was given up in this process of those that only may send or connect: most of these are services, and are at work
#: for as long as they live. So each costs its patience once a process, and not once a loop.
_given_up: set[object] = set()


def signals_are_heard() -> bool:
    """Return whether the program handles a signal that children send."""
    for number in _SIGNALS:  # noqa: SIM110  # asked in each drive, and any() takes three times as long
        if callable(_handler_of(number)):
            return True
    return False


class Children:
    """The children that one loop may hear of. `patience` is in real seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._paces: dict[str, Pace] = {}
        # Those that were found dead: what they have sent last may still be on its way at that look.
        self._dead: set[str] = set()

    def heard(self) -> None:
        """Something has come from outside."""
        self._paces.clear()

    def hold(
        self,
        watched: Iterable[int],
        known: Mapping[int, Collection[int] | None],
        passed: float,
        ahead: float | None,
        *,
        polled: Collection[int] = (),
    ) -> bool:
        """Return whether to wait for one of them, `passed` real seconds after the last look.

        `known` are the children of the loop: None for one that is awaited, else the descriptors by which the loop is
        connected to it, which nobody waits for. `ahead`: how many seconds the next timer is, or None. `polled` are
        those that the program asks whether they have ended.
        """
        if not system.AVAILABLE:
            return False
        children = [child for child in system.children() if known.get(int(child), ()) is not None]
        if not children:
            return False
        self._dead.intersection_update(children)
        watched = set(watched)
        signals = signals_are_heard()
        held = False
        for child in children:
            ends = other_ends(watched.difference(known.get(int(child)) or ()))
            # Each is looked at: they keep accounts.
            held |= self._one_holds(child, ends, passed, ahead, told=signals or int(child) in polled)
        return held

    def _one_holds(self, child: str, ends: Ends, passed: float, ahead: float | None, *, told: bool) -> bool:
        """Return whether to wait for a child of this process, or for one of its own.

        `told`: whether the program gets to know of it by a signal, or by asking.
        """
        if not (ends.names or ends.processes or ends.anybody or told):
            return False
        if system.is_dead(child):
            fresh = child not in self._dead
            self._dead.add(child)
            return fresh
        if ends.anybody or told:
            birth = system.birth_of(child)
            if birth not in _given_up and not system.is_child_asleep(int(child)):
                held, given_up = self._is_waited_for(child, passed, ahead)
                if given_up:
                    _given_up.add(birth)
                return held
        # Each is looked at, again.
        return True in [
            self._is_waited_for(each, passed, ahead)[0]
            for each in (child, *system.descendants(child))
            if ends.are_had_by(each) and not system.is_child_asleep(int(each))
        ]

    def _is_waited_for(self, child: str, passed: float, ahead: float | None) -> tuple[bool, bool]:
        """Return whether to wait for one at work, and whether it is given up."""
        pace = self._paces.get(child)
        if pace is None:
            pace, passed = self._paces.setdefault(child, Pace(self._patience)), 0.0
        what = f"although process {child} is at work, and the loop may hear of it by a descriptor, a signal or a poll"
        return pace.holds_or_tells(passed, ahead, f"{what}: nothing has come"), pace.is_given_up
