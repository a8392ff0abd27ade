"""Sockets of both families, shared ports and interrupted readers: the same on stock asyncio and on VirtualLoop."""

import asyncio
import errno
import socket

import pytest

from helpers import opened, run
from virtualloop import VirtualLoop

LOOPS = (asyncio.SelectorEventLoop, VirtualLoop)


def both(main):
    """Run `main()` on either loop; return what it returns on VirtualLoop, which is the same on the other one."""
    seen = []
    for factory in LOOPS:
        with asyncio.Runner(loop_factory=factory) as runner:
            seen.append(runner.run(main()))
    assert seen[0] == seen[1]
    return seen[1]


class Keep(asyncio.DatagramProtocol):
    """Keeps the first datagram and the host that it came from; answers in capitals with `echo`."""

    def __init__(self, *, echo=False):
        self.got = asyncio.get_running_loop().create_future()
        self.echo = echo

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        if not self.got.done():
            self.got.set_result((data, address[0], len(address)))
        if self.echo:
            self.transport.sendto(data.upper(), address)


def dual(kind, host="::", port=0, *, only=0):
    sock = socket.socket(socket.AF_INET6, kind)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    sock.bind((host, port))
    return sock


@pytest.mark.parametrize("host", ["::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"])
def test_a_datagram_socket_of_both_families_talks_to_one_of_ipv4(host):
    async def main():
        loop = asyncio.get_running_loop()
        server, protocol = await loop.create_datagram_endpoint(lambda: Keep(echo=True), local_addr=("127.0.0.1", 0))
        port = server.get_extra_info("sockname")[1]
        client, answer = await loop.create_datagram_endpoint(Keep, sock=dual(socket.SOCK_DGRAM, host))
        client.sendto(b"hi", ("::ffff:127.0.0.1", port, 0, 0))
        seen = await protocol.got, await answer.got, client.get_extra_info("sockname")[0]
        client.close()
        server.close()
        return seen

    assert both(main)[:2] == ((b"hi", "127.0.0.1", 2), (b"HI", "::ffff:127.0.0.1", 4))


def test_a_datagram_socket_of_both_families_is_reached_over_either():
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        for host in ("127.0.0.1", "::1"):
            server, protocol = await loop.create_datagram_endpoint(Keep, sock=dual(socket.SOCK_DGRAM))
            port = server.get_extra_info("sockname")[1]
            client, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, port))
            client.sendto(b"x")
            seen.append(await protocol.got)
            client.close()
            server.close()
        return seen

    assert both(main) == [(b"x", "::ffff:127.0.0.1", 4), (b"x", "::1", 4)]


@pytest.mark.parametrize(
    ("bound", "asked"), [("::", "::ffff:127.0.0.1"), ("127.0.0.1", "::ffff:127.0.0.1"), ("::", "::")]
)
def test_a_stream_socket_of_ipv6_connects_to_a_mapped_address(bound, asked):
    async def main():
        loop = asyncio.get_running_loop()
        listener = dual(socket.SOCK_STREAM) if bound == "::" else socket.create_server((bound, 0))
        accepted = loop.create_future()
        server = await asyncio.start_server(lambda r, w: accepted.set_result(w), sock=listener)
        client = socket.socket(socket.AF_INET6)
        client.setblocking(False)
        await loop.sock_connect(client, (asked, server.sockets[0].getsockname()[1]))
        writer = await accepted
        peer = writer.get_extra_info("peername")
        seen = (
            client.getpeername()[0],
            client.getsockname()[0],
            peer[0],
            len(peer),
            writer.get_extra_info("sockname")[0],
        )
        writer.close()
        client.close()
        server.close()
        return seen

    both(main)


def test_who_may_bind_what_at_the_same_port():
    hosts = ["0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1", "::ffff:127.0.0.1", "only ::"]

    def bind(make, kind, first, second, options):
        sockets, port = [], 0
        try:
            for name in (first, second):
                host, only = name.removeprefix("only "), name.startswith("only")
                sock = make(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
                sockets.append(sock)
                if ":" in host:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
                for option in options:
                    sock.setsockopt(socket.SOL_SOCKET, option, 1)
                sock.bind((host, port))
                port = sock.getsockname()[1]
                if kind == socket.SOCK_STREAM and not options:
                    sock.listen()
        except OSError as exc:
            return errno.errorcode[exc.errno]
        finally:
            for sock in sockets:
                sock.close()
        return "fine"

    with opened() as loop:
        for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,)):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                for first in hosts:
                    for second in hosts:
                        case = kind, first, second, options
                        # Somebody else on the machine may have a port by chance, and never twice in a row.
                        real = {bind(socket.socket, *case) for _ in range(2)}
                        expected = "fine" if "fine" in real else real.pop()

                        assert bind(loop._stack.make_socket, *case) == expected, case


def test_a_socket_that_leaves_ipv4_to_others_does_not_send_to_it():
    def walk(make):
        sock = make(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        seen = []
        for act in (sock.bind, lambda address: sock.sendto(b"x", address), sock.connect):
            with pytest.raises(OSError) as caught:
                act(("::ffff:127.0.0.1", 9))
            seen.append(caught.value.errno)
        sock.close()
        return seen

    with opened() as loop:
        assert walk(loop._stack.make_socket) == walk(socket.socket)


def test_an_address_of_ipv4_is_looked_up_for_ipv6_where_it_may_be_mapped():
    async def main():
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(
            "127.0.0.1", 80, family=socket.AF_INET6, type=socket.SOCK_STREAM, flags=socket.AI_V4MAPPED
        )

    assert both(main)[0][4] == ("::ffff:127.0.0.1", 80, 0, 0)


def test_servers_that_share_a_port_share_the_connections():
    async def main():
        counts = [0, 0]

        def serve(number):
            def connected(reader, writer):
                counts[number] += 1
                writer.close()

            return connected

        servers = [await asyncio.start_server(serve(number), "127.0.0.1", 80, reuse_port=True) for number in range(2)]
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", 80)
            await reader.read()
            writer.close()
        for server in servers:
            server.close()
        return counts

    assert run(main) == [5, 5]


def test_the_last_of_those_that_share_an_address_gets_the_datagrams():
    def walk(make):
        sockets = [make(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for sock in sockets:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        *sharing, sender = sockets
        sharing[0].bind(("127.0.0.1", 0))
        sharing[1].bind(sharing[0].getsockname())
        sender.sendto(b"x", sharing[0].getsockname())
        got = []
        for sock in sharing:
            try:
                got.append(sock.recv(1))
            except BlockingIOError:
                got.append(None)
        for sock in sockets:
            sock.close()
        return got

    with opened() as loop:
        assert walk(loop._stack.make_socket) == walk(socket.socket) == [None, b"x"]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_that_was_told_the_wrong_family_is_what_it_is(kind):
    async def main():
        real = socket.socket(socket.AF_INET, kind)
        wrong = socket.fromfd(real.fileno(), socket.AF_UNIX, kind)
        loop = asyncio.get_running_loop()
        if kind == socket.SOCK_STREAM:
            server = await loop.create_server(asyncio.Protocol, sock=wrong)
            host = wrong.getsockname()[0]
            server.close()
        else:
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=wrong)
            host = transport.get_extra_info("sockname")[0]
            transport.close()
        real.close()
        return host

    assert both(main) == "0.0.0.0"


class Interrupted(asyncio.Protocol):
    """Raises from one of its methods, once."""

    def __init__(self, method, exception, seen):
        self.seen = seen
        self._method, self._exception = method, exception

    def _maybe(self, method):
        self.seen.append(method)
        if self._method == method:
            self._method = None
            raise self._exception

    def connection_made(self, transport):
        self._maybe("connection_made")

    def data_received(self, data):
        self._maybe(f"data_received {data!r}")

    def eof_received(self):
        self._maybe("eof_received")

    def connection_lost(self, exc):
        self._maybe("connection_lost")


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("method", ["connection_made", "data_received b'one'", "eof_received", "connection_lost"])
def test_the_loop_goes_on_after_a_protocol_was_interrupted(method, exception):
    def walk(factory):
        loop = factory()
        seen, interrupted = [], []

        async def main():
            server = await loop.create_server(lambda: Interrupted(method, exception, seen), "127.0.0.1", 0)
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for data in (b"one", b"two"):
                writer.write(data)
                await asyncio.sleep(0.01)
            writer.write_eof()
            await asyncio.sleep(0.01)
            writer.close()
            server.close()

        task = loop.create_task(main())
        while not task.done():
            try:
                loop.run_until_complete(task)
            except exception:
                interrupted.append(True)
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        return seen, len(interrupted)

    assert walk(VirtualLoop) == walk(asyncio.SelectorEventLoop)


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_the_loop_goes_on_after_a_watcher_was_interrupted(direction):
    def walk(factory):
        loop = factory()
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        calls = []

        def watch():
            calls.append(True)
            if len(calls) == 1:
                raise KeyboardInterrupt
            getattr(loop, f"remove_{direction}")(here)
            loop.stop()

        async def main():
            getattr(loop, f"add_{direction}")(here, watch)
            await loop.sock_sendall(there, b"x")

        loop.create_task(main())
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        loop.run_forever()
        loop.close()
        here.close()
        there.close()
        return len(calls)

    assert walk(VirtualLoop) == walk(asyncio.SelectorEventLoop) == 2


# --- datagrams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fit"), [(0, 256), (1, 256), (192, 256), (300, 166), (1000, 92), (3000, 48), (30_000, 6)]
)
def test_so_many_datagrams_wait_to_be_read(size, fit):
    """Measured on Linux 6."""
    with opened() as loop:
        receiver, sender = (loop._stack.make_socket(type=socket.SOCK_DGRAM) for _ in range(2))
        receiver.bind(("127.0.0.1", 9))
        for _ in range(300):
            sender.sendto(bytes(size), receiver.getsockname())
        got = 0
        while True:
            try:
                receiver.recv(70_000)
            except BlockingIOError:
                break
            got += 1
        sender.sendto(b"there is room again", receiver.getsockname())
        assert receiver.recv(100) == b"there is room again"
        receiver.close()
        sender.close()

    assert got == fit


def test_a_unix_socket_loses_no_datagram():
    async def main():
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for sock in (here, there):
            sock.setblocking(False)
        got = []

        async def receive():
            while len(got) < 1000:
                got.append(await loop.sock_recv(there, 10))

        async with asyncio.TaskGroup() as group:
            group.create_task(receive())
            for number in range(1000):
                await loop.sock_sendall(here, b"%d" % number)
        here.close()
        there.close()
        return got

    assert both(main) == [b"%d" % number for number in range(1000)]


def test_twenty_thousand_connections_at_once():
    with opened() as loop:
        make = loop._stack.make_socket
        listener = make()
        listener.bind(("127.0.0.1", 80))
        listener.listen()
        clients = [make() for _ in range(20_000)]
        assert {client.connect_ex(("127.0.0.1", 80)) for client in clients} == {errno.EINPROGRESS}
        accepted = [listener.accept()[0] for _ in clients]

        assert len({client.getsockname() for client in clients}) == 20_000
        for sock in (*clients, *accepted, listener):
            sock.close()
