"""The same seed is the same run: in one process with garbage in between, and in processes with other hash seeds."""

import asyncio
import os
import subprocess
import sys

import pytest

from helpers import LEVELS, opened, run

PROGRAM = """
import asyncio, sys
from virtualloop import VirtualLoop, choose

def trace(seed, order):
    log = []

    async def main():
        loop = asyncio.get_running_loop()

        def note(*what):
            log.append((round(loop.time(), 6), asyncio.current_task().get_name(), *what))

        async def worker(i):
            try:
                await asyncio.sleep(0.01 * (i % 3))
                note("slept", choose("abc"))
                await asyncio.sleep(1 + i % 2)
            except asyncio.CancelledError:
                note("cancelled")
                raise

        async def fail():
            await asyncio.sleep(0.5)
            raise LookupError

        try:
            async with asyncio.TaskGroup() as group:
                for i in range(9):
                    group.create_task(worker(i))
                group.create_task(fail())
        except* LookupError:
            note("group aborted")

        tasks = {asyncio.create_task(worker(i)) for i in range(9)}
        done, pending = await asyncio.wait(tasks, timeout=1.005)
        note([t.get_name() for t in done], [t.get_name() for t in pending])
        for task in pending:
            task.cancel()

        jobs = [asyncio.create_task(asyncio.to_thread(lambda i=i: i)) for i in range(4)]
        for job in asyncio.as_completed(jobs):
            note("job", await job)
        for i in range(9):
            asyncio.create_task(worker(i))
        await asyncio.sleep(0.005)
        note("torn down")

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed, order=order)) as runner:
        runner.run(main())
    return log
"""


@pytest.fixture(scope="module")
def trace():
    namespace = {}
    exec(PROGRAM, namespace)  # noqa: S102  # the same text runs here and in other processes
    return namespace["trace"]


@pytest.mark.parametrize("order", LEVELS)
def test_twenty_runs_in_one_process(trace, order):
    garbage = []
    traces = []
    for i in range(20):
        garbage.append([[] for _ in range(i * 101)])
        traces.append(trace(7, order))
        garbage = garbage[-3:]

    assert all(t == traces[0] for t in traces)
    assert len(traces[0]) > 50


@pytest.mark.slow
def test_ten_processes_with_other_hash_seeds():
    program = PROGRAM + "\nfor order in ('fifo', 'timing', 'io', 'tasks'): print(trace(11, order))"

    def output(hash_seed):
        env = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, check=True, text=True
        ).stdout

    outputs = {output(hash_seed) for hash_seed in range(10)}

    assert len(outputs) == 1
    assert "torn down" in outputs.pop()


CLOCKS = """
import asyncio, datetime, os, random, secrets, threading, time, uuid
from virtualloop import VirtualLoop, choose, explore

def everything():
    now = datetime.datetime.now(datetime.UTC), datetime.date.today(), time.localtime()
    clocks = time.time(), time.monotonic_ns(), time.perf_counter(), time.strftime("%c"), *now
    return *clocks, uuid.uuid1(), uuid.uuid4(), os.urandom(3), secrets.token_hex(3), random.SystemRandom().random()

def job(log, name, seconds):
    for _ in range(4):
        time.sleep(seconds)
        log.append((name, *everything()))
        threading.Event().wait(seconds / 7)

async def main(log):
    log.append(("main", *everything()))
    threads = [threading.Thread(target=job, args=(log, f"thread {n}", 0.37 * (n + 1))) for n in range(3)]
    for thread in threads:
        thread.start()
    jobs = [asyncio.to_thread(job, log, f"job {n}", 0.53 * (n + 1)) for n in range(2)]
    await asyncio.gather(*jobs, asyncio.sleep(random.random()))
    time.sleep(0.2)
    log.append((choose("abc"), random.random(), *everything()))
    threads[2].join(1)
    await asyncio.sleep(3)

def explored():
    log = []
    explore(lambda: main(log), runs=4, epoch=1_800_000_000, check=False)
    options = dict(seed=7, patch_time=True, patch_random=True, epoch=1_800_000_000)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(**options)) as runner:
        runner.run(main(log))
    return log
"""


def logs_of_processes(count):
    """Return what processes with other hash seeds have logged, which run beside each other."""
    code = f"import sys\nsys.path[:] = {sys.path!r}\n{CLOCKS}\nfor each in explored(): print(each)"
    made = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "TZ": "UTC"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(count)
    ]
    return [process.communicate()[0].splitlines() for process in made]


@pytest.mark.slow
def test_what_reads_clocks_and_dice_is_the_same_in_each_process_also_in_threads():
    first, *others = logs_of_processes(3)

    assert len(first) >= 5 * 22
    for other in others:
        assert other == first


def test_different_seeds_are_different_runs(trace):
    assert len({repr(trace(seed, "io")) for seed in range(10)}) > 5
    assert len({repr(trace(seed, "tasks")) for seed in range(10)}) > 5


def test_teardown_cancels_in_the_order_of_creation():
    def teardown():
        log = []

        async def main():
            async def worker(i):
                try:
                    await asyncio.sleep(60)
                finally:
                    log.append(i)

            for i in range(20):
                asyncio.create_task(worker(i))
            await asyncio.sleep(1)

        run(main)
        return log

    assert teardown() == list(range(20))


def test_teardown_does_not_depend_on_what_other_loops_have_left():
    """asyncio.run() cancels a set that is filled from one of all tasks of the process, before Python 3.14.

    In a set of eight places, the numbers of these tasks collide: which one comes first is decided by who was put in
    first, and that by whoever else is in the set of all tasks.
    """

    def teardown(others):
        log = []

        async def worker(i):
            try:
                await asyncio.sleep(60 if i % 8 == 0 else 0)
            finally:
                log.append(i)

        async def main():
            for i in range(33):
                asyncio.create_task(worker(i))
            await asyncio.sleep(1)
            log.clear()

        with opened() as other:
            left = [other.create_task(asyncio.sleep(60)) for _ in range(others)]
            other.advance(0)
            run(main)
            for task in left:
                task.cancel()
            other.run_until_idle()
        return log

    assert len({tuple(teardown(others)) for others in range(60)}) == 1


def test_async_generators_close_in_the_order_of_their_first_step():
    def closing():
        log = []

        async def numbers(i):
            try:
                yield i
            finally:
                log.append(i)

        async def main():
            generators = [numbers(i) for i in range(20)]
            for generator in generators:
                await anext(generator)
            kept.extend(generators)

        kept = []
        run(main)
        return log

    assert closing() == list(range(20))
