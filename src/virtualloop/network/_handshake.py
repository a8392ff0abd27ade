"""A connection that is being made.

Owns the way from connect() to a listener and back, over links that take time or are not free.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from virtualloop._clock import TICKS_PER_SECOND

if TYPE_CHECKING:
    from virtualloop.network._endpoint import Endpoint
    from virtualloop.network._machines import Machine
    from virtualloop.network._medium import Medium

__all__ = ["Handshake"]


class Handshake:
    """Ask for a connection from `sock` to `address` and `port` of the host `there`."""

    def __init__(self, medium: Medium, sock: Endpoint, there: Machine, address: str, port: int) -> None:
        self._medium = medium
        self._sock = sock
        self._there = there
        self._address = address
        self._port = port
        self._out = medium.link_between(sock.host, there)
        self._back = medium.link_between(there, sock.host)
        self._timeout: Any = None
        if self._out.is_perfect and self._back.is_perfect:
            self._answer(self._listener())
        else:
            self._ask()

    def __str__(self) -> str:
        return f"{self._sock.label}->{self._medium.label(self._there, self._address, self._port)}"

    def _listener(self) -> Endpoint | None:
        bound = self._there.bound_to(socket.SOCK_STREAM, self._sock.family, self._address, self._port)
        return next((sock for sock in bound if sock.listens), None)

    def _ask(self) -> None:
        self._out.set_timer(self._out.tick_of(self, 0), self._asked)

    def _asked(self) -> None:
        if self._sock.closed:
            return
        if not self._out.is_open():
            # It is asked again, until there is an answer or no more time.
            self._wait(self._out, self._ask)
            return
        listener = self._listener()
        self._back.set_timer(self._back.tick_of(self, 0), lambda: self._answered(listener))

    def _answered(self, listener: Endpoint | None) -> None:
        if self._sock.closed:
            return
        if not self._back.is_open():
            self._wait(self._back, self._ask)
            return
        self._answer(listener)

    def _wait(self, link: Any, resume: Any) -> None:
        if self._timeout is None:
            self._medium.note(link.closed_by, f"{self}: no answer")
        self._limit()
        link.when_open(resume)

    def _limit(self) -> None:
        """See to it that this ends, answered or not."""
        if self._timeout is None:
            end = self._medium.loop._clock.tick + int(self._medium.connect_timeout * TICKS_PER_SECOND)
            self._timeout = self._medium.set_timer(end, self._give_up)

    def _give_up(self) -> None:
        if self._sock.is_connecting:
            self._sock.fail(errno.ETIMEDOUT)

    def _answer(self, listener: Endpoint | None) -> None:
        if not self._sock.is_connecting:
            return
        if listener is None and self._medium.adoption.is_expected(self._port):
            # The real socket that listens there takes connections, but has not been handed in yet.
            self._limit()
            self._medium.adoption.when_handed_in(lambda: self._answer(self._listener()))
            return
        if self._timeout is not None:
            self._timeout.cancel()
        if listener is None or not listener.listens:
            self._sock.fail(errno.ECONNREFUSED)
        else:
            self._sock.established(listener, self._there, (self._out, self._back))
