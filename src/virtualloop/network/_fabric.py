"""What lies between the sockets of one network.

Owns the hosts, the links between them, who has which address, number and path, and what went wrong: a router, which
knows the driver that carries it, and nothing of what sockets do. How it is to be is `Network`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, NamedTuple, Protocol

from virtualloop.network import _dns
from virtualloop.network._driver import Driver
from virtualloop.network._kernel import Bound, HostKernel
from virtualloop.network._link import Conditions, Link
from virtualloop.network._unix import Paths

__all__ = ["Fabric", "Fault"]

#: The number of the first socket. No file descriptor is as high, so nobody can take one for the other.
FIRST_NUMBER = 2**30
#: How many faults are kept; the last ones are those that matter.
MAX_FAULTS = 10_000


class Fault(NamedTuple):
    """One thing that went another way than on a perfect network."""

    #: When, in seconds.
    time: float
    #: What the schedule was asked for, or "partition" or "crash".
    kind: str
    #: What happened, in words.
    text: str


class Numbered(Bound, Protocol):
    """What the fabric needs to know of the sockets it gives numbers to."""

    number: int
    port: int | None

    @property
    def host(self) -> HostKernel: ...
    def vanish(self) -> None:
        """Be gone without a word, as in a power cut."""


class Fabric:
    """The hosts and links of one network, as they are at present.

    `conditions_of(source, target)` says what a link does, and `here()` names the host that the running code is on.
    """

    def __init__(
        self,
        driver: Driver,
        hosts: dict[str, dict[int, str]],
        conditions_of: Callable[[str, str], Conditions],
        connect_timeout: float,
        here: Callable[[], str],
    ) -> None:
        self.driver = driver
        self.connect_timeout = connect_timeout
        self.kernels: dict[str, HostKernel] = {}
        for name, addresses in hosts.items():
            self.add_host(name, addresses)
        self._conditions_of = conditions_of
        self._here = here
        self._links: dict[tuple[str, str], Link] = {}
        self.partitions: set[tuple[str, str]] = set()
        self.faults: deque[Fault] = deque(maxlen=MAX_FAULTS)
        #: The sockets that are not closed, by number. Any: what they do is above this.
        self.sockets: dict[int, Any] = {}
        self.paths = Paths()
        #: The number of the network interface at which an address was meant that is one of its link alone.
        self.scopes: dict[str, int] = {}
        self._number = FIRST_NUMBER
        self.is_closed = False
        #: Tells whether the program has a real socket of a type at a port that takes what is sent there, and may still
        #: hand it in.
        self.is_expected: Callable[[int, int], bool] = lambda kind, port: False
        # Who waits for such a socket.
        self._expecting: list[Callable[[], None]] = []

    def close(self) -> None:
        """The network is closed: nothing arrives any more."""
        self.is_closed = True
        for sock in list(self.sockets.values()):
            sock.vanish()
        for kernel in self.kernels.values():
            kernel.bury()

    # --- hosts --------------------------------------------------------------------------------------------------------

    def add_host(self, name: str, addresses: dict[int, str]) -> None:
        """Let there be one more host."""
        self.kernels[name] = HostKernel(name, addresses)

    @property
    def here(self) -> HostKernel:
        """The host that the code which asks runs on."""
        return self.kernels[self._here()]

    def crash(self, kernel: HostKernel, runs_here: Callable[[Context], bool]) -> None:
        """Cut a host's power: nothing of it goes on, and nobody is told."""
        sockets = [sock for sock in self.sockets.values() if sock.host is kernel]
        kernel.crash(self.driver.stop(runs_here, [sock.number for sock in sockets]))
        for sock in sockets:
            sock.vanish()
        self.refresh()

    def restart(self, kernel: HostKernel) -> None:
        """Switch a host on again."""
        kernel.is_up = True
        self.refresh()

    def kernel_at(self, address: str) -> HostKernel | None:
        """Return the host that has an address, or None."""
        return next((each for each in self.kernels.values() if address in each.addresses.values()), None)

    def find(self, asker: HostKernel, address: str) -> HostKernel | None:
        """Return the host that another one reaches at `address`, or None."""
        return asker if asker.has(address) else self.kernel_at(address)

    def label(self, asker: HostKernel, address: str, port: int) -> str:
        """Return how an address is called in texts: by the host that has it."""
        there = self.find(asker, address)
        return f"{address if there is None else there.name}:{port}"

    def scope_of(self, address: str) -> int:
        """Return the number of the network interface at which an address is; of one that nobody has named, the last."""
        return self.scopes.get(address) or next(reversed(self.scopes.values()), 0)

    # --- names --------------------------------------------------------------------------------------------------------

    def look_up(self, asker: HostKernel, host: Any, port: Any, **hints: Any) -> list[tuple[Any, ...]]:
        """Do what socket.getaddrinfo() does, on a host."""

        def addresses(name: str) -> list[tuple[int, str]] | None:
            if name in ("localhost", asker.name.lower()):
                found = _dns.LOOPBACK
            else:
                kernel = next((each for each in self.kernels.values() if each.name.lower() == name), None)
                if kernel is None:
                    return None
                found = kernel.addresses
            # One address, as on most machines: that of the family that is asked for, or else its first.
            only = hints.get("family") or next(iter(found))
            return [(only, found[only])] if only in found else []

        return _dns.look_up(addresses, host, port, **hints)

    def name_of(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Do what socket.getnameinfo() does."""

        def name(address: str) -> str | None:
            if _dns.is_loopback(address):
                return "localhost"
            kernel = self.kernel_at(address)
            return None if kernel is None else kernel.name

        return _dns.reverse(name, sockaddr, flags)

    # --- links --------------------------------------------------------------------------------------------------------

    def link_between(self, source: HostKernel, target: HostKernel) -> Link:
        """Return the way from one host to another."""
        ends = source.name, target.name
        link = self._links.get(ends)
        if link is None:
            conditions = self._conditions_of(*ends)
            is_partitioned = ends in self.partitions
            link = Link(self.driver, self.note, source, target, conditions, is_partitioned=is_partitioned)
            self._links[ends] = link
        return link

    def set_partition(self, ends: tuple[str, str], *, closed: bool) -> None:
        """Close or open the way from one host to another."""
        (self.partitions.add if closed else self.partitions.discard)(ends)
        link = self._links.get(ends)
        if link is not None:
            link.is_partitioned = closed
            link.refresh()

    def refresh(self) -> None:
        """Conditions have changed, or a host came up or went down."""
        for ends, link in list(self._links.items()):
            link.conditions = self._conditions_of(*ends)
            link.refresh()

    def note(self, kind: str, text: str) -> None:
        """Keep that something went another way than on a perfect network."""
        self.faults.append(Fault(self.driver.clock.seconds, kind, text))
        if self.driver.recorder is not None:
            self.driver.recorder.fault(kind, text)

    def incident(self, text: str) -> None:
        """Put into the record of the run what the program does to the network."""
        if self.driver.recorder is not None:
            self.driver.recorder.incident(f"network: {text}")

    # --- sockets ------------------------------------------------------------------------------------------------------

    def add(self, sock: Numbered) -> int:
        """Return what stands for the file descriptor of a new socket."""
        self._number += 1
        self.sockets[self._number] = sock
        if self.driver.made_socket is not None:
            self.driver.made_socket(self._number)
        return self._number

    def has_number(self, number: int) -> bool:
        """Return whether a number is that of a socket in memory, be it closed."""
        return FIRST_NUMBER < number <= self._number

    def remove(self, sock: Numbered) -> None:
        """A socket was closed: its number, its port and its path are free."""
        self.sockets.pop(sock.number, None)
        if sock.port is not None:
            sock.host.unbind(sock, sock.port)
        elif sock.local is not None and sock.family not in _dns.ANY:
            self.paths.remove(sock)

    # --- real sockets that are not handed in yet ----------------------------------------------------------------------

    def when_handed_in(self, resume: Callable[[], None]) -> None:
        """Have `resume()` called when another socket was handed in that listens, or takes datagrams."""
        self._expecting.append(resume)

    def handed_in(self) -> None:
        """A real socket was handed in that listens, or takes datagrams."""
        expecting, self._expecting = self._expecting, []
        for resume in expecting:
            resume()
