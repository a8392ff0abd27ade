"""A loop with `patch_time`: what `time` and `datetime` say while it runs, and what the loop itself says."""

import asyncio
import dataclasses
import datetime
import functools
import gc
import logging
import sched
import subprocess
import sys
import threading
import time
import timeit
import weakref
from datetime import UTC
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtualloop
from helpers import opened, run
from virtualloop import VirtualLoop
from virtualloop._world import patches

MOMENT = datetime.datetime(2027, 1, 15, 8, tzinfo=UTC)


def patched(main, **options):
    return run(main, patch_time=True, epoch=MOMENT, **options)


def test_all_clocks_follow_the_loop():
    async def main():
        loop = asyncio.get_running_loop()
        before = time.time(), time.monotonic(), datetime.datetime.now(UTC)
        await asyncio.sleep(3600)
        assert loop.time() == time.monotonic() == time.perf_counter() == 3600.000001
        assert time.time() - before[0] == pytest.approx(3600) and time.monotonic() - before[1] >= 3600
        return datetime.datetime.now(UTC) - before[2]

    assert patched(main) == datetime.timedelta(seconds=3600, microseconds=1)


@dataclasses.dataclass
class Order:
    placed: datetime.datetime = dataclasses.field(default_factory=functools.partial(datetime.datetime.now, UTC))
    made: datetime.datetime = dataclasses.field(default_factory=datetime.datetime.now)
    day: datetime.date = dataclasses.field(default_factory=datetime.date.today)


def test_rows_are_made_by_the_calendar_of_the_loop():
    """A class method is another object for each who takes it from its class."""

    async def main():
        first = Order()
        await asyncio.sleep(86_400)
        second = Order()
        return first.placed, second.placed - first.placed, second.made - first.made, second.day - first.day

    late = datetime.timedelta(days=1, microseconds=1)
    assert patched(main) == (MOMENT, late, late, datetime.timedelta(days=1))
    assert abs(Order().made - datetime.datetime.now()) < datetime.timedelta(hours=1)


def test_the_calendar_starts_at_the_epoch():
    async def main():
        return datetime.datetime.now(UTC), time.time(), asyncio.get_running_loop().time()

    assert patched(main, start=50.0) == (MOMENT, MOMENT.timestamp(), 50.0)
    assert run(main, patch_time=True, epoch=5)[1] == 5
    before = time.time()
    without = run(main, patch_time=True)[1]
    assert before - 1 < without <= time.time() and without == int(without)


def test_it_is_over_when_the_loop_stops():
    function = time.monotonic
    with opened(patch_time=True, epoch=0) as loop:
        for _ in range(3):
            loop.run_until_complete(asyncio.sleep(10))
            assert time.monotonic is function and time.time() > 1e9
        loop.advance(5)
        assert time.monotonic is function
        assert loop.run_until_complete(_time()) == pytest.approx(35)
        with pytest.raises(ZeroDivisionError):
            loop.run_until_complete(_fail())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(_fail(KeyboardInterrupt))
        assert time.monotonic is function and time.time() > 1e9


async def _time():
    return time.time()


async def _fail(error=ZeroDivisionError):
    raise error


def test_nothing_is_loaded_without_it():
    code = (
        "import asyncio, sys, time\n"
        "before = {*sys.modules}\n"  # what watches all programs, as coverage does, may have loaded anything
        "import virtualloop\n"
        "with asyncio.Runner(loop_factory=virtualloop.VirtualLoop) as runner: runner.run(asyncio.sleep(1))\n"
        "print(*{*sys.modules} - before)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()

    assert "virtualloop._loop.virtual" in loaded
    assert "uuid" not in loaded
    assert not {f"virtualloop._world.{name}" for name in ("aliases", "clocks", "calendar", "entropy", "patches")} & {
        *loaded
    }


@pytest.mark.parametrize("order", ["fifo", "timing", "io", "tasks"])
def test_no_wait_is_too_short(order):
    """By any clock, in floats: token buckets and retry policies rely on it."""

    async def one(delay):
        clocks = time.time, time.monotonic, time.perf_counter, asyncio.get_running_loop().time
        for _ in range(20):
            before = [clock() for clock in clocks]
            await asyncio.sleep(delay)
            assert all(clock() - then >= delay for clock, then in zip(clocks, before, strict=True))
        before = [clock() for clock in clocks]
        await virtualloop.advance(delay)
        assert all(clock() - then >= delay for clock, then in zip(clocks, before, strict=True))

    async def main():
        await asyncio.gather(*map(one, (0.1, 0.07, 1e-6, 3600, 0.3)))

    for seed in range(10):
        patched(main, seed=seed, order=order)
        patched(main, seed=seed, order=order, start=1.8e9)


def test_one_clock_without_drift():
    with patches.in_place():  # not anew in each example
        check_one_clock_without_drift()


@given(st.lists(st.tuples(st.sampled_from(["sleep", "block", "advance", "read"]), st.floats(0, 1e4)), max_size=20))
def check_one_clock_without_drift(script):
    async def main():
        loop = asyncio.get_running_loop()
        for what, seconds in script:
            before, ticks = loop.time(), loop._clock.tick
            if what == "sleep":
                await asyncio.sleep(seconds)
            elif what == "block":
                time.sleep(seconds)
            elif what == "advance":
                await virtualloop.advance(seconds)
            assert loop.time() == time.monotonic() >= before
            assert time.time_ns() // 1000 - int(MOMENT.timestamp()) * 1_000_000 == loop._clock.tick
            if what != "read":
                # A microsecond late, and no more than it takes to round.
                assert seconds * 1e6 - 0.5 <= loop._clock.tick - ticks <= max(seconds * 1e6 + 0.5, 1) + 1

    patched(main)


def test_whatever_runs_beside_whatever():
    with patches.in_place():  # as above
        check_whatever_runs_beside_whatever()


SCRIPTS = st.lists(st.tuples(st.sampled_from(["sleep", "block", "read"]), st.floats(0, 10)), max_size=6)


@settings(max_examples=40)
@given(st.lists(SCRIPTS, min_size=1, max_size=4), SCRIPTS, st.integers(0, 99), st.sampled_from(["fifo", "io", "tasks"]))
def check_whatever_runs_beside_whatever(scripts, of_a_thread, seed, order):
    """Readings of tasks and of a thread never go back, lie at the loop's instant and agree; no wait is too short."""
    readings = []

    def read(loop):
        seconds, ticks = time.monotonic(), time.time_ns() // 1000 - int(MOMENT.timestamp()) * 1_000_000
        now = datetime.datetime.now(UTC) - MOMENT
        assert seconds == time.perf_counter() == loop.time() == ticks / 1e6
        assert now // datetime.timedelta(microseconds=1) == ticks
        readings.append(ticks)
        return seconds

    async def task(loop, script):
        for what, amount in script:
            before = read(loop)
            if what == "sleep":
                await asyncio.sleep(amount)
            elif what == "block":
                time.sleep(amount)
            assert read(loop) - before >= (amount if what != "read" else 0)

    def thread(loop):
        for what, amount in of_a_thread:
            before = read(loop)
            if what != "read":
                time.sleep(amount)
            assert read(loop) - before >= (amount if what != "read" else 0)

    async def main():
        loop = asyncio.get_running_loop()
        job = [asyncio.to_thread(thread, loop)] if of_a_thread else []
        await asyncio.gather(*[task(loop, script) for script in scripts], *job)
        read(loop)

    patched(main, seed=seed, order=order)
    assert readings == sorted(readings)


def test_a_step_that_sleeps_makes_timers_late():
    async def main():
        loop = asyncio.get_running_loop()
        fired = []
        for delay in (1, 2, 7):
            loop.call_later(delay, lambda: fired.append(loop.time()))
        time.sleep(5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert fired == [5.000001] * 2
        await asyncio.sleep(10)
        return fired

    assert patched(main) == [5.000001, 5.000001, 7.000001]


def test_advance_goes_on_over_a_step_that_sleeps():
    with opened(patch_time=True, epoch=0) as loop:
        loop.call_later(1, time.sleep, 5)
        loop.advance(2)
        assert loop.time() == 6.000002
        loop.advance(0)
        assert loop.time() == 6.000002
        loop.run_until_idle()
        loop.call_later(1, time.sleep, 5)
        loop.run_until_complete(virtualloop.advance(2))
        assert loop.time() == 12.000004


def test_a_busy_loop_on_the_clock_ends():
    async def main():
        polls, end = 0, time.monotonic() + 1
        while time.monotonic() < end:
            polls += 1
        return polls

    assert 10_000 < patched(main) < 11_100


@pytest.mark.parametrize("order", ["fifo", "tasks"])
@pytest.mark.parametrize("traced", [False, True])
def test_readings_in_many_steps_cost_no_time(order, traced):
    """Ten thousand readings of one step are a spin; those of ten thousand steps are none."""

    async def reader(queue):
        for _ in range(4000):
            await queue.get()
            for _ in range(3):
                time.time()

    async def main():
        queue = asyncio.Queue(1)
        task = asyncio.create_task(reader(queue))
        for n in range(4000):
            await queue.put(n)
        await task
        await asyncio.gather(*[_time() for _ in range(12_000)])
        return time.monotonic()

    trace = virtualloop.Trace() if traced else None
    assert patched(main, seed=1, order=order, trace=trace) == 0


def test_the_standard_library_follows(caplog):
    async def main():
        await asyncio.sleep(3600)
        logging.getLogger("app").warning("an hour later")
        scheduler, ran = sched.scheduler(time.monotonic, time.sleep), []
        scheduler.enter(60, 1, ran.append, ("ran",))
        scheduler.run()
        return ran, time.monotonic()

    assert patched(main) == (["ran"], 3660.000002)
    (record,) = caplog.records
    assert record.created == pytest.approx(MOMENT.timestamp() + 3600.000001)


def test_timeouts_at_a_monotonic_deadline():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(time.monotonic() + 5):
                await asyncio.sleep(3600)
        return time.monotonic()

    assert patched(main) == 5.000001


def test_a_scope_within_a_scope():
    """A loop in a thread of this world shares its clock, with a calendar of its own."""
    seen = []

    def elsewhere():
        seen.append(run(_later, patch_time=True, epoch=1000))

    async def _later():
        await asyncio.sleep(1)
        return time.time()

    async def main():
        before = time.time()
        await asyncio.to_thread(elsewhere)
        return before, time.time(), await _later()

    assert run(main, patch_time=True, epoch=0) == (0, 1.000001, 2.000002)
    assert seen == [1001.000001]
    assert type(time.time) is type(len)


def test_a_loop_in_a_world_starts_at_the_time_of_that_world():
    async def main():
        await asyncio.sleep(1000)
        loop = VirtualLoop(patch_time=True)
        loop.close()
        return loop._patches._share.reader.wall()

    assert run(main, patch_time=True, epoch=0) == 1000 * 1_000_000


def test_an_unclosed_loop_is_collected_at_once():
    async def main():
        await asyncio.sleep(1)

    gc.disable()
    try:
        loop = VirtualLoop(patch_time=True, patch_random=True)
        loop.run_until_complete(main())
        loop.close()
        gone = weakref.ref(loop)
        del loop
        assert gone() is None
    finally:
        gc.enable()


def test_epoch_needs_patch_time():
    with pytest.raises(ValueError, match="patch_time=True"):
        VirtualLoop(epoch=5)
    with pytest.raises(TypeError, match="epoch must be"):
        VirtualLoop(patch_time=True, epoch="today")


# --- threads ----------------------------------------------------------------------------------------------------------


def test_threads_sleep_until_the_clock_is_there():
    def job(seconds):
        before = time.monotonic()
        time.sleep(seconds)
        return before, time.monotonic()

    async def main():
        # Longer than any test may take.
        jobs = [asyncio.to_thread(job, seconds) for seconds in (3000, 1000, 2000)]
        return await asyncio.gather(*jobs, asyncio.sleep(1500)), time.monotonic()

    for _ in range(5):
        assert patched(main) == ([(0.0, 3000.000001), (0.0, 1000.000001), (0.0, 2000.000001), None], 3000.000001)


def test_a_thread_that_polls_goes_forward_with_the_clock():
    seen = []

    def poller():
        end = time.monotonic() + 5
        while time.monotonic() < end:
            time.sleep(0.5)
            seen.append(round(time.monotonic(), 3))

    async def main():
        thread = threading.Thread(target=poller)
        thread.start()
        await asyncio.sleep(10)
        thread.join()
        return time.monotonic()

    assert patched(main) == 10.000001
    assert seen == [0.5 * n for n in range(1, 11)]


def test_a_thread_that_only_reads_the_clock():
    def busy():
        readings, end = 0, time.monotonic() + 5
        while time.monotonic() < end:
            readings += 1
        return readings

    async def main():
        alone = await asyncio.to_thread(busy)
        after = time.monotonic()
        await asyncio.gather(asyncio.to_thread(busy), *[asyncio.sleep(n) for n in range(7)])
        return alone, after, time.monotonic()

    alone, after, end = patched(main)
    assert 10_000 < alone < 1_000_000
    assert 5 <= after < 5.02 and after + 6 <= end < after + 6.01


def test_a_sleeping_thread_that_the_loop_waits_for():
    async def main():
        thread = threading.Thread(target=time.sleep, args=(3000,))  # longer than any test may take
        thread.start()
        thread.join()
        return time.monotonic()

    assert patched(main) == 3000.000001


# --- loop.time replaced -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [VirtualLoop, asyncio.SelectorEventLoop])
def test_timers_fall_due_by_what_stands_for_time(make):
    async def main():
        loop = asyncio.get_running_loop()
        fired = []
        loop.call_later(100, fired.append, "before")
        now = loop.time()
        with mock.patch.object(loop, "time") as replaced:
            replaced.return_value = now
            assert loop.time() == now
            loop.call_later(3600, fired.append, "after")
            loop.call_at(now + 50, fired.append, "at")
            for later, expected in [(49, []), (51, ["at"]), (101, ["at", "before"]), (3600, ["at", "before", "after"])]:
                replaced.return_value = now + later
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert fired == expected
            replaced.return_value = now - 10
            loop.call_later(5, fired.append, "back")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(fired) == 3
            replaced.return_value = now - 5
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert fired[3:] == ["back"]
        assert now <= loop.time() < now + 10
        return True

    with asyncio.Runner(loop_factory=make) as runner:
        assert runner.run(main())


def test_given_back_by_assignment(monkeypatch):
    async def main():
        loop = asyncio.get_running_loop()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: 77.0)
            assert loop.time() == 77.0
        assert loop.time() == 0.0 and loop._replaced is None
        await asyncio.sleep(1)
        return loop.time()

    assert run(main) == 1.0


# --- next_deadline ----------------------------------------------------------------------------------------------------


def test_next_deadline():
    with opened() as loop:
        assert loop.next_deadline() is None
        loop.call_later(5, int)
        loop.call_later(3, int).cancel()
        assert loop.next_deadline() == 5.0
        loop.advance(loop.next_deadline() - loop.time())
        assert loop.time() == 5.0 and loop.next_deadline() is None
        loop.call_soon(int)
        assert loop.next_deadline() == 5.0


def test_a_thread_that_only_reads_the_clock_is_not_much_later_than_it_waits_for():
    """Although the next instant that is known is far."""

    def poll(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0)
        return time.monotonic() - end

    async def main():
        async with asyncio.timeout(100_000):
            return [await asyncio.to_thread(poll, seconds) for seconds in (0.5, 20)]

    first, second = patched(main)
    assert 0 <= first <= 0.02 and 0 <= second <= 0.2


def test_the_default_timer_of_timeit_is_a_clock():
    async def main():
        before = timeit.default_timer()
        await asyncio.sleep(60)
        assert timeit.timeit(int, number=10) < 60
        return timeit.default_timer() - before

    stock = timeit.default_timer
    assert patched(main) == pytest.approx(60)
    assert timeit.default_timer is stock


@pytest.mark.parametrize("found", ["before it has run", "afterwards"])
def test_whoever_puts_back_what_he_found_leaves_the_clock_to_itself(found):
    with opened() as loop:
        reading = loop.time
        if found == "afterwards":
            loop.run_until_complete(asyncio.sleep(1))
            reading = loop.time
        loop.run_until_complete(asyncio.sleep(1))
        now = loop.time()
        loop.time = lambda: 77.0
        assert loop.run_until_complete(asyncio.sleep(0, "done")) == "done"
        assert loop.time() == 77.0
        loop.time = reading
        assert loop.time() == now
        assert not loop._scheduler._sources, "nothing is asked for the time any more"
        loop.run_until_complete(asyncio.sleep(1))
        assert loop.time() == now + 1
