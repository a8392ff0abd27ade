"""Sockets that send and receive datagrams.

Owns where a datagram goes, which of them are taken, and how many wait to be read.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Iterable
from typing import Any

from virtualloop.network import _dns
from virtualloop.network._dns import error
from virtualloop.network._fabric import Fabric
from virtualloop.network._kernel import ANYWHERE, HostKernel
from virtualloop.network._socket import UNIX, Socket

__all__ = ["DatagramSocket"]

#: The largest datagram that fits into a packet of IPv4.
MAX_DATAGRAM = 65507
#: How many bytes of memory datagrams take that wait to be read, before more are lost; Linux's default.
DATAGRAM_BUFFER = 212992
#: The least that an option may set it to, and that for sending; Linux doubles what is asked for, for what follows.
LEAST_BUFFER, LEAST_BUFFER_FOR_SENDING = 2304, 4608
#: What a datagram takes beside its bytes, in Linux's accounting: its descriptor, and what stands before and after the
#: bytes in a piece of memory whose size is a power of two; small ones come from a cache of pieces of one size.
DESCRIPTOR, AROUND, SMALL, SMALL_PIECE = 256, 320 + 44, 192, 576

_PEEK = int(socket.MSG_PEEK)


class DatagramSocket(Socket):
    """A socket for datagrams."""

    __slots__ = ("_datagrams", "_memory", "_twin", "_waiting_for_room")

    def __init__(self, fabric: Fabric, host: HostKernel, family: int, kind: int, proto: int) -> None:
        super().__init__(fabric, host, family, kind, proto)
        self.buffer_for_sending = self.buffer_for_receiving = DATAGRAM_BUFFER
        self._datagrams: deque[tuple[bytes, Any]] = deque()
        # How much memory they take.
        self._memory = 0
        # Who could not send to this unix socket, which loses nothing.
        self._waiting_for_room: list[DatagramSocket] = []
        # The other end of a pair.
        self._twin: DatagramSocket | None = None

    def may_read(self) -> bool:
        """Return whether select() would say so."""
        return bool(self._datagrams or self._error)

    def may_write(self) -> bool:
        """Return whether select() would say so: what has no room is lost, but for what is sent to unix sockets."""
        there = self._twin
        return there is None or there.closed or not there.is_full()

    # --- no connection ------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Refuse: nobody connects to a socket for datagrams."""
        raise error(errno.EOPNOTSUPP)

    def accept(self) -> Any:
        """Refuse, as listen() does."""
        raise error(errno.EOPNOTSUPP)

    def shutdown(self, how: int) -> None:
        """Refuse, where nothing is connected."""
        if self.peer is None:
            raise error(errno.ENOTCONN)

    def pair_with(self, other: DatagramSocket) -> None:
        """Be one end of a pair, without names."""
        self._twin, other._twin = other, self
        self.peer, other.peer = other.local or "", self.local or ""

    def connect(self, address: Any) -> None:
        """Send to this address from now on, and receive from nobody else."""
        if self.family == UNIX:
            self.peer = self.fabric.paths.find(self, address).local
            return
        host, port = self._parse(address, "connect")
        host = self._target(host)
        if self.fabric.find(self.host, host) is None:
            raise _dns.no_route()
        own = self.host.own_address(host)
        if self.local is None:
            self.take(own, 0)
        elif self._own()[0] in ANYWHERE:
            # From now on it has just the address that it sends from.
            _, own_port = self._own()
            self.host.unbind(self, own_port)
            self.host.bind(self, own, own_port)
            self.local = self._address(own, own_port)
        self.peer = self._address(host, port)

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, data: Any) -> int:
        """Send a datagram to whom this socket is connected to."""
        if self.peer is None:
            self._check_open()
            raise error(errno.EDESTADDRREQ)
        return self.sendto(data, self.peer)

    def sendall(self, data: Any) -> None:
        """The same."""
        self.send(data)

    def sendmsg(self, buffers: Iterable[Any], address: Any) -> int:
        """Send one datagram, made of several buffers."""
        data = b"".join(buffers)
        return self.send(data) if address is None else self.sendto(data, address)

    def sendto(self, data: Any, address: Any) -> int:
        """Send a datagram, which may be lost."""
        self._check_open()
        if self._error:
            raise self._take_error()
        data = bytes(data)
        if len(data) > MAX_DATAGRAM:
            raise error(errno.EMSGSIZE)
        if self.family == UNIX:
            there = self._twin if self._twin is not None else self.fabric.paths.find(self, address)
            there.take_in_or_refuse(data, self)
            return len(data)
        host, port = self._parse(address, "sendto")
        is_broadcast = host == "255.255.255.255"
        if is_broadcast and not self._options.get((socket.SOL_SOCKET, socket.SO_BROADCAST)):
            raise error(errno.EACCES)
        host = self._target(host)
        kernel = None if is_broadcast else self.fabric.find(self.host, host)
        if kernel is None and not is_broadcast:
            raise _dns.no_route()
        if self.local is None:
            self.take(_dns.ANY[self.family], 0)
        for each in [kernel] if kernel is not None else self.fabric.kernels.values():
            self._send_to_host(each, host, port, data)
        return len(data)

    def _send_to_host(self, there: HostKernel, address: str, port: int, data: bytes) -> None:
        """Send a datagram to whoever has the address when it arrives."""
        fabric = self.fabric
        own, own_port = self._own()
        source = (self.host.own_address(address) if own in ANYWHERE else own), own_port

        def arrive() -> None:
            bound = there.bound_to(self.type, address, port)
            if bound:
                # Of those that share the address, the last one.
                taker = [sock for sock in bound if sock.local == bound[0].local][-1]
                taker.take_in(data, source)
            elif fabric.is_expected(self.type, port):
                fabric.when_handed_in(arrive)
            else:
                self._refuse()

        target = fabric.label(there, address, port)
        if fabric.driver.recorder is not None:
            fabric.driver.recorder.send(target, len(data))
        fabric.link_between(self.host, there).send_datagram(f"datagram {self.label}->{target}", len(data), arrive)

    def _refuse(self) -> None:
        """Nobody takes datagrams where this socket sends them."""
        if not self.closed and self.peer is not None:
            self._error = errno.ECONNREFUSED
            self.notify_reader()

    # --- receiving ----------------------------------------------------------------------------------------------------

    def take_in(self, data: bytes, source: tuple[str, int]) -> None:
        """Keep a datagram to be read, if there is room; else it is lost."""
        address = self._address(*source)
        if self.closed or (self.peer is not None and address != self.peer):
            return
        memory = memory_of(data)
        if not self._memory or self._memory + memory <= self.buffer_for_receiving:
            self._keep(data, address, memory)

    def take_in_or_refuse(self, data: bytes, sender: DatagramSocket) -> None:
        """Keep a datagram that came over a unix socket; raise BlockingIOError where there is no room for it."""
        if self.peer is not None and self._twin is None and sender.local != self.peer:
            raise error(errno.EPERM)
        if self.is_full():
            if sender not in self._waiting_for_room:
                self._waiting_for_room.append(sender)
            raise error(errno.EAGAIN)
        self._keep(data, sender.local, memory_of(data))

    def is_full(self) -> bool:
        """Return whether there is no room for anything more that comes over a unix socket."""
        return self._memory >= self.buffer_for_receiving

    def _keep(self, data: bytes, source: Any, memory: int) -> None:
        self._datagrams.append((data, source))
        self._memory += memory
        self.notify_reader()

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return the next datagram, cut to `bufsize`."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        return self.recvfrom(bufsize, flags)[0]

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """Return the next datagram, cut to `bufsize`, and where it is from."""
        self._check_open()
        if self._error:
            raise self._take_error()
        if not self._datagrams:
            raise error(errno.EAGAIN)
        if flags & _PEEK:
            data, source = self._datagrams[0]
            return data[:bufsize], source
        data, source = self._datagrams.popleft()
        self._memory -= memory_of(data)
        self._let_senders_go_on()
        return data[:bufsize], source

    def _let_senders_go_on(self) -> None:
        waiting, self._waiting_for_room = self._waiting_for_room, []
        for sender in waiting:
            sender.notify_writer()

    def close(self) -> None:
        """Close; what waits to be read is lost."""
        if not self.closed:
            super().close()
            self._twin = None
            self._let_senders_go_on()

    # --- options ------------------------------------------------------------------------------------------------------

    def _set(self, option: int, value: Any) -> None:
        # They are doubled, as on Linux.
        if option == socket.SO_RCVBUF:
            self.buffer_for_receiving = max(2 * value, LEAST_BUFFER)
        elif option == socket.SO_SNDBUF:
            self.buffer_for_sending = max(2 * value, LEAST_BUFFER_FOR_SENDING)


def memory_of(data: bytes) -> int:
    """Return how much memory a datagram takes while it waits, in Linux's accounting; an empty one takes some, too."""
    if len(data) <= SMALL:
        return DESCRIPTOR + SMALL_PIECE
    return DESCRIPTOR + (1 << (len(data) + AROUND - 1).bit_length())
