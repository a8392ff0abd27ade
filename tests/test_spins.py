"""Programs that keep the loop busy without end, and busy programs that do end."""

import asyncio
import re

import pytest

import virtualloop
from helpers import LEVELS, opened, run
from virtualloop import LivelockError


@pytest.mark.parametrize("order", LEVELS)
def test_polling_makes_time_pass(order):
    async def main():
        loop = asyncio.get_running_loop()
        ready = []
        loop.call_later(3600, ready.append, True)
        while not ready:
            await asyncio.sleep(0)
        return loop.time()

    # What is held may come in as late as anything.
    assert 3600.0 <= run(main, 3, order=order, spin_limit=100_000) <= 3600.05
    assert run(main, order=order, spin_limit=100_000) == 3600.0


def test_polling_makes_time_pass_in_debug_mode():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        ready = []
        loop.call_later(3600, ready.append, True)
        while not ready:
            await asyncio.sleep(0)
        return loop.time()

    assert run(main, spin_limit=20_000) == 3600.0


def test_many_pollers():
    async def main():
        loop = asyncio.get_running_loop()

        async def poll():
            while loop.time() < 1:
                await asyncio.sleep(0)

        loop.call_later(1, int)
        await asyncio.gather(*[poll() for _ in range(200)])
        return loop.time()

    assert run(main, spin_limit=100_000) == 1.0


def test_a_timer_that_is_always_set_again_makes_time_pass():
    with opened(spin_limit=100_000) as loop:

        def again():
            loop.call_at(0, again)

        again()
        loop.call_later(5, loop.stop)
        loop.run_forever()

        assert loop.time() == 5.0


def test_a_callback_that_is_always_queued_again_makes_time_pass():
    with opened(spin_limit=100_000) as loop:

        def again():
            loop.call_soon(again)

        again()
        loop.call_later(5, loop.stop)
        loop.run_forever()

        assert loop.time() == 5.0


@pytest.mark.parametrize("order", LEVELS)
def test_a_spin_without_a_timer_is_named(order):
    async def spinner():
        while True:
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(spinner(), asyncio.Event().wait())

    with pytest.raises(LivelockError) as caught:
        run(main, 3, order=order, spin_limit=100_000)
    text = str(caught.value)

    assert "the loop spins at t=0" in text
    assert re.search(r"'Task-2' resumes in .*spinner\(\)\n +File \".*test_spins\.py\", line \d+, in .*spinner", text)
    assert "await asyncio.sleep(0)" in text
    assert "VirtualLoop(spin_limit=...)" in text
    assert "Task-3" not in text


def test_a_spin_of_callbacks_is_named():
    with opened(spin_limit=100_000) as loop:

        def again():
            loop.call_soon(again)

        again()
        with pytest.raises(LivelockError, match=r"(?s)callback .*again\(\)\n.*test_spins\.py\", line \d+"):
            loop.run_forever()


def test_a_long_list_of_spinners_is_cut():
    async def spin():
        while True:
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*[spin() for _ in range(30)])

    with pytest.raises(LivelockError, match=r"\n  and 10 more\n"):
        run(main, spin_limit=20_000)


def test_tasks_that_wake_each_other_are_given_longer_and_named_in_the_end():
    async def main():
        there, back = asyncio.Queue(), asyncio.Queue()

        async def play(take, give):
            while True:
                give.put_nowait(await take.get())

        there.put_nowait("ball")
        await asyncio.gather(play(there, back), play(back, there))

    with pytest.raises(LivelockError, match=r"play\(\)"):
        run(main, spin_limit=20_000)


def test_work_at_one_instant_is_no_spin():
    """A million switches of a thousand tasks, with a timeout ahead that must not fire."""

    async def main():
        async def work():
            for _ in range(300):
                await asyncio.sleep(0)

        async with asyncio.timeout(10):
            await asyncio.gather(*[work() for _ in range(1000)])
        return asyncio.get_running_loop().time()

    assert run(main) < 1.0


def test_many_timeouts_at_one_instant_are_no_spin():
    async def main():
        for _ in range(100_000):
            async with asyncio.timeout(1):
                await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run(main, spin_limit=100_000) < 1.0


def test_advance_gets_past_a_spin():
    with opened(spin_limit=100_000) as loop:

        def again():
            loop.call_soon(again)

        again()
        loop.advance(2)
        loop.advance(0)

        assert loop.time() == 2.0


def test_awaited_advance_gets_past_a_spin():
    async def main():
        async def spin():
            while True:
                await asyncio.sleep(0)

        spinner = asyncio.create_task(spin())
        await virtualloop.advance(2)
        await virtualloop.advance(0)
        spinner.cancel()
        return asyncio.get_running_loop().time()

    assert run(main, spin_limit=100_000) == 2.0


def test_a_poller_hears_a_thread():
    async def main():
        job = asyncio.get_running_loop().run_in_executor(None, int)
        while not job.done():
            await asyncio.sleep(0)
        return job.result()

    assert run(main, spin_limit=100_000) == 0
