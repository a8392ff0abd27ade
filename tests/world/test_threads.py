"""Jobs and threads: the clock waits for them, and what they send comes in at one point, in one order."""

import asyncio
import concurrent.futures
import gc
import itertools
import multiprocessing
import queue
import sys
import threading
import time
import weakref

import pytest

from helpers import LEVELS, opened, run
from virtualloop import DeadlockError
from virtualloop._world import parked, patience, system, threads
from virtualloop._world.callers import release_caller
from virtualloop._world.threads import Threads

TOLD = "the clock goes on although thread '.*' could move by itself, at .*test_threads.py:"


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """No test knows what patience was spent on in another one."""
    monkeypatch.setattr(patience, "_spent", {})
    monkeypatch.setattr(patience, "_warned", False)


async def to_executor(function, *args):
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


# --- jobs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", LEVELS)
def test_the_clock_stands_still_while_a_job_runs(order):
    async def main():
        loop = asyncio.get_running_loop()
        timer = loop.call_later(1, int)
        await asyncio.to_thread(time.sleep, 0.05)
        timer.cancel()
        return loop.time()

    assert run(main, 3, order=order) <= 0.05


def test_a_job_runs_in_another_thread_with_the_context_of_to_thread():
    async def main():
        return await asyncio.to_thread(threading.get_ident)

    assert run(main) != threading.get_ident()


@pytest.mark.parametrize("durations", [(0.03, 0.0, 0.015), (0.0, 0.015, 0.03)])
def test_results_come_in_by_submission_whatever_the_durations(durations):
    async def main():
        log = []

        async def job(i):
            await asyncio.to_thread(time.sleep, durations[i])
            log.append(i)

        await asyncio.gather(*map(job, range(3)))
        return log

    assert run(main) == [0, 1, 2]
    assert run(main, 5) == run(main, 5)


def test_a_jobs_exception_is_raised_where_it_is_awaited():
    def fail():
        raise LookupError("no")

    async def main():
        with pytest.raises(LookupError, match="no"):
            await to_executor(fail)

    run(main)


def test_a_job_that_calls_back_into_the_loop():
    async def main():
        loop = asyncio.get_running_loop()

        async def in_loop(n):
            await asyncio.sleep(n)
            return loop.time()

        def job():
            first = asyncio.run_coroutine_threadsafe(in_loop(1), loop).result()
            return first, asyncio.run_coroutine_threadsafe(in_loop(3600), loop).result()

        return await to_executor(job)

    assert run(main) == (1.0, 3601.0)


def test_a_job_that_waits_for_an_event_of_the_loop():
    async def main():
        loop = asyncio.get_running_loop()
        event = threading.Event()
        loop.call_later(5, event.set)
        await to_executor(event.wait)
        return loop.time()

    assert run(main, thread_patience=0.05) == 5.0


def test_a_timeout_around_a_job_that_never_ends():
    async def main():
        loop = asyncio.get_running_loop()
        event = threading.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await to_executor(event.wait)
        event.set()
        return loop.time()

    assert run(main, thread_patience=0.05) == 10.0


def test_more_jobs_than_threads():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(2))
        return await asyncio.gather(*[to_executor(lambda i=i: i) for i in range(50)])

    assert run(main) == list(range(50))


def test_a_cancelled_job_that_has_not_started_never_runs():
    ran = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        gate = threading.Event()
        first = loop.run_in_executor(None, gate.wait)
        second = loop.run_in_executor(None, ran.append, "second")
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        gate.set()
        await first
        assert second.cancelled()

    run(main, thread_patience=0.05)

    assert ran == []


def test_who_goes_from_job_to_job_does_not_poll():
    async def main():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            async with asyncio.timeout(60):
                await asyncio.gather(*(loop.run_in_executor(executor, time.sleep, 0.01) for _ in range(60)))
        return loop.time()

    assert run(main, thread_patience=0.1) == 0


# CPython 3.13 may free a buffer of multiprocessing's before the view of it, and complains; here, not in a later test.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.BytesIO:pytest.PytestUnraisableExceptionWarning")
def test_another_executor_and_one_of_processes():
    async def main():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            assert await loop.run_in_executor(threads, int) == 0
        context = __import__("multiprocessing").get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as processes:
            assert await loop.run_in_executor(processes, abs, -3) == 3
        return loop.time()

    assert run(main) == 0.0
    gc.collect()


def test_a_job_that_completes_after_the_loop_was_closed():
    gate = threading.Event()
    with opened() as loop:
        executor = concurrent.futures.ThreadPoolExecutor(1)
        future = loop.run_in_executor(executor, gate.wait)
        loop.call_soon(loop.stop)
        loop.run_forever()
    gate.set()
    executor.shutdown()

    assert not future.done()


# --- threads of libraries ---------------------------------------------------------------------------------------------


class Worker(threading.Thread):
    """A thread as anyio and aiosqlite have them: takes work from a queue, completes futures from outside."""

    def __init__(self, loop, work):
        super().__init__(daemon=True)
        self.loop, self.work = loop, work

    def call(self, function, *args):
        future = self.loop.create_future()
        self.work.put((future, function, args))
        return future

    def run(self):
        while True:
            item = self.work.get()
            if item is None:
                return
            future, function, args = item
            self.loop.call_soon_threadsafe(future.set_result, function(*args))


@pytest.mark.parametrize("kind", [queue.Queue, queue.SimpleQueue])
@pytest.mark.parametrize("order", LEVELS)
def test_a_library_thread_is_waited_for_before_the_clock_jumps(kind, order):
    async def main():
        loop = asyncio.get_running_loop()
        worker = Worker(loop, kind())
        worker.start()
        guard = loop.call_later(1, pytest.fail, "the clock jumped")
        for i in range(20):
            async with asyncio.timeout(0.5):
                assert await worker.call(lambda i=i: (time.sleep(0.002), i)[1]) == i
        guard.cancel()
        worker.work.put(None)
        return loop.time()

    assert run(main, 2, order=order) < 0.5


def test_an_idle_library_thread_costs_no_real_time():
    async def main():
        worker = Worker(asyncio.get_running_loop(), queue.Queue())
        worker.start()
        await worker.call(int)
        for _ in range(2000):
            await asyncio.sleep(1)
        worker.work.put(None)

    start = time.monotonic()
    run(main, thread_patience=60.0)

    assert time.monotonic() - start < 30


def test_a_thread_that_never_rests_is_given_up_once():
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            time.sleep(0.001)

    async def main():
        threading.Thread(target=busy, daemon=True).start()
        for _ in range(100):
            await asyncio.sleep(1)
        stop.set()

    start = time.monotonic()
    with pytest.warns(RuntimeWarning, match=TOLD):
        run(main, thread_patience=0.3)

    assert time.monotonic() - start < 20  # and not a hundred times the patience


def test_a_thread_parked_in_a_lock_is_no_reason_to_wait():
    lock = threading.Lock()

    def wait():
        with lock:
            pass

    async def main():
        lock.acquire()
        thread = threading.Thread(target=wait)
        thread.start()
        await asyncio.sleep(3600)
        lock.release()
        thread.join()

    run(main, thread_patience=600.0)


def test_a_deadlock_is_reported_when_the_threads_have_parked():
    async def main():
        worker = Worker(asyncio.get_running_loop(), queue.SimpleQueue())
        worker.start()
        await worker.call(int)
        try:
            await asyncio.Event().wait()
        finally:
            worker.work.put(None)

    with pytest.raises(DeadlockError):
        run(main, thread_patience=600.0)


def _by_queue():
    work = queue.Queue()
    work.put(None)
    return work.join, work.task_done


def _by_event(*limit):
    event = threading.Event()
    return lambda: event.wait(*limit), event.set


def _by_lock():
    lock = threading.Lock()
    lock.acquire()
    return lock.acquire, lock.release


def _by_simple_queue():
    items = queue.SimpleQueue()
    return items.get, lambda: items.put(None)


def _by_future():
    future = concurrent.futures.Future()
    return future.result, lambda: future.set_result(None)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    "wait",
    [_by_queue, _by_event, lambda: _by_event(30), _by_lock, _by_simple_queue, _by_future],
    ids=["queue", "event", "limit", "lock", "simple_queue", "future"],
)
def test_what_a_thread_sends_before_it_ends_a_wait_of_the_step_is_in_the_queue_at_that_turn(wait, members):
    async def main():
        loop = asyncio.get_running_loop()
        log = []
        wait_for, end = wait()
        parked = threading.Event()
        others = [threading.Thread(target=parked.wait) for _ in range(members - 1)]

        def work():
            loop.call_soon_threadsafe(log.append, "sent")
            end()
            loop.call_soon_threadsafe(log.append, "sent when the step goes on")

        for thread in others:
            thread.start()
        loop.call_soon(log.append, "asked for before")
        thread = threading.Thread(target=work)
        thread.start()
        wait_for()
        loop.call_soon(log.append, "asked for after")
        await asyncio.sleep(0)
        await asyncio.sleep(1)
        parked.set()
        return log

    for _ in range(10):
        assert run(main) == ["asked for before", "sent", "asked for after", "sent when the step goes on"]


def test_what_other_threads_send_while_a_step_waits_comes_in_when_the_loop_is_idle():
    """The one that it waits for is faster: whether the others have sent by then is the machine's affair."""

    async def main():
        loop = asyncio.get_running_loop()
        log = []
        done = threading.Event()

        def send(*names):
            for name in names:
                loop.call_soon_threadsafe(log.append, name)

        def work():
            sum(range(100_000))
            send("before")
            done.set()

        threads = [threading.Thread(target=work), *[threading.Thread(target=send, args=range(3)) for _ in range(2)]]
        for thread in threads:
            thread.start()
        done.wait()
        loop.call_soon(log.append, "after")
        await asyncio.sleep(1)
        return log

    for _ in range(10):
        assert run(main) == ["before", "after", 0, 1, 2, 0, 1, 2]


def test_what_threads_send_comes_in_as_sent():
    """One thread sends, then lets another send: cause before effect, whoever was first to start."""

    async def main():
        loop = asyncio.get_running_loop()
        log = []
        event = threading.Event()

        def second():
            event.wait()
            loop.call_soon_threadsafe(log.append, "effect")

        def first():
            loop.call_soon_threadsafe(log.append, "cause")
            event.set()

        await asyncio.gather(asyncio.to_thread(second), asyncio.to_thread(first))
        threads = [threading.Thread(target=target) for target in (second, first)]
        event.clear()
        for thread in threads:
            thread.start()
        await asyncio.sleep(1)
        return log

    assert run(main) == ["cause", "effect"] * 2


def sends_in_order(log):
    """Two threads of which one wakes the other, after it has sent something, a job, and one that is joined."""

    async def main():
        loop = asyncio.get_running_loop()
        turn, done = threading.Event(), asyncio.Event()

        def first():
            loop.call_soon_threadsafe(log.append, 1)
            turn.set()

        def second():
            turn.wait()
            loop.call_soon_threadsafe(log.append, 2)
            loop.call_soon_threadsafe(done.set)

        def job():
            loop.call_soon_threadsafe(log.append, "sent by the job")

        for n in range(4):
            loop.call_later(0.01 * n, log.append, f"timer {n}")
        threads = [threading.Thread(target=each) for each in (second, first)]
        for thread in threads:
            thread.start()
        await done.wait()
        await loop.run_in_executor(None, job)
        log.append("job")
        joined = threading.Thread(target=loop.call_soon_threadsafe, args=(log.append, "joined"))
        joined.start()
        joined.join()
        await asyncio.sleep(0)
        log.append("after the join")
        await asyncio.sleep(1)

    return main


@pytest.mark.parametrize("order", LEVELS)
def test_what_threads_send_may_be_late_and_keeps_its_order(order):
    logs = []
    for seed in range(30):
        log = []
        run(sends_in_order(log), seed, order=order)
        logs.append(tuple(log))
        assert [entry for entry in log if not str(entry).startswith("timer")] == [
            1,
            2,
            "sent by the job",
            "job",
            "joined",
            "after the join",
        ]

    late = [log for log in logs if log.index(1) > log.index("timer 1")]
    assert bool(late) == (order != "fifo")


def test_a_timer_thread_is_waited_for():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        threading.Timer(0.05, loop.call_soon_threadsafe, (future.set_result, "done")).start()
        result = await asyncio.wait_for(future, 10)
        again = loop.create_future()
        threading.Timer(0.05, loop.call_soon_threadsafe, (again.set_result, "again")).start()
        return result, await again, loop.time()

    assert run(main, thread_patience=60.0) == ("done", "again", 0.0)


def test_a_thread_that_polls_with_a_time_limit_is_given_up():
    stop = threading.Event()

    def poll():
        while not stop.wait(0.01):
            pass

    async def main():
        threading.Thread(target=poll, daemon=True).start()
        for _ in range(1000):
            await asyncio.sleep(1)
        stop.set()

    with pytest.warns(RuntimeWarning, match=TOLD):
        run(main, thread_patience=0.2)


def test_a_job_that_pauses_after_it_has_called_back():
    async def main():
        loop = asyncio.get_running_loop()
        progress = []

        def job():
            loop.call_soon_threadsafe(progress.append, 1)
            threading.Event().wait(0.05)
            return "done"

        return await asyncio.wait_for(asyncio.to_thread(job), 5), progress, loop.time()

    assert run(main) == ("done", [1], 0.0)


def test_a_job_that_polls_does_not_hold_the_clock_for_ever():
    stop = []

    def poll():
        while not stop:
            time.sleep(0.002)
        return "stopped"

    async def main():
        job = asyncio.create_task(asyncio.to_thread(poll))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(job), 1)
        stop.append(True)
        return await job, asyncio.get_running_loop().time()

    with pytest.warns(RuntimeWarning, match=TOLD):
        assert run(main, thread_patience=0.02) == ("stopped", 1.0)


def test_a_pool_used_past_the_loop():
    pool = concurrent.futures.ThreadPoolExecutor(1)

    def slow():
        time.sleep(0.05)
        return 7

    async def main():
        await asyncio.get_running_loop().run_in_executor(pool, int)
        return await asyncio.wrap_future(pool.submit(slow))

    try:
        assert [run(main) for _ in range(3)] == [7, 7, 7]
    finally:
        pool.shutdown()


def test_an_executor_that_does_not_say_that_it_runs():
    class Bare(concurrent.futures.Executor):
        def submit(self, function, /, *args, **kwargs):
            future = concurrent.futures.Future()
            threading.Thread(target=lambda: (time.sleep(0.1), future.set_result(function(*args)))).start()
            return future

    async def main():
        return await asyncio.get_running_loop().run_in_executor(Bare(), abs, -3)

    assert run(main, thread_patience=0.05) == 3


def test_an_executor_that_runs_jobs_at_once():
    class Inline(concurrent.futures.ThreadPoolExecutor):
        def submit(self, function, /, *args, **kwargs):
            future = concurrent.futures.Future()
            future.set_result(function(*args))
            return future

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Inline())

        def outer():
            loop.run_in_executor(None, int)
            return "outer"

        return await loop.run_in_executor(None, outer)

    assert run(main) == "outer"


def test_results_of_jobs_are_not_kept():
    class Result:
        pass

    async def main():
        references = [weakref.ref(await asyncio.to_thread(Result)) for _ in range(10)]
        await asyncio.sleep(1)
        return [reference() for reference in references[:-1]]

    gc.disable()
    try:
        assert run(main) == [None] * 9
    finally:
        gc.enable()


def test_a_loop_in_a_thread_waits_for_the_main_thread():
    with opened() as loop:
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        time.sleep(0.05)
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(3600, "result"), loop)

        assert future.result(timeout=30) == "result"
        assert loop.time() == 3600.0
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        assert not thread.is_alive()


def test_a_loop_in_a_thread_that_the_main_thread_joins_is_a_deadlock():
    errors = []

    async def main():
        await asyncio.Event().wait()

    def target():
        try:
            run(main)
        except DeadlockError as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(30)

    assert len(errors) == 1


def test_handles_sent_from_a_thread_can_be_cancelled():
    ran = []
    with opened() as loop:
        done = threading.Event()

        def send():
            handle = loop.call_soon_threadsafe(ran.append, "cancelled")
            loop.call_soon_threadsafe(ran.append, "kept")
            handle.cancel()
            done.set()

        loop.call_soon(lambda: (threading.Thread(target=send).start(), done.wait()))
        loop.run_until_idle()

    assert ran == ["kept"]


def test_call_soon_threadsafe_from_the_loops_own_thread_is_call_soon():
    with opened() as loop:
        ran = []
        loop.call_soon(lambda: [loop.call_soon(ran.append, 1), loop.call_soon_threadsafe(ran.append, 2)])
        loop.call_soon_threadsafe(ran.append, 0)
        loop.run_until_idle()

        assert ran == [0, 1, 2]


# --- shutting down ----------------------------------------------------------------------------------------------------


def test_shutdown_of_the_default_executor():
    with opened() as loop:
        loop.run_until_complete(loop.shutdown_default_executor())
        with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
            loop.run_in_executor(None, int)
        with pytest.raises(TypeError, match="executor must be ThreadPoolExecutor instance"):
            loop.set_default_executor("threads")


def test_shutdown_gives_up_on_a_job_that_never_ends():
    gate = threading.Event()
    with opened(thread_patience=0.05) as loop:
        loop.run_in_executor(None, gate.wait)
        with pytest.warns(RuntimeWarning, match="did not finishing joining its threads within 300 seconds"):
            loop.run_until_complete(loop.shutdown_default_executor(300))

        assert loop.time() == 300.0
        gate.set()


def test_threads_end_with_the_loop():
    async def main():
        await asyncio.gather(*[asyncio.to_thread(int) for _ in range(5)])

    before = threading.enumerate()
    run(main)

    assert [thread for thread in threading.enumerate() if thread not in before] == []


def test_who_is_started_by_a_thread_that_ends_while_it_is_looked_at_is_seen(monkeypatch):
    """On a busy machine both happen between two looks."""
    threads = Threads(patience=1, apart=True)
    gate = threading.Event()
    first, second = threading.Thread(target=int), threading.Thread(target=gate.wait)
    threads.world.adopt(first)
    first.start()
    first.join()

    def start_the_second(native_id):
        threads.world.adopt(second)
        second.start()
        return False

    monkeypatch.setattr(system, "is_ending", start_the_second)
    seen = [member.thread for member in threads._members()]
    gate.set()
    second.join()

    assert seen == [second]


def test_who_moves_after_all_is_no_deadlock(monkeypatch):
    """Looks that find a thread at rest may be wrong once in many thousands."""
    looks = []

    def wrong_at_first(thread, frame):
        looks.append(thread)
        return parked.Look(parked.State.PARKED, "here") if len(looks) <= 2 else parked.look_at(thread, frame)

    monkeypatch.setattr(threads, "look_at", wrong_at_first)

    async def main():
        return await asyncio.to_thread(time.sleep, 0.2)

    assert run(main) is None
    assert len(looks) > 3


def test_a_last_look_is_not_taken_again_and_again(monkeypatch):
    looks = []

    def move_after_all(self):
        looks.append(self)
        return True

    monkeypatch.setattr(Threads, "move_after_all", move_after_all)
    gate = threading.Event()
    with opened() as loop, concurrent.futures.ThreadPoolExecutor(1) as executor:
        with pytest.raises(DeadlockError):
            loop.run_until_complete(loop.run_in_executor(executor, gate.wait))
        gate.set()

    assert len(looks) == 1


# CPython 3.13 may free a buffer of multiprocessing's before the view of it, and complains; here, not in a later test.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.BytesIO:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not system.AVAILABLE, reason="this system tells nothing about processes")
def test_a_child_that_begins_to_work_between_two_looks_is_waited_for(monkeypatch):
    is_asleep, answers = system.is_asleep, iter([True, False] * 10)
    monkeypatch.setattr(system, "is_asleep", lambda tree="self": next(answers, None) or is_asleep(tree))
    monkeypatch.setattr(Threads, "move_after_all", lambda self: False)

    async def main():
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as processes:
            return await asyncio.get_running_loop().run_in_executor(processes, abs, -3)

    assert run(main) == 3
    gc.collect()


def test_two_threads_that_wake_each_other_for_ever_do_not_hold_the_clock_for_ever():
    over = threading.Event()

    def hand_on(here, there):
        while not over.is_set():
            there.put(here.get())

    async def main():
        queues = queue.SimpleQueue(), queue.SimpleQueue()
        threads = [threading.Thread(target=hand_on, args=pair) for pair in (queues, queues[::-1])]
        for thread in threads:
            thread.start()
        queues[0].put("ball")
        try:
            for _ in range(100):
                await asyncio.sleep(1)
        finally:
            over.set()
            for each in queues:
                each.put("over")
        return asyncio.get_running_loop().time()

    with pytest.warns(RuntimeWarning, match=TOLD):
        assert run(main, thread_patience=0.005) == 100


def test_who_polls_is_known_again_also_if_the_last_look_found_it_between_two_waits(monkeypatch):
    turns = itertools.count()
    monkeypatch.setattr(patience.system, "turns_of", lambda native_id: next(turns))
    waits, works = parked.Look(parked.State.TIMED), parked.Look(parked.State.WORKING)
    first, second = patience.Account(), patience.Account()
    here, frame = threading.current_thread(), sys._getframe()
    with pytest.warns(RuntimeWarning, match=TOLD):
        looks = [
            account.holds_the_clock(here, frame, look, 0.06, 1.0, ahead=True)
            for account, look in [*[(first, waits)] * 16, (first, works), (second, waits)]
        ]

    assert looks == [True] * 16 + [False, False]


def test_what_patience_was_used_up_on_is_told_of_so_many(monkeypatch):
    monkeypatch.setattr(patience, "_used_up", [])
    account = patience.Account()
    here = threading.current_thread()
    with pytest.warns(RuntimeWarning, match="the clock goes on although thread '.*' could move by itself"):
        account.give_up_who_stirs(here, sys._getframe(), 0.0)
    for number in range(1, patience.MOST_USED_UP + 5):
        account.give_up_who_stirs(here, sys._getframe(), float(number))
    account.give_up_who_stirs(here, None, 1.0)  # It has ended, so nobody can say where.
    told = patience.take_used_up()

    assert account.given_up
    assert [waited for _, waited in told] == [float(number) for number in range(patience.MOST_USED_UP)]
    assert patience.take_used_up() == []


def test_only_the_caller_that_is_told_otherwise_is_released_from_its_task():
    async def main():
        gate = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(asyncio.wait([gate]))
        released, other, seen = concurrent.futures.Future(), concurrent.futures.Future(), []
        for future in (released, other):
            asyncio.futures._chain_future(task, future)
        task.add_done_callback(seen.append)
        release_caller(released, [task])
        gate.set_result(None)
        await task
        await asyncio.sleep(0)
        return released.done(), other.done(), seen == [task]

    assert run(main) == (False, True, True)


def test_who_asks_for_the_threads_at_the_same_time_gets_the_same():
    with opened() as loop:
        first = loop._make_threads()
        assert loop._make_threads() is loop._threads is first
