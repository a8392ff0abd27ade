"""Children that a program asks, again and again, whether they have ended.

Owns who asks whom, and what stands in for the two functions by which that is asked: the `poll()` of `subprocess.Popen`,
and `os.waitpid`, by which `multiprocessing` asks. They are in place from the first jump of a clock on, since before it
nobody has waited, until the last loop stops. Knows nothing of processes; whether one is at work is for others to see.

A child that was asked once may be a service that somebody looks after. One that is asked at one moment of the loop's
time and again at a later one, or without end at the same, is waited for.
"""

from __future__ import annotations

import os
import subprocess
from functools import wraps
from typing import Any

from virtualloop._core.clock import Clock
from virtualloop._world import world

__all__ = ["Polls", "is_running", "watch"]

#: So often asked at one moment, a child is waited for as well: by a program that gives way and asks again.
MANY = 100


class Polls:
    """The children that the program of one loop asks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By its number: when it was asked last, how often at that moment, and whether at another one before.
        self._asked: dict[int, tuple[int, int, bool]] = {}

    def asked(self, child: int, *, ended: bool) -> None:
        """The program has asked for a child, which has ended or has not."""
        if ended:
            self._asked.pop(child, None)
            return
        now = self._clock.tick
        tick, times, before = self._asked.get(child, (now, 0, False))
        self._asked[child] = (now, times + 1, before) if tick == now else (now, 1, True)

    def now(self) -> set[int]:
        """Return the children whose end is waited for at this moment."""
        tick = self._clock.tick
        return {child for child, (at, times, before) in self._asked.items() if at == tick and (before or times >= MANY)}


def is_running(child: int) -> None:
    """The program, in a step of a loop, has asked for a child and was told that it runs."""
    _note(child, ended=False)


def _note(child: int, *, ended: bool) -> None:
    loop = world.running_here()
    if loop is not None:
        loop.child_asked(child, ended=ended)


_stock_poll, _stock_waitpid = subprocess.Popen.poll, os.waitpid
#: What stood in the places of ours, by name, while ours are there, or behind what somebody has put in front.
_before: dict[str, Any] = {}


def _poll(self: Any) -> Any:
    """Return how a child has ended, or None while it runs."""
    returncode = _before.get("poll", _stock_poll)(self)
    _note(self.pid, ended=returncode is not None)
    return returncode


def _waitpid(pid: int, options: int, /) -> tuple[int, int]:
    """Wait for a child, or ask whether one has ended."""
    found: tuple[int, int] = _before.get("waitpid", _stock_waitpid)(pid, options)
    if pid > 0 and options:
        _note(pid, ended=found[0] != 0)
    return found


poll = wraps(subprocess.Popen.poll)(_poll)
waitpid = wraps(os.waitpid)(_waitpid)


# By their dictionaries: what Python learns of an attribute is wrong again a moment later, and to learn takes long.
_of_popen: Any = vars(subprocess.Popen)
_of_os: Any = vars(os)


def _begin() -> None:
    if "poll" not in _before:
        _before["poll"] = _of_popen["poll"]
        setattr(subprocess.Popen, "poll", poll)  # noqa: B010  # see above
    if "waitpid" not in _before:
        _before["waitpid"] = _of_os["waitpid"]
        _of_os["waitpid"] = waitpid


def _end() -> None:
    if _of_popen["poll"] is poll:
        setattr(subprocess.Popen, "poll", _before.pop("poll"))  # noqa: B010  # see above
    if _of_os["waitpid"] is waitpid:
        _of_os["waitpid"] = _before.pop("waitpid")


def watch() -> None:
    """Have the loops that run know, until the last of them stops, which children their programs ask."""
    if len(_before) < 2:
        world.until_last_stops(_begin, _end)
