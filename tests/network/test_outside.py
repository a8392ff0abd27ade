"""Nothing of this loop's network reaches the real one, and real sockets that are handed in stay untouched."""

import asyncio
import os
import socket
import subprocess
import sys
import textwrap

import pytest

from helpers import run
from test_scenarios import SCENARIOS
from virtualloop import UnsupportedError, VirtualLoop

#: Scenarios in which the program itself makes real sockets.
HANDED_IN = {name for name in SCENARIOS if "socket_pair" in name or "handed_in" in name or "sock_methods" in name} | {
    "readers_of_the_program"
}


@pytest.mark.slow
def test_the_loop_makes_no_real_socket():
    """An audit hook stays for the life of its process, so that is another one."""
    code = """
        import sys
        sys.path[:0] = ["tests", "tests/network"]
        seen = []
        hook = lambda event, args: seen.append(event) if event.startswith("socket.") else None
        sys.addaudithook(hook)
        from helpers import run
        from test_outside import HANDED_IN
        from test_scenarios import SCENARIOS, ending
        for name in SCENARIOS:
            if name not in HANDED_IN:
                run(ending(name))
                run(ending(name), 7)
        print(len(SCENARIOS) - len(HANDED_IN) > 40, seen)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True, cwd=os.getcwd()
    )

    assert done.stdout == "True []\n"


def test_real_sockets_that_are_handed_in_are_only_closed():
    """What the program itself asks of them is what it asks: to make, bind and listen."""
    code = """
        import sys
        sys.path[:0] = ["tests", "tests/network"]
        seen = set()
        def hook(event, args):
            if event.startswith("socket."):
                seen.add(event)
        sys.addaudithook(hook)
        from helpers import run
        from test_outside import HANDED_IN
        from test_scenarios import SCENARIOS, ending
        for name in sorted(HANDED_IN):
            run(ending(name))
        print(sorted(seen))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True, cwd=os.getcwd()
    )

    assert done.stdout == "['socket.__new__', 'socket.bind']\n"


def test_an_adopted_socket_stays_what_it_was_to_the_program():
    class Mine(socket.socket):
        def __init__(self):
            super().__init__()
            self.mark = "mine"

    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        mine = Mine()
        number = mine.fileno()
        mine.setblocking(False)
        await loop.sock_connect(mine, server.sockets[0].getsockname())

        assert isinstance(mine, Mine)
        assert mine.mark == "mine"
        assert type(mine).__name__ == "AdoptedMine"
        assert mine.getpeername() == server.sockets[0].getsockname()
        assert mine.fileno() != number  # so that nobody waits for the real one
        assert (mine.family, mine.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert "raddr=('127.0.0.1', " in repr(mine)
        assert await loop.sock_recv(mine, 10) == b""
        mine.close()
        assert mine.fileno() == -1
        assert repr(mine).startswith("<AdoptedMine [closed], fd=-1")
        with pytest.raises(OSError, match="Bad file descriptor"):
            mine.getsockname()
        server.close()

    run(main)


def test_an_adopted_socket_that_is_dropped_is_closed():
    async def main():
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        await loop.sock_sendall(here, b"x")
        assert await loop.sock_recv(there, 1) == b"x"
        with pytest.warns(ResourceWarning, match="unclosed"):
            del here
        assert await loop.sock_recv(there, 1) == b""
        there.close()

    run(main)


def test_many_pairs_find_their_ends():
    async def main():
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(20)]
        for sock in [sock for pair in pairs for sock in pair]:
            sock.setblocking(False)
        firsts = [pair[i % 2] for i, pair in enumerate(pairs)]
        others = [pair[1 - i % 2] for i, pair in enumerate(pairs)]
        for i, sock in enumerate(firsts):
            await loop.sock_sendall(sock, b"%d" % i)
        got = [int(await loop.sock_recv(sock, 10)) for sock in reversed(others)]
        for sock in firsts + others:
            sock.close()
        return got[::-1]

    assert run(main) == list(range(20))


def test_a_tcp_connection_of_the_program_is_a_pair_too():
    async def main():
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        listener.close()
        client.setblocking(False)
        server.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client)
        await loop.sock_sendall(server, b"hello")
        got = await reader.readexactly(5)
        names = writer.get_extra_info("peername") == server.getsockname()
        writer.close()
        await writer.wait_closed()
        server.close()
        return got, names

    assert run(main) == (b"hello", True)


def test_a_real_listener_takes_connections_before_it_is_handed_in():
    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            connecting = asyncio.ensure_future(asyncio.open_connection(*listener.getsockname()))
            await asyncio.sleep(10)
            waits = not connecting.done()
            connection, _ = await loop.sock_accept(listener)
            reader, writer = await connecting
            connection.send(b"hello")
            connection.close()
            got = await reader.read()
            writer.close()
        with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
            await asyncio.open_connection(*listener.getsockname())
        return waits, got, loop.time()

    assert run(main) == (True, b"hello", 137.0)


@pytest.mark.parametrize("limit", [5, 1000])
def test_who_has_given_up_before_a_real_listener_is_handed_in_is_not_connected(limit):
    """By itself, or as nobody has answered for long."""

    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.open_connection(*listener.getsockname()), limit)
            given_up = loop.time()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_accept(listener), 1000)
            return given_up

    assert run(main) == min(limit, 127)


def test_a_connection_to_the_outside_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        client.connect(str(tmp_path / "socket"))
        with pytest.raises(UnsupportedError, match="was connected by the program itself"):
            run(lambda: asyncio.open_unix_connection(sock=client))


def test_a_socket_is_taken_over_by_one_loop_after_the_other():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    address = sock.getsockname()

    async def main():
        loop = asyncio.get_running_loop()
        await loop.sock_sendto(sock, b"to myself", address)
        return await loop.sock_recv(sock, 100)

    for _ in range(2):
        assert run(main) == b"to myself"
    sock.close()


def test_what_would_have_to_block_or_leave_is_refused():
    async def main():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        sock = server.sockets[0]._sock
        for call in (
            lambda: sock.makefile(),
            lambda: sock.sendfile(None),
            lambda: sock.recvmsg(1),
            lambda: sock.recvmsg_into([bytearray(1)]),
            lambda: sock.sendmsg([b"x"], [(1, 2, b"")]),
        ):
            with pytest.raises(OSError, match="not supported"):
                call()
        with pytest.raises(BlockingIOError):
            sock.accept()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert not sock.get_inheritable()
        assert sock.detach() == -1
        server.close()

    run(main)


def test_a_loop_that_is_closed_tells_nobody_of_anything():
    async def main():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        kept.append(server)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.close()
        await writer.wait_closed()

    kept = []
    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.run_until_idle()
    with pytest.warns(ResourceWarning, match="1 server was not closed"):
        loop.close()

    assert kept[0].is_serving()
    with pytest.raises(OSError, match="Bad file descriptor"):
        kept[0].sockets[0].getsockname()


def test_the_path_of_a_unix_server_is_a_file(tmp_path):
    path = tmp_path / "socket"

    async def main():
        async def echo(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_unix_server(echo, path)
        assert path.is_socket()
        path.chmod(0o600)
        path.rename(tmp_path / "moved")
        with pytest.raises(FileNotFoundError):
            await asyncio.open_unix_connection(path)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "moved"))
        writer.write(b"x\n")
        assert await reader.read() == b"x\n"
        writer.close()
        server.close()
        (tmp_path / "moved").unlink()
        with pytest.raises(FileNotFoundError):
            await asyncio.open_unix_connection(str(tmp_path / "moved"))
        path.write_text("no socket")
        with pytest.raises(OSError, match="is already in use"):
            await asyncio.start_unix_server(echo, path)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_unix_connection(path)

    run(main)


def test_a_file_that_has_taken_the_place_of_a_unix_servers_stays(tmp_path):
    async def main():
        path = tmp_path / "socket"
        server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
        path.rename(tmp_path / "moved")
        path.write_text("of somebody else")
        server.close()
        await server.wait_closed()
        assert path.read_text() == "of somebody else"

    run(main)


def test_a_unix_datagram_socket_that_has_no_path_is_handed_in(tmp_path):
    async def main():
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taker, socket.socket(taker.family, taker.type) as sock:
            taker.setblocking(False)
            sock.setblocking(False)
            taker.bind(path)
            got = asyncio.create_task(loop.sock_recvfrom(taker, 10))
            await asyncio.sleep(1)
            await loop.sock_sendto(sock, b"hello", path)
            return await got

    assert run(main) == (b"hello", None)


def test_a_unix_datagram_socket_that_has_a_path_is_handed_in(tmp_path):
    class Keep(asyncio.DatagramProtocol):
        def __init__(self):
            self.got = asyncio.get_running_loop().create_future()

        def datagram_received(self, data, address):
            self.got.set_result((data, address))

    async def main():
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(path)
        server, protocol = await loop.create_datagram_endpoint(Keep, sock=sock)
        client, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=path, family=socket.AF_UNIX
        )
        client.sendto(b"hello")
        data, _ = await protocol.got
        client.close()
        server.close()
        return data

    assert run(main) == b"hello"


def test_an_adopted_socket_that_is_detached_is_closed():
    async def main():
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        listener.setblocking(False)
        accepting = asyncio.create_task(loop.sock_accept(listener))
        await asyncio.sleep(1)
        accepting.cancel()
        await asyncio.wait([accepting])
        assert listener.detach() == -1
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    run(main)


def test_an_adopted_socket_may_be_closed_twice():
    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            listener.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await asyncio.sleep(1)
            _, writer = await asyncio.open_connection(*address)
            accepted, _ = await accepting
            for sock in (accepted, listener) * 2:
                sock.close()
                assert sock.fileno() == -1
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)

    run(main)


def test_a_unix_server_that_is_not_there_is_named_as_it_was_asked_for(tmp_path):
    for path in (str(tmp_path / "none"), os.fsencode(tmp_path / "none")):
        with pytest.raises(FileNotFoundError) as caught:
            run(lambda path=path: asyncio.open_unix_connection(path))
        assert str(tmp_path / "none") in caught.value.__notes__[0]


def test_what_things_of_the_network_are_called():
    async def main():
        loop = asyncio.get_running_loop()
        host = loop.network.add_host("server")
        assert repr(host) == f"<Host server {host.address}>"

    run(main)
