"""An exploration whose program reads from outside says so."""

import asyncio
import os
import warnings

import pytest

import virtualloop
from helpers import run


async def reads_a_pipe():
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    got = loop.create_future()
    loop.add_reader(read, lambda: got.set_result(os.read(read, 1)))
    os.write(write, b"x")
    await asyncio.gather(got, asyncio.sleep(0.01), asyncio.sleep(0.02))
    loop.remove_reader(read)
    os.close(read)
    os.close(write)


async def runs_a_process():
    process = await asyncio.create_subprocess_exec("true")
    await asyncio.gather(process.wait(), asyncio.sleep(0.01), asyncio.sleep(0.02))


@pytest.mark.parametrize("main", [reads_a_pipe, runs_a_process])
def test_it_is_said_once_and_where(main):
    with pytest.warns(UserWarning, match=r"^\w+\(\) reads from outside, at .*test_outside\.py:\d+: ") as caught:
        virtualloop.explore(main, runs=5)

    assert len(caught) == 1


def test_that_there_is_no_io_is_not_said_of_it():
    async def main():
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()

    with pytest.warns(UserWarning, match="reads from outside") as caught:
        virtualloop.explore(main, runs=5)

    assert len(caught) == 1


def test_it_is_said_of_a_failure_as_well():
    async def main():
        await reads_a_pipe()
        raise ValueError("it")

    with pytest.warns(UserWarning, match="reads from outside"), pytest.raises(ValueError, match="it"):
        virtualloop.explore(main, runs=5)


def test_nothing_is_said_of_others():
    async def main():
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))

    run(reads_a_pipe)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        virtualloop.explore(main, runs=5)


def test_an_exploration_ends_where_the_outside_is_not_the_same_again():
    left = []

    async def main():
        await reads_a_pipe()
        left.append(None)
        for _ in range(4):
            virtualloop.choose(range(2 if len(left) < 5 else 3))

    with pytest.warns(UserWarning, match="reads from outside"):
        exploration = virtualloop.explore(main)

    assert exploration.ended_by == "outside"
    assert "ended as what is outside was not the same again" in str(exploration)
