"""Checked by mypy and pyright, never run: what users' type checkers see."""

import asyncio
import random
from typing import Literal, assert_type

import virtualloop
from virtualloop import (
    DeadlockError,
    Exploration,
    Failure,
    LivelockError,
    Schedule,
    Trace,
    UnsupportedError,
    VirtualLoop,
    VirtualLoopError,
    explore,
    explored,
    histories,
)
from virtualloop.schedules import Choice, Exhaustive, Random, Recording, Replay, ReplayError
from virtualloop.trace import Deviation


async def number() -> int:
    return 1


class Last:
    def choose(self, n: int, kind: str) -> int:
        return n - 1


def construct() -> None:
    loop = VirtualLoop()
    as_asyncio: asyncio.AbstractEventLoop = loop
    assert_type(as_asyncio.time(), float)
    assert_type(asyncio.run(number(), loop_factory=VirtualLoop), int)  # type: ignore[call-arg,unused-ignore]  # 3.12
    asyncio.Runner(loop_factory=loop)  # type: ignore[arg-type]  # it is none
    VirtualLoop(7, strict=True)
    VirtualLoop(random.Random(7), order="io", lateness=0.1, start=100.0, spin_limit=10, thread_patience=1)
    VirtualLoop(schedule=Last(), order="timing")
    assert_type(loop.seed, int | None)
    assert_type(loop.order, Literal["fifo", "timing", "io", "tasks"])


def drive(loop: VirtualLoop) -> None:
    loop.advance(1.5)
    loop.run_until_idle()
    assert_type(loop.describe_tasks(), str)
    loop.until(lambda: True)
    loop.until(lambda: "yes", within=1)
    task = loop.create_task(number(), name="one")
    assert_type(task, asyncio.Task[int])
    loop.run_until_complete(task)


async def inside() -> None:
    await virtualloop.advance(1)
    await virtualloop.run_until_idle()
    await virtualloop.until(lambda: 1, within=2.5)
    virtualloop.always(lambda: True)
    virtualloop.always(lambda: "yes", "it holds")
    virtualloop.sometimes(lambda: True, "it happens")
    assert_type(virtualloop.choose(["a", "b"]), str)
    numbers: list[int] = [1, 2]
    assert_type(virtualloop.choose(numbers), int)


def schedules() -> None:
    schedule: Schedule = Random(7)
    recording = Recording(schedule)
    assert_type(recording.choices, list[Choice])
    Replay(recording.choices)
    Replay([0, 1, 2])


def traces() -> None:
    trace = Trace()
    VirtualLoop(7, trace=trace)
    virtualloop.note("the client gives up")
    assert_type(trace.lines(), list[str])
    assert_type(trace.deviations, list[Deviation])
    for deviation in trace.deviations:
        assert_type(deviation.time, float)
        assert_type(deviation.step, int)
        assert_type(trace.around(deviation, steps=5), list[str])
    assert_type(trace.diff(Trace()), str)


@explored(runs=10, seconds=1.5, every_failure=True, replay=["v1.a"], order="io", cancel="worker")
async def test(value: int) -> None:
    await asyncio.sleep(value)


@explored
async def plain_test() -> None: ...


def explorations() -> None:
    explore(number, seconds=5, every_failure=True)
    exploration = explore(number, runs=10, seed=1, check=False, cancel=lambda task: task.get_name() == "one")
    assert_type(exploration, Exploration)
    assert_type(exploration.runs, int)
    assert_type(exploration.bound, int | None)
    assert_type(exploration.failure, Failure | None)
    if exploration.failure is not None:
        assert_type(exploration.failure.level, Literal["fifo", "timing", "io", "tasks"])
        assert_type(exploration.failure.token, str)
        Replay(exploration.failure.token)
    assert_type(test(7), None)
    assert_type(plain_test(), None)
    for schedule in Exhaustive(deviations=2):
        VirtualLoop(schedule=schedule)


def networks() -> None:
    network = virtualloop.Network(hosts=["server"], latency=(0.0, 0.1), bandwidth=1e6, loss=0.1, resets=0.01)
    loop = VirtualLoop(network=network)
    assert_type(loop.network, virtualloop.Network)
    assert_type(virtualloop.get_network(), virtualloop.Network)
    network.link("localhost", "server", latency=0.2, one_way=True)
    network.partition("localhost", "server")
    network.heal("localhost", "server")
    network.reset("localhost", "server")
    host = network.add_host("other", "192.0.2.1")
    assert_type(network.host("server").address, str)
    with host:
        assert_type(host.name, str)
    host.crash()
    host.restart()
    assert_type(host.is_up, bool)
    assert_type(network.faults[0].text, str)


def errors() -> tuple[type[VirtualLoopError], ...]:
    return DeadlockError, LivelockError, UnsupportedError, ReplayError


async def recorded() -> None:
    history = histories.History()
    async with history.call("Ann", "read", "x") as call:
        assert_type(call, histories.Call)
        call.result = 1

    def model(state: int | None, op: str, args: tuple[int, ...], result: int) -> int | None:
        return state

    assert_type(history.check(model, initial=0, partition=lambda call: call.client, consistency="sequential"), bool)
    history.check(histories.register)
    assert_type(history.calls, tuple[histories.Call, ...])
