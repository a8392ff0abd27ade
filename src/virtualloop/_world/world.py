"""Who belongs to a world: which threads, and which loops.

Owns the membership. Knows nothing of callbacks and clocks, and judges nobody.

A world is the loop, the threads started by code that runs in it (and by those), the loops that run in those threads,
and, where the loop itself runs in a thread, the thread that started that one: a synchronous test with a portal. Who
starts a thread is known only where that happens, so while a VirtualLoop runs, what `threading` starts threads by notes
it. And once there are threads, `Thread.join` tells the loop in whose thread it is called: what a thread that was joined
has sent is there at that moment, as on a stock loop. Both are given back when the last loop stops.

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

import _thread
import os
import sys
import threading
from _thread import get_ident
from collections.abc import Callable, Sized
from itertools import count
from types import FrameType, SimpleNamespace
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet, ref

from virtualloop._core.clock import Clock
from virtualloop._world.patience import Account
from virtualloop._world.shares import ORDINARY, is_ordinary, ordinary, start_thread

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
    "running",
    "running_here",
    "running_in",
    "runs_a_loop",
    "settle_in",
    "started_in",
    "threads_of_loops",
    "until_last_stops",
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

    def child_asked(self, child: int, *, ended: bool) -> None:
        """A step of it has asked a child process whether it has ended."""
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
#: As others know it: empty where no loop runs.
running: Sized = _running
#: What is to be called when the last of them stops, each with what was called when that was agreed.
_lent: list[tuple[Callable[[], None], Callable[[], None]]] = []
_lock = threading.RLock()
_main = threading.main_thread().ident


# There is no lock around the next two, since each drive would pay for it: who comes replaces, and who leaves as the
# last looks again whether anybody has come meanwhile.


def enter(loop: Driven, *, has_threads: bool) -> bool:
    """`loop` begins to run in this thread. Return whether it may have to share its world."""
    ident = get_ident()
    loops = _running.get(ident)
    if loops is None:
        _running[ident] = [loop]
    else:
        loops.append(loop)
    there = _threading[STARTS]
    if there is ORDINARY and _before.starts is None:
        _threading[STARTS] = start
    elif there is not start:
        _hook_start()
    # Whom nobody has started nobody joins.
    if has_threads or _thread._count():
        _hook_join()
    return ident != _main or bool(_homes.data)  # type: ignore[attr-defined]  # not in the stub


def leave() -> None:
    """The loop that has begun last in this thread stops."""
    ident = get_ident()
    loops = _running[ident]
    loops.pop()
    if not loops:
        del _running[ident]
        if not _running:
            _unhook()
            lent = _give_back() if _lent else ()
            if _running:
                _hook_start()
                _hook_join()
                for begin, end in lent:
                    until_last_stops(begin, end)


def until_last_stops(begin: Callable[[], None], end: Callable[[], None]) -> None:
    """Call begin() now, and end() when the last loop stops, unless that is agreed already."""
    if (begin, end) not in _lent:
        _lent.append((begin, end))
        begin()


def _give_back() -> list[tuple[Callable[[], None], Callable[[], None]]]:
    lent = _lent.copy()
    _lent.clear()
    for _, end in lent:
        end()
    return lent


def running_here() -> Driven | None:
    """Return the loop that runs in this thread, the innermost if there are several."""
    loops = _running.get(get_ident())
    return loops[-1] if loops else None


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
    return [loop for _, loop in _innermost() if loop.threads.world is world]


def _innermost() -> list[tuple[int, Driven]]:
    """Return the thread and the loop that runs in it, of each; one that just stops is left out."""
    return [(ident, loop) for ident, loops in list(_running.items()) for loop in loops[-1:]]


def driven(threads: Threads) -> tuple[Driven, threading.Thread] | None:
    """Return the loop that these are the threads of, if it runs, and the thread that it runs in."""
    idents = {ident: loop for ident, loop in _innermost() if loop.threads is threads}
    return next(((idents[t.ident], t) for t in threading.enumerate() if t.ident in idents), None)


def threads_of_loops(world: World) -> list[threading.Thread]:
    """Return the threads in which the loops of a world run."""
    idents = {ident for ident, loop in _innermost() if loop.threads.world is world}
    return [thread for thread in threading.enumerate() if thread.ident in idents]


def at_home_elsewhere(world: World) -> set[threading.Thread]:
    """Return the threads that belong to other worlds."""
    elsewhere = {thread for thread, home in list(_homes.items()) if home() is not world}
    idents = {ident for ident, loop in _innermost() if loop.threads.world is not world}
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


# --- what is replaced while a loop runs -------------------------------------------------------------------------------

#: What `threading` starts threads by: a name among its globals, because a class whose method is replaced forgets what
#: Python has learnt of it, at each drive. It is another one since Python 3.13.
STARTS = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
_threading: dict[str, Any] = threading.__dict__
_stock_join = threading.Thread.join


class Before(SimpleNamespace):
    """What stood where ours stand while a loop runs."""

    #: What somebody else had put in the place of what starts threads; and whether somebody has put his own in front of
    #: ours, and so keeps it there: where no loop runs it does nothing.
    starts: Callable[..., Any] | None = None
    is_behind = False
    #: `Thread.join`, as long as ours is in use, or kept as above.
    join: Callable[..., None] | None = None


_before = Before()


def _hook_start() -> None:
    there = _threading[STARTS]
    # Ours is not behind either of the first two.
    if is_ordinary(there) or there is _before.starts or not _before.is_behind:
        _before.starts = None if is_ordinary(there) else there
        _before.is_behind = False
        _threading[STARTS] = start


def _hook_join() -> None:
    with _lock:
        if _before.join is None:
            _before.join, threading.Thread.join = threading.Thread.join, join  # type: ignore[method-assign]  # see above


def _unhook() -> None:
    if _threading[STARTS] is start:
        _threading[STARTS] = _before.starts or ordinary()
    else:
        _before.is_behind = True
    if _before.join is not None:
        with _lock:
            if _before.join is not None and threading.Thread.join is join:
                threading.Thread.join, _before.join = _before.join, None  # type: ignore[method-assign]  # as it was


def start(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Start a thread; note to which world it belongs."""
    thread = getattr(function, "__self__", None)  # its method, if `threading` calls
    if not _running or not isinstance(thread, threading.Thread):
        return (_before.starts or start_thread)(function, *args, **kwargs)
    _hook_join()
    if not _running:  # the last has stopped meanwhile
        _unhook()
    world = home_of(threading.current_thread())
    if world is None:
        _strangers.add(thread)
        return (_before.starts or start_thread)(function, *args, **kwargs)
    world.adopt(thread)
    settle_in(thread, world)
    loops = _running.get(get_ident())
    if loops:
        loops[-1].thread_started()
    try:
        return (_before.starts or start_thread)(function, *args, **kwargs)
    except BaseException:
        if thread.ident is None:
            world.drop(thread)
        raise


#: Joins within a limit by the clock of a world; returns whether that is over. Who has such clocks puts it here.
join_within: Callable[[threading.Thread, float, FrameType], bool] | None = None


def join(self: threading.Thread, timeout: float | None = None) -> None:
    """Thread.join(), which tells the loop in whose step it is called that the thread has ended."""
    if timeout is None or join_within is None or not join_within(self, timeout, sys._getframe(1)):
        (_before.join or _stock_join)(self, timeout)
    loops = _running.get(get_ident())
    if loops and not self.is_alive():
        loops[-1].take_from(self)
