"""A replicated store that is not linearizable: a client reads an old value after another one has read the new one.

Writes go to both replicas, one after the other, and reads to any. Every single answer looks right; only the history of
all clients shows that no one store could have given them. explore() finds the run, the history tells what is wrong.
Run it: python examples/kv_linearizable.py
"""

import asyncio
from functools import partial

import virtualloop
from virtualloop import histories

# --- the code under test ----------------------------------------------------------------------------------------------


class Replica:
    """One copy of the data, 10 ms away."""

    def __init__(self):
        self.values = {}

    async def put(self, key, value):
        """Store a value."""
        await asyncio.sleep(0.010)
        self.values[key] = value

    async def get(self, key):
        """Return a value, or None."""
        await asyncio.sleep(0.010)
        return self.values.get(key)


class Store:
    """Two replicas. The bug: a read asks one of them, and they need not agree."""

    def __init__(self):
        self.replicas = [Replica(), Replica()]

    async def put(self, key, value):
        """Store a value in both."""
        await asyncio.gather(*[replica.put(key, value) for replica in self.replicas])

    async def get(self, key, nearest):
        """Return the value in the nearest replica."""
        return await self.replicas[nearest].get(key)


class LeaderStore(Store):
    """The same, repaired: the first replica has the last word, and writes come there last."""

    async def put(self, key, value):
        """Store a value in the second, then in the first."""
        for replica in reversed(self.replicas):
            await replica.put(key, value)

    async def get(self, key, nearest):
        """Return the value in the first replica."""
        return await self.replicas[0].get(key)


# --- its test ---------------------------------------------------------------------------------------------------------


async def clients(store_type):
    """One client writes, two read; the history says whether one store could have answered that."""
    store = store_type()
    history = histories.History()

    async def writer():
        for number in (1, 2):
            async with history.call("Ann", "put", "x", number):
                await store.put("x", number)
            async with history.call("Ann", "put", "y", number):
                await store.put("y", number)

    async def reader(name, nearest, *, start):
        await asyncio.sleep(start)
        for key in ("x", "x", "y"):
            async with history.call(name, "get", key) as call:
                call.result = await store.get(key, nearest)

    await asyncio.gather(writer(), reader("Bob", 0, start=0.001), reader("Eve", 1, start=0.015))
    history.check(histories.key_value)


# --- the search -------------------------------------------------------------------------------------------------------

if __name__ == "__main__":
    for _ in range(5):
        asyncio.run(clients(Store))
    print("Store on stock asyncio: 5 runs pass.")

    found = virtualloop.explore(partial(clients, Store), check=False)
    print(f"Store, explored: {found.runs} runs, the last one is")
    print(found.failure.exception)

    print(f"LeaderStore, explored: {virtualloop.explore(partial(clients, LeaderStore))}")
