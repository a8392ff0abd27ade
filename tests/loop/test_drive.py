"""advance() and run_until_idle(), from outside and awaited."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtualloop
from helpers import LEVELS, opened, run
from virtualloop import LivelockError

SPANS = st.integers(0, 10_000_000).map(lambda us: us / 1_000_000)


def heartbeat(loop, ticks, period=1.0):
    async def beat():
        while True:
            await asyncio.sleep(period)
            ticks.append(loop.time())

    return loop.create_task(beat())


# --- from outside -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", LEVELS)
def test_advance_runs_what_is_due_up_to_and_including_its_end(order):
    with opened(5, order=order, lateness=0) as loop:
        ran = []
        for when in (1, 2, 3):
            loop.call_at(when, ran.append, when)
        loop.advance(2)

        assert ran == [1, 2]
        assert loop.time() == 2.0


@pytest.mark.parametrize("order", LEVELS)
@pytest.mark.parametrize("seed", range(5))
def test_advance_ends_exactly_and_leaves_nothing_due(order, seed):
    with opened(seed, order=order) as loop:
        ran = []
        for i in range(1, 31):
            loop.call_at(i / 100, ran.append, i)
        loop.advance(0.155)

        assert sorted(ran) == list(range(1, 16))
        assert loop.time() == 0.155
        loop.run_until_idle()
        assert sorted(ran) == list(range(1, 31))


def test_each_instant_settles_before_the_next():
    with opened() as loop:
        log = []

        async def task():
            for _ in range(3):
                await asyncio.sleep(1)
                for _ in range(5):
                    await asyncio.sleep(0)
                log.append(loop.time())

        loop.create_task(task())
        loop.advance(10)

        assert log == [1.0, 2.0, 3.0]
        assert loop.time() == 10.0


def test_advance_zero_settles_the_present_instant():
    with opened() as loop:
        log = []

        async def task():
            log.append("started")
            await asyncio.sleep(0)
            log.append("again")
            await asyncio.sleep(1)
            log.append("later")

        loop.create_task(task())
        loop.advance(0)

        assert log == ["started", "again"]
        assert loop.time() == 0.0
        loop.run_until_idle()


@settings(max_examples=60)
@given(SPANS, SPANS, st.lists(SPANS, max_size=8), st.sampled_from(["fifo", "timing"]))
def test_advance_in_two_is_advance_in_one(a, b, deadlines, order):
    logs = []
    for spans in ([a, b], [a + b]):
        with opened(order=order) as loop:
            log = []
            for number, deadline in enumerate(deadlines):
                loop.call_at(deadline, lambda n=number, log=log, loop=loop: log.append((n, loop.time())))
            for span in spans:
                loop.advance(span)
            logs.append((log, loop.time()))

    assert logs[0] == logs[1]


@pytest.mark.parametrize("bad", [-1, -1e-9, math.nan, math.inf])
def test_advance_refuses_what_is_no_span_and_does_nothing(bad):
    with opened() as loop:
        loop.call_soon(pytest.fail)
        with pytest.raises(ValueError, match="seconds must be finite and not negative"):
            loop.advance(bad)
        with pytest.raises(TypeError, match="seconds must be a number"):
            loop.advance("1")

        assert loop.time() == 0.0


def test_run_until_idle_leaves_blocked_tasks_blocked():
    with opened() as loop:
        queue = asyncio.Queue()
        blocked = loop.create_task(queue.get())
        done = loop.create_task(asyncio.sleep(60, "done"))
        loop.run_until_idle()

        assert loop.time() == 60.0
        assert done.result() == "done"
        assert not blocked.done()
        queue.put_nowait("item")
        loop.run_until_idle()
        assert blocked.result() == "item"
        assert loop.time() == 60.0


def test_run_until_idle_waits_for_jobs_in_threads():
    with opened() as loop:
        import time

        job = loop.run_in_executor(None, time.sleep, 0.05)
        loop.run_until_idle()

        assert job.done()
        loop.run_until_complete(loop.shutdown_default_executor())


def test_run_until_idle_says_so_when_there_is_no_end(monkeypatch):
    monkeypatch.setattr("virtualloop._core.scheduler.IDLE_LIMIT", 100)
    with opened() as loop:
        task = heartbeat(loop, [])
        with pytest.raises(LivelockError, match=r"(?s)100 instants pass.*'Task-1'.*in heartbeat.*Use advance"):
            loop.run_until_idle()
        task.cancel()
        loop.run_until_idle()


@pytest.mark.parametrize("method", ["advance", "run_until_idle"])
def test_inside_a_running_loop_the_twin_is_named(method):
    with opened() as loop:

        async def main():
            args = (1,) if method == "advance" else ()
            with pytest.raises(RuntimeError, match=rf"await virtualloop\.{method}\(\) instead"):
                getattr(loop, method)(*args)

        loop.run_until_complete(main())


@pytest.mark.parametrize("method", ["advance", "run_until_idle"])
def test_stop_ends_a_drive_with_an_error(method):
    with opened() as loop:
        loop.call_later(1, loop.stop)
        loop.call_later(2, int)
        args = (3,) if method == "advance" else ()
        with pytest.raises(RuntimeError, match=r"Event loop stopped at t=1, before"):
            getattr(loop, method)(*args)
        loop.run_until_idle()

        assert loop.time() == 2.0


def test_a_drive_can_go_on_where_another_ended():
    with opened() as loop:
        ticks = []
        task = heartbeat(loop, ticks)
        loop.advance(2.5)
        loop.run_until_complete(asyncio.sleep(1))
        loop.advance(0.5)

        assert ticks == [1.0, 2.0, 3.0, 4.0]
        task.cancel()
        loop.advance(0)
        assert task.cancelled()


# --- awaited ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", LEVELS)
@pytest.mark.parametrize("seed", range(3))
def test_awaited_advance_resumes_last(order, seed):
    async def main():
        loop = asyncio.get_running_loop()
        log = []

        async def other():
            await asyncio.sleep(1)
            for _ in range(10):
                await asyncio.sleep(0)
            log.append("settled")

        task = asyncio.create_task(other())
        loop.call_later(1, log.append, "timer")
        await virtualloop.advance(1)
        log.append("resumed")
        await task
        return log, loop.time()

    log, time = run(main, seed, order=order)

    assert sorted(log[:2]) == ["settled", "timer"]
    assert log[2:] == ["resumed"]
    assert time == 1.0


def test_awaited_advance_zero_settles_without_moving_the_clock():
    async def main():
        log = []

        async def other():
            for i in range(5):
                await asyncio.sleep(0)
                log.append(i)

        task = asyncio.create_task(other())
        await virtualloop.advance(0)
        assert log == [0, 1, 2, 3, 4]
        await task
        return asyncio.get_running_loop().time()

    assert run(main) == 0.0


def test_awaited_run_until_idle_resumes_when_nothing_else_could_run():
    async def main():
        blocked = asyncio.create_task(asyncio.Event().wait())
        done = asyncio.create_task(asyncio.sleep(5, "done"))
        await virtualloop.run_until_idle()
        assert done.result() == "done"
        assert not blocked.done()
        blocked.cancel()
        return asyncio.get_running_loop().time()

    assert run(main) == 5.0


def test_several_awaiting_resume_by_deadline_then_in_turn():
    async def main():
        log = []

        async def wait(name, seconds):
            await (virtualloop.run_until_idle() if seconds is None else virtualloop.advance(seconds))
            log.append((name, asyncio.get_running_loop().time()))

        await asyncio.gather(wait("idle", None), wait("two", 2), wait("one", 1), wait("also one", 1))
        return log

    assert run(main) == [("one", 1.0), ("also one", 1.0), ("two", 2.0), ("idle", 2.0)]


def test_a_cancelled_advance_does_not_move_the_clock():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await virtualloop.advance(100)
        idle = asyncio.create_task(virtualloop.run_until_idle())
        await asyncio.sleep(0)
        idle.cancel()
        await virtualloop.run_until_idle()
        return asyncio.get_running_loop().time()

    assert run(main) == 1.0


def test_outside_and_inside_at_once():
    with opened() as loop:
        log = []

        async def inside():
            await virtualloop.advance(5)
            log.append(("inside", loop.time()))
            await virtualloop.run_until_idle()
            log.append(("idle", loop.time()))

        loop.create_task(inside())
        loop.call_at(7, log.append, "timer")
        loop.advance(5)
        assert log == [("inside", 5.0)]
        loop.advance(1)
        assert log == [("inside", 5.0)]
        loop.advance(1)
        assert log == [("inside", 5.0), "timer", ("idle", 7.0)]


def test_the_twins_need_a_virtual_loop_that_runs():
    async def on_stock():
        with pytest.raises(RuntimeError, match=r"virtualloop\.advance\(\) needs a VirtualLoop"):
            await virtualloop.advance(1)
        with pytest.raises(RuntimeError, match=r"start it by asyncio\.Runner\(loop_factory=VirtualLoop\)"):
            await virtualloop.run_until_idle()

    asyncio.run(on_stock())
    nowhere = virtualloop.advance(1)
    with pytest.raises(RuntimeError, match=r"from outside, call loop\.advance\(\)"):
        nowhere.send(None)


def test_awaited_advance_refuses_what_is_no_span():
    async def main():
        with pytest.raises(ValueError, match="seconds must be finite"):
            await virtualloop.advance(-1)
        with pytest.raises(TypeError, match="seconds must be a number"):
            await virtualloop.advance(None)
        return asyncio.get_running_loop().time()

    assert run(main) == 0.0


# --- choose -----------------------------------------------------------------------------------------------------------


def test_choose_without_a_seed_and_elsewhere_is_the_first():
    async def main():
        return [virtualloop.choose("abc") for _ in range(5)]

    assert run(main) == ["a"] * 5
    assert asyncio.run(main()) == ["a"] * 5
    assert virtualloop.choose([1, 2]) == 1


@pytest.mark.parametrize("order", LEVELS)
def test_choose_with_a_seed_is_the_seeds(order):
    async def main():
        return "".join(virtualloop.choose("abc") for _ in range(20))

    assert run(main, 7, order=order) == run(main, 7, order="fifo")
    assert run(main, 7) != run(main, 8)
    assert set(run(main, 7)) == set("abc")


def test_choose_needs_an_option():
    with pytest.raises(ValueError, match="options must not be empty"):
        virtualloop.choose([])
