"""What is said of a property that a step has broken.

Owns that text; knows nothing of how properties are looked at.
"""

from __future__ import annotations

import asyncio
from typing import Any

from virtualloop._report.frames import Place, chain_of, own_frames
from virtualloop._report.text import callback_lines

__all__ = ["broken"]

#: What a transport calls when something has arrived.
RECEIVERS = ("datagram_received", "data_received", "buffer_updated")


def broken(seconds: float, what: str, stated: Place, subject: Any) -> str:
    """Return the message of a property that does not hold any more after a step of `subject`, a task or a callback."""
    by, where = _step_of(subject)
    lines = [f"{what} no longer holds at t={seconds:g}, after {by}", *where, "It was stated at", *stated.lines("  ")]
    return "\n".join(lines)


def _step_of(subject: Any) -> tuple[str, list[str]]:
    """Return whose step it was, and the lines that say where."""
    if subject is None:
        return "the step in which it was stated, or one that was queued by then", []
    if not isinstance(subject, asyncio.Task):
        what, *where = callback_lines(_receiver(subject) or subject)
        return what, [line.removeprefix("  ") for line in where]
    own = own_frames(chain_of(subject.get_coro())[0])
    if own:
        return f"a step of {subject.get_name()!r}, which now waits at", own[-1].place.lines("  ")
    code = getattr(subject.get_coro(), "cr_code", None)
    where = [] if code is None else Place(code.co_filename, code.co_firstlineno, code.co_qualname).lines("  ")
    return f"the last step of {subject.get_name()!r}", where


def _receiver(subject: Any) -> Any:
    """Return the protocol's method that a callback of the network has called, if it is one that calls any."""
    watcher = getattr(getattr(subject, "__self__", None), "watcher", None)
    transport = getattr(getattr(watcher, "_callback", None), "__self__", None)
    if not isinstance(transport, asyncio.BaseTransport):
        return None
    protocol = transport.get_protocol()
    return next((getattr(protocol, name) for name in RECEIVERS if hasattr(protocol, name)), None)
