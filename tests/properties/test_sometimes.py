"""sometimes(): that in at least one run of an exploration something was true."""

import asyncio
import concurrent.futures
import functools

import pytest

import virtualloop
from helpers import run
from virtualloop import VirtualLoopError


async def client(*, limit):
    """Retries where the reply takes longer than the limit: 10 ms, and up to 50 more where lateness= says so."""
    attempts = 0
    virtualloop.sometimes(lambda: attempts > 1, "a second attempt")
    while True:
        attempts += 1
        try:
            async with asyncio.timeout(limit):
                await asyncio.sleep(0.01)
        except TimeoutError:
            continue
        return


def test_what_was_true_in_some_run_is_fine():
    found = virtualloop.explore(functools.partial(client, limit=0.03), runs=100)

    assert found.never == ()


def test_what_was_true_in_no_run_is_a_warning():
    with pytest.warns(UserWarning, match=r"^client\(\): sometimes\('a second attempt'\) was true in none of") as record:
        found = virtualloop.explore(functools.partial(client, limit=1), runs=100, lateness=0.05)
    assert record[0].filename == __file__
    assert found.never == ("a second attempt",)
    assert found.failure is None


def test_strictly_it_is_a_failure():
    program = functools.partial(client, limit=1)
    with pytest.raises(VirtualLoopError, match=r"sometimes\('a second attempt'\) was true in none of"):
        virtualloop.explore(program, runs=50, strict=True, lateness=0.05)
    found = virtualloop.explore(program, runs=50, strict=True, check=False, lateness=0.05)
    assert found.failure.level == "fifo"
    virtualloop.explore(program, replay=found.failure.token, strict=True)  # that run is fine


def test_in_other_processes():
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        found = virtualloop.explore(functools.partial(client, limit=0.03), runs=100, executor=executor)
        assert found.never == ()
        with pytest.warns(UserWarning, match="in none of"):
            found = virtualloop.explore(functools.partial(client, limit=1), runs=100, executor=executor, lateness=0.05)
    assert found.never == ("a second attempt",)


def test_two_with_one_text_are_one():
    async def main():
        for value in (1, 2):
            virtualloop.sometimes(lambda value=value: value == 2, "two")
        virtualloop.sometimes(lambda: False, "never")
        virtualloop.sometimes(lambda: 0, "not either")
        await asyncio.sleep(1)

    with pytest.warns(UserWarning, match=r"sometimes\('never'\) and sometimes\('not either'\) were true in none of"):
        found = virtualloop.explore(main, runs=5)
    assert found.never == ("never", "not either")


def test_a_failure_comes_first():
    async def main():
        virtualloop.sometimes(lambda: False, "never")
        await asyncio.sleep(1)
        raise KeyError

    assert virtualloop.explore(main, check=False).never == ()


def test_true_in_the_last_step():
    async def main():
        done = []
        virtualloop.sometimes(lambda: done, "done")
        await asyncio.sleep(1)
        done.append(1)

    assert virtualloop.explore(main, runs=5).never == ()


def test_a_condition_that_raises():
    async def main():
        values = [1]
        virtualloop.sometimes(lambda: values[0] == 2, "a two")
        await asyncio.sleep(1)
        values.clear()
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match=r"sometimes\('a two'\)") as info:
        run(main)
    assert isinstance(info.value.__cause__, IndexError)


def test_elsewhere_it_does_nothing():
    virtualloop.sometimes(lambda: False, "never")

    async def main():
        virtualloop.sometimes(lambda: False, "never")

    asyncio.run(main())
    run(main)


def test_arguments_are_checked():
    with pytest.raises(TypeError, match="condition must be a plain function"):
        virtualloop.sometimes(True, "text")
    with pytest.raises(TypeError, match="text must be a string"):
        virtualloop.sometimes(lambda: True, None)


def test_what_has_held_is_not_asked_again_where_it_is_stated_again():
    asked = []

    async def main():
        for _ in range(3):
            virtualloop.sometimes(lambda: asked.append(1) or True, "it holds")
            await asyncio.sleep(1)

    run(main)

    assert asked == [1]
