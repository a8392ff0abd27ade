"""until(): from a coroutine, from outside, and on other loops."""

import asyncio
import time

import pytest

import virtualloop
from helpers import LEVELS, opened, run
from virtualloop import DeadlockError, VirtualLoop


@pytest.mark.parametrize("order", LEVELS)
def test_goes_on_as_soon_as_it_is_true(order):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        loop.call_later(1, seen.append, 1)
        loop.call_later(2, seen.append, 2)
        await virtualloop.until(lambda: len(seen) == 1)
        assert loop.time() == 1
        await virtualloop.until(lambda: seen, within=0)  # it is true already
        await virtualloop.until(lambda: len(seen) == 2, within=1.0)
        assert loop.time() == 2

    run(main, order=order)


def test_what_is_true_only_for_a_moment_is_seen():
    async def main():
        value = 0

        async def blink():
            nonlocal value
            await asyncio.sleep(1)
            value = 1
            await asyncio.sleep(0)
            value = 0
            await asyncio.sleep(10)

        task = asyncio.create_task(blink())
        await virtualloop.until(lambda: value)
        assert asyncio.get_running_loop().time() == 1
        task.cancel()

    run(main)


def test_a_condition_that_is_true_needs_no_step():
    async def main():
        other = asyncio.create_task(asyncio.sleep(0))
        await asyncio.sleep(0)
        await virtualloop.until(lambda: True)
        assert not other.done()

    run(main)


def test_it_changes_no_order():
    """The same program with the same seed, whether somebody looks or not."""

    def program(*, looks):
        order = []

        async def worker(name):
            for i in range(4):
                await asyncio.sleep(0)
                order.append((name, i))
                await asyncio.sleep(0.01)

        async def main():
            if looks:
                virtualloop.always(lambda: True)
                virtualloop.sometimes(lambda: False, "never")
            await asyncio.gather(*[worker(name) for name in "abc"])

        return main, order

    for order in LEVELS:
        for seed in range(5):
            orders = []
            for looks in (False, True):
                main, seen = program(looks=looks)
                run(main, seed, order=order)
                orders.append(seen)
            assert orders[0] == orders[1]


def test_several_wait_and_are_woken_in_the_order_in_which_they_asked():
    async def main():
        done, woken = [], []

        async def waiter(name):
            await virtualloop.until(lambda: done)
            woken.append(name)

        tasks = [asyncio.create_task(waiter(name)) for name in "abc"]
        await asyncio.sleep(1)
        done.append(True)
        await asyncio.gather(*tasks)
        assert woken == ["a", "b", "c"]

    run(main)


def test_time_that_is_over():
    async def main():
        event = asyncio.Event()
        blocked = asyncio.create_task(event.wait(), name="blocked")
        with pytest.raises(TimeoutError) as info:
            await virtualloop.until(lambda: False, within=3)
        assert asyncio.get_running_loop().time() == 3
        event.set()
        await blocked
        return str(info.value)

    text = run(main)
    assert text.startswith("until() has waited for 3 s, and its condition is not true.\nAt t=3:\n")
    assert "'blocked' awaits an Event" in text or "'blocked' awaits wait()" in text
    assert "await virtualloop.until(lambda: False, within=3)" in text


def test_a_limit_that_is_not_needed_is_gone():
    async def main():
        seen = []
        asyncio.get_running_loop().call_later(1, seen.append, 1)
        await virtualloop.until(lambda: seen, within=1000)

    with opened() as loop:
        loop.run_until_complete(main())
        loop.run_until_idle()
        assert loop.time() == 1


def test_who_is_cancelled_waits_no_more():
    looked = []

    async def main():
        task = asyncio.create_task(virtualloop.until(lambda: looked.append(1)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1)
        looked.clear()
        await asyncio.sleep(1)
        assert not looked

    run(main)


def test_what_the_condition_raises():
    async def main():
        values = [1]
        asyncio.get_running_loop().call_later(1, values.clear)
        with pytest.raises(IndexError):
            await virtualloop.until(lambda: values[0] == 2)
        with pytest.raises(IndexError):
            await virtualloop.until(lambda: values[0] == 2)

    run(main)


def test_a_deadlock_says_where_it_was_waited():
    async def main():
        await virtualloop.until(lambda: False)

    with pytest.raises(DeadlockError, match=r"'Task-1' awaits until\(\)\n.*, in .*main\n *await virtualloop.until"):
        run(main)


# --- from outside -----------------------------------------------------------------------------------------------------


def test_from_outside():
    with opened() as loop:
        queue = asyncio.Queue()
        loop.call_later(5, queue.put_nowait, "item")
        loop.until(lambda: not queue.empty(), within=5)
        assert loop.time() == 5
        loop.until(lambda: True)
        with pytest.raises(TimeoutError, match=r"until\(\) has waited for 2 s"):
            loop.until(queue.empty, within=2)
        assert loop.time() == 7
        with pytest.raises(DeadlockError):
            loop.until(queue.empty)
        assert loop.time() == 7


def test_stopped_early():
    with opened() as loop:
        loop.call_later(1, loop.stop)
        with pytest.raises(RuntimeError, match="stopped before the condition was true"):
            loop.until(lambda: False)


def test_from_outside_within_a_running_loop():
    async def main():
        with pytest.raises(RuntimeError, match=r"await virtualloop\.until\(\) instead"):
            asyncio.get_running_loop().until(lambda: True)

    run(main)


def test_numbers_of_tasks_stay():
    with opened() as loop:
        loop.until(lambda: True)
        loop.call_later(1, lambda: None)
        loop.until(lambda: loop.time() == 1)
        coro = asyncio.sleep(0)
        assert loop.create_task(coro).get_name() == "Task-1"
        loop.run_until_idle()


# --- elsewhere --------------------------------------------------------------------------------------------------------


def test_on_another_loop_it_polls():
    async def main():
        seen = []
        asyncio.get_running_loop().call_later(0.05, seen.append, 1)
        began = time.monotonic()
        await virtualloop.until(lambda: seen, within=60)
        assert time.monotonic() - began < 30
        with pytest.raises(TimeoutError, match=r"^until\(\) has waited for 0\.02 s"):
            await virtualloop.until(lambda: False, within=0.02)

    asyncio.run(main())


@pytest.mark.parametrize("looping", [VirtualLoop, asyncio.SelectorEventLoop])
def test_arguments_are_checked(looping):
    async def condition():
        return True

    async def main():
        with pytest.raises(TypeError, match="condition must be a plain function without arguments, not 3"):
            await virtualloop.until(3)
        with pytest.raises(TypeError, match="condition must be a plain function"):
            await virtualloop.until(condition)
        with pytest.raises(ValueError, match="within must"):
            await virtualloop.until(lambda: False, within=-1)
        with pytest.raises(TypeError, match="within must"):
            await virtualloop.until(lambda: False, within="soon")

    with asyncio.Runner(loop_factory=looping) as runner:
        runner.run(main())


def test_arguments_are_checked_from_outside():
    with opened() as loop:
        with pytest.raises(TypeError, match="condition must be a plain function"):
            loop.until(True)
        with pytest.raises(ValueError, match="within must"):
            loop.until(lambda: False, within=-1)
