"""How long, in real seconds, the clock waits for a thread that does not come to rest.

Owns the account of each thread: how long it has been waited for, whether it only repeats itself, and that it was given
up. Knows nothing of loops; it is told what each look at a thread has shown.

Who can move by himself is waited for, but nobody may hold the clock forever:

====================================================  ==================  ===============================
what the thread does                                  a timer is ahead    nothing else could happen
====================================================  ==================  ===============================
parked in a lock, a queue, a future                   not at all          not at all
runs; sleeps or waits with a time limit; its process  10 times patience   10 times patience
  is at work                                          (not at all, if its time limit is later than that)
polls: goes through the same lines again and again    patience            10 times patience
waits for a descriptor, and nothing says that         patience            10 times patience
  anything is coming
sends without a pause                                 patience            10 times patience
wakes another one, which wakes it, for ever           10 times patience   10 times patience
                                                      for each thread     for each thread
====================================================  ==================  ===============================

Threads that poll, and those that wait for a descriptor, do so for as long as they live, so what they cost is paid once
a process and not once a loop: the lines are remembered. A thread that is given up counts again as soon as it is seen
somewhere else, and its account starts anew when it has parked.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

from virtualloop._folders import LIBRARY, PACKAGE
from virtualloop._frames import frames_of_others
from virtualloop._world import system
from virtualloop._world.parked import Look, State, look_at

__all__ = ["WORK_FACTOR", "Account", "is_used_up", "place_of", "take_used_up", "where_at_rest"]

#: As what a thread is seen that may be at rest; where it was seen so before, at the same place, it is.
_AT_REST = (State.PARKED, State.PERHAPS)

#: How many times its patience the loop waits for who is plainly at work: he may have a lot to do.
WORK_FACTOR = 10
#: How many sends without ever parking make a thread one that sends without a pause: more than reports of progress.
MANY_SENDS = 1000
#: How often a thread has to have run, and to be back at lines that it was seen at, to be one that polls. Whoever does
#: so less often within the patience may as well be at work, step by step.
POLLS = 10
#: A thread is watched once it was waited for this part of the patience: most are done in no time.
UNWATCHED_PART = 0.02

#: So many threads are kept in mind for whoever asks, which nobody may.
MOST_USED_UP = 1000

Stack = tuple[tuple[CodeType, int], ...]

#: Lines at which threads of this process have polled, or waited for descriptors, and how long that was waited for.
_spent: dict[Stack, float] = {}
_warned = False
#: What patience was used up on, in words, and for how long; as far as nobody has taken it.
_used_up: list[tuple[str, float]] = []


class Account:
    """What is known of one thread since it last was at rest."""

    __slots__ = (
        "_given_up",
        "_given_up_at",
        "_looks",
        "_runs",
        "_since",
        "_stacks",
        "_turns",
        "_waiting",
        "sends",
        "stirs",
        "waited",
        "waited_to_send",
    )

    def __init__(self) -> None:
        #: How often it has sent something since it last parked.
        self.sends = 0
        #: How long it has waited for its turn to send since then.
        self.waited_to_send = 0.0
        #: Whether time goes on without it because it and others, that it wakes, never are at rest together.
        self.stirs = False
        #: Where it was when it was given up.
        self._given_up_at: set[Stack] = set()
        self._reset()

    def _reset(self) -> None:
        self.waited = 0.0
        #: What it did when it was given up.
        self._given_up: State | None = None
        self._looks = self._waiting = self._runs = 0
        self._turns: object = None
        #: Where it was seen, and when last at a new place.
        self._stacks: set[Stack] = set()
        self._since = 0.0

    @property
    def given_up(self) -> bool:
        """Whether time goes on without it."""
        return self.stirs or self._given_up is not None

    @property
    def floods(self) -> bool:
        """Whether it was given up because it sends without a pause."""
        return self._given_up is not None and self.sends > MANY_SENDS

    def begin(self) -> None:
        """It begins a job: whoever goes from one to the next does not poll, though all may be at the same lines."""
        if self.waited:
            self._reset()

    def rest(self) -> None:
        """It has parked."""
        if self.waited or self.sends:
            self.sends = 0
            self.waited_to_send = 0.0
            self._given_up_at.clear()
            self._reset()

    def holds_the_clock(
        self, thread: threading.Thread, frame: FrameType, look: Look, passed: float, patience: float, *, ahead: bool
    ) -> bool:
        """Return whether to wait for it, `passed` seconds after the look before; `ahead`: whether a timer is."""
        longest = WORK_FACTOR * patience
        waits = look.state in (State.TIMED, State.OUTSIDE)
        if self._given_up is not None and (ahead or self.waited >= longest):
            if self._given_up is State.WORKING or self.sends > MANY_SENDS:
                return False  # Until it parks.
            stack = _stack_of(frame)
            if waits and (stack in self._given_up_at or stack in _spent):
                return False
            self._reset()  # It has gone on to something else.
        self.waited += passed
        watched = self.waited >= UNWATCHED_PART * patience
        if watched or _spent or self._given_up_at:
            stack = _stack_of(frame)
            known = ahead and stack in self._given_up_at
            if waits and (known or _spent.get(stack, 0.0) >= (patience if ahead else longest)):
                self._give_up(stack, look)
                return False
            if watched:
                self._watch(thread, stack, waits=waits)
        if look.left is not None and look.left > longest:
            self._give_up(_stack_of(frame), look)
            return False
        if self.waited < self._limit(look, patience, longest, ahead=ahead):
            return True
        stack = _stack_of(frame)
        self._give_up(stack, look)
        if look.state is not State.WORKING or self._polls():
            for each in self._stacks | {stack}:
                if _is_of_a_program(each):
                    _spent[each] = max(_spent.get(each, 0.0), self.waited)
        _tell(thread, stack, self.waited)
        return False

    def give_up_who_stirs(self, thread: threading.Thread, frame: FrameType | None, waited: float) -> None:
        """Time goes on without it until it and all others are at rest together; so long all were `waited` for."""
        self.stirs = True
        if frame is not None:
            _tell(thread, _stack_of(frame), waited)

    def _limit(self, look: Look, patience: float, longest: float, *, ahead: bool) -> float:
        if not ahead:
            return longest
        if look.state is State.OUTSIDE or self.sends > MANY_SENDS:
            return patience
        return patience if self._polls() and not _children_at_work() else longest

    def _polls(self) -> bool:
        """Return whether it only goes through the same lines, and waits at them."""
        if 2 * self._waiting < self._looks or self.waited < 2 * self._since:
            return False
        return self._runs >= POLLS or not system.AVAILABLE

    def _watch(self, thread: threading.Thread, stack: Stack, *, waits: bool) -> None:
        self._looks += 1
        self._waiting += waits
        turns = system.turns_of(thread.native_id)
        if turns != self._turns:
            self._turns = turns
            self._runs += 1
        if stack not in self._stacks:
            self._stacks.add(stack)
            self._since = self.waited

    def _give_up(self, stack: Stack, look: Look) -> None:
        self._given_up = look.state
        self._given_up_at |= {stack, *self._stacks}


def _children_at_work() -> bool:
    return system.has_children() and not system.is_asleep()


def _stack_of(frame: FrameType) -> Stack:
    stack = []
    at: FrameType | None = frame
    while at is not None:
        stack.append((at.f_code, at.f_lineno or 0))
        at = at.f_back
    return tuple(stack)


def _is_of_a_program(stack: Stack) -> bool:
    """Return whether a line of somebody's own stands there, so that it tells one wait from others."""
    return any(_is_own(code) for code, _ in stack)


def _is_own(code: CodeType) -> bool:
    name = code.co_filename
    if name.startswith((PACKAGE, "<frozen")):
        return False
    return not name.startswith(LIBRARY) or "site-packages" in name


def place_of(frame: FrameType) -> str:
    """Return the innermost line of a program's own."""
    return _place_in(_stack_of(frame))


def where_at_rest(
    members: Iterable[Any], jobs: Iterable[Any], waits_for_clock: Callable[[int | None], bool | None]
) -> dict[threading.Thread, str] | None:
    """Return the line at which each thread waits, for somebody of this process or for the clock; None if one may go on.

    So may one of whom it is not known that it works on one of the jobs.
    """
    frames = frames_of_others()
    found: dict[threading.Thread, str] = {}
    for thread in (member.thread for member in members):
        frame = frames.get(thread.ident or 0)
        if frame is None or not (waits_for_clock(thread.ident) or look_at(thread, frame).state in _AT_REST):
            return None
        found[thread] = place_of(frame)
    return found if all(job.pooled for job in jobs) else None


def _place_in(stack: Stack) -> str:
    code, line = next(((code, line) for code, line in stack if _is_own(code)), stack[0])
    return f"{code.co_filename}:{line}"


def is_used_up() -> bool:
    """Return whether there is anything to take."""
    return bool(_used_up)


def take_used_up() -> list[tuple[str, float]]:
    """Return without which threads time went on since this was last asked, in words, and how long it had waited."""
    taken = _used_up[:]
    del _used_up[: len(taken)]
    return taken


def _tell(thread: threading.Thread, stack: Stack, waited: float) -> None:
    """Warn, once a process, that time goes on although a thread could move by itself."""
    global _warned  # noqa: PLW0603  # once a process
    if len(_used_up) < MOST_USED_UP:
        _used_up.append((f"thread {thread.name!r} at {_place_in(stack)}", waited))
    if _warned:
        return
    _warned = True
    warnings.warn(
        f"the clock goes on although thread {thread.name!r} could move by itself, at {_place_in(stack)}. It "
        f"polls, waits for something from outside, or has too much to do: it had {waited:.1f} real seconds. End such "
        "threads before the clock may move, or set VirtualLoop(thread_patience=...). This is told once a process.",
        RuntimeWarning,
        stacklevel=2,
    )
