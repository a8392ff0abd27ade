"""Properties of sockets in memory: nothing is lost, nothing is reordered, and nobody gets ahead without bound."""

import asyncio
import contextlib
import errno
import os
import socket
import sys
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import LEVELS, opened, run
from virtualloop import Network, VirtualLoop
from virtualloop._stock.private import GIVEN_SOCKETS, StockLoop

BUFFERS = 256 * 1024  # what two ends hold together


def connected(loop):
    """Return the two ends of a connection, as sockets, and the listener."""
    make = loop._stack.make_socket
    listener, client = make(), make()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    assert client.connect_ex(listener.getsockname()) == errno.EINPROGRESS
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    server, _ = listener.accept()
    return client, server, listener


@given(st.lists(st.tuples(st.sampled_from(["send", "sendmsg", "recv", "recv_into"]), st.integers(1, 200_000))))
@settings(max_examples=200, deadline=None)
def test_bytes_come_in_as_they_were_sent_and_are_bounded(operations):
    sent, received = bytearray(), bytearray()
    with opened() as loop:
        client, server, listener = connected(loop)
        for operation, size in operations:
            data = os.urandom(size) if operation.startswith("send") else bytearray(size)
            try:
                match operation:
                    case "send":
                        sent += data[: client.send(data)]
                    case "sendmsg":
                        parts = [memoryview(data)[: size // 2], bytearray(data[size // 2 :])]
                        sent += data[: client.sendmsg(parts)]
                    case "recv":
                        received += server.recv(size)
                    case "recv_into":
                        received += data[: server.recv_into(data)]
            except BlockingIOError:
                full = operation.startswith("send") and len(sent) - len(received) == BUFFERS
                assert full or (operation.startswith("recv") and len(sent) == len(received))
            assert len(sent) - len(received) <= BUFFERS
            assert bytes(received) == sent[: len(received)]
        client.close()
        if len(sent) > len(received):
            received += server.recv(len(sent))
        assert received == sent
        assert server.recv(1) == b""
        server.close()
        listener.close()


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=30),
    st.sampled_from(LEVELS),
    st.integers(0, 1000),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_streams_keep_their_order_whatever_the_network_does(writes, order, seed, pauses):
    async def main():
        got = []

        class Keep(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                got.append(data)
                if pauses:
                    self.transport.pause_reading()
                    asyncio.get_running_loop().call_later(0.01, self.transport.resume_reading)

            def eof_received(self):
                got.append(None)

        server = await asyncio.get_running_loop().create_server(Keep, port=80)
        _, writer = await asyncio.open_connection("localhost", 80)
        for data in writes:
            writer.write(data)
            await asyncio.sleep(0.001)
        writer.close()
        await asyncio.sleep(100)
        server.close()
        return got

    network = Network(latency=(0, 0.05), fragmentation=0.3, coalescing=0.2, bandwidth=100_000)
    got = run(main, seed, order=order, network=network)

    assert got.count(None) == 1
    assert got[-1] is None
    assert b"".join(got[:-1]) == b"".join(writes)


@pytest.mark.parametrize("order", LEVELS)
def test_a_writer_that_never_waits_is_stopped_by_the_buffers(order):
    async def main():
        async def never(reader, writer):
            await asyncio.sleep(1)
            writer.transport.abort()

        server = await asyncio.start_server(never, port=80, limit=1000)
        _, writer = await asyncio.open_connection("localhost", 80)
        for _ in range(100):
            writer.write(bytes(100_000))
            await asyncio.sleep(0.001)
        taken = 10_000_000 - writer.transport.get_write_buffer_size()
        writer.transport.abort()
        server.close()
        await asyncio.sleep(10)
        return taken

    # What the network holds, and what the reader's transport read before its limit stopped it.
    assert BUFFERS <= run(main, 1, order=order) <= 2 * BUFFERS + 100_000


def test_the_sizes_of_buffers_can_be_set():
    with opened() as loop:
        client, server, listener = connected(loop)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1000)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 500)

        assert client.send(bytes(10_000)) == 1500
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 1000
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4) == (500).to_bytes(4, "little")
        for sock in (client, server, listener):
            sock.close()


def test_a_socket_may_be_written_once_a_third_of_its_buffer_is_free():
    with opened() as loop:
        client, server, listener = connected(loop)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1000)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 500)
        sending = loop.create_task(loop.sock_sendall(client, bytes(1501)))
        loop.run_until_idle()
        waits = []
        for size in (1, 498, 1):
            waits.append(not sending.done())
            server.recv(size)
            loop.run_until_idle()

        assert waits == [True, True, True]
        assert sending.done()
        for sock in (client, server, listener):
            sock.close()


def test_peeking_takes_nothing():
    with opened() as loop:
        client, server, listener = connected(loop)
        client.send(b"hello")

        assert server.recv(3, socket.MSG_PEEK) == b"hel"
        assert server.recv(10) == b"hello"
        for sock in (client, server, listener):
            sock.close()


def raises(code, call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    assert caught.value.errno == code, os.strerror(caught.value.errno)


def test_the_errors_of_sockets():
    """Those of Linux: the same calls on real sockets raise the same."""

    def walk(make):
        fresh, bound, closed = make(), make(), make()
        for sock in (fresh, bound):
            sock.setblocking(False)
        bound.bind(("127.0.0.1", 0))
        closed.close()
        raises(errno.EBADF, closed.recv, 1)
        raises(errno.EBADF, closed.getsockname)
        raises(errno.ENOTCONN, fresh.recv, 1)
        raises(errno.EPIPE, fresh.send, b"x")
        raises(errno.ENOTCONN, fresh.getpeername)
        raises(errno.ENOTCONN, fresh.shutdown, socket.SHUT_WR)
        raises(errno.EINVAL, fresh.accept)
        raises(errno.EINVAL, bound.bind, ("127.0.0.1", 0))
        raises(errno.EADDRINUSE, fresh.bind, bound.getsockname())
        raises(errno.EADDRNOTAVAIL, fresh.bind, ("192.0.2.1", 0))
        bound.listen()
        raises(errno.EAGAIN, bound.accept)
        raises(errno.EINPROGRESS, fresh.connect, bound.getsockname())
        fresh.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        server, address = bound.accept()
        server.setblocking(False)
        assert address == fresh.getsockname()
        raises(errno.EAGAIN, server.recv, 1)
        for _ in range(2):
            fresh.shutdown(socket.SHUT_WR)
        raises(errno.EPIPE, fresh.send, b"x")
        assert server.recv(1) == b""
        fresh.shutdown(socket.SHUT_RD)
        assert fresh.recv(1) == b""
        server.send(b"unread")
        fresh.close()  # with something unread, which resets
        raises(errno.EPIPE, lambda: [server.send(b"x") for _ in range(3)])
        server.close()
        bound.close()

        datagrams = make(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.setblocking(False)
        raises(errno.EAGAIN, datagrams.recv, 1)
        raises(errno.EDESTADDRREQ, datagrams.send, b"x")
        raises(errno.EMSGSIZE, datagrams.sendto, bytes(70_000), ("127.0.0.1", 9))
        raises(errno.EACCES, datagrams.sendto, b"x", ("255.255.255.255", 9))
        raises(errno.EOPNOTSUPP, datagrams.listen)
        datagrams.close()

    with opened() as loop:
        walk(loop._stack.make_socket)
    walk(socket.socket)


def _bound(sock):
    sock.bind(("127.0.0.1", 0))
    return sock


def _to_itself(sock):
    sock.connect(_bound(sock).getsockname())
    return sock


def _listening(sock):
    _bound(sock).listen()
    return sock


def _closed(sock):
    sock.close()
    return sock


def _set(sock, value, option=socket.SO_RCVBUF):
    sock.setsockopt(socket.SOL_SOCKET, option, value)
    return sock.getsockopt(socket.SOL_SOCKET, option)


def _option(sock, option):
    return sock.getsockopt(socket.SOL_SOCKET, option)


def _unused():
    """Return an address at which nobody is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return _bound(sock).getsockname()


CALLS = {
    "datagrams": [
        lambda sock: sock.listen(),
        lambda sock: sock.accept(),
        lambda sock: sock.shutdown(socket.SHUT_RDWR),
        lambda sock: sock.send(b"x"),
        lambda sock: sock.sendall(b"x"),
        lambda sock: sock.recv(-1),
        lambda sock: _bound(sock).recv(10),
        lambda sock: _bound(sock).recvfrom(10),
        lambda sock: sock.getpeername(),
        lambda sock: sock.sendto(b"x", ("<broadcast>", 9)),
        lambda sock: sock.sendto(bytes(70_000), ("127.0.0.1", 9)),
        lambda sock: [_set(sock, value) for value in (1, 5000)],
        lambda sock: [_set(sock, value, socket.SO_SNDBUF) for value in (1, 5000)],
        lambda sock: sock.connect_ex(("127.0.0.1", 9)),
        lambda sock: [_to_itself(sock).sendall(b"abc"), sock.recv(2, socket.MSG_PEEK), sock.recv(2)],
        lambda sock: _to_itself(sock).shutdown(socket.SHUT_WR),
        lambda sock: [sock.connect(_unused()), sock.send(b"x"), sock.send(b"refused")],
        lambda sock: _closed(sock).recv(1),
        lambda sock: _closed(sock).listen(),
        lambda sock: _closed(sock).fileno(),
    ],
    "streams": [
        lambda sock: sock.getpeername(),
        lambda sock: sock.accept(),
        lambda sock: _listening(sock).accept(),
        lambda sock: _listening(sock).listen(),
        lambda sock: _listening(sock).connect(("127.0.0.1", 9)),
        lambda sock: sock.send(b"x"),
        lambda sock: sock.recv(1),
        lambda sock: sock.recv(-1),
        lambda sock: sock.shutdown(socket.SHUT_RDWR),
        lambda sock: sock.bind((b"127.0.0.1", 0)),
        lambda sock: sock.bind("127.0.0.1"),
        lambda sock: sock.bind(("127.0.0.1",)),
        lambda sock: sock.bind((1, 0)),
        lambda sock: sock.bind(("127.0.0.1", 70_000)),
        lambda sock: _bound(sock).bind(("127.0.0.1", 0)),
        lambda sock: sock.bind(("192.0.2.1", 0)),
        lambda sock: [sock.settimeout(0), sock.gettimeout(), sock.getblocking()],
        lambda sock: [_option(each, socket.SO_ACCEPTCONN) for each in (sock, _listening(sock))],
        lambda sock: [_option(sock, option) for option in (socket.SO_TYPE, socket.SO_ERROR, socket.SO_KEEPALIVE)],
        lambda sock: _closed(sock).send(b"x"),
    ],
}


@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind in CALLS for number in range(len(CALLS[kind]))])
def test_a_call_does_what_it_does_on_a_real_socket(kind, number):
    def outcome(make):
        sock = make(socket.AF_INET, socket.SOCK_DGRAM if kind == "datagrams" else socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            return CALLS[kind][number](sock)
        except OSError as exc:
            return type(exc), exc.errno
        except Exception as exc:
            return type(exc), str(exc)
        finally:
            sock.close()

    with opened() as loop:
        assert outcome(loop._stack.make_socket) == outcome(socket.socket)


def test_more_errors_of_sockets(tmp_path):
    def walk(make, folder):
        folder.mkdir()
        stream, listener = make(), make()
        for sock in (stream, listener):
            sock.setblocking(False)
        for wrong in ("text", ("127.0.0.1",), ("127.0.0.1", "80"), ("::1", 80), (1, 80)):
            with pytest.raises((TypeError, OSError)):
                stream.connect(wrong)
        for method in (stream.connect, stream.bind):
            with pytest.raises(OverflowError, match="port must be 0-65535"):
                method(("127.0.0.1", 70000))
        with pytest.raises(ValueError, match="negative buffersize in recv"):
            stream.recv(-1)
        listener.bind(("", 0))
        port = listener.getsockname()[1]
        assert listener.getsockname() == ("0.0.0.0", port)
        listener.listen()
        raises(errno.EISCONN, listener.connect, ("127.0.0.1", port))
        raises(errno.EINPROGRESS, stream.connect, ("", port))
        stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert stream.connect_ex(("127.0.0.1", port)) in (0, errno.EISCONN)  # Linux says so once without an error
        assert stream.connect_ex(("127.0.0.1", port)) == errno.EISCONN
        assert stream.getpeername() == ("127.0.0.1", port)
        raises(errno.EINVAL, stream.listen)
        server, _ = listener.accept()
        server.setblocking(False)
        stream.sendall(b"hello")
        assert server.recvfrom(3) == (b"hel", None)
        stream.shutdown(socket.SHUT_RDWR)
        assert stream.recv(1) == b""
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        assert server.sendto(b"x", ("127.0.0.1", 9)) == 1  # the address is for datagrams
        again = server.dup()
        assert again.getsockname() == server.getsockname()
        server.close()
        assert again.recv(5) == b"lo"
        again.close()
        with stream, listener:
            pass
        assert stream.fileno() == listener.fileno() == -1

        path = str(folder / "socket")
        one, other = (make(socket.AF_UNIX) for _ in range(2))
        for sock in (one, other):
            sock.setblocking(False)
        raises(errno.ENOENT, one.connect, path)
        raises(errno.ENOTCONN, one.send, b"x")
        raises(errno.EINVAL, one.listen)
        with pytest.raises(OSError, match="AF_UNIX path too long"):
            one.bind(path * 20)
        with pytest.raises(TypeError):
            one.bind(1)
        one.bind(path)
        raises(errno.ECONNREFUSED, other.connect, path)
        raises(errno.EADDRINUSE, other.bind, path)
        one.listen()
        assert other.connect(path) is None
        connection, _ = one.accept()
        assert connection.getsockname() == other.getpeername() == path
        packets = make(socket.AF_UNIX, socket.SOCK_DGRAM)
        raises(errno.EPROTOTYPE, packets.sendto, b"x", path)
        for sock in (one, other, connection, packets):
            sock.close()

        left, right = (make(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        left.bind(path + "1")
        right.bind(path + "2")
        left.connect(path + "2")
        left.send(b"connected")
        assert right.recvfrom(100) == (b"connected", path + "1")
        right.sendto(b"not", path + "1")
        assert left.recv(2) == b"no"
        left.close()
        raises(errno.ECONNREFUSED, right.sendto, b"x", path + "1")
        right.close()

        datagrams, others = (make(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        others.bind(("127.0.0.1", 0))
        datagrams.connect(("", others.getsockname()[1]))
        assert datagrams.sendmsg([b"one", b"two"]) == 6
        others.setblocking(True)
        assert others.recv(100, socket.MSG_PEEK) == b"onetwo"
        buffer = bytearray(10)
        assert others.recvfrom_into(buffer)[0] == 6
        assert datagrams.sendto(b"", ("", others.getsockname()[1])) == 0
        assert others.recv(1) == b""
        datagrams.close()
        others.close()

    with opened() as loop:
        walk(loop._stack.make_socket, tmp_path / "memory")
        with pytest.raises(OSError, match="Address family not supported"):
            loop._stack.make_socket(12345)
        with pytest.raises(OSError, match="Socket type not supported"):
            loop._stack.make_socket(socket.AF_INET, socket.SOCK_RAW)
    walk(socket.socket, tmp_path / "real")


def test_one_of_two_sockets_at_a_port_listens():
    def walk(make):
        one, other = make(), make()
        for sock in (one, other):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
        other.bind(one.getsockname())
        one.listen()
        raises(errno.EADDRINUSE, other.listen)
        one.close()
        other.listen()
        other.close()

    with opened() as loop:
        walk(loop._stack.make_socket)
    walk(socket.socket)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives names by itself")
def test_a_unix_socket_has_a_name_where_none_is_given():
    def walk(make):
        named, other = (make(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        named.bind("")
        name = named.getsockname()
        assert (type(name), name[:1], len(name)) == (bytes, b"\0", 6)
        other.sendto(b"x", name)
        assert named.recv(1) == b"x"
        other.close()
        named.close()

    with opened() as loop:
        walk(loop._stack.make_socket)
    walk(socket.socket)


def test_a_unix_socket_that_is_full_says_so_each_time(tmp_path):
    def walk(make, path):
        taker, sender = (make(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        taker.bind(path)
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100_000):
                sender.sendto(b"x", path)
        for _ in range(2):
            raises(errno.EAGAIN, sender.sendto, b"x", path)
        while True:
            taker.recv(1)
            try:
                sender.sendto(b"y", path)
            except BlockingIOError:
                continue
            break
        taker.close()
        sender.close()

    with opened() as loop:
        walk(loop._stack.make_socket, str(tmp_path / "memory"))
    walk(socket.socket, str(tmp_path / "real"))


@pytest.mark.parametrize("loop_factory", [VirtualLoop, asyncio.SelectorEventLoop])
@pytest.mark.parametrize("asked", [False, True])
def test_a_socket_without_a_connection_is_hung_up(loop_factory, asked):
    """As select() says: whoever reads from it learns of it."""

    async def main():
        loop = asyncio.get_running_loop()
        called = loop.create_future()
        with socket.socket() as sock:
            sock.setblocking(False)
            if asked:
                with pytest.raises(ConnectionRefusedError):
                    await loop.sock_connect(sock, _unused())
            loop.add_reader(sock, lambda: called.done() or called.set_result(True))
            async with asyncio.timeout(60):
                await called
            loop.remove_reader(sock)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_a_unix_socket_takes_nothing_from_others_than_the_one_it_is_connected_to(tmp_path):
    def walk(make, folder):
        folder.mkdir()
        sockets = [make(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3)]
        names = [str(folder / str(number)) for number in range(3)]
        for sock, name in zip(sockets, names, strict=True):
            sock.bind(name)
        sockets[0].connect(names[1])
        sockets[1].sendto(b"it", names[0])
        raises(errno.EPERM, sockets[2].sendto, b"x", names[0])
        assert sockets[0].recv(10) == b"it"
        for sock in sockets:
            sock.close()

    with opened() as loop:
        walk(loop._stack.make_socket, tmp_path / "memory")
    walk(socket.socket, tmp_path / "real")


def test_what_a_socket_says_while_its_connection_is_on_its_way():
    async def main():
        loop = asyncio.get_running_loop()
        with loop.network.add_host("far"):
            server = await asyncio.start_server(lambda reader, writer: writer.close(), "0.0.0.0", 80)
        sock = loop._stack.make_socket()
        raises(errno.EINPROGRESS, sock.connect, ("far", 80))
        raises(errno.EALREADY, sock.connect, ("far", 80))
        raises(errno.ENOTCONN, sock.getpeername)
        raises(errno.EAGAIN, sock.send, b"x")
        await asyncio.sleep(1)
        assert sock.getpeername()[1] == 80
        sock.close()
        server.close()

    run(main, network=Network(latency=0.1))


def test_an_address_that_nobody_has_is_not_reached():
    with opened() as loop:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = loop._stack.make_socket(socket.AF_INET, kind)
            with pytest.raises(OSError) as caught:
                sock.connect(("192.0.2.1", 9))
            assert caught.value.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
            sock.close()
        sock = loop._stack.make_socket(socket.AF_INET, socket.SOCK_DGRAM)
        with pytest.raises(OSError):
            sock.sendto(b"x", ("192.0.2.1", 9))
        sock.close()


def test_a_broadcast_reaches_every_host():
    class Inbox(asyncio.DatagramProtocol):
        def __init__(self):
            self.got = []

        def datagram_received(self, data, addr):
            self.got.append(data)

    async def main():
        loop = asyncio.get_running_loop()
        inboxes = []
        for name in ("a", "b"):
            with loop.network.add_host(name):
                transport, inbox = await loop.create_datagram_endpoint(Inbox, local_addr=("0.0.0.0", 67))
            inboxes.append((transport, inbox))
        sender, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, family=socket.AF_INET, allow_broadcast=True
        )
        sender.sendto(b"who is there?", ("255.255.255.255", 67))
        await asyncio.sleep(1)
        for transport, _ in inboxes:
            transport.close()
        sender.close()
        await asyncio.sleep(1)
        return [inbox.got for _, inbox in inboxes]

    assert run(main) == [[b"who is there?"]] * 2


def test_ports_run_out():
    async def main():
        make = asyncio.get_running_loop()._stack.make_socket
        sockets = [make() for _ in range(65536 - 49152)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        raises(errno.EADDRNOTAVAIL, make().bind, ("127.0.0.1", 0))
        sockets[7].close()
        sockets[7] = make()
        sockets[7].bind(("127.0.0.1", 0))
        for sock in sockets:
            sock.close()

    run(main)


def test_a_server_on_ipv6_takes_ipv4_unless_told_otherwise():
    with opened() as loop:
        make = loop._stack.make_socket
        listener, client, other = make(socket.AF_INET6), make(), make()
        listener.bind(("::", 0))
        listener.listen()
        port = listener.getsockname()[1]
        client.connect_ex(("127.0.0.1", port))
        server, address = listener.accept()

        assert address[0] == "::ffff:127.0.0.1"
        assert server.getpeername() == address
        raises(errno.EADDRINUSE, other.bind, ("0.0.0.0", port))
        for sock in (server, client, other, listener):
            sock.close()


def test_what_there_is_no_room_for():
    with opened() as loop:
        client, server, listener = connected(loop)
        with pytest.raises(BlockingIOError):
            client.sendall(bytes(BUFFERS + 1))
        assert client.sendmsg([bytes(BUFFERS), b"one more"]) == BUFFERS
        with pytest.raises(BlockingIOError):
            client.sendmsg([b"one more"])
        for sock in (client, server, listener):
            sock.close()


def test_who_waits_for_a_socket_and_is_cancelled_takes_nothing_away():
    async def main():
        loop = asyncio.get_running_loop()
        client, server, listener = connected(loop)
        for sock in (client, server):
            sock.setblocking(False)
        first = asyncio.create_task(loop.sock_recv(server, 10))
        await asyncio.sleep(1)
        client.send(b"hello")
        first.cancel()
        await asyncio.wait([first])
        got = await loop.sock_recv(server, 10)
        for sock in (client, server, listener):
            sock.close()
        return got

    assert run(main) == b"hello"


def test_an_address_is_refused_where_folders_must_not_be_listed(monkeypatch):
    """As blockbuster has it, while a loop runs."""

    def forbidden(*args):
        raise RuntimeError("Blocking call to os.listdir")

    async def main():
        monkeypatch.setattr(os, "listdir", forbidden)
        try:
            await asyncio.open_connection("127.0.0.1", 4711)
        finally:
            monkeypatch.undo()

    with pytest.raises(ConnectionRefusedError):
        run(main)


def test_a_path_is_found_where_nobody_must_ask_for_files(monkeypatch, tmp_path):
    """As above."""
    path = str(tmp_path / "server")

    def forbidden(*args, **kwargs):
        raise RuntimeError("Blocking call to os.stat")

    async def main():
        server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
        monkeypatch.setattr(os, "stat", forbidden)
        try:
            reader, writer = await asyncio.open_unix_connection(path)
            found = await reader.read()
            writer.close()
        finally:
            monkeypatch.undo()
        server.close()
        return found

    assert run(main) == b""


@pytest.mark.parametrize("name", GIVEN_SOCKETS)
def test_methods_are_coroutine_functions_as_stock_ones_are(name):
    with opened() as loop, mock.patch.object(loop, name) as ours, mock.patch.object(StockLoop, name) as stock:
        assert isinstance(ours, mock.AsyncMock)
        assert isinstance(stock, mock.AsyncMock)


def test_what_arrives_comes_before_timers_that_fell_due_while_a_callback_ran():
    order = []

    async def main():
        loop = asyncio.get_running_loop()
        mine, other = (loop._stack.make_socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        mine.bind(("127.0.0.1", 0))
        loop.add_reader(mine, lambda: order.append(mine.recv(10)))
        for delay in (0.1, 0.2):
            loop.call_later(delay, order.append, delay)
        loop._clock.move(loop._clock.tick + 200_000)  # as time.sleep() does, of a loop with a clock of its own
        other.sendto(b"data", mine.getsockname())
        await asyncio.sleep(0.1)
        loop.remove_reader(mine)
        mine.close()
        other.close()

    run(main)
    assert order == [b"data", 0.1, 0.2]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_that_went_with_its_host_says_that_it_is_closed(kind):
    network = Network(hosts=["server"])
    with opened(network=network) as loop:
        with network.host("server"):
            sock = loop._stack.make_socket(socket.AF_INET, kind)
        network.host("server").crash()
        for ask in (
            sock.getsockname,
            sock.getpeername,
            lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
            lambda: sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
            lambda: sock.bind(("127.0.0.1", 0)),
            lambda: sock.connect(("127.0.0.1", 80)),
            sock.listen,
            sock.accept,
            lambda: sock.shutdown(socket.SHUT_RDWR),
            lambda: sock.send(b"data"),
            lambda: sock.sendto(b"data", ("127.0.0.1", 80)),
            lambda: sock.recv(1),
            lambda: sock.recvfrom(1),
        ):
            with pytest.raises(OSError) as raised:
                ask()
            assert raised.value.errno == errno.EBADF
        sock.close()


def send_by_the_system(sock):
    return os.sendfile(sock.fileno(), 0, 0, 1)


async def send_in_a_thread(sock):
    await asyncio.get_running_loop().run_in_executor(None, os.write, sock.fileno(), b"x")


async def send_in_a_group(sock):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(os.dup, sock.fileno()))


@pytest.mark.parametrize("send", [send_by_the_system, send_in_a_thread, send_in_a_group])
def test_the_number_of_a_socket_in_memory_is_no_descriptor_and_that_is_said(send):
    async def main():
        server = await asyncio.start_server(lambda r, w: w.close(), port=0)
        _, writer = await asyncio.open_connection(port=server.sockets[0].getsockname()[1])
        try:
            made = send(writer.get_extra_info("socket"))
            if asyncio.iscoroutine(made):
                await made
        finally:
            writer.close()
            server.close()

    with pytest.raises((OSError, BaseExceptionGroup)) as caught:
        run(main)
    exc = caught.value
    while isinstance(exc, BaseExceptionGroup):
        (exc,) = exc.exceptions
    assert exc.errno == errno.EBADF
    (note,) = exc.__notes__
    assert note.startswith("If that is the fileno() of a socket: sockets of a VirtualLoop are in memory")
    assert "await loop.sendfile(transport, file)" in note


def test_a_socket_in_memory_that_is_closed_is_just_that():
    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda r, w: w.close(), port=0)
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, server.sockets[0].getsockname())
        server.close()
        sock.close()
        sock.send(b"x")

    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        run(main)
    assert not hasattr(caught.value, "__notes__")


def test_a_descriptor_that_is_bad_on_a_loop_without_a_network_is_just_that():
    async def main():
        os.write(2**30, b"x")

    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        run(main)
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("method", ["sendfile", "makefile", "recvmsg", "recvmsg_into"])
def test_what_a_socket_in_memory_does_not_do_it_says(method):
    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda r, w: w.close(), port=0)
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, server.sockets[0].getsockname())
            server.close()
            getattr(sock, method)(*([1] if "recvmsg" in method else []))

    with pytest.raises(OSError, match="Operation not supported by a socket in memory: ") as caught:
        run(main)
    assert caught.value.errno == errno.EOPNOTSUPP
