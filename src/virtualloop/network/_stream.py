"""Sockets that connections are made of.

Owns what a connection does when it is asked not to wait: its states, its errors, its buffers, and the sockets that
others connect to.

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
from typing import Any

from virtualloop.network import _dns
from virtualloop.network._dns import error
from virtualloop.network._fabric import Fabric
from virtualloop.network._handshake import Handshake, Links, find_listener
from virtualloop.network._kernel import HostKernel
from virtualloop.network._pipe import FIN, RST, SYN, RecordedWire, Wire
from virtualloop.network._socket import UNIX, Socket

__all__ = ["StreamSocket"]

_PEEK = int(socket.MSG_PEEK)


class StreamSocket(Socket):
    """One end of a connection, or a socket that listens for connections."""

    __slots__ = (
        "_connecting",
        "_linger",
        "_waiting",
        "incoming",
        "listener",
        "out",
        "over",
        "shut_reading",
        "shut_writing",
    )

    def __init__(self, fabric: Fabric, host: HostKernel, family: int, kind: int, proto: int) -> None:
        super().__init__(fabric, host, family, kind, proto)
        self._linger = False
        #: The two directions of a connection.
        self.incoming: Wire[StreamSocket] | None = None
        self.out: Wire[StreamSocket] | None = None
        #: Whom the connection was made to, until it is accepted.
        self.listener: StreamSocket | None = None
        # Connections that wait to be accepted, if this socket listens.
        self._waiting: deque[StreamSocket] | None = None
        self._connecting = False
        self.shut_reading = self.shut_writing = False
        #: Whether the connection was reset, from here or from there.
        self.over = False

    def may_read(self) -> bool:
        """Return whether select() would say so."""
        wire = self.incoming
        if wire is not None:
            return wire.size > 0 or wire.ended or self._error != 0 or self.over or self.shut_reading
        if self._waiting is not None:
            return len(self._waiting) > 0
        return not self._connecting  # It is hung up.

    def may_write(self) -> bool:
        """Return whether select() would say so: not for a few bytes of room in a full buffer."""
        if self._connecting or self._waiting is not None:
            return False
        wire = self.out
        if wire is None or self._error or self.over or self.shut_writing:
            return True
        return (wire.capacity - wire.size - wire.flying) * 3 >= wire.capacity

    def getpeername(self) -> Any:
        """Return the address of the other end."""
        if self._connecting or self.over:
            raise error(errno.ENOTCONN)
        return super().getpeername()

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
        if self.peer is not None:
            raise error(errno.EINVAL)
        if self.local is None:
            if self.family == UNIX:
                raise error(errno.EINVAL)
            self.take(_dns.ANY[self.family], 0)
        elif self.family != UNIX and self._waiting is None and self.host.is_listened(self):
            raise error(errno.EADDRINUSE)
        if self._waiting is None:
            self._waiting = deque()

    def accept(self) -> StreamSocket:
        """Return the next connection."""
        if self._waiting is None:
            raise error(errno.EINVAL)
        if not self._waiting:
            raise error(errno.EAGAIN)
        connection = self._waiting.popleft()
        connection.listener = None
        return connection

    def connect(self, address: Any) -> None:
        """Ask for a connection. Raises BlockingIOError, for it is made when this socket may be written."""
        if self._connecting:
            raise error(errno.EALREADY)
        if self.peer is not None:
            raise error(errno.EISCONN)
        if self._waiting is not None:
            raise error(errno.EINVAL if self.family == UNIX else errno.EISCONN)
        if self.family == UNIX:
            listener = self.fabric.paths.find(self, address)
            if not listener.listens:
                raise error(errno.ECONNREFUSED)
            self.peer = listener.local
            self._establish(listener, listener.host, None)
            self._ask_to_be_accepted_there()
            return
        host, port = self._parse(address, "connect")
        host = self._target(host)
        there = self.fabric.find(self.host, host)
        if there is None:
            raise _dns.no_route()
        if self.local is None:
            own = host if there is self.host else self.host.own_address(host)
            self.take(own, 0, is_connected=True)
        self.peer = self._address(host, port)
        self._connecting = True
        out = self.fabric.link_between(self.host, there)
        back = out if there is self.host else self.fabric.link_between(there, self.host)
        # Where nothing takes time, there is no handshake but for one that fails.
        listener = find_listener(self, there, host, port) if out.is_perfect and back.is_perfect else None
        if listener is not None:
            self.established(listener, there, (out, back))
        else:
            Handshake(self.fabric, self, there, host, port)
        raise error(errno.EINPROGRESS)

    def _establish(self, listener: StreamSocket, there: HostKernel, links: Links | None) -> None:
        """Make the other end, and the wires between the two."""
        other = StreamSocket(self.fabric, there, listener.family, self.type, self.proto)
        if listener._options:
            other._options.update(listener._options)
        other.buffer_for_sending = listener.buffer_for_sending
        other.buffer_for_receiving = listener.buffer_for_receiving
        if self.family == UNIX:
            other.local, other.peer = self.peer, self.local if self.local is not None else ""
        elif self.family == other.family:
            other.local, other.peer = self.peer, self.local
        else:  # A socket of IPv6 has asked for one of IPv4, or the other way round.
            other.local = other._address(_dns.unmapped(self.peer[0]), self.peer[1])
            other.peer = other._address(*self._own())
        other.listener = listener
        self.pair_with(other, links)

    def pair_with(self, other: StreamSocket, links: Links | None = None) -> None:
        """Lay the two wires of a connection."""
        if self.peer is None:
            self.peer, other.peer = other.local or "", self.local or ""
        there, back = links or (None, None)
        recorder = self.fabric.driver.recorder
        if recorder is None:
            self.out = other.incoming = Wire(self, other, there)
            other.out = self.incoming = Wire(other, self, back)
        else:
            self.out = other.incoming = RecordedWire(self, other, there, recorder)
            other.out = self.incoming = RecordedWire(other, self, back, recorder)

    def _ask_to_be_accepted_there(self) -> None:
        assert self.out is not None
        self._connecting = False
        self.out.put(SYN)
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

    def established(self, listener: StreamSocket, there: HostKernel, links: Links) -> None:
        """The other side has answered."""
        if self.closed:
            return
        self._establish(listener, there, links)
        self._ask_to_be_accepted_there()

    def fail(self, code: int) -> None:
        """The connection that was asked for is not made, or there is no connection any more."""
        if self.closed:
            return
        self._error = code
        if self._connecting:
            self._connecting = False
            self.peer = None
        else:
            self.over = True
        self.notify_reader()
        self.notify_writer()

    def reset(self) -> None:
        """Break the connection for both ends."""
        assert self.out is not None
        self.fabric.note("reset", f"{self.out}: reset")
        for end in (self.out.target, self):
            if end.incoming is not None:
                end.incoming.cut()
            end.reset_by_peer()

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
        if self.out is None or self._connecting or self.over:
            raise error(errno.ENOTCONN)
        if how in (socket.SHUT_WR, socket.SHUT_RDWR) and not self.shut_writing:
            self.shut_writing = True
            self.out.put(FIN)
            self.notify_writer()
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self.shut_reading = True
            self.notify_reader()

    def close(self) -> None:
        """Close: what was sent still arrives at the other end, unless something is left unread here."""
        if self.closed:
            return
        super().close()
        for connection in self._waiting or ():
            connection.abandon()
        out, incoming = self.out, self.incoming
        if out is None or incoming is None:
            return
        if not self.over:
            self.over = True
            if self._linger or incoming.size:
                out.put(RST)
            elif not self.shut_writing:
                out.put(FIN)
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
        if wire is None or self._error or self.over or self.shut_writing:
            raise self._no_sending()
        if type(data) is bytes and wire.put_at_once(data):
            return len(data)
        room = wire.room
        if room <= 0 and len(data):
            raise error(errno.EAGAIN)
        if type(data) is not bytes:
            data = memoryview(data).cast("B") if len(data) else b""
        if len(data) > room:
            data = data[:room]
        if len(data):
            if wire.link is not None and not wire.link.is_perfect and wire.link.resets():
                # The error's traceback must not hold a view of a buffer that its owner is going to clear.
                data = None
                self.reset()
                raise self._no_sending()
            wire.put(data if type(data) is bytes else bytes(data))
        return len(data)

    def _no_sending(self) -> OSError:
        self._check_open()
        if self._error:
            return self._take_error()
        if self._connecting:
            return error(errno.EAGAIN)
        if self.family == UNIX and self.out is None:
            return error(errno.ENOTCONN)
        return error(errno.EPIPE)

    def sendto(self, data: Any, address: Any) -> int:
        """Send, wherever the connection leads."""
        return self.send(data)

    def sendmsg(self, buffers: Iterable[Any], address: Any) -> int:
        """Send as much of the buffers as there is room for; return how many bytes."""
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
        if self.out is not None and len(data) > self.out.room:
            raise error(errno.EAGAIN)
        self.send(data)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return up to `bufsize` bytes; none at the end."""
        wire = self.incoming
        if wire is not None and wire.size and bufsize > 0 and not self.closed:
            link = wire.link
            if link is not None and not link.is_perfect:
                bufsize = link.piece(wire, min(wire.size, bufsize))
            if wire.size <= bufsize and len(wire.chunks) == 1:
                # What take() does, in line: most of what is read comes here.
                data = wire.chunks.pop()
                wire.size = 0
            else:
                data = wire.take(bufsize)
            if flags & _PEEK:
                wire.put_back(data)
                return data
            writing = wire.source.writing
            if writing is not None and writing.watcher is not None:
                writing.notify()
            return data
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        self._check_open()
        if self._error:
            raise self._take_error()
        if wire is None:
            raise error(errno.EAGAIN if self._connecting else errno.ENOTCONN)
        if wire.ended or self.over or self.shut_reading or not bufsize:
            return b""
        raise error(errno.EAGAIN)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """Return up to `bufsize` bytes, and no address."""
        return self.recv(bufsize, flags), None

    # --- options ------------------------------------------------------------------------------------------------------

    def _set(self, option: int, value: Any) -> None:
        super()._set(option, value)
        if option == socket.SO_SNDBUF and self.out is not None:
            self.out.capacity = self.buffer_for_sending + self.out.target.buffer_for_receiving
        elif option == socket.SO_RCVBUF and self.incoming is not None:
            self.incoming.capacity = self.buffer_for_receiving + self.incoming.source.buffer_for_sending
        elif option == socket.SO_LINGER:
            self._linger = isinstance(value, bytes) and struct.unpack("ii", value) == (1, 0)
