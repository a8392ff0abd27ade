"""A hang beside a heartbeat: what main waits for never comes, while something else goes on for ever."""

import asyncio
import contextlib
import os
import threading
import time
from queue import SimpleQueue

import pytest

from virtualloop import LivelockError, VirtualLoop


class Impatient(VirtualLoop):
    """A loop that looks early, so that these tests are short."""

    _most_jumps = 500


async def beat(pause=1):
    while True:
        await asyncio.sleep(pause)


async def beat_in_new_tasks():
    while True:
        await asyncio.create_task(asyncio.sleep(1))


async def beat_by_callbacks():
    loop = asyncio.get_running_loop()

    def again():
        loop.call_later(1, again)

    again()
    await asyncio.Event().wait()


async def wake_each_other():
    async def one(mine, other):
        while True:
            await mine.wait()
            mine.clear()
            other.set()

    ping, pong = asyncio.Event(), asyncio.Event()
    ping.set()
    await asyncio.gather(one(ping, pong), one(pong, ping))


async def echo_for_ever():
    async def answer(reader, writer):
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                writer.write(await reader.readexactly(4))

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        while True:
            writer.write(b"ping")
            await reader.readexactly(4)
    finally:
        writer.close()
        server.close()


HEARTBEATS = [beat, beat_in_new_tasks, beat_by_callbacks, wake_each_other, echo_for_ever]


def hang_of(main):
    with (
        asyncio.Runner(loop_factory=lambda: Impatient(spin_limit=2000)) as runner,
        pytest.raises(LivelockError) as caught,
    ):
        runner.run(main())
    return str(caught.value)


def test_a_hang_is_told_where_several_wait_for_the_same_task():
    async def main():
        async def waits():
            await nobody

        async def awaits():
            await last

        alive = asyncio.create_task(beat())
        nobody = asyncio.get_running_loop().create_future()
        last = asyncio.create_task(waits(), name="last")
        await asyncio.gather(awaits(), awaits(), last)
        alive.cancel()

    text = hang_of(main)
    assert "\n4 tasks are blocked:\n" in text
    assert "'last' awaits Future 'nobody', which is not done" in text


def test_where_something_may_come_from_a_descriptor_it_is_no_hang():
    async def main():
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        got = loop.create_future()
        loop.add_reader(read, lambda: got.set_result(os.read(read, 10)))
        alive = asyncio.create_task(beat())
        loop.call_later(2000, os.write, write, b"at last")
        try:
            return await got
        finally:
            alive.cancel()
            loop.remove_reader(read)
            os.close(read)
            os.close(write)

    with asyncio.Runner(loop_factory=lambda: Impatient(spin_limit=2000)) as runner:
        assert runner.run(main()) == b"at last"


@pytest.mark.parametrize("heartbeat", HEARTBEATS)
def test_a_hang_is_told_beside_any_heartbeat(heartbeat):
    async def main():
        alive = asyncio.create_task(heartbeat())
        await asyncio.Event().wait()
        alive.cancel()

    assert "'Task-1' awaits an Event, which is not set" in hang_of(main)


def test_the_report():
    async def main():
        alive = asyncio.create_task(beat(), name="beat")
        await asyncio.Event().wait()
        alive.cancel()

    at, beating = main.__code__.co_firstlineno, beat.__code__.co_firstlineno
    assert (
        hang_of(main)
        == f"""\
a hang beside a heartbeat, at t=1002: what still runs has only gone through the same lines again and again for very \
long, and none of what main waits for has gone on.
1 task is blocked:
  'Task-1' awaits an Event, which is not set
    File "{__file__}", line {at + 2}, in test_the_report.<locals>.main
      await asyncio.Event().wait()
1 task repeats itself:
  'beat' awaits sleep(1), until t=1002
    File "{__file__}", line {beating + 2}, in beat
      await asyncio.sleep(pause)
Look for what should have set, released, put or completed what main awaits. If it only takes longer than this, put \
asyncio.timeout() around it: as long as such a timer is ahead, this is no hang."""
    )


def test_who_goes_on_is_named():
    async def main():
        alive = asyncio.create_task(wake_each_other())
        await asyncio.Event().wait()
        alive.cancel()

    report = hang_of(main)

    assert "2 tasks repeat themselves:\n  'Task-3' " in report
    assert "\n  'Task-4' " in report
    assert "'Task-2'" not in report


def test_a_callback_that_goes_on_is_named():
    assert "callback beat_by_callbacks.<locals>.again()\n" in hang_of(beat_by_callbacks)


def through(main, jumps=5000):
    """Run main(), beside a heartbeat; it is no hang."""

    async def beside_a_heartbeat():
        loop = asyncio.get_running_loop()
        alive = asyncio.create_task(beat(0.5))
        try:
            return await main()
        finally:
            alive.cancel()
            assert loop.time() > jumps / 4

    with asyncio.Runner(loop_factory=Impatient) as runner:
        result = runner.run(beside_a_heartbeat())
        assert runner.get_loop()._scheduler._instruments == []
    return result


def test_a_timer_of_its_own():
    through(lambda: asyncio.sleep(2000))


def test_a_timeout():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2000):
                await asyncio.Event().wait()

    through(main)


@pytest.mark.parametrize(
    "wait",
    [
        lambda task: task,
        lambda task: asyncio.gather(task, asyncio.sleep(1)),
        lambda task: asyncio.wait([task]),
        asyncio.shield,
    ],
    ids=["task", "gather", "wait", "shield"],
)
def test_a_task_that_counts(wait):
    async def count():
        for _ in range(2000):
            await asyncio.sleep(1)

    async def main():
        await wait(asyncio.create_task(count()))

    through(main)


def test_the_holder_of_a_lock_that_counts():
    lock = asyncio.Lock()

    async def hold():
        async with lock:
            for _ in range(2000):
                await asyncio.sleep(1)

    async def main():
        holder = asyncio.create_task(hold())
        await asyncio.sleep(1)
        async with lock:
            assert holder.done() or holder.cancelling() == 0

    through(main)


def test_a_timer_far_ahead():
    async def main():
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(2000, event.set)
        await event.wait()

    through(main)


def test_a_queue_that_is_worked_off():
    queue = asyncio.Queue()

    async def work():
        while True:
            await asyncio.sleep(1)
            queue.get_nowait()
            queue.task_done()

    async def main():
        for _ in range(2000):
            queue.put_nowait("item")
        worker = asyncio.create_task(work())
        await queue.join()
        worker.cancel()

    through(main)


def test_lines_that_are_new_now_and_then():
    event = asyncio.Event()

    async def go_deeper(levels):
        for _ in range(20):
            await asyncio.sleep(1)
        if levels:
            await go_deeper(levels - 1)
        else:
            event.set()

    async def main():
        working = asyncio.create_task(go_deeper(100))
        await event.wait()
        await working

    through(main)


def test_a_thread_that_waits_for_the_clock():
    async def main():
        loop = asyncio.get_running_loop()
        go_on, done = threading.Event(), asyncio.Event()

        def wait():
            go_on.wait()
            loop.call_soon_threadsafe(done.set)

        threading.Thread(target=wait).start()
        loop.call_later(1, lambda: loop.call_later(2000, go_on.set))
        await done.wait()

    through(main)


def test_a_loop_that_runs_for_ever_is_not_looked_at():
    with asyncio.Runner(loop_factory=Impatient) as runner:
        loop = runner.get_loop()
        alive = loop.create_task(beat())
        loop.call_later(3000, loop.stop)
        loop.run_forever()
        assert loop.time() == 3000
        alive.cancel()


def test_the_loop_lives_on():
    async def lost():
        asyncio.get_running_loop().create_task(beat())
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=Impatient) as runner:
        with pytest.raises(LivelockError):
            runner.run(lost())
        assert runner.run(asyncio.sleep(5, "on")) == "on"
        assert runner.get_loop()._scheduler._instruments == []


# --- main waits for what goes on as well ------------------------------------------------------------------------------


async def lose(lock):
    async with lock:
        pass


async def in_one_group(lock):
    async with asyncio.TaskGroup() as group:
        group.create_task(beat())
        group.create_task(lose(lock))


async def in_one_gather(lock):
    await asyncio.gather(beat(), lose(lock))


async def in_one_wait(lock):
    await asyncio.wait([asyncio.create_task(beat()), asyncio.create_task(lose(lock))])


async def in_a_group_within(lock):
    await asyncio.gather(in_one_group(lock))


@pytest.mark.parametrize("hang", [in_one_group, in_one_gather, in_one_wait, in_a_group_within])
def test_a_heartbeat_that_main_waits_for_as_well(hang):
    async def main():
        lock = asyncio.Lock()
        await lock.acquire()
        await hang(lock)

    message = hang_of(main)
    assert "Lock 'lock'" in message
    assert "beat" in message.rpartition("blocked")[2]


@pytest.mark.slow
def test_the_first_of_two_that_goes_on():
    async def count():
        for _ in range(20_000):
            await asyncio.sleep(1)

    async def main():
        tasks = [asyncio.create_task(count()), asyncio.create_task(asyncio.Event().wait())]
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    through(main)


@pytest.mark.slow
def test_one_of_two_who_hold_a_semaphore_that_goes_on():
    async def hold(semaphore, wait):
        async with semaphore:
            await wait

    async def count():
        for _ in range(20_000):
            await asyncio.sleep(1)

    async def main():
        semaphore = asyncio.Semaphore(2)
        tasks = [asyncio.create_task(hold(semaphore, wait)) for wait in (count(), asyncio.Event().wait())]
        await asyncio.sleep(1)
        async with semaphore:
            tasks[1].cancel()

    through(main)


# --- threads ----------------------------------------------------------------------------------------------------------


async def after_a_job():
    await asyncio.to_thread(int)


async def beside_a_parked_job():
    waiting = threading.Event()
    asyncio.get_running_loop().run_in_executor(None, waiting.wait)
    return waiting.set


async def beside_a_driver():
    queue = SimpleQueue()
    threading.Thread(target=queue.get, daemon=True).start()
    return lambda: queue.put(None)


async def beside_jobs_that_repeat():
    async def repeat():
        while True:
            await asyncio.to_thread(int)
            await asyncio.sleep(1)

    return asyncio.create_task(repeat()).cancel


@pytest.mark.parametrize("begin", [after_a_job, beside_a_parked_job, beside_a_driver, beside_jobs_that_repeat])
def test_threads_that_wait_for_somebody_of_the_world(begin):
    async def main():
        alive = asyncio.create_task(beat())
        end = await begin()
        try:
            await asyncio.Event().wait()
        finally:
            alive.cancel()
            if end is not None:
                end()

    assert "Event, which is not set" in hang_of(main)


def test_a_thread_that_sleeps_by_the_clock_again_and_again():
    async def main():
        done = threading.Event()

        def sleep():
            while not done.is_set():
                time.sleep(1)

        threading.Thread(target=sleep).start()
        try:
            await asyncio.Event().wait()
        finally:
            done.set()

    with (
        asyncio.Runner(loop_factory=lambda: Impatient(patch_time=True)) as runner,
        pytest.raises(LivelockError, match="Event, which is not set"),
    ):
        runner.run(main())


def test_a_thread_that_sleeps_for_long():
    async def main():
        alive = asyncio.create_task(beat())
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def sleep():
            time.sleep(5000)
            loop.call_soon_threadsafe(done.set)

        threading.Thread(target=sleep).start()
        await done.wait()
        alive.cancel()

    with asyncio.Runner(loop_factory=lambda: Impatient(patch_time=True)) as runner:
        runner.run(main())


def test_a_thread_that_waits_for_a_task_that_counts():
    """As the client of a test does, while a service waits for its end in the thread of its own."""
    loop, stop = Impatient(), asyncio.Event()

    async def count():
        for _ in range(5000):
            await asyncio.sleep(1)
        return "counted"

    thread = threading.Thread(target=loop.run_until_complete, args=(stop.wait(),))
    thread.start()
    try:
        assert asyncio.run_coroutine_threadsafe(count(), loop).result() == "counted"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
