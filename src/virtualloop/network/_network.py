"""The network in memory: hosts, links between them, and every fault that a network can have.

Owns how the network is to be, and what a test does to it while it runs.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from virtualloop._core.clock import span_in_ticks
from virtualloop.network import _dns
from virtualloop.network._driver import Driver
from virtualloop.network._fabric import Fabric, Fault
from virtualloop.network._hosts import Host, current_name, name_in
from virtualloop.network._link import Conditions, checked
from virtualloop.network._outside import Addresses
from virtualloop.network._stack import Stack
from virtualloop.network._stream import StreamSocket

__all__ = ["Fault", "Host", "Network", "carry"]

#: How long a connection is asked for before it has timed out, in seconds: Linux's six retries.
CONNECT_TIMEOUT = 127.0

_Way = tuple[str, str]


class Network:
    """A network in memory, which does what its arguments say; without any, it is perfect.

    It is given to a loop, `VirtualLoop(network=...)`, and `loop.network` gives it back. Given to another loop once that
    one is closed, it starts anew, as it was before the first.

    Arguments:
        hosts: the names of hosts beside "localhost", which is where code runs unless told otherwise; or a mapping of
            names to addresses.
        latency: how long everything takes to arrive, in seconds; or a range (lowest, highest) to choose from.
        bandwidth: how many bytes a second go from one host to another; no limit by default.
        loss, duplication, reordering: how probable each of these is for a datagram.
        fragmentation: how probable it is that of the bytes that have arrived only a part is read at once.
        coalescing: how probable it is that a write is held back, 40 ms, to arrive together with the next.
        resets: how probable it is that a write resets the connection.
        connect_timeout: how long a connection is asked for where nobody answers, in seconds.
        outside: addresses that are real, as in "localhost:6379", "[::1]:80" or "/run/postgresql/.s.PGSQL.5432".
            Connections and datagrams to these leave the network in memory, and the clock stands from whatever is sent
            there until the other side has been quiet for 50 real milliseconds.

    Ranges and probabilities are drawn from the loop's schedule: without a seed, each answer is the perfect network's,
    except for what is certain. Unix sockets never leave a host and know no faults.

    Raises TypeError or ValueError that names the argument.

    Example:

        network = virtualloop.Network(latency=0.1)

        async def main():
            server = await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 80)
            reader, writer = await asyncio.open_connection("localhost", 80)     # there and back: 0.2 seconds
            await reader.read()                                                 # and once more
            writer.close()
            server.close()
            return asyncio.get_running_loop().time()

        with asyncio.Runner(loop_factory=lambda: VirtualLoop(network=network)) as runner:
            assert runner.run(main()) == 0.4
    """

    def __init__(
        self,
        *,
        hosts: Iterable[str] | Mapping[str, str] = (),
        latency: float | tuple[float, float] = 0.0,
        bandwidth: float = math.inf,
        loss: float = 0.0,
        duplication: float = 0.0,
        reordering: float = 0.0,
        fragmentation: float = 0.0,
        coalescing: float = 0.0,
        resets: float = 0.0,
        connect_timeout: float = CONNECT_TIMEOUT,
        outside: Iterable[str] = (),
    ) -> None:
        self._conditions = Conditions(
            **checked(
                latency=latency,
                bandwidth=bandwidth,
                loss=loss,
                duplication=duplication,
                reordering=reordering,
                fragmentation=fragmentation,
                coalescing=coalescing,
                resets=resets,
            )
        )
        span_in_ticks(connect_timeout, argument="connect_timeout")
        self._connect_timeout = connect_timeout
        self._outside = Addresses(outside)
        self._hosts: dict[str, dict[int, str]] = {}
        # What differs from the conditions of all links, and which ways are closed, by the names of two hosts.
        self._special: dict[_Way, Conditions] = {}
        self._partitions: set[_Way] = set()
        # The three above, as they were before the first loop.
        self._before: Any = None
        self._fabric: Fabric | None = None
        self._add_host("localhost", None)
        if isinstance(hosts, str):
            raise TypeError(f"hosts must be several names, or a mapping of names to addresses, not {hosts!r}")
        # The order decides the addresses, and that of a set is different in each process.
        for name in sorted(hosts) if isinstance(hosts, AbstractSet) else hosts:
            self._add_host(name, hosts[name] if isinstance(hosts, Mapping) else None)

    def _open(self, driver: Driver) -> Stack:
        """Be carried by `driver` from now on."""
        if self._fabric is not None and not self._fabric.is_closed:
            raise ValueError("network belongs to another loop, which is not closed: make one for each")
        if self._before is None:
            self._before = self._hosts, self._special, self._partitions
        hosts, special, partitions = self._before
        self._hosts, self._special, self._partitions = dict(hosts), dict(special), set(partitions)
        self._fabric = Fabric(driver, self._hosts, self._conditions_of, self._connect_timeout, self._here)
        if driver.recorder is not None:
            driver.recorder.tell_hosts(name_in)
        for way in self._partitions:
            self._fabric.set_partition(way, closed=True)
        return Stack(self._fabric, self._outside)

    def _addresses_of(self, name: str) -> dict[int, str]:
        return self._hosts[name]

    def _live(self) -> Fabric:
        if self._fabric is None:
            raise RuntimeError("this network belongs to no loop yet: pass it to VirtualLoop(network=...)")
        return self._fabric

    def __getstate__(self) -> dict[str, Any]:
        # To another process goes what the network is to be.
        state = self.__dict__.copy()
        if self._before is not None:
            state["_hosts"], state["_special"], state["_partitions"] = self._before
        return {**state, "_before": None, "_fabric": None}

    def __repr__(self) -> str:
        return f"<Network {', '.join(self._hosts)}>"

    # --- hosts --------------------------------------------------------------------------------------------------------

    def add_host(self, name: str, address: str | None = None) -> Host:
        """Let there be one more host; return it. Its name means its address, of IPv4 unless one of IPv6 is given.

        Raises TypeError or ValueError that names the argument.
        """
        addresses = self._add_host(name, address)
        if self._fabric is not None:
            self._fabric.add_host(name, addresses)
        return Host(self, name)

    def _add_host(self, name: object, address: object) -> dict[int, str]:
        if not isinstance(name, str):
            raise TypeError(f"the name of a host must be a string, not {name!r}")
        taken = {each.lower() for each in self._hosts}
        if not name or name.lower() in taken or _dns.literal(name) is not None:
            raise ValueError(f"the name of a host must be a new one and no address, got {name!r}")
        number = len(self._hosts) + 1
        addresses: dict[int, str] = {
            socket.AF_INET: f"10.0.{number >> 8}.{number & 255}",
            socket.AF_INET6: f"fd00::{number:x}",
        }
        if address is not None:
            if not isinstance(address, str):
                raise TypeError(f"the address of a host must be a string, not {address!r}")
            literal = _dns.literal(address)
            others = {each for addresses in self._hosts.values() for each in addresses.values()}
            if literal is None or literal[1] in others or _dns.is_loopback(literal[1]):
                raise ValueError(f"the address of a host must be a new one, as in '192.0.2.1', got {address!r}")
            # The one that is given comes first.
            addresses = {literal[0]: literal[1], **addresses, literal[0]: literal[1]}
        self._hosts[name] = addresses
        return addresses

    def host(self, name: str) -> Host:
        """Return the host of that name. Raises ValueError if there is none."""
        return Host(self, self._checked(name))

    def _checked(self, name: str) -> str:
        if name not in self._hosts:
            raise ValueError(f"no host has the name {name!r}: there are {', '.join(map(repr, self._hosts))}")
        return name

    def _here(self) -> str:
        name = current_name(self)
        return "localhost" if name is None else name

    # --- links --------------------------------------------------------------------------------------------------------

    def link(
        self,
        source: str,
        target: str,
        *,
        one_way: bool = False,
        latency: float | tuple[float, float] | None = None,
        bandwidth: float | None = None,
        loss: float | None = None,
        duplication: float | None = None,
        reordering: float | None = None,
        fragmentation: float | None = None,
        coalescing: float | None = None,
        resets: float | None = None,
    ) -> None:
        """Set conditions of the way between two hosts, in both directions or from `source` to `target` only.

        What is None stays as it is. Raises TypeError or ValueError that names the argument.
        """
        changes = checked(
            latency=latency,
            bandwidth=bandwidth,
            loss=loss,
            duplication=duplication,
            reordering=reordering,
            fragmentation=fragmentation,
            coalescing=coalescing,
            resets=resets,
        )
        for way in self._ways(source, target, one_way=one_way):
            self._special[way] = self._conditions_of(*way)._replace(**changes)
        if self._fabric is not None:
            self._fabric.refresh()

    def _conditions_of(self, source: str, target: str) -> Conditions:
        return self._special.get((source, target), self._conditions)

    def partition(self, source: str, target: str, *, one_way: bool = False) -> None:
        """Let nothing through between two hosts, or from `source` to `target` only, until `heal`.

        What connections carry waits, is sent again and arrives after that; datagrams are lost. Raises ValueError for
        a name that no host has.
        """
        self._set_partition(self._ways(source, target, one_way=one_way), closed=True)
        self._tell(f"nothing gets from {source} to {target}{'' if one_way else ' and back'}")

    def heal(self, source: str, target: str, *, one_way: bool = False) -> None:
        """End what `partition` began."""
        self._set_partition(self._ways(source, target, one_way=one_way), closed=False)
        self._tell(f"the way from {source} to {target}{'' if one_way else ' and back'} is free again")

    def _tell(self, incident: str) -> None:
        if self._fabric is not None:
            self._fabric.incident(incident)

    def _set_partition(self, ways: list[_Way], *, closed: bool) -> None:
        for way in ways:
            (self._partitions.add if closed else self._partitions.discard)(way)
            if self._fabric is not None:
                self._fabric.set_partition(way, closed=closed)

    def reset(self, source: str, target: str) -> None:
        """Reset all connections between two hosts: both ends see it at once. Raises ValueError for an unknown name."""
        ends = {self._checked(source), self._checked(target)}
        self._tell(f"all connections between {source} and {target} are reset")
        for sock in list(self._live().sockets.values()):
            wire = sock.out if isinstance(sock, StreamSocket) else None
            if wire is not None and wire.link is not None and {sock.host.name, wire.target.host.name} == ends:
                sock.reset()

    def _ways(self, source: str, target: str, *, one_way: bool) -> list[_Way]:
        one, other = self._checked(source), self._checked(target)
        return [(one, other)] if one_way or one == other else [(one, other), (other, one)]

    # --- faults -------------------------------------------------------------------------------------------------------

    @property
    def faults(self) -> list[Fault]:
        """What went another way than on a perfect network, in order; the last ten thousand."""
        return [] if self._fabric is None else list(self._fabric.faults)


def carry(network: Network, driver: Driver) -> Stack:
    """Have `driver` carry a network, and return its sockets. Raises ValueError while another one does."""
    return network._open(driver)
