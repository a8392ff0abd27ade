"""A limit of a wait in `threading` is a timer of the world: it costs no real time, and comes in its place."""

import asyncio
import queue
import threading
import time

import pytest

from helpers import run
from virtualloop._world import shares

#: Longer than any test may take.
HOUR = 3600.0


def waited(wait, *args, **kwargs):
    """Call it; return what it returns, and how long it took by the world's clock."""
    began = time.monotonic()
    try:
        result = wait(*args, **kwargs)
    except Exception as exc:
        result = type(exc).__name__
    return result, round(time.monotonic() - began, 3)


def everything():
    condition, semaphore, barrier = threading.Condition(), threading.Semaphore(0), threading.Barrier(2)
    full = queue.Queue(1)
    full.put(1)
    with condition:
        yield waited(condition.wait, HOUR)
        yield waited(condition.wait_for, lambda: False, HOUR)
    yield waited(threading.Event().wait, HOUR)
    yield waited(semaphore.acquire, timeout=HOUR)
    yield waited(barrier.wait, HOUR)
    yield waited(queue.Queue().get, timeout=HOUR)
    yield waited(full.put, 2, timeout=HOUR)
    yield waited(threading.Event().wait, 0)
    yield waited(threading.Event().wait, -1)


EXPECTED = [
    (False, HOUR),
    (False, HOUR),
    (False, HOUR),
    (False, HOUR),
    ("BrokenBarrierError", HOUR),
    ("Empty", HOUR),
    ("Full", HOUR),
    (False, 0.0),
    (False, 0.0),
]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_limits(elsewhere):
    async def main():
        return await asyncio.to_thread(lambda: list(everything())) if elsewhere else list(everything())

    assert run(main, patch_time=True) == EXPECTED


def test_notified_before_the_limit():
    async def main():
        loop = asyncio.get_running_loop()
        event = threading.Event()
        loop.call_later(5, event.set)
        first = await asyncio.to_thread(waited, event.wait, 60)
        assert loop.next_deadline() is None or loop.next_deadline() < 60
        return first, loop.time()

    assert run(main, patch_time=True) == ((True, 5.0), 5.000001)


def test_a_step_of_the_loop_waits_for_a_thread():
    async def main():
        event = threading.Event()
        thread = threading.Thread(target=lambda: (time.sleep(3), event.set()))
        thread.start()
        in_time = waited(event.wait, 10)
        thread.join()
        event.clear()
        thread = threading.Thread(target=lambda: (time.sleep(30), event.set()))
        thread.start()
        late = waited(event.wait, 10)
        thread.join()
        return in_time, late, round(time.monotonic(), 3)

    assert run(main, patch_time=True) == ((True, 3.0), (False, 10.0), 33.0)


@pytest.mark.parametrize("elsewhere", [True, False])
def test_joins(elsewhere):
    def joins():
        sleeper = threading.Thread(target=time.sleep, args=(3,))
        sleeper.start()
        yield waited(sleeper.join, 2)[1], sleeper.is_alive()
        yield waited(sleeper.join, 1e-9)[1], sleeper.is_alive()
        yield waited(sleeper.join, 0)[1], sleeper.is_alive()
        yield waited(sleeper.join, 2)[1], sleeper.is_alive()
        yield waited(sleeper.join, 2)[1], sleeper.is_alive()
        release = threading.Event()
        parked = threading.Thread(target=release.wait)
        parked.start()
        yield waited(parked.join, 2)[1], parked.is_alive()
        release.set()
        yield waited(parked.join, 2)[1], parked.is_alive()

    async def main():
        return await asyncio.to_thread(lambda: list(joins())) if elsewhere else list(joins())

    real = time.perf_counter()
    alive = [(2.0, True), (0.0, True), (0.0, True), (1.0, False), (0.0, False), (2.0, True), (0.0, False)]
    assert run(main, patch_time=True) == alive
    assert time.perf_counter() - real < 3  # five seconds of them take none
    assert not shares._at_end


def test_several_join_one_thread():
    async def main():
        sleeper = threading.Thread(target=time.sleep, args=(3,))
        sleeper.start()
        return await asyncio.gather(*[asyncio.to_thread(waited, sleeper.join, limit) for limit in (5, 1, 3.5)])

    assert run(main, patch_time=True) == [(None, 3.0), (None, 1.0), (None, 3.0)]


def test_a_thread_of_nobodys_is_joined_in_real_time():
    end = threading.Event()
    real = threading.Thread(target=end.wait)
    real.start()

    async def main():
        real.join(0.001)
        assert real.is_alive()
        end.set()
        real.join(60)
        assert not real.is_alive()
        return time.monotonic()

    assert run(main, patch_time=True) == 0


def test_who_sleeps_in_a_step_wakes_others_on_the_way():
    async def main():
        woken = []
        for seconds in (2, 1, 4, 9):
            threading.Thread(target=lambda s=seconds: (time.sleep(s), woken.append(round(time.monotonic(), 3)))).start()
        time.sleep(5)
        assert woken == [1.0, 2.0, 4.0]
        await asyncio.sleep(5)
        return woken

    assert run(main, patch_time=True) == [1.0, 2.0, 4.0, 9.0]


def test_results_of_futures():
    async def answer():
        await asyncio.sleep(7)
        return 42

    def ask(loop, limit):
        future = asyncio.run_coroutine_threadsafe(answer(), loop)
        result = waited(future.result, limit)
        future.cancel()
        return result

    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(ask, loop, 100), await asyncio.to_thread(ask, loop, 3)

    assert run(main, patch_time=True) == ((42, 7.0), ("TimeoutError", 3.0))


def test_the_same_in_all_runs():
    def job(log, name, seconds):
        for _ in range(3):
            time.sleep(seconds)
            log.append((name, time.monotonic(), time.time()))

    async def main():
        log = []
        jobs = [asyncio.to_thread(job, log, name, seconds) for name, seconds in [("a", 1), ("b", 1.6), ("c", 0.7)]]
        await asyncio.gather(*jobs, asyncio.sleep(2))
        return log

    first = run(main, patch_time=True, epoch=0)
    assert [name for name, _, _ in first] == ["c", "a", "c", "b", "a", "c", "a", "b", "b"]
    assert all(run(main, patch_time=True, epoch=0) == first for _ in range(20))


def test_others_wait_in_real_time():
    condition = threading.Condition()
    with condition, pytest.raises(RuntimeError, match="un-acquired"):
        threading.Condition().wait(1)

    async def main():
        with pytest.raises(RuntimeError, match="un-acquired"):
            threading.Condition().wait(1)

    run(main, patch_time=True)
    began = time.monotonic()
    assert threading.Event().wait(0.05) is False
    assert time.monotonic() - began >= 0.05
