"""Real file descriptors that a program watches: pipes, terminals, sockets that it made itself.

Owns which descriptors are watched, by whom, and the look at them. Knows no loop: what is ready is handed to `queue`, in
the order in which the system reports it: as it became ready, on Linux.

They are looked at at the start of each turn, without waiting, as stock asyncio calls select(); what can be read comes
before the timers that are due in that turn. They are waited for only while somebody at the other end is known to be at
work, as a holder says, while the system holds back what was written to one of them, and where one is a timer.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import stat
from collections.abc import Callable, Collection, Mapping, Sized
from typing import Any, Protocol

from virtualloop._core.clock import Clock
from virtualloop._world.children import Children
from virtualloop._world.natives import at_work
from virtualloop._world.originals import real_time
from virtualloop._world.polls import Polls
from virtualloop._world.segments import holds_back, is_connection
from virtualloop._world.system import opened
from virtualloop._world.timerfds import Timerfds

__all__ = ["READ", "WRITE", "Descriptors", "Holder", "Watcher", "number_of"]

#: The two directions.
READ, WRITE = 0, 1
_NOBODY = (None, None)
_EVENTS = (selectors.EVENT_READ, selectors.EVENT_WRITE)

#: Real seconds between two looks at those who hold the clock: short at first, because most are done soon, then longer.
FIRST_PAUSE = 0.0005
LONGEST_PAUSE = 0.01
#: How long to wait for a terminal before the clock moves, in real seconds; and for anything that is watched where
#: nothing else could happen.
TERMINAL_PAUSE = 0.001
LAST_PAUSE = 0.25
#: How long to wait for threads that are none of Python's, in real seconds: one that computes is not waited for longer.
LONGEST_NATIVES = 2.0
#: How long to wait for what the system holds back of what was written, in real seconds: that is mostly 40 ms.
LONGEST_HELD_BACK = 0.5


class Watcher(Protocol):
    """A callback that waits for a descriptor; asyncio's handles are such."""

    def cancel(self) -> None:
        """Never run again."""

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        ...


class Holder(Protocol):
    """Who may hold the clock, because something is bound to come from him."""

    def poll(self) -> None:
        """Queue what can be had without waiting."""

    def has_come(self) -> bool:
        """Return whether there is anything to queue; from any thread, while the loop waits."""
        ...

    def holds(self, passed: float, ahead: float | None) -> bool:
        """Return whether to wait for him, `passed` real seconds after the last look, 0 at the first.

        `ahead`: how many seconds the next timer is, or None without one.
        """
        ...


class Descriptors:
    """The watched descriptors of one loop; `queue(watcher)` lets a callback run in this turn.

    `patience` is in real seconds; `clock` is the loop's.
    """

    def __init__(self, queue: Callable[[Any], object], *, patience: float, clock: Clock) -> None:
        self._queue = queue
        self._timerfds = Timerfds(clock, patience)
        # Who may have their other ends.
        self._children = Children(patience)
        #: Returns the children that the loop has started; see `Children.hold`.
        self.loops_children: Callable[[], Mapping[int, Collection[int] | None]] = dict
        #: Which children the program asks whether they have ended, as soon as it has asked for any.
        self.polls: Polls | None = None
        self._selector = selectors.DefaultSelector()
        # By descriptor: who waits to read and to write.
        self._watchers: dict[int, list[Any]] = {}
        self._objects: dict[int, object] = {}
        # What each descriptor that was ever watched was, so that another file of that number is told from it.
        self._known: dict[int, int] = {}
        # Terminals: the system hands on what is written to one a moment later.
        self._terminals: set[int] = set()
        self._holders: list[Holder] = []
        #: Who is told that a descriptor was ready.
        self.hears: dict[int, Callable[[], object]] = {}
        # The descriptors that were ready since somebody has last asked.
        self._moved: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._watchers or self._holders)

    # --- watching -----------------------------------------------------------------------------------------------------

    def get_key(self, fd: int) -> selectors.SelectorKey:
        """Return what is waited for at a descriptor, as selectors do. Raises KeyError where nothing is."""
        return self._selector.get_key(fd)

    def watch(self, fd: int, direction: int, watcher: Watcher, fileobj: object = None) -> None:
        """Have `watcher` run whenever a descriptor is ready to be read or written, in place of the one before.

        `fileobj` is what it was asked for by, who may close it before he asks for the end of that.
        Raises OSError for what is no descriptor, or cannot be waited for, as that of a file on a disk.
        """
        watchers = self._watchers.get(fd)
        if watchers is None:
            self._selector.register(fd, _EVENTS[direction])
            watchers = self._watchers[fd] = [None, None]
            self._objects[fd] = fileobj
            status = os.fstat(fd)
            self._known[fd] = status.st_ino
            if not stat.S_IFMT(status.st_mode):  # It is one of those that Linux knows by their names alone.
                self._timerfds.add(fd)
            if os.isatty(fd):
                self._terminals.add(fd)
        elif watchers[direction] is None:
            self._selector.modify(fd, selectors.EVENT_READ | selectors.EVENT_WRITE)
        else:
            watchers[direction].cancel()
        watchers[direction] = watcher

    def unwatch(self, fd: int, direction: int) -> bool:
        """Have nothing run any more; return whether something would have."""
        watchers = self._watchers.get(fd)
        if watchers is None or watchers[direction] is None:
            return False
        watchers[direction].cancel()
        watchers[direction] = None
        if watchers[1 - direction] is None:
            del self._watchers[fd], self._objects[fd]
            self._terminals.discard(fd)
            self._timerfds.discard(fd)
            # The program may have closed it first.
            with contextlib.suppress(OSError, KeyError, ValueError):
                self._selector.unregister(fd)
        else:
            self._selector.modify(fd, _EVENTS[1 - direction])
        return True

    def watches(self, fd: int) -> bool:
        """Return whether anybody waits for a descriptor."""
        return fd in self._watchers

    def was_of(self, fileobj: object) -> int | None:
        """Return the descriptor that is watched for an object, also after that was closed; None where none is."""
        return next((fd for fd, each in self._objects.items() if each is fileobj and each is not None), None)

    def known(self) -> list[int]:
        """Return the descriptors that are watched, or were and are still open."""
        return [fd for fd, inode in self._known.items() if _inode_of(fd) == inode]

    # --- looking ------------------------------------------------------------------------------------------------------

    def poll(self, seconds: float = 0.0) -> None:
        """Queue the callbacks of what is ready, after at most so many real seconds."""
        ready = {key.fd: events for key, events in self._selector.select(seconds)}
        for holder in self._holders:
            holder.poll()
        if not ready:
            return
        self._moved.update(ready)
        if any(events & selectors.EVENT_READ for events in ready.values()):
            self._children.heard()
        for fd in self.hears.keys() & ready.keys():
            self.hears[fd]()
        for fd, events in ready.items():
            for direction in (READ, WRITE):
                # Who was here first may have ended another one's watch.
                watcher = self._watchers.get(fd, _NOBODY)[direction]
                if events & _EVENTS[direction] and watcher is not None:
                    if watcher.cancelled():
                        self.unwatch(fd, direction)
                    else:
                        self._queue(watcher)

    def readable(self) -> bool:
        """Return whether any is ready, or a holder has something; nothing is queued."""
        return (bool(self._watchers) and bool(self._selector.select(0))) or any(
            holder.has_come() for holder in self._holders
        )

    def take_moved(self) -> set[int]:
        """Return the descriptors that were ready since this was last asked."""
        moved, self._moved = self._moved, set()
        return moved

    # --- waiting ------------------------------------------------------------------------------------------------------

    def add_holder(self, holder: Holder) -> None:
        """Ask `holder` whether to wait, before each jump of the clock."""
        self._holders.append(holder)

    def remove_holder(self, holder: Holder) -> None:
        """Ask him no more."""
        self._holders.remove(holder)

    def holds(self, passed: float, ahead: float | None) -> bool:
        """Return whether something is bound to come from a holder, or from a child; see `Holder.holds`."""
        # Each is asked: they keep accounts.
        held = [holder.holds(passed, ahead) for holder in self._holders]
        held.append(self._timerfds.holds(passed, ahead))
        # Whoever is followed is waited for by a holder.
        watched = self._watchers.keys() - self.hears.keys()
        polled = () if self.polls is None else self.polls.now()
        held.append(self._children.hold(watched, self.loops_children(), passed, ahead, polled=polled))
        return True in held

    def settle(self, ready: Sized, ahead: float | None, others: Callable[[], bool]) -> bool:
        """Wait for as long as something is bound to come, until there is something in `ready`; return whether there is.

        `ahead`: how many seconds the next timer is, or None. `others()` looks whether something has come otherwise.
        """
        pause, passed = FIRST_PAUSE, 0.0
        natives = 0.0
        grace = TERMINAL_PAUSE if self._terminals else 0.0
        if ahead is None and self._watchers:
            grace = LAST_PAUSE
        while not others() and not ready:
            natives += passed
            if not self.holds(passed, ahead) and not (
                self._watchers
                and ((natives < LONGEST_NATIVES and at_work()) or (natives < LONGEST_HELD_BACK and self._held_back()))
            ):
                # What was on its way may be here now.
                self.poll(grace)
                return bool(ready)
            began = real_time.monotonic()
            self.poll(pause)
            passed = real_time.monotonic() - began
            pause = min(2 * pause, LONGEST_PAUSE)
        return True

    def _held_back(self) -> bool:
        # Who writes to a connection need not watch his end of it.
        return any(map(is_connection, self._watchers)) and any(map(holds_back, opened()))

    def close(self) -> None:
        """Watch nothing any more."""
        for watcher in [each for watchers in self._watchers.values() for each in watchers if each is not None]:
            watcher.cancel()
        self._watchers.clear()
        self._objects.clear()
        self._terminals.clear()
        self._holders.clear()
        self._selector.close()


def number_of(fileobj: Any) -> int:
    """Return the descriptor of a file object, or the number itself. Raises ValueError for what has none."""
    if isinstance(fileobj, int):
        fd = fileobj
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd


def _inode_of(fd: int) -> int | None:
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None
