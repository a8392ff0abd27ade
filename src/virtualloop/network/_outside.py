"""What is real by name: the addresses to which connections leave the network in memory.

Owns these addresses, and the sockets that talk to them. A socket that was made in memory becomes a real one when it
connects there, and tells a `Listener` whenever something was sent or has arrived.
"""

from __future__ import annotations

import socket
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from virtualloop.network import _dns
from virtualloop.network._socket_objects import MemorySocket, socket_of

__all__ = ["Addresses", "Listener", "is_real", "make_real"]

if TYPE_CHECKING:
    _Base = socket.socket
else:
    # As with sockets that stand for one in memory: what follows comes before the class of a socket object.
    _Base = object


class Listener(Protocol):
    """Who is told of a conversation with the outside."""

    def asked(self) -> None:
        """Something was sent, or a connection was asked for."""

    def heard(self) -> None:
        """Something has arrived."""

    def closed(self) -> None:
        """The socket was closed."""


class Addresses:
    """The addresses that are real; each is "host:port", "[host]:port" for IPv6, or the path of a unix socket.

    Raises TypeError or ValueError that names the argument.
    """

    def __init__(self, addresses: Iterable[object]) -> None:
        if isinstance(addresses, str):
            raise TypeError(f"outside must be several addresses, not {addresses!r}")
        self._paths: set[str] = set()
        self._named: set[tuple[str, int]] = set()
        for address in addresses:
            if not isinstance(address, str):
                raise TypeError(f"outside must be addresses as in 'localhost:6379', not {address!r}")
            if address.startswith("/"):
                self._paths.add(address)
                continue
            host, colon, port = address.rpartition(":")
            if host.startswith("[") and host.endswith("]"):
                host = host[1:-1]
            if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 0xFFFF:
                raise ValueError(f"outside must be addresses as in 'localhost:6379' or '[::1]:6379', got {address!r}")
            self._named.add((_spelt(host), int(port)))
        # The same, with the addresses that the names have; looked up when somebody first asks for the port.
        self._resolved: dict[int, set[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._named or self._paths)

    def has(self, address: Any) -> bool:
        """Return whether a socket address, or a path, is one of these."""
        if isinstance(address, str | bytes):
            return (address.decode() if isinstance(address, bytes) else address) in self._paths
        if not isinstance(address, tuple) or len(address) < 2 or not isinstance(address[0], str):
            return False
        host, port = _spelt(address[0]), address[1]
        if (host, port) in self._named:
            return True
        return any(port == each for _, each in self._named) and host in self._hosts_of(port)

    def names(self, host: Any, port: Any) -> bool:
        """Return whether a name and a port, as somebody looks them up, are among these."""
        if isinstance(host, bytes):
            host = host.decode()
        if not isinstance(host, str):
            return False
        try:
            return self.has((host, _dns.port_of(port)))
        except OSError:
            return False  # No such service.

    def _hosts_of(self, port: int) -> set[str]:
        hosts = self._resolved.get(port)
        if hosts is None:
            hosts = self._resolved[port] = set()
            for name, each in self._named:
                if each == port:
                    try:
                        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
                    except OSError:
                        continue  # Whoever connects to it is told.
                    hosts.update(_spelt(str(info[4][0])) for info in found)
        return hosts


class _Talking(_Base):
    """The methods of a real socket object whose conversation somebody follows."""

    __slots__ = ()

    def _listener(self) -> Listener:
        return _listeners[self][0]

    def connect(self, address: Any) -> None:
        """Connect for real."""
        self._listener().asked()
        super().connect(address)

    def getsockopt(self, level: int, option: int, *args: Any) -> Any:
        """Return an option; asyncio asks for the error when a connection was made, or was not."""
        if level == socket.SOL_SOCKET and option == socket.SO_ERROR:
            self._listener().heard()
        return super().getsockopt(level, option, *args)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send for real."""
        self._listener().asked()
        return super().send(data, flags)

    def sendto(self, *args: Any) -> int:
        """Send for real."""
        self._listener().asked()
        return super().sendto(*args)

    def sendmsg(self, *args: Any) -> int:
        """Send for real."""
        self._listener().asked()
        return super().sendmsg(*args)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive for real."""
        data = super().recv(bufsize, flags)
        self._listener().heard()
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive for real."""
        count = super().recv_into(buffer, nbytes, flags)
        self._listener().heard()
        return count

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive for real."""
        received = super().recvfrom(bufsize, flags)
        self._listener().heard()
        return received

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive for real."""
        received = super().recvfrom_into(buffer, nbytes, flags)
        self._listener().heard()
        return received

    def close(self) -> None:
        """Close."""
        entry = _listeners.get(self)
        if entry is not None:
            entry[1]()
        super().close()


class OutsideSocket(_Talking, socket.socket):
    """A real socket that the program made, and that talks to the outside."""

    __slots__ = ()


class LeftSocket(_Talking, socket.socket):
    """A socket that was made in memory, and is real since it has connected to the outside."""

    # Those of a socket in memory, so that one can become the other.
    __slots__ = ("_kind", "_socket", "_timeout")


# Who follows the conversation of each socket, and what is called when it is closed or collected.
_listeners: weakref.WeakKeyDictionary[socket.socket, tuple[Listener, Any]] = weakref.WeakKeyDictionary()


def is_real(sock: socket.socket) -> bool:
    """Return whether a socket talks to the outside already."""
    return isinstance(sock, _Talking)


def make_real(sock: socket.socket, listener: Listener) -> None:
    """Have a socket be real from now on, whatever it was, and `listener` told of what it does."""
    if isinstance(sock, MemorySocket):
        own = socket_of(sock)
        assert own is not None
        kind = own.family, own.type, own.proto
        bound = None if own.local is None or own.family not in _dns.ANY else own.local[0]
        options = own.options()
        sock.close()
        sock.__class__ = LeftSocket  # type: ignore[assignment]  # of the same layout
        socket.socket.__init__(sock, *kind)
        sock.setblocking(False)
        for (level, option), value in options:
            socket.socket.setsockopt(sock, level, option, value)
        if bound is not None:
            socket.socket.bind(sock, (bound, 0))
    elif type(sock) is socket.socket:
        sock.__class__ = OutsideSocket
    else:
        sock.__class__ = type(f"Outside{type(sock).__name__}", (_Talking, type(sock)), {"__slots__": ()})
    _listeners[sock] = listener, weakref.finalize(sock, listener.closed)


def _spelt(host: str) -> str:
    literal = _dns.literal(host)
    return host.rstrip(".").lower() if literal is None else _dns.unmapped(literal[1])
