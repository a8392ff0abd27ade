"""What an operating system keeps of a socket.

Owns what all sockets have in common when they are asked not to wait: addresses, options, errors, who waits for them.
Knows nothing of asyncio, and of the objects that programs hold: when the last one of those is closed, so is the socket,
and it is they that say so whatever is asked of it then, but for bytes.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from virtualloop.network import _dns
from virtualloop.network._dns import error
from virtualloop.network._fabric import Fabric
from virtualloop.network._kernel import ANYWHERE, HostKernel
from virtualloop.network._pipe import BUFFER
from virtualloop.network._readiness import Readiness

__all__ = ["UNIX", "Socket"]

#: The family of unix sockets, or None where there are none.
UNIX = getattr(socket, "AF_UNIX", None)

_INET, _SOL_SOCKET = int(socket.AF_INET), int(socket.SOL_SOCKET)


class Socket:
    """A socket that exists in memory only. What would have to wait raises BlockingIOError."""

    __slots__ = (
        "_error",
        "_options",
        "buffer_for_receiving",
        "buffer_for_sending",
        "closed",
        "fabric",
        "family",
        "host",
        "local",
        "number",
        "objects",
        "peer",
        "port",
        "proto",
        "reading",
        "type",
        "writing",
    )

    def __init__(self, fabric: Fabric, host: HostKernel, family: int, kind: int, proto: int) -> None:
        self.fabric = fabric
        self.host = host
        # As plain integers: the kinds of enum that the socket module has them as take long to make and to compare.
        self.family = family if type(family) is int else int(family)
        self.type = kind if type(kind) is int else int(kind)
        self.proto = proto
        #: What stands for its file descriptor.
        self.number = fabric.add(self)
        #: How many objects of the program's stand for it.
        self.objects = 0
        self._options: dict[tuple[int, int], Any] = {}
        self.buffer_for_sending = self.buffer_for_receiving = BUFFER
        #: The address of this end, or None if it has none yet.
        self.local: Any = None
        #: The port of its host's that it has, or None: what was accepted has none but its listener's.
        self.port: int | None = None
        #: The address of the other end, or None.
        self.peer: Any = None
        self._error = 0
        self.closed = False
        self.reading: Readiness | None = None
        self.writing: Readiness | None = None

    # --- being waited for ---------------------------------------------------------------------------------------------

    @property
    def reader(self) -> Readiness:
        """Who waits until there is something to read."""
        if self.reading is None:
            self.reading = Readiness(self.fabric.driver, self.may_read)
        return self.reading

    @property
    def writer(self) -> Readiness:
        """Who waits until something can be written."""
        if self.writing is None:
            self.writing = Readiness(self.fabric.driver, self.may_write)
        return self.writing

    def waits_to_read(self) -> bool:
        """Return whether somebody waits to read."""
        return self.reading is not None and self.reading.watcher is not None

    def waits_to_write(self) -> bool:
        """Return whether somebody waits to write."""
        return self.writing is not None and self.writing.watcher is not None

    def may_read(self) -> bool:
        """Return whether select() would say so."""
        raise NotImplementedError

    def may_write(self) -> bool:
        """Return whether select() would say so."""
        raise NotImplementedError

    def notify_reader(self) -> None:
        """Something has arrived."""
        if self.reading is not None:
            self.reading.notify()

    def notify_writer(self) -> None:
        """Something has left."""
        if self.writing is not None:
            self.writing.notify()

    # --- addresses ----------------------------------------------------------------------------------------------------

    def getsockname(self) -> Any:
        """Return the address of this end."""
        if self.local is not None:
            return self.local
        if self.family == UNIX:
            return ""
        return self._address(_dns.ANY[self.family], 0)

    def getpeername(self) -> Any:
        """Return the address of the other end."""
        if self.peer is None:
            raise error(errno.ENOTCONN)
        return self.peer

    def _address(self, host: str, port: int) -> Any:
        """Return an address as this socket's family has it."""
        if self.family == _INET:
            return host, port
        if ":" not in host:
            return f"::ffff:{host}", port, 0, 0
        return host, port, 0, self.fabric.scope_of(host) if _dns.needs_scope(host) else 0

    def _own(self) -> tuple[str, int]:
        """Return the host, of IPv4 where that is meant, and the port of this end."""
        return _dns.unmapped(self.local[0]), self.local[1]

    def _parse(self, address: Any, method: str) -> tuple[str, int]:
        """Return host and port of a socket address. Raises what sockets raise for what is none.

        A host of IPv4 is one also where a socket of IPv6 has it as a mapped address.
        """
        if type(address) is tuple and len(address) == 2 and self.family == _INET:
            host, port = address
            if type(host) is str and type(port) is int and 0 <= port <= 0xFFFF and _dns.literal(host) == (_INET, host):
                return host, port  # as nearly all are
        if not isinstance(address, tuple):
            family = socket.AddressFamily(self.family).name
            raise TypeError(f"{method}(): {family} address must be tuple, not {type(address).__name__}")
        most = 2 if self.family == _INET else 4
        if not 2 <= len(address) <= most:
            form = "pair (host, port)" if most == 2 else "tuple (host, port[, flowinfo[, scopeid]])"
            raise TypeError(f"{socket.AddressFamily(self.family).name} address must be a {form}")
        host, port = address[:2]
        number = _dns.check_port(port, method)
        if isinstance(host, bytes | bytearray):
            host = host.decode()
        if not isinstance(host, str):
            raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
        if host == "":
            return _dns.ANY[self.family], number
        if host == "<broadcast>":
            return "255.255.255.255", number
        literal = _dns.literal(host)
        if literal is not None and literal[0] == self.family:
            known = _dns.unmapped(literal[1])
            if known != literal[1] and self.only_v6:
                raise error(errno.EINVAL) if method == "bind" else _dns.no_route()
            if self.family != _INET:
                _dns.scope_of(host)
                if _dns.needs_scope(known):
                    self._take_scope(known, address, method)
            return known, number
        info = self.fabric.look_up(self.host, host, None, family=self.family, kind=self.type)
        return info[0][4][0], number

    def _take_scope(self, host: str, address: Any, method: str) -> None:
        """Take note of the network interface at which an address of one link is meant. Raises where none is said."""
        scope = address[3] if len(address) > 3 else 0
        own = self.local[3] if self.local is not None else 0
        if (scope and own and scope != own) or (not (scope or own) and method != "sendto"):
            raise error(errno.EINVAL)
        if scope:
            self.fabric.scopes[host] = scope

    def _target(self, host: str) -> str:
        """Return the address that is meant by one to send or connect to: the loopback's for that of everybody."""
        return _dns.LOOPBACK[_dns.family_of(host)] if host in ANYWHERE else host

    def bind(self, address: Any) -> None:
        """Take an address."""
        if self.local is not None:
            raise error(errno.EINVAL)
        if self.family == UNIX:
            self.local = self.fabric.paths.bind(self, address)
            return
        host, port = self._parse(address, "bind")
        if host not in ANYWHERE and not self.host.has(host):
            raise error(errno.EADDRNOTAVAIL)
        self.take(host, port)

    def take(self, host: str, port: int, *, is_connected: bool = False) -> None:
        """Take an address of this host, port 0 being any that is free. Connections may have the same one."""
        if not port:
            port = self.host.free_port(self, is_connected=is_connected)
        elif not is_connected and self.host.is_taken(self, host, port):
            raise error(errno.EADDRINUSE)
        self.host.bind(self, host, port)
        self.port = port
        self.local = self._address(host, port)

    def bind_as(self, host: str, port: int) -> None:
        """Take the address that a real socket has, which need not be one of this host's."""
        known = _dns.unmapped(host)
        self.host.add_alias(known)
        self.take(known, port)

    @property
    def label(self) -> str:
        """How this end is called in texts."""
        return f"{self.host.name}:{self.local[1]}" if self.local and self.family in _dns.ANY else self.host.name

    # --- closing ------------------------------------------------------------------------------------------------------

    @property
    def listens(self) -> bool:
        """Whether connections can be made to this socket."""
        return False

    def drop_object(self) -> None:
        """One object less stands for this socket; with the last one, it is closed."""
        self.objects -= 1
        if not self.objects:
            self.close()

    def close(self) -> None:
        """Close."""
        self.closed = True
        if self.reading is not None:
            self.reading.close()
            self.reading = None
        if self.writing is not None:
            self.writing.close()
            self.writing = None
        self.fabric.remove(self)

    def vanish(self) -> None:
        """Be gone without a word, as in a power cut."""
        self.close()

    # --- options ------------------------------------------------------------------------------------------------------

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

    def options(self) -> list[tuple[tuple[int, int], Any]]:
        """Return the options that were set: ((level, option), value)."""
        return list(self._options.items())

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Set an option. Most are only kept, for whoever asks for them."""
        self._options[level, option] = value
        if level == _SOL_SOCKET:
            self._set(option, value)

    def _set(self, option: int, value: Any) -> None:
        """Set an option that every kind of socket has; those of buffers change what a connection does."""
        if option == socket.SO_SNDBUF:
            self.buffer_for_sending = max(value, 1)
        elif option == socket.SO_RCVBUF:
            self.buffer_for_receiving = max(value, 1)

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> Any:
        """Return an option."""
        value: Any = self._options.get((level, option), 0)
        if level == _SOL_SOCKET:
            if option == socket.SO_ERROR:
                value, self._error = self._error, 0
            elif option == socket.SO_TYPE:
                value = self.type
            elif option == socket.SO_SNDBUF:
                value = self.buffer_for_sending
            elif option == socket.SO_RCVBUF:
                value = self.buffer_for_receiving
            elif option == socket.SO_ACCEPTCONN:
                value = int(self.listens)
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
