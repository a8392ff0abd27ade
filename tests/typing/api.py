"""Checked by mypy and pyright, never run: what users' type checkers see."""

import asyncio
import random
from typing import Literal, assert_type

import virtualloop
from virtualloop import DeadlockError, LivelockError, Schedule, UnsupportedError, VirtualLoop, VirtualLoopError
from virtualloop.schedules import Choice, Random, Recording, Replay, ReplayError


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
    VirtualLoop(7)
    VirtualLoop(random.Random(7), order="io", lateness=0.1, start=100.0, spin_limit=10, thread_patience=1)
    VirtualLoop(schedule=Last(), order="timing")
    assert_type(loop.seed, int | None)
    assert_type(loop.order, Literal["fifo", "timing", "io", "tasks"])


def drive(loop: VirtualLoop) -> None:
    loop.advance(1.5)
    loop.run_until_idle()
    task = loop.create_task(number(), name="one")
    assert_type(task, asyncio.Task[int])
    loop.run_until_complete(task)


async def inside() -> None:
    await virtualloop.advance(1)
    await virtualloop.run_until_idle()
    assert_type(virtualloop.choose(["a", "b"]), str)
    numbers: list[int] = [1, 2]
    assert_type(virtualloop.choose(numbers), int)


def schedules() -> None:
    schedule: Schedule = Random(7)
    recording = Recording(schedule)
    assert_type(recording.choices, list[Choice])
    Replay(recording.choices)
    Replay([0, 1, 2])


def errors() -> tuple[type[VirtualLoopError], ...]:
    return DeadlockError, LivelockError, UnsupportedError, ReplayError
