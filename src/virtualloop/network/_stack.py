"""The sockets of one network, as an event loop asks for them.

Owns how sockets in memory are made, found and adopted, and what a selector says of them: all that whoever carries a
network needs, beside the driver that carries it.
"""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Callable, Iterable
from typing import Any

from virtualloop.network import _dns
from virtualloop.network._adoption import Adoption
from virtualloop.network._datagram import DatagramSocket
from virtualloop.network._dns import error
from virtualloop.network._fabric import Fabric
from virtualloop.network._outside import Addresses, Listener, is_real, make_real
from virtualloop.network._socket_objects import AnySocket, MemorySocket, socket_of
from virtualloop.network._stream import StreamSocket

__all__ = ["Stack"]

_FAMILIES = {*_dns.ANY, getattr(socket, "AF_UNIX", socket.AF_INET)}
_KINDS: dict[int, type[AnySocket]] = {socket.SOCK_STREAM: StreamSocket, socket.SOCK_DGRAM: DatagramSocket}


class Stack:
    """The sockets over one fabric."""

    def __init__(self, fabric: Fabric, outside: Addresses) -> None:
        self.fabric = fabric
        #: What is real by name.
        self.outside = outside
        #: Returns the descriptors that the program watches itself; what is at them stays real.
        self.watched_descriptors: Callable[[], Iterable[int]] = list
        self._adoption = Adoption(fabric, self.make)
        fabric.is_expected = self._adoption.is_expected

    # --- sockets ------------------------------------------------------------------------------------------------------

    def make_socket(self, family: int = -1, type: int = -1, proto: int = -1) -> MemorySocket:  # noqa: A002  # its name there
        """Do what socket.socket() does."""
        return MemorySocket(self.make(family, type, proto))

    def make(self, family: int, kind: int, proto: int) -> AnySocket:
        """Return what a new socket object stands for, on the host where the code runs that asks for it."""
        family = socket.AF_INET if family == -1 else family
        kind = socket.SOCK_STREAM if kind == -1 else kind
        if family not in _FAMILIES:
            raise error(errno.EAFNOSUPPORT)
        if kind not in _KINDS:
            raise error(errno.ESOCKTNOSUPPORT)
        return _KINDS[kind](self.fabric, self.fabric.here, family, kind, max(proto, 0))

    def adopt(self, sock: socket.socket) -> None:
        """Have a real socket, which the program made, stand for one in memory."""
        self._adoption.adopt(sock, self.watched_descriptors())

    def is_inside(self, sock: socket.socket) -> bool:
        """Return whether a socket was made in memory where nothing is real by name, so that it has to go nowhere."""
        return type(sock) is MemorySocket and not self.outside

    def is_twin(self, sock: socket.socket) -> bool:
        """Return whether a real socket is the other end of one that was handed in, and has to be, too."""
        return self._adoption.is_twin(sock)

    def is_served(self, port: int) -> bool:
        """Return whether a real server of this process, in another thread, listens at a port."""
        return self._adoption.is_served(port)

    def is_outside(self, sock: socket.socket, address: Any = None) -> bool:
        """Return whether a socket is, or is about to be, connected to an address that is real."""
        return is_real(sock) or self.outside.has(address) or self.outside.has(_peer_of(sock))

    def make_real(self, sock: socket.socket, listener: Callable[[], Listener]) -> None:
        """Have a socket be real from now on, unless it is, and what `listener()` returns told of what it does."""
        if not is_real(sock):
            make_real(sock, listener())

    def at(self, number: int) -> AnySocket:
        """Return the socket with a number. Raises KeyError where there is none, or none any more."""
        return self.fabric.sockets[number]  # type: ignore[no-any-return]  # the fabric does not know what they do

    def open_sockets(self) -> list[AnySocket]:
        """Return the sockets that are not closed, in the order in which they were made."""
        return list(self.fabric.sockets.values())

    def get_key(self, number: int) -> selectors.SelectorKey:
        """Return what is waited for at a socket, as selectors do. Raises KeyError where nothing is."""
        sock = self.at(number)
        events = selectors.EVENT_READ * sock.waits_to_read() | selectors.EVENT_WRITE * sock.waits_to_write()
        return selectors.SelectorKey(number, number, events, None)

    # --- names --------------------------------------------------------------------------------------------------------

    def look_up(self, host: Any, port: Any, **hints: Any) -> Callable[[], list[tuple[Any, ...]]]:
        """Return what answers a look-up, from the host where the code runs that asks."""
        here = self.fabric.here
        return lambda: self.fabric.look_up(here, host, port, **hints)

    def name_of(self, sockaddr: Any, flags: int) -> Callable[[], tuple[str, str]]:
        """Return what answers which name an address has."""
        return lambda: self.fabric.name_of(sockaddr, flags)

    def answer(self, question: Callable[[], Any], future: Any) -> Any:
        """Have the future get what `question()` returns or raises, once the answer has arrived; return the future."""

        def arrive() -> None:
            if future.done():
                return
            try:
                future.set_result(question())
            except Exception as exc:
                future.set_exception(exc)

        driver = self.fabric.driver
        driver.post(driver.event(arrive), driver.clock.tick)
        return future


def _peer_of(sock: socket.socket) -> Any:
    """Return the address of the other end of a real socket, or None."""
    if socket_of(sock) is not None:
        return None
    try:
        return socket.socket.getpeername(sock)
    except OSError:
        return None
