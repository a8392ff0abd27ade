"""What an operating system keeps of a socket.

Owns what a socket does when it is asked not to wait: its states, its errors, its buffers. Knows nothing of asyncio, and
of the objects that programs hold: those are faces, and when the last one is closed, so is the endpoint.

The behaviour is that of Linux over its loopback: a connection is made inside connect(), and reported as in progress; a
socket that is closed with bytes unread resets the connection; the first bytes sent to a socket that is closed are
taken, and what they bring back makes the next call fail.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from virtualloop.network import _names
from virtualloop.network._names import error
from virtualloop.network._watch import Watch
from virtualloop.network._wire import BUFFER, END, HELLO, RESET, RecordedWire, Wire

if TYPE_CHECKING:
    from virtualloop.network._machines import Machine
    from virtualloop.network._medium import Medium

__all__ = ["Endpoint"]

#: The largest datagram that fits into a packet of IPv4.
MAX_DATAGRAM = 65507
#: How many bytes of datagrams wait to be read before more are lost; Linux's default.
DATAGRAM_BUFFER = 212992

_UNIX = getattr(socket, "AF_UNIX", None)
_DATAGRAM = int(socket.SOCK_DGRAM)
_PEEK = int(socket.MSG_PEEK)


class Endpoint:
    """A socket that exists in memory only. What would have to wait raises BlockingIOError."""

    __slots__ = (
        "_connecting",
        "_datagrams",
        "_error",
        "_linger",
        "_options",
        "_peer",
        "_reader",
        "_waiting",
        "_writer",
        "buffer_for_receiving",
        "buffer_for_sending",
        "closed",
        "faces",
        "family",
        "host",
        "incoming",
        "listener",
        "local",
        "medium",
        "number",
        "out",
        "over",
        "proto",
        "shut_reading",
        "shut_writing",
        "type",
    )

    def __init__(self, medium: Medium, host: Machine, family: int, kind: int, proto: int) -> None:
        self.medium = medium
        self.host = host
        # As plain integers: the kinds of enum that the socket module has them as take long to make and to compare.
        self.family = int(family)
        self.type = int(kind)
        self.proto = proto
        #: What stands for its file descriptor.
        self.number = medium.next_number()
        #: How many objects of the program's stand for it.
        self.faces = 0
        self._options: dict[tuple[int, int], Any] = {}
        self.buffer_for_sending = self.buffer_for_receiving = BUFFER
        self._linger = False
        #: The address of this end, or None if it has none yet.
        self.local: Any = None
        self._peer: Any = None
        #: The two directions of a connection.
        self.incoming: Wire | None = None
        self.out: Wire | None = None
        #: Whom the connection was made to, until it is accepted.
        self.listener: Endpoint | None = None
        # Connections that wait to be accepted, if this socket listens.
        self._waiting: deque[Endpoint] | None = None
        self._datagrams: deque[tuple[bytes, Any]] = deque()
        self._connecting = False
        self._error = 0
        self.shut_reading = self.shut_writing = False
        #: Whether the connection was reset, from here or from there.
        self.over = False
        self.closed = False
        self._reader: Watch | None = None
        self._writer: Watch | None = None
        medium.sockets[self.number] = self
        if medium.loop._watch is not None:
            medium.loop._watch.made_socket(self.number)

    # --- being waited for ---------------------------------------------------------------------------------------------

    @property
    def reader(self) -> Watch:
        """Who waits until there is something to read."""
        if self._reader is None:
            self._reader = Watch(self.medium.loop, self.may_read)
        return self._reader

    @property
    def writer(self) -> Watch:
        """Who waits until something can be written."""
        if self._writer is None:
            self._writer = Watch(self.medium.loop, self.may_write)
        return self._writer

    def waits_to_read(self) -> bool:
        """Return whether somebody waits to read."""
        return self._reader is not None and self._reader.handle is not None

    def waits_to_write(self) -> bool:
        """Return whether somebody waits to write."""
        return self._writer is not None and self._writer.handle is not None

    def may_read(self) -> bool:
        """Return whether select() would say so."""
        if self._waiting is not None:
            return bool(self._waiting)
        if self.type == _DATAGRAM:
            return bool(self._datagrams or self._error)
        wire = self.incoming
        if wire is None:
            return bool(self._error)
        return bool(wire.size or wire.ended or self._error or self.over or self.shut_reading)

    def may_write(self) -> bool:
        """Return whether select() would say so: not for a few bytes of room in a full buffer."""
        if self._connecting or self._waiting is not None:
            return False
        wire = self.out
        if wire is None or self._error or self.over or self.shut_writing:
            return True
        return wire.room * 3 >= wire.capacity

    def notify_reader(self) -> None:
        """Something came in."""
        if self._reader is not None:
            self._reader.notify()

    def notify_writer(self) -> None:
        """Something went out."""
        if self._writer is not None:
            self._writer.notify()

    # --- addresses ----------------------------------------------------------------------------------------------------

    def getsockname(self) -> Any:
        """Return the address of this end."""
        self._check_open()
        if self.local is not None:
            return self.local
        if self.family == _UNIX:
            return ""
        return self._address(_names.ANY[self.family], 0)

    def getpeername(self) -> Any:
        """Return the address of the other end."""
        self._check_open()
        if self._peer is None or self._connecting or self.over:
            raise error(errno.ENOTCONN)
        return self._peer

    def _address(self, host: str, port: int) -> Any:
        return (host, port) if self.family == socket.AF_INET else (host, port, 0, 0)

    def _parse(self, address: Any, method: str) -> tuple[str, int]:
        """Return host and port of a socket address. Raises what sockets raise for what is none."""
        if not isinstance(address, tuple):
            family = socket.AddressFamily(self.family).name
            raise TypeError(f"{method}(): {family} address must be tuple, not {type(address).__name__}")
        most = 2 if self.family == socket.AF_INET else 4
        if not 2 <= len(address) <= most:
            raise TypeError(f"{method}(): wrong format for {socket.AddressFamily(self.family).name} address")
        host, port = address[:2]
        number = _names.check_port(port, method)
        if isinstance(host, bytes | bytearray):
            host = host.decode()
        if not isinstance(host, str):
            raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
        if host == "":
            return _names.ANY[self.family], number
        if host == "<broadcast>":
            return "255.255.255.255", number
        literal = _names.literal(host)
        if literal is not None and literal[0] == self.family:
            return literal[1], number
        info = self.medium.look_up(self.host, host, None, family=self.family, kind=self.type)
        return info[0][4][0], number

    def bind(self, address: Any) -> None:
        """Take an address."""
        self._check_open()
        if self.local is not None:
            raise error(errno.EINVAL)
        if self.family == _UNIX:
            self.local = self.medium.paths.bind(self, address)
            return
        host, port = self._parse(address, "bind")
        if host != _names.ANY[self.family] and not self.host.has(host):
            raise error(errno.EADDRNOTAVAIL)
        self.take(host, port)

    def take(self, host: str, port: int, *, is_connected: bool = False) -> None:
        """Take an address of this host, port 0 being any that is free. Connections may have the same one."""
        if not port:
            port = self.host.free_port(self, host)
        elif not is_connected and self.host.is_taken(self, host, port):
            raise error(errno.EADDRINUSE)
        self.host.bind(self, host, port)
        self.local = self._address(host, port)

    @property
    def peer(self) -> Any:
        """The address of the other end, or None."""
        return self._peer

    @property
    def label(self) -> str:
        """How this end is called in texts."""
        return f"{self.host.name}:{self.local[1]}" if self.local and self.family in _names.ANY else self.host.name

    @property
    def only_v6(self) -> bool:
        """Whether a socket of IPv6 leaves the addresses of IPv4 to others."""
        return bool(self._options.get((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)))

    @property
    def shares(self) -> bool:
        """Whether others that say so, too, may take the same address."""
        port = getattr(socket, "SO_REUSEPORT", None)
        return bool(port is not None and self._options.get((socket.SOL_SOCKET, port)))

    @property
    def reuses(self) -> bool:
        """Whether the address may be taken that a connection had before."""
        return bool(self._options.get((socket.SOL_SOCKET, socket.SO_REUSEADDR)))

    # --- connections --------------------------------------------------------------------------------------------------

    @property
    def is_connecting(self) -> bool:
        """Whether a connection was asked for, and there is no answer yet."""
        return self._connecting

    @property
    def listens(self) -> bool:
        """Whether connections can be made to this socket."""
        return self._waiting is not None and not self.closed

    def listen(self) -> None:
        """Let others connect."""
        self._check_open()
        if self.type != socket.SOCK_STREAM:
            raise error(errno.EOPNOTSUPP)
        if self._peer is not None:
            raise error(errno.EINVAL)
        if self.local is None:
            if self.family == _UNIX:
                raise error(errno.EINVAL)
            self.take(_names.ANY[self.family], 0)
        elif self.family != _UNIX and self._waiting is None and self.host.is_listened(self):
            raise error(errno.EADDRINUSE)
        if self._waiting is None:
            self._waiting = deque()

    def accept(self) -> Endpoint:
        """Return the next connection."""
        self._check_open()
        if self._waiting is None:
            raise error(errno.EINVAL)
        if not self._waiting:
            raise error(errno.EAGAIN)
        connection = self._waiting.popleft()
        connection.listener = None
        return connection

    def connect(self, address: Any) -> None:
        """Ask for a connection. Raises BlockingIOError, for it is made when this socket may be written."""
        self._check_open()
        if self.type == _DATAGRAM:
            self._connect_datagrams(address)
            return
        if self._connecting:
            raise error(errno.EALREADY)
        if self._peer is not None:
            raise error(errno.EISCONN)
        if self._waiting is not None:
            raise error(errno.EINVAL)
        if self.family == _UNIX:
            listener = self.medium.paths.find(self, address)
            if not listener.listens:
                raise error(errno.ECONNREFUSED)
            self._peer = listener.local
            self._establish(listener, listener.host, None)
            self._hail()
            return
        host, port = self._parse(address, "connect")
        if host == _names.ANY[self.family]:
            host = _names.LOOPBACK[self.family]
        there = self.host.find(host)
        if there is None:
            raise _names.no_route()
        if self.local is None:
            self.take(self.host.own_address(host), 0)
        self._peer = self._address(host, port)
        self._connecting = True
        self.medium.connect(self, there, host, port)
        raise error(errno.EINPROGRESS)

    def _establish(self, listener: Endpoint, there: Machine, links: Any) -> None:
        """Make the other end, and the wires between the two."""
        other = Endpoint(self.medium, there, listener.family, self.type, self.proto)
        other._options.update(listener._options)
        other.buffer_for_sending = listener.buffer_for_sending
        other.buffer_for_receiving = listener.buffer_for_receiving
        if self.family == _UNIX:
            other.local, other._peer = self._peer, self.local if self.local is not None else ""
        elif listener.family == self.family:
            other.local, other._peer = self._peer, self.local
        else:  # to a socket of IPv6 that takes IPv4 as well
            other.local, other._peer = (
                other._address(f"::ffff:{host}", port) for host, port in (self._peer, self.local)
            )
        other.listener = listener
        self.pair_with(other, links)

    def pair_with(self, other: Endpoint, links: Any = None) -> None:
        """Lay the two wires of a connection."""
        if self._peer is None:
            self._peer, other._peer = other.local or "", self.local or ""
        there, back = links or (None, None)
        make = Wire if self.medium.loop._recorder is None else RecordedWire
        self.out = other.incoming = make(self, other, there)
        other.out = self.incoming = make(other, self, back)

    def _hail(self) -> None:
        """Ask the listener at the other end to accept the connection."""
        assert self.out is not None
        self._connecting = False
        self.out.put(HELLO)
        self.notify_writer()

    def ask_to_be_accepted(self) -> None:
        """Wait for the listener to accept this connection; if it is gone, there is none."""
        listener = self.listener
        if listener is None or not listener.listens:
            self.abandon()
            return
        assert listener._waiting is not None
        listener._waiting.append(self)
        listener.notify_reader()

    def established(self, listener: Endpoint, there: Machine, links: Any) -> None:
        """The other side has answered."""
        if self.closed:
            return
        self._establish(listener, there, links)
        self._hail()

    def fail(self, code: int) -> None:
        """The connection that was asked for is not made, or there is no connection any more."""
        if self.closed:
            return
        self._error = code
        if self._connecting:
            self._connecting = False
            self._peer = None
        else:
            self.over = True
        self.notify_reader()
        self.notify_writer()

    def reset_by_peer(self) -> None:
        """The other end is gone, and what was sent to it is lost."""
        # One that waits to be accepted still is, and whoever reads from it learns of it.
        if not self.over and self.incoming is not None:
            self.fail(errno.EPIPE if self.incoming.ended else errno.ECONNRESET)

    def abandon(self) -> None:
        """Close, and let the other end see a reset."""
        self._linger = True
        self.close()

    def shutdown(self, how: int) -> None:
        """Say that nothing more will be sent, or read, or both."""
        self._check_open()
        if self.out is None or self._connecting or self.over:
            raise error(errno.ENOTCONN)
        if how in (socket.SHUT_WR, socket.SHUT_RDWR) and not self.shut_writing:
            self.shut_writing = True
            self.out.put(END)
            self.notify_writer()
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self.shut_reading = True
            self.notify_reader()

    def drop_face(self) -> None:
        """One object less stands for this endpoint; with the last one, it is closed."""
        self.faces -= 1
        if not self.faces:
            self.close()

    def close(self) -> None:
        """Close: what was sent still comes in at the other end, unless something is left unread here."""
        if self.closed:
            return
        self.closed = True
        for watch in (self._reader, self._writer):
            if watch is not None:
                watch.close()
        self._reader = self._writer = None
        self.medium.forget(self)
        for connection in self._waiting or ():
            connection.abandon()
        out, incoming = self.out, self.incoming
        if out is None or incoming is None:
            return
        if not self.over:
            self.over = True
            if self._linger or incoming.size:
                out.put(RESET)
            elif not self.shut_writing:
                out.put(END)
        other = out.target
        if other.closed:
            # Nobody asks for the wires any more, and without them neither end is part of a cycle.
            self.out = self.incoming = other.out = other.incoming = None

    def vanish(self) -> None:
        """Be gone without a word, as in a power cut."""
        self.over = True
        self._waiting = None if self._waiting is None else deque()
        self.close()

    # --- bytes --------------------------------------------------------------------------------------------------------

    def send(self, data: Any) -> int:
        """Send as much as there is room for; return how many bytes."""
        wire = self.out
        if self.type == _DATAGRAM:
            if self._peer is None:
                self._check_open()
                raise error(errno.EDESTADDRREQ)
            return self.sendto(data, self._peer)
        if wire is None or self._error or self.over or self.shut_writing:
            raise self._no_sending()
        if type(data) is not bytes:
            data = memoryview(data).cast("B") if len(data) else b""
        room = wire.room
        if len(data) > room:
            if room <= 0:
                raise error(errno.EAGAIN)
            data = data[:room]
        if len(data):
            if wire.link is not None and not wire.link.is_perfect and wire.link.resets(wire):
                self.medium.reset_connection(self)
                raise self._no_sending()
            wire.put(data if type(data) is bytes else bytes(data))
        return len(data)

    def _no_sending(self) -> OSError:
        self._check_open()
        if self._error:
            return self._take_error()
        if self._connecting:
            return error(errno.EAGAIN)
        if self.family == _UNIX and self.out is None:
            return error(errno.ENOTCONN)
        return error(errno.EPIPE)

    def sendmsg(self, buffers: Iterable[Any], address: Any) -> int:
        """Send as much of the buffers as there is room for; return how many bytes."""
        if self.type == _DATAGRAM:
            data = b"".join(buffers)
            return self.send(data) if address is None else self.sendto(data, address)
        sent = 0
        for buffer in buffers:
            try:
                part = self.send(buffer)
            except BlockingIOError:
                if sent:
                    break
                raise
            sent += part
            if part < len(buffer):
                break
        return sent

    def sendall(self, data: Any) -> None:
        """Send everything, or raise BlockingIOError where there is no room for all of it."""
        if self.type == socket.SOCK_STREAM and self.out is not None and len(data) > self.out.room:
            raise error(errno.EAGAIN)
        self.send(data)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return up to `bufsize` bytes; none at the end."""
        wire = self.incoming
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        if wire is not None and wire.size and bufsize and not self.closed:
            if wire.link is not None and not wire.link.is_perfect:
                bufsize = wire.link.piece(wire, min(wire.size, bufsize))
            data = wire.take(bufsize)
            if flags & _PEEK:
                wire.put_back(data)
                return data
            if wire.source._writer is not None:
                wire.source._writer.notify()
            return data
        self._check_open()
        if self.type == _DATAGRAM:
            return self.recvfrom(bufsize, flags)[0]
        if self._error:
            raise self._take_error()
        if wire is None:
            raise error(errno.EAGAIN if self._connecting else errno.ENOTCONN)
        if wire.ended or self.over or self.shut_reading or not bufsize:
            return b""
        raise error(errno.EAGAIN)

    # --- datagrams ----------------------------------------------------------------------------------------------------

    def _connect_datagrams(self, address: Any) -> None:
        if self.family == _UNIX:
            self._peer = self.medium.paths.find(self, address).local
            return
        host, port = self._parse(address, "connect")
        if host == _names.ANY[self.family]:
            host = _names.LOOPBACK[self.family]
        if self.host.find(host) is None:
            raise _names.no_route()
        if self.local is None:
            self.take(self.host.own_address(host), 0)
        self._peer = self._address(host, port)

    def sendto(self, data: Any, address: Any) -> int:
        """Send a datagram, which may be lost."""
        self._check_open()
        if self.type == socket.SOCK_STREAM:
            return self.send(data)
        if self._error:
            raise self._take_error()
        data = bytes(data)
        if len(data) > MAX_DATAGRAM:
            raise error(errno.EMSGSIZE)
        if self.family == _UNIX:
            self.medium.paths.find(self, address).take_in(data, self.local)
            return len(data)
        host, port = self._parse(address, "sendto")
        broadcast = host == "255.255.255.255"
        if broadcast and not self._options.get((socket.SOL_SOCKET, socket.SO_BROADCAST)):
            raise error(errno.EACCES)
        if host == _names.ANY[self.family]:
            host = _names.LOOPBACK[self.family]
        there = None if broadcast else self.host.find(host)
        if there is None and not broadcast:
            raise _names.no_route()
        if self.local is None:
            self.take(_names.ANY[self.family], 0)
        for each in [there] if there is not None else self.medium.machines.values():
            self.medium.send_datagram(self, each, host, port, data)
        return len(data)

    def datagram_source(self, target: str) -> Any:
        """Return the address that a datagram to `target` is from."""
        host, port = self.local[:2]
        return self._address(self.host.own_address(target) if host == _names.ANY[self.family] else host, port)

    def take_in(self, data: bytes, source: Any) -> None:
        """Keep a datagram to be read, if there is room; else it is lost."""
        if self.closed or (self._peer is not None and source != self._peer):
            return
        if sum(len(each) for each, _ in self._datagrams) + len(data) <= DATAGRAM_BUFFER:
            self._datagrams.append((data, source))
            self.notify_reader()

    def refuse(self) -> None:
        """Nobody takes datagrams where this socket sends them."""
        if not self.closed and self._peer is not None:
            self._error = errno.ECONNREFUSED
            self.notify_reader()

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """Return the next datagram, cut to `bufsize`, and where it is from."""
        if self.type == socket.SOCK_STREAM:
            return self.recv(bufsize, flags), None
        self._check_open()
        if self._error:
            raise self._take_error()
        if not self._datagrams:
            raise error(errno.EAGAIN)
        data, source = self._datagrams[0] if flags & _PEEK else self._datagrams.popleft()
        return data[:bufsize], source

    # --- options ------------------------------------------------------------------------------------------------------

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Set an option. Most are only kept, for whoever asks for them."""
        self._check_open()
        self._options[level, option] = value
        if level != socket.SOL_SOCKET:
            return
        if option == socket.SO_SNDBUF:
            self.buffer_for_sending = max(value, 1)
            if self.out is not None:
                self.out.capacity = self.buffer_for_sending + self.out.target.buffer_for_receiving
        elif option == socket.SO_RCVBUF:
            self.buffer_for_receiving = max(value, 1)
            if self.incoming is not None:
                self.incoming.capacity = self.buffer_for_receiving + self.incoming.source.buffer_for_sending
        elif option == socket.SO_LINGER:
            self._linger = isinstance(value, bytes) and struct.unpack("ii", value) == (1, 0)

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> Any:
        """Return an option."""
        self._check_open()
        value: Any = self._options.get((level, option), 0)
        if level == socket.SOL_SOCKET:
            if option == socket.SO_ERROR:
                value, self._error = self._error, 0
            elif option == socket.SO_TYPE:
                value = int(self.type)
            elif option == socket.SO_SNDBUF:
                value = self.buffer_for_sending
            elif option == socket.SO_RCVBUF:
                value = self.buffer_for_receiving
            elif option == socket.SO_ACCEPTCONN:
                value = int(self._waiting is not None)
        if buflen and isinstance(value, int):
            return struct.pack("i", value)[:buflen]
        return value

    # --- errors -------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.closed:
            raise error(errno.EBADF)

    def _take_error(self) -> OSError:
        code, self._error = self._error, 0
        return error(code)
