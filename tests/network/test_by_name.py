"""What is real by name: connections leave the network in memory, and the clock stands for their answers."""

import asyncio
import contextlib
import os
import pickle
import socket
import socketserver
import threading
import time
import warnings

import pytest

from helpers import LEVELS, opened, run
from virtualloop import Network, VirtualLoop


class Echo(socketserver.BaseRequestHandler):
    """Answers each line in capitals, a moment later; "silence" is not answered."""

    def handle(self):
        while data := self.request.recv(100):
            if data != b"silence\n":
                time.sleep(0.05)
                self.request.sendall(data.upper())


@contextlib.contextmanager
def serving(server):
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def address():
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)) as server:
        yield server.server_address


async def ask(reader, writer, line=b"hello\n"):
    writer.write(line)
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("order", LEVELS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_connection_to_a_named_address_is_real(address, host, order):
    async def main():
        loop = asyncio.get_running_loop()
        before = loop.time()
        answers = await asyncio.gather(*[ask(*await asyncio.open_connection(host, address[1])) for _ in range(2)])
        took = loop.time() - before
        await asyncio.sleep(3600)
        answers.append(await ask(*await asyncio.open_connection(host, address[1])))
        return answers, took

    answers, took = run(main, 1, order=order, network=Network(outside=[f"localhost:{address[1]}"]))
    assert answers == [b"HELLO\n"] * 3
    assert took < 0.2  # what arrives may be late at some orders, but time does not pass by itself


def test_everything_else_stays_in_memory(address):
    async def main():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", address[1] ^ 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", address[1] ^ 1)
        kind = type(writer.get_extra_info("socket")._sock).__name__
        await reader.read()
        writer.close()
        server.close()
        return kind

    assert run(main, network=Network(outside=[f"127.0.0.1:{address[1]}"])) == "MemorySocket"


def test_without_a_name_it_is_refused_and_says_so(address):
    async def main():
        return await asyncio.open_connection(*address)

    with pytest.raises(ConnectionRefusedError) as caught:
        run(main)
    assert caught.value.__notes__ == [
        f"Connections of a VirtualLoop are in memory: nothing listens at 127.0.0.1:{address[1]} on this loop; a real "
        "server of this process does, in another thread. To connect to a real server, name it: "
        f"network=Network(outside=['127.0.0.1:{address[1]}']), which VirtualLoop, explore and explored take."
    ]


def test_what_nobody_knows_says_so():
    async def main(host, port):
        return await asyncio.open_connection(host, port)

    with pytest.raises(ConnectionRefusedError) as caught:
        run(lambda: main("::1", 5432))
    assert caught.value.__notes__ == [
        "Connections of a VirtualLoop are in memory: nothing listens at [::1]:5432 on this loop. To connect to a real "
        "server, name it: network=Network(outside=['[::1]:5432']), which VirtualLoop, explore and explored take."
    ]
    with pytest.raises(socket.gaierror) as caught:
        run(lambda: main("db.example.com", 5432), network=Network(hosts=["server"]))
    assert caught.value.__notes__ == [
        "Names are looked up in this loop's network in memory, which knows 'localhost' and 'server', and not "
        "'db.example.com'. Add it, network=Network(hosts=[...]), or name the real server, "
        "network=Network(outside=['host:port']), which VirtualLoop, explore and explored take."
    ]


def test_a_named_address_where_nobody_is():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    async def main():
        return await asyncio.open_connection("127.0.0.1", port)

    with pytest.raises(ConnectionRefusedError) as caught:
        run(main, network=Network(outside=[f"127.0.0.1:{port}"]))
    assert not hasattr(caught.value, "__notes__")


def test_an_answer_that_does_not_come_holds_the_clock_for_the_patience(address):
    async def main():
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"silence\n")
        with pytest.warns(RuntimeWarning, match=rf"without an answer from 127\.0\.0\.1:{address[1]}"):
            await asyncio.sleep(3600)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await asyncio.sleep(3600)
        writer.close()
        return asyncio.get_running_loop().time()

    network = Network(outside=[f"127.0.0.1:{address[1]}"])
    assert run(main, network=network, thread_patience=0.02) == 7200


def test_a_socket_of_the_program_that_connects_there_stays_real(address):
    async def main():
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        reader, writer = await asyncio.open_connection(sock=sock)
        return await ask(reader, writer), loop.time()

    assert run(main, network=Network(outside=[f"127.0.0.1:{address[1]}"])) == (b"HELLO\n", 0)


def test_a_socket_that_a_program_waits_for_itself(address):
    """As drivers in C do, of which nobody sees what they send."""

    async def main():
        loop = asyncio.get_running_loop()
        sock = socket.create_connection(address)
        sock.sendall(b"hello\n")
        got = loop.create_future()
        loop.add_reader(sock.fileno(), lambda: got.set_result(sock.recv(100)))
        async with asyncio.timeout(60):
            answer = await got
        loop.remove_reader(sock.fileno())
        sock.close()
        return answer, loop.time()

    assert run(main, network=Network(outside=[f"127.0.0.1:{address[1]}"])) == (b"HELLO\n", 0)


def test_a_unix_socket(tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        return await ask(*await asyncio.open_unix_connection(path)), asyncio.get_running_loop().time()

    with serving(socketserver.ThreadingUnixStreamServer(path, Echo)):
        assert run(main, network=Network(outside=[path])) == (b"HELLO\n", 0)


class Answer(socketserver.BaseRequestHandler):
    """A server of datagrams that thinks."""

    def handle(self):
        data, sock = self.request
        time.sleep(0.05)
        sock.sendto(data.upper(), self.client_address)


def test_datagrams():
    class Protocol(asyncio.DatagramProtocol):
        def __init__(self):
            self.got = asyncio.get_running_loop().create_future()

        def datagram_received(self, data, address):
            self.got.set_result((data, address))

    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(Protocol, remote_addr=address)
        transport.sendto(b"hello")
        async with asyncio.timeout(60):
            result = await protocol.got
        transport.close()
        return result, loop.time()

    with serving(socketserver.ThreadingUDPServer(("127.0.0.1", 0), Answer)) as server:
        address = server.server_address
        assert run(main, network=Network(outside=[f"127.0.0.1:{address[1]}"])) == ((b"HELLO", address), 0)


def test_a_real_listener_that_the_program_watches_is_met():
    async def main():
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        accepted = loop.create_future()
        loop.add_reader(listener, lambda: accepted.set_result(listener.accept()[0]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        server = await accepted
        loop.remove_reader(listener)
        server.setblocking(False)
        writer.write(b"to a real one")
        got = await loop.sock_recv(server, 100)
        await loop.sock_sendall(server, b"and back")
        server.close()
        got += await reader.read()
        writer.close()
        listener.close()
        return got

    seen = []
    for factory in (asyncio.SelectorEventLoop, VirtualLoop):
        with asyncio.Runner(loop_factory=factory) as runner:
            seen.append(runner.run(main()))
    assert seen == [b"to a real oneand back"] * 2


def test_beside_what_a_program_watches_all_else_is_in_memory():
    async def main():
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        listener = socket.create_server(("127.0.0.1", 0))
        (watched, other_end), pair = socket.socketpair(), socket.socketpair()
        for sock in (listener, watched, other_end, *pair):
            sock.setblocking(False)
        fds = [read, listener.fileno(), watched.fileno()]
        for fd in fds:
            loop.add_reader(fd, lambda: None)

        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 80)
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        assert await reader.read() == b""
        with socket.socket() as unbound:
            unbound.setblocking(False)
            await loop.sock_connect(unbound, ("127.0.0.1", 80))
        await loop.sock_sendall(pair[0], b"in memory")
        got = await loop.sock_recv(pair[1], 100)
        with pytest.raises(BlockingIOError):
            socket.socket.recv(pair[1], 100)
        # These two are its own.
        await loop.sock_sendall(other_end, b"for real")
        got += b", " + socket.socket.recv(watched, 100)
        other_end.send(b"!")
        got += await loop.sock_recv(watched, 100)

        for fd in fds:
            loop.remove_reader(fd)
        writer.close()
        server.close()
        for sock in (listener, watched, other_end, *pair):
            sock.close()
        os.close(read)
        os.close(write)
        return got

    assert run(main) == b"in memory, for real!"


def test_what_is_no_address():
    for wrong in ("localhost", "localhost:", ":80", "localhost:http", "localhost:0", "localhost:70000"):
        with pytest.raises(ValueError, match=r"^outside must be addresses as in 'localhost:6379'"):
            Network(outside=[wrong])
    for wrong in ("localhost:80", [("localhost", 80)], [80]):
        with pytest.raises(TypeError, match=r"^outside must be"):
            Network(outside=wrong)


def test_a_network_goes_to_another_process_with_its_addresses():
    network = pickle.loads(pickle.dumps(Network(outside=["[::1]:80"])))  # noqa: S301  # our own
    with opened(network=network) as loop:
        assert loop._stack.outside.has(("::1", 80, 0, 0))
        assert not loop._stack.outside.has(("::1", 81, 0, 0))


def test_a_real_socket_that_listens_takes_datagrams_before_it_is_handed_in():
    class Keep(asyncio.DatagramProtocol):
        def __init__(self):
            self.got = asyncio.get_running_loop().create_future()

        def datagram_received(self, data, address):
            self.got.set_result(data)

    async def main():
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        client, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=sock.getsockname())
        client.sendto(b"early")
        await asyncio.sleep(1)
        server, protocol = await loop.create_datagram_endpoint(Keep, sock=sock)
        result = await protocol.got
        client.close()
        server.close()
        return result

    assert run(main) == b"early"


def test_nothing_is_left_open(address):
    async def main():
        return await ask(*await asyncio.open_connection(*address))

    before = len(os.listdir("/proc/self/fd"))
    with opened(network=Network(outside=[f"127.0.0.1:{address[1]}"])) as loop:
        loop.run_until_complete(main())
        assert not loop._conversations
    time.sleep(0.1)  # for the server
    assert len(os.listdir("/proc/self/fd")) == before


def test_every_way_to_talk_to_it_holds_the_clock(address):
    async def streams():
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, b"hello\n")
        buffer = bytearray(10)
        async with asyncio.timeout(60):
            size = await loop.sock_recv_into(sock, buffer)
        for _ in range(2):
            sock.close()
        reader, writer = await asyncio.open_connection(*address)
        real = writer.get_extra_info("socket")
        assert real.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        writer.writelines([b"hel", b"lo\n"])
        async with asyncio.timeout(60):
            line = await reader.readline()
        writer.close()
        return bytes(buffer[:size]), line, loop.time()

    assert run(streams, network=Network(outside=[f"127.0.0.1:{address[1]}"])) == (b"HELLO\n", b"HELLO\n", 0)


def test_datagrams_of_a_socket_of_the_program():
    async def main():
        loop = asyncio.get_running_loop()
        got = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            for _ in range(2):
                await loop.sock_sendto(sock, b"hello", address)
                buffer = bytearray(10)
                async with asyncio.timeout(60):
                    size, _ = await loop.sock_recvfrom_into(sock, buffer)
                got.append(bytes(buffer[:size]))
        return got, loop.time()

    with serving(socketserver.ThreadingUDPServer(("127.0.0.1", 0), Answer)) as server:
        address = server.server_address
        assert run(main, network=Network(outside=[f"127.0.0.1:{address[1]}"])) == ([b"HELLO"] * 2, 0)


def test_a_connection_from_an_address_and_of_a_class_of_its_own(address):
    class Own(socket.socket):
        pass

    async def main():
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(*address, local_addr=("127.0.0.1", 0))
        first = await ask(reader, writer)
        sock = Own()
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        assert isinstance(sock, Own)
        return first, await ask(*await asyncio.open_connection(sock=sock))

    assert run(main, network=Network(outside=[f"127.0.0.1:{address[1]}"])) == (b"HELLO\n", b"HELLO\n")


def test_each_port_has_its_own_hosts(address):
    """A name is looked up for the port that it was given with, and no other one."""
    port = address[1]
    other = port - 1

    async def main():
        with pytest.raises(ConnectionRefusedError) as caught:
            await asyncio.open_connection("127.0.0.1", other)
        assert caught.value.__notes__  # in memory
        return await ask(*await asyncio.open_connection("127.0.0.1", port))

    network = Network(outside=[f"localhost:{port}", f"192.0.2.1:{other}"])
    assert run(main, network=network) == b"HELLO\n"


def test_options_that_were_set_before_are_those_of_the_real_socket():
    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=address, allow_broadcast=True
        )
        real = transport.get_extra_info("socket")
        broadcasts = real.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        transport.close()
        return real.type, broadcasts

    with serving(socketserver.ThreadingUDPServer(("127.0.0.1", 0), Answer)) as server:
        address = server.server_address
        network = Network(outside=[f"127.0.0.1:{address[1]}"])
        assert run(main, network=network) == (socket.SOCK_DGRAM, 1)


def test_a_name_that_cannot_be_looked_up_is_told_to_whoever_connects_to_it(monkeypatch):
    def fails(host, *args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    network = Network(outside=["db.example.com:5432"])
    with pytest.raises(ConnectionRefusedError):
        run(lambda: asyncio.open_connection("127.0.0.1", 5432), network=network)
    with pytest.raises(socket.gaierror):
        run(lambda: asyncio.open_connection("db.example.com", 5432), network=network)


def test_a_server_that_waits_in_accept_is_told_as_well():
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(listener):
        listener.accept()[0].close()

    thread = threading.Thread(target=serve, args=(listener,))
    thread.start()
    address = listener.getsockname()
    with pytest.raises(ConnectionRefusedError) as caught:
        run(lambda: asyncio.open_connection(*address))
    socket.create_connection(address).close()
    thread.join()
    listener.close()
    assert "a real server of this process does, in another thread" in caught.value.__notes__[0]


def test_a_server_that_is_busy_is_told_as_well():
    begun, go_on = threading.Event(), threading.Event()

    class Busy(socketserver.BaseRequestHandler):
        def handle(self):
            begun.set()
            go_on.wait()

    with serving(socketserver.TCPServer(("127.0.0.1", 0), Busy)) as server:
        client = socket.create_connection(server.server_address)
        begun.wait()
        with client, pytest.raises(ConnectionRefusedError) as caught:
            run(lambda: asyncio.open_connection(*server.server_address))
        go_on.set()
    assert "a real server of this process does, in another thread" in caught.value.__notes__[0]


def test_what_a_program_waits_for_itself_and_does_not_lead_there(address):
    """Beside a real server by name: a pipe, a socket that listens, and one that is not connected yet."""

    async def main():
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        client = socket.socket()
        client.setblocking(False)
        got, accepted, connected = (loop.create_future() for _ in range(3))
        loop.add_reader(read, lambda: got.set_result(os.read(read, 10)))
        loop.add_reader(listener, lambda: accepted.set_result(listener.accept()[0]))
        client.connect_ex(listener.getsockname())
        loop.add_writer(client.fileno(), lambda: connected.done() or connected.set_result(True))
        os.write(write, b"x")
        async with asyncio.timeout(60):
            results = await got, await connected
            (await accepted).close()
        loop.remove_reader(read)
        loop.remove_reader(listener)
        loop.remove_writer(client.fileno())
        os.close(read)
        os.close(write)
        listener.close()
        client.close()
        return results

    assert run(main, network=Network(outside=[f"127.0.0.1:{address[1]}"])) == (b"x", True)


def test_a_socket_of_the_program_that_has_no_peer_yet_is_waited_for(address):
    async def main():
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        got = loop.create_future()
        loop.add_reader(sock.fileno(), lambda: got.done() or got.set_result(True))  # it is hung up
        async with asyncio.timeout(60):
            await got
        loop.remove_reader(sock.fileno())
        sock.close()
        return loop.time()

    assert run(main, network=Network(outside=[f"127.0.0.1:{address[1]}"])) < 60
