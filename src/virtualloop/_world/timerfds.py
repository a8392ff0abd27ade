"""Timers of the system that a program watches by a descriptor (Linux's `timerfd`).

Owns when they ring. Such a timer is real, so it rings after so many real seconds; in the loop's time it is due so many
seconds after it was first seen to be set. Where nothing of the loop's comes before that, it is waited for, and the
clock stands meanwhile: what comes first on the stock loop comes first here. None is waited for longer than ten times
the patience: one that rings for ever, or later than that, is given up.
"""

from __future__ import annotations

import warnings

from virtualloop._core.clock import Clock
from virtualloop._world import system
from virtualloop._world.originals import real_time
from virtualloop._world.patience import WORK_FACTOR

__all__ = ["Timerfds"]

#: By how many seconds two looks at one setting may differ.
BETWEEN_LOOKS = 0.005


class _Setting:
    """When a timer rings: in real time, and in the loop's; and for how long it was waited for since it is watched."""

    rings = due = waited = 0.0
    is_given_up = False


class Timerfds:
    """Those that one loop watches. `patience` is in real seconds."""

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._longest = WORK_FACTOR * patience
        self._settings: dict[int, _Setting] = {}

    def add(self, fd: int) -> None:
        """Look at a descriptor, if it is one of these, as long as it is watched."""
        if "timerfd" in (system.name_of(fd) or ""):
            self._settings[fd] = _Setting()

    def discard(self, fd: int) -> None:
        """It is not watched any more."""
        self._settings.pop(fd, None)

    def holds(self, passed: float, ahead: float | None) -> bool:
        """Return whether to wait for one, `passed` real seconds after the last look.

        `ahead`: how many seconds the next timer of the loop is, or None without one.
        """
        # Each is looked at: they keep accounts.
        return True in [self._one_holds(fd, setting, passed, ahead) for fd, setting in self._settings.items()]

    def _one_holds(self, fd: int, setting: _Setting, passed: float, ahead: float | None) -> bool:
        left = system.rings_in(fd)
        if left is None or setting.is_given_up:
            return False
        real, now = real_time.monotonic(), self._clock.seconds
        if abs(real + left - setting.rings) > BETWEEN_LOOKS:
            # One that was set as the one before rang goes on from there, or nothing would ever come after the two.
            begins = max(setting.due, now) if 0 < setting.rings <= real else now
            setting.due = begins + left
        setting.rings = real + left
        if ahead is not None and now + ahead < setting.due:
            return False
        setting.waited += passed
        if setting.waited + left <= self._longest:
            return True
        setting.is_given_up = True
        warnings.warn(
            f"the clock has gone on after {setting.waited:.1f} real seconds although descriptor {fd}, a timerfd that "
            f"the loop watches, rings in {left:.1f} more. Set VirtualLoop(thread_patience=...) to wait longer.",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
