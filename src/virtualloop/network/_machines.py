"""The machines of the network.

Owns their names, addresses and ports, and what is left of them when the power goes.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from virtualloop.network import _names
from virtualloop.network._names import error

if TYPE_CHECKING:
    from virtualloop.network._endpoint import Endpoint
    from virtualloop.network._medium import Medium

__all__ = ["Machine"]

#: The ports that are given out for port 0: those that IANA leaves for it, in turn.
FIRST_FREE, LAST_FREE = 49152, 65535


class Machine:
    """A machine, which others know by its addresses, one of each family."""

    def __init__(self, medium: Medium, name: str, addresses: dict[int, str]) -> None:
        self._medium = medium
        self.name = name
        self.addresses = addresses
        self.is_up = True
        # Addresses of real sockets that were bound by the program.
        self._aliases: set[str] = set()
        self._ports: dict[tuple[int, int], list[tuple[str, Endpoint]]] = {}
        self._next_port = FIRST_FREE
        # Coroutines that ran when the power went. They are kept, because Python would end them by an exception.
        self._stopped: list[Coroutine[Any, Any, Any]] = []

    # --- addresses ----------------------------------------------------------------------------------------------------

    def has(self, address: str) -> bool:
        """Return whether the address is one of this host's."""
        return _names.is_loopback(address) or address in self.addresses.values() or address in self._aliases

    def add_alias(self, address: str) -> None:
        """Take one more address: that of a real socket which was bound by the program."""
        self._aliases.add(address)

    def own_address(self, target: str) -> str:
        """Return the address that this host sends from to `target`."""
        if self.has(target):
            return target
        return self.addresses[socket.AF_INET6 if ":" in target else socket.AF_INET]

    def find(self, address: str) -> Machine | None:
        """Return the host that this one reaches at `address`, or None."""
        return self if self.has(address) else self._medium.machine_at(address)

    # --- ports --------------------------------------------------------------------------------------------------------

    def bind(self, sock: Endpoint, address: str, port: int) -> None:
        """Give a port to a socket."""
        self._ports.setdefault((sock.type, port), []).append((address, sock))

    def unbind(self, sock: Endpoint, port: int) -> None:
        """Take back a socket's port."""
        bound = self._ports.get((sock.type, port), [])
        bound[:] = [entry for entry in bound if entry[1] is not sock]
        if not bound:
            self._ports.pop((sock.type, port), None)

    def is_taken(self, sock: Endpoint, address: str, port: int) -> bool:
        """Return whether the port is another's, who does not share it."""
        return any(
            _overlap(address, sock, other_address, other)
            and not (sock.shares and other.shares)
            and not (sock.reuses and other.reuses and not other.listens)
            for other_address, other in self._ports.get((sock.type, port), ())
        )

    def is_listened(self, sock: Endpoint) -> bool:
        """Return whether another socket listens where this one is about to."""
        address, port = sock.local[:2]
        return any(
            other is not sock
            and other.listens
            and _overlap(address, sock, other_address, other)
            and not (sock.shares and other.shares)
            for other_address, other in self._ports.get((sock.type, port), ())
        )

    def free_port(self, sock: Endpoint, address: str) -> int:
        """Return a port that nobody has."""
        for _ in range(FIRST_FREE, LAST_FREE + 1):
            port = self._next_port
            self._next_port = port + 1 if port < LAST_FREE else FIRST_FREE
            if (sock.type, port) not in self._ports:
                return port
        raise error(errno.EADDRNOTAVAIL)

    def bound_to(self, kind: int, family: int, address: str, port: int) -> list[Endpoint]:
        """Return the sockets that take what is sent to an address and port: those for just this address first."""
        found = [
            (entry[0] != address, entry[1])
            for entry in self._ports.get((kind, port), ())
            if not entry[1].closed and _takes(entry[0], entry[1], family, address)
        ]
        return [sock for is_general, sock in found if not is_general] + [sock for general, sock in found if general]

    # --- power --------------------------------------------------------------------------------------------------------

    def cut_power(self, stopped: list[Coroutine[Any, Any, Any]]) -> None:
        """Be gone, without a word to anybody; `stopped` is what ran here."""
        self.is_up = False
        self._stopped += stopped
        for sock in [each for each in self._medium.sockets.values() if each.host is self]:
            sock.vanish()
        self._medium.refresh()

    def bury(self) -> None:
        """The loop is closed: end what ran when the power went. What it still has to say, nobody hears."""
        stopped, self._stopped = self._stopped, []
        for coroutine in stopped:
            with contextlib.suppress(BaseException):
                coroutine.close()


def _overlap(address: str, sock: Endpoint, other_address: str, other: Endpoint) -> bool:
    if sock.family == other.family:
        return address == other_address or _names.ANY[sock.family] in (address, other_address)
    six, six_address = (sock, address) if sock.family == socket.AF_INET6 else (other, other_address)
    return six_address == "::" and not six.only_v6


def _takes(bound: str, sock: Endpoint, family: int, address: str) -> bool:
    if sock.family == family:
        return bound in (address, _names.ANY[sock.family])
    return family == socket.AF_INET and bound == "::" and not sock.only_v6
