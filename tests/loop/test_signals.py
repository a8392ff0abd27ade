import asyncio
import os
import signal
import socket
import threading
import time

import pytest

from helpers import LEVELS, opened, run
from virtualloop import DeadlockError


@pytest.mark.parametrize("order", LEVELS)
def test_a_signal_runs_its_handler_on_the_loop(order):
    async def main():
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, arrived.set_result, "arrived")
        loop.call_later(1, signal.raise_signal, signal.SIGUSR1)
        return await arrived, loop.time()

    assert run(main, 3, order=order)[0] == "arrived"
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_signal_arrives_while_the_loop_waits_for_a_thread():
    async def main():
        loop = asyncio.get_running_loop()
        stop = threading.Event()
        loop.add_signal_handler(signal.SIGUSR1, stop.set)

        def job():
            os.kill(os.getpid(), signal.SIGUSR1)
            return stop.wait(30)

        return await asyncio.to_thread(job)

    assert run(main, thread_patience=600.0)


def test_a_signal_on_its_way_is_no_deadlock():
    async def main():
        event = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, event.set)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        await event.wait()
        return asyncio.get_running_loop().time()

    assert run(main, thread_patience=60.0) == 0.0


@pytest.mark.parametrize("order", LEVELS)
def test_a_signal_whose_handler_somebody_has_replaced(order):
    """A stock loop hears of it as well, since it goes by what the system's handler writes."""

    async def main():
        loop = asyncio.get_running_loop()
        ran = []
        loop.add_signal_handler(signal.SIGUSR1, ran.append, "on the loop")
        signal.signal(signal.SIGUSR1, lambda *_: ran.append("replaced"))
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.01)
        event = asyncio.Event()
        loop.add_signal_handler(signal.SIGALRM, event.set)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        await event.wait()
        return ran

    assert run(main, 3, order=order, thread_patience=60.0) == ["replaced", "on the loop"]


def test_who_was_written_to_before_is_written_to_again():
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        signal.set_wakeup_fd(there.fileno())
        with opened() as loop:
            loop.add_signal_handler(signal.SIGUSR1, int)
            loop.add_signal_handler(signal.SIGUSR2, int)
            loop.remove_signal_handler(signal.SIGUSR1)
            loop.remove_signal_handler(signal.SIGUSR2)

        assert signal.set_wakeup_fd(-1) == there.fileno()


def test_a_handler_is_replaced_and_removed():
    with opened() as loop:
        ran = []
        loop.add_signal_handler(signal.SIGUSR1, ran.append, "first")
        loop.add_signal_handler(signal.SIGUSR1, ran.append, "second")
        signal.raise_signal(signal.SIGUSR1)
        loop.run_until_idle()

        assert ran == ["second"]
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)
        loop.add_signal_handler(signal.SIGINT, int)
        loop.remove_signal_handler(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_removed_before_it_is_delivered():
    with opened() as loop:
        loop.add_signal_handler(signal.SIGUSR1, pytest.fail)
        signal.raise_signal(signal.SIGUSR1)
        loop.remove_signal_handler(signal.SIGUSR1)
        loop.run_until_idle()


def test_a_handler_that_was_cancelled_is_removed():
    with opened() as loop:
        loop.add_signal_handler(signal.SIGUSR1, pytest.fail)
        loop._signals._handles[signal.SIGUSR1].cancel()
        signal.raise_signal(signal.SIGUSR1)
        loop.run_until_idle()

        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_handler_that_cannot_be_set_leaves_the_one_before(monkeypatch):
    with opened() as loop:
        ran = []
        loop.add_signal_handler(signal.SIGUSR1, ran.append, "before")

        def refuse(sig, handler):
            raise ValueError("not now")

        with monkeypatch.context() as patch:
            patch.setattr(signal, "signal", refuse)
            with pytest.raises(ValueError, match="not now"):
                loop.add_signal_handler(signal.SIGUSR1, ran.append, "after")
        signal.raise_signal(signal.SIGUSR1)
        loop.run_until_idle()

        assert ran == ["before"]


def test_nothing_to_remove():
    with opened() as loop:
        assert not loop.remove_signal_handler(signal.SIGUSR1)


def test_bad_signals():
    with opened() as loop:

        async def coroutine():
            pass

        with pytest.raises(TypeError, match="sig must be an int"):
            loop.add_signal_handler("USR1", int)
        with pytest.raises(ValueError, match="invalid signal number 10000"):
            loop.add_signal_handler(10_000, int)
        with pytest.raises(ValueError, match="invalid signal number"):
            loop.remove_signal_handler(10_000)
        with pytest.raises(RuntimeError, match="cannot be caught"):
            loop.add_signal_handler(signal.SIGKILL, int)
        with pytest.raises(TypeError, match="coroutines cannot be used with add_signal_handler"):
            loop.add_signal_handler(signal.SIGUSR1, coroutine)
        assert not loop.remove_signal_handler(signal.SIGKILL)


def test_only_in_the_main_thread():
    errors = []

    def target():
        with opened() as loop:
            try:
                loop.add_signal_handler(signal.SIGUSR1, int)
            except RuntimeError as error:
                errors.append(str(error))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()

    assert errors == ["signals can only be handled by a loop in the main thread of the main interpreter"]


def test_control_c_cancels_the_main_task():
    async def main():
        try:
            asyncio.get_running_loop().call_later(1, signal.raise_signal, signal.SIGINT)
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(asyncio.get_running_loop().time())
            raise

    cancelled = []
    with pytest.raises(KeyboardInterrupt):
        run(main)

    assert cancelled == [1.0]


# --- alarms -----------------------------------------------------------------------------------------------------------


async def alarmed(first, interval=0.0, times=1, beat=None):
    """Wait for alarms; return when they came, and how often a heartbeat has."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    caught = []
    beats = 0

    def ring():
        caught.append(loop.time())
        if len(caught) == times:
            done.set_result(None)

    loop.add_signal_handler(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, first, interval)
    try:
        async with asyncio.timeout(60):
            while not done.done():
                await asyncio.wait([done], timeout=beat)
                beats += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        loop.remove_signal_handler(signal.SIGALRM)
    return caught, beats


@pytest.mark.parametrize("order", LEVELS)
def test_the_clock_does_not_pass_an_alarm_that_is_set_for_the_loop(order):
    assert run(lambda: alarmed(0.05), 1, order=order) == ([0.0], 1)


def test_what_comes_before_an_alarm_costs_no_time():
    """Timers that are due before it run before it, and at once."""
    times, beats = run(lambda: alarmed(0.08, beat=0.03))

    assert (times, beats) == ([0.06], 3)


def test_alarms_that_ring_for_ever_do_not_stop_the_clock():
    async def main():
        rung = asyncio.create_task(alarmed(0.05, 0.05, 100))
        await asyncio.sleep(0.12)
        rung.cancel()
        await asyncio.wait([rung])

    run(main)


def test_a_handler_that_takes_longer_than_a_pause_does_not_make_it_last_for_ever():
    """As on a busy machine: it is run in the midst of a wait for the alarm."""

    def send():
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda number, frame: time.sleep(0.05))
    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert run(lambda: alarmed(0.3)) == ([0.0], 1)
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def test_an_alarm_that_is_far_ahead_is_not_waited_for():
    async def main():
        with pytest.raises(TimeoutError):
            await alarmed(3600)
        return asyncio.get_running_loop().time()

    assert run(main) == 60


def test_a_signal_that_never_comes_is_a_deadlock():
    async def main():
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, arrived.set_result, "arrived")
        return await arrived

    with pytest.raises(DeadlockError):
        run(main, thread_patience=0.05)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
