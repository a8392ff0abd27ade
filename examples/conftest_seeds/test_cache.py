"""Two tests of a cache, which pass every time on an idle machine. One of them will flake on a busy one."""

import asyncio


class Cache:
    """Values for some time: those that are older are fetched again."""

    def __init__(self, fetch, *, age):
        self.fetch = fetch
        self.age = age
        self.values = {}

    async def get(self, key):
        """Return a value that is no older than that."""
        now = asyncio.get_running_loop().time()
        value, fetched = self.values.get(key, (None, -float("inf")))
        if now - fetched >= self.age:
            value = await self.fetch(key)
            self.values[key] = value, asyncio.get_running_loop().time()
        return value


class Server:
    """Counts how often it is asked."""

    def __init__(self):
        self.requests = 0

    async def fetch(self, key):
        """Return the value of a key, after 10 ms."""
        self.requests += 1
        await asyncio.sleep(0.010)
        return key.upper()


async def test_a_value_is_kept():
    server = Server()
    cache = Cache(server.fetch, age=60)
    assert await cache.get("a") == "A"
    await asyncio.sleep(1)
    assert await cache.get("a") == "A"
    assert server.requests == 1


async def test_two_who_ask_at_about_the_same_time():
    """The second asks 2 ms after the first has got its answer: if that one is later, there are two requests."""
    server = Server()
    cache = Cache(server.fetch, age=60)

    async def second():
        await asyncio.sleep(0.012)
        return await cache.get("a")

    assert await asyncio.gather(cache.get("a"), second()) == ["A", "A"]
    assert server.requests == 1
