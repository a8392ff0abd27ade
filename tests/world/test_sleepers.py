"""Threads that wait for the clock, as their loop's keeper says what else goes on."""

import threading
import time

from virtualloop._core.clock import TICKS_PER_SECOND, Clock
from virtualloop._world.sleepers import PAUSE, Sleepers


class Keeper:
    """A loop with nothing ahead; `works` says so often that the main thread is at work."""

    def __init__(self, works=0):
        self.thread = threading.current_thread()
        self.works = works

    def threads_may_move(self):
        return False

    def main_is_at_work(self):
        self.works -= 1
        return self.works >= 0


def locked():
    gate = threading.Lock()
    gate.acquire()
    return gate


def test_where_no_loop_runs_a_sleep_is_a_real_one_and_the_clock_goes_on():
    clock = Clock()
    sleepers = Sleepers(clock)
    before = time.monotonic()
    sleepers.sleep_until(5000)
    assert clock.tick == 5000
    sleepers.pause(0)

    assert clock.tick == 5000 + PAUSE
    assert time.monotonic() - before >= (5000 + PAUSE) / TICKS_PER_SECOND - 0.001


def test_where_no_loop_runs_who_is_woken_leaves_the_clock_where_it_is():
    clock = Clock()
    sleepers = Sleepers(clock)
    gate = locked()
    thread = threading.Thread(target=sleepers.wait_until, args=(60 * TICKS_PER_SECOND, gate, lambda: True))
    thread.start()
    gate.release()
    thread.join()

    assert clock.tick == 0


def test_nobody_sleeps_longer_than_the_loop_is_there():
    clock = Clock()
    sleepers = Sleepers(clock)
    sleepers.closed = True
    before = time.monotonic()
    sleepers.sleep_until(60 * TICKS_PER_SECOND)
    sleepers.pass_until(60 * TICKS_PER_SECOND)

    assert time.monotonic() - before < 30
    assert clock.tick == 0


def test_a_step_waits_for_the_main_thread_while_that_is_at_work():
    clock = Clock()
    sleepers = Sleepers(clock)
    sleepers.keeper = Keeper(works=1000)
    gate, over = locked(), threading.Event()

    def release():
        over.set()
        gate.release()

    timer = threading.Timer(0.02, release)
    timer.start()
    sleepers.pass_until(60 * TICKS_PER_SECOND, gate, lambda: not over.is_set())
    timer.join()

    assert clock.tick == 0


def test_a_step_passes_the_time_where_nobody_is_at_work():
    clock = Clock()
    sleepers = Sleepers(clock)
    sleepers.keeper = Keeper(works=2)
    sleepers.pass_until(TICKS_PER_SECOND, locked())

    assert clock.tick == TICKS_PER_SECOND
