"""What belongs to the whole process is as before an exploration, whichever thread made it and however it ended."""

import asyncio
import concurrent.futures
import gc
import multiprocessing
import random
import sys
import threading
import warnings
import weakref

import pytest

from virtualloop import Network, choose, explore
from virtualloop._exploration import control


async def dice():
    """Random numbers belong to the process, and so have to be the same in each run."""
    await asyncio.gather(*[asyncio.sleep(random.random() / 100) for _ in range(4)])
    rolled = choose([1, 2, 3]) + random.randrange(3)
    assert random.random() < 2
    return rolled


async def wrong():
    await dice()
    if choose([False, True]) and random.random() > 0.2:
        raise LookupError


def state():
    return list(warnings.filters), random.getstate(), gc.isenabled(), sys.gettrace()


@pytest.mark.parametrize("enabled", [True, False])
def test_explorations_in_threads_are_those_of_one_thread_and_leave_nothing(enabled):
    if not enabled:
        gc.disable()
    try:
        before = state()
        serial = [str(explore(main, runs=60 + 30 * i, seed=i, check=False)) for i, main in enumerate([dice, wrong] * 2)]
        with concurrent.futures.ThreadPoolExecutor(4) as executor:
            futures = [
                executor.submit(explore, main, runs=60 + 30 * i, seed=i, check=False)
                for i, main in enumerate([dice, wrong] * 2)
            ]
            parallel = [str(future.result()) for future in futures]

        assert parallel == serial
        assert state() == before
    finally:
        gc.enable()


@pytest.mark.parametrize(("network", "most"), [(None, 1), (Network(), 2 * control.RUNS_BETWEEN)])
def test_loops_do_not_outlive_their_runs(network, most):
    """At most that of the run before; with one network for all, which knows its last loop, those since a look."""
    loops = weakref.WeakSet()
    alive = []

    async def main():
        alive.append(len(loops))
        loops.add(asyncio.get_running_loop())
        await asyncio.gather(*[asyncio.sleep(0.01 * k) for k in range(4)])

    explore(main, runs=100, network=network)
    assert len(alive) > control.RUNS_BETWEEN * 2
    assert max(alive) <= most


def test_explorations_that_fail_do_not_leave_more_and_more(monkeypatch):
    monkeypatch.setattr(control, "MOST_LEFT", 30)
    loops = weakref.WeakSet()
    alive = []

    async def main():
        loops.add(asyncio.get_running_loop())
        await wrong()

    for seed in range(20):
        alive.append(len(loops))
        assert explore(main, seed=seed, check=False).failure is not None

    assert min(alive[10:]) <= max(alive[:10])


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, Interrupt, GeneratorExit, LookupError])
def test_an_exploration_that_raises_leaves_nothing(error):
    before = state()

    async def main():
        await asyncio.sleep(0.01)
        raise error

    for _ in range(3):
        with pytest.raises(error):
            explore(main)
    assert state() == before
    assert explore(dice, runs=20).failure is None


def test_an_exploration_under_a_debugger_is_the_same():
    plain = str(explore(dice, runs=50))
    lines = []

    def trace(frame, event, arg):
        lines.append(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        traced = str(explore(dice, runs=50))
    finally:
        sys.settrace(before)

    assert traced == plain
    assert lines


def test_a_process_that_is_forked_in_the_middle_of_a_run_can_explore():
    """The lock that a run holds is not there in a child, where nobody would release it."""
    running, forked = threading.Event(), threading.Event()

    async def main():
        running.set()
        forked.wait()

    thread = threading.Thread(target=explore, args=(main,), kwargs={"runs": 1, "order": "fifo"})
    thread.start()
    assert running.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is what is tested
        child = multiprocessing.get_context("fork").Process(target=explore, args=(dice,), kwargs={"runs": 20})
        child.start()
    try:
        child.join(60)
    finally:
        forked.set()
        thread.join()

    assert child.exitcode == 0
