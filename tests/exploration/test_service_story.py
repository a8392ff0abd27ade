"""The story of a service: hundreds of steps, most of them of servers and connections, and two lines that race.

The service speaks a small HTTP over asyncio's streams, and makes a task for each request, as web frameworks do. Each
of its failures is read as the one would who wrote it. A service of aiohttp is in `examples/bank`.
"""

import asyncio
import re
import sys
from pathlib import Path

import pytest

import virtualloop
from virtualloop import Trace

STEPS = 400


class Server:
    """Answers requests, each in a task that begins at once where Python can; closes its connections when it exits."""

    def __init__(self, handle):
        self._handle = handle
        self._connections = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "localhost", 80)
        return self

    async def __aexit__(self, *exc):
        self._server.close()
        for writer in self._connections:
            writer.close()
        for writer in self._connections:
            await writer.wait_closed()
            await asyncio.sleep(0.01)  # grace

    async def _serve(self, reader, writer):
        self._connections.append(writer)
        while line := await reader.readline():
            method, path = line.decode().split()
            answer = asyncio.get_running_loop().create_future()
            begin(self._answer(method, path, answer))
            writer.write(f"{await answer}\n".encode())

    async def _answer(self, method, path, answer):
        answer.set_result(await self._handle(method, path))


def begin(coro):
    options = {"eager_start": True} if sys.version_info >= (3, 12) else {}
    return asyncio.Task(coro, loop=asyncio.get_running_loop(), **options)


class Client:
    """A connection on which one request is made after the other."""

    async def __aenter__(self):
        self._turn = asyncio.Lock()
        self._reader, self._writer = await asyncio.open_connection("localhost", 80)
        return self

    async def __aexit__(self, *exc):
        self._writer.close()

    async def request(self, method, path):
        async with self._turn:
            self._writer.write(f"{method} {path}\n".encode())
            return (await self._reader.readline()).decode().strip()


# --- services ---------------------------------------------------------------------------------------------------------


class Bank:
    """Reads, and writes what it has read a moment later."""

    def __init__(self):
        self.rows = {"ann": 0}

    async def handle(self, method, path):
        if method == "POST":
            await asyncio.sleep(0.002)  # READ
            balance = self.rows[path]
            await asyncio.sleep(0.002)  # WRITE
            self.rows[path] = balance + 10
        return self.rows[path]


class Cache:
    """Looks, and fetches what is not there."""

    def __init__(self):
        self.fetched = []
        self.known = {}

    async def handle(self, method, path):
        if path not in self.known:
            self.fetched.append(path)
            await asyncio.sleep(0.005)  # FETCH
            self.known[path] = path.upper()
        return self.known[path]


async def many_deposits():
    async with Server(Bank().handle):

        async def customer(delay):
            async with Client() as client:
                await asyncio.sleep(delay)
                for _ in range(28):
                    await client.request("POST", "ann")
                    await asyncio.sleep(0.1)

        await asyncio.gather(customer(0), customer(0.03))
        async with Client() as client:
            assert await client.request("GET", "ann") == "560"


async def many_lookups():
    cache = Cache()
    async with Server(cache.handle):

        async def user(delay):
            async with Client() as client:
                start = asyncio.get_running_loop().time() + delay
                for key in range(35):
                    await asyncio.sleep(start + 0.1 * key - asyncio.get_running_loop().time())
                    assert await client.request("GET", f"k{key}") == f"K{key}"

        await asyncio.gather(user(0), user(0.03), user(0.06))
    assert len(cache.fetched) == 35


def marked(mark):
    """Return the line of this file that has a mark."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


@pytest.mark.parametrize(
    ("main", "racing"),
    [(many_deposits, ["READ", "WRITE"]), (many_lookups, ["FETCH"])],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_two_requests_that_race(main, racing):
    failure = virtualloop.explore(main, check=False).failure
    trace = Trace()
    loop = virtualloop.VirtualLoop(schedule=virtualloop.schedules.Replay(failure.token), trace=trace)
    with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(AssertionError):
        runner.run(main())
    *lines, replay = failure.report.splitlines()

    assert len(trace.lines()) >= STEPS
    assert len(lines) + 1 <= 40
    assert max(map(len, lines)) <= 100
    assert replay.startswith("Replay it: ")
    assert any("raises AssertionError" in line for line in lines[-2:])
    for mark in racing:
        place = re.compile(rf" (?:\S+:|-> ){marked(mark)}(?: -> \d+)?$")
        rows: dict[str, list[int]] = {}
        for number, line in enumerate(lines):
            if place.search(line):
                rows.setdefault(re.split(r"ms +|  +", line[2:].strip())[1], []).append(number)
        # One was there when another one went on from there.
        assert any(
            there[0] < other[-1] < there[-1] for one, there in rows.items() for two, other in rows.items() if one != two
        )
