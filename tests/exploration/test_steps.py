"""What tells runs apart."""

import asyncio
import weakref
from dataclasses import replace

import pytest

from helpers import as_explored
from virtualloop import choose, explore
from virtualloop._exploration import body, steps
from virtualloop.schedules import Random


def test_a_sleep_is_told_from_a_bare_yield_on_the_same_line():
    async def main():
        await asyncio.sleep(choose([0, 1]))

    assert explore(main, runs=10).distinct == 2


def test_a_line_below_a_sleep_is_told_from_others():
    async def inner(first):
        if first:
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(0)

    async def main():
        await inner(choose([True, False]))

    assert explore(main, runs=10).distinct == 2


class Seen(steps.StepLog):
    """One that is not known for what it is."""


@pytest.mark.parametrize("many", [steps.MANY, 20, 2])
@pytest.mark.parametrize("order", ["fifo", "timing", "io", "tasks"])
def test_steps_are_noted_in_line_as_around_them(monkeypatch, order, many):
    async def inner(delay):
        await asyncio.sleep(delay)

    async def main():
        seen = []

        async def task(k):
            await asyncio.sleep(0)
            await asyncio.wait([asyncio.ensure_future(inner(0.01 * k)), asyncio.ensure_future(inner(0))])
            async with asyncio.timeout(0.01):
                await inner(0.005)

        loop = asyncio.get_running_loop()
        for count in range(5):
            loop.call_soon(lambda *args: seen.append(args), *range(count))
        await asyncio.gather(*map(task, range(5)), return_exceptions=True)
        assert seen == [(), (0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)]

    for module in (steps, body):
        monkeypatch.setattr(module, "MANY", many)
    program = replace(as_explored(main, replies=True), number=0)
    found = set()
    for seed in range(20):
        one, other = (program._run(Random(seed), log, order) for log in (steps.StepLog(), Seen()))
        assert (one.digest, one.steps, one.kinds) == (other.digest, other.steps, other.kinds)
        assert one.failed is None
        found.add(one.digest)
    assert len(found) > 1 or order == "fifo"


def test_a_task_that_has_ended_is_gone_while_the_next_callback_runs():
    seen = []

    async def child():
        """End at once."""

    async def main():
        task = asyncio.ensure_future(child())
        gone = weakref.ref(task)
        del task
        asyncio.get_running_loop().call_soon(lambda: seen.append(gone() is None))
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))

    explore(main, runs=20)

    assert len(seen) > 1
    assert all(seen)
