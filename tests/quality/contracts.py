"""Programs that are right, many of them because of an order that asyncio keeps.

A search that reports one of these has raised a false alarm. Those in `RIGHT` hold whatever is late; those in
`RIGHT_IN_ORDER` need woken tasks to resume in the order in which they were woken, which order "tasks" gives up by
definition.

Nothing here knows virtualloop, so that other loops can be measured by the same file.
"""

import asyncio
from asyncio import sleep

# --- call_soon is first in, first out ---------------------------------------------------------------------------------


async def callbacks_in_order():
    """What is called soon is called in that order, whoever calls."""
    calls = []
    loop = asyncio.get_running_loop()

    async def connect(name):
        await sleep(0.01)
        for step in ("made", "received", "lost"):
            loop.call_soon(calls.append, (name, step))

    await asyncio.gather(connect("a"), connect("b"))
    await sleep(0.1)
    for name in ("a", "b"):
        assert [step for who, step in calls if who == name] == ["made", "received", "lost"]


async def callback_before_waiter():
    """A done-callback runs before a waiter that was added after it."""
    finished = []

    async def work(i):
        await sleep(0.01 * (i % 3))

    async def watch(i):
        task = asyncio.create_task(work(i))
        task.add_done_callback(lambda _: finished.append(i))
        await task
        assert i in finished

    await asyncio.gather(*map(watch, range(6)))


async def callbacks_of_one_future():
    """The callbacks of a future run in the order in which they were added."""
    calls = []
    future = asyncio.get_running_loop().create_future()
    for i in range(5):
        future.add_done_callback(lambda _, i=i: calls.append(i))
    asyncio.get_running_loop().call_later(0.01, future.set_result, None)
    await future
    assert calls == list(range(5))


async def protocol_with_a_reader():
    """A transport's callbacks fill a buffer in order, with a reader that wakes in between."""
    buffer, arrived, closed = [], asyncio.Event(), False
    loop = asyncio.get_running_loop()

    def receive(data):
        assert not closed
        buffer.append(data)
        arrived.set()

    def lose():
        nonlocal closed
        closed = True
        arrived.set()

    def poll():
        for i in range(3):
            loop.call_soon(receive, i)
        loop.call_soon(lose)

    loop.call_later(0.01, poll)
    while not closed:
        await arrived.wait()
        arrived.clear()
    assert buffer == [0, 1, 2]


# --- tasks start in the order of their creation -----------------------------------------------------------------------


async def started_in_order():
    """Tasks made one after the other take their first steps in that order."""
    started = []

    async def work(i):
        started.append(i)
        await sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for i in range(5):
            group.create_task(work(i))
    assert started == list(range(5))


async def started_before_the_first_await_is_over():
    """A task that was created has started when its maker resumes from `sleep(0)`."""
    started = asyncio.Event()

    async def serve():
        started.set()
        await sleep(0.01)

    for _ in range(3):
        task = asyncio.create_task(serve())
        await sleep(0)
        assert started.is_set()
        started.clear()
        await task


# --- woken tasks resume in the order in which they were woken ---------------------------------------------------------


async def broadcast_in_order():
    """Those who wait for an event resume in the order in which they began to wait."""
    event, resumed = asyncio.Event(), []

    async def wait(i):
        await event.wait()
        resumed.append(i)

    tasks = [asyncio.create_task(wait(i)) for i in range(4)]
    await sleep(0.01)
    event.set()
    await asyncio.gather(*tasks)
    assert resumed == list(range(4))


async def handed_over_in_order():
    """Consumers that wait are served in the order in which they came."""
    queue, served = asyncio.Queue(), []

    async def consume(i):
        served.append((i, await queue.get()))

    tasks = [asyncio.create_task(consume(i)) for i in range(3)]
    await sleep(0.01)
    for item in range(3):
        queue.put_nowait(item)
    await asyncio.gather(*tasks)
    assert served == [(i, i) for i in range(3)]


async def seen_after_one_step():
    """A consumer that waits has taken what was put when the producer resumes from `sleep(0)`."""
    queue, seen = asyncio.Queue(), []

    async def consume():
        while True:
            seen.append(await queue.get())

    consumer = asyncio.create_task(consume())
    await sleep(0.01)
    for item in range(3):
        queue.put_nowait(item)
        await sleep(0)
        assert seen[-1] == item
    consumer.cancel()
    await asyncio.wait([consumer])


async def alternating():
    """Two tasks that yield take turns."""
    turns = []

    async def player(name):
        for _ in range(5):
            turns.append(name)
            await sleep(0)

    await asyncio.gather(player("ping"), player("pong"))
    assert turns == ["ping", "pong"] * 5


async def locked_in_order():
    """A lock goes to those who wait in the order in which they came."""
    lock, order = asyncio.Lock(), []

    async def use(i):
        async with lock:
            order.append(i)
            await sleep(0.01)

    await asyncio.gather(*map(use, range(4)))
    assert order == list(range(4))


async def fair_condition():
    """notify() wakes who has waited longest."""
    condition, resumed = asyncio.Condition(), []

    async def wait(i):
        async with condition:
            await condition.wait()
            resumed.append(i)

    tasks = [asyncio.create_task(wait(i)) for i in range(3)]
    await sleep(0.01)
    for _ in range(3):
        async with condition:
            condition.notify()
        await sleep(0.01)
    await asyncio.gather(*tasks)
    assert resumed == list(range(3))


async def cancelled_when_the_maker_resumes():
    """A task that sleeps has seen its cancellation when who cancelled it resumes from `sleep(0)`."""

    async def work():
        await sleep(1)

    for _ in range(3):
        task = asyncio.create_task(work())
        await sleep(0.01)
        task.cancel()
        await sleep(0)
        assert task.cancelled()


# --- right for other reasons ------------------------------------------------------------------------------------------


async def cancelled_then_waited_for():
    """The clean-up of a task is over when who cancelled it has waited for it."""
    clean = []

    async def work(i):
        try:
            await sleep(1)
        finally:
            await sleep(0.005)
            clean.append(i)

    tasks = [asyncio.create_task(work(i)) for i in range(3)]
    await sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert sorted(clean) == [0, 1, 2]
    assert all(task.cancelled() for task in tasks)


async def generous_timeout():
    """A timeout that is far away."""
    async with asyncio.timeout(1):
        await asyncio.gather(*[sleep(0.01 * i) for i in range(10)])


async def deadline_reached():
    """Who sleeps until a deadline wakes at or after it."""
    loop = asyncio.get_running_loop()

    async def until(deadline):
        while (left := deadline - loop.time()) > 0:
            await sleep(left)
        assert loop.time() >= deadline

    await asyncio.gather(*[until(loop.time() + 0.013 * i) for i in range(5)])


async def pipeline():
    """A producer, a consumer, a bounded queue and an end mark."""
    items, results = asyncio.Queue(3), []

    async def produce():
        for i in range(20):
            await sleep(0.001 * (i % 5))
            await items.put(i)
        await items.put(None)

    async def consume():
        while (item := await items.get()) is not None:
            await sleep(0.003)
            results.append(item)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        group.create_task(consume())
    assert results == list(range(20))


async def limited():
    """Never more than three at a time, and none is forgotten."""
    running = most = 0
    semaphore = asyncio.Semaphore(3)

    async def work(i):
        nonlocal running, most
        async with semaphore:
            running += 1
            most = max(most, running)
            await sleep(0.01 * (i % 4))
            running -= 1

    await asyncio.gather(*map(work, range(15)))
    assert most == 3
    assert running == 0


async def group_that_fails():
    """A group that fails waits for the clean-up of all its tasks."""
    cleaned = []

    async def worker(i):
        try:
            await sleep(1 + i)
        finally:
            await sleep(0)
            cleaned.append(i)

    async def fail():
        await sleep(0.01)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            for i in range(5):
                group.create_task(worker(i))
            group.create_task(fail())
    except* LookupError:
        pass
    assert sorted(cleaned) == list(range(5))


async def condition_waits_for_stock():
    """A condition with a predicate serves everybody."""
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
            await sleep(0.01)
            async with ready:
                stock += 1
                ready.notify()

    await asyncio.gather(*[take(i) for i in range(4)], supply())
    assert sorted(taken) == list(range(4))


RIGHT = [
    callbacks_in_order,
    callback_before_waiter,
    callbacks_of_one_future,
    protocol_with_a_reader,
    started_in_order,
    started_before_the_first_await_is_over,
    locked_in_order,
    cancelled_then_waited_for,
    generous_timeout,
    deadline_reached,
    pipeline,
    limited,
    group_that_fails,
    condition_waits_for_stock,
]
RIGHT_IN_ORDER = [
    broadcast_in_order,
    handed_over_in_order,
    seen_after_one_step,
    alternating,
    fair_condition,
    cancelled_when_the_maker_resumes,
]
