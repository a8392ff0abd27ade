"""Programs with timeouts that are right: none is reported, whatever is late; at most a line says what a test needs."""

import asyncio
import warnings
from asyncio import sleep

import pytest

from virtualloop import explore


async def lease_beside_a_watch():
    """A lease is renewed every three seconds; who watches it gives up after ten."""
    renewed = asyncio.Event()

    async def renew():
        while True:
            await sleep(3)
            renewed.set()

    async def watch():
        for _ in range(5):
            async with asyncio.timeout(10):
                await renewed.wait()
            renewed.clear()

    renewing = asyncio.create_task(renew())
    await watch()
    renewing.cancel()


async def pings():
    """A peer is pinged each second, and answers within a limit; a ping that is not answered is counted, no more."""
    lost = 0

    async def answer():
        await sleep(0.02)

    async def ping():
        nonlocal lost
        while True:
            await sleep(1)
            try:
                await asyncio.wait_for(asyncio.create_task(answer()), 0.5)
            except TimeoutError:
                lost += 1

    pinging = asyncio.create_task(ping())
    await sleep(10)
    pinging.cancel()
    assert lost <= 10


async def guarded():
    """A test is given a minute for all that it does."""

    async def fetch(number):
        await sleep(0.01 * number)
        return number

    async with asyncio.timeout(60):
        assert await asyncio.gather(*map(fetch, range(5))) == [*range(5)]


async def gives_up_after_three():
    """Whoever asks three times, and gets no answer in time, says so; the test takes that for an answer."""

    async def fetch():
        await sleep(0.02)
        return "fresh"

    async def ask():
        for _ in range(3):
            try:
                return await asyncio.wait_for(asyncio.create_task(fetch()), 1)
            except TimeoutError:
                continue
        return None

    assert await ask() in ("fresh", None)


async def falls_back():
    """What is not fetched within a second comes from the cache; the test wants it fresh."""

    async def request():
        await sleep(0.02)
        return "fresh"

    async def fetch():
        try:
            async with asyncio.timeout(1):
                return await asyncio.create_task(request())
        except TimeoutError:
            return "cached"

    assert await fetch() == "fresh"


async def has_to_answer_twice():
    """One attempt may fail, the test has to get an answer from the other."""

    async def fetch():
        await sleep(0.02)
        return "fresh"

    async def ask():
        for _ in range(2):
            try:
                return await asyncio.wait_for(asyncio.create_task(fetch()), 1)
            except TimeoutError:
                continue
        return None

    assert await ask() == "fresh"


@pytest.mark.parametrize(
    "main", [lease_beside_a_watch, pings, guarded, gives_up_after_three], ids=lambda main: main.__name__
)
def test_right_is_not_reported_and_needs_nothing(main):
    exploration = explore(main, runs=300)

    assert exploration.failure is None
    assert exploration.needs == ()


@pytest.mark.parametrize(
    ("main", "need"), [(falls_back, "fetch() within 1 s"), (has_to_answer_twice, "ask() within 1 s")]
)
def test_what_a_test_needs_in_time_is_said(main, need):
    with pytest.warns(UserWarning, match=need.replace("(", r"\(").replace(")", r"\)")):
        exploration = explore(main, runs=300)

    assert exploration.failure is None
    assert [each.partition(" (")[0] for each in exploration.needs] == [need]
    assert f"needs {need} (test_with_timeouts.py:" in str(exploration)


def test_what_was_a_need_once_is_none_of_the_programs_in_another_order(monkeypatch):
    """Beside other deviations the control run is another one, and may fail in another way."""
    answers = iter([False])
    monkeypatch.setattr("virtualloop._exploration.exploration.is_fault", lambda *_: next(answers, True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exploration = explore(falls_back, runs=300)

    assert exploration.failure is None
    assert len(exploration.needs) == 1


def test_what_a_test_needs_is_a_failure_where_that_is_asked_for():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        failure = explore(falls_back, runs=300, strict=True, check=False).failure

    assert failure is not None
    assert failure.level == "io"
