"""Who belongs to a world, and that its clock moves only when nobody there can move by himself."""

import _thread
import asyncio
import concurrent.futures
import contextlib
import gc
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest

import virtualloop
from helpers import LEVELS, amount, opened, run
from virtualloop import DeadlockError, VirtualLoop
from virtualloop._world import beginners, patience, system, turns, world
from virtualloop._world.parked import State, look_at
from virtualloop._world.steps import step_now


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(patience, "_spent", {})
    monkeypatch.setattr(patience, "_warned", False)


@contextlib.contextmanager
def in_the_background(**kwargs):
    """Run a VirtualLoop in a thread that this one starts, as a portal does."""
    loop = VirtualLoop(**kwargs)
    errors = []

    def serve():
        try:
            loop.run_forever()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        assert not thread.is_alive()
        loop.close()
    assert errors == []


# --- who moves by himself ---------------------------------------------------------------------------------------------

TIME = 0.1


def selecting():
    select.select([], [], [], TIME)


def sleeping():
    time.sleep(TIME)


def polling_a_descriptor():
    select.poll().poll(TIME * 1000)


def receiving():
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(TIME)
        with contextlib.suppress(TimeoutError):
            here.recv(1)


def an_event():
    threading.Event().wait(TIME)


def a_queue():
    with contextlib.suppress(queue.Empty):
        queue.Queue().get(timeout=TIME)


def a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=TIME)


def a_process():
    subprocess.run([sys.executable, "-S", "-c", "import time; time.sleep(0.2)"], check=True)


def the_output_of_a_process():
    subprocess.run([sys.executable, "-S", "-c", "import time; time.sleep(0.2)"], capture_output=True, check=True)


def a_pool_of_its_own():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(time.sleep, [TIME] * 4))


def a_thread_of_its_own():
    done = threading.Event()
    threading.Timer(TIME, done.set).start()
    done.wait()


def computing():
    until = time.monotonic() + TIME
    while time.monotonic() < until:
        pass


WAITS = [
    sleeping,
    selecting,
    polling_a_descriptor,
    receiving,
    an_event,
    a_queue,
    a_lock,
    a_process,
    the_output_of_a_process,
    a_pool_of_its_own,
    a_thread_of_its_own,
    computing,
]


@pytest.mark.parametrize("limit", [None, 3600])
@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)
def test_a_thread_that_moves_by_itself_is_waited_for(wait, limit):
    async def main():
        loop = asyncio.get_running_loop()
        answers = []
        for job in (True, False):
            answer = loop.create_future()

            def work(answer=answer):
                wait()
                loop.call_soon_threadsafe(answer.set_result, "answer")

            if job:
                await asyncio.wait_for(asyncio.to_thread(work), limit)
            else:
                threading.Thread(target=work).start()
            answers.append(await asyncio.wait_for(answer, limit))
        return answers, loop.time()

    answers, now = run(main)

    assert answers == ["answer", "answer"]
    assert now <= 2 * TIME


def parked_in_an_event(gate):
    event = threading.Event()
    gate.append(event.set)
    event.wait()


def parked_in_a_lock(gate):
    lock = threading.Lock()
    lock.acquire()
    gate.append(lock.release)
    with lock:
        pass


def parked_in_c(gate):
    class Channel(queue.SimpleQueue):
        def get(self, *args):
            return super().get(*args)

    items = Channel()
    gate.append(lambda: items.put(None))
    items.get()


def parked_in_a_future(gate):
    future = concurrent.futures.Future()
    gate.append(lambda: future.set_result(None))
    future.result()


def parked_with_a_limit(gate):
    """Time may pass meanwhile, up to the limit: that is mostly there for the worst case."""
    event = threading.Event()
    gate.append(event.set)
    assert event.wait(60)


@pytest.mark.parametrize(
    "park", [parked_in_an_event, parked_in_a_lock, parked_in_c, parked_in_a_future, parked_with_a_limit]
)
@pytest.mark.parametrize("order", LEVELS)
def test_a_job_that_only_the_loop_can_wake_costs_nothing(park, order):
    async def main():
        loop = asyncio.get_running_loop()
        gate = []
        job = loop.run_in_executor(None, park, gate)
        await asyncio.sleep(5)
        gate[0]()
        await job
        return loop.time()

    began = time.monotonic()
    now = run(main, 3, order=order, thread_patience=600.0 if system.AVAILABLE or park is not parked_in_c else 0.1)

    assert 5 <= now <= 5.1
    assert time.monotonic() - began < 100


def test_an_executor_of_any_kind_that_calls_back():
    class OneThread(concurrent.futures.Executor):
        def submit(self, fn, *args):
            future = concurrent.futures.Future()
            threading.Thread(target=lambda: future.set_result(fn(*args))).start()
            return future

    async def answer():
        await asyncio.sleep(60)
        return 42

    async def main():
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(OneThread(), lambda: asyncio.run_coroutine_threadsafe(answer(), loop).result())
        return await job, loop.time()

    assert run(main, thread_patience=600.0) == (42, 60.0)


def test_an_executor_whose_jobs_are_futures_of_asyncio():
    class OnTheLoop(concurrent.futures.Executor):
        def submit(self, fn, *args):
            future = asyncio.get_running_loop().create_future()
            future.set_result(fn(*args))
            return future

    async def main():
        return await asyncio.get_running_loop().run_in_executor(OnTheLoop(), abs, -3)

    assert run(main) == 3


def test_a_job_whose_result_another_one_needs_does_not_wait_behind_it():
    async def main():
        loop = asyncio.get_running_loop()
        needed = threading.Event()
        first = loop.run_in_executor(None, needed.wait)
        second = loop.run_in_executor(None, abs, -3)
        second.add_done_callback(lambda _: needed.set())
        return await second, await first, loop.time()

    assert run(main, thread_patience=600.0) == (3, True, 0.0)


def test_a_full_pool_whose_jobs_only_the_loop_can_wake():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        gate = threading.Event()
        jobs = [loop.run_in_executor(None, gate.wait), loop.run_in_executor(None, abs, -3)]
        await asyncio.sleep(60)
        gate.set()
        return await asyncio.gather(*jobs), loop.time()

    assert run(main, thread_patience=600.0) == ([True, 3], 60.0)


def test_a_thread_that_was_given_up_and_is_woken_later():
    """It sleeps, is given up, parks, and is at work again when somebody wakes it."""

    async def main():
        loop = asyncio.get_running_loop()
        items = queue.Queue()
        answer = loop.create_future()

        def work():
            time.sleep(0.5)
            items.get()
            time.sleep(0.1)
            loop.call_soon_threadsafe(answer.set_result, "answer")

        threading.Thread(target=work).start()
        await asyncio.sleep(1)
        time.sleep(0.7)
        items.put(None)
        return await asyncio.wait_for(answer, 3600), loop.time()

    assert run(main, thread_patience=0.04) == ("answer", 1.0)


def test_threads_that_start_threads():
    async def main():
        loop = asyncio.get_running_loop()
        answers = []
        for depth in range(30):
            answer = loop.create_future()

            def nest(depth, answer=answer):
                if depth:
                    threading.Thread(target=nest, args=(depth - 1,)).start()
                else:
                    loop.call_soon_threadsafe(answer.set_result, "sent")

            nest(depth % 4 + 1)
            answers.append(await asyncio.wait_for(answer, 60))
        return answers, loop.time()

    assert run(main) == (["sent"] * 30, 0.0)


def test_a_thread_that_sends_without_a_pause_does_not_stop_the_clock():
    async def main():
        loop = asyncio.get_running_loop()
        stop = threading.Event()

        def flood():
            while not stop.is_set():
                loop.call_soon_threadsafe(int)

        thread = threading.Thread(target=flood)
        thread.start()
        await asyncio.sleep(60)
        stop.set()
        thread.join()
        return loop.time()

    with pytest.warns(RuntimeWarning, match="could move by itself"):
        assert run(main, thread_patience=0.2) == 60.0


def test_threads_that_poll_cost_their_patience_once():
    async def main(stop):
        thread = threading.Thread(target=lambda: [time.sleep(0.002) for _ in iter(stop.is_set, True)])
        thread.start()
        await asyncio.sleep(60)
        stop.set()
        thread.join()

    def real_seconds():
        began = time.monotonic()
        run(lambda: main(threading.Event()), thread_patience=1.0)
        return time.monotonic() - began

    with pytest.warns(RuntimeWarning, match=r"could move by itself, at .*test_worlds\.py:\d+"):
        first = real_seconds()

    assert first > 1.0
    assert min(real_seconds(), real_seconds()) < 1.0


def test_threads_that_run_at_once_send_in_the_order_they_were_started():
    async def main():
        loop = asyncio.get_running_loop()
        log = []
        gate = threading.Event()

        def work(number, rounds):
            gate.wait()
            sum(range(rounds))
            loop.call_soon_threadsafe(log.append, number)

        threads = [threading.Thread(target=work, args=(k, 100_000 * (4 - k))) for k in range(4)]
        for thread in threads:
            thread.start()
        await asyncio.sleep(1)
        gate.set()
        await asyncio.sleep(1)
        return log

    for _ in range(10):
        assert run(main) == [0, 1, 2, 3]


def test_what_a_thread_that_was_joined_has_sent_is_there():
    async def main():
        loop = asyncio.get_running_loop()
        log = []
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(log.append, "sent"))
        thread.start()
        thread.join()
        loop.call_soon(log.append, "after")
        await asyncio.sleep(0)
        return log

    assert run(main) == ["sent", "after"]


def replaced():
    return threading.Thread.start, threading.Thread.join, dict(vars(threading))


def test_starting_and_joining_threads_is_left_as_it_was():
    before = replaced()
    others = _thread._count()

    async def main():
        alone = replaced()
        threading.Thread(target=int).start()
        return alone, replaced()

    alone, with_a_thread = run(main)
    # Whom nobody has started nobody joins; a worker of pytest-xdist has a thread besides.
    assert [there is was for there, was in zip(alone[:2], before[:2], strict=True)] == [True, not others]
    assert alone[2] != before[2]
    assert with_a_thread[1] is not before[1]
    assert replaced() == before


def test_what_threads_are_started_by_may_be_somebody_elses(monkeypatch):
    log = []

    def noting(starts, name):
        def start(function, /, *args, **kwargs):
            log.append(name)
            return starts(function, *args, **kwargs)

        return start

    def put_in_front(name):
        there = vars(threading)[world.STARTS]
        monkeypatch.setattr(threading, world.STARTS, noting(there, name))

    async def main(name=None):
        if name is not None:
            put_in_front(name)
        thread = threading.Thread(target=time.sleep, args=(0.05,))
        thread.start()
        homes.append(world.started_in(thread))
        await asyncio.sleep(1)
        return thread.is_alive()

    homes = []
    put_in_front("older")
    older = vars(threading)[world.STARTS]
    assert run(main) is run(lambda: main("newer")) is run(main) is False  # who is in front keeps ours behind him
    assert log == ["older", "newer", "older", "newer", "older"]
    monkeypatch.setattr(threading, world.STARTS, older)
    assert run(main) is False
    monkeypatch.undo()
    assert run(main) is False
    assert None not in homes
    assert not log[6:]


def test_a_thread_that_is_none_of_threadings_is_started_as_ever():
    async def main():
        ran = threading.Event()
        starts = getattr(threading, world.STARTS)
        starts(ran.set) if "joinable" in world.STARTS else starts(ran.set, ())
        return ran.wait(60)

    assert run(main)


def test_a_loop_that_runs_in_a_step_of_another_one():
    """As nest_asyncio and its kin have it."""

    async def inner():
        thread = threading.Thread(target=int)
        thread.start()
        await asyncio.sleep(5)
        return world.started_in(thread)

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        asyncio._leave_task(loop, task)
        asyncio._set_running_loop(None)
        try:
            home = run(inner)
        finally:
            asyncio._set_running_loop(loop)
            asyncio._enter_task(loop, task)
        await asyncio.sleep(1)
        return home is not None, loop.time()

    before = replaced()
    assert run(main) == (True, 1.0)
    assert replaced() == before


def test_the_main_thread_is_at_work_or_waits():
    seen = []
    with opened() as loop:
        threads = loop._threads
        assert not threads.main_is_at_work()  # It is this one.
        thread = threading.Thread(target=lambda: seen.append(threads.main_is_at_work()))
        thread.start()
        while not seen:
            pass
        thread.join()

        def wait_until_it_waits():
            while threads.main_is_at_work():
                time.sleep(0.001)

        thread = threading.Thread(target=wait_until_it_waits)
        thread.start()
        thread.join()

    assert seen == [True]


def test_a_thread_that_has_not_begun_is_parked_nowhere():
    assert turns.where_parked(threading.Thread(target=int)) is None


def test_outside_of_a_loop_there_is_no_step():
    assert step_now() is None


def test_a_thread_that_cannot_be_started():
    async def main():
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            thread.start()
        await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    assert run(main) == 1.0


# --- loops in threads -------------------------------------------------------------------------------------------------


def test_the_clock_stands_while_a_synchronous_test_works():
    async def handler(go):
        async with asyncio.timeout(10):
            await go.wait()
        await asyncio.sleep(30)
        return asyncio.get_running_loop().time()

    with in_the_background() as loop:
        go = asyncio.Event()
        request = asyncio.run_coroutine_threadsafe(handler(go), loop)
        sum(range(3_000_000))
        loop.call_soon_threadsafe(go.set)

        assert request.result(60) == 30.0


def test_time_passes_for_a_pause_of_a_synchronous_test():
    async def beat(beats):
        while True:
            await asyncio.sleep(0.05)
            beats.append(asyncio.get_running_loop().time())

    with in_the_background() as loop:
        beats = []
        beating = asyncio.run_coroutine_threadsafe(beat(beats), loop)
        time.sleep(0.5)
        seen = len(beats)
        beating.cancel()
        time.sleep(0.1)

        assert 8 <= seen <= (11 if system.AVAILABLE else 10**9)


def test_a_background_loop_outlives_what_is_no_deadlock():
    async def work():
        return "done"

    with in_the_background() as loop:
        answers = [asyncio.run_coroutine_threadsafe(work(), loop).result(5)]
        other = threading.Thread(target=time.sleep, args=(0.3,))
        other.start()
        other.join()
        answers.append(asyncio.run_coroutine_threadsafe(work(), loop).result(5))

    assert answers == ["done", "done"]


def test_loops_that_have_news_at_once_do_not_leave_it_to_each_other():
    def ask(loop):
        for _ in range(50):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()

    def work():
        with in_the_background() as inner:
            ask(inner)

    async def serve():
        await asyncio.to_thread(work)

    with in_the_background() as outer:
        served = asyncio.run_coroutine_threadsafe(serve(), outer)
        ask(outer)
        served.result()


def test_a_step_that_waits_for_another_loop_with_a_limit_leaves_it_the_turn():
    released = []

    async def main():
        go_on = threading.Event()

        async def block():
            released.append(go_on.wait(60))

        with in_the_background() as other:
            future = asyncio.run_coroutine_threadsafe(block(), other)
            go_on.set()
            await asyncio.wrap_future(future)
            go_on.clear()
            future = asyncio.run_coroutine_threadsafe(block(), other)
            # It is in that step by the time that this one goes on, in a turn of its own.
            await asyncio.sleep(0)
            go_on.set()
            await asyncio.wrap_future(future)

    run(main)

    assert released == [True, True]


@pytest.mark.parametrize("patch_time", [False, True])
def test_a_deadlock_in_the_background_is_told_to_who_waits(patch_time):
    async def stuck(event):
        await event.wait()
        return "set"

    async def work():
        return "done"

    with in_the_background(patch_time=patch_time) as loop:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()  # It runs.
        event = asyncio.Event()
        with pytest.raises(DeadlockError, match="stuck"):
            asyncio.run_coroutine_threadsafe(stuck(event), loop).result()
        loop.call_soon_threadsafe(event.set)

        assert asyncio.run_coroutine_threadsafe(work(), loop).result() == "done"


@pytest.mark.parametrize("start", [0.0, 1.8e9])
def test_two_loops_have_one_clock_and_take_turns(start):
    other = VirtualLoop(start=start)
    log = []

    async def beat():
        for _ in range(5):
            await asyncio.sleep(2)
            log.append(("other", other.time() - start))

    async def main():
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=other.run_until_complete, args=(beat(),))
        thread.start()
        for _ in range(3):
            await asyncio.sleep(3)
            time.sleep(0.01)
            log.append(("main", loop.time()))
        await asyncio.to_thread(thread.join)

    run(main)
    other.close()

    assert log == [
        ("other", 2.0),
        ("main", 3.0),
        ("other", 4.0),
        ("main", 6.0),
        ("other", 6.0),
        ("other", 8.0),
        ("main", 9.0),
        ("other", 10.0),
    ]


def test_a_loop_that_awaits_what_another_one_does():
    other = VirtualLoop()

    async def serve(seconds):
        await asyncio.sleep(seconds)
        return other.time()

    async def main():
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=other.run_forever)
        thread.start()
        answers = []
        for seconds in (0, 10, 3600):
            future = asyncio.run_coroutine_threadsafe(serve(seconds), other)
            answers.append((await asyncio.wrap_future(future), loop.time()))
        # A step that is parked does not keep its turn.
        answers.append((asyncio.run_coroutine_threadsafe(serve(5), other).result(), None))
        other.call_soon_threadsafe(other.stop)
        thread.join()
        return answers

    answers = run(main)
    other.close()

    assert answers == [(0.0, 0.0), (10.0, 10.0), (3610.0, 3610.0), (3615.0, None)]


def test_a_step_that_runs_a_loop_in_a_thread_and_joins_it():
    async def inner():
        await asyncio.sleep(60)
        return "inner"

    async def main():
        loop = asyncio.get_running_loop()
        results = []
        thread = threading.Thread(target=lambda: results.append(run(inner)))
        thread.start()
        thread.join()
        await asyncio.sleep(1)
        return results, loop.time()

    assert run(main) == (["inner"], 61.0)


def test_a_service_in_a_thread_does_not_run_away():
    other = VirtualLoop()
    ticks = []

    async def beat():
        while True:
            await asyncio.sleep(1)
            ticks.append(None)

    async def main():
        thread = threading.Thread(target=other.run_until_complete, args=(other.create_task(beat()),), daemon=True)
        thread.start()
        await asyncio.sleep(10)
        time.sleep(0.1)
        ticked = len(ticks)
        other.call_soon_threadsafe(other.stop)
        with contextlib.suppress(RuntimeError):
            await asyncio.to_thread(thread.join)
        return ticked

    hook, threading.excepthook = threading.excepthook, lambda args: None
    try:
        assert 9 <= run(main) <= 10
    finally:
        threading.excepthook = hook
        for task in asyncio.all_tasks(other):
            task.cancel()
        other.run_until_idle()
        other.close()


def test_a_stock_loop_in_a_thread_is_waited_for_until_its_timers_are_done():
    other = asyncio.SelectorEventLoop()

    async def serve(seconds):
        await asyncio.sleep(seconds)
        return 42

    async def main():
        thread = threading.Thread(target=other.run_forever)
        thread.start()
        loop = asyncio.get_running_loop()
        answers = [
            await asyncio.wait_for(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(serve(s), other)), 3600)
            for s in (0.0, 0.2)
        ]
        began = time.monotonic()
        await asyncio.sleep(3600)
        took = time.monotonic() - began
        other.call_soon_threadsafe(other.stop)
        thread.join()
        return answers, loop.time(), took < 1

    assert run(main) == ([42, 42], 3600.0, True)
    other.close()


def test_explorations_in_two_threads_stay_apart():
    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.gather(*[asyncio.sleep(k) for k in range(3)])
        assert loop.time() >= 2

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: virtualloop.explore(main, runs=5, seed=1), range(2)))

    assert [exploration.failure for exploration in found] == [None, None]
    assert found[0].runs == found[1].runs


def test_a_deadlock_does_not_say_that_no_thread_is_at_work():
    """A thread that is longer in C than anybody would wait for it."""
    server = socket.create_server(("127.0.0.1", 0))

    def accept():
        server.accept()[0].close()

    async def main():
        threading.Thread(target=accept).start()
        await asyncio.Event().wait()

    with server:
        with pytest.warns(RuntimeWarning, match="could move by itself"), pytest.raises(DeadlockError) as caught:
            run(main, thread_patience=0.02)
        socket.create_connection(server.getsockname()).close()

    assert "no thread is at work" not in str(caught.value)
    assert "thread 'Thread-" in str(caught.value)


def test_a_world_that_nobody_needs_any_more_is_gone():
    gate = threading.Event()

    async def main():
        thread = threading.Thread(target=gate.wait)
        thread.loop = asyncio.get_running_loop()
        thread.start()
        return weakref.ref(thread.loop), thread

    loop, thread = run(main)
    gate.set()
    thread.join()
    del thread
    gc.collect()

    assert loop() is None


def test_what_comes_to_a_descriptor_of_another_loop_comes_before_the_next_timer():
    """A server on a loop in a thread, a client on another one, real sockets between the two."""
    here, there = socket.socketpair()

    async def main():
        loop = asyncio.get_running_loop()
        answers = []
        for _ in range(3):
            answer = loop.create_future()
            loop.add_reader(here, lambda answer=answer: answer.set_result(here.recv(10)))
            here.send(b"ping")
            async with asyncio.timeout(20):
                answers.append(await answer)
        return answers, loop.time()

    with here, there, in_the_background() as other:
        other.call_soon_threadsafe(other.add_reader, there, lambda: there.send(there.recv(10).upper()))
        answers, now = run(main)
        other.call_soon_threadsafe(other.remove_reader, there)
    assert (answers, now) == ([b"PING"] * 3, 0.0)


WORKS = "import time\nuntil = time.monotonic() + 0.2\nwhile time.monotonic() < until: pass\nprint('done')"


async def awaits_its_child():
    child = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", WORKS, stdout=subprocess.PIPE)
    text, _ = await child.communicate()
    return text


async def watches_its_child():
    with subprocess.Popen([sys.executable, "-S", "-c", WORKS], stdout=subprocess.PIPE) as child:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), child.stdout
        )
        text = await reader.read()
        transport.close()
    return text


@pytest.mark.skipif(not system.AVAILABLE, reason="this system does not tell who has a pipe")
@pytest.mark.parametrize("use", [awaits_its_child, watches_its_child])
def test_a_loop_that_waits_for_its_turn_holds_the_clock_for_its_child(use):
    async def limited():
        async with asyncio.timeout(5):
            return await use()

    found = []

    def serve():
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(thread_patience=60)) as runner:
            found.append(runner.run(limited()))

    async def main():
        thread = threading.Thread(target=serve)
        thread.start()
        for _ in range(100):
            await asyncio.sleep(0.1)
        thread.join()

    run(main, thread_patience=60)

    assert found == [b"done\n"]


@pytest.mark.parametrize("number", [1, 2])
def test_loops_in_threads_that_have_nothing_to_do_wait_for_whoever_sends_something(number):
    """For longer than patience lasts: what is sent at last is done, by each of them."""
    loops = [VirtualLoop(thread_patience=0.05) for _ in range(number)]
    threads = [threading.Thread(target=loop.run_forever) for loop in loops]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    answers = [asyncio.run_coroutine_threadsafe(asyncio.sleep(3600, k), loop) for k, loop in enumerate(loops)]
    assert [answer.result() for answer in answers] == list(range(number))
    for loop, thread in zip(loops, threads, strict=True):
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("rounds", [0, 300_000, 1_000_000])
def test_a_loop_that_is_about_to_run_in_a_thread_is_waited_for(rounds):
    """The thread was started before the loop that has to wait for it was made."""
    ticks = []

    async def beats():
        for _ in range(3):
            await asyncio.sleep(1)
            ticks.append(None)

    def serve():
        sum(range(rounds))
        other.run_forever()

    async def main():
        heart = asyncio.run_coroutine_threadsafe(beats(), other)
        time.sleep(2.5)
        seen = len(ticks)
        await asyncio.wrap_future(heart)
        return seen

    for _ in range(amount(3, 100)):
        ticks.clear()
        other = VirtualLoop(patch_time=True)
        thread = threading.Thread(target=serve)
        thread.start()
        assert run(main, patch_time=True) == 2
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()


def test_who_works_for_somebody_else_is_waited_for_once(monkeypatch):
    stop = threading.Event()
    looks = []
    look = beginners.look_at
    monkeypatch.setattr(beginners, "look_at", lambda *args: looks.append(None) or look(*args))
    thread = threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(stop.is_set, True)])
    thread.start()

    run(lambda: asyncio.sleep(1))
    first = len(looks)
    run(lambda: asyncio.sleep(1))

    assert first > 1
    assert len(looks) == first
    stop.set()
    thread.join()


# --- threads that are nobody's ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not system.AVAILABLE, reason="this system tells nothing about processes")
def test_a_service_that_is_a_child_makes_nobody_busy_who_waits_for_somebody_else():
    """A thread that is older than the loop, and a child that it does not wait for, beside a job that is parked."""
    here, there = socket.socketpair()
    gate = threading.Event()

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(3600, gate.set)
        await loop.run_in_executor(None, gate.wait)
        return loop.time()

    with here, there, subprocess.Popen(["/bin/sleep", "60"]) as service:
        thread = threading.Thread(target=here.recv, args=(1,))
        thread.start()
        while look_at(thread, sys._current_frames()[thread.ident]).state is not State.PARKED:
            pass
        assert run(main, thread_patience=600) == 3600
        there.send(b"x")
        thread.join()
        service.kill()


@pytest.mark.skipif(not system.AVAILABLE, reason="this system does not tell what a thread waits in")
def test_the_threads_of_a_notebook_are_not_waited_for(tmp_path):
    """Its loop in the main thread waits for the user, and another thread of its own for the machine."""
    folder = tmp_path / "site-packages" / "ipykernel"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "kernelapp.py").write_text(NOTEBOOK)
    subprocess.run(
        [sys.executable, "-m", "ipykernel.kernelapp"],
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder.parent), *sys.path])},
    )


NOTEBOOK = """
import asyncio, socket, threading
from virtualloop import DeadlockError, VirtualLoop

CELL = '''
def cell():
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(thread_patience=600)) as runner:
        try:
            runner.run(asyncio.Event().wait())
        except DeadlockError:
            return True
'''
pairs = [socket.socketpair() for _ in range(3)]
threading.Thread(target=lambda: pairs[0][0].recv(1), daemon=True).start()

async def kernel():
    namespace = {**globals()}
    exec(CELL, namespace)
    for here, _ in pairs[1:]:
        asyncio.get_running_loop().add_reader(here, print)
    assert await asyncio.to_thread(namespace["cell"])

asyncio.run(kernel())
"""


@pytest.mark.parametrize("patch_time", [False, True])
def test_a_step_that_waits_within_a_limit_has_the_other_loops_run(patch_time):
    """A wait for one of their results, with a limit that is a span of the world's time where that is patched."""

    async def works(seconds):
        await asyncio.sleep(seconds)
        return seconds

    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        results = [asyncio.run_coroutine_threadsafe(works(seconds), other).result(5) for seconds in (0, 1, 2)]
        if patch_time:
            late = asyncio.run_coroutine_threadsafe(works(9), other)
            with pytest.raises(concurrent.futures.TimeoutError):
                late.result(5)
            results.append(late.result(5))
        return results, round(loop.time() - began, 3)

    with in_the_background(patch_time=patch_time) as other:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), other).result()  # It runs.
        assert run(main, patch_time=patch_time) == (([0, 1, 2, 9], 12) if patch_time else ([0, 1, 2], 3))


def test_other_loops_run_while_a_step_sleeps():
    ticks = []

    async def beats():
        for _ in range(3):
            await asyncio.sleep(1)
            ticks.append(round(time.monotonic() - began, 3))

    async def main():
        nonlocal began
        began = time.monotonic()
        heart = asyncio.run_coroutine_threadsafe(beats(), other)
        time.sleep(2.5)
        seen = [*ticks]
        await asyncio.wrap_future(heart)
        return seen

    began = 0.0
    with in_the_background(patch_time=True) as other:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), other).result()  # It runs.
        assert run(main, patch_time=True) == [1, 2]
    assert ticks == [1, 2, 3]
