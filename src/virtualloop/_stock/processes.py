"""Child processes as stock asyncio's transports know them.

Owns who awaits a child or asks whether it has ended, and which descriptors are the ends of its pipes.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from virtualloop._stock.private import SubprocessTransport

__all__ = ["TransportedChild", "asking"]


_Streams = asyncio.subprocess.SubprocessStreamProtocol


@functools.cache
def asking(asked: Callable[[int], None]) -> Any:
    """Return the class of such transports; `asked(pid)` is called when a program asks for a child that still runs."""

    class Asking(SubprocessTransport):  # type: ignore[misc]  # known at run time
        """A transport that tells when it is asked."""

        def get_returncode(self) -> int | None:
            """Return how the child has ended, or None while it runs."""
            returncode: int | None = super().get_returncode()
            if returncode is None:
                asked(self.get_pid())
            return returncode

    Asking.__name__ = SubprocessTransport.__name__
    return Asking


class TransportedChild:
    """A child process as its transport knows it; `ended(transport, reap)` is called at its end."""

    def __init__(self, transport: Any, ended: Callable[[Any, Callable[[], int]], None]) -> None:
        self._transport = transport
        self._ended = ended
        self.pid: int = transport.get_pid()

    def awaited(self) -> list[object]:
        """Return who waits for its end, or for what it writes."""
        transport = self._transport
        protocol = transport.get_protocol()
        if protocol is None:
            return []  # All of it is over, its pipes included.
        if (
            not isinstance(protocol, _Streams)
            # anyio's is one of these: who waits for the end waits for an event of anyio's.
            or type(protocol).process_exited is not _Streams.process_exited
        ):
            return [protocol]  # It gets to know in its own way.
        waiters = list(transport._exit_waiters or ())
        waiters += [
            stream._waiter  # type: ignore[attr-defined]  # not in the stub
            for stream in (protocol.stdout, protocol.stderr)
            if stream is not None
        ]
        waiters += getattr(protocol, "_drain_waiters", ())
        return [waiter for waiter in waiters if waiter is not None]

    def descriptors(self) -> list[int]:
        """Return this process's ends of its pipes."""
        transport = self._transport
        protocols = transport._pipes.values()
        # A transport keeps its number when it is closed; one that is not connected yet has none that anybody knows.
        pipes = [None if each is None else each.pipe for each in protocols if each is None or not each.disconnected]
        return [-1 if pipe is None else pipe._fileno for pipe in pipes if pipe is None or pipe._fileno is not None]

    def ended(self, reap: Callable[[], int]) -> None:
        """It has ended."""
        self._ended(self._transport, lambda: self._returncode(reap))

    def _returncode(self, reap: Callable[[], int]) -> int:
        # Until Python 3.12, its kill() asks as well.
        known: int | None = self._transport.get_extra_info("subprocess").returncode
        return reap() if known is None else known
