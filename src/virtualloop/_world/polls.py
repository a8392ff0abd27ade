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
from types import SimpleNamespace
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


class Before(SimpleNamespace):
    """What stood in the places of ours; and whether ours are there, or behind what somebody has put in front."""

    poll: Any = staticmethod(subprocess.Popen.poll)
    waitpid: Any = staticmethod(os.waitpid)
    polls_are_heard = waits_are_heard = False


_before = Before()


def _poll(self: Any) -> Any:
    """Return how a child has ended, or None while it runs."""
    returncode = _before.poll(self)
    _note(self.pid, ended=returncode is not None)
    return returncode


def _waitpid(pid: int, options: int, /) -> tuple[int, int]:
    """Wait for a child, or ask whether one has ended."""
    found: tuple[int, int] = _before.waitpid(pid, options)
    if pid > 0 and options:
        _note(pid, ended=found[0] != 0)
    return found


poll = wraps(subprocess.Popen.poll)(_poll)
waitpid = wraps(os.waitpid)(_waitpid)


def _begin() -> None:
    if not _before.polls_are_heard:
        _before.poll, subprocess.Popen.poll = subprocess.Popen.poll, poll  # type: ignore[method-assign]  # see above
        _before.polls_are_heard = True
    if not _before.waits_are_heard:
        _before.waitpid, os.waitpid = os.waitpid, waitpid
        _before.waits_are_heard = True


def _end() -> None:
    if subprocess.Popen.poll is poll:
        subprocess.Popen.poll = _before.poll  # type: ignore[method-assign]  # as it was
        _before.polls_are_heard = False
    if os.waitpid is waitpid:
        os.waitpid = _before.waitpid
        _before.waits_are_heard = False


def watch() -> None:
    """Have the loops that run know, until the last of them stops, which children their programs ask."""
    if not (_before.polls_are_heard and _before.waits_are_heard):
        world.until_last_stops(_begin, _end)
