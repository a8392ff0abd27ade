"""The same seed is the same run: in one process with garbage in between, and in processes with other hash seeds."""

import asyncio
import os
import subprocess
import sys

import pytest

from helpers import LEVELS, run

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
