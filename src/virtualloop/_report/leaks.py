"""What a closing loop leaves open.

Owns the search for it, what a strict loop remembers to that end, and the words. Only looks: the loop closes as always.

What asyncio.run() cleans up by itself is gone by then: it cancels the tasks, and closes the async generators. So a
program that ends in its own time, and ends well, is told nothing.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from virtualloop._errors import VirtualLoopError
from virtualloop._report.frames import Place, caller, is_machinery, place_of
from virtualloop._report.survey import Survey, address, in_order
from virtualloop._report.text import callback_lines, logged_lines, pending
from virtualloop._words import moment

__all__ = ["Watch", "heard", "left_open"]

#: So many of a kind are listed, and the others counted.
MAX_LISTED = 5
#: And a message has so many lines in between.
MAX_LINES = 36

#: What asyncio says of a task's exception when the task is gone.
NEVER = "Task exception was never retrieved"

_Task = asyncio.Task

#: Who is told of what a strict loop raises, because it may be lost on its way.
_listeners: list[list[VirtualLoopError]] = []


@contextmanager
def heard() -> Iterator[list[VirtualLoopError]]:
    """Give a list of the errors of strict loops that are closed meanwhile, whatever becomes of them."""
    errors: list[VirtualLoopError] = []
    _listeners.append(errors)
    try:
        yield errors
    finally:
        _listeners.remove(errors)


class Watch:
    """What a strict loop remembers: where its tasks and sockets were made."""

    def __init__(self) -> None:
        self._places: WeakKeyDictionary[Any, Place | None] = WeakKeyDictionary()
        self._socket_places: dict[int, Place | None] = {}

    def made(self, thing: Any) -> None:
        """Take note of where a thing was made: in the reader's code that is running."""
        self._places[thing] = caller()

    def made_socket(self, number: int) -> None:
        """The same for a socket."""
        self._socket_places[number] = caller()

    def place_of(self, thing: Any) -> Place | None:
        """Return where a thing was made."""
        return self._places.get(thing)

    def place_of_socket(self, number: int) -> Place | None:
        """Return where a socket was made."""
        return self._socket_places.get(number)

    def complain(self, left_open: str) -> NoReturn:
        """Raise what a strict loop has to say when it is closed, and tell those who listen."""
        error = VirtualLoopError(left_open)
        for errors in _listeners:
            errors.append(error)
        raise error

    def late_errors(self) -> list[list[str]]:
        """Return what tasks have failed with that nobody has asked, and that the garbage collector has not come to."""
        tasks = in_order(thing for thing in self._places if isinstance(thing, _Task) and thing._log_traceback)
        return [logged_lines({"message": NEVER, "future": task, "exception": task.exception()}) for task in tasks]


def left_open(
    seconds: float,
    *,
    tasks: Iterable[_Task[Any]],
    generators: Iterable[Any],
    sockets: Iterable[Any],
    handles: Iterable[Any],
    errors: Sequence[list[str]],
    watch: Watch | None,
) -> str | None:
    """Return what a loop leaves open that closes at `seconds`, or None.

    Connections, errors and handles are only told of with a watch: asyncio itself warns of transports and logs errors,
    and a timer that nobody waits for is no fault as such.
    """
    survey = Survey(tasks, made=None if watch is None else watch.place_of)
    lines = pending(survey)
    lines += _section("async generator", "was not closed", [_generator(agen) for agen in generators])
    opened = [_socket(endpoint, watch) for endpoint in sockets if not endpoint.closed]
    for kind in sorted({kind for kind, _ in opened}):
        if watch is not None or kind == "server":
            lines += _section(kind, "was not closed", [entry for its, entry in opened if its == kind])
    if watch is not None:
        lines += _section("callback", "never ran", [_handle(handle) for handle in handles if _is_own(handle)])
        lines += _section("error", "went unnoticed", [*errors, *watch.late_errors()])
    if not lines:
        return None
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"and {len(lines) - MAX_LINES} more lines of this kind"]
    return "\n".join(
        [
            f"the loop was closed at t={moment(seconds)}, and left open:",
            *lines,
            "Before closing a loop, cancel and await its tasks (asyncio.Runner does), and close what was opened on it.",
        ]
    )


def _section(noun: str, what: str, entries: list[list[str]]) -> list[str]:
    if not entries:
        return []
    lines = [f"1 {noun} {what}:" if len(entries) == 1 else f"{len(entries)} {noun}s {what.replace('was', 'were')}:"]
    for entry in entries[:MAX_LISTED]:
        lines += entry
    if len(entries) > MAX_LISTED:
        lines.append(f"  and {len(entries) - MAX_LISTED} more")
    return lines


def _socket(endpoint: Any, watch: Watch | None) -> tuple[str, list[str]]:
    """Return what a socket is, and the lines about it."""
    place = None if watch is None else watch.place_of_socket(endpoint.number)
    kind = "server" if endpoint.listens else "connection" if endpoint.peer else "socket"
    peer = "" if endpoint.peer is None else f" to {address(endpoint.peer)}"
    where = "" if endpoint.local is None else f" on {address(endpoint.local)}"
    return kind, [f"  {kind}{where}{peer}", *([] if place is None else place.lines("    "))]


def _generator(agen: Any) -> list[str]:
    return [f"  {agen.__qualname__}()", *place_of(agen.ag_frame).lines("    ")]


def _handle(handle: Any) -> list[str]:
    what, *where = callback_lines(handle._callback)
    due = f", due at t={moment(handle.when())}" if isinstance(handle, asyncio.TimerHandle) else ""
    return [f"  {what}{due}", *where]


def _is_own(handle: Any) -> bool:
    """Return whether a handle is the reader's, and no timer of asyncio's or a delivery of the network's."""
    callback = handle._callback
    if callback is None:
        return False  # It was cancelled.
    code = getattr(inspect.unwrap(getattr(callback, "func", callback)), "__code__", None)
    return code is None or not is_machinery(code) or code.co_name[0] not in "_<"
