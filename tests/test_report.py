"""DeadlockError: every blocked task, what it awaits, and the line of the user's that does."""

import asyncio
import re

import pytest

from helpers import LEVELS, opened, run
from virtualloop import DeadlockError


async def never():
    await asyncio.get_running_loop().create_future()


async def with_lock(lock):
    async with lock:
        pass


async def in_group(coroutine):
    async with asyncio.TaskGroup() as group:
        group.create_task(coroutine, name="child")


async def nested(coroutine):
    async def inner():
        await coroutine

    await inner()


async def taken(lock):
    await lock.acquire()
    return lock


WAITS = {
    "a future": never,
    "Lock.acquire()": lambda: with_lock(LOCK),
    "Semaphore.acquire()": lambda: with_lock(SEMAPHORE),
    "Event.wait()": lambda: nested(asyncio.Event().wait()),
    "Queue.get()": lambda: nested(asyncio.Queue().get()),
    "Barrier.wait()": lambda: nested(asyncio.Barrier(2).wait()),
    "TaskGroup.__aexit__()": lambda: in_group(never()),
    "gather()": lambda: nested(asyncio.gather(never())),
    "wait()": lambda: nested(asyncio.wait([asyncio.ensure_future(never())])),
    "task 'other'": lambda: nested(asyncio.create_task(never(), name="other")),
}
LOCK = SEMAPHORE = None


@pytest.mark.parametrize("what", WAITS)
def test_says_what_a_task_awaits_and_where(what):
    async def main():
        global LOCK, SEMAPHORE  # both belong to the loop of this test
        LOCK, SEMAPHORE = await taken(asyncio.Lock()), asyncio.Semaphore(0)
        await asyncio.create_task(WAITS[what](), name="blocked")

    with pytest.raises(DeadlockError) as caught:
        run(main)
    text = str(caught.value)

    assert text.startswith("nothing can run any more at t=0: no callback is ready, no timer is pending, no thread")
    assert re.search(rf"  'blocked' awaits {re.escape(what)}.*\n    File \".*test_report\.py\", line \d+, in ", text)
    assert f"  'Task-1' awaits task 'blocked'\n    File \"{__file__}\"" in text
    assert "await asyncio.create_task(WAITS[what](), name=" in text
    assert not re.search(r"0x[0-9a-f]+", text)


@pytest.mark.parametrize("order", LEVELS)
def test_lists_every_blocked_task_in_the_order_of_creation(order):
    async def main():
        await asyncio.sleep(3)
        await asyncio.gather(*[asyncio.create_task(never(), name=f"t{i}") for i in range(5)])

    with pytest.raises(DeadlockError) as caught:
        run(main, 7, order=order)
    text = str(caught.value)

    assert "at t=3:" in text
    assert "6 tasks are blocked:" in text
    assert re.findall(r"^  '(\S+)' awaits", text, re.MULTILINE) == ["Task-1", "t0", "t1", "t2", "t3", "t4"]


def test_a_task_that_runs_a_coroutine_of_asyncio_itself():
    async def main():
        await asyncio.gather(asyncio.create_task(asyncio.Queue().get(), name="q"))

    with pytest.raises(DeadlockError, match=r"'q' awaits Queue\.get\(\)"):
        run(main)


def test_an_async_generator_on_the_way():
    async def numbers():
        yield await never()

    async def main():
        async for _ in numbers():
            pass

    with pytest.raises(DeadlockError, match=r"(?s)'Task-1' awaits .*test_report\.py"):
        run(main)


def test_a_long_list_is_cut():
    async def main():
        await asyncio.gather(*[never() for _ in range(50)])

    with pytest.raises(DeadlockError, match=r"51 tasks are blocked:(?s:.*)\n  and 31 more\n"):
        run(main)


def test_no_task_at_all():
    with opened() as loop, pytest.raises(DeadlockError, match="No task is left either; nothing will call stop"):
        loop.run_forever()


def test_the_report_comes_out_of_asyncio_run_and_the_tasks_are_cleaned_up():
    cleaned = []

    async def main():
        try:
            await never()
        finally:
            cleaned.append(True)

    with pytest.raises(DeadlockError):
        run(main)
    assert cleaned == [True]


def test_the_loop_goes_on_after_a_report():
    with opened() as loop:
        future = loop.create_future()
        with pytest.raises(DeadlockError):
            loop.run_until_complete(future)
        loop.call_later(1, future.set_result, "late")

        assert loop.run_until_complete(future) == "late"


def test_driving_from_outside_is_no_deadlock():
    with opened() as loop:
        task = loop.create_task(never())
        loop.advance(1)
        loop.run_until_idle()
        task.cancel()
        loop.run_until_idle()

        assert task.cancelled()
