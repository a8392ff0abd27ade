"""Which step a failure is that has to clean up before it is one: the one that raised."""

import asyncio
import re

import pytest

from helpers import opened
from virtualloop import Trace, explore
from virtualloop._report.frames import is_machinery, library_of
from virtualloop.trace._history import History
from virtualloop.trace._trace import recorder_of, story_of


class Server:
    """What takes some time to close."""

    async def __aenter__(self):
        await asyncio.sleep(0.001)

    async def __aexit__(self, *exc):
        await asyncio.sleep(0.002)
        await asyncio.sleep(0.003)


def failed(main, error):
    """Run what fails; return its trace, and the steps of its first task as text."""
    trace = Trace()
    with opened(trace=trace) as loop:
        with pytest.raises(error) as caught:
            loop.run_until_complete(main())
        recorder_of(trace).has_failed()
    assert not [name for name in vars(caught.value) if name != "__notes__"]
    lines = [re.split(r"  +", line[2:].strip()) for line in trace.lines()]
    first = main.__code__.co_firstlineno
    place = re.compile(r"(?<=test_raised\.py:)\d+|(?<=-> )\d+")
    own = [line for line in lines if "Task-1" in line[1]]
    return trace, [f"{line[2]} | {place.sub(lambda m: str(int(m[0]) - first), line[3])}" for line in own]


async def cleans_up():
    async with Server():
        try:
            await asyncio.sleep(0.01)
            raise ValueError("wrong")
        finally:
            await asyncio.sleep(0.02)


def test_it_is_told_where_it_was_raised():
    trace, told = failed(cleans_up, ValueError)
    history = History(recorder_of(trace), is_machinery, library_of)
    assert [history.fate(number) for number in history.visible] == [
        "waits",
        "waits",
        "raises",
        "waits",
        "waits",
        "ends",
    ]

    assert told[2] == "wakes up; raises ValueError: wrong | test_raised.py:3 -> 4"
    assert told[3].startswith("wakes up; sleeps 2 ms | test_raised.py:6 -> ")
    assert told[-1].startswith("wakes up; ends by ValueError | ")
    assert sum("raises" in line for line in told) == 1
    # The story is over when it was raised.
    assert "raises ValueError: wrong" in story_of(trace, room=40)[-1]


async def tries_again():
    for _ in range(3):
        try:
            await asyncio.sleep(0.01)
            raise ValueError("wrong")
        except ValueError:
            await asyncio.sleep(0.02)
    raise ValueError("thrice")


def test_what_was_raised_before_and_handled_is_another_one():
    _, told = failed(tries_again, ValueError)

    assert [line.partition(" | ")[0] for line in told][-2:] == [
        "wakes up; sleeps 20 ms",
        "wakes up; raises ValueError: thrice",
    ]
    assert sum("raises" in line for line in told) == 1


async def raised_again():
    for attempt in range(3):
        await asyncio.sleep(0.01)
        try:
            raise ValueError(attempt)
        except ValueError:
            await asyncio.sleep(0.02)
            if attempt == 2:
                raise


def test_of_several_the_one_that_ended_it():
    _, told = failed(raised_again, ValueError)

    assert [line.partition(" | ")[0] for line in told] == [
        "starts; sleeps 10 ms",
        *("wakes up; sleeps 20 ms", "wakes up; sleeps 10 ms") * 2,
        "wakes up; raises ValueError: 2",
        "wakes up; ends by ValueError",
    ]


async def in_a_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1))
        await asyncio.sleep(0.01)
        raise ValueError("wrong")


def test_the_body_of_a_group():
    _, told = failed(in_a_group, ExceptionGroup)

    what, where = re.sub(r" \(.*?\)", "", told[1]).split(" | ")
    assert what == "wakes up; cancels Task-2; raises ValueError: wrong"
    assert where == "test_raised.py:3 -> 4"
    assert told[-1].startswith("woken by Task-2; ends by ExceptionGroup | ")


async def overdrawn():
    balance = 100

    async def withdraw(amount):
        nonlocal balance
        left = balance - amount
        await asyncio.sleep(0.01)
        balance = left

    async def later():
        await asyncio.sleep(0.02)
        await withdraw(2)

    async with Server():
        await asyncio.gather(withdraw(1), later())
        assert balance == 97


def test_a_story_ends_there_and_what_came_after_takes_no_room():
    *lines, replay = explore(overdrawn, check=False).failure.report.splitlines()

    assert "raises AssertionError" in lines[-1]
    assert not any("sleeps 2 ms" in line or "sleeps 3 ms" in line for line in lines)
    assert replay.startswith("Replay it: ")
