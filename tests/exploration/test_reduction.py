"""A failure on its way to a small one: what it may cost, where it is made, and what ends it."""

import asyncio
import concurrent.futures
import signal

import pytest

import virtualloop
from virtualloop import explore
from virtualloop._exploration import reduction
from virtualloop.schedules import _token


async def crowded():
    """Two of forty replies matter."""
    shown = []

    async def reply(k):
        await asyncio.sleep(0.001 * (k % 7))
        shown.append(k)

    await asyncio.gather(*map(reply, range(40)))
    assert shown.index(8) < shown.index(15)


def size(failure):
    return sum(answer != 0 for answer, _, _ in _token.decode(failure.token).choices)


def test_an_executor_brings_the_same():
    serial = explore(crowded, seed=1, epoch=0, check=False).failure
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        same = explore(crowded, seed=1, epoch=0, check=False, executor=executor).failure

    assert (same.token, same.report) == (serial.token, serial.report)
    assert size(same) == 1


def test_it_costs_no_more_steps_than_it_may(monkeypatch):
    runs = []

    async def main():
        runs.append(None)
        await asyncio.gather(*[asyncio.sleep(0.001 * k) for k in range(300)])
        if virtualloop.choose(range(1000)) >= 500:
            raise LookupError

    def made():
        runs.clear()
        explore(main, check=False)
        return len(runs)

    all_of_them = made()
    monkeypatch.setattr(reduction, "MOST_STEPS", 2000)

    assert made() < all_of_them


def test_ctrl_c_ends_it_with_the_failure_as_it_is():
    runs = []

    async def main():
        runs.append(None)
        await crowded()

    explore(main, seed=1, check=False, shrink=False)
    until_it_fails = len(runs)
    runs.clear()

    async def interrupted():
        runs.append(None)
        if len(runs) == until_it_fails + 3:
            signal.raise_signal(signal.SIGINT)
        await crowded()

    failure = explore(interrupted, seed=1, check=False).failure

    assert isinstance(failure.exception, AssertionError)
    assert "Replay it: " in failure.report


def test_all_of_one_kind_go_first():
    calls = []
    answers = [1] * 30 + [2]

    def attempts(candidates):
        for candidate in candidates:
            calls.append(candidate)
            yield candidate if candidate[-1] else None

    groups = [list(range(30)), [30]]
    *_, small = reduction.shrink(answers, attempts, lambda: groups)

    assert calls[0] == [0] * 30 + [2]
    assert small == [0] * 30 + [1]


@pytest.mark.parametrize("eager", [False, True] if hasattr(asyncio, "eager_task_factory") else [False])
def test_a_task_is_cancelled_where_it_first_waits(eager):
    """Also one that began within the step that made it."""

    async def main():
        if eager:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        waiter = asyncio.get_running_loop().create_future()
        taken = []

        async def user():
            taken.append(None)
            await waiter
            taken.clear()

        task = asyncio.create_task(user(), name="user")
        await asyncio.sleep(0)
        waiter.done() or waiter.set_result(None)
        await asyncio.wait([task])
        assert not taken, "taken and not given back"

    assert explore(main, cancel="user", check=False).failure is not None


def test_tasks_are_cancelled_twice_where_once_finds_nothing():
    async def main():
        """The first cancellation is survived; whoever is cancelled while it cleans up leaves a mess."""
        clean = asyncio.Event()

        async def user():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)
            clean.set()

        await asyncio.wait([asyncio.create_task(user(), name="user")])
        assert clean.is_set() or asyncio.get_running_loop().time() == 0, "not cleaned up"

    failure = explore(main, cancel="user", check=False, order="fifo").failure

    assert sum(answer for answer, _, kind in _token.decode(failure.token).choices if kind == "cancel") == 2
