"""Programs that keep the loop busy without end, and busy programs that do end."""

import asyncio
import functools
import os
import re
import threading

import pytest

import virtualloop
from helpers import LEVELS, opened, run
from virtualloop import DeadlockError, LivelockError


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "These are its last 1000 steps:\n  1000 times 'Task-2' in " in text
    assert re.search(r" in .*spinner\(\)\n +File \".*test_spins\.py\", line \d+, in .*spinner", text)
    assert "await asyncio.sleep(0)" in text
    assert "VirtualLoop(spin_limit=...)" in text
    assert "Task-3" not in text
    assert "woken by" not in text  # but by the loop


def test_a_spin_of_callbacks_is_named():
    with opened(spin_limit=100_000) as loop:

        def again():
            loop.call_soon(again)

        again()
        with pytest.raises(
            LivelockError, match=r"(?s)callback .*again\(\), scheduled by\n.*test_spins\.py\", line \d+"
        ):
            loop.run_forever()


def test_who_queues_a_spinning_callback_is_named():
    class Poller:
        def __call__(self):
            asyncio.get_running_loop().call_soon(functools.partial(self.poll, 1))

        def poll(self, _):
            loop = asyncio.get_running_loop()
            loop.call_at(0, self)  # A deadline that has passed.

    with opened(spin_limit=10_000) as loop:
        loop.call_soon(Poller())
        with pytest.raises(LivelockError) as caught:
            loop.run_forever()
        assert "call_soon" not in vars(loop)
    text = re.sub(r'"\S+", line \d+, in \S+\.Poller', '"test_spins.py", in Poller', str(caught.value))

    assert text.splitlines()[2:-1] == [
        "  500 times callback test_who_queues_a_spinning_callback_is_named.<locals>.Poller.poll(), scheduled by",
        '    File "test_spins.py", in Poller.__call__',
        "      asyncio.get_running_loop().call_soon(functools.partial(self.poll, 1))",
        "  500 times callback test_who_queues_a_spinning_callback_is_named.<locals>.Poller(), scheduled by",
        '    File "test_spins.py", in Poller.poll',
        "      loop.call_at(0, self)  # A deadline that has passed.",
    ]


def test_many_spinners_are_named_together():
    async def spin():
        while True:
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*[spin() for _ in range(30)])

    with pytest.raises(LivelockError, match=r"\n  1000 times 'Task-2', 'Task-3', 'Task-4' and 27 more in .*spin\(\)\n"):
        run(main, spin_limit=20_000)


def test_a_long_list_of_spinners_is_cut():
    async def main():
        names = {"asyncio": asyncio}
        for k in range(50):
            source = f"async def spin_{k}():\n    while True:\n        await asyncio.sleep(0)\n"
            exec(compile(source, f"spin_{k}.py", "exec"), names)  # noqa: S102  # it stands here
        await asyncio.gather(*[names[f"spin_{k}"]() for k in range(50)])

    with pytest.raises(LivelockError, match=r"\n  and \d+ others\n") as caught:
        run(main, spin_limit=20_000)
    assert len(str(caught.value).splitlines()) <= 40


def test_a_spin_that_ends_while_it_is_looked_at():
    async def main():
        for _ in range(10_500):
            await asyncio.sleep(0)
        return "done"

    assert run(main, spin_limit=10_000) == "done"


def test_a_replaced_method_of_the_loop_stays():
    with opened(spin_limit=10_000) as loop:
        call_soon = loop.call_soon
        loop.call_soon = replaced = lambda *args, **kwargs: call_soon(*args, **kwargs)

        def again():
            loop.call_soon(again)

        again()
        with pytest.raises(LivelockError):
            loop.run_forever()
        assert loop.call_soon is replaced
        del loop.call_soon


def test_a_spin_that_comes_to_rest_while_it_is_looked_at():
    async def main():
        for _ in range(10_500):
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run(main, spin_limit=10_000)


def test_a_spin_that_is_stopped_while_it_is_looked_at():
    with opened(spin_limit=10_000) as loop:
        turns = 0

        def again():
            nonlocal turns
            turns += 1
            if turns == 5_500:
                loop.stop()
            loop.call_soon(again).cancel()
            loop.call_soon(again)

        again()
        loop.run_forever()
        assert turns == 5_501


@pytest.mark.slow
def test_tasks_that_wake_each_other_are_given_longer_and_named_in_the_end():
    async def main():
        there, back = asyncio.Queue(), asyncio.Queue()

        async def play(take, give):
            while True:
                give.put_nowait(await take.get())

        there.put_nowait("ball")
        await asyncio.gather(play(there, back), play(back, there))

    with pytest.raises(LivelockError) as caught:
        run(main, spin_limit=20_000)
    text = str(caught.value)

    assert "\n  1000 times 'Task-2' and 'Task-3' in " in text
    assert re.search(
        r"play\n +give.put_nowait\(await take.get\(\)\)\n    woken by\n    File \S+, line \d+, in .*play\n", text
    )


def test_work_is_given_ten_times_as_long_as_polling():
    """Two tasks that wake each other, as real work does, for three times as long as polling may last."""

    async def main():
        there, back = asyncio.Queue(), asyncio.Queue()

        async def play(take, give, rounds):
            for _ in range(rounds):
                give.put_nowait(await take.get())
            return True

        there.put_nowait("ball")
        return await asyncio.gather(play(there, back, 30_000), play(back, there, 30_000))

    assert run(main, spin_limit=20_000) == [True, True]


@pytest.mark.slow
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


@pytest.mark.parametrize("order", ["fifo", "timing"])
@pytest.mark.parametrize("method", ["call_at", "call_later"])
def test_many_timeouts_at_one_instant_are_no_spin(method, order):
    async def main():
        loop = asyncio.get_running_loop()
        set_timer = getattr(loop, method)
        for _ in range(40_000):
            timer = set_timer(loop.time() + 1, print, "never")
            await asyncio.sleep(0)
            timer.cancel()
        return loop.time()

    assert run(main, spin_limit=10_000, order=order) < 1.0


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


@pytest.mark.parametrize("order", LEVELS)
def test_polling_makes_time_pass_beside_a_thread_that_waits_for_something_else(order):
    """As one of xdist's workers has, and a debugger."""
    read, write = os.pipe()
    thread = threading.Thread(target=os.read, args=(read, 1))
    thread.start()

    async def main():
        loop = asyncio.get_running_loop()
        ready = []
        loop.call_later(60, ready.append, True)
        while not ready:
            await asyncio.sleep(0)
        return loop.time()

    try:
        assert 60 <= run(main, order=order, spin_limit=10_000) < 61
    finally:
        os.write(write, b"x")
        thread.join()
        os.close(read)
        os.close(write)


def test_polling_for_what_a_thread_works_at_waits_for_it():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(3600, loop.stop)
        job = loop.run_in_executor(None, lambda: sum(range(3_000_000)))
        while not job.done():
            await asyncio.sleep(0)
        return await job, loop.time()

    assert run(main, spin_limit=10_000, thread_patience=600.0) == (sum(range(3_000_000)), 0.0)
