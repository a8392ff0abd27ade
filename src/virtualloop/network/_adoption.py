"""Real sockets that a program made and handed to the loop.

Owns what is taken over from them: the address that they were bound to, whether they listen, and which are two ends of
one pair. Nothing else is asked of the real thing.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from virtualloop._errors import UnsupportedError
from virtualloop.network import _names
from virtualloop.network._faces import MemorySocket, endpoint_of, stand_for

if TYPE_CHECKING:
    from virtualloop.network._endpoint import Endpoint
    from virtualloop.network._medium import Medium

__all__ = ["Adoption"]

#: How often at most all objects are looked through for a socket that listens: it takes some milliseconds, and a program
#: that goes on connecting to a port where nobody listens means it.
MAX_LOOKS = 100

# Options of the real socket that the endpoint needs to know: (level, option).
_KEPT = [(socket.SOL_SOCKET, socket.SO_REUSEADDR)]
if hasattr(socket, "SO_REUSEPORT"):
    _KEPT.append((socket.SOL_SOCKET, socket.SO_REUSEPORT))


class Adoption:
    """The adopted sockets of one medium."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        # The other ends of pairs of which one end was handed in, by what tells whose they are.
        self._twins: dict[Any, Endpoint] = {}
        # Who waits for a socket that listens, and how often it was looked whether there is one.
        self._waiting: list[Callable[[], None]] = []
        self._looks = 0

    def is_expected(self, port: int) -> bool:
        """Return whether the program has a real socket that listens at a port, and has not handed it in.

        To others it takes connections already, and they wait until it is asked for them.
        """
        self._looks += 1
        if self._looks > MAX_LOOKS:
            return False
        sockets = [each for each in gc.get_objects() if type(each) is socket.socket]
        return any(_listens(sock) and sock.getsockname()[1] == port for sock in sockets if sock.family in _names.ANY)

    def when_handed_in(self, resume: Callable[[], None]) -> None:
        """Have `resume()` called when another socket that listens was handed in."""
        self._waiting.append(resume)

    def adopt(self, sock: socket.socket) -> None:
        """Have a real socket stand for one in memory; one that does already, or is closed, stays as it is."""
        if isinstance(sock, MemorySocket) or socket.socket.fileno(sock) == -1 or _is_tls(sock):
            return
        endpoint = endpoint_of(sock)
        if endpoint is None or endpoint.medium is not self._medium:
            endpoint = self._endpoint_for(sock)
            stand_for(sock, endpoint)
            if endpoint.listens:
                waiting, self._waiting = self._waiting, []
                for resume in waiting:
                    resume()

    def _endpoint_for(self, sock: socket.socket) -> Endpoint:
        # What the real thing says, whatever the object's own class is by now.
        address = socket.socket.getsockname(sock)
        try:
            peer = socket.socket.getpeername(sock)
        except OSError:
            peer = None
        if peer is not None:
            return self._end_of_pair(sock, address, peer)
        endpoint = self._medium.make_endpoint(sock.family, sock.type, sock.proto)
        if sock.family in _names.ANY:
            for level, option in _KEPT:
                endpoint.setsockopt(level, option, socket.socket.getsockopt(sock, level, option))
            if sock.family == socket.AF_INET6:
                v6only = socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
                endpoint.setsockopt(*v6only, socket.socket.getsockopt(sock, *v6only))
            if address[1]:
                endpoint.host.add_alias(address[0])
                endpoint.take(address[0], address[1])
        elif address:
            endpoint.local = address
            self._medium.paths.add(endpoint, address)
        if _listens(sock):
            endpoint.listen()
        return endpoint

    def _end_of_pair(self, sock: socket.socket, address: Any, peer: Any) -> Endpoint:
        """Return one end of a connection that the program made, and keep the other end until it is handed in."""
        if sock.family in _names.ANY:
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
        endpoint, twin = (self._medium.make_endpoint(sock.family, sock.type, sock.proto) for _ in range(2))
        if sock.family in _names.ANY:
            endpoint.local, twin.local = address, peer
        endpoint.pair_with(twin)
        self._twins[sock.type, others] = twin
        return endpoint


def _listens(sock: socket.socket) -> bool:
    return (
        sock.type == socket.SOCK_STREAM
        and socket.socket.fileno(sock) != -1
        and bool(socket.socket.getsockopt(sock, socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    )


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
