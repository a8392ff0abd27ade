"""Programs with threads, loops in threads and children are the same run each time, however busy the machine is."""

import asyncio
import collections
import concurrent.futures
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from helpers import amount, run
from virtualloop import VirtualLoop

#: How often each program is run in a process, and in how many processes; two of them are beside two that are busy.
RUNS, PROCESSES = amount(5, 30), amount(3, 10)
BUSY = 2


async def a_thread_starts_another_one():
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    last = threading.Thread(target=lambda: loop.call_soon_threadsafe(answer.set_result, "sent"))
    threading.Thread(target=last.start).start()
    return await asyncio.wait_for(answer, 60)


async def an_executor_of_any_kind():
    class OneThread(concurrent.futures.Executor):
        def submit(self, fn, *args):
            future = concurrent.futures.Future()
            threading.Thread(target=lambda: future.set_result(fn(*args))).start()
            return future

    loop = asyncio.get_running_loop()
    answer = asyncio.sleep(1, "answer")
    return await loop.run_in_executor(OneThread(), lambda: asyncio.run_coroutine_threadsafe(answer, loop).result())


async def threads_send_at_once():
    loop = asyncio.get_running_loop()
    gate, log = threading.Event(), []

    def work(number):
        gate.wait()
        sum(range(3000 * (4 - number)))
        loop.call_soon_threadsafe(log.append, number)
        sum(range(2000 * number))
        loop.call_soon_threadsafe(log.append, 10 + number)

    for number in range(4):
        threading.Thread(target=work, args=(number,)).start()
    await asyncio.sleep(1)
    gate.set()
    await asyncio.sleep(1)
    return log


async def jobs_take_turns():
    log = []

    async def work(number):
        for rounds in (5000 * (5 - number), 3000 * number):
            await asyncio.to_thread(sum, range(rounds))
            log.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(work(number))
    return log


async def jobs_call_back():
    loop = asyncio.get_running_loop()
    log = []

    async def step(number):
        await asyncio.sleep(0.1 * number)
        log.append(number)
        return number

    def job(number):
        first = asyncio.run_coroutine_threadsafe(step(number), loop).result()
        return first + asyncio.run_coroutine_threadsafe(step(first + 1), loop).result(timeout=60)

    return await asyncio.gather(*[asyncio.to_thread(job, number) for number in range(4)]), log


async def a_worker_answers():
    loop = asyncio.get_running_loop()
    asked, answers, log = queue.Queue(), asyncio.Queue(), []

    def work():
        while (number := asked.get()) is not None:
            loop.call_soon_threadsafe(answers.put_nowait, 2 * number)

    threading.Thread(target=work).start()
    for number in range(5):
        asked.put(number)
        log.append(await asyncio.wait_for(answers.get(), 1))
        await asyncio.sleep(0.3)
    asked.put(None)
    return log


async def a_thread_writes_to_a_pair():
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    here.setblocking(False)
    got, log = asyncio.Queue(), []
    loop.add_reader(here, lambda: got.put_nowait(here.recv(16)))

    def write():
        time.sleep(0.005)
        os.write(there.fileno(), b"thread")

    for send in (threading.Thread(target=write).start, lambda: os.write(there.fileno(), b"loop")):
        send()
        log.append(await asyncio.wait_for(got.get(), 60))
    loop.remove_reader(here)
    here.close()
    there.close()
    return log


async def a_child_answers():
    child = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    log = []
    for number in range(3):
        child.stdin.write(b"%d\n" % number)
        log.append(await asyncio.wait_for(child.stdout.readline(), 2))
        await asyncio.sleep(5)
    child.stdin.close()
    return log, await child.wait()


async def a_child_is_polled_and_ends_with_a_signal():
    loop = asyncio.get_running_loop()
    log = []
    loop.add_signal_handler(signal.SIGCHLD, log.append, "ended")
    with subprocess.Popen(["/bin/sleep", "0.01"]) as child:
        while child.poll() is None:
            await asyncio.sleep(0.05)
    loop.remove_signal_handler(signal.SIGCHLD)
    return log


@contextlib.contextmanager
def in_a_thread(**kwargs):
    loop = VirtualLoop(**kwargs)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def two_loops():
    log = []

    async def serve(seconds):
        await asyncio.sleep(seconds)
        log.append((seconds, round(other.time(), 3)))

    with in_a_thread() as other:
        for seconds in (0, 0.5, 1.5):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(serve(seconds), other))
        served = [asyncio.run_coroutine_threadsafe(serve(seconds), other) for seconds in (1, 0.2)]
        await asyncio.gather(*map(asyncio.wrap_future, served), asyncio.sleep(0.7))
    return log


async def a_step_sleeps_beside_another_loop():
    log = []

    async def beats():
        for _ in range(3):
            await asyncio.sleep(1)
            log.append(round(other.time(), 3))

    with in_a_thread(patch_time=True) as other:
        heart = asyncio.run_coroutine_threadsafe(beats(), other)
        time.sleep(2.5)
        log.append("slept")
        await asyncio.wrap_future(heart)
    return log


def a_portal():
    async def handler(go):
        async with asyncio.timeout(10):
            await go.wait()
        await asyncio.sleep(3)

    with in_a_thread() as loop:
        go = asyncio.Event()
        request = asyncio.run_coroutine_threadsafe(handler(go), loop)
        sum(range(10_000))
        loop.call_soon_threadsafe(go.set)
        request.result(5)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(7), loop).result(60)
        return round(loop.time(), 3)


PROGRAMS = [
    a_thread_starts_another_one,
    an_executor_of_any_kind,
    threads_send_at_once,
    jobs_take_turns,
    jobs_call_back,
    a_worker_answers,
    a_thread_writes_to_a_pair,
    a_child_answers,
    a_child_is_polled_and_ends_with_a_signal,
    two_loops,
    a_step_sleeps_beside_another_loop,
    a_portal,
]


def once(program, **kwargs):
    """Run a program; return what came of it, and what its clock showed at the end."""

    async def main():
        result = await program()
        return result, round(asyncio.get_running_loop().time(), 3)

    return repr(run(main, thread_patience=600, **kwargs) if asyncio.iscoroutinefunction(program) else program())


def results():
    """Return how often each result came, by program and order, as JSON."""
    found = {}
    for program in PROGRAMS:
        waits = program is a_step_sleeps_beside_another_loop
        for order, seed in (("fifo", None), ("io", 3)):
            kwargs = {"order": order, "seed": seed, "patch_time": waits}
            found[f"{program.__name__} at {order}"] = collections.Counter(once(program, **kwargs) for _ in range(RUNS))
    return json.dumps(found)


def started(*command):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "random"}
    return subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, env=env)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere patience has to do")
def test_each_run_of_each_program_has_one_result_in_each_process():
    found = []
    for number in range(PROCESSES):
        with contextlib.ExitStack() as stack:
            for _ in range(BUSY if number < 2 else 0):
                stack.callback(stack.enter_context(started("-c", "while True: pass")).kill)
            with started(__file__) as process:
                found.append(json.loads(process.communicate()[0]))

    seen = {name: [counter[name] for counter in found] for name in found[0]}
    assert {
        name: counters for name, counters in seen.items() if counters != [{next(iter(counters[0])): RUNS}] * PROCESSES
    } == {}


if __name__ == "__main__":
    sys.stdout.write(results())
