"""The socket objects that programs hold.

Owns the two kinds of them, and when an endpoint has no more of them: sockets that are made in memory, and real ones
that a program made and handed to the loop, which stand for a socket in memory from then on.

The class of a real socket object is exchanged for one whose methods are those of its endpoint. So the program's own
`sock.getpeername()` and `sock.close()` mean the connection in memory, too; the real thing is only ever closed.
"""

from __future__ import annotations

import errno
import socket
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from virtualloop.network._endpoint import Endpoint
from virtualloop.network._names import error

__all__ = ["AdoptedSocket", "MemorySocket", "endpoint_of", "stand_for"]


# Looked up, because to make one of them takes as long as to send a few bytes.
_FAMILIES = {int(family): family for family in socket.AddressFamily}
_KINDS = {int(kind): kind for kind in socket.SocketKind}

if TYPE_CHECKING:
    _Base = socket.socket
else:
    # What follows comes before the class of a socket object, whichever that is, and adds nothing to its layout.
    _Base = object


class _Face(_Base):
    """The methods of a socket object, which are those of an endpoint. It never blocks, whatever it was told."""

    __slots__ = ()

    _endpoint: Endpoint | None

    def _end(self) -> Endpoint:
        """Return the endpoint. Raises what sockets raise when they are closed."""
        endpoint = self._endpoint
        if endpoint is None:
            raise error(errno.EBADF)
        return endpoint

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection, and where it is from."""
        connection = self._end().accept()
        # Also where it is from a connection that was reset while it waited.
        return MemorySocket(connection), connection.peer

    def bind(self, address: Any) -> None:
        """Take an address."""
        self._end().bind(address)

    def connect(self, address: Any) -> None:
        """Ask for a connection. Raises BlockingIOError, for it is made when this socket may be written."""
        self._end().connect(address)

    def connect_ex(self, address: Any) -> int:
        """Ask for a connection, and return an error code."""
        try:
            self.connect(address)
        except socket.gaierror:
            raise
        except OSError as exc:
            return exc.errno or errno.EINVAL
        return 0

    def dup(self) -> socket.socket:  # type: ignore[override]  # of another class, for adopted sockets
        """Return another object for this socket, which is closed when both are."""
        return MemorySocket(self._end())

    def fileno(self) -> int:
        """Return a number that no file descriptor has; -1 when closed."""
        endpoint = self._endpoint
        return -1 if endpoint is None else endpoint.number

    def get_inheritable(self) -> bool:
        """Return that no other process gets this socket."""
        return False

    def getpeername(self) -> Any:
        """Return the address of the other end."""
        return self._end().getpeername()

    def getsockname(self) -> Any:
        """Return the address of this end."""
        return self._end().getsockname()

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> Any:
        """Return an option."""
        return self._end().getsockopt(level, option, buflen)

    def listen(self, backlog: int = 128) -> None:
        """Let others connect."""
        self._end().listen()

    def makefile(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: a file would have to block."""
        raise error(errno.EOPNOTSUPP)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return up to `bufsize` bytes; none at the end."""
        return self._end().recv(bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read into a buffer; return how many bytes."""
        view = memoryview(buffer).cast("B")
        data = self._end().recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """Return the next datagram, cut to `bufsize`, and where it is from."""
        return self._end().recvfrom(bufsize, flags)

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Read a datagram into a buffer; return how many bytes, and where it is from."""
        view = memoryview(buffer).cast("B")
        data, source = self._end().recvfrom(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data), source

    def recvmsg(self, *args: Any) -> Any:
        """Refuse: no ancillary data comes through the network in memory."""
        raise error(errno.EOPNOTSUPP)

    def recvmsg_into(self, *args: Any) -> Any:
        """Refuse, as recvmsg() does."""
        raise error(errno.EOPNOTSUPP)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as much as there is room for; return how many bytes."""
        return self._end().send(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything, or raise BlockingIOError where there is no room for all of it."""
        self._end().sendall(data)

    def sendfile(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: it would have to block."""
        raise error(errno.EOPNOTSUPP)

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        """Send as much of the buffers as there is room for; return how many bytes."""
        if ancdata:
            raise error(errno.EOPNOTSUPP)
        return self._end().sendmsg(buffers, address)

    def sendto(self, data: Any, *args: Any) -> int:
        """Send a datagram, which may be lost."""
        return self._end().sendto(data, args[-1])

    def setsockopt(self, level: int, option: int, value: Any, length: Any = None) -> None:
        """Set an option. Most are only kept, for whoever asks for them."""
        self._end().setsockopt(level, option, value)

    def shutdown(self, how: int) -> None:
        """Say that nothing more will be sent, or read, or both."""
        self._end().shutdown(how)

    def __exit__(self, *args: object) -> None:
        self.close()

    def __repr__(self) -> str:
        endpoint = self._endpoint
        parts = [f"fd={self.fileno()}", f"family={self.family!s}", f"type={self.type!s}", f"proto={self.proto}"]
        if endpoint is None:
            parts.insert(0, "[closed]")
        else:
            parts += [
                f"{name}={address}"
                for name, address in (("laddr", endpoint.local), ("raddr", endpoint.peer))
                if address is not None
            ]
        return f"<{type(self).__name__} {', '.join(parts)}>"


class MemorySocket(_Face, socket.socket):
    """A socket that was made in memory."""

    __slots__ = ("_endpoint", "_kind", "_timeout")

    def __init__(self, endpoint: Endpoint) -> None:
        # Without socket.__init__, which is what makes a real one.
        endpoint.faces += 1
        self._endpoint: Endpoint | None = endpoint
        self._timeout: float | None = None
        self._kind = endpoint.family, endpoint.type, endpoint.proto

    @property
    def family(self) -> socket.AddressFamily:
        """The address family."""
        return _FAMILIES[self._kind[0]]

    @property
    def type(self) -> socket.SocketKind:
        """Stream or datagram."""
        return _KINDS[self._kind[1]]

    @property
    def proto(self) -> int:
        """The protocol."""
        return self._kind[2]

    def close(self) -> None:
        """Close."""
        endpoint = self._endpoint
        if endpoint is not None:
            self._endpoint = None
            endpoint.drop_face()

    def detach(self) -> int:
        """Close, for there is no file descriptor to go on with."""
        self.close()
        return -1

    def setblocking(self, flag: bool) -> None:
        """Keep whether to block, which no socket in memory does."""
        self._timeout = None if flag else 0.0

    def settimeout(self, value: float | None) -> None:
        """Keep how long to block, which no socket in memory does."""
        self._timeout = value

    def gettimeout(self) -> float | None:
        """Return what settimeout() was given."""
        return self._timeout

    def getblocking(self) -> bool:
        """Return what setblocking() was given."""
        return self._timeout != 0

    def __del__(self, _warn: Any = warnings.warn) -> None:
        endpoint = self._endpoint
        if endpoint is not None and not endpoint.closed:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
            self.close()


# What real sockets stand for, and what is called when they are closed or collected.
_endpoints: weakref.WeakKeyDictionary[socket.socket, tuple[Endpoint, Callable[[], object]]]
_endpoints = weakref.WeakKeyDictionary()


class _Adopted(_Face):
    """The methods of a real socket object that stands for one in memory. Its close() closes both."""

    __slots__ = ()

    @property
    def _endpoint(self) -> Endpoint | None:  # type: ignore[override]  # an attribute of the other kind
        entry = _endpoints.get(self)
        return None if entry is None else entry[0]

    def close(self) -> None:
        """Close."""
        entry = _endpoints.pop(self, None)
        if entry is not None:
            entry[1]()
        super().close()

    def detach(self) -> int:
        """Close, for the file descriptor stands for nothing any more."""
        self.close()
        return -1


class AdoptedSocket(_Adopted, socket.socket):
    """A real socket that stands for one in memory."""

    __slots__ = ()


def endpoint_of(sock: socket.socket) -> Endpoint | None:
    """Return what a socket stands for in memory, or None for one that does not."""
    return sock._endpoint if isinstance(sock, _Face) else None


def stand_for(sock: socket.socket, endpoint: Endpoint) -> None:
    """Have a real socket stand for an endpoint from now on."""
    kind = type(sock)
    if kind is socket.socket:
        sock.__class__ = AdoptedSocket
    elif not isinstance(sock, _Adopted):
        sock.__class__ = type(f"Adopted{kind.__name__}", (_Adopted, kind), {"__slots__": ()})
    endpoint.faces += 1
    _endpoints[sock] = endpoint, weakref.finalize(sock, endpoint.drop_face)
