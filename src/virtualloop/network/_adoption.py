"""Real sockets that a program made and handed to the loop.

Owns what is taken over from them: the address that they were bound to, whether they listen, and which are two ends of
one pair. Nothing else is asked of the real thing.
"""

from __future__ import annotations

import os
import selectors
import socket
import stat
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from virtualloop._errors import UnsupportedError
from virtualloop._folders import names_in
from virtualloop._frames import frames_of_others
from virtualloop.network import _dns
from virtualloop.network._datagram import DatagramSocket
from virtualloop.network._fabric import Fabric
from virtualloop.network._socket_objects import (
    AnySocket,
    MemorySocket,
    adopted_sockets,
    socket_of,
    stand_for,
)

__all__ = ["Adoption"]

#: How often at most the process's descriptors are looked through for a socket that listens: a program that goes on
#: connecting to a port where nobody listens means it.
MAX_LOOKS = 1000
#: Where a system lists the descriptors of a process.
DESCRIPTORS = "/dev/fd"

# Options of the real socket that its like in memory needs to know: (level, option).
_KEPT = [(socket.SOL_SOCKET, socket.SO_REUSEADDR)]
if hasattr(socket, "SO_REUSEPORT"):
    _KEPT.append((socket.SOL_SOCKET, socket.SO_REUSEPORT))


class Adoption:
    """The adopted sockets of one network; `make(family, type, proto)` makes a socket in memory."""

    def __init__(self, fabric: Fabric, make: Callable[[int, int, int], AnySocket]) -> None:
        self._fabric = fabric
        self._make = make
        # The other ends of pairs of which one end was handed in, by what tells whose they are.
        self._twins: dict[Any, AnySocket] = {}
        # How often it was looked whether there is one that listens.
        self._looks = 0

    def is_expected(self, kind: int, port: int) -> bool:
        """Return whether the program has a real socket, and has not handed it in, that takes what is sent to a port.

        To others it takes connections and datagrams already, and they wait until it is asked for them.
        """
        found = self._real_sockets(kind, port)
        return bool(found) and not any(_is_served(fd) for fd in found)

    def is_served(self, port: int) -> bool:
        """Return whether another thread of this process serves connections to a port, for real."""
        return any(_is_served(fd) for fd in self._real_sockets(socket.SOCK_STREAM, port))

    def _real_sockets(self, kind: int, port: int) -> list[int]:
        """Return the descriptors of real sockets at a port that take what is sent there, but for those handed in."""
        self._looks += 1
        if self._looks > MAX_LOOKS:
            return []
        handed_in = {socket.socket.fileno(sock) for sock in adopted_sockets()}
        return [fd for fd in _sockets_of_the_process() if fd not in handed_in and _takes(fd, kind, port)]

    def adopt(self, sock: socket.socket, watched: Iterable[int]) -> None:
        """Have a real socket stand for one in memory; one that does already, or is closed, stays as it is.

        So does one that the program watches itself, at one of the descriptors `watched`, or whose other end it does.
        """
        if isinstance(sock, MemorySocket) or socket.socket.fileno(sock) == -1 or _is_tls(sock):
            return
        own = socket_of(sock)
        if (own is None or own.fabric is not self._fabric) and not _is_at(sock, watched):
            own = self._socket_for(sock)
            stand_for(sock, own)
            if own.listens or isinstance(own, DatagramSocket):
                self._fabric.handed_in()

    def is_twin(self, sock: socket.socket) -> bool:
        """Return whether a real socket is the other end of one that was handed in."""
        if not self._twins or isinstance(sock, MemorySocket) or socket.socket.fileno(sock) == -1:
            return False
        try:
            peer = socket.socket.getpeername(sock)
        except OSError:
            return False
        mine = (socket.socket.getsockname(sock), peer) if sock.family in _dns.ANY else peer
        return (sock.type, mine) in self._twins

    def _socket_for(self, sock: socket.socket) -> AnySocket:
        # What the real thing says, whatever the object's own class is by now.
        address = socket.socket.getsockname(sock)
        try:
            peer = socket.socket.getpeername(sock)
        except OSError:
            peer = None
        if peer is not None:
            return self._end_of_pair(sock, address, peer)
        family = _family_of(sock)
        own = self._make(family, sock.type, sock.proto)
        if family in _dns.ANY:
            for level, option in _KEPT:
                own.setsockopt(level, option, socket.socket.getsockopt(sock, level, option))
            if family == socket.AF_INET6:
                v6only = socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
                own.setsockopt(*v6only, socket.socket.getsockopt(sock, *v6only))
                if address[3]:
                    self._fabric.scopes[address[0]] = address[3]
            if address[1]:
                own.bind_as(address[0], address[1])
        elif address:
            own.local = address
            self._fabric.paths.add(own, address)
        if _listens(sock):
            own.listen()
        return own

    def _end_of_pair(self, sock: socket.socket, address: Any, peer: Any) -> AnySocket:
        """Return one end of a connection that the program made, and keep the other end until it is handed in."""
        if sock.family in _dns.ANY:
            mine, others = (address, peer), (peer, address)
        elif _is_path(address) or _is_path(peer):
            raise UnsupportedError(
                f"{sock!r} was connected by the program itself, outside of the network of this loop. Instead, await "
                "loop.sock_connect() and loop.sock_accept(), or let asyncio make the connection."
            )
        else:
            # The ends of a socketpair() have no names, so this one gets one, which the other end can tell its peer by.
            mine, others = peer, address or _named(sock)
        twin = self._twins.pop((sock.type, mine), None)
        if twin is not None:
            return twin
        own, other = (self._make(sock.family, sock.type, sock.proto) for _ in range(2))
        if sock.family in _dns.ANY:
            own.local, other.local = address, peer
        own.pair_with(other)  # type: ignore[arg-type]  # both are of one kind
        self._twins[sock.type, others] = other
        return own


def _family_of(sock: socket.socket) -> int:
    """Return the family of the real thing, which socket.fromfd() may have been told another one of."""
    if not hasattr(socket, "SO_DOMAIN"):
        return sock.family
    return socket.socket.getsockopt(sock, socket.SOL_SOCKET, socket.SO_DOMAIN)


def _listens(sock: socket.socket) -> bool:
    return (
        sock.type == socket.SOCK_STREAM
        and socket.socket.fileno(sock) != -1
        and bool(socket.socket.getsockopt(sock, socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    )


def _sockets_of_the_process() -> list[int]:
    """Return all descriptors of sockets that this process has open."""
    found = []
    for name in names_in(DESCRIPTORS):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.append(int(name))
        except OSError:
            continue  # That was the one by which they were listed.
    return found


def _takes(fd: int, kind: int, port: int) -> bool:
    """Return whether a descriptor is that of a socket at a port that takes what is sent to it."""
    sock = socket.socket(fileno=fd)
    try:
        return (
            sock.type == kind
            and sock.family in _dns.ANY
            and sock.getsockname()[1] == port
            and (kind == socket.SOCK_DGRAM or _listens(sock))
        )
    except OSError:
        return False
    finally:
        sock.detach()


def _is_served(fd: int) -> bool:
    """Return whether another thread is in the middle of waiting for what arrives at a real socket."""
    for innermost in frames_of_others().values():
        frame: FrameType | None = innermost
        while frame is not None:
            if any(_waits_for(thing, fd) for thing in frame.f_locals.values()):
                return True
            frame = frame.f_back
    return False


def _waits_for(thing: Any, fd: int) -> bool:
    """Return whether a thing in a frame is the socket, or a selector or a server that has it."""
    if isinstance(thing, selectors.BaseSelector):
        return fd in {key.fd for key in (thing.get_map() or {}).values()}
    if hasattr(type(thing), "serve_forever"):
        thing = getattr(thing, "socket", None)
    return isinstance(thing, socket.socket) and socket.socket.fileno(thing) == fd


def _is_at(sock: socket.socket, descriptors: Iterable[int]) -> bool:
    """Return whether one of these descriptors is a real socket's, or that of the other end of its connection."""
    found = set(descriptors)
    if not found:
        return False
    if socket.socket.fileno(sock) in found:
        return True
    try:
        peer = socket.socket.getpeername(sock)
    except OSError:
        return False  # It has no other end.
    name = socket.socket.getsockname(sock) or _named(sock)
    for fd in found:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            other = socket.socket(fileno=fd)
            try:
                if other.getpeername() == name and other.getsockname() == peer:
                    return True
            except OSError:
                continue  # No connection.
            finally:
                other.detach()
    return False


def _is_path(address: Any) -> bool:
    return isinstance(address, str) and address != ""


def _named(sock: socket.socket) -> Any:
    if sys.platform != "linux":
        return ""  # Only Linux has names that are no files: elsewhere, the next end that is handed in is the other one.
    name = b"\0virtualloop %d" % os.fstat(socket.socket.fileno(sock)).st_ino
    socket.socket.bind(sock, name)
    return name


def _is_tls(sock: socket.socket) -> bool:
    import ssl  # noqa: PLC0415  # asyncio has imported it, where there is one

    return isinstance(sock, ssl.SSLSocket)
