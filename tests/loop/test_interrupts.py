"""KeyboardInterrupt and SystemExit out of a callback: the loop goes on as stock asyncio's does when it is run again."""

import asyncio

import pytest

from virtualloop import Trace, VirtualLoop

HOST = "127.0.0.1"


class Raises:
    """Raises once, the second time it is reached."""

    def __init__(self, kind, log):
        self.kind = kind
        self.log = log
        self.calls = 0

    def __call__(self, what):
        self.calls += 1
        self.log.append(what)
        if self.calls == 1:
            raise self.kind(what)


def callback(loop, reach, done):
    loop.call_soon(reach, "first")
    loop.call_soon(reach, "second")
    loop.call_soon(done.set_result, None)


def timer(loop, reach, done):
    for _ in range(3):
        loop.call_later(0.001, reach, "timer")
    loop.call_later(0.002, done.set_result, None)


def step(loop, reach, done):
    async def work():
        await asyncio.sleep(0)
        reach("step")

    async def other():
        await asyncio.sleep(0)
        reach("other")
        done.set_result(None)

    loop.keep = [loop.create_task(work()), loop.create_task(other())]


def done_callback(loop, reach, done):
    future = loop.create_future()
    future.add_done_callback(lambda _: reach("done"))
    future.add_done_callback(lambda _: reach("done too"))
    future.add_done_callback(lambda _: done.set_result(None))
    future.set_result(None)


class Protocol(asyncio.Protocol):
    def __init__(self, reach, where, log):
        self.reach, self.where, self.log = reach, where, log

    def connection_made(self, transport):
        self.transport = transport
        self.log.append("made")
        if self.where == "connection_made":
            self.reach("made")

    def data_received(self, data):
        self.log.append(data)
        if self.where == "data_received":
            self.reach("data")
        if data.endswith(b"!"):
            self.transport.close()

    def eof_received(self):
        self.log.append("eof")
        if self.where == "eof_received":
            self.reach("eof")

    def connection_lost(self, exc):
        self.log.append(f"lost {type(exc).__name__}")
        if self.where == "connection_lost":
            self.reach("lost")


def connection(where):
    def begin(loop, reach, done):
        async def main():
            server = await loop.create_server(lambda: Protocol(reach, where, reach.log), HOST, 0)
            port = server.sockets[0].getsockname()[1]
            for end in (b"!", b""):
                reader, writer = await asyncio.open_connection(HOST, port)
                for data in (b"one", b"two", end):
                    writer.write(data)
                    await asyncio.sleep(0.01)
                if not end:
                    writer.write_eof()
                reach.log.append(await reader.read())
                writer.close()
                await asyncio.sleep(0.01)
            server.close()
            done.set_result(None)

        loop.keep = [loop.create_task(main())]

    begin.__name__ = where
    return begin


def datagram(loop, reach, done):
    class Mailbox(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            reach.log.append(data)
            reach("datagram")

    async def main():
        server, _ = await loop.create_datagram_endpoint(Mailbox, local_addr=(HOST, 0))
        client, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=server.get_extra_info("sockname")
        )
        for data in (b"one", b"two"):
            client.sendto(data)
            await asyncio.sleep(0.01)
        client.close()
        server.close()
        await asyncio.sleep(0.01)
        done.set_result(None)

    loop.keep = [loop.create_task(main())]


PLACES = [callback, timer, step, done_callback, datagram]
PLACES += [connection(where) for where in ("connection_made", "data_received", "eof_received", "connection_lost")]


def seen(make_loop, begin, kind):
    """Return what happened, interruption included, until all that was begun has ended."""
    loop, log = make_loop(), []
    try:
        done = loop.create_future()
        begin(loop, Raises(kind, log), done)
        for _ in range(3):
            try:
                loop.run_until_complete(asyncio.wait_for(done, 5))
                break
            except kind:
                log.append(kind.__name__)
            except TimeoutError:
                log.append("nothing more happens")
                break
        return log
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        for task in getattr(loop, "keep", ()):
            # Else the garbage collector says in some other test that nobody has asked for it.
            task.exception()


def debugged():
    loop = VirtualLoop()
    loop.set_debug(True)
    return loop


def traced():
    return VirtualLoop(trace=Trace())


@pytest.mark.parametrize("make_loop", [VirtualLoop, debugged, traced], ids=lambda make_loop: make_loop.__name__)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("begin", PLACES, ids=lambda begin: begin.__name__)
def test_the_loop_goes_on_as_the_stock_loop_does(begin, kind, make_loop):
    assert seen(make_loop, begin, kind) == seen(asyncio.SelectorEventLoop, begin, kind)
