"""What a network needs of whatever carries it.

Owns the protocol between the two, and nothing else: no loop, no asyncio, no socket. An event loop is such a driver; so
is a test's, which keeps posted events in a list.

Whatever comes from outside (a delivery, an answer, a socket that may be read) is an event: it is made once, posted for
an instant, and arrives when the driver sees fit, then or later.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any, Protocol

from virtualloop._core.clock import Clock
from virtualloop._core.recorder import Recorder

__all__ = ["Driver", "Event", "Watcher"]


class Event(Protocol):
    """Something from outside that arrives; it may be posted again once it has."""

    def cancel(self) -> None:
        """Never arrive; cancelling twice is fine."""


class Watcher(Protocol):
    """A callback that waits for a socket, made by the driver; asyncio's handles are such."""

    def cancel(self) -> None:
        """Never run again; cancelling twice is fine."""


class Driver(Protocol):
    """What carries a network."""

    #: What time it is.
    clock: Clock
    #: What takes note that a socket was made, by the code that is running; None if nobody does.
    made_socket: Callable[[int], None] | None

    @property
    def recorder(self) -> Recorder | None:
        """What keeps the record of the run, if it is kept."""
        ...

    def choose(self, n: int, kind: str) -> int:
        """Return the schedule's answer, in range(n); 0 is what a perfect network does."""
        ...

    def event(self, arrive: Callable[[], None]) -> Event:
        """Return an event that calls `arrive()`, on no host and in no task, when it arrives."""
        ...

    def post(self, event: Event, tick: int) -> None:
        """Let an event arrive when the clock is at `tick`, after those posted before for the same one."""

    @property
    def post_now(self) -> Callable[[Any], None]:
        """What does so for the present instant, `post_now(event)`; read once, for most of what is posted is that."""
        ...

    def run(self, watcher: Any) -> bool:
        """Run a callback that waited for a socket; what it raises, unless it ends the run, is reported.

        Return False if it was cancelled, and did not run.
        """
        ...

    def stop(self, runs_here: Callable[[Context], bool], sockets: Iterable[int]) -> list[Coroutine[Any, Any, Any]]:
        """Stop whatever runs in contexts of which `runs_here` is true, where it is: a power cut, without a last word.

        What writes to and reads from `sockets`, by their numbers, is silent from then on. Return the coroutines that
        were stopped: their `finally` blocks run when they are closed.
        """
        ...
