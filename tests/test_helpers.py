import asyncio

import pytest

from helpers import Always, OracleLoop, amount, opened, run


@pytest.mark.parametrize(("night", "expected"), [(None, 10), ("", 10), ("1", 1000)])
def test_at_night_there_is_more(night, expected, monkeypatch):
    monkeypatch.delenv("NIGHTLY", raising=False)
    if night is not None:
        monkeypatch.setenv("NIGHTLY", night)

    assert amount(10, 1000) == expected


def test_run_gives_the_result_and_passes_arguments_on():
    async def main():
        return asyncio.get_running_loop().time()

    assert run(main, start=5.0) == 5.0


def test_opened_closes():
    with opened(7) as loop:
        assert loop.seed == 7

    assert loop.is_closed()


def test_always_keeps_what_it_was_asked():
    schedule = Always(3)

    assert [schedule.choose(n, "task") for n in (2, 4, 9)] == [1, 3, 3]
    assert schedule.asked == [(2, "task"), (4, "task"), (9, "task")]


def test_the_oracle_jumps_and_keeps_registration_order():
    loop = OracleLoop()
    log = []

    async def main():
        loop.call_later(1.0, log.append, "first")
        for i in range(8):
            loop.call_at(1.0, log.append, i)
        await asyncio.sleep(3600)
        return loop.time()

    try:
        assert loop.run_until_complete(main()) == 3600.0
        assert log == ["first", *range(8)]
    finally:
        loop.close()
