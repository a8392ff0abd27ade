"""Known kinds of race are found within a few seeds, and programs that are right never fail.

Each bug passes on stock asyncio every time: it needs a reply that is late, by less than 50 ms. `WITHIN` is what the
order "io" is held to; each figure is three times or more what the bug takes on average.
"""

import asyncio

import pytest

from helpers import run
from virtualloop import DeadlockError

# --- bugs -------------------------------------------------------------------------------------------------------------


async def lost_update():
    """Read, wait, write: fine as long as nobody else does it at the same time."""
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        before = balance
        await asyncio.sleep(0.01)
        balance = before + amount

    await asyncio.gather(deposit(10, 0.0), deposit(20, 0.03))
    assert balance == 130


async def stale_reply():
    """Search as you type: the reply that comes last wins, whichever question it answers."""
    shown = None

    async def search(text, latency):
        nonlocal shown
        await asyncio.sleep(latency)
        shown = text

    first = asyncio.create_task(search("vir", 0.02))
    await asyncio.sleep(0.015)
    second = asyncio.create_task(search("virtual", 0.02))
    await asyncio.gather(first, second)
    assert shown == "virtual"


async def connected_twice():
    """Check, wait, set: two users, each finding no connection."""
    connections = []
    current = None

    async def connect():
        await asyncio.sleep(0.01)
        connections.append(object())
        return connections[-1]

    async def use(after):
        nonlocal current
        await asyncio.sleep(after)
        if current is None:
            current = await connect()

    await asyncio.gather(use(0.0), use(0.03))
    assert len(connections) == 1


async def slept_instead_of_waited():
    """A server takes 20 ms to start; surely 50 are enough."""
    started = False

    async def server():
        nonlocal started
        await asyncio.sleep(0.02)
        started = True

    task = asyncio.create_task(server())
    await asyncio.sleep(0.05)
    assert started
    await task


async def locks_in_opposite_order():
    """Each takes one lock, then the other's."""
    one, two = asyncio.Lock(), asyncio.Lock()

    async def transfer(first, second, after):
        await asyncio.sleep(after)
        async with first:
            await asyncio.sleep(0.01)
            async with second:
                pass

    await asyncio.gather(transfer(one, two, 0.0), transfer(two, one, 0.03))


async def used_after_close():
    """The last request is fast, so it is done by the time of the close."""
    closed = False

    async def request():
        await asyncio.sleep(0.01)
        assert not closed

    async def close():
        nonlocal closed
        await asyncio.sleep(0.03)
        closed = True

    await asyncio.gather(request(), close())


async def oversold():
    """The stock is checked before the payment, and taken after it."""
    stock = 1
    sold = 0

    async def order(after):
        nonlocal stock, sold
        await asyncio.sleep(after)
        if stock > 0:
            await asyncio.sleep(0.01)
            stock -= 1
            sold += 1

    await asyncio.gather(*[order(0.03 * i) for i in range(3)])
    assert sold == 1


async def timed_out_but_done():
    """A timeout says that the work was not done, and the caller does it again."""
    done = []

    async def write(item):
        await asyncio.sleep(0.02)
        done.append(item)
        await asyncio.sleep(0.02)

    try:
        await asyncio.wait_for(write("row"), 0.06)
    except TimeoutError:
        await write("row")
    assert done == ["row"]


WITHIN = {
    lost_update: 20,
    stale_reply: 15,
    connected_twice: 20,
    slept_instead_of_waited: 15,
    locks_in_opposite_order: 30,
    used_after_close: 15,
    oversold: 15,
    timed_out_but_done: 30,
}


def first_failure(program, order, seeds):
    for runs, seed in enumerate(seeds, 1):
        try:
            run(program, seed, order=order)
        except (AssertionError, DeadlockError):
            return runs
    return None


@pytest.mark.parametrize("program", WITHIN, ids=lambda p: p.__name__)
def test_passes_on_stock_asyncio_and_without_a_seed(program):
    asyncio.run(program())
    run(program)


@pytest.mark.parametrize("program", WITHIN, ids=lambda p: p.__name__)
@pytest.mark.parametrize("start", [0, 1000, 2000])
def test_found_at_io(program, start):
    runs = first_failure(program, "io", range(start, start + WITHIN[program]))

    assert runs is not None


@pytest.mark.parametrize("program", WITHIN, ids=lambda p: p.__name__)
def test_found_by_a_bare_seed(program):
    assert first_failure(program, "tasks", range(2 * WITHIN[program])) is not None


# --- programs that are right ------------------------------------------------------------------------------------------


async def locked_update():
    balance = 100
    lock = asyncio.Lock()

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        async with lock:
            before = balance
            await asyncio.sleep(0.01)
            balance = before + amount

    await asyncio.gather(deposit(10, 0.0), deposit(20, 0.0), deposit(30, 0.03))
    assert balance == 160


async def cancelled_stale_reply():
    shown = None
    task = None

    async def search(text):
        nonlocal shown
        await asyncio.sleep(0.02)
        shown = text

    for text in ("v", "vir", "virtual"):
        if task is not None:
            task.cancel()
        task = asyncio.create_task(search(text))
        await asyncio.sleep(0.015)
    await asyncio.wait([task])
    assert shown == "virtual"


async def pipeline():
    items, results = asyncio.Queue(3), []

    async def produce():
        for i in range(20):
            await asyncio.sleep(0.001 * (i % 5))
            await items.put(i)
        await items.put(None)

    async def consume():
        while (item := await items.get()) is not None:
            await asyncio.sleep(0.003)
            results.append(item)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        group.create_task(consume())
    assert results == list(range(20))


async def generous_timeout():
    async with asyncio.timeout(1):
        await asyncio.gather(*[asyncio.sleep(0.01 * i) for i in range(10)])


async def waited_for():
    started = asyncio.Event()

    async def server():
        await asyncio.sleep(0.02)
        started.set()

    task = asyncio.create_task(server())
    await started.wait()
    await task


async def limited():
    running = most = 0
    semaphore = asyncio.Semaphore(3)

    async def work(i):
        nonlocal running, most
        async with semaphore:
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01 * (i % 4))
            running -= 1

    await asyncio.gather(*map(work, range(15)))
    assert most == 3
    assert running == 0


async def group_that_fails():
    cleaned = []

    async def worker(i):
        try:
            await asyncio.sleep(1 + i)
        finally:
            await asyncio.sleep(0)
            cleaned.append(i)

    async def fail():
        await asyncio.sleep(0.01)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            for i in range(5):
                group.create_task(worker(i))
            group.create_task(fail())
    except* LookupError:
        pass
    assert sorted(cleaned) == list(range(5))


async def condition():
    ready = asyncio.Condition()
    stock = 0
    taken = []

    async def take(i):
        nonlocal stock
        async with ready:
            await ready.wait_for(lambda: stock > 0)
            stock -= 1
            taken.append(i)

    async def supply():
        nonlocal stock
        for _ in range(4):
            await asyncio.sleep(0.01)
            async with ready:
                stock += 1
                ready.notify()

    await asyncio.gather(*[take(i) for i in range(4)], supply())
    assert sorted(taken) == list(range(4))


RIGHT = [
    locked_update,
    cancelled_stale_reply,
    pipeline,
    generous_timeout,
    waited_for,
    limited,
    group_that_fails,
    condition,
]
#: Deadlines further apart than what varies: right as far as time alone goes, and stock asyncio keeps them in order.
RIGHT_IN_TIME = [stale_reply, used_after_close]


@pytest.mark.parametrize("program", RIGHT, ids=lambda p: p.__name__)
@pytest.mark.parametrize("order", ["fifo", "timing", "io", "tasks"])
def test_never_fails_where_right(program, order):
    for seed in range(200):
        run(program, seed, order=order)


@pytest.mark.parametrize("program", RIGHT_IN_TIME, ids=lambda p: p.__name__)
def test_timing_raises_no_alarm_about_the_order_of_deadlines(program):
    """No timer overtakes an earlier one on stock asyncio, so at "timing" these do not fail, and at "io" they do."""
    assert first_failure(program, "timing", range(300)) is None
