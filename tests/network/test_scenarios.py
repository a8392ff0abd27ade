"""The same programs on stock asyncio over the real loopback and on VirtualLoop: the same is seen, in the same order.

A scenario is a coroutine that returns what it saw. To add one, write it: it is run on both loops, and what it returns
has to be equal. At the other orders what is seen may come in another order; there, each scenario has to end.
"""

import asyncio
import gc
import io
import math
import os
import pathlib
import socket
import ssl
import struct
import sys
import tempfile
import warnings

import pytest

from helpers import LEVELS, run
from virtualloop import VirtualLoop

CERTIFICATES = pathlib.Path(__file__).parent / "certificates"
HOST = "127.0.0.1"


# --- what scenarios are made of ---------------------------------------------------------------------------------------


class Log(asyncio.Protocol):
    """Keeps the order of its callbacks, in a list that it may share with others."""

    def __init__(self, name, seen, keep_open=None):
        self.name = name
        self.seen = seen
        self.keep_open = keep_open
        self.received = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.seen.append(f"{self.name} made")

    def data_received(self, data):
        self.received += data
        self.seen.append(f"{self.name} received {len(data)}")

    def eof_received(self):
        self.seen.append(f"{self.name} eof")
        return self.keep_open

    def pause_writing(self):
        self.seen.append(f"{self.name} paused")

    def resume_writing(self):
        self.seen.append(f"{self.name} resumed")

    def connection_lost(self, exc):
        self.seen.append(f"{self.name} lost {type(exc).__name__} {getattr(exc, 'errno', None)}")
        if not self.lost.done():
            self.lost.set_result(exc)


async def pair(seen, *, keep_open=None, server_keep_open=None, family=socket.AF_INET):
    """Return client and server protocol of a connection, and the server."""
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()

    def factory():
        protocol = Log("server", seen, server_keep_open)
        loop.call_soon(accepted.set_result, protocol)
        return protocol

    host = HOST if family == socket.AF_INET else "::1"
    server = await loop.create_server(factory, host, 0)
    address = server.sockets[0].getsockname()
    _, client = await loop.create_connection(lambda: Log("client", seen, keep_open), *address[:2])
    return client, await accepted, server


async def settle():
    """Let what is on its way arrive: real time on the stock loop, longer than any lateness on VirtualLoop."""
    await asyncio.sleep(1 if isinstance(asyncio.get_running_loop(), VirtualLoop) else 0.02)


def error_of(exc):
    return type(exc).__name__, getattr(exc, "errno", None), str(exc)


async def raised(awaitable):
    try:
        await awaitable
    except Exception as exc:
        return exc
    pytest.fail("nothing was raised")


async def free_port():
    server = await asyncio.start_server(lambda reader, writer: None, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def server_context(name="trusted"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    return context


def client_context():
    return ssl.create_default_context(cafile=str(CERTIFICATES / "authority.pem"))


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


# --- streams ----------------------------------------------------------------------------------------------------------


async def scenario_echo_over_streams():
    server = await asyncio.start_server(echo, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"one\n")
    one = await reader.readline()
    writer.writelines([b"two", b"three\n"])
    await writer.drain()
    two = await reader.readuntil(b"\n")
    writer.write_eof()
    rest = await reader.read()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return one, two, rest, reader.at_eof(), writer.is_closing(), server.is_serving()


async def scenario_stream_reader_limits():
    async def handler(reader, writer):
        writer.write(b"x" * 200 + b"\n" + b"short")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handler, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=100)
    first = await raised(reader.readuntil(b"\n"))
    exactly = await reader.readexactly(201)
    second = await raised(reader.readexactly(10))
    writer.close()
    server.close()
    return error_of(first), first.consumed, len(exactly), error_of(second), second.partial


async def scenario_many_messages_keep_their_order():
    server = await asyncio.start_server(echo, HOST, 0)

    async def client(number):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        got = []
        for i in range(20):
            writer.write(f"{number} {i}\n".encode())
            got.append(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return got

    results = await asyncio.gather(*[client(number) for number in range(5)])
    server.close()
    return results


async def scenario_large_transfer():
    received = []

    async def sink(reader, writer):
        while data := await reader.read(1 << 20):
            received.append(len(data))
        writer.write(b"done")
        writer.close()

    server = await asyncio.start_server(sink, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(50):
        writer.write(bytes(100_000))
        await writer.drain()
    writer.write_eof()
    done = await reader.read()
    writer.close()
    server.close()
    return done, sum(received)


# --- protocols --------------------------------------------------------------------------------------------------------


async def scenario_callback_order():
    seen = []
    client, accepted, server = await pair(seen)
    client.transport.write(b"hello")
    await settle()
    accepted.transport.write(b"answer")
    await settle()
    client.transport.close()
    await accepted.lost
    await client.lost
    server.close()
    return seen


async def scenario_half_close():
    seen = []
    client, accepted, server = await pair(seen, server_keep_open=True)
    client.transport.write(b"question")
    client.transport.write_eof()
    await settle()
    accepted.transport.write(b"late answer")
    await settle()
    still = client.transport.is_closing(), accepted.transport.is_closing()
    accepted.transport.close()
    await client.lost
    server.close()
    return seen, still, client.received


async def scenario_eof_closes_the_transport():
    seen = []
    client, accepted, server = await pair(seen)
    client.transport.write_eof()
    exc = await client.lost
    server.close()
    return seen, exc


async def scenario_close_with_data_in_the_buffer_still_sends_it():
    client, accepted, server = await pair([])
    client.transport.write(bytes(20_000_000))
    left = client.transport.get_write_buffer_size() > 0
    client.transport.close()
    await accepted.lost
    server.close()
    return left, len(accepted.received)


async def scenario_abort_drops_the_buffer():
    client, accepted, server = await pair([])
    client.transport.write(bytes(20_000_000))
    client.transport.abort()
    exc = await client.lost
    await accepted.lost
    server.close()
    return exc, len(accepted.received) < 20_000_000, client.transport.is_closing()


async def scenario_close_with_unread_data_resets():
    seen = []
    client, accepted, server = await pair(seen)
    accepted.transport.pause_reading()
    client.transport.write(b"never read")
    await settle()
    accepted.transport.close()
    exc = await client.lost
    server.close()
    return seen, error_of(exc)


async def scenario_linger_resets():
    seen = []
    client, accepted, server = await pair(seen)
    sock = accepted.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.transport.abort()
    exc = await client.lost
    server.close()
    return seen, error_of(exc)


async def scenario_write_after_the_peer_closed():
    seen = []
    client, accepted, server = await pair(seen, keep_open=True)
    accepted.transport.close()
    await accepted.lost
    await settle()
    client.transport.write(b"into the void")
    await settle()
    client.transport.write(b"once more")
    exc = await client.lost
    server.close()
    return seen, error_of(exc)


async def scenario_write_after_close():
    client, accepted, server = await pair([])
    client.transport.close()
    for _ in range(7):
        client.transport.write(b"nobody takes this")
    await accepted.lost
    server.close()
    return accepted.received


async def scenario_misuse_of_a_transport():
    client, accepted, server = await pair([])
    errors = []
    for misuse in (
        lambda: client.transport.write("text"),
        lambda: client.transport.set_write_buffer_limits(high=1, low=2),
        lambda: (client.transport.write_eof(), client.transport.write(b"x")),
        lambda: client.transport.writelines([b"x"]),
    ):
        try:
            misuse()
        except Exception as exc:
            errors.append(error_of(exc))
    client.transport.close()
    await client.lost
    server.close()
    return errors


async def scenario_extra_info():
    client, accepted, server = await pair([])
    here, there = client.transport, accepted.transport
    agree = (
        here.get_extra_info("sockname") == there.get_extra_info("peername"),
        here.get_extra_info("peername") == there.get_extra_info("sockname") == server.sockets[0].getsockname(),
        here.get_extra_info("socket").getsockname() == here.get_extra_info("sockname"),
        here.get_extra_info("socket").getpeername() == here.get_extra_info("peername"),
    )
    sock = here.get_extra_info("socket")
    kind = type(sock).__name__, sock.family, sock.type, sock.proto
    nodelay = bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    nothing = here.get_extra_info("nothing", "default"), here.get_extra_info("sslcontext")
    here.close()
    await accepted.lost
    server.close()
    return agree, kind, nodelay, nothing, server.sockets


async def scenario_ipv6():
    seen = []
    client, accepted, server = await pair(seen, family=socket.AF_INET6)
    name = client.transport.get_extra_info("peername")
    client.transport.close()
    await accepted.lost
    server.close()
    return seen, name[0], name[2:], len(name)


async def scenario_exceptions_in_callbacks():
    loop = asyncio.get_running_loop()
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    class Broken(Log):
        def data_received(self, data):
            super().data_received(data)
            raise ZeroDivisionError

    seen = []
    server = await loop.create_server(lambda: Broken("server", seen), HOST, 0)
    _, client = await loop.create_connection(lambda: Log("client", seen), *server.sockets[0].getsockname())
    client.transport.write(b"1/0")
    await client.lost
    await settle()
    server.close()
    loop.set_exception_handler(None)
    return seen, [(context["message"], type(context["exception"]).__name__, sorted(context)) for context in contexts]


async def scenario_exception_in_the_factory():
    loop = asyncio.get_running_loop()

    def factory():
        raise ZeroDivisionError

    server = await loop.create_server(factory, HOST, 0)
    seen = []
    with warnings.catch_warnings():
        # The connection is dropped, and closed when its socket is collected.
        warnings.simplefilter("ignore", ResourceWarning)
        _, client = await loop.create_connection(lambda: Log("client", seen), *server.sockets[0].getsockname())
        await settle()
        gc.collect()
        await client.lost
        kind = type(await raised(loop.create_connection(factory, *server.sockets[0].getsockname())))
        gc.collect()
        await settle()
        gc.collect()
    server.close()
    return seen, kind


async def scenario_buffered_protocol():
    loop = asyncio.get_running_loop()
    seen = []

    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer = bytearray(10)
            self.received = b""
            self.lost = loop.create_future()

        def connection_made(self, transport):
            seen.append("made")

        def get_buffer(self, sizehint):
            seen.append(f"buffer {sizehint}")
            return self.buffer

        def buffer_updated(self, nbytes):
            seen.append(f"updated {nbytes}")
            self.received += self.buffer[:nbytes]

        def eof_received(self):
            seen.append("eof")

        def connection_lost(self, exc):
            seen.append("lost")
            self.lost.set_result(exc)

    protocols = []

    def factory():
        protocols.append(Buffered())
        return protocols[-1]

    server = await loop.create_server(factory, HOST, 0)
    transport, client = await loop.create_connection(lambda: Log("client", []), *server.sockets[0].getsockname())
    transport.write(b"twenty-five bytes, surely")
    await settle()
    transport.close()
    await client.lost
    await protocols[0].lost
    server.close()
    return seen, protocols[0].received


async def scenario_protocol_is_switched():
    seen = []
    client, accepted, server = await pair(seen)
    other = Log("other", seen)
    other.transport = accepted.transport
    accepted.transport.set_protocol(other)
    client.transport.write(b"for the other")
    await settle()
    client.transport.close()
    await other.lost
    server.close()
    return seen, accepted.transport.get_protocol(), other.received


# --- flow control -----------------------------------------------------------------------------------------------------


async def scenario_pause_reading_ends_in_pause_writing():
    seen = []
    client, accepted, server = await pair([])
    client.seen = seen
    accepted.transport.pause_reading()
    await settle()
    written = 0
    while "client paused" not in seen:
        client.transport.write(bytes(100_000))
        written += 100_000
        await asyncio.sleep(0)
    await settle()
    while_paused = list(seen), accepted.received
    accepted.transport.resume_reading()
    while len(accepted.received) < written:
        await asyncio.sleep(0.001)
    client.transport.close()
    await accepted.lost
    server.close()
    return while_paused, seen, accepted.transport.is_reading()


async def scenario_write_buffer_limits():
    client, accepted, server = await pair([])
    limits = [client.transport.get_write_buffer_limits()]
    for high, low in ((None, None), (10, None), (100, 7), (0, None)):
        client.transport.set_write_buffer_limits(high, low)
        limits.append(client.transport.get_write_buffer_limits())
    client.transport.close()
    await accepted.lost
    server.close()
    return limits


async def scenario_drain_waits_for_a_slow_reader():
    log = []
    go = asyncio.Event()

    async def slow(reader, writer):
        await go.wait()
        total = 0
        while data := await reader.read(65536):
            total += len(data)
        log.append(f"read {total}")
        writer.close()

    server = await asyncio.start_server(slow, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(bytes(20_000_000))
    drain = asyncio.ensure_future(writer.drain())
    await settle()
    log.append(f"drained {drain.done()}")
    go.set()
    await drain
    log.append("drained")
    writer.write_eof()
    await reader.read()
    writer.close()
    server.close()
    return log


async def scenario_drain_fails_when_the_connection_is_lost():
    async def rude(reader, writer):
        await reader.read(10)
        writer.transport.abort()

    server = await asyncio.start_server(rude, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(bytes(20_000_000))
    exc = await raised(writer.drain())
    writer.close()
    server.close()
    return isinstance(exc, ConnectionError)


# --- servers ----------------------------------------------------------------------------------------------------------


async def scenario_connection_refused():
    port = await free_port()
    exc = await raised(asyncio.open_connection(HOST, port))
    return type(exc), exc.errno, str(exc).replace(str(port), "PORT")


async def scenario_address_in_use():
    server = await asyncio.start_server(echo, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    exc = await raised(asyncio.start_server(echo, HOST, port))
    server.close()
    await server.wait_closed()
    again = await asyncio.start_server(echo, HOST, port)
    same = again.sockets[0].getsockname()[1] == port
    again.close()
    return type(exc), exc.errno, str(exc).replace(str(port), "PORT"), same


async def scenario_all_interfaces():
    server = await asyncio.start_server(echo, "0.0.0.0", 0)
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(HOST, address[1])
    peer = writer.get_extra_info("peername")
    writer.close()
    server.close()
    return address[0], peer[0], peer[1] == address[1]


async def scenario_hosts_of_a_server():
    found = []
    for host in (None, "", "127.0.0.1", ["127.0.0.1", "127.0.0.2"], ["127.0.0.1", "127.0.0.1"], "::1", "localhost"):
        server = await asyncio.start_server(echo, host, 0, family=0)
        found.append(sorted({each.getsockname()[0] for each in server.sockets} - {"::1"} or {"::1"}))
        server.close()
    return found


async def scenario_server_states():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Log("server", []), HOST, 0, start_serving=False)
    states = [server.is_serving(), len(server.sockets), server.get_loop() is loop]
    await server.start_serving()
    states.append(server.is_serving())
    forever = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    states.append(error_of(await raised(server.serve_forever()))[0])
    forever.cancel()
    await asyncio.gather(forever, return_exceptions=True)
    states += [forever.cancelled(), server.is_serving(), server.sockets]
    states.append(error_of(await raised(server.serve_forever()))[0])
    async with await asyncio.start_server(echo, HOST, 0) as other:
        states.append(other.is_serving())
    states.append(other.is_serving())
    return states


async def scenario_wait_closed_waits_as_in_this_python():
    seen = []
    client, accepted, server = await pair(seen)
    server.close()
    waiting = asyncio.ensure_future(server.wait_closed())
    await settle()
    before = waiting.done()
    client.transport.close()
    await accepted.lost
    await settle()
    after = waiting.done()
    await waiting
    return before, after, seen


async def scenario_close_clients():
    if sys.version_info < (3, 13):
        return None
    results = []
    for method in ("close_clients", "abort_clients"):
        seen = []
        client, accepted, server = await pair(seen)
        server.close()
        getattr(server, method)()
        await server.wait_closed()
        await client.lost
        results.append(seen)
    return results


async def scenario_closed_server_drops_who_waits():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Log("server", []), HOST, 0, start_serving=False)
    server.sockets[0]._sock.listen(5)
    seen = []
    transport, client = await loop.create_connection(lambda: Log("client", seen), *server.sockets[0].getsockname())
    server.close()
    await client.lost
    return seen


async def scenario_local_address():
    server = await asyncio.start_server(echo, HOST, 0)
    port = await free_port()
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), local_addr=("127.0.0.1", port))
    name = writer.get_extra_info("sockname") == ("127.0.0.1", port)
    exc = await raised(asyncio.open_connection(*server.sockets[0].getsockname(), local_addr=("192.0.2.1", 0)))
    writer.close()
    server.close()
    return name, type(exc), exc.errno


async def scenario_happy_eyeballs():
    server = await asyncio.start_server(echo, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("localhost", port, happy_eyeballs_delay=0.25)
    name = writer.get_extra_info("peername")[0]
    writer.close()
    server.close()
    return name


async def scenario_bad_arguments():
    loop = asyncio.get_running_loop()
    calls = (
        lambda: loop.create_connection(asyncio.Protocol),
        lambda: loop.create_connection(asyncio.Protocol, HOST, 70000),
        lambda: loop.create_connection(asyncio.Protocol, HOST, 80, server_hostname="x"),
        lambda: loop.create_connection(asyncio.Protocol, HOST, 80, ssl_handshake_timeout=1),
        lambda: loop.create_connection(asyncio.Protocol, ssl=True, sock=object()),
        lambda: loop.create_connection(asyncio.Protocol, HOST, 80, sock=object()),
        lambda: loop.create_server(asyncio.Protocol),
        lambda: loop.create_server(asyncio.Protocol, HOST, 0, ssl=True),
        lambda: loop.create_server(asyncio.Protocol, HOST, -1),
        lambda: loop.create_server(asyncio.Protocol, "192.0.2.1", 0),
        lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol),
        lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr="x"),
        lambda: loop.create_unix_connection(asyncio.Protocol),
        lambda: loop.create_unix_server(asyncio.Protocol),
        lambda: loop.start_tls(None, None, None),
        lambda: loop.getaddrinfo("127.0.0.1", "no-such-service", type=socket.SOCK_STREAM),
        lambda: loop.getaddrinfo("no.such.host.invalid", 80),
    )
    return [error_of(await raised(call())) for call in calls]


async def scenario_getaddrinfo():
    loop = asyncio.get_running_loop()
    results = [
        await loop.getaddrinfo(*args, **{"type": socket.SOCK_STREAM, **kwargs})
        for args, kwargs in (
            ((HOST, 80), {}),
            (("127.1.2.3", "http"), {}),
            (("::1", 80), {}),
            ((b"127.0.0.1", b"443"), {}),
            (("localhost", 80), {"family": socket.AF_INET}),
            ((None, 80), {"family": socket.AF_INET}),
            ((None, 80), {"family": socket.AF_INET, "flags": socket.AI_PASSIVE}),
            ((None, 80), {"flags": socket.AI_PASSIVE}),
            ((HOST, None), {}),
            ((HOST, 80), {"flags": socket.AI_CANONNAME}),
            ((HOST, 80), {"type": 0}),
            ((HOST, 80), {"type": socket.SOCK_DGRAM}),
            ((HOST, 80), {"type": 0, "proto": socket.IPPROTO_UDP}),
            ((HOST, 70000), {}),
        )
    ]
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    results += [await loop.getnameinfo((HOST, 80), numeric), await loop.getnameinfo(("::1", 1234, 0, 0), numeric)]
    for args in (("::1", 80, {"family": socket.AF_INET}), ("127.0.0.1.5", 80, {}), (HOST, -1, {})):
        results.append(error_of(await raised(loop.getaddrinfo(*args[:2], **args[2])))[0])
    return results


async def scenario_cancelled_while_connecting():
    server = await asyncio.start_server(echo, HOST, 0)
    task = asyncio.ensure_future(asyncio.open_connection(*server.sockets[0].getsockname()))
    await asyncio.sleep(0)
    task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    await settle()
    server.close()
    await server.wait_closed()
    return [type(each) for each in results]


# --- unix sockets -----------------------------------------------------------------------------------------------------


async def scenario_unix_streams():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = await asyncio.start_unix_server(echo, path)
        names = [server.sockets[0].getsockname() == path, os.path.exists(path)]
        reader, writer = await asyncio.open_unix_connection(path)
        names += [writer.get_extra_info("peername") == path, writer.get_extra_info("sockname")]
        writer.write(b"over unix\n")
        got = await reader.readline()
        writer.write_eof()
        rest = await reader.read()
        writer.close()
        in_use = await raised(asyncio.start_unix_server(echo, folder))
        server.close()
        await server.wait_closed()
        gone = await raised(asyncio.open_unix_connection(path))
        again = await asyncio.start_unix_server(echo, path)
        again.close()
        return names, got, rest, type(gone), in_use.errno, os.path.exists(path)


async def scenario_unix_abstract_name():
    if sys.platform != "linux":
        return None
    name = f"\0virtualloop {os.getpid()}"
    server = await asyncio.start_unix_server(echo, name)
    reader, writer = await asyncio.open_unix_connection(name)
    writer.write(b"x")
    got = await reader.read(1)
    writer.close()
    in_use = await raised(asyncio.start_unix_server(echo, name))
    server.close()
    return got, in_use.errno, type(await raised(asyncio.open_unix_connection("\0nobody")))


async def scenario_unix_half_close():
    seen = []
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = await loop.create_unix_server(lambda: Log("server", seen), path)
        _, client = await loop.create_unix_connection(lambda: Log("client", seen, True), path)
        await settle()
        client.transport.write_eof()
        await settle()
        client.transport.close()
        await client.lost
        await settle()
        server.close()
    return seen


# --- datagrams --------------------------------------------------------------------------------------------------------


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answers=False):
        self.answers = answers
        self.seen = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.seen.append("made")

    def datagram_received(self, data, addr):
        self.seen.append(data)
        if self.answers:
            self.transport.sendto(b"re: " + data, addr)

    def error_received(self, exc):
        self.seen.append(error_of(exc))

    def connection_lost(self, exc):
        self.seen.append("lost")
        self.lost.set_result(exc)


async def scenario_datagrams():
    loop = asyncio.get_running_loop()
    results = []
    server, there = await loop.create_datagram_endpoint(lambda: Datagrams(answers=True), local_addr=(HOST, 0))
    address = server.get_extra_info("sockname")
    for kwargs in ({"remote_addr": address}, {"local_addr": (HOST, 0)}):
        transport, here = await loop.create_datagram_endpoint(Datagrams, **kwargs)
        target = None if "remote_addr" in kwargs else address
        for data in (b"one", b"two", b"", b"three"):
            transport.sendto(data, target)
        await settle()
        results.append((transport.get_extra_info("peername") == address, list(here.seen)))
        transport.close()
        await here.lost
    server.close()
    await there.lost
    return results, there.seen


async def scenario_datagram_errors():
    loop = asyncio.get_running_loop()
    server, there = await loop.create_datagram_endpoint(Datagrams, local_addr=(HOST, 0))
    address = server.get_extra_info("sockname")
    in_use = await raised(loop.create_datagram_endpoint(Datagrams, local_addr=address))
    transport, here = await loop.create_datagram_endpoint(Datagrams, remote_addr=address)
    transport.sendto(bytes(70_000))
    errors = []
    for misuse in (lambda: transport.sendto("text"), lambda: transport.sendto(b"x", (HOST, 1))):
        try:
            misuse()
        except Exception as exc:
            errors.append(type(exc))
    server.close()
    await there.lost
    transport.sendto(b"nobody is there")
    await settle()
    transport.sendto(b"nor now")
    await settle()
    transport.abort()
    await here.lost
    return in_use.errno, errors, here.seen


async def scenario_datagrams_from_others_do_not_reach_a_connected_socket():
    loop = asyncio.get_running_loop()
    server, there = await loop.create_datagram_endpoint(Datagrams, local_addr=(HOST, 0))
    client, here = await loop.create_datagram_endpoint(Datagrams, remote_addr=server.get_extra_info("sockname"))
    stranger, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(HOST, 0))
    stranger.sendto(b"psst", client.get_extra_info("sockname"))
    server.sendto(b"hello", client.get_extra_info("sockname"))
    await settle()
    for transport in (server, client, stranger):
        transport.close()
    await here.lost
    return here.seen


async def scenario_a_datagram_socket_that_is_connected_has_the_address_that_it_sends_from():
    loop = asyncio.get_running_loop()
    server, there = await loop.create_datagram_endpoint(lambda: Datagrams(answers=True), local_addr=(HOST, 0))
    address = server.get_extra_info("sockname")
    client, here = await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", 0), remote_addr=address)
    host, port = client.get_extra_info("sockname")
    client.sendto(b"hello")
    stranger, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", 0))
    stranger.sendto(b"psst", (host, port))
    await settle()
    in_use = await raised(loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", port)))
    for transport in (server, client, stranger):
        transport.close()
    await here.lost
    again, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", port))
    again.close()
    return host, stranger.get_extra_info("sockname")[0], in_use.errno, here.seen, there.seen


async def scenario_unix_datagrams():
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        one, other = (os.path.join(folder, name) for name in ("one", "other"))
        server, there = await loop.create_datagram_endpoint(
            lambda: Datagrams(answers=True), local_addr=one, family=socket.AF_UNIX
        )
        client, here = await loop.create_datagram_endpoint(
            Datagrams, local_addr=other, remote_addr=one, family=socket.AF_UNIX
        )
        client.sendto(b"question")
        await settle()
        for transport in (client, server):
            transport.close()
        await there.lost
    return here.seen[:2], there.seen


# --- sockets ----------------------------------------------------------------------------------------------------------


def stream_socket():
    sock = socket.socket()
    sock.setblocking(False)
    return sock


async def scenario_sock_methods():
    loop = asyncio.get_running_loop()
    listener = stream_socket()
    listener.bind((HOST, 0))
    listener.listen(1)
    client = stream_socket()
    accepting = asyncio.ensure_future(loop.sock_accept(listener))
    await asyncio.sleep(0)
    await loop.sock_connect(client, listener.getsockname())
    connection, address = await accepting
    results = [
        address == client.getsockname(),
        connection.getpeername() == address,
        connection.getsockname() == client.getpeername() == listener.getsockname(),
        isinstance(connection, socket.socket),
    ]
    await loop.sock_sendall(client, b"all of this")
    results.append(await loop.sock_recv(connection, 3))
    buffer = bytearray(20)
    results.append((await loop.sock_recv_into(connection, buffer), bytes(buffer)))
    sending = asyncio.ensure_future(loop.sock_sendall(connection, bytes(10_000_000)))
    total = 0
    while total < 10_000_000:
        total += len(await loop.sock_recv(client, 1 << 20))
    await sending
    client.shutdown(socket.SHUT_WR)
    results.append(await loop.sock_recv(connection, 10))
    client.close()
    connection.close()
    results.append(client.fileno())
    refused = stream_socket()
    listener_address = listener.getsockname()
    listener.close()
    results.append(type(await raised(loop.sock_connect(refused, listener_address))))
    refused.close()
    return results, total


async def scenario_socket_pair():
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    reading = asyncio.ensure_future(loop.sock_recv(there, 100))
    await asyncio.sleep(0)
    await loop.sock_sendall(here, b"through the pair")
    got = await reading
    reader, writer = await asyncio.open_connection(sock=here)
    await loop.sock_sendall(there, b"and back\n")
    back = await reader.readline()
    writer.close()
    await writer.wait_closed()
    end = await loop.sock_recv(there, 100)
    there.close()
    return got, back, end, here.fileno()


async def scenario_sockets_handed_in():
    loop = asyncio.get_running_loop()
    listener = socket.socket()
    listener.bind((HOST, 0))
    address = listener.getsockname()
    server = await asyncio.start_server(echo, sock=listener)
    results = [server.sockets[0].getsockname() == address, listener.getsockname() == address]
    client = stream_socket()
    await loop.sock_connect(client, address)
    reader, writer = await asyncio.open_connection(sock=client)
    writer.write(b"x\n")
    results.append(await reader.readline())
    results.append(writer.get_extra_info("peername") == address)
    exc = await raised(loop.sock_recv(client, 1))
    results.append(type(exc))
    writer.close()
    await writer.wait_closed()
    results.append(client.fileno())
    server.close()
    await server.wait_closed()
    results.append(listener.fileno())
    return results


async def scenario_datagram_sockets_handed_in():
    loop = asyncio.get_running_loop()
    first, second = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    for sock in (first, second):
        sock.setblocking(False)
        sock.bind((HOST, 0))
    transport, protocol = await loop.create_datagram_endpoint(lambda: Datagrams(answers=True), sock=first)
    if sys.version_info < (3, 12):
        await loop.sock_connect(second, first.getsockname())
    sent = await loop.sock_sendto(second, b"hello", transport.get_extra_info("sockname"))
    data, address = await loop.sock_recvfrom(second, 100)
    transport.close()
    await protocol.lost
    second.close()
    return sent, data, address == transport.get_extra_info("sockname"), protocol.seen


async def scenario_accepted_socket_handed_in():
    loop = asyncio.get_running_loop()
    listener = stream_socket()
    listener.bind((HOST, 0))
    listener.listen()
    client = asyncio.ensure_future(asyncio.open_connection(*listener.getsockname()))
    connection, _ = await loop.sock_accept(listener)
    seen = []
    transport, protocol = await loop.connect_accepted_socket(lambda: Log("server", seen), connection)
    reader, writer = await client
    writer.write(b"hello")
    await settle()
    transport.write(b"hello yourself")
    transport.close()
    got = await reader.read()
    writer.close()
    await protocol.lost
    listener.close()
    return seen, got


async def scenario_readers_of_the_program():
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    seen = []
    readable = loop.create_future()

    def on_readable():
        seen.append(there.recv(100))
        loop.remove_reader(there)
        readable.set_result(None)

    loop.add_reader(there, on_readable)
    loop.add_writer(here, lambda: (seen.append("writable"), here.send(b"x"), loop.remove_writer(here)))
    await readable
    seen += [loop.remove_reader(there), loop.remove_writer(here)]
    here.close()
    there.close()
    return seen


# --- files ------------------------------------------------------------------------------------------------------------


async def scenario_sendfile():
    loop = asyncio.get_running_loop()
    client, accepted, server = await pair([])
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789" * 50_000)
        file.flush()
        results = [await loop.sendfile(accepted.transport, file, 5, 100_000), file.tell()]
    results.append(await loop.sendfile(accepted.transport, io.BytesIO(b"abc"), fallback=True))
    results.append(error_of(await raised(loop.sendfile(accepted.transport, io.StringIO("abc"), offset="x")))[0])
    accepted.transport.close()
    await client.lost
    server.close()
    return results, client.received[:10], len(client.received)


# --- TLS --------------------------------------------------------------------------------------------------------------


async def scenario_tls():
    server = await asyncio.start_server(echo, HOST, 0, ssl=server_context())
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("localhost", port, ssl=client_context(), family=socket.AF_INET)
    writer.write(b"secret\n")
    got = await reader.readline()
    writer.write(bytes(1_000_000))
    bulk = len(await reader.readexactly(1_000_000))
    subject = writer.get_extra_info("peercert")["subject"]
    info = writer.get_extra_info("ssl_object").version(), len(writer.get_extra_info("cipher"))
    eof = writer.can_write_eof()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return got, bulk, subject, info, eof


async def scenario_tls_refuses_who_is_not_trusted():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    results = []
    for certificate, name in (("self-signed", "localhost"), ("trusted", "another.host"), ("trusted", "127.0.0.1")):
        server = await asyncio.start_server(echo, HOST, 0, ssl=server_context(certificate))
        address = server.sockets[0].getsockname()
        try:
            reader, writer = await asyncio.open_connection(*address, ssl=client_context(), server_hostname=name)
        except ssl.SSLCertVerificationError as exc:
            results.append(exc.verify_message)
        else:
            results.append("accepted")
            writer.close()
        server.close()
    return results


async def scenario_tls_names_and_protocols():
    asked = []
    context = server_context()
    context.sni_callback = lambda sslobject, name, context: asked.append(name)
    context.set_alpn_protocols(["h2", "http/1.1"])
    client = client_context()
    client.set_alpn_protocols(["http/1.1"])
    server = await asyncio.start_server(echo, HOST, 0, ssl=context)
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address, ssl=client, server_hostname="localhost")
    chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    writer.close()
    await writer.wait_closed()
    server.close()
    return asked, chosen


async def scenario_tls_handshake_timeout():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Log("server", []), HOST, 0)
    address = server.sockets[0].getsockname()
    exc = await raised(
        loop.create_connection(
            asyncio.Protocol, *address, ssl=client_context(), server_hostname="localhost", ssl_handshake_timeout=0.05
        )
    )
    await settle()
    server.close()
    return error_of(exc)


async def scenario_tls_where_none_is_spoken():
    async def plain(reader, writer):
        writer.write(b"no TLS here\n")
        writer.close()

    server = await asyncio.start_server(plain, HOST, 0)
    exc = await raised(
        asyncio.open_connection(*server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost")
    )
    server.close()
    return isinstance(exc, ssl.SSLError | ConnectionError)


async def scenario_start_tls():
    async def upgrading(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        await writer.start_tls(server_context())
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(upgrading, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"STARTTLS\n")
    plain = await reader.readline()
    await writer.start_tls(client_context(), server_hostname="localhost")
    writer.write(b"now it is secret\n")
    secret = await reader.readline()
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    server.close()
    return plain, secret, version


async def scenario_tls_over_unix():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = await asyncio.start_unix_server(echo, path, ssl=server_context())
        reader, writer = await asyncio.open_unix_connection(path, ssl=client_context(), server_hostname="localhost")
        writer.write(b"secret\n")
        got = await reader.readline()
        writer.close()
        await writer.wait_closed()
        server.close()
        return got


SCENARIOS = {
    name.removeprefix("scenario_"): function for name, function in globals().items() if name.startswith("scenario_")
}


LOOK_UPS = [
    ("getaddrinfo", (None, None), 0),
    ("getaddrinfo", (5, 80), 0),
    ("getaddrinfo", (HOST, 80.5), 0),
    ("getaddrinfo", (HOST, "no-service"), 0),
    ("getaddrinfo", (HOST, "http"), 0),
    ("getaddrinfo", (HOST, "http"), socket.AI_NUMERICSERV),
    ("getaddrinfo", (HOST, "80"), socket.AI_NUMERICSERV),
    ("getaddrinfo", (HOST, 70_000), 0),
    ("getaddrinfo", (HOST, -1), 0),
    ("getaddrinfo", (b"127.0.0.1", b"80"), 0),
    ("getaddrinfo", ("nobody.invalid", 80), socket.AI_NUMERICHOST),
    ("getaddrinfo", ("", 80), 0),
    ("getnameinfo", (("no-address", 80),), 0),
    ("getnameinfo", (("192.0.2.1", 80),), socket.NI_NAMEREQD | socket.NI_NUMERICSERV),
    ("getnameinfo", ((HOST, 9999),), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
    ("getnameinfo", ((HOST,),), 0),
    ("getnameinfo", (HOST,), 0),
]


@pytest.mark.parametrize(("method", "args", "flags"), LOOK_UPS)
def test_a_look_up_ends_as_the_operating_systems_does(method, args, flags):
    async def main():
        loop = asyncio.get_running_loop()
        kind = {"type": socket.SOCK_STREAM} if method == "getaddrinfo" else {}
        try:
            return await getattr(loop, method)(*args, flags=flags, **kind)
        except (OSError, TypeError) as exc:
            return type(exc), str(exc)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        stock = runner.run(main())

    assert run(main) == stock


def ending(name):
    """Return the scenario as a function that ends when all that it began has."""

    async def main():
        result = await SCENARIOS[name]()
        await settle()
        return result

    return main


@pytest.mark.usefixtures("own_garbage")
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_is_seen_as_on_stock_asyncio(name):
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        stock = runner.run(ending(name)())

    assert run(ending(name)) == stock


@pytest.mark.usefixtures("own_garbage")
@pytest.mark.parametrize("order", LEVELS)
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")  # who is accepted last may be left open
def test_every_scenario_ends_at_every_order(name, order):
    for seed in range(3):
        run(ending(name), seed, order=order)
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_connections_that_are_collected_unclosed_after_their_server_leave_no_exception(monkeypatch):
    # Stock asyncio prints one, from Python 3.13.
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    class Kept(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            transport.pause_reading()  # so that nothing but the two of them knows it

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Kept, port=80)
        for _ in range(2):
            await loop.create_connection(Kept, "localhost", 80)
        await settle()
        server.close()
        gc.collect()

    run(main)

    assert unraisable == []


@pytest.mark.parametrize("name", ["callback_order", "exceptions_in_callbacks", "sock_methods", "tls", "datagrams"])
def test_debug_mode(name, caplog):
    caplog.set_level("DEBUG", logger="asyncio")
    seen = []
    for factory in (asyncio.SelectorEventLoop, VirtualLoop):
        caplog.clear()
        with asyncio.Runner(loop_factory=factory, debug=True) as runner:
            # How long a callback takes is a matter of the machine, and so is a line that says so.
            runner.get_loop().slow_callback_duration = math.inf
            result = runner.run(ending(name)())
        messages = [record.message for record in caplog.records if "created" in record.message]
        seen.append((result, len(messages)))

    assert seen[0] == seen[1]
