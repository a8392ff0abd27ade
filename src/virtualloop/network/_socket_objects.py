"""The socket objects that programs hold.

Owns the two kinds of them, and when a socket has no more of them: sockets that are made in memory, and real ones
that a program made and handed to the loop, which stand for a socket in memory from then on.

The class of a real socket object is exchanged for one whose methods are those of that socket. So the program's own
`sock.getpeername()` and `sock.close()` mean the connection in memory, too; the real thing is only ever closed.
"""

from __future__ import annotations

import errno
import socket
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from virtualloop.network._datagram import DatagramSocket
from virtualloop.network._dns import error
from virtualloop.network._stream import StreamSocket

__all__ = ["AdoptedSocket", "AnySocket", "MemorySocket", "adopted_sockets", "socket_of", "stand_for"]

#: What a socket object of the program's stands for.
AnySocket = StreamSocket | DatagramSocket


# Looked up, because to make one of them takes as long as to send a few bytes.
_FAMILIES = {int(family): family for family in socket.AddressFamily}
_KINDS = {int(kind): kind for kind in socket.SocketKind}

#: How the text of what is refused goes on.
_REFUSED = " by a socket in memory"

if TYPE_CHECKING:
    _Base = socket.socket
else:
    # What follows comes before the class of a socket object, whichever that is, and adds nothing to its layout.
    _Base = object


class _SocketObject(_Base):
    """The methods of a socket object, which are those of a socket in memory. It never blocks, whatever it was told."""

    __slots__ = ()

    _socket: AnySocket | None

    def _end(self) -> AnySocket:
        """Return the socket in memory. Raises what sockets raise when they are closed."""
        own = self._socket
        if own is None or own.closed:
            raise error(errno.EBADF)
        return own

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
        own = self._socket
        return -1 if own is None else own.number

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
        raise error(errno.EOPNOTSUPP, f"{_REFUSED}: a file of one would have to block; await loop.sock_recv(sock, n)")

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return up to `bufsize` bytes; none at the end."""
        # As in send(), a call of _end() in line.
        own = self._socket
        if own is None:
            raise error(errno.EBADF)
        return own.recv(bufsize, flags)

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
        raise error(errno.EOPNOTSUPP, f"{_REFUSED}: no ancillary data comes through memory; use recv() or recvfrom()")

    def recvmsg_into(self, *args: Any) -> Any:
        """Refuse, as recvmsg() does."""
        return self.recvmsg(*args)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as much as there is room for; return how many bytes."""
        own = self._socket
        if own is None:
            raise error(errno.EBADF)
        return own.send(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything, or raise BlockingIOError where there is no room for all of it."""
        self._end().sendall(data)

    def sendfile(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: it would have to block."""
        raise error(errno.EOPNOTSUPP, f"{_REFUSED}: it would have to block; await loop.sock_sendfile(sock, file)")

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        """Send as much of the buffers as there is room for; return how many bytes."""
        if ancdata:
            raise error(errno.EOPNOTSUPP, f"{_REFUSED}: no ancillary data goes through memory")
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
        own = self._socket
        parts = [f"fd={self.fileno()}", f"family={self.family!s}", f"type={self.type!s}", f"proto={self.proto}"]
        if own is None:
            parts.insert(0, "[closed]")
        else:
            parts += [
                f"{name}={address}"
                for name, address in (("laddr", own.local), ("raddr", own.peer))
                if address is not None
            ]
        return f"<{type(self).__name__} {', '.join(parts)}>"


class MemorySocket(_SocketObject, socket.socket):
    """A socket that was made in memory."""

    __slots__ = ("_kind", "_socket", "_timeout")

    def __init__(self, sock: AnySocket) -> None:
        # Without socket.__init__, which is what makes a real one.
        sock.objects += 1
        self._socket: AnySocket | None = sock
        self._timeout: float | None = None
        self._kind = _FAMILIES[sock.family], _KINDS[sock.type], sock.proto

    @property
    def family(self) -> socket.AddressFamily:
        """The address family."""
        return self._kind[0]

    @property
    def type(self) -> socket.SocketKind:
        """Stream or datagram."""
        return self._kind[1]

    @property
    def proto(self) -> int:
        """The protocol."""
        return self._kind[2]

    def close(self) -> None:
        """Close."""
        own = self._socket
        if own is not None:
            self._socket = None
            own.objects -= 1
            if not own.objects:
                own.close()

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
        own = self._socket
        if own is not None and not own.closed:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
            self.close()


# What real sockets stand for, and what is called when they are closed or collected.
_standing_for: weakref.WeakKeyDictionary[socket.socket, tuple[AnySocket, Callable[[], object]]]
_standing_for = weakref.WeakKeyDictionary()


class _Adopted(_SocketObject):
    """The methods of a real socket object that stands for one in memory. Its close() closes both."""

    __slots__ = ()

    @property
    def _socket(self) -> AnySocket | None:  # type: ignore[override]  # an attribute of the other kind
        entry = _standing_for.get(self)
        return None if entry is None else entry[0]

    def close(self) -> None:
        """Close."""
        entry = _standing_for.pop(self, None)
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


def adopted_sockets() -> list[socket.socket]:
    """Return the real sockets that stand for some in memory."""
    return list(_standing_for)


def socket_of(sock: socket.socket) -> AnySocket | None:
    """Return what a socket stands for in memory, or None for one that does not."""
    return sock._socket if isinstance(sock, _SocketObject) else None


def stand_for(sock: socket.socket, stands_for: AnySocket) -> None:
    """Have a real socket stand for one in memory from now on."""
    kind = type(sock)
    if kind is socket.socket:
        sock.__class__ = AdoptedSocket
    elif not isinstance(sock, _Adopted):
        sock.__class__ = type(f"Adopted{kind.__name__}", (_Adopted, kind), {"__slots__": ()})
    stands_for.objects += 1
    _standing_for[sock] = stands_for, weakref.finalize(sock, stands_for.drop_object)
