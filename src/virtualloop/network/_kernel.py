"""What the operating system of one host keeps.

Owns the host's names, addresses and ports, whether it is up, and what is left of it when the power goes.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import defaultdict
from collections.abc import Container, Coroutine, Iterable
from typing import Any, Protocol

from virtualloop.network import _dns
from virtualloop.network._dns import error

__all__ = ["Bound", "HostKernel"]

#: The ports that are given out for port 0, in turn: those that IANA leaves for it.
FREE = range(49152, 65536)
#: And to connections when those are all taken, as on machines that are set up for many of them.
MORE_FREE = range(1024, 49152)

ANYWHERE = frozenset(_dns.ANY.values())


class Bound(Protocol):
    """What a kernel needs to know of a socket that it gives a port to."""

    @property
    def family(self) -> int: ...
    @property
    def type(self) -> int: ...
    @property
    def local(self) -> Any: ...
    @property
    def closed(self) -> bool: ...
    @property
    def listens(self) -> bool: ...
    @property
    def only_v6(self) -> bool: ...
    @property
    def shares(self) -> bool: ...
    @property
    def reuses(self) -> bool: ...


class Ports:
    """The ports of a range, which are given out in turn."""

    __slots__ = ("first", "last", "next", "taken")

    def __init__(self, ports: range) -> None:
        self.first = self.next = ports.start
        self.last = ports.stop - 1
        #: How many are taken, by the type of socket, so that nobody looks for what is not there.
        self.taken: dict[int, int] = defaultdict(int)

    def find(self, kind: int, bound: Container[int]) -> int | None:
        """Return the next one that is not bound, or None."""
        if self.taken[kind] > self.last - self.first:
            return None
        port = self.next
        while port in bound:
            port = port + 1 if port < self.last else self.first
        self.next = port + 1 if port < self.last else self.first
        return port


class HostKernel:
    """The kernel of a host that others know by its addresses, one of each family."""

    def __init__(self, name: str, addresses: dict[int, str]) -> None:
        self.name = name
        self.addresses = addresses
        self.is_up = True
        # These, those of the loopback, and those of real sockets that were bound by the program.
        self._own = {*addresses.values(), *_dns.LOOPBACK.values()}
        # Who has which port, and at which address, by the type of socket. Any: of sockets only the above is known here.
        self._bound: dict[int, dict[int, list[tuple[str, Any]]]] = defaultdict(dict)
        self._free, self._more = Ports(FREE), Ports(MORE_FREE)
        # Coroutines that ran when the power went. They are kept, because Python would end them by an exception.
        self._stopped: list[Coroutine[Any, Any, Any]] = []

    # --- addresses ----------------------------------------------------------------------------------------------------

    def has(self, address: str) -> bool:
        """Return whether the address is one of this host's."""
        return address in self._own or _dns.is_loopback(address)

    def add_alias(self, address: str) -> None:
        """Take one more address: that of a real socket which was bound by the program."""
        self._own.add(address)

    def own_address(self, target: str) -> str:
        """Return the address that this host sends from to `target`."""
        if self.has(target):
            return target
        return self.addresses[socket.AF_INET6 if ":" in target else socket.AF_INET]

    # --- ports --------------------------------------------------------------------------------------------------------

    def bind(self, sock: Bound, address: str, port: int) -> None:
        """Give a port to a socket. An address of IPv4 is one also where the socket's family is IPv6."""
        bound = self._bound[sock.type]
        if port in bound:
            bound[port].append((address, sock))
        else:
            bound[port] = [(address, sock)]
            (self._free if port >= FREE.start else self._more).taken[sock.type] += 1

    def unbind(self, sock: Bound, port: int) -> None:
        """Take back a socket's port."""
        bound = self._bound[sock.type]
        others = [entry for entry in bound[port] if entry[1] is not sock] if len(bound[port]) > 1 else None
        if others:
            bound[port] = others
        else:
            del bound[port]
            (self._free if port >= FREE.start else self._more).taken[sock.type] -= 1

    def is_taken(self, sock: Bound, address: str, port: int) -> bool:
        """Return whether the port is another's, who does not share it."""
        return any(
            _overlap(address, sock, other_address, other)
            and not (sock.shares and other.shares)
            and not (sock.reuses and other.reuses and not other.listens)
            for other_address, other in self._bound[sock.type].get(port, ())
        )

    def is_listened(self, sock: Bound) -> bool:
        """Return whether another socket listens where this one is about to."""
        address, port = _dns.unmapped(sock.local[0]), sock.local[1]
        return any(
            other is not sock
            and other.listens
            and _overlap(address, sock, other_address, other)
            and not (sock.shares and other.shares)
            for other_address, other in self._bound[sock.type].get(port, ())
        )

    def free_port(self, sock: Bound, *, is_connected: bool = False) -> int:
        """Return a port that nobody has."""
        bound = self._bound[sock.type]
        port = self._free.find(sock.type, bound)
        if port is None and is_connected:
            port = self._more.find(sock.type, bound)
        if port is None:
            raise error(errno.EADDRNOTAVAIL)
        return port

    def bound_to(self, kind: int, address: str, port: int) -> list[Any]:
        """Return the sockets that take what is sent to an address and port: those for just this address first."""
        found = [
            entry
            for entry in self._bound[kind].get(port, ())
            if not entry[1].closed and (entry[0] == address or _takes(entry[0], entry[1], address))
        ]
        if len(found) > 1:
            found.sort(key=lambda entry: entry[0] != address)
        return [sock for _, sock in found]

    # --- power --------------------------------------------------------------------------------------------------------

    def crash(self, stopped: Iterable[Coroutine[Any, Any, Any]]) -> None:
        """Be gone, without a word to anybody; `stopped` is what ran here."""
        self.is_up = False
        self._stopped += stopped

    def bury(self) -> None:
        """The network is closed: end what ran when the power went. What it still has to say, nobody hears."""
        stopped, self._stopped = self._stopped, []
        for coroutine in stopped:
            with contextlib.suppress(BaseException):
                coroutine.close()


def _overlap(address: str, sock: Bound, other_address: str, other: Bound) -> bool:
    """Return whether two sockets, bound to these addresses, want the same."""
    if address in ANYWHERE and other_address in ANYWHERE:
        return not _families(address, sock).isdisjoint(_families(other_address, other))
    return _takes(address, sock, other_address) or _takes(other_address, other, address)


def _takes(bound: str, sock: Bound, address: str) -> bool:
    """Return whether a socket takes what is sent to an address."""
    return bound == address or (bound in ANYWHERE and _dns.family_of(address) in _families(bound, sock))


def _families(bound: str, sock: Bound) -> set[int]:
    """Return the families of the addresses that a socket takes which is bound to all of them."""
    if bound != "::":
        return {int(socket.AF_INET)}
    return {int(socket.AF_INET6)} if sock.only_v6 else {int(socket.AF_INET6), int(socket.AF_INET)}
