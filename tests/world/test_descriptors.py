"""Real descriptors: what is watched, in which order it comes, and that the clock never waits for nothing."""

import asyncio
import os
import pty
import selectors
import socket
import sys
import threading
import time

import pytest

from helpers import LEVELS, opened, run
from virtualloop import DeadlockError, VirtualLoop
from virtualloop._core.clock import Clock
from virtualloop._world.descriptors import READ, WRITE, Descriptors, number_of

LOOPS = (asyncio.SelectorEventLoop, VirtualLoop)


class Watcher:
    def __init__(self):
        self.is_cancelled = False

    def cancel(self):
        self.is_cancelled = True

    def cancelled(self):
        return self.is_cancelled


@pytest.fixture
def pipe():
    read, write = os.pipe()
    os.set_blocking(read, False)
    yield read, write
    for fd in (read, write):
        try:
            os.close(fd)
        except OSError:
            continue  # The test did.


@pytest.fixture
def pair():
    here, there = socket.socketpair()
    for sock in (here, there):
        sock.setblocking(False)
    yield here, there
    here.close()
    there.close()


def both(main):
    """Run `main()` on either loop; return what it returns on VirtualLoop, which is the same on the other one."""
    seen = []
    for factory in LOOPS:
        with asyncio.Runner(loop_factory=factory) as runner:
            seen.append(runner.run(main()))
    assert seen[0] == seen[1]
    return seen[1]


# --- without a loop ---------------------------------------------------------------------------------------------------


def test_what_is_ready_is_queued_in_the_order_in_which_it_became_ready():
    queue = []
    descriptors = Descriptors(queue.append, patience=1.0, clock=Clock())
    pipes = [os.pipe() for _ in range(5)]
    watchers = {}
    for read, _ in reversed(pipes):
        watchers[read] = Watcher()
        descriptors.watch(read, READ, watchers[read])
    descriptors.poll()
    assert queue == []
    for _, write in pipes:
        os.write(write, b"x")
    descriptors.poll()

    assert queue == [watchers[read] for read, _ in pipes]
    assert descriptors.take_moved() == set(watchers)
    assert descriptors.take_moved() == set()
    descriptors.close()
    for ends in pipes:
        for fd in ends:
            os.close(fd)


def test_both_directions_of_one_descriptor(pair):
    queue = []
    descriptors = Descriptors(queue.append, patience=1.0, clock=Clock())
    here, there = pair
    reader, writer = Watcher(), Watcher()
    descriptors.watch(here.fileno(), READ, reader)
    descriptors.watch(here.fileno(), WRITE, writer)
    there.send(b"x")
    descriptors.poll()
    assert queue == [reader, writer]
    assert descriptors.get_key(here.fileno()).events == selectors.EVENT_READ | selectors.EVENT_WRITE
    assert descriptors.unwatch(here.fileno(), WRITE)
    assert not descriptors.unwatch(here.fileno(), WRITE)
    assert writer.is_cancelled
    descriptors.poll()

    assert queue == [reader, writer, reader]
    assert descriptors.unwatch(here.fileno(), READ)
    assert not descriptors
    with pytest.raises(KeyError):
        descriptors.get_key(here.fileno())
    descriptors.close()


def test_one_watcher_takes_the_place_of_another(pipe):
    queue = []
    descriptors = Descriptors(queue.append, patience=1.0, clock=Clock())
    first, second = Watcher(), Watcher()
    descriptors.watch(pipe[0], READ, first)
    descriptors.watch(pipe[0], READ, second)
    os.write(pipe[1], b"x")
    descriptors.poll()
    assert first.is_cancelled
    assert queue == [second]
    second.cancel()
    descriptors.poll()

    assert queue == [second]
    assert not descriptors
    descriptors.close()


def test_a_descriptor_may_be_closed_before_it_is_unwatched(pipe):
    descriptors = Descriptors(print, patience=1.0, clock=Clock())
    descriptors.watch(pipe[0], READ, Watcher())
    assert descriptors.known() == [pipe[0]]
    os.close(pipe[0])

    assert descriptors.known() == []
    assert descriptors.unwatch(pipe[0], READ)
    descriptors.close()


def test_what_is_no_descriptor(tmp_path):
    for wrong in (-1, "text", None, 1.5):
        with pytest.raises(ValueError, match="Invalid file"):
            number_of(wrong)
    with open(tmp_path / "file", "w") as file:
        assert number_of(file) == number_of(file.fileno())
        with opened() as loop, pytest.raises(PermissionError):
            loop.add_reader(file, print)


# --- readers and writers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", LEVELS)
@pytest.mark.parametrize("kind", ["pipe", "pair", "terminal"])
def test_a_reader_of_something_real(kind, order):
    def ends():
        if kind == "pair":
            return [sock.detach() for sock in socket.socketpair()]
        return pty.openpty() if kind == "terminal" else os.pipe()

    async def main():
        loop = asyncio.get_running_loop()
        read, write = ends()
        got = loop.create_future()
        loop.add_reader(read, lambda: got.set_result(os.read(read, 10)))
        await asyncio.sleep(3600)
        os.write(write, b"hello\n")
        before = loop.time()
        result = await got, loop.remove_reader(read), loop.remove_reader(read), loop.time() - before
        os.close(read)
        os.close(write)
        return result

    data, *rest = run(main, 1, order=order)
    assert data.replace(b"\r\n", b"\n") == b"hello\n"
    assert rest == [True, False, 0]


def test_what_can_be_read_comes_before_the_timers_of_that_turn():
    async def main():
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        log = []
        loop.add_reader(read, lambda: (log.append("reader"), os.read(read, 1)))
        loop.call_later(0, log.append, "timer")
        os.write(write, b"x")
        loop.call_soon(log.append, "soon")
        await asyncio.sleep(0.01)
        loop.remove_reader(read)
        os.close(read)
        os.close(write)
        return log

    assert both(main) == ["soon", "reader", "timer"]


def test_a_reader_runs_in_each_turn_until_everything_is_read(pipe):
    read, write = pipe

    async def main():
        loop = asyncio.get_running_loop()
        got = []
        loop.add_reader(read, lambda: got.append(os.read(read, 2)))
        os.write(write, b"abcdef")
        for _ in range(5):
            await asyncio.sleep(0)
        loop.remove_reader(read)
        return got

    assert both(main) == [b"ab", b"cd", b"ef"]


def test_a_writer_runs_while_there_is_room(pipe):
    read, write = pipe
    os.set_blocking(write, False)

    async def main():
        loop = asyncio.get_running_loop()
        written = []
        done = loop.create_future()

        def fill():
            written.append(os.write(write, bytes(16_384)))
            if len(written) == 4:  # so much fits
                loop.call_later(0.01, done.set_result, None)

        loop.add_writer(write, fill)
        await done
        loop.remove_writer(write)
        os.read(read, 1 << 20)
        return written

    assert both(main) == [16_384] * 4


def test_a_connected_pair_that_is_watched_stays_real(pair):
    here, there = pair

    async def main():
        loop = asyncio.get_running_loop()
        got = loop.create_future()
        loop.add_reader(here, lambda: got.set_result(here.recv(20)))
        os.write(there.fileno(), b"by its descriptor")  # as code in C does
        result = [await got]
        loop.remove_reader(here)
        # The other end was never watched, and goes with it.
        await loop.sock_sendall(there, b"by the loop")
        result.append(here.recv(20))
        here.send(b"back")
        result.append(await loop.sock_recv(there, 10))
        return result, type(here), type(there)

    assert both(main) == ([b"by its descriptor", b"by the loop", b"back"], socket.socket, socket.socket)


def test_a_listening_socket_that_is_watched_takes_real_connections():
    async def main():
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        accepted = loop.create_future()
        loop.add_reader(listener, lambda: accepted.set_result(listener.accept()[0]))
        client = socket.create_connection(listener.getsockname())
        server = await accepted
        loop.remove_reader(listener)
        client.sendall(b"real")
        result = server.recv(10)
        for sock in (client, server, listener):
            sock.close()
        return result

    assert both(main) == b"real"


def test_a_pair_that_was_handed_in_stands_for_one_in_memory(pair):
    here, there = pair

    async def main():
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(there, b"x")
        got = loop.create_future()
        loop.add_reader(here, lambda: got.set_result(here.recv(10)))
        result = await got
        loop.remove_reader(here)
        return result, type(there) is socket.socket

    assert run(main) == (b"x", False)


def test_a_thread_that_writes_to_a_pipe_is_waited_for(pipe):
    read, write = pipe

    async def main():
        loop = asyncio.get_running_loop()
        got = loop.create_future()
        loop.add_reader(read, lambda: got.set_result(os.read(read, 10)))

        def late():
            time.sleep(0.2)
            os.write(write, b"late")

        thread = threading.Thread(target=late)
        thread.start()
        async with asyncio.timeout(60):
            result = await got
        thread.join()
        loop.remove_reader(read)
        return result, loop.time()

    assert run(main) == (b"late", 0)


def test_nobody_waits_for_a_descriptor_that_nobody_will_write_to(pipe):
    async def main():
        loop = asyncio.get_running_loop()
        loop.add_reader(pipe[0], print)
        await asyncio.sleep(3600)
        await loop.create_future()

    began = time.monotonic()
    with pytest.raises(DeadlockError):
        run(main)
    assert time.monotonic() - began < 50


def test_a_transport_keeps_its_descriptor(pipe):
    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(os.dup(pipe[0]), "rb"))
        number = transport.get_extra_info("pipe").fileno()
        loop.remove_reader(number)
        transport.close()
        await asyncio.sleep(0)

    run(main)


# --- pipes ------------------------------------------------------------------------------------------------------------


class Log(asyncio.Protocol):
    def __init__(self):
        self.seen = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.seen.append("made")

    def data_received(self, data):
        self.seen.append(data)

    def eof_received(self):
        self.seen.append("eof")

    def pause_writing(self):
        self.seen.append("paused")

    def resume_writing(self):
        self.seen.append("resumed")

    def connection_lost(self, exc):
        self.seen.append("lost")
        self.lost.set_result(None)


def test_the_transports_of_a_pipe():
    async def main():
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        reading, reader = await loop.connect_read_pipe(Log, os.fdopen(read, "rb", 0))
        writing, writer = await loop.connect_write_pipe(Log, os.fdopen(write, "wb", 0))
        reading.pause_reading()
        writing.write(bytes(300_000))
        await asyncio.sleep(0.01)
        reading.resume_reading()
        writing.write_eof()
        await asyncio.gather(reader.lost, writer.lost)
        received = sum(len(each) for each in reader.seen if isinstance(each, bytes))
        return received, [each for each in reader.seen if isinstance(each, str)], writer.seen

    assert both(main) == (300_000, ["made", "eof", "lost"], ["made", "paused", "resumed", "lost"])


def test_a_loop_that_watched_something_costs_nothing_afterwards(pipe):
    with opened() as loop:
        loop.add_reader(pipe[0], print)
        assert loop._scheduling()._sources
        loop.remove_reader(pipe[0])

        assert not loop._scheduling()._sources


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what they hold back")
def test_what_the_system_holds_back_comes_before_the_next_timer():
    """A small segment that waits for the acknowledgement of the one before (Nagle's algorithm), which waits as well."""

    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        came = []
        with client, server:
            for end in (client, server):
                end.setblocking(False)
            loop.add_reader(server, lambda: came.append((loop.time(), len(server.recv(100)))))
            # It acknowledges at once until somebody asks for less.
            server.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY), 0)
            for _ in range(30):
                client.send(b"123")
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            loop.remove_reader(server)
        return {when for when, _ in came}, sum(length for _, length in came)

    for _ in range(5):
        assert run(main) == ({0.0}, 90)


@pytest.mark.parametrize("methods", [("add_reader", "remove_reader"), ("add_writer", "remove_writer")])
def test_the_end_of_a_watch_is_asked_for_by_an_object_that_was_closed(methods):
    """As the stock loop has it: anyio's streams are closed in this order."""
    seen = []
    for factory in (asyncio.SelectorEventLoop, VirtualLoop):
        here, there = socket.socketpair()
        with here, there:
            loop = factory()
            getattr(loop, methods[0])(here, print)
            here.close()
            seen.append(getattr(loop, methods[1])(here))
            with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
                getattr(loop, methods[1])(here)
            loop.close()

    assert seen == [True, True]


def test_a_loop_closes_where_what_it_watches_was_closed_first():
    here, there = socket.socketpair()
    with here, there:
        loop = VirtualLoop()
        loop.add_reader(here, print)
        loop.add_writer(here, print)
        here.close()
        loop.close()
