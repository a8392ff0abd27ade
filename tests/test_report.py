"""DeadlockError: every blocked task, what it awaits, and the line of the user's that does."""

import asyncio
import re
import traceback

import pytest

from helpers import LEVELS, opened, run
from virtualloop import DeadlockError
from virtualloop._waits import Survey


async def never():
    await asyncio.get_running_loop().create_future()


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
    assert "  't0', 't1', 't2' and 2 more await a future, which is not done\n" in text
    assert "  'Task-1' awaits gather() of 't0', 't1', 't2' and 2 more\n" in text
    assert not re.search(r"0x[0-9a-f]+", text)


def test_a_task_that_runs_a_coroutine_of_asyncio_itself():
    async def main():
        await asyncio.gather(asyncio.create_task(asyncio.Queue().get(), name="q"))

    with pytest.raises(DeadlockError, match=r"'q' awaits get\(\) from a Queue, which is empty"):
        run(main)


def test_a_message_has_forty_lines_at_most():
    async def deep(n):
        if n:
            await deep(n - 1)
        else:
            await never()

    async def main():
        # Each waits in another way, so none can be told of together.
        names = {}
        for k in range(50):
            exec(f"async def wait_{k}(deep):\n    await deep({k})\n", names)  # noqa: S102  # it stands here
        await asyncio.gather(*[names[f"wait_{k}"](deep) for k in range(50)])

    with pytest.raises(DeadlockError) as caught:
        run(main)
    text = str(caught.value)

    assert "51 tasks are blocked:" in text
    assert re.search(r"\n  and \d+ more: 'Task-\d+', 'Task-\d+', 'Task-\d+' and \d+ more\n", text)
    assert len(text.splitlines()) <= 40


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


def test_an_error_does_not_hold_what_the_report_has_looked_at():
    async def main():
        asyncio.create_task(never(), name="other")
        await never()

    with pytest.raises(DeadlockError) as caught:
        run(main)
    held = [value for frame, _ in traceback.walk_tb(caught.value.__traceback__) for value in frame.f_locals.values()]

    assert {task.get_name() for task in held if isinstance(task, asyncio.Task)} == {"Task-1"}
    assert not any(isinstance(value, Survey) for value in held)
