"""Races as people write them, each with its repair.

A scenario is a class: an instance is the little world of one run, `wrong()` is the program with the race and `right()`
the one without. On stock asyncio both pass as long as nothing is late: the fakes answer after 5 to 40 ms, and the race
needs one of them to be late, or a wake-up to be. `level` is the tightest order at which it can fail. The class's
docstring says what is wrong; what `right()` does otherwise is the repair.

Hand-overs and late replies have modules of their own; `quality.races` has all of them. Nothing here knows
virtualloop, so that other loops can be measured by the same files.
"""

import asyncio
from asyncio import sleep
from collections import deque
from functools import partial

SCENARIOS = []


class Scenario:
    """What scenarios have in common."""

    level: str | None

    def __init_subclass__(cls, *, level):
        """Note a scenario; one without a level is only what others have in common."""
        cls.level = level
        if level is not None:
            SCENARIOS.append(cls)

    async def wrong(self):
        raise NotImplementedError

    async def right(self):
        raise NotImplementedError


async def run_wrong(scenario):
    await scenario().wrong()


async def run_right(scenario):
    await scenario().right()


def wrong(scenario):
    """Return a function that makes the coroutine of a run; it can be pickled."""
    return partial(run_wrong, scenario)


def right(scenario):
    """Return the same for the repaired program."""
    return partial(run_right, scenario)


async def after(seconds, function, *args):
    """Begin later, as a user or another server would."""
    await sleep(seconds)
    return await function(*args)


async def within(seconds, function, *args):
    """Give up in time: wait_for() as it is since Python 3.12."""
    async with asyncio.timeout(seconds):
        return await function(*args)


# --- read, wait, write ------------------------------------------------------------------------------------------------


class LostUpdate(Scenario, level="timing"):
    """The balance is read and written in two requests; what others write in between is overwritten."""

    def __init__(self):
        self.balance = 100
        self.lock = asyncio.Lock()

    async def read(self):
        await sleep(0.005)
        return self.balance

    async def write(self, balance):
        await sleep(0.01)
        self.balance = balance

    async def deposit(self, amount):
        await self.write(await self.read() + amount)

    async def locked_deposit(self, amount):
        async with self.lock:
            await self.deposit(amount)

    async def main(self, deposit):
        await asyncio.gather(deposit(10), after(0.03, deposit, 20))
        assert self.balance == 130

    async def wrong(self):
        await self.main(self.deposit)

    async def right(self):
        await self.main(self.locked_deposit)


class AddsWhatItAwaits(Scenario, level="timing"):
    """`self.total += await ...` reads the total before it waits."""

    total = 0

    async def price(self, item):
        await sleep(0.01)
        return item

    async def add(self, item):
        self.total += await self.price(item)

    async def price_then_add(self, item):
        price = await self.price(item)
        self.total += price

    async def main(self, add):
        await asyncio.gather(*[after(0.02 * i, add, i) for i in range(4)])
        assert self.total == 6

    async def wrong(self):
        await self.main(self.add)

    async def right(self):
        await self.main(self.price_then_add)


class Oversold(Scenario, level="timing"):
    """The stock is checked before the payment and taken after it."""

    stock = 1
    sold = 0

    async def pay(self):
        await sleep(0.01)

    async def order(self):
        if self.stock > 0:
            await self.pay()
            self.stock -= 1
            self.sold += 1

    async def order_reserved(self):
        if self.stock > 0:
            self.stock -= 1
            await self.pay()
            self.sold += 1

    async def main(self, order):
        await asyncio.gather(*[after(0.03 * i, order) for i in range(3)])
        assert self.sold == 1

    async def wrong(self):
        await self.main(self.order)

    async def right(self):
        await self.main(self.order_reserved)


class TornRead(Scenario, level="timing"):
    """Two settings that belong together are read in two requests, with a change in between."""

    def __init__(self):
        self.settings = {"host": "old", "port": "old"}

    async def get(self, key):
        await sleep(0.008)
        return self.settings[key]

    async def get_all(self):
        await sleep(0.008)
        return dict(self.settings)

    async def reload(self):
        await sleep(0.03)
        self.settings = {"host": "new", "port": "new"}

    async def wrong(self):
        reload = asyncio.create_task(self.reload())
        host = await self.get("host")
        port = await self.get("port")
        await reload
        assert host == port

    async def right(self):
        reload = asyncio.create_task(self.reload())
        settings = await self.get_all()
        await reload
        assert settings["host"] == settings["port"]


class SessionExpires(Scenario, level="timing"):
    """Whether a key is in a dict is checked, then something is awaited, then the key is used."""

    def __init__(self):
        self.sessions = {"ann": []}

    async def audit(self, user):
        await sleep(0.006)
        await sleep(0.006)

    async def expire(self, user):
        await sleep(0.03)
        self.sessions.pop(user)

    async def visit(self, user, page):
        if user in self.sessions:
            await self.audit(user)
            self.sessions[user].append(page)

    async def visit_looked_up_late(self, user, page):
        await self.audit(user)
        if user in self.sessions:
            self.sessions[user].append(page)

    async def wrong(self):
        await asyncio.gather(self.visit("ann", "/"), self.expire("ann"))

    async def right(self):
        await asyncio.gather(self.visit_looked_up_late("ann", "/"), self.expire("ann"))


class ChangedWhileIterating(Scenario, level="timing"):
    """A broadcast awaits within a loop over a dict, and somebody joins."""

    def __init__(self):
        self.clients = {"ann": [], "bob": []}

    async def send(self, inbox, text):
        await sleep(0.005)
        inbox.append(text)

    async def join(self, name):
        await sleep(0.025)
        self.clients[name] = []

    async def broadcast(self, inboxes):
        for inbox in inboxes:
            await self.send(inbox, "hello")

    async def wrong(self):
        await asyncio.gather(self.broadcast(self.clients.values()), self.join("eve"))

    async def right(self):
        await asyncio.gather(self.broadcast(list(self.clients.values())), self.join("eve"))


class BufferCleared(Scenario, level="timing"):
    """A write-behind buffer is cleared after it was stored, with what came in meanwhile."""

    def __init__(self):
        self.buffer = []
        self.stored = []

    async def store(self, batch):
        await sleep(0.005)
        self.stored += batch
        await sleep(0.01)

    async def flush(self):
        await self.store(list(self.buffer))
        self.buffer.clear()

    async def flush_swapped(self):
        batch, self.buffer = self.buffer, []
        await self.store(batch)

    async def main(self, flush):
        self.buffer.append("one")
        flushing = asyncio.create_task(flush())
        await sleep(0.03)
        self.buffer.append("two")
        await flushing
        await flush()
        assert self.stored == ["one", "two"]

    async def wrong(self):
        await self.main(self.flush)

    async def right(self):
        await self.main(self.flush_swapped)


# --- one of a kind ----------------------------------------------------------------------------------------------------


class InitialisedTwice(Scenario, level="timing"):
    """Whether there is a session is checked outside the lock, and not again within."""

    def __init__(self):
        self.session = None
        self.made = 0
        self.lock = asyncio.Lock()

    async def make(self):
        await sleep(0.015)
        self.made += 1
        return object()

    async def get(self):
        if self.session is None:
            async with self.lock:
                self.session = await self.make()
        return self.session

    async def get_checked_twice(self):
        if self.session is None:
            async with self.lock:
                if self.session is None:
                    self.session = await self.make()
        return self.session

    async def main(self, get):
        await asyncio.gather(*[after(0.02 * i, get) for i in range(3)])
        assert self.made == 1

    async def wrong(self):
        await self.main(self.get)

    async def right(self):
        await self.main(self.get_checked_twice)


class ReconnectStorm(Scenario, level="timing"):
    """Each who finds the connection broken connects again, and closes the one that another has just made."""

    class Connection:
        alive = True

        async def send(self, text):
            await sleep(0.005)
            if not self.alive:
                raise ConnectionResetError(text)

    def __init__(self):
        self.connection = self.Connection()
        self.connection.alive = False
        self.lock = asyncio.Lock()
        self.connected = 0

    async def connect(self):
        await sleep(0.01)
        self.connected += 1
        return self.Connection()

    async def reconnect(self, broken):
        self.connection.alive = False
        self.connection = await self.connect()

    async def reconnect_once(self, broken):
        async with self.lock:
            if self.connection is broken:
                await self.reconnect(broken)

    async def request(self, reconnect):
        connection = self.connection
        try:
            await connection.send("ping")
        except ConnectionResetError:
            await reconnect(connection)
            await self.connection.send("ping")

    async def main(self, reconnect):
        await asyncio.gather(*[after(0.03 * i, self.request, reconnect) for i in range(3)])
        assert self.connected == 1

    async def wrong(self):
        await self.main(self.reconnect)

    async def right(self):
        await self.main(self.reconnect_once)


class SharedFlightCancelled(Scenario, level="timing"):
    """Who asks for what is on its way awaits the first one's task; that one gives up and takes all others along."""

    def __init__(self):
        self.flights = {}

    async def load(self, key):
        await sleep(0.012)
        await sleep(0.012)
        return key.upper()

    async def get(self, key):
        if key not in self.flights:
            self.flights[key] = asyncio.create_task(self.load(key))
        return await self.flights[key]

    async def get_shielded(self, key):
        if key not in self.flights:
            self.flights[key] = asyncio.create_task(self.load(key))
        return await asyncio.shield(self.flights[key])

    async def main(self, get):
        impatient = asyncio.create_task(within(0.04, get, "page"))
        patient = asyncio.create_task(after(0.01, get, "page"))
        results = await asyncio.gather(impatient, patient, return_exceptions=True)
        assert results[1] == "PAGE"

    async def wrong(self):
        await self.main(self.get)

    async def right(self):
        await self.main(self.get_shielded)


class LockPerKey(Scenario, level="timing"):
    """The lock of a key is thrown away by whoever is done, though another holds it and a third makes a new one."""

    def __init__(self):
        self.locks = {}
        self.users = {}
        self.inside = 0

    async def update(self):
        self.inside += 1
        assert self.inside == 1
        await sleep(0.01)
        self.inside -= 1

    async def change(self, key):
        async with self.locks.setdefault(key, asyncio.Lock()):
            await self.update()
        self.locks.pop(key, None)

    async def change_counted(self, key):
        self.users[key] = self.users.get(key, 0) + 1
        async with self.locks.setdefault(key, asyncio.Lock()):
            await self.update()
        self.users[key] -= 1
        if not self.users[key]:
            del self.locks[key]

    async def main(self, change):
        await asyncio.gather(*[after(0.02 * i, change, "ann") for i in range(4)])

    async def wrong(self):
        await self.main(self.change)

    async def right(self):
        await self.main(self.change_counted)


class DiningPhilosophers(Scenario, level="timing"):
    """Everybody takes the left fork first."""

    def __init__(self):
        self.forks = [asyncio.Lock() for _ in range(3)]

    async def dine(self, seat, first, second):
        await sleep(0.012 * seat)
        async with self.forks[first]:
            await sleep(0.005)
            async with self.forks[second]:
                await sleep(0.005)

    async def wrong(self):
        await asyncio.gather(*[self.dine(seat, seat, (seat + 1) % 3) for seat in range(3)])

    async def right(self):
        await asyncio.gather(*[self.dine(seat, *sorted((seat, (seat + 1) % 3))) for seat in range(3)])


# --- somebody gives up ------------------------------------------------------------------------------------------------


class ReleasedWithoutAcquire(Scenario, level="timing"):
    """Who gave up waiting for the lock releases it all the same: it is another's."""

    def __init__(self):
        self.lock = asyncio.Lock()
        self.inside = 0

    async def update(self):
        self.inside += 1
        assert self.inside == 1
        await sleep(0.01)
        self.inside -= 1

    async def job(self):
        try:
            await within(0.03, self.lock.acquire)
            await self.update()
        finally:
            self.lock.release()

    async def job_that_knows(self):
        await within(0.03, self.lock.acquire)
        try:
            await self.update()
        finally:
            self.lock.release()

    async def main(self, job):
        results = await asyncio.gather(*[after(0.005 * i, job) for i in range(2)], return_exceptions=True)
        for failure in results:
            assert failure is None or isinstance(failure, TimeoutError)

    async def wrong(self):
        await self.main(self.job)

    async def right(self):
        await self.main(self.job_that_knows)


class ReleasedTwice(Scenario, level="timing"):
    """A timeout gives the slot back, and then `finally` does."""

    def __init__(self):
        self.slots = asyncio.Semaphore(1)
        self.running = 0

    async def call(self):
        self.running += 1
        try:
            assert self.running <= 1
            await sleep(0.01)
        finally:
            self.running -= 1

    async def request(self):
        await self.slots.acquire()
        try:
            await within(0.035, self.call)
        except TimeoutError:
            self.slots.release()
        finally:
            self.slots.release()

    async def request_released_once(self):
        async with self.slots:
            try:
                await within(0.035, self.call)
            except TimeoutError:
                pass

    async def main(self, request):
        await asyncio.gather(*[after(0.012 * i, request) for i in range(6)])

    async def wrong(self):
        await self.main(self.request)

    async def right(self):
        await self.main(self.request_released_once)


class FairLock:
    """A lock that is handed to whoever waits longest, with one line forgotten."""

    def __init__(self):
        self.locked = False
        self.waiters = deque()

    async def acquire(self):
        if not self.locked:
            self.locked = True
            return
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self.gave_up(waiter)
            raise

    def gave_up(self, waiter):
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def release(self):
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.locked = False


class CarefulFairLock(FairLock):
    """One that passes the lock on if it was handed over to somebody who has gone."""

    def gave_up(self, waiter):
        if waiter in self.waiters:
            self.waiters.remove(waiter)
        elif not waiter.cancelled():
            self.release()


class LockLostOnHandOff(Scenario, level="timing"):
    """A waiter is handed the lock and gives up before it wakes: nobody has the lock, and it is never free again."""

    async def use(self, lock, seconds):
        await lock.acquire()
        try:
            await sleep(seconds)
        finally:
            lock.release()

    async def impatient(self, lock):
        try:
            await within(0.03, self.use, lock, 0.005)
        except TimeoutError:
            pass

    async def main(self, lock):
        await asyncio.gather(self.use(lock, 0.02), self.impatient(lock), after(0.04, self.use, lock, 0.005))

    async def wrong(self):
        await self.main(FairLock())

    async def right(self):
        await self.main(CarefulFairLock())


class Slots:
    """A semaphore of which a free place is promised to the next waiter, with a promise that may be lost."""

    def __init__(self, free):
        self.free = free
        self.waiters = deque()

    async def __aenter__(self):
        if self.free:
            self.free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        await self.woken(waiter)

    async def woken(self, waiter):
        await waiter

    async def __aexit__(self, *exc):
        self.release()

    def release(self):
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.free += 1


class CarefulSlots(Slots):
    """One where a promise that nobody wants goes to the next."""

    async def woken(self, waiter):
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()
            raise


class SlotLostOnHandOff(Scenario, level="timing"):
    """A user leaves just when a slot becomes free, and the slot is gone."""

    async def download(self, slots, seconds):
        async with slots:
            await sleep(seconds)

    async def main(self, slots):
        downloads = [asyncio.create_task(self.download(slots, 0.012 + 0.006 * i)) for i in range(4)]
        await sleep(0.025)
        downloads[3].cancel()  # the user has closed the page; by now it has had its turn
        await asyncio.wait(downloads)
        assert slots.free == 2

    async def wrong(self):
        await self.main(Slots(2))

    async def right(self):
        await self.main(CarefulSlots(2))


class Mailbox:
    """Items, and consumers that are told when there is one; who is told and has gone keeps the news to himself."""

    def __init__(self):
        self.items = deque()
        self.waiters = deque()

    def put(self, item):
        self.items.append(item)
        self.notify()

    def notify(self):
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def get(self):
        while not self.items:
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            await self.woken(waiter)
        return self.items.popleft()

    async def woken(self, waiter):
        await waiter


class CarefulMailbox(Mailbox):
    """One where who leaves tells the next."""

    async def woken(self, waiter):
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self.notify()
            raise


class NoticeLost(Scenario, level="timing"):
    """The one consumer who is notified has just given up, and the item is never collected."""

    async def main(self, mailbox):
        first = asyncio.create_task(within(0.035, mailbox.get))
        second = asyncio.create_task(mailbox.get())
        await sleep(0.02)
        mailbox.put("one")
        await asyncio.wait({first})
        if not first.cancelled() and first.exception() is None:
            mailbox.put("two")
        await second

    async def wrong(self):
        await self.main(Mailbox())

    async def right(self):
        await self.main(CarefulMailbox())


class Pool:
    """Connections, handed straight to whoever waits for one."""

    def __init__(self, size):
        self.idle = [f"connection {i}" for i in range(size)]
        self.waiters = deque()

    async def get(self):
        if self.idle:
            return self.idle.pop()
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        return await self.woken(waiter)

    async def woken(self, waiter):
        return await waiter

    def put(self, connection):
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self.idle.append(connection)


class CarefulPool(Pool):
    """One that takes back what was handed to somebody who has gone."""

    async def woken(self, waiter):
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.put(waiter.result())
            raise


class ConnectionLeaked(Scenario, level="timing"):
    """A request times out between being handed a connection and its wake-up; the connection is in nobody's hands."""

    async def query(self, pool, seconds):
        connection = await pool.get()
        try:
            await sleep(seconds)
        finally:
            pool.put(connection)

    async def request(self, pool):
        try:
            async with asyncio.timeout(0.03):
                await self.query(pool, 0.005)
        except TimeoutError:
            pass

    async def main(self, pool):
        async with asyncio.TaskGroup() as group:
            group.create_task(self.query(pool, 0.008))
            for _ in range(3):
                group.create_task(self.request(pool))
        assert len(pool.idle) == 1

    async def wrong(self):
        await self.main(Pool(1))

    async def right(self):
        await self.main(CarefulPool(1))


class CancelledWaiterIsWoken(Scenario, level="timing"):
    """A waiter that has given up stays in the queue, and is woken in place of the one behind it."""

    class Turnstile(FairLock):
        def gave_up(self, waiter):
            pass

        def release(self):
            if self.waiters:
                waiter = self.waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)
            else:
                self.locked = False

    async def use(self, lock, seconds):
        await lock.acquire()
        try:
            await sleep(seconds)
        finally:
            lock.release()

    async def impatient(self, lock):
        try:
            async with asyncio.timeout(0.04):
                await self.use(lock, 0.005)
        except TimeoutError:
            pass

    async def main(self, lock):
        await asyncio.gather(self.use(lock, 0.02), self.impatient(lock), self.use(lock, 0.005))

    async def wrong(self):
        await self.main(self.Turnstile())

    async def right(self):
        await self.main(CarefulFairLock())


class ResultAgainstTimeout(Scenario, level="timing"):
    """The bank has booked it, its answer does not come in time, and the shop says it failed."""

    booked = False

    async def charge(self):
        await sleep(0.012)
        self.booked = True
        await sleep(0.012)

    async def wrong(self):
        paid = True
        try:
            await within(0.04, self.charge)
        except TimeoutError:
            paid = False
        assert paid == self.booked

    async def right(self):
        charge = asyncio.create_task(self.charge())
        done, _ = await asyncio.wait({charge}, timeout=0.04)
        if not done:
            await charge  # it cannot be taken back, so there is nothing to do but wait
        assert self.booked


class RetryDoubles(Scenario, level="timing"):
    """What timed out is sent again, though the first one arrived."""

    def __init__(self):
        self.orders = []

    async def post(self, order, key):
        await sleep(0.008)
        if key is None or (key, order) not in self.orders:
            self.orders.append((key, order))
        await sleep(0.008)

    async def main(self, key):
        for _ in range(3):
            try:
                await within(0.03, self.post, "book", key)
                break
            except TimeoutError:
                pass
        assert len(self.orders) <= 1

    async def wrong(self):
        await self.main(None)

    async def right(self):
        await self.main("4711")


class RepliesMixedUp(Scenario, level="timing"):
    """The reply to a request that timed out is still to come, and is taken for the reply to the next."""

    def __init__(self):
        self.lock = asyncio.Lock()
        self.connect()

    def connect(self):
        self.inbox = asyncio.Queue()

    async def serve(self, inbox, question):
        await sleep(0.008)
        await sleep(0.008)
        inbox.put_nowait(f"re: {question}")

    async def ask(self, question):
        async with self.lock:
            self.serving = asyncio.create_task(self.serve(self.inbox, question))
            return await within(0.03, self.inbox.get)

    async def ask_or_reconnect(self, question):
        try:
            return await self.ask(question)
        except TimeoutError:
            self.connect()
            raise

    async def main(self, ask):
        for question in ("one", "two", "three"):
            try:
                assert await ask(question) == f"re: {question}"
            except TimeoutError:
                pass

    async def wrong(self):
        await self.main(self.ask)

    async def right(self):
        await self.main(self.ask_or_reconnect)


class HedgedTwice(Scenario, level="timing"):
    """A slow request is asked of a second server as well; the loser is cancelled, and its seat stays reserved."""

    def __init__(self):
        self.reserved = []

    async def reserve(self, server):
        await sleep(0.01)
        self.reserved.append(server)
        await sleep(0.01)
        return server

    async def main(self, give_back):
        first = asyncio.create_task(self.reserve("a"))
        done, pending = await asyncio.wait({first}, timeout=0.03)
        if not done:
            second = asyncio.create_task(self.reserve("b"))
            done, pending = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        winner = first.result() if first in done else second.result()
        if give_back:
            self.reserved = [server for server in self.reserved if server == winner]
        assert self.reserved == [winner]

    async def wrong(self):
        await self.main(give_back=False)

    async def right(self):
        await self.main(give_back=True)


class CancelSwallowed(Scenario, level="timing"):
    """A cancel that comes while something is sent is taken for a lost connection, and the worker goes on."""

    async def send(self):
        await sleep(0.005)

    async def work(self):
        for _ in range(5):
            try:
                await self.send()
            except (asyncio.CancelledError, ConnectionError):
                await sleep(0.01)  # connect again
            await sleep(0.02)

    async def work_until_cancelled(self):
        for _ in range(5):
            try:
                await self.send()
            except ConnectionError:
                await sleep(0.01)
            await sleep(0.02)

    async def main(self, work):
        worker = asyncio.create_task(work())
        await sleep(0.04)
        worker.cancel()
        await asyncio.wait({worker})
        assert worker.cancelled()

    async def wrong(self):
        await self.main(self.work)

    async def right(self):
        await self.main(self.work_until_cancelled)


class RollbackInterrupted(Scenario, level="timing"):
    """A request that times out rolls back; the shutdown cancels it once more, in the middle of that."""

    state = "clean"

    async def commit(self):
        await sleep(0.02)

    async def roll_back(self):
        await sleep(0.008)
        self.state = "clean"

    async def roll_back_shielded(self):
        rollback = asyncio.create_task(self.roll_back())
        try:
            await asyncio.shield(rollback)
        except asyncio.CancelledError:
            await rollback
            raise

    async def transaction(self, roll_back):
        self.state = "dirty"
        try:
            await self.commit()
            self.state = "clean"
        except asyncio.CancelledError:
            await roll_back()
            raise

    async def main(self, roll_back):
        request = asyncio.create_task(within(0.03, self.transaction, roll_back))
        await sleep(0.045)
        request.cancel()
        await asyncio.wait({request})
        assert self.state == "clean"
        assert request.cancelled() or isinstance(request.exception(), TimeoutError | None)

    async def wrong(self):
        await self.main(self.roll_back)

    async def right(self):
        await self.main(self.roll_back_shielded)


# --- too early, too late ----------------------------------------------------------------------------------------------


class StaleReply(Scenario, level="io"):
    """Search as you type: the reply that comes last is shown, whichever question it answers."""

    shown = None
    asked = 0

    async def search(self, text):
        await sleep(0.02)
        self.shown = text

    async def search_newest(self, text):
        self.asked += 1
        number = self.asked
        await sleep(0.02)
        if number == self.asked:
            self.shown = text

    async def main(self, search):
        await asyncio.gather(search("vir"), after(0.015, search, "virtual"))
        assert self.shown == "virtual"

    async def wrong(self):
        await self.main(self.search)

    async def right(self):
        await self.main(self.search_newest)


class StaleFill(Scenario, level="io"):
    """A value that was read before it changed is put into the cache after the change has cleared it."""

    def __init__(self):
        self.database = 1
        self.cache = {}
        self.changes = 0

    async def query(self):
        value = self.database
        await sleep(0.015)
        return value

    async def get(self):
        if "x" not in self.cache:
            self.cache["x"] = await self.query()
        return self.cache["x"]

    async def get_unless_changed(self):
        while "x" not in self.cache:
            changes = self.changes
            value = await self.query()
            if changes == self.changes:
                self.cache["x"] = value
        return self.cache["x"]

    async def change(self):
        await sleep(0.03)
        self.database = 2
        self.changes += 1
        self.cache.pop("x", None)

    async def main(self, get):
        await asyncio.gather(get(), self.change())
        assert await get() == 2

    async def wrong(self):
        await self.main(self.get)

    async def right(self):
        await self.main(self.get_unless_changed)


class OutOfOrder(Scenario, level="io"):
    """Each message is handled by a task of its own, and the last to finish wins."""

    status = None

    def __init__(self):
        self.lock = asyncio.Lock()

    async def handle(self, message):
        await sleep(0.01)
        self.status = message

    async def handle_in_turn(self, message):
        async with self.lock:
            await self.handle(message)

    async def main(self, handle):
        async with asyncio.TaskGroup() as group:
            for message in ("paid", "packed", "shipped"):
                group.create_task(handle(message))
                await sleep(0.015)
        assert self.status == "shipped"

    async def wrong(self):
        await self.main(self.handle)

    async def right(self):
        await self.main(self.handle_in_turn)


class SleptInsteadOfWaited(Scenario, level="timing"):
    """A server takes 20 ms to start; surely 40 are enough."""

    def __init__(self):
        self.started = asyncio.Event()

    async def serve(self):
        await sleep(0.01)
        await sleep(0.01)
        self.started.set()

    async def wrong(self):
        server = asyncio.create_task(self.serve())
        await sleep(0.04)
        assert self.started.is_set()
        await server

    async def right(self):
        server = asyncio.create_task(self.serve())
        await self.started.wait()
        await server


class PulseMissed(Scenario, level="io"):
    """An event is set and cleared at once; who starts to wait after that waits for ever."""

    def __init__(self):
        self.changed = asyncio.Event()
        self.version = 0

    async def load(self):
        await sleep(0.01)
        return self.version

    async def publish(self, *, clear):
        await sleep(0.025)
        self.version += 1
        self.changed.set()
        if clear:
            self.changed.clear()

    async def watch(self):
        await self.load()
        await self.changed.wait()
        assert self.version == 1

    async def wrong(self):
        await asyncio.gather(self.watch(), self.publish(clear=True))

    async def right(self):
        await asyncio.gather(self.watch(), self.publish(clear=False))


class LostBetweenCheckAndWait(Scenario, level="timing"):
    """It is not ready, so a waiter is made, after a line in the log; it gets ready in between."""

    ready = False
    waiter = None

    async def log(self, text):
        await sleep(0.005)
        await sleep(0.005)

    async def announce(self):
        await sleep(0.025)
        self.ready = True
        if self.waiter is not None:
            self.waiter.set_result(None)

    async def wait(self):
        if not self.ready:
            await self.log("waiting")
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter

    async def log_and_wait(self):
        await self.log("waiting")
        if not self.ready:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter

    async def wrong(self):
        await asyncio.gather(self.wait(), self.announce())

    async def right(self):
        await asyncio.gather(self.log_and_wait(), self.announce())


class ShutdownLosesItems(Scenario, level="io"):
    """The consumer looks at a flag, and leaves with items in the queue."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.saved = []
        self.closing = False

    async def save(self, item):
        await sleep(0.006)
        self.saved.append(item)

    async def consume(self):
        while not self.closing:
            item = await self.queue.get()
            if item is not None:
                await self.save(item)

    async def consume_to_the_end(self):
        while (item := await self.queue.get()) is not None:
            await self.save(item)

    async def main(self, consume):
        consumer = asyncio.create_task(consume())
        for item in range(3):
            self.queue.put_nowait(item)
            await sleep(0.012)
        self.closing = True
        self.queue.put_nowait(None)
        await consumer
        assert self.saved == [0, 1, 2]

    async def wrong(self):
        await self.main(self.consume)

    async def right(self):
        await self.main(self.consume_to_the_end)


class DoneBeforeSaved(Scenario, level="timing"):
    """`task_done()` is called before the work is done, so `join()` returns too early."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.saved = 0

    async def save(self):
        await sleep(0.005)
        await sleep(0.005)
        self.saved += 1

    async def consume(self):
        while True:
            await self.queue.get()
            self.queue.task_done()
            await self.save()

    async def consume_then_tell(self):
        while True:
            await self.queue.get()
            await self.save()
            self.queue.task_done()

    async def main(self, consume):
        consumer = asyncio.create_task(consume())
        self.queue.put_nowait("row")
        await self.queue.join()
        await sleep(0.02)  # close the other connections
        consumer.cancel()
        await asyncio.wait({consumer})
        assert self.saved == 1

    async def wrong(self):
        await self.main(self.consume)

    async def right(self):
        await self.main(self.consume_then_tell)


class SurvivorsOfGather(Scenario, level="io"):
    """gather() fails with its first failure; the others go on, and write after the clean-up."""

    def __init__(self):
        self.files = []

    async def write(self, name):
        await sleep(0.01)
        self.files.append(name)

    async def fail(self):
        await sleep(0.02)
        raise LookupError

    async def wrong(self):
        try:
            await asyncio.gather(self.write("a"), self.write("b"), self.fail())
        except LookupError:
            self.files.clear()
        await sleep(0.06)
        assert not self.files

    async def right(self):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.write("a"))
                group.create_task(self.write("b"))
                group.create_task(self.fail())
        except* LookupError:
            self.files.clear()
        await sleep(0.06)
        assert not self.files


class ClosedInUse(Scenario, level="timing"):
    """The last request is fast, so it is done when the connection is closed."""

    def __init__(self):
        self.closed = False
        self.requests = set()

    async def request(self):
        for _ in range(3):
            await sleep(0.006)
            assert not self.closed

    async def close(self):
        self.closed = True

    async def close_when_idle(self):
        if self.requests:
            await asyncio.wait(self.requests)
        self.closed = True

    async def main(self, close):
        request = asyncio.create_task(self.request())
        self.requests.add(request)
        await sleep(0.035)
        await close()
        await request

    async def wrong(self):
        await self.main(self.close)

    async def right(self):
        await self.main(self.close_when_idle)


class GeneratorNotClosed(Scenario, level="timing"):
    """`break` leaves an async generator to be closed some time later; the next query may come before."""

    open = 0

    async def rows(self):
        self.open += 1
        assert self.open == 1
        try:
            for row in range(3):
                await sleep(0.005)
                yield row
        finally:
            await sleep(0.005)
            await sleep(0.005)
            self.open -= 1

    async def first(self):
        async for row in self.rows():
            return row

    async def first_and_close(self):
        rows = self.rows()
        try:
            return await anext(rows)
        finally:
            await rows.aclose()

    async def main(self, first):
        await first()
        await sleep(0.03)
        await first()

    async def wrong(self):
        await self.main(self.first)

    async def right(self):
        await self.main(self.first_and_close)


class UnsubscribedWhileSending(Scenario, level="io"):
    """A subscriber leaves; a publisher that waits for room in its queue waits for ever."""

    def __init__(self):
        self.queues = [asyncio.Queue(1)]

    async def publish(self):
        for event in range(4):
            for queue in list(self.queues):
                await queue.put(event)
            await sleep(0.02)

    async def subscribe(self, *, drain):
        queue = self.queues[0]
        await queue.get()
        await sleep(0.015)
        self.queues.remove(queue)
        if drain:
            while not queue.empty():
                queue.get_nowait()
                await sleep(0)

    async def wrong(self):
        await asyncio.gather(self.publish(), self.subscribe(drain=False))

    async def right(self):
        await asyncio.gather(self.publish(), self.subscribe(drain=True))


class StolenItem(Scenario, level="timing"):
    """A consumer is told that there is an item; another, who never waited, is faster."""

    def __init__(self):
        self.items = []
        self.waiters = deque()

    async def get(self):
        if not self.items:
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            await waiter
        return self.items.pop()

    async def get_in_a_loop(self):
        while not self.items:
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            await waiter
        return self.items.pop()

    async def put(self, seconds):
        await sleep(seconds)
        self.items.append("item")
        if self.waiters:
            self.waiters.popleft().set_result(None)

    async def main(self, get):
        await asyncio.gather(get(), self.put(0.02), after(0.03, get), self.put(0.06))

    async def wrong(self):
        await self.main(self.get)

    async def right(self):
        await self.main(self.get_in_a_loop)


class NewOneInTheOldPlace(Scenario, level="io"):
    """A broken connection is looked up by its place in the pool after an await; a new one stands there by now: ABA."""

    class Connection:
        is_open = True

        def close(self):
            self.is_open = False

    def __init__(self):
        self.pool = [self.Connection()]

    async def log(self, text):
        await sleep(0.01)

    async def discard(self, place):
        await self.log(f"connection {place} is broken")
        self.pool[place].close()

    async def discard_that_one(self, place):
        connection = self.pool[place]
        await self.log(f"connection {place} is broken")
        connection.close()

    async def replace(self, place):
        self.pool[place] = self.Connection()

    async def query(self, place):
        assert self.pool[place].is_open

    async def main(self, discard):
        await asyncio.gather(discard(0), after(0.025, self.replace, 0))
        await self.query(0)

    async def wrong(self):
        await self.main(self.discard)

    async def right(self):
        await self.main(self.discard_that_one)


class LeaseRunsOut(Scenario, level="io"):
    """The leader checks its lease, works a little and writes; by then another leads."""

    def __init__(self):
        self.owner = None
        self.expires = 0.0
        self.log = []

    def take(self, name):
        now = asyncio.get_running_loop().time()
        if self.owner in (None, name) or now > self.expires:
            self.owner = name
            self.expires = now + 0.02
            return True
        return False

    async def write(self, name, text):
        self.log.append((name, self.owner, text))

    async def write_fenced(self, name, text):
        if name == self.owner:
            await self.write(name, text)

    async def lead(self, name, write):
        for number in range(3):
            while not self.take(name):
                await sleep(0.01)
            await sleep(0.005)
            await write(name, number)

    async def main(self, write):
        await asyncio.gather(self.lead("a", write), after(0.01, self.lead, "b", write))
        assert all(name == owner for name, owner, _ in self.log)

    async def wrong(self):
        await self.main(self.write)

    async def right(self):
        await self.main(self.write_fenced)


class RateLimiterBurst(Scenario, level="io"):
    """Who had to wait for the next window does not look again whether there is room in it."""

    def __init__(self):
        self.sent = []

    def recent(self):
        now = asyncio.get_running_loop().time()
        return [moment for moment in self.sent if moment > now - 0.0499]

    async def send(self):
        recent = self.recent()
        if len(recent) >= 2:
            await sleep(recent[0] + 0.05 - asyncio.get_running_loop().time())
        self.sent.append(asyncio.get_running_loop().time())
        assert len(self.recent()) <= 2

    async def send_after_a_look(self):
        while len(recent := self.recent()) >= 2:
            await sleep(recent[0] + 0.05 - asyncio.get_running_loop().time())
        self.sent.append(asyncio.get_running_loop().time())
        assert len(self.recent()) <= 2

    async def main(self, send):
        await asyncio.gather(send(), after(0.03, send), after(0.04, send), after(0.07, send))

    async def wrong(self):
        await self.main(self.send)

    async def right(self):
        await self.main(self.send_after_a_look)


# --- no time passes at all --------------------------------------------------------------------------------------------


class LostUpdateInMemory(Scenario, level="tasks"):
    """A fake that only yields: the second deposit starts one step later, which is enough as long as nobody is late."""

    def __init__(self):
        self.balance = 100
        self.lock = asyncio.Lock()

    async def deposit(self, amount):
        balance = self.balance
        await sleep(0)
        self.balance = balance + amount

    async def locked_deposit(self, amount):
        async with self.lock:
            await self.deposit(amount)

    async def main(self, deposit):
        await asyncio.gather(deposit(10), after(0, deposit, 20))
        assert self.balance == 130

    async def wrong(self):
        await self.main(self.deposit)

    async def right(self):
        await self.main(self.locked_deposit)


class WaitersInOrder(Scenario, level="tasks"):
    """Two wait for one event; what the second needs is made by the first when it wakes."""

    def __init__(self):
        self.started = asyncio.Event()
        self.made = asyncio.Event()
        self.directory = None

    async def make(self):
        await self.started.wait()
        self.directory = "data"
        self.made.set()

    async def fill(self, ready):
        await ready.wait()
        assert self.directory is not None

    async def main(self, ready):
        waiting = asyncio.gather(self.make(), self.fill(ready))
        await sleep(0.01)
        self.started.set()
        await waiting

    async def wrong(self):
        await self.main(self.started)

    async def right(self):
        await self.main(self.made)


class SeenAfterOneStep(Scenario, level="tasks"):
    """An item is put into a queue; after `sleep(0)` the consumer has surely seen it."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.seen = []

    async def consume(self):
        while True:
            self.seen.append(await self.queue.get())
            self.queue.task_done()

    async def main(self, settle):
        consumer = asyncio.create_task(self.consume())
        await sleep(0.01)
        for item in range(3):
            self.queue.put_nowait(item)
            await settle()
            assert self.seen[-1] == item
        consumer.cancel()
        await asyncio.wait({consumer})

    async def wrong(self):
        await self.main(partial(sleep, 0))

    async def right(self):
        await self.main(self.queue.join)
