"""What the operating system of one host keeps.

Owns the host's names, addresses and ports, whether it is up, and what is left of it when the power goes.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import Counter
from collections.abc import Coroutine, Iterable
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


class HostKernel:
    """The kernel of a host that others know by its addresses, one of each family."""

    def __init__(self, name: str, addresses: dict[int, str]) -> None:
        self.name = name
        self.addresses = addresses
        self.is_up = True
        # Addresses of real sockets that were bound by the program.
        self._aliases: set[str] = set()
        # Any: the sockets, of which only the above is known here.
        self._ports: dict[tuple[int, int], list[tuple[str, Any]]] = {}
        self._next_port = {FREE: FREE.start, MORE_FREE: MORE_FREE.start}
        # How many of each range are taken, by the type of socket, so that nobody looks for what is not there.
        self._taken: Counter[tuple[int, range]] = Counter()
        # Coroutines that ran when the power went. They are kept, because Python would end them by an exception.
        self._stopped: list[Coroutine[Any, Any, Any]] = []

    # --- addresses ----------------------------------------------------------------------------------------------------

    def has(self, address: str) -> bool:
        """Return whether the address is one of this host's."""
        return _dns.is_loopback(address) or address in self.addresses.values() or address in self._aliases

    def add_alias(self, address: str) -> None:
        """Take one more address: that of a real socket which was bound by the program."""
        self._aliases.add(address)

    def own_address(self, target: str) -> str:
        """Return the address that this host sends from to `target`."""
        if self.has(target):
            return target
        return self.addresses[socket.AF_INET6 if ":" in target else socket.AF_INET]

    # --- ports --------------------------------------------------------------------------------------------------------

    def bind(self, sock: Bound, address: str, port: int) -> None:
        """Give a port to a socket. An address of IPv4 is one also where the socket's family is IPv6."""
        bound = self._ports.get((sock.type, port))
        if bound is None:
            bound = self._ports[sock.type, port] = []
            self._taken[sock.type, _range_of(port)] += 1
        bound.append((address, sock))

    def unbind(self, sock: Bound, port: int) -> None:
        """Take back a socket's port."""
        bound = self._ports.get((sock.type, port), [])
        bound[:] = [entry for entry in bound if entry[1] is not sock]
        if not bound and self._ports.pop((sock.type, port), None) is not None:
            self._taken[sock.type, _range_of(port)] -= 1

    def is_taken(self, sock: Bound, address: str, port: int) -> bool:
        """Return whether the port is another's, who does not share it."""
        return any(
            _overlap(address, sock, other_address, other)
            and not (sock.shares and other.shares)
            and not (sock.reuses and other.reuses and not other.listens)
            for other_address, other in self._ports.get((sock.type, port), ())
        )

    def is_listened(self, sock: Bound) -> bool:
        """Return whether another socket listens where this one is about to."""
        address, port = _dns.unmapped(sock.local[0]), sock.local[1]
        return any(
            other is not sock
            and other.listens
            and _overlap(address, sock, other_address, other)
            and not (sock.shares and other.shares)
            for other_address, other in self._ports.get((sock.type, port), ())
        )

    def free_port(self, sock: Bound, *, is_connected: bool = False) -> int:
        """Return a port that nobody has."""
        for ports in (FREE, MORE_FREE) if is_connected else (FREE,):
            if self._taken[sock.type, ports] == len(ports):
                continue
            port = self._next_port[ports]
            while (sock.type, port) in self._ports:
                port = port + 1 if port + 1 in ports else ports.start
            self._next_port[ports] = port + 1 if port + 1 in ports else ports.start
            return port
        raise error(errno.EADDRNOTAVAIL)

    def bound_to(self, kind: int, address: str, port: int) -> list[Any]:
        """Return the sockets that take what is sent to an address and port: those for just this address first."""
        found = [
            (entry[0] != address, entry[1])
            for entry in self._ports.get((kind, port), ())
            if not entry[1].closed and _takes(entry[0], entry[1], address)
        ]
        return [sock for is_general, sock in found if not is_general] + [sock for general, sock in found if general]

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


def _range_of(port: int) -> range:
    return FREE if port in FREE else MORE_FREE


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
