"""The machines of the network.

Owns their names, addresses and ports, and which of them a task runs on. Tasks inherit their host from the task that
started them, as they do every context variable.
"""

from __future__ import annotations

import errno
import socket
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from virtualloop.network import _names
from virtualloop.network._names import error

if TYPE_CHECKING:
    from virtualloop.network import Network
    from virtualloop.network._endpoint import Endpoint

__all__ = ["Host", "current_host", "name_in"]

#: The ports that are given out for port 0: those that IANA leaves for it, in turn.
FIRST_FREE, LAST_FREE = 49152, 65535

# The host that the code in this context runs on, and the one before it.
_current: ContextVar[tuple[Host, Any] | None] = ContextVar("virtualloop host", default=None)


class Host:
    """A machine of the network. Within `with host:`, code runs on it, and so do the tasks that it starts.

    Example:

        async def main():
            network = asyncio.get_running_loop().network
            with network.host("server"):
                server = await asyncio.start_server(lambda reader, writer: writer.close(), port=80)
            reader, writer = await asyncio.open_connection("server", 80)
            assert await reader.read() == b""
            writer.close()
            server.close()

        network = virtualloop.Network(hosts=["server"])
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(network=network)) as runner:
            runner.run(main())
    """

    def __init__(self, network: Network, name: str, addresses: dict[int, str]) -> None:
        self._network = network
        self.name = name
        #: The addresses that others know it by, by family.
        self.addresses = addresses
        self.reset()

    def reset(self) -> None:
        """Be as new."""
        self._aliases: set[str] = set()
        #: Whether it runs; see `crash`.
        self.is_up = True
        self._ports: dict[tuple[int, int], list[tuple[str, Endpoint]]] = {}
        self._next_port = FIRST_FREE

    def __repr__(self) -> str:
        return f"<Host {self.name} {' '.join(self.addresses.values())}{'' if self.is_up else ' down'}>"

    def __enter__(self) -> Self:
        _current.set((self, _current.get()))
        return self

    def __exit__(self, *args: object) -> None:
        entry = _current.get()
        _current.set(entry[1] if entry is not None else None)

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

    def find(self, address: str) -> Host | None:
        """Return the host that this one reaches at `address`, or None."""
        return self if self.has(address) else self._network.host_at(address)

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

    def sockets(self) -> list[Endpoint]:
        """Return all sockets of this host, in the order in which they were made."""
        return [sock for sock in self._network.sockets.values() if sock.host is self]


def current_host(default: Host) -> Host:
    """Return the host that the code which asks runs on."""
    entry = _current.get()
    return default if entry is None or entry[0]._network is not default._network else entry[0]


def host_in(context: Any) -> Host | None:
    """Return the host of a context, or None for the one without a name."""
    entry = context.get(_current)
    return None if entry is None else entry[0]


def name_in(context: Any) -> str | None:
    """Return the name of the host of a context, or None for the one without."""
    host = host_in(context)
    return None if host is None else host.name


def _overlap(address: str, sock: Endpoint, other_address: str, other: Endpoint) -> bool:
    if sock.family == other.family:
        return address == other_address or _names.ANY[sock.family] in (address, other_address)
    six, six_address = (sock, address) if sock.family == socket.AF_INET6 else (other, other_address)
    return six_address == "::" and not six.only_v6


def _takes(bound: str, sock: Endpoint, family: int, address: str) -> bool:
    if sock.family == family:
        return bound in (address, _names.ANY[sock.family])
    return family == socket.AF_INET and bound == "::" and not sock.only_v6
