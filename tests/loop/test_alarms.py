"""What SIGALRM's handler raises ends the run, whatever it interrupts: so do limits of time end a test that hangs."""

import asyncio
import gc
import signal
import sys
import threading
import time

import pytest

from helpers import run
from virtualloop import Trace, VirtualLoop, explore
from virtualloop._loop import drive
from virtualloop._loop.alarms import heard
from virtualloop._world import shares, world
from virtualloop._world.aliases import Substitution
from virtualloop._world.entropy import Dice

#: No spin is found before the alarm.
ENDLESS = 10**15


class Limit(Exception):  # noqa: N818  # it is no error of the program
    pass


class Outcome(BaseException):
    """As pytest's own are."""


async def polling():
    while True:
        await asyncio.sleep(0)


async def heartbeat():
    """One task repeats itself, and another waits in vain."""

    async def beat():
        while True:
            await asyncio.sleep(1)

    asyncio.create_task(beat())
    await asyncio.get_running_loop().create_future()


async def in_a_callback():
    def again():
        sum(range(100))
        asyncio.get_running_loop().call_soon(again)

    again()
    await asyncio.get_running_loop().create_future()


async def in_a_timer():
    def again():
        sum(range(100))
        asyncio.get_running_loop().call_later(1, again)

    again()
    await asyncio.get_running_loop().create_future()


async def in_one_step():
    while True:
        sum(range(100))


async def in_a_task_that_nobody_asks():
    async def work():
        while True:
            sum(range(1000))
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.gather(*tasks, return_exceptions=True)
    await polling()


async def catching():
    while True:
        try:
            await asyncio.sleep(0)
            sum(range(1000))
        except (Limit, Outcome):
            continue


async def two_that_wake_each_other():
    there, back = asyncio.Queue(), asyncio.Queue()
    there.put_nowait("ball")

    async def play(take, give):
        while True:
            give.put_nowait(await take.get())

    await asyncio.gather(play(there, back), play(back, there))


async def over_the_network():
    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)

    await asyncio.start_server(echo, port=80)
    reader, writer = await asyncio.open_connection("localhost", 80)
    while True:
        writer.write(b"ball")
        await reader.readexactly(4)


async def in_a_thread():
    await asyncio.to_thread(release.wait, 60)


HANGS = [polling, heartbeat, in_a_callback, in_a_timer, in_one_step, in_a_task_that_nobody_asks, catching]
HANGS += [two_that_wake_each_other, over_the_network, in_a_thread]
release = threading.Event()


@pytest.fixture(params=[Limit, Outcome], ids=lambda kind: kind.__name__)
def alarm(request, own_garbage):
    """Have an alarm that comes once end in an exception; the test sets it, where that is expected."""

    def ring(number, frame):
        release.set()
        raise request.param("time is up")

    release.clear()
    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield request.param
        # Whatever stood in front of it is gone.
        assert signal.getsignal(signal.SIGALRM) is ring
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        # An alarm in the last lines of a run, where the loop stops being the running one, is as on the stock loop.
        asyncio._set_running_loop(None)
        sys.set_asyncgen_hooks(firstiter=None, finalizer=None)
        gc.collect()  # What was interrupted is this test's, also what it says when it goes.


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["plain", "seeded", "debug", "traced"])
@pytest.mark.parametrize("main", HANGS, ids=lambda main: main.__name__)
def test_an_alarm_ends_a_run(main, how, alarm):
    loop = VirtualLoop(
        7 if how == "seeded" else None,
        spin_limit=ENDLESS,
        thread_patience=60,
        trace=Trace() if how == "traced" else None,
    )
    loop.set_debug(how == "debug")
    loop.slow_callback_duration = 60
    loop.set_exception_handler(lambda loop, context: None)
    task = loop.create_task(main())
    with pytest.raises(alarm):  # noqa: PT012  # on a busy machine it rings before the run begins
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        loop.run_until_complete(task)
    task.cancel()
    loop.close()
    del loop, task
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("main", [polling, heartbeat, in_a_callback, in_one_step], ids=lambda main: main.__name__)
def test_an_alarm_ends_an_exploration(main, alarm):
    async def never_ending():
        for _ in range(100):
            await asyncio.sleep(0.01)
        await asyncio.wait([asyncio.create_task(main())], timeout=20)

    with pytest.raises(alarm) as raised:  # noqa: PT012  # as above
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        explore(never_ending, runs=ENDLESS)
    assert "Replay it" not in "".join(getattr(raised.value, "__notes__", ()))


def test_an_alarm_that_has_raised_leaves_nothing_in_front_of_its_handler():
    """Whichever line it interrupts: here the last of __enter__, after which nothing calls __exit__."""

    def ring(number, frame):
        raise Limit

    before = signal.signal(signal.SIGALRM, ring)
    try:
        heard(bool).__enter__()
        assert signal.getsignal(signal.SIGALRM) is not ring
        with pytest.raises(Limit):
            signal.raise_signal(signal.SIGALRM)
        assert signal.getsignal(signal.SIGALRM) is ring
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_alarm_that_does_not_raise_changes_nothing():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))

    async def main():
        loop = asyncio.get_running_loop()
        signal.raise_signal(signal.SIGALRM)
        await asyncio.sleep(1)
        return loop.time()

    try:
        assert run(main) == 1.0
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_handler_that_the_program_sets_is_its_own():
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)

    def handler(number, frame):
        raise Limit

    async def main():
        signal.signal(signal.SIGALRM, handler)

    try:
        run(main)
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_handler_of_the_loop_stays_where_it_is():
    loop = VirtualLoop()
    rung = loop.create_future()
    loop.add_signal_handler(signal.SIGALRM, rung.set_result, "rung")
    handler = signal.getsignal(signal.SIGALRM)

    async def main():
        assert signal.getsignal(signal.SIGALRM) == handler
        signal.raise_signal(signal.SIGALRM)
        return await rung

    assert loop.run_until_complete(main()) == "rung"
    loop.close()
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


@pytest.mark.parametrize("where", ["sit down", "get up"])
def test_an_alarm_at_the_start_or_the_end_of_a_run_leaves_nothing_half_done(where, monkeypatch, own_garbage):
    def ring(number, frame):
        raise Limit

    name = {"sit down": "enter_world", "get up": "leave_world"}[where]
    before = signal.signal(signal.SIGALRM, ring)
    done = getattr(drive, name)

    def interrupted(*args, **kwargs):
        signal.raise_signal(signal.SIGALRM)
        return done(*args, **kwargs)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(drive, name, interrupted)
            with pytest.raises(Limit):
                run(lambda: asyncio.sleep(1))
        assert signal.getsignal(signal.SIGALRM) is ring
    finally:
        signal.signal(signal.SIGALRM, before)
    assert asyncio._get_running_loop() is None
    assert not world.runs_a_loop(threading.main_thread())


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["hold", "exchange_random", "release"])
def test_an_alarm_leaves_no_run_of_an_exploration_half_begun_or_half_ended(what, when, monkeypatch):
    """Whatever it interrupts of that: clocks and dice are those of the process again."""

    def ring(number, frame):
        raise Limit

    where = {"hold": Substitution, "exchange_random": Dice, "release": Substitution}[what]
    done = getattr(where, what)
    calls = 0

    def interrupted(*args, **kwargs):
        nonlocal calls
        calls += 1
        if when == "before" and calls == nth:
            signal.raise_signal(signal.SIGALRM)
        done(*args, **kwargs)
        if when == "after" and calls == nth:
            signal.raise_signal(signal.SIGALRM)

    async def main():
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2))

    nth = 0
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(where, what, interrupted)
            explore(main, runs=3)
        for nth in range(1, calls + 1):
            calls = 0
            with monkeypatch.context() as patch:
                patch.setattr(where, what, interrupted)
                with pytest.raises(Limit):
                    explore(main, runs=3)
            assert calls >= nth
            assert shares.share_here() is None
            assert type(time.time) is type(len)
    finally:
        signal.signal(signal.SIGALRM, before)
