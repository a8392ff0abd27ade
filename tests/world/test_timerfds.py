"""Timers of the system that a program watches: real ones, which come where they would come on the stock loop."""

import asyncio
import contextlib
import ctypes
import os
import time

import pytest

from helpers import LEVELS, run
from virtualloop._world import system

pytestmark = pytest.mark.skipif(not system.AVAILABLE, reason="this system has none")


class Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Setting(ctypes.Structure):
    _fields_ = (("interval", Timespec), ("value", Timespec))


def set_timer(fd, seconds, interval=0.0):
    # Python has these since 3.13.
    setting = Setting(*[Timespec(int(each), int(each % 1 * 1e9)) for each in (interval, seconds)])
    assert ctypes.CDLL(None).timerfd_settime(fd, 0, ctypes.byref(setting), None) == 0


@contextlib.contextmanager
def a_timer(rings, seconds, interval=0.0):
    """Have `rings(expirations)` called whenever a timer has rung."""
    fd = ctypes.CDLL(None).timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
    assert fd >= 0
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, lambda: rings(int.from_bytes(os.read(fd, 8), "little")))
    set_timer(fd, seconds, interval)
    try:
        yield fd
    finally:
        loop.remove_reader(fd)
        os.close(fd)


async def rung_within(limit):
    rung = asyncio.get_running_loop().create_future()
    with a_timer(rung.set_result, 0.2):
        async with asyncio.timeout(limit):
            return await rung


@pytest.mark.parametrize("limit", [None, 60])
@pytest.mark.parametrize("patch_time", [False, True])
def test_a_timer_is_waited_for(limit, patch_time):
    assert run(lambda: rung_within(limit), thread_patience=60, patch_time=patch_time) == 1


@pytest.mark.parametrize("patch_time", [False, True])
def test_what_comes_before_it_on_the_stock_loop_comes_before_it(patch_time):
    async def main():
        log = []
        with pytest.raises(TimeoutError):
            await rung_within(0.1)
        with a_timer(log.append, 0.2):
            for _ in range(3):
                await asyncio.sleep(0.15)
                log.append("slept")
        return log

    assert run(main, thread_patience=60, patch_time=patch_time) == ["slept", 1, "slept", "slept"]


def test_one_that_is_set_again_when_it_has_rung():
    async def main():
        rung = asyncio.Queue()
        with a_timer(rung.put_nowait, 0.1) as fd:
            got = [await asyncio.wait_for(rung.get(), 60)]
            set_timer(fd, 0.1)
            got.append(await asyncio.wait_for(rung.get(), 60))
        return got

    assert run(main, thread_patience=60) == [1, 1]


@pytest.mark.parametrize("order", LEVELS)
def test_the_clock_stands_meanwhile(order):
    async def main():
        await rung_within(60)
        return asyncio.get_running_loop().time()

    assert run(main, 1, order=order, thread_patience=60) < 0.1


def test_what_rings_again_and_again_comes_no_less_often_than_it_would():
    async def main():
        rung = []
        with a_timer(rung.append, 0.02, 0.02):
            for _ in range(5):
                await asyncio.sleep(0.05)
        return sum(rung)

    assert run(main, thread_patience=60) >= 12  # more where the machine is slow: they ring in real time


@pytest.mark.parametrize("seconds", [0.01, 3600])
def test_what_rings_for_ever_or_too_late_is_given_up(seconds):
    async def main():
        with a_timer(lambda _: None, seconds, seconds):
            await asyncio.sleep(7200)
        return asyncio.get_running_loop().time()

    with pytest.warns(RuntimeWarning, match="a timerfd that the loop watches"):
        assert run(main, thread_patience=0.02) == 7200


@pytest.mark.parametrize("seconds", [0, 36000])
def test_one_that_is_not_set_or_rings_later_than_the_next_timer_holds_nothing(seconds):
    async def main():
        with a_timer(print, seconds):
            await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run(main, thread_patience=600) == 3600
