"""Services of aiohttp, with a race each that shows only where a request comes late, and what the reports say of them.

Real servers and real clients, over connections in memory. Run it:

    python -m pip install virtualloop aiohttp pytest
    python -m pytest examples/bank/test_bank.py

The runs have some four hundred steps, most of them aiohttp's. A report has at most forty lines, and the lines of the
service that race are among them.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from virtualloop import VirtualLoop, explore


class Bank:
    """Reads a balance, and writes what it has read a moment later."""

    def __init__(self) -> None:
        self.rows = {"ann": 0}
        self.app = web.Application()
        self.app.add_routes([web.post("/deposit/{who}/{amount}", self.deposit), web.get("/{who}", self.balance)])

    async def deposit(self, request: web.Request) -> web.Response:
        """Add to a balance."""
        who, amount = request.match_info["who"], int(request.match_info["amount"])
        await asyncio.sleep(0.002)  # READ
        balance = self.rows[who]
        await asyncio.sleep(0.002)  # WRITE
        self.rows[who] = balance + amount
        return web.json_response(self.rows[who])

    async def balance(self, request: web.Request) -> web.Response:
        """Return a balance."""
        return web.json_response(self.rows[request.match_info["who"]])


async def two_customers() -> None:
    """Each pays in ten at a time, the second one 30 ms later."""
    async with TestClient(TestServer(Bank().app)) as client:

        async def customer(delay: float) -> None:
            await asyncio.sleep(delay)
            for _ in range(20):
                async with client.post("/deposit/ann/10") as response:
                    assert response.status == 200
                await asyncio.sleep(0.1)

        await asyncio.gather(customer(0), customer(0.03))
        async with client.get("/ann") as response:
            assert await response.json() == 400


class Cache:
    """Looks, and fetches what is not there."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.known: dict[str, str] = {}
        self.app = web.Application()
        self.app.add_routes([web.get("/{key}", self.get)])

    async def get(self, request: web.Request) -> web.Response:
        """Return what is known of a key."""
        key = request.match_info["key"]
        if key not in self.known:
            self.fetched.append(key)
            await asyncio.sleep(0.005)  # FETCH
            self.known[key] = key.upper()
        return web.Response(text=self.known[key])


async def two_users() -> None:
    """Each asks for the same keys, the second one 30 ms later."""
    cache = Cache()
    async with TestClient(TestServer(cache.app)) as client:

        async def user(delay: float) -> None:
            start = asyncio.get_running_loop().time() + delay
            for key in range(20):
                await asyncio.sleep(start + 0.1 * key - asyncio.get_running_loop().time())
                async with client.get(f"/k{key}") as response:
                    assert await response.text() == f"K{key}"

        await asyncio.gather(user(0), user(0.03))
        assert len(cache.fetched) == 20


class Api:
    """A client that takes a new session when its login is renewed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = aiohttp.ClientSession()

    async def renew(self) -> None:
        """Log in again."""
        old, self.session = self.session, aiohttp.ClientSession()
        await old.close()  # CLOSE

    async def get(self, path: str) -> str:
        """Return what is at a path."""
        async with self.session.get(self.url + path) as response:  # USE
            return await response.text()


async def renewed_in_between() -> None:
    """The login is renewed while no request is made."""

    async def hello(request: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.Response(text="hello")

    app = web.Application()
    app.add_routes([web.get("/hello", hello)])
    async with TestServer(app) as server:
        api = Api(str(server.make_url("")))

        async def use() -> None:
            for _ in range(40):
                assert await api.get("/hello") == "hello"
                await asyncio.sleep(0.05)

        async def keep_renewed() -> None:
            for _ in range(6):
                await asyncio.sleep(0.345)
                await api.renew()

        try:
            await asyncio.gather(use(), keep_renewed())
        finally:
            await api.session.close()


def marked(mark: str) -> int:
    """Return the line of this file that has a mark."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


@pytest.mark.parametrize(
    ("main", "racing"),
    [(two_customers, ["READ", "WRITE"]), (two_users, ["FETCH"]), (renewed_in_between, ["CLOSE", "USE"])],
)
def test_a_report_shows_the_lines_that_race(main: Callable[[], Coroutine[Any, Any, None]], racing: list[str]) -> None:
    """Print the report to read how it comes to that: `python -m pytest -s`."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())  # as it mostly goes
    failure = explore(main, check=False).failure
    assert failure is not None
    print(failure.report)
    lines = failure.report.splitlines()

    assert len(lines) <= 40
    assert max(map(len, lines[:-1])) <= 100
    assert any(f"raises {type(failure.exception).__name__}" in line for line in lines)
    for mark in racing:
        assert any(re.search(rf" (\S+:|-> ){marked(mark)}( -> \d+)?$", line) for line in lines), mark
