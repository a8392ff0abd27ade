"""Hand-overs that a timeout meets in the middle: what was handed to a waiter who gives up is lost.

The window lies between the hand-over and the step of the waiter, one turn of the loop, and a few turns after what set
it off: the timeout has to come in exactly then, one, two or four turns late. Each scenario is a primitive as people
write them, with waiters that are futures; `right()` passes on what a waiter can no longer take.
"""

import asyncio
from collections import deque

from quality.scenarios import Scenario


class HandOver(Scenario, level=None):
    """One task waits with a limit; another one hands over at the same moment, after so many turns."""

    turns = 1

    def __init__(self):
        self.waiters = deque()
        self.passes_on = False

    async def wait_in_line(self):
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            if self.passes_on and waiter.done() and not waiter.cancelled():
                self.take_back(waiter.result())
            raise

    def hand_over(self, thing=None):
        """Give to the first who still waits; return whether there was anyone."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(thing)
                return True
        return False

    def take_back(self, thing):
        raise NotImplementedError

    async def later(self, function, *args):
        """Do it after 10 ms, and some turns of the loop: behind a few awaits that are done at once."""
        await asyncio.sleep(0.010)
        for _ in range(self.turns):
            await asyncio.sleep(0)
        function(*args)

    async def impatient(self, function):
        try:
            async with asyncio.timeout(0.010):
                await function()
        except TimeoutError:
            return False
        return True

    async def main(self):
        raise NotImplementedError

    async def wrong(self):
        await self.main()

    async def right(self):
        self.passes_on = True
        await self.main()


class LockLost(HandOver, level="timing"):
    """The lock is handed to a waiter whose time is up: nobody holds it, and it is never free again."""

    locked = True

    async def acquire(self):
        if self.locked:
            await self.wait_in_line()
        self.locked = True

    def release(self):
        if not self.hand_over():
            self.locked = False

    def take_back(self, thing):
        self.release()

    async def use(self):
        await self.acquire()
        self.release()

    async def main(self):
        await asyncio.gather(self.later(self.release), self.impatient(self.use))
        await self.acquire()


class PermitLost(HandOver, level="timing"):
    """A semaphore's permit goes to a waiter whose time is up."""

    turns = 2
    permits = 0

    async def acquire(self):
        if self.permits:
            self.permits -= 1
        else:
            await self.wait_in_line()

    def release(self):
        if not self.hand_over():
            self.permits += 1

    def take_back(self, thing):
        self.release()

    async def main(self):
        _, taken = await asyncio.gather(self.later(self.release), self.impatient(self.acquire))
        assert self.permits + taken == 1, "a permit was lost"


class NotificationLost(HandOver, level="io"):
    """A condition's notification goes to a waiter whose time is up, and the one behind it waits forever."""

    async def wait(self):
        await self.wait_in_line()

    def notify(self):
        self.hand_over()

    def take_back(self, thing):
        self.notify()

    async def main(self):
        first = asyncio.create_task(self.impatient(self.wait))
        await asyncio.sleep(0)
        second = asyncio.create_task(self.wait())
        await self.later(self.notify)
        if await first:
            self.notify()
        await second


class ItemLost(HandOver, level="timing"):
    """A queue gives an item to a getter whose time is up."""

    turns = 2

    def __init__(self):
        super().__init__()
        self.items = deque()

    async def get(self):
        return self.items.popleft() if self.items else await self.wait_in_line()

    def put(self, item):
        if not self.hand_over(item):
            self.items.append(item)

    def take_back(self, thing):
        self.put(thing)

    async def main(self):
        _, received = await asyncio.gather(self.later(self.put, "item"), self.impatient(self.get))
        assert received or self.items, "an item was lost"


class ConnectionLost(HandOver, level="timing"):
    """A pool gives a connection to a request whose time is up; the next request waits for it forever."""

    turns = 4

    def __init__(self):
        super().__init__()
        self.idle = []

    async def take(self):
        return self.idle.pop() if self.idle else await self.wait_in_line()

    def give(self, connection):
        if not self.hand_over(connection):
            self.idle.append(connection)

    def take_back(self, thing):
        self.give(thing)

    async def request(self):
        connection = await self.take()
        try:
            await asyncio.sleep(0)
        finally:
            self.give(connection)

    async def main(self):
        await asyncio.gather(self.later(self.give, "connection"), self.impatient(self.request))
        await self.request()


class SignalLost(HandOver, level="timing"):
    """An event that wakes one waiter and is reset: it wakes one whose time is up."""

    turns = 4
    is_set = False

    async def wait(self):
        if not self.is_set:
            await self.wait_in_line()
        self.is_set = False

    def set(self):
        self.is_set = not self.hand_over()

    def take_back(self, thing):
        self.set()

    async def main(self):
        _, seen = await asyncio.gather(self.later(self.set), self.impatient(self.wait))
        assert seen or self.is_set, "a signal was lost"


class TurnLost(HandOver, level="timing"):
    """A rate limiter calls up a client whose time is up, and counts its turn as used."""

    used = 0

    async def turn(self):
        await self.wait_in_line()

    def tick(self):
        self.used += self.hand_over()

    def take_back(self, thing):
        self.used -= 1
        self.tick()

    async def main(self):
        _, went = await asyncio.gather(self.later(self.tick), self.impatient(self.turn))
        assert self.used == went, "a turn was used by nobody"
