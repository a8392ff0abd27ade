"""Random programs that read and write run step for step as on stock asyncio.

As in test_oracle, the oracle is stock asyncio with a clock that jumps, here with a real selector, real connections over
the loopback device, and real descriptors; VirtualLoop has the same connections in memory. What is readable comes before
the timers that are due in that turn, what a joined thread has sent is there in the turn after.
"""

import asyncio
import os
import selectors
import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import Always, OracleLoop, amount
from virtualloop import VirtualLoop


class RealSelector(selectors.DefaultSelector):
    """Moves the clock where nothing is ready."""

    def __init__(self, grain):
        super().__init__()
        self.now = 0.0
        self._grain = grain

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout != 0:
            assert timeout is not None, "stock asyncio would wait for ever"
            self.now = round((self.now + timeout) / self._grain) * self._grain
        return ready


class RealLoop(OracleLoop):
    """Stock asyncio with real sockets."""

    _Selector = RealSelector


ENDS = st.integers(0, 3)
DELAYS = st.integers(0, 4).map(lambda n: n * OracleLoop.GRAIN)
OTHERS = [
    st.tuples(st.just("sleep"), DELAYS),
    st.tuples(st.just("yield")),
    st.tuples(st.just("soon")),
    st.tuples(st.just("later"), DELAYS),
    st.tuples(st.just("thread")),
]
#: Of one kind in a program: in which order select() reports what came in at once is the system's affair.
KINDS = {
    "streams": [st.tuples(st.just("write"), ENDS), st.tuples(st.just("read"), ENDS)],
    "datagrams": [st.tuples(st.just("datagram"), st.integers(0, 1))],
    "pipes": [st.tuples(st.just("pipe"), st.integers(0, 1))],
    "pairs": [st.tuples(st.just("pair"), ENDS)],
}
PATIENCE = 20 * OracleLoop.GRAIN


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, note):
        self.note = note

    def datagram_received(self, data, address):
        self.note("datagram", data)


async def interpret(programs, log, close):
    loop = asyncio.get_running_loop()

    def note(*what):
        task = asyncio.current_task()
        log.append((loop.time(), task.get_name() if task else None, *what))

    # Streams: end 2k writes to end 2k+1, and the other way round.
    streams = []
    for _ in range(2):
        accepted = loop.create_future()
        server = await asyncio.start_server(lambda *ends, a=accepted: a.set_result(ends), "127.0.0.1", 0)
        close.append(server.close)
        streams += [await asyncio.open_connection(*server.sockets[0].getsockname()), await accepted]
    close += [writer.close for _, writer in streams]
    # Datagrams, each to the other.
    transports = []
    for _ in range(2):
        transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(note), ("127.0.0.1", 0))
        transports.append(transport)
        close.append(transport.close)
    # Pipes and connected pairs with a reader at each end that can be read.
    pipes = [os.pipe() for _ in range(2)]
    for k, (read, write) in enumerate(pipes):
        loop.add_reader(read, lambda k=k, read=read: note("pipe", k, os.read(read, 100)))
        close += [lambda read=read: loop.remove_reader(read) and os.close(read), lambda write=write: os.close(write)]
    pairs = [end for _ in range(2) for end in socket.socketpair()]
    for k, end in enumerate(pairs):
        end.setblocking(False)
        loop.add_reader(end, lambda k=k, end=end: note("pair", k, end.recv(100)))
        close += [lambda end=end: loop.remove_reader(end) and end.close()]
    await asyncio.sleep(OracleLoop.GRAIN)
    log.clear()

    async def one(kind, *args):
        if kind == "sleep":
            await asyncio.sleep(args[0])
        elif kind == "yield":
            await asyncio.sleep(0)
        elif kind == "soon":
            loop.call_soon(note, "soon")
        elif kind == "later":
            loop.call_later(args[0], note, "later")
        elif kind == "write":
            streams[args[0]][1].write(b"x")
        elif kind == "read":
            try:
                note("read", await asyncio.wait_for(streams[args[0]][0].read(100), PATIENCE))
            except RuntimeError:
                note("somebody else reads")
        elif kind == "datagram":
            transports[args[0]].sendto(b"d", transports[1 - args[0]].get_extra_info("sockname"))
        elif kind == "pipe":
            os.write(pipes[args[0]][1], b"p")
        elif kind == "pair":
            pairs[args[0]].send(b"s")
        elif kind == "thread":
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(note, "from a thread"))
            thread.start()
            thread.join()

    async def block(steps):
        for step in steps:
            note("does", step[0])
            try:
                await one(*step)
            except TimeoutError:
                note("timed out")

    await asyncio.gather(*map(block, programs))
    await asyncio.sleep(PATIENCE)
    note("ends")


def trace(make_loop, programs):
    log, close = [], []

    async def main():
        try:
            await interpret(programs, log, close)
        finally:
            for end in close:
                end()
            await asyncio.sleep(OracleLoop.GRAIN)

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())
    return log


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=amount(60, 2000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_step_for_step(kind, data):
    steps = st.lists(st.one_of(*KINDS[kind], *OTHERS), max_size=6)
    programs = data.draw(st.lists(steps, min_size=1, max_size=3))
    expected = trace(RealLoop, programs)

    assert trace(VirtualLoop, programs) == expected


@pytest.mark.slow
@pytest.mark.parametrize("order", ["timing", "io", "tasks"])
@settings(max_examples=amount(60, 2000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_step_for_step_at_every_level_where_nothing_is_chosen(order, data):
    steps = st.lists(st.one_of(*data.draw(st.sampled_from(list(KINDS.values()))), *OTHERS), max_size=6)
    programs = data.draw(st.lists(steps, min_size=1, max_size=3))
    expected = trace(RealLoop, programs)

    assert trace(lambda: VirtualLoop(schedule=Always(0), order=order), programs) == expected
