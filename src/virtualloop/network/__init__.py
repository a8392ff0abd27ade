"""The network in memory: hosts, links between them, and every fault that a network can have.

Owns the whole: which hosts and sockets there are, and who is reached at which address.
"""

from __future__ import annotations

import asyncio
import errno
import math
import selectors
import socket
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from virtualloop._clock import TICKS_PER_SECOND, span_in_ticks
from virtualloop.network import _names
from virtualloop.network._adoption import Adoption
from virtualloop.network._endpoint import Endpoint
from virtualloop.network._faces import MemorySocket
from virtualloop.network._handshake import Handshake
from virtualloop.network._hosts import Host, current_host, name_in
from virtualloop.network._links import Conditions, Link, checked
from virtualloop.network._names import error
from virtualloop.network._paths import Paths

if TYPE_CHECKING:
    from virtualloop._loop import VirtualLoop

__all__ = ["Fault", "Host", "Network"]

#: The number of the first socket. No file descriptor is as high, so nobody can take one for the other.
FIRST_NUMBER = 2**30
#: How many faults are kept; the last ones are those that matter.
MAX_FAULTS = 10_000
#: How long a connection is asked for before it has timed out, in seconds: Linux's six retries.
CONNECT_TIMEOUT = 127.0

_ALONE = Context()


class Fault(NamedTuple):
    """One thing that went another way than on a perfect network: when, and what."""

    time: float
    text: str


class Network:
    """A network in memory, which does what its arguments say; without any, it is perfect.

    It is given to a loop, `VirtualLoop(network=...)`, and `loop.network` gives it back. Given to another loop once that
    one is closed, it starts anew, as it was before the first.

    Arguments:
        hosts: the names of hosts beside "localhost", which is where code runs unless told otherwise; or a mapping of
            names to addresses.
        latency: how long everything takes to come in, in seconds; or a range (lowest, highest) to choose from.
        bandwidth: how many bytes a second go from one host to another; no limit by default.
        loss, duplication, reordering: how probable each of these is for a datagram.
        fragmentation: how probable it is that of the bytes that have come in only a part is read at once.
        coalescing: how probable it is that a write is held back, 40 ms, to come in together with the next.
        resets: how probable it is that a write resets the connection.
        connect_timeout: how long a connection is asked for where nobody answers, in seconds.

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
        self.connect_timeout = connect_timeout
        self._hosts: dict[str, Host] = {}
        self._add_host("localhost", None)
        if isinstance(hosts, str):
            raise TypeError(f"hosts must be several names, or a mapping of names to addresses, not {hosts!r}")
        for name in hosts:
            self._add_host(name, hosts[name] if isinstance(hosts, Mapping) else None)
        # What differs from the conditions of all links, and which ways are closed, by the names of two hosts.
        self._special: dict[tuple[str, str], Conditions] = {}
        self._partitions: set[tuple[str, str]] = set()
        self._before: tuple[dict[tuple[str, str], Conditions], set[tuple[str, str]]] | None = None
        self._loop: VirtualLoop | None = None
        self._start()

    def _start(self) -> None:
        self.sockets: dict[int, Endpoint] = {}
        #: The transports over these sockets, by number, as stock loops keep them.
        self.transports: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        #: The files of unix servers that go with them.
        self.unix_files: dict[Any, int] = {}
        self._number = FIRST_NUMBER
        self._links: dict[tuple[str, str], Link] = {}
        self.paths = Paths()
        self._adoption = Adoption(self)
        self._faults: deque[Fault] = deque(maxlen=MAX_FAULTS)

    def open(self, loop: Any) -> None:
        """Belong to a loop from now on."""
        if self._loop is not None and not self._loop.is_closed():
            raise ValueError("network belongs to another loop, which is not closed: make one for each")
        if self._before is None:
            self._before = dict(self._special), set(self._partitions)
        else:
            self._special, self._partitions = dict(self._before[0]), set(self._before[1])
            for host in self._hosts.values():
                host.reset()
            self._start()
        self._loop = loop
        if loop._recorder is not None:
            loop._recorder.host_of = name_in

    def __repr__(self) -> str:
        return f"<Network {', '.join(self._hosts)}>"

    @property
    def loop(self) -> VirtualLoop:
        """The loop that this network belongs to. Raises RuntimeError if there is none yet."""
        if self._loop is None:
            raise RuntimeError("this network belongs to no loop yet: pass it to VirtualLoop(network=...)")
        return self._loop

    # --- hosts --------------------------------------------------------------------------------------------------------

    def _add_host(self, name: object, address: object) -> None:
        if not isinstance(name, str):
            raise TypeError(f"hosts must hold names, not {name!r}")
        if not name or name in self._hosts or _names.literal(name) is not None:
            raise ValueError(f"hosts must hold names that differ, got {name!r}")
        number = len(self._hosts) + 1
        addresses: dict[int, str] = {
            socket.AF_INET: f"10.0.{number >> 8}.{number & 255}",
            socket.AF_INET6: f"fd00::{number:x}",
        }
        if address is not None:
            if not isinstance(address, str):
                raise TypeError(f"hosts must map names to addresses, not to {address!r}")
            literal = _names.literal(address)
            if literal is None or self.host_at(literal[1]) is not None or _names.is_loopback(literal[1]):
                raise ValueError(f"hosts must map names to addresses that differ, got {address!r} for {name!r}")
            addresses[literal[0]] = literal[1]
        self._hosts[name] = Host(self, name, addresses)

    def host(self, name: str) -> Host:
        """Return the host of that name. Raises ValueError if there is none."""
        host = self._hosts.get(name)
        if host is None:
            raise ValueError(f"no host has the name {name!r}: there are {', '.join(map(repr, self._hosts))}")
        return host

    def host_at(self, address: str) -> Host | None:
        """Return the host that has an address, or None."""
        return next((host for host in self._hosts.values() if address in host.addresses.values()), None)

    def hosts_in_order(self) -> list[Host]:
        """Return all hosts."""
        return list(self._hosts.values())

    @property
    def here(self) -> Host:
        """The host that the code which asks runs on."""
        return current_host(self._hosts["localhost"])

    def look_up(self, asker: Host, host: Any, port: Any, **hints: Any) -> list[tuple[Any, ...]]:
        """Do what socket.getaddrinfo() does, on a host."""

        def addresses(name: str) -> list[tuple[int, str]] | None:
            if name in ("localhost", asker.name):
                # A server on "localhost" has one address, as on most machines; IPv6 for who asks for it.
                only = hints.get("family") or socket.AF_INET
                return [(only, _names.LOOPBACK[only])] if only in _names.LOOPBACK else []
            found = next((each for each in self._hosts.values() if each.name.lower() == name), None)
            return None if found is None else list(found.addresses.items())

        return _names.look_up(addresses, host, port, **hints)

    def name_of(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Do what socket.getnameinfo() does."""

        def name(address: str) -> str | None:
            if _names.is_loopback(address):
                return "localhost"
            host = self.host_at(address)
            return None if host is None else host.name

        return _names.reverse(name, sockaddr, flags)

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
        for ends in self._ways(source, target, one_way=one_way):
            self._special[ends] = conditions = replace(self._special.get(ends, self._conditions), **changes)
            if ends in self._links:
                self._links[ends].conditions = conditions
                self._links[ends].refresh()

    def partition(self, source: str, target: str, *, one_way: bool = False) -> None:
        """Let nothing through between two hosts, or from `source` to `target` only, until `heal`.

        What connections carry waits, is sent again and comes in after that; datagrams are lost. Raises ValueError for
        a name that no host has.
        """
        self._set_partition(self._ways(source, target, one_way=one_way), closed=True)

    def heal(self, source: str, target: str, *, one_way: bool = False) -> None:
        """End what `partition` began."""
        self._set_partition(self._ways(source, target, one_way=one_way), closed=False)

    def _set_partition(self, ways: list[tuple[str, str]], *, closed: bool) -> None:
        for ends in ways:
            if closed:
                self._partitions.add(ends)
            else:
                self._partitions.discard(ends)
            if ends in self._links:
                self._links[ends].is_partitioned = closed
                self._links[ends].refresh()

    def reset(self, source: str, target: str) -> None:
        """Reset all connections between two hosts: both ends see it at once. Raises ValueError for an unknown name."""
        ends = {self.host(source), self.host(target)}
        for sock in list(self.sockets.values()):
            if sock.out is not None and sock.out.link is not None and {sock.host, sock.out.target.host} == ends:
                self.reset_connection(sock)

    def _ways(self, source: str, target: str, *, one_way: bool) -> list[tuple[str, str]]:
        one, other = self.host(source).name, self.host(target).name
        return [(one, other)] if one_way or one == other else [(one, other), (other, one)]

    def link_between(self, source: Host, target: Host) -> Link:
        """Return the way from one host to another."""
        ends = source.name, target.name
        link = self._links.get(ends)
        if link is None:
            link = self._links[ends] = Link(self, source, target, self._special.get(ends, self._conditions))
            link.is_partitioned = ends in self._partitions
            link.refresh()
        return link

    def refresh(self, host: Host) -> None:
        """A host came up or went down."""
        for link in list(self._links.values()):
            if link.target is host:
                link.refresh()

    # --- faults -------------------------------------------------------------------------------------------------------

    @property
    def faults(self) -> list[Fault]:
        """What went another way than on a perfect network, in order; the last ten thousand."""
        return list(self._faults)

    def note(self, text: str) -> None:
        """Keep a fault."""
        self._faults.append(Fault(self.loop.time(), text))
        if self.loop._recorder is not None:
            self.loop._recorder.fault("network", text)

    def label(self, host: Host, address: str, port: int) -> str:
        """Return how an address is called in texts: by the host that has it."""
        there = host.find(address)
        return f"{address if there is None else there.name}:{port}"

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
        self._adoption.adopt(sock)

    def close(self) -> None:
        """The loop is closed: nobody is told of anything any more."""
        for sock in list(self.sockets.values()):
            sock.vanish()
        self._adoption = Adoption(self)

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
        loop = self.loop
        return loop._set_timer(tick, tick / TICKS_PER_SECOND, callback, (), _ALONE, "call_at")

    def connect(self, sock: Endpoint, there: Host, address: str, port: int) -> None:
        """Make a connection, or let it fail, when the time has come."""
        Handshake(self, sock, there, address, port)

    def reset_connection(self, sock: Endpoint) -> None:
        """Break a connection for both ends."""
        assert sock.out is not None
        self.note(f"{sock.out}: reset")
        for end in (sock.out.target, sock):
            if end.incoming is not None:
                end.incoming.cut()
            end.reset_by_peer()

    def send_datagram(self, sock: Endpoint, there: Host, address: str, port: int, data: bytes) -> None:
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
