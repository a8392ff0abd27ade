"""Who belongs to a world: which threads, and which loops.

Owns the membership. Knows nothing of callbacks and clocks, and judges nobody.

A world is the loop, the threads started by code that runs in it (and by those), the loops that run in those threads,
and, where the loop itself runs in a thread, the thread that started that one: a synchronous test with a portal. Who
starts a thread is known only where that happens, so while a VirtualLoop runs `Thread.start` notes it, and `Thread.join`
tells the loop in whose thread it is called: what a thread that was joined has sent is there at that moment, as on a
stock loop. Both methods are given back when the last loop stops.

Three questions are asked about a thread, and have three answers:

=========================  ========================  ==========================  ==========================
the thread                 has the world's clocks    is waited for before the    may run now
                           (`home_of`)                clock moves (`members`)     (`turn`)
=========================  ========================  ==========================  ==========================
runs a loop of the world   yes                       while it is in a step       when it has the turn
was started in the world   yes                       yes; in a wait with a time  always
                                                     limit until time is there
has started the loop's     yes                       yes; in a sleep as well     always
  thread (a parent)                                  until time is there
runs a job, or has sent    no                        yes                         always
  something to the loop
any other                  no                        no; before a deadlock is    always
                                                     reported, once
=========================  ========================  ==========================  ==========================
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sized
from itertools import count
from types import FrameType
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet, ref

from virtualloop._core.clock import Clock
from virtualloop._world.patience import Account

__all__ = [
    "Driven",
    "Member",
    "World",
    "at_home_elsewhere",
    "driven",
    "enter",
    "exclusively",
    "home_of",
    "is_homeless",
    "leave",
    "move_out",
    "running_in",
    "runs_a_loop",
    "settle_in",
    "started_in",
    "threads_of_loops",
]


_T = TypeVar("_T")


class Driven(Protocol):
    """A loop that runs, as far as its world is concerned."""

    @property
    def threads(self) -> Threads:
        """What other threads do for it."""
        ...

    @property
    def clock(self) -> Clock:
        """Its clock."""
        ...

    @property
    def ready(self) -> Sized:
        """What is ready to run."""
        ...

    def interrupt(self) -> None:
        """Have it look whose turn it is, at the end of its present turn; from any thread."""
        ...

    def readable(self) -> bool:
        """Return whether something has come from outside that it has not taken; from any thread, while it waits."""
        ...

    def holds(self, passed: float, ahead: int | None) -> bool:
        """Return whether something is bound to come to it from outside; from any thread, while it waits.

        `passed` are the real seconds since this was asked last; `ahead` is when something happens next, in its ticks.
        """
        ...

    def thread_started(self) -> None:
        """A step of it starts a thread."""
        ...

    def take_from(self, thread: threading.Thread) -> None:
        """Queue what a thread has sent: a step of it waits for that one, or has seen it end."""
        ...


class Threads(Protocol):
    """The threads of one loop, as far as its world is concerned."""

    world: World
    seat: Any

    def sit_down(self, loop: Driven, thread: threading.Thread) -> None:
        """Take a place in the world."""
        ...


class Member:
    """A thread of a world. Members are numbered in the order in which they were started."""

    __slots__ = ("account", "called_back", "mark", "number", "parent", "sending", "thread", "until")

    def __init__(
        self, thread: threading.Thread, number: int, *, parent: bool = False, account: Account | None = None
    ) -> None:
        self.thread = thread
        self.number = number
        #: Whether it started the thread that a loop runs in.
        self.parent = parent
        self.account = account or Account()
        #: Whether it has ever sent something to a loop of the world; and whether it waits to send right now.
        self.called_back = False
        self.sending = False
        #: In a wait with a time limit: which one it is, and up to which tick of the world time may pass meanwhile.
        self.mark: object = None
        self.until = 0


class World:
    """A world with its members, and its loops that run."""

    def __init__(self, *, apart: bool) -> None:
        self.lock = threading.RLock()  # a signal handler may send, too
        self.members: dict[threading.Thread, Member] = {}
        #: Its loops that run, by the order in which they began; whose turn it is; and what its clock shows, in ticks.
        self.seats: list[Any] = []
        self.turn: Any = None
        self.now = 0
        #: Whether no loop joins it, and no thread, but those that were started in it: an exploration's.
        self.apart = apart
        self._numbers = count()

    def number(self) -> int:
        """Return the next number: of a thread that is started, or a job that is submitted."""
        return next(self._numbers)

    def adopt(self, thread: threading.Thread, *, parent: bool = False) -> Member:
        """Make a thread a member, unless it is one."""
        with self.lock:
            member = self.members.get(thread)
            if member is None:
                member = self.members[thread] = Member(thread, self.number(), parent=parent)
        return member

    def drop(self, thread: threading.Thread) -> None:
        """Forget a thread that has ended, or never began."""
        self.members.pop(thread, None)


#: Which world a thread was started in; for a parent, while the loop runs whose thread it has started.
#: Weakly: a world knows its threads, and would keep both alive.
_homes: WeakKeyDictionary[threading.Thread, ref[World]] = WeakKeyDictionary()
#: Threads that were started by one that belongs to no world, while a loop ran.
_strangers: WeakSet[threading.Thread] = WeakSet()
#: The loops that run, by the thread that each runs in, the innermost last.
_running: dict[int, list[Driven]] = {}
_lock = threading.RLock()
_main = threading.main_thread().ident


def enter(loop: Driven) -> bool:
    """`loop` begins to run in this thread. Return whether it may have to share its world."""
    ident = threading.get_ident()
    with _lock:
        if not _running:
            _hook()
        _running.setdefault(ident, []).append(loop)
    return ident != _main or len(_homes) > 0


def leave() -> None:
    """The loop that has begun last in this thread stops."""
    ident = threading.get_ident()
    with _lock:
        loops = _running[ident]
        loops.pop()
        if not loops:
            del _running[ident]
            if not _running:
                _unhook()


def exclusively(make: Callable[[], _T]) -> _T:
    """Return make(), which no other thread calls at the same time."""
    with _lock:
        return make()


def home_of(thread: threading.Thread) -> World | None:
    """Return the world that a thread was started in, or that the loop belongs to that runs in it."""
    loops = _running.get(thread.ident or 0)
    if loops:
        return loops[-1].threads.world
    return started_in(thread)


def runs_a_loop(thread: threading.Thread) -> bool:
    """Return whether a loop runs in a thread."""
    return thread.ident in _running


def started_in(thread: threading.Thread) -> World | None:
    """Return the world that a thread was started in, whatever runs in it now."""
    home = _homes.get(thread)
    return None if home is None else home()


def is_homeless(thread: threading.Thread) -> bool:
    """Return whether nobody knows who has started a thread: it was started while no loop ran."""
    return thread not in _homes and thread not in _strangers


def settle_in(thread: threading.Thread, world: World) -> None:
    """Make a world the home of a thread."""
    _homes[thread] = ref(world)


def move_out(thread: threading.Thread) -> None:
    """Forget which world a thread belongs to."""
    _homes.pop(thread, None)


def running_in(world: World) -> list[Driven]:
    """Return the loops of a world that run, those that another one has started within its own step left out."""
    with _lock:
        innermost = [loops[-1] for loops in _running.values()]
    return [loop for loop in innermost if loop.threads.world is world]


def driven(threads: Threads) -> tuple[Driven, threading.Thread] | None:
    """Return the loop that these are the threads of, if it runs, and the thread that it runs in."""
    with _lock:
        idents = {ident: loops[-1] for ident, loops in _running.items() if loops[-1].threads is threads}
    return next(((idents[t.ident], t) for t in threading.enumerate() if t.ident in idents), None)


def threads_of_loops(world: World) -> list[threading.Thread]:
    """Return the threads in which the loops of a world run."""
    with _lock:
        idents = {ident for ident, loops in _running.items() if loops[-1].threads.world is world}
    return [thread for thread in threading.enumerate() if thread.ident in idents]


def at_home_elsewhere(world: World) -> set[threading.Thread]:
    """Return the threads that belong to other worlds."""
    elsewhere = {thread for thread, home in list(_homes.items()) if home() is not world}
    with _lock:
        idents = {ident for ident, loops in _running.items() if loops[-1].threads.world is not world}
    return elsewhere | {thread for thread in threading.enumerate() if thread.ident in idents}


def _forget() -> None:
    """In a forked process, forget all threads: there is only the one that runs this."""
    global _lock, _main  # noqa: PLW0603  # whoever held it is not here to release it
    _lock = threading.RLock()
    _main = threading.get_ident()
    for register in (_homes, _strangers, _running):
        register.clear()
    _unhook()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# --- the two methods that are replaced while a loop runs --------------------------------------------------------------

_start = threading.Thread.start
_join = threading.Thread.join
#: Whether ours are in use. Somebody may put his own in front, and so keep them there: where no loop runs they do
#: nothing.
_hooked = {"start": False, "join": False}


def _hook() -> None:
    global _start, _join
    if not _hooked["start"]:
        _start, threading.Thread.start = threading.Thread.start, start  # type: ignore[method-assign]  # see above
    if not _hooked["join"]:
        _join, threading.Thread.join = threading.Thread.join, join  # type: ignore[method-assign]  # see above
    _hooked["start"] = _hooked["join"] = True


def _unhook() -> None:
    if threading.Thread.start is start:
        threading.Thread.start = _start  # type: ignore[method-assign]  # as it was
        _hooked["start"] = False
    if threading.Thread.join is join:
        threading.Thread.join = _join  # type: ignore[method-assign]  # as it was
        _hooked["join"] = False


def start(self: threading.Thread) -> None:
    """Thread.start(), which notes to which world the new thread belongs."""
    world = home_of(threading.current_thread()) if _running else None
    if world is None:
        if _running:
            _strangers.add(self)
        return _start(self)
    world.adopt(self)
    settle_in(self, world)
    loops = _running.get(threading.get_ident())
    if loops:
        loops[-1].thread_started()
    try:
        return _start(self)
    except BaseException:
        if self.ident is None:
            world.drop(self)
        raise


#: Joins within a limit by the clock of a world; returns whether that is over. Who has such clocks puts it here.
join_within: Callable[[threading.Thread, float, FrameType], bool] | None = None


def join(self: threading.Thread, timeout: float | None = None) -> None:
    """Thread.join(), which tells the loop in whose step it is called that the thread has ended."""
    if timeout is None or join_within is None or not join_within(self, timeout, sys._getframe(1)):
        _join(self, timeout)
    loops = _running.get(threading.get_ident())
    if loops and not self.is_alive():
        loops[-1].take_from(self)
