"""The programs that are timed: each is a coroutine function without arguments, small enough to be run many times.

They use nothing but asyncio, so every loop runs the same code. A program's time is that of `run_until_complete`.
"""

import asyncio

SWITCHES = 40_000
"""Task switches in each of the switch programs, whatever the number of tasks."""

JUMPS = 5000
"""Sleeps of one task, and jumps of the clock."""

SIZE = 1.0
"""What part of each program is run: where instructions are counted, which takes 50 times as long, a part is enough."""


def times(count):
    return range(max(int(count * SIZE), 1))


def switch(tasks):
    """Tasks that yield to each other with sleep(0)."""

    async def main():
        async def task(rounds):
            for _ in range(rounds):
                await asyncio.sleep(0)

        await asyncio.gather(*[task(max(len(times(SWITCHES)) // tasks, 4)) for _ in range(tasks)])

    return main


async def call_soon():
    """A callback that queues the next one."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def callback(left):
        if left:
            loop.call_soon(callback, left - 1)
        else:
            done.set_result(None)

    for _ in range(10):
        loop.call_soon(int)
    loop.call_soon(callback, len(times(30_000)))
    await done


async def call_later():
    """Timers set and run: many at once, some of them for the same deadline."""
    loop = asyncio.get_running_loop()
    for round_ in times(20):
        done = loop.create_future()
        for i in range(1000):
            loop.call_later(0.0001 * (i * 7919 % 500) / 500, int)
        loop.call_later(0.0002, done.set_result, round_)
        await done


async def sleep():
    """Tasks that sleep for a while, again and again; 0.1 ms, so that stock asyncio's waiting does not count."""

    async def task():
        for _ in range(40):
            await asyncio.sleep(0.0001)

    await asyncio.gather(*[task() for _ in times(200)])


async def queue():
    """One task hands items to another through a queue that holds one."""
    items: asyncio.Queue[int] = asyncio.Queue(1)

    async def produce():
        for i in times(15_000):
            await items.put(i)

    async def consume():
        for _ in times(15_000):
            await items.get()

    await asyncio.gather(produce(), consume())


async def timeout():
    """Timeouts set and cancelled, with a switch in between."""

    async def task():
        for _ in range(100):
            async with asyncio.timeout(10):
                await asyncio.sleep(0)

    await asyncio.gather(*[task() for _ in times(50)])


async def jump():
    """One task that sleeps, and nothing else: the clock jumps each time."""
    for _ in times(JUMPS):
        await asyncio.sleep(0.00001)


async def spawn():
    """A task made and awaited, again and again."""

    async def nothing():
        pass

    for _ in times(5000):
        await asyncio.create_task(nothing())


async def groups():
    """Task groups of 50."""

    async def task():
        await asyncio.sleep(0)

    for _ in times(100):
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(task())


async def unit_test(pause=0.0001):
    """What a unit test does: three tasks, ten sleeps, a queue, a timeout."""
    items: asyncio.Queue[int] = asyncio.Queue(1)

    async def produce():
        for i in range(5):
            await asyncio.sleep(pause)
            await items.put(i)

    async def consume():
        async with asyncio.timeout(10 + 100 * pause):
            return [await items.get() for _ in range(5)]

    async def tick():
        for _ in range(5):
            await asyncio.sleep(pause)

    _, got, _ = await asyncio.gather(produce(), consume(), tick())
    assert got == [0, 1, 2, 3, 4]


PROGRAMS = {
    "switch, 2 tasks": switch(2),
    "switch, 100 tasks": switch(100),
    "switch, 1,000 tasks": switch(1000),
    "switch, 10,000 tasks": switch(10_000),
    "call_soon": call_soon,
    "call_later": call_later,
    "sleep": sleep,
    "queue": queue,
    "timeout": timeout,
}

# What tests are made of; not in the mean, which is over the same programs as ever.
PARTS = {"jump": jump, "spawn": spawn, "groups": groups}
