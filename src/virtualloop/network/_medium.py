"""Everything there is in the network of one loop.

Owns the machines, the links between them, the sockets, and what went wrong. How it is to be is `Network`'s.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
import socket
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from virtualloop._clock import TICKS_PER_SECOND
from virtualloop.network import _names
from virtualloop.network._adoption import Adoption
from virtualloop.network._endpoint import Endpoint
from virtualloop.network._faces import MemorySocket
from virtualloop.network._handshake import Handshake
from virtualloop.network._links import Conditions, Link
from virtualloop.network._machines import Machine
from virtualloop.network._names import error
from virtualloop.network._paths import Paths
from virtualloop.network._watch import NOWHERE

if TYPE_CHECKING:
    from virtualloop._loop import VirtualLoop

__all__ = ["Fault", "Medium"]

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


class Medium:
    """The network of one loop, as it is at present."""

    def __init__(
        self,
        loop: VirtualLoop,
        hosts: dict[str, dict[int, str]],
        conditions_of: Callable[[str, str], Conditions],
        connect_timeout: float,
        here: Callable[[], str],
    ) -> None:
        self.loop = loop
        self.connect_timeout = connect_timeout
        self.machines: dict[str, Machine] = {}
        for name, addresses in hosts.items():
            self.add_machine(name, addresses)
        self._conditions_of = conditions_of
        self._here = here
        self._links: dict[tuple[str, str], Link] = {}
        self.partitions: set[tuple[str, str]] = set()
        self.faults: deque[Fault] = deque(maxlen=MAX_FAULTS)
        #: The endpoints that are not closed, by number.
        self.sockets: dict[int, Endpoint] = {}
        #: The transports over these sockets, by number, as stock loops keep them.
        self.transports: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        #: The files of unix servers that go with them.
        self.unix_files: dict[Any, int] = {}
        self.paths = Paths()
        self._number = FIRST_NUMBER
        self.adoption = Adoption(self)

    def close(self) -> None:
        """The loop is closed: nobody is told of anything any more."""
        for sock in list(self.sockets.values()):
            sock.vanish()
        for machine in self.machines.values():
            machine.bury()

    # --- machines -----------------------------------------------------------------------------------------------------

    def add_machine(self, name: str, addresses: dict[int, str]) -> None:
        """Let there be one more machine."""
        self.machines[name] = Machine(self, name, addresses)

    @property
    def here(self) -> Machine:
        """The machine that the code which asks runs on."""
        return self.machines[self._here()]

    def machine_at(self, address: str) -> Machine | None:
        """Return the machine that has an address, or None."""
        return next((each for each in self.machines.values() if address in each.addresses.values()), None)

    def look_up(self, asker: Machine, host: Any, port: Any, **hints: Any) -> list[tuple[Any, ...]]:
        """Do what socket.getaddrinfo() does, on a machine."""

        def addresses(name: str) -> list[tuple[int, str]] | None:
            if name in ("localhost", asker.name.lower()):
                found = _names.LOOPBACK
            else:
                machine = next((each for each in self.machines.values() if each.name.lower() == name), None)
                if machine is None:
                    return None
                found = machine.addresses
            # One address, as on most machines: that of the family that is asked for, or else its first.
            only = hints.get("family") or next(iter(found))
            return [(only, found[only])] if only in found else []

        return _names.look_up(addresses, host, port, **hints)

    def name_of(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Do what socket.getnameinfo() does."""

        def name(address: str) -> str | None:
            if _names.is_loopback(address):
                return "localhost"
            machine = self.machine_at(address)
            return None if machine is None else machine.name

        return _names.reverse(name, sockaddr, flags)

    def label(self, machine: Machine, address: str, port: int) -> str:
        """Return how an address is called in texts: by the machine that has it."""
        there = machine.find(address)
        return f"{address if there is None else there.name}:{port}"

    # --- links --------------------------------------------------------------------------------------------------------

    def link_between(self, source: Machine, target: Machine) -> Link:
        """Return the way from one machine to another."""
        ends = source.name, target.name
        link = self._links.get(ends)
        if link is None:
            link = self._links[ends] = Link(self, source, target, self._conditions_of(*ends))
            link.is_partitioned = ends in self.partitions
            link.refresh()
        return link

    def set_partition(self, ends: tuple[str, str], *, closed: bool) -> None:
        """Close or open the way from one machine to another."""
        (self.partitions.add if closed else self.partitions.discard)(ends)
        link = self._links.get(ends)
        if link is not None:
            link.is_partitioned = closed
            link.refresh()

    def refresh(self) -> None:
        """Conditions have changed, or a machine came up or went down."""
        for ends, link in list(self._links.items()):
            link.conditions = self._conditions_of(*ends)
            link.refresh()

    def note(self, kind: str, text: str) -> None:
        """Keep that something went another way than on a perfect network."""
        self.faults.append(Fault(self.loop.time(), kind, text))
        recorder = self.loop._recorder
        if recorder is not None:
            recorder.fault(kind, text)

    # --- sockets ------------------------------------------------------------------------------------------------------

    def next_number(self) -> int:
        """Return what stands for the file descriptor of a new socket."""
        self._number += 1
        return self._number

    def has_number(self, number: int) -> bool:
        """Return whether a number is that of a socket in memory, be it closed."""
        return FIRST_NUMBER < number <= self._number

    def make_socket(self, family: int = -1, type: int = -1, proto: int = -1) -> MemorySocket:  # noqa: A002  # its name there
        """Do what socket.socket() does."""
        return MemorySocket(self.make_endpoint(family, type, proto))

    def make_endpoint(self, family: int, kind: int, proto: int) -> Endpoint:
        """Return a new endpoint on the host where the code runs that asks for it."""
        family = socket.AF_INET if family == -1 else family
        kind = socket.SOCK_STREAM if kind == -1 else kind
        if family not in (*_names.ANY, getattr(socket, "AF_UNIX", None)):
            raise error(errno.EAFNOSUPPORT)
        if kind not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            raise error(errno.ESOCKTNOSUPPORT)
        return Endpoint(self, self.here, family, kind, max(proto, 0))

    def forget(self, sock: Endpoint) -> None:
        """A socket was closed."""
        self.sockets.pop(sock.number, None)
        address = sock.local
        if address is None:
            return
        if sock.family in _names.ANY:
            sock.host.unbind(sock, address[1])
        else:
            self.paths.remove(sock)

    def adopt(self, sock: socket.socket) -> None:
        """Have a real socket, which the program made, stand for one in memory."""
        self.adoption.adopt(sock)

    def get_key(self, fd: int) -> selectors.SelectorKey:
        """Return what is waited for at a socket, as selectors do. Raises KeyError where nothing is."""
        sock = self.sockets[fd]
        events = selectors.EVENT_READ * sock.waits_to_read() | selectors.EVENT_WRITE * sock.waits_to_write()
        return selectors.SelectorKey(fd, fd, events, None)

    def answer(self, question: Callable[[], Any]) -> asyncio.Future[Any]:
        """Return a future for what `question()` returns or raises, once the answer has come in."""
        future = self.loop.create_future()

        def come_in() -> None:
            if future.done():
                return
            try:
                future.set_result(question())
            except Exception as exc:
                future.set_exception(exc)

        self.set_timer(self.loop._clock.tick, come_in)
        return future

    def set_timer(self, tick: int, callback: Callable[[], None]) -> Any:
        """Have `callback()` run when the clock is at `tick`: an event from outside, of no task."""
        return self.loop._set_timer(tick, tick / TICKS_PER_SECOND, callback, (), NOWHERE, "call_at")

    def connect(self, sock: Endpoint, there: Machine, address: str, port: int) -> None:
        """Make a connection, or let it fail, when the time has come."""
        Handshake(self, sock, there, address, port)

    def reset_connection(self, sock: Endpoint) -> None:
        """Break a connection for both ends."""
        assert sock.out is not None
        self.note("reset", f"{sock.out}: reset")
        for end in (sock.out.target, sock):
            if end.incoming is not None:
                end.incoming.cut()
            end.reset_by_peer()

    def send_datagram(self, sock: Endpoint, there: Machine, address: str, port: int, data: bytes) -> None:
        """Send a datagram to whoever has the address when it comes in."""

        def arrive() -> None:
            bound = there.bound_to(socket.SOCK_DGRAM, sock.family, address, port)
            if bound:
                bound[0].take_in(data, source)
            else:
                sock.refuse()

        source = sock.datagram_source(address)
        if self.loop._recorder is not None:
            self.loop._recorder.send(self.label(there, address, port), len(data))
        what = f"datagram {sock.label}->{self.label(there, address, port)}"
        self.link_between(sock.host, there).send_datagram(what, len(data), arrive)
