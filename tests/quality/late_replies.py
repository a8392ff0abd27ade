"""Replies that come after their request has been given up: the commonest real race.

Timeouts are what programs have, from half a second to half a minute, and each request takes 10 to 30 ms as long as
nothing is late. Some tests have a guard of their own around the whole; that this ends is no failure of the program.
"""

import asyncio
from asyncio import sleep

from quality.scenarios import Scenario


class LateReply(Scenario, level=None):
    """What these have in common: the fake other side, and what may be wrong."""

    timeout = 1.0
    guard = None

    def __init__(self):
        self.is_right = False
        self.tasks = set()

    def begin(self, coro):
        """Let the other side do something, in a task of its own."""
        task = asyncio.create_task(coro)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def settle(self):
        """Wait for all that is under way on the other side."""
        while self.tasks:
            await asyncio.wait(set(self.tasks))

    async def main(self):
        raise NotImplementedError

    async def guarded(self):
        if self.guard is None:
            await self.main()
        else:
            async with asyncio.timeout(self.guard):
                await self.main()

    async def wrong(self):
        await self.guarded()

    async def right(self):
        self.is_right = True
        await self.guarded()


class PipelinedReplies(LateReply, level="io"):
    """Replies are matched by their order: the reply to a request that was given up is taken for the next one's."""

    timeout = 30.0

    def __init__(self):
        super().__init__()
        self.replies = asyncio.Queue()

    async def serve(self, question):
        await sleep(0.010)
        self.replies.put_nowait(question)

    async def ask(self, question):
        self.begin(self.serve(question))
        async with asyncio.timeout(self.timeout):
            while True:
                reply = await self.replies.get()
                if reply == question or not self.is_right:
                    return reply

    async def main(self):
        for question in ("ann", "bob"):
            try:
                reply = await self.ask(question)
            except TimeoutError:
                continue
            assert reply == question, f"{question} got {reply}'s reply"


class LateCacheFill(LateReply, level="io"):
    """A load that was given up fills the cache all the same, over what was written since."""

    timeout = 0.5
    guard = 60.0

    def __init__(self):
        super().__init__()
        self.stored = "old"
        self.cache = {}
        self.version = 0

    async def load(self):
        version, value = self.version, self.stored
        await sleep(0.020)
        if version == self.version or not self.is_right:
            self.cache["key"] = value
        return value

    async def get(self):
        if "key" in self.cache:
            return self.cache["key"]
        return await asyncio.wait_for(asyncio.shield(self.begin(self.load())), self.timeout)

    def set(self, value):
        self.stored = value
        self.cache.clear()
        self.version += 1

    async def main(self):
        try:
            await self.get()
        except TimeoutError:
            pass
        self.set("new")
        await self.settle()
        try:
            assert await self.get() == "new", "the cache holds what was written over"
        except TimeoutError:
            pass


class LatePong(LateReply, level="io"):
    """A peer is declared dead when its pong does not come; when it comes, the peer is alive, and closed."""

    timeout = 5.0

    def __init__(self):
        super().__init__()
        self.alive, self.closed = True, False
        self.pong = asyncio.Event()

    async def ping(self):
        await sleep(0.030)
        if not self.closed or not self.is_right:
            self.alive = True
        self.pong.set()

    async def check(self):
        self.pong.clear()
        self.begin(self.ping())
        try:
            await asyncio.wait_for(self.pong.wait(), self.timeout)
        except TimeoutError:
            self.alive, self.closed = False, True

    async def main(self):
        await self.check()
        await self.settle()
        assert not (self.alive and self.closed), "a peer that was closed is used again"


class SecondConnection(LateReply, level="io"):
    """An attempt to connect that took too long succeeds beside the next one: a connection is open that nobody has."""

    timeout = 10.0
    guard = 600.0

    def __init__(self):
        super().__init__()
        self.opened = self.closed = 0
        self.connection = None

    async def open(self, attempt):
        await sleep(0.015)
        self.opened += 1
        if self.is_right and attempt != self.attempt:
            self.closed += 1
            return
        self.connection = attempt

    async def connect(self):
        for attempt in range(3):
            self.attempt = attempt
            done, _ = await asyncio.wait([self.begin(self.open(attempt))], timeout=self.timeout)
            if done:
                return
        self.attempt = None

    async def main(self):
        await self.connect()
        await self.settle()
        assert self.opened - self.closed <= 1, "two connections are open, and one is known"


class OrderedTwice(LateReply, level="io"):
    """An order that gets no answer in time is sent once more, without a key that tells it is the same."""

    timeout = 2.0

    def __init__(self):
        super().__init__()
        self.orders = []

    async def handle(self, order):
        await sleep(0.010)
        if order not in self.orders or not self.is_right:
            self.orders.append(order)
        await sleep(0.010)

    async def order(self):
        for _ in range(2):
            try:
                async with asyncio.timeout(self.timeout):
                    await asyncio.shield(self.begin(self.handle("a book")))
                    return
            except TimeoutError:
                continue

    async def main(self):
        await self.order()
        await self.settle()
        assert len(self.orders) <= 1, f"ordered {len(self.orders)} times"


class RoomForOneMore(LateReply, level="io"):
    """A room is kept in reserve for a guest who is booked twice; two answers are late, and he is booked three times."""

    timeout = 2.0

    def __init__(self):
        super().__init__()
        self.booked = []

    async def book(self, guest):
        await sleep(0.010)
        if guest not in self.booked or not self.is_right:
            self.booked.append(guest)

    async def main(self):
        for _ in range(3):
            try:
                async with asyncio.timeout(self.timeout):
                    await asyncio.shield(self.begin(self.book("ann")))
                    break
            except TimeoutError:
                continue
        await self.settle()
        assert len(self.booked) <= 2, f"booked {len(self.booked)} times"


class SlotOfAJobGivenUp(LateReply, level="io"):
    """A job that takes too long is given up, its slot with it: when it ends, it gives the slot back again."""

    timeout = 20.0
    guard = 120.0
    free = 2

    async def job(self):
        await sleep(0.025)
        if not self.is_right:
            self.free += 1

    async def run(self):
        self.free -= 1
        try:
            await asyncio.wait_for(asyncio.shield(self.begin(self.job())), self.timeout)
        except TimeoutError:
            if not self.is_right:
                self.free += 1
        finally:
            if self.is_right:
                self.free += 1

    async def main(self):
        await asyncio.gather(self.run(), self.run())
        await self.settle()
        assert self.free == 2, f"{self.free} slots of 2 are free"


class LateAcknowledgement(LateReply, level="io"):
    """An acknowledgement counts for the message that is sent when it comes, not for the one that it is for."""

    timeout = 0.75

    def __init__(self):
        super().__init__()
        self.received = set()
        self.acknowledged = asyncio.Queue()

    async def deliver(self, number):
        await sleep(0.012)
        if number != 1:  # is lost
            self.received.add(number)
            self.acknowledged.put_nowait(number)

    async def send(self, number):
        self.begin(self.deliver(number))
        async with asyncio.timeout(self.timeout):
            while await self.acknowledged.get() != number and self.is_right:
                pass

    async def main(self):
        sure = set()
        for number in range(2):
            try:
                await self.send(number)
                sure.add(number)
            except TimeoutError:
                pass
        assert sure <= self.received, "a message that was lost counts as received"


class FallbackOverwritten(LateReply, level="io"):
    """A page shows a default where its content takes too long; the content comes and goes into the next page."""

    timeout = 3.0

    def __init__(self):
        super().__init__()
        self.page = None

    async def fetch(self, name):
        await sleep(0.020)
        return name

    async def fill(self, name):
        content = await self.fetch(name)
        if self.page == (name, None) or not self.is_right:
            self.page = (self.page[0], content)

    async def show(self, name):
        self.page = (name, None)
        await asyncio.wait([self.begin(self.fill(name))], timeout=self.timeout)

    async def main(self):
        await self.show("home")
        await self.show("news")
        await self.settle()
        name, content = self.page
        assert content in (name, None), f"{name} shows {content}"


class ServedInALoop(LateReply, level="io"):
    """One server task answers all requests, one after the other; the client takes a late answer for the next one."""

    timeout = 1.5

    def __init__(self):
        super().__init__()
        self.requests, self.replies = asyncio.Queue(), asyncio.Queue()

    async def serve(self):
        while True:
            request = await self.requests.get()
            await sleep(0.010)
            self.replies.put_nowait(request)

    async def ask(self, request):
        self.requests.put_nowait(request)
        async with asyncio.timeout(self.timeout):
            while (reply := await self.replies.get()) != request and self.is_right:
                pass
            return reply

    async def main(self):
        server = asyncio.create_task(self.serve())
        for request in range(3):
            try:
                assert await self.ask(request) == request
            except TimeoutError:
                continue
        server.cancel()
