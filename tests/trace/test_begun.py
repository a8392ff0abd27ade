"""Tasks that begin in the midst of another one's step, and those of classes that are not this package's.

Both are as a web server makes them: by asyncio.Task itself, for each request. Eager ones are there since Python 3.12.
"""

import asyncio
import re
import sys
from collections.abc import Coroutine

import virtualloop
from helpers import opened, run
from virtualloop import Network, Trace

HAS_EAGER = sys.version_info >= (3, 12)


def steps(trace):
    """Return who did what in each step, by name."""
    lines = [re.split(r"  +", line[2:].strip()) for line in trace.lines() if not line.startswith("*")]
    return [f"{line[1]}: {line[2]}" for line in lines]


def begin(coro, **kwargs):
    return asyncio.Task(coro, loop=asyncio.get_running_loop(), eager_start=True, **kwargs)


def test_what_a_task_did_in_the_midst_of_another_ones_step_is_a_step_of_its_own():
    if not HAS_EAGER:
        return

    async def load():
        await asyncio.sleep(0.002)

    async def handle():
        await load()
        await asyncio.sleep(0.003)

    async def main():
        handler = begin(handle())
        await asyncio.sleep(1)
        assert handler.done()

    trace = Trace()
    run(main, trace=trace)

    assert steps(trace) == [
        "Task-1 main: starts; creates handle; sleeps 1 s",
        "handle: starts, created by Task-1; sleeps 2 ms",
        "handle: wakes up; sleeps 3 ms",
        "handle: wakes up; ends",
        "Task-1 main: wakes up; ends",
    ]
    line = load.__code__.co_firstlineno + 1
    assert f"test_begun.py:{line} " in trace.lines()[1]


def test_what_begins_in_the_midst_of_a_plain_callback_is_a_step_of_its_own():
    if not HAS_EAGER:
        return

    async def main():
        async def handle():
            await asyncio.sleep(0.002)

        def received():
            begin(handle())

        asyncio.get_running_loop().call_soon(received)
        await asyncio.sleep(1)

    trace = Trace()
    run(main, trace=trace)

    assert steps(trace) == [
        "Task-1 main: starts; queues received(); sleeps 1 s",
        "received(): queued by Task-1; creates handle",
        "handle: starts, created by received(); sleeps 2 ms",
        "handle: wakes up; ends",
        "Task-1 main: wakes up; ends",
    ]


def test_what_is_noted_in_the_midst_of_another_ones_step_stands_there():
    if not HAS_EAGER:
        return

    async def main():
        async def handle():
            virtualloop.note("in the handler")

        begin(handle())
        virtualloop.note("in main")
        gate = asyncio.get_running_loop().create_future()

        async def wait():
            await gate

        begin(wait())
        await asyncio.sleep(0)
        gate.set_result(None)

    trace = Trace()
    run(main, trace=trace)

    told = [re.split(r"  +", line[2:].strip())[1:] for line in trace.lines()]
    line = main.__code__.co_firstlineno
    assert [row[0] for row in told[:4]] == ["Task-1 main", "note: in main", "handle", "note: in the handler"]
    assert told[2][1:3] == ["starts, created by Task-1; ends", f"test_begun.py:{line + 1}"]
    assert [row[1] for row in told[4:6]] == [
        f"goes on; wakes wait (test_begun.py:{line + 13}); ends",
        "woken by Task-1; ends",
    ]


def test_who_is_waited_for_before_it_has_a_number_is_known_by_its_coroutine():
    if not HAS_EAGER:
        return

    async def main():
        async def handle():
            await asyncio.sleep(0.002)

        await begin(handle())

    trace = Trace()
    run(main, trace=trace)

    assert steps(trace) == [
        "Task-1 main: starts; creates handle; waits for task handle",
        "handle: starts, created by Task-1; sleeps 2 ms",
        "handle: wakes up; wakes Task-1; ends",
        "Task-1 main: woken by handle; ends",
    ]


class Opaque(Coroutine):
    """What does not say whether it runs: a compiled extension's, say. It wakes somebody, and ends a turn later."""

    def __init__(self, gate):
        self.gate = gate

    def send(self, value):
        if self.gate.done():
            raise StopIteration
        self.gate.set_result(None)

    def throw(self, kind, *exc):
        raise kind

    def __await__(self):
        return self


def test_what_one_does_that_cannot_be_seen_to_run_is_of_the_step_it_began_in():
    if not HAS_EAGER:
        return

    async def main():
        gate = asyncio.get_running_loop().create_future()

        async def wait():
            await gate

        asyncio.create_task(wait(), name="waiting")
        await asyncio.sleep(0)
        await begin(Opaque(gate), name="opaque")

    trace = Trace()
    run(main, trace=trace)

    told = [re.sub(r" \(test_begun\.py:\d+\)", "", line) for line in steps(trace)]
    assert told[2:5] == [
        "Task-1 main: goes on; creates opaque; wakes waiting; waits for task opaque",
        "waiting: woken by Task-1; ends",
        "opaque: starts, created by Task-1; wakes Task-1; ends",
    ]


def test_each_does_what_it_did_itself_also_where_one_begins_within_another():
    if not HAS_EAGER:
        return

    async def wakes(gate):
        gate.set_result(None)

    async def outer(gate):
        lock = asyncio.Lock()
        await lock.acquire()
        begin(wakes(gate))
        await lock.acquire()

    async def main():
        gate = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(asyncio.wait_for(gate, 5), name="waiting")
        await asyncio.sleep(0)
        left = begin(outer(gate))
        await waiting
        left.cancel()

    trace = Trace()
    run(main, trace=trace)

    lines = steps(trace)
    line = wakes.__code__.co_firstlineno + 1
    assert f"wakes: starts, created by outer; wakes waiting (test_begun.py:{line}); ends" in lines
    told = [re.sub(r" \(test_begun\.py:\d+\)", "", line) for line in lines]
    assert "Task-1 main: goes on; creates outer; waits for task waiting" in told
    assert "outer: starts, created by Task-1; creates wakes; waits for Lock.acquire()" in told
    assert "wakes: starts, created by outer; wakes waiting; ends" in told


def test_a_record_gives_no_task_a_number_that_it_had_not_without_it():
    if not HAS_EAGER:
        return

    async def main():
        async def handle():
            await asyncio.sleep(0.01)
            await asyncio.sleep(1)

        handlers = [begin(handle()) for _ in range(3)]
        await asyncio.sleep(0.1)
        own = asyncio.create_task(asyncio.sleep(2))
        # The sets of asyncio are gone through in the order of these numbers.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        order = [handlers.index(task) if task in handlers else "own" for task in others]
        await asyncio.wait([*handlers, own])
        return own.get_name(), order

    trace = Trace()
    with opened(1) as plain, opened(1, trace=trace) as traced:
        assert traced.run_until_complete(main()) == plain.run_until_complete(main()) == ("Task-2", ["own", 0, 1, 2])
    names = {line.partition(": ")[0] for line in steps(trace)}
    begun = [line.partition(": ")[0] for line in steps(trace) if ": starts, created by Task-1" in line]
    assert len(set(begun)) == 4
    assert names == {*begun, "Task-1 main"}


def test_who_cancelled_a_task_of_another_class_after_something_had_woken_it():
    class Own(asyncio.Task):
        pass

    async def main():
        loop = asyncio.get_running_loop()
        gate = loop.create_future()

        async def wait():
            await gate

        async def cancel(task):
            gate.set_result(None)
            task.cancel()

        task = Own(wait(), loop=loop, name="waiting")
        await asyncio.sleep(0)
        await asyncio.create_task(cancel(task), name="canceller")

    trace = Trace()
    run(main, trace=trace)

    assert "waiting: woken by canceller, then cancelled by canceller; ends, cancelled" in steps(trace)


def test_whoever_is_cancelled_by_a_connection_that_is_lost_is_not_by_a_timer():
    class Server(asyncio.Protocol):
        def connection_made(self, transport):
            self.task = asyncio.create_task(asyncio.sleep(60), name="handler")

        def connection_lost(self, exc):
            self.task.cancel()

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Server, "localhost", 80)
        async with server:
            _, writer = await asyncio.open_connection("localhost", 80)
            await asyncio.sleep(1)
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(1)

    trace = Trace()
    run(main, trace=trace, network=Network(latency=0.01))

    assert "handler: cancelled by Task-1 over the network; ends, cancelled" in steps(trace)
