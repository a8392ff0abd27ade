"""What tells runs apart."""

import asyncio

from virtualloop import choose, explore


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
