"""A connection that is being made.

Owns the way from connect() to a listener and back, over links that take time or are not free.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Protocol

from virtualloop.network._driver import Event
from virtualloop.network._fabric import Fabric
from virtualloop.network._kernel import HostKernel
from virtualloop.network._link import Link

__all__ = ["Handshake", "Links", "find_listener"]

#: The way there, and the way back.
Links = tuple[Link, Link]


class Connecting(Protocol):
    """What a handshake asks of the socket that connects."""

    host: HostKernel
    local: Any
    closed: bool

    @property
    def label(self) -> str: ...
    @property
    def is_connecting(self) -> bool: ...
    def established(self, listener: Any, there: HostKernel, links: Links) -> None: ...
    def fail(self, code: int) -> None: ...


def find_listener(sock: Connecting, there: HostKernel, address: str, port: int) -> Any:
    """Return who takes the connection that a socket asks for, or None."""
    listeners = [each for each in there.bound_to(socket.SOCK_STREAM, address, port) if each.listens]
    if len(listeners) < 2 or not listeners[0].shares:
        return listeners[0] if listeners else None
    # Those that share a port get connections in turn, as good as by Linux's hash of the addresses.
    sharing = [each for each in listeners if each.shares and each.local == listeners[0].local]
    return sharing[sock.local[1] % len(sharing)]


class Handshake:
    """Ask for a connection from `sock` to `address` and `port` of the host `there`."""

    def __init__(self, fabric: Fabric, sock: Connecting, there: HostKernel, address: str, port: int) -> None:
        self._fabric = fabric
        self._sock = sock
        self._there = there
        self._address = address
        self._port = port
        self._out = fabric.link_between(sock.host, there)
        self._back = fabric.link_between(there, sock.host)
        self._limit: Event | None = None
        if self._out.is_perfect and self._back.is_perfect:
            self._answer(self._listener())
        else:
            self._ask()

    def __str__(self) -> str:
        return f"{self._sock.label}->{self._fabric.label(self._there, self._address, self._port)}"

    def _listener(self) -> Any:
        return find_listener(self._sock, self._there, self._address, self._port)

    def _ask(self) -> None:
        self._out.post(self._out.arrival(self, 0), self._asked)

    def _asked(self) -> None:
        if self._sock.closed:
            return
        if not self._out.is_open():
            # It is asked again, until there is an answer or no more time.
            self._wait(self._out, self._ask)
            return
        listener = self._listener()
        self._back.post(self._back.arrival(self, 0), lambda: self._answered(listener))

    def _answered(self, listener: Any) -> None:
        if self._sock.closed:
            return
        if not self._back.is_open():
            self._wait(self._back, self._ask)
            return
        self._answer(listener)

    def _wait(self, link: Link, resume: Callable[[], None]) -> None:
        if self._limit is None:
            link.note(link.closed_by, f"{self}: no answer")
        self._end_some_time()
        link.when_open(resume)

    def _end_some_time(self) -> None:
        """See to it that this ends, answered or not."""
        if self._limit is None:
            self._limit = self._out.post_after(self._fabric.connect_timeout, self._give_up)

    def _give_up(self) -> None:
        if self._sock.is_connecting:
            self._sock.fail(errno.ETIMEDOUT)

    def _answer(self, listener: Any) -> None:
        if not self._sock.is_connecting:
            return
        if listener is None and self._fabric.is_expected(socket.SOCK_STREAM, self._port):
            # The real socket that listens there takes connections, but has not been handed in yet.
            self._end_some_time()
            self._fabric.when_handed_in(lambda: self._answer(self._listener()))
            return
        if self._limit is not None:
            self._limit.cancel()
        if listener is None or not listener.listens:
            self._sock.fail(errno.ECONNREFUSED)
        else:
            self._sock.established(listener, self._there, (self._out, self._back))
