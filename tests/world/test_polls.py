"""A child that the program asks, again and again, whether it has ended: the clock stands while it is at work."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings

import pytest

from helpers import LEVELS, run
from virtualloop._core.clock import Clock
from virtualloop._world import children, polls, system
from virtualloop._world.polls import MANY, Polls

on_linux = pytest.mark.skipif(not system.AVAILABLE, reason="this system does not tell what a child does")
WORKS = [sys.executable, "-S", "-c", "import time; time.sleep(0.3); raise SystemExit(3)"]
#: How often a program asks, which on a real machine is more than long enough.
TIMES = 600


@pytest.fixture(autouse=True)
def _none_given_up(monkeypatch):
    monkeypatch.setattr(children, "_given_up", set())


async def by_poll(pause):
    with subprocess.Popen(WORKS) as child:
        for _ in range(TIMES):
            if child.poll() is not None:
                return child.returncode
            await asyncio.sleep(pause)
        child.kill()


async def by_waitpid(pause):
    child = os.posix_spawn(sys.executable, WORKS, os.environ)
    for _ in range(TIMES):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        await asyncio.sleep(pause)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def work():
    subprocess.run(WORKS, check=False)
    os._exit(3)


async def by_is_alive(pause):
    child = multiprocessing.get_context("fork").Process(target=work)
    with warnings.catch_warnings():
        # Python warns of forks beside threads, and those of other tests may not have ended.
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    for _ in range(TIMES):
        if not child.is_alive():
            return child.exitcode
        await asyncio.sleep(pause)
    child.kill()
    child.join()


async def by_returncode(pause):
    child = await asyncio.create_subprocess_exec(*WORKS)
    for _ in range(TIMES):
        if child.returncode is not None:
            return child.returncode
        await asyncio.sleep(pause)
    child.kill()
    await child.wait()


async def by_giving_way(pause):
    with subprocess.Popen(WORKS) as child:
        while child.poll() is None:
            await asyncio.sleep(0)
        return child.returncode


WAYS = [by_poll, by_waitpid, by_is_alive, by_returncode, by_giving_way]


@on_linux
@pytest.mark.parametrize("patch_time", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_clock_stands_while_a_child_is_at_work_that_the_program_polls(way, patch_time):
    async def main():
        async with asyncio.timeout(5):
            return await way(0.05), asyncio.get_running_loop().time() < 0.2

    assert run(main, thread_patience=60, patch_time=patch_time) == (3, True)


@on_linux
@pytest.mark.parametrize("order", LEVELS)
def test_at_any_order_and_beside_what_has_other_timers(order):
    async def main():
        beat = asyncio.create_task(asyncio.sleep(0.001))
        beat.add_done_callback(lambda _: again())

        def again():
            nonlocal beat
            beat = asyncio.create_task(asyncio.sleep(0.001))
            beat.add_done_callback(lambda task: task.cancelled() or again())

        returncode = await by_poll(0.05)
        beat.cancel()
        return returncode

    assert run(main, 1, order=order, thread_patience=60) == 3


@on_linux
def test_a_loop_that_waits_for_its_turn_holds_the_clock_for_the_child_it_polls():
    async def main():
        async with asyncio.timeout(5):
            return await asyncio.gather(by_poll(0.05), asyncio.to_thread(lambda: run(lambda: by_poll(0.05))))

    assert run(main, thread_patience=60) == [3, 3]


def test_a_service_that_is_asked_once_at_a_time_holds_nothing():
    """Whoever looks after a service asks for it before and after a pause."""

    async def main():
        with subprocess.Popen(["/bin/sleep", "60"]) as service:
            alive = [service.poll(), service.poll()]
            await asyncio.sleep(3600)
            alive.append(service.poll())
            service.kill()
        return alive, asyncio.get_running_loop().time()

    assert run(main, thread_patience=600) == ([None] * 3, 3600)


@on_linux
def test_a_child_that_never_ends_is_given_up():
    async def main():
        with subprocess.Popen(["/bin/sleep", "60"]) as child:
            for _ in range(TIMES):
                child.poll()
                await asyncio.sleep(1)
            child.kill()
        return asyncio.get_running_loop().time()

    with pytest.warns(
        RuntimeWarning, match="is at work, and the loop may hear of it by a descriptor, a signal or a poll"
    ):
        assert run(main, thread_patience=0.02) == TIMES
    assert run(lambda: asyncio.sleep(3600), thread_patience=600) is None


def test_which_children_are_asked():
    clock = Clock(0.0)
    asked = Polls(clock)
    seen = []

    def ask(*children, ended=False):
        for child in children:
            asked.asked(child, ended=ended)
        seen.append(asked.now())

    ask(1)
    ask(1)  # twice at one moment is once
    clock.move(10)
    ask(2)
    ask(1)
    ask(1, ended=True)
    ask(1)
    ask(*[3] * MANY)
    clock.move(20)
    ask()
    ask(2)

    assert seen == [set(), set(), set(), {1}, set(), set(), {3}, set(), {2}]


def test_what_stands_in_for_two_functions_is_given_back():
    def there():
        return subprocess.Popen.poll, os.waitpid

    before = there()

    async def main():
        found = [there()]
        await asyncio.sleep(1)
        return [*found, there()]

    for _ in range(2):
        at_first, later = run(main)
        assert at_first == before
        assert not set(later) & set(before)
        assert there() == before


def test_somebody_may_put_his_own_in_front(monkeypatch):
    calls = []

    async def main():
        await asyncio.sleep(1)
        there = os.waitpid
        monkeypatch.setattr(os, "waitpid", lambda *args: calls.append(args) or there(*args))
        await asyncio.sleep(1)

    before = os.waitpid
    run(main)
    run(main)
    child = os.posix_spawn("/bin/true", ["true"], os.environ)
    assert os.waitpid(child, 0) == (child, 0)
    assert calls == [(child, 0)] * 2
    monkeypatch.undo()
    run(lambda: asyncio.sleep(1))
    assert os.waitpid is before
    assert polls.waitpid is not before
