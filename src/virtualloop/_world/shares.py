"""What a thread has of its world: whose clock it reads, and which dice it throws.

Owns that table, and how threads come into it: the thread in which a loop runs, for as long as it runs; a thread that
runs a job of the loop's, for as long as the job takes; and what any of these starts, for as long as it lives. Knows
nothing of clocks and dice; a share carries them.
"""

from __future__ import annotations

import _thread
import functools
from _thread import get_ident
from collections.abc import Callable
from types import MethodType
from typing import Any

from virtualloop._world.originals import Originals

__all__ = [
    "ORDINARY",
    "Share",
    "at_end",
    "enter",
    "is_ordinary",
    "leave",
    "not_at_end",
    "ordinary",
    "pairs",
    "share_here",
    "share_of",
    "start_thread",
]


class Share:
    """What a thread reads the time from, and what it draws from; None for what is real."""

    __slots__ = ("dice", "reader")

    def __init__(self, reader: Any, dice: Any) -> None:
        # A `clocks.Reader` and an `entropy.Dice`, which lie above.
        self.reader = reader
        self.dice = dice

    def of_a_thread(self) -> Share:
        """Return the share of a thread that this one starts, or hands a job to."""
        return Share(
            None if self.reader is None else self.reader.of_a_thread(),
            None if self.dice is None else self.dice.of_a_thread(),
        )

    def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function in a thread that has this share until it returns."""
        before = enter(self)
        try:
            return function(*args, **kwargs)
        finally:
            leave(before)
            if before is None and _at_end:
                for call in _at_end.pop(get_ident(), ()):
                    call()


_shares: dict[int, Share] = {}
#: Answers which share a thread has, by its ident; None for those of nobody's world.
share_of = _shares.get
#: What is called when a thread is nobody's any more, by its ident.
_at_end: dict[int, list[Callable[[], None]]] = {}


def at_end(thread: int, call: Callable[[], None]) -> bool:
    """Have `call` called when a thread is nobody's any more, by its ident; return whether it is somebody's now."""
    _at_end.setdefault(thread, []).append(call)
    if thread in _shares:
        return True
    not_at_end(thread, call)
    return False


def not_at_end(thread: int, call: Callable[[], None]) -> None:
    """Call that off."""
    calls = _at_end.get(thread, [])
    if call in calls:
        calls.remove(call)
    if not calls:
        _at_end.pop(thread, None)


def share_here() -> Share | None:
    """Return which share this thread has."""
    return share_of(get_ident())


def enter(share: Share) -> Share | None:
    """Give this thread that share; return what `leave` has to be given."""
    thread = get_ident()
    before = _shares.get(thread)
    _shares[thread] = share
    return before


def leave(before: Share | None) -> None:
    """Give this thread what it had before `enter`."""
    if before is None:
        _shares.pop(get_ident(), None)
    else:
        _shares[get_ident()] = before


class StandIns:
    """The functions that start a thread: one that a world's thread starts belongs to that world."""

    def __reduce__(self) -> Any:
        # What is pickled is the function itself, by its name.
        return __import__, ("_thread",)

    def start_new_thread(self, function: Any, args: Any, /, *kwargs: Any) -> Any:
        """Start a thread that runs the function."""
        return _real.start_new_thread(_in_world(function), args, *kwargs)

    def start_joinable_thread(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Start a thread that runs the function; since Python 3.13."""
        return _real.start_joinable_thread(_in_world(function), *args, **kwargs)


NAMES = ("start_new_thread", "start_joinable_thread")
_real: Any = Originals(_thread, NAMES)
_stand_ins = StandIns()


def _in_world(function: Any) -> Any:
    share = share_of(get_ident())
    if share is None or not callable(function):
        return function
    return functools.partial(share.of_a_thread().run, function)


#: What `threading` starts threads by.
_STARTS = NAMES[-1] if hasattr(_thread, NAMES[-1]) else NAMES[0]
ORDINARY: Any = getattr(_real, _STARTS)
_thread_names = vars(_thread)


def start_thread(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Start a thread by what `threading` starts threads by; one that a world's thread starts belongs to that world."""
    return ORDINARY(_in_world(function), *args, **kwargs)


def is_ordinary(function: object) -> bool:
    """Return whether that is what `threading` starts threads by, or what stands in for it."""
    return function is ORDINARY or getattr(function, "__self__", None) is _stand_ins


def ordinary() -> Any:
    """Return that function, or what stands in for it if that is in place."""
    there = _thread_names[_STARTS]
    return there if there is ORDINARY or is_ordinary(there) else ORDINARY


def pairs() -> list[tuple[object, object]]:
    """Return the functions, each with its stand-in."""
    found: list[tuple[object, object]] = []
    for name in vars(_real):
        stand_in = vars(StandIns)[name]
        stand_in.__module__, stand_in.__qualname__ = "_thread", name
        found.append((getattr(_real, name), MethodType(stand_in, _stand_ins)))
    return found
