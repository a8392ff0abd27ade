"""How long an exploration goes on, what the environment says to that, and what is said of it."""

import asyncio
import concurrent.futures
import datetime as dt
import functools
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

import virtualloop
from helpers import session_environment
from virtualloop import VirtualLoopError
from virtualloop._exploration import budget, ledger
from virtualloop._exploration.budget import Budget, overridden

ROOT = Path(__file__).parent.parent.parent
TERMS = Budget(runs=10, seed=3, seconds=None)


async def ten_timers():
    await asyncio.gather(*[asyncio.sleep(0.01 * number) for number in range(10)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", TERMS),
        ("runs=20000", Budget(20000, 3, None)),
        ("  runs=5   seed=-2 seconds=1.5 ", Budget(5, -2, 1.5)),
        ("seconds=0", Budget(10, 3, 0.0)),
    ],
)
def test_the_environment_stands_above_the_arguments(monkeypatch, text, expected):
    monkeypatch.setenv("VIRTUALLOOP", text)
    assert overridden(TERMS) == expected


def test_todays_seed(monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP", "seed=today")
    monkeypatch.setattr(budget, "_now", lambda zone: dt.datetime(2026, 3, 4, 5, tzinfo=zone))
    assert overridden(TERMS).seed == 20260304


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs", "VIRTUALLOOP must hold runs=..., seed=..., seconds=..., jobs=..., not 'runs'"),
        ("speed=3", "VIRTUALLOOP must hold runs=..., seed=..., seconds=..., jobs=..., not 'speed=3'"),
        ("runs=0", "VIRTUALLOOP must give runs as a number of runs, not '0'"),
        ("runs=many", "VIRTUALLOOP must give runs as a number of runs, not 'many'"),
        ("seed=tomorrow", "VIRTUALLOOP must give seed as an integer or \"today\", not 'tomorrow'"),
        ("seconds=-1", "VIRTUALLOOP must give seconds as a number of seconds, not '-1'"),
        ("seconds=nan", "VIRTUALLOOP must give seconds as a number of seconds, not 'nan'"),
    ],
)
def test_what_makes_no_sense_there(monkeypatch, text, message):
    monkeypatch.setenv("VIRTUALLOOP", text)
    with pytest.raises(ValueError, match=re.escape(message)):
        virtualloop.explore(ten_timers)


def test_it_is_for_every_exploration(monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP", "runs=7")
    assert virtualloop.explore(ten_timers, runs=1000).runs == 7


def test_seconds_end_a_search(monkeypatch):
    now = iter(range(10_000))
    monkeypatch.setattr(budget, "real_time", SimpleNamespace(monotonic=lambda: next(now)))
    found = virtualloop.explore(ten_timers, seconds=20, runs=100_000)

    assert found.ended_by == "seconds"
    assert found.runs == 20
    assert re.fullmatch(r"20 runs, \d+ different in the seconds there were(, the last.*)?, none failed", str(found))


def test_what_ended_it():
    async def fails():
        await asyncio.sleep(1)
        raise KeyError

    async def small():
        await asyncio.sleep(1)

    assert virtualloop.explore(ten_timers, runs=5).ended_by == "runs"
    assert virtualloop.explore(small).ended_by == "exhausted"
    assert virtualloop.explore(fails, check=False).ended_by == "failure"


@pytest.mark.parametrize(
    ("seconds", "error", "text"),
    [(-1, ValueError, "seconds must not be negative, got -1"), ("1", TypeError, "seconds must be a number, not '1'")],
)
def test_seconds_are_checked(seconds, error, text):
    with pytest.raises(error, match=text):
        virtualloop.explore(ten_timers, seconds=seconds)


# --- every failure ----------------------------------------------------------------------------------------------------


async def two_bugs():
    order = []

    async def one(number, after):
        await asyncio.sleep(after)
        order.append(number)

    await asyncio.gather(*[one(number, 0.01 + 0.01 * number) for number in range(4)])
    if order[0] != 0:
        raise KeyError(order[0])
    assert order[-1] == 3


@pytest.mark.slow
def test_every_failure():
    found = virtualloop.explore(two_bugs, every_failure=True, check=False, runs=300)

    assert len(found.failures) == 2
    assert found.failure is found.failures[0]
    assert found.runs == 300
    assert {type(failure.exception) for failure in found.failures} == {KeyError, AssertionError}
    assert str(found).endswith("; 2 different failures")
    one = virtualloop.explore(two_bugs, check=False)
    assert one.failures == (one.failure,)


@pytest.mark.slow
def test_every_failure_in_other_processes():
    serial = virtualloop.explore(two_bugs, every_failure=True, check=False, runs=300, epoch=0)
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        found = virtualloop.explore(two_bugs, every_failure=True, check=False, runs=300, epoch=0, executor=executor)
    assert [failure.report for failure in found.failures] == [failure.report for failure in serial.failures]
    assert (found.runs, found.distinct) == (serial.runs, serial.distinct)


# --- a process that dies ----------------------------------------------------------------------------------------------


async def is_somewhere_else(process):
    await ten_timers()
    assert os.getpid() == process, "elsewhere"


@pytest.mark.slow
def test_what_fails_in_another_process_only_was_seen_once():
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        main = functools.partial(is_somewhere_else, os.getpid())
        failure = virtualloop.explore(main, check=False, runs=60, executor=executor).failure

    assert re.match(r"virtualloop: seen once \(order '\w+'\): made again, the same run passes", failure.report)
    assert str(failure.exception).startswith("a run failed with AssertionError('elsewhere")


async def kills_its_process():
    """Where the second is first, it ends the process, and not only the run."""
    order = []

    async def one(number, after):
        await asyncio.sleep(after)
        order.append(number)

    await asyncio.gather(one(0, 0.01), one(1, 0.04))
    if order[0] == 1:
        os._exit(3)


@pytest.mark.slow
def test_a_run_that_kills_its_process_is_named_and_the_search_goes_on():
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        found = virtualloop.explore(kills_its_process, check=False, runs=60, executor=executor)

    assert found.ended_by != "failure"
    (failure,) = found.failures
    assert isinstance(failure.exception, VirtualLoopError)
    assert re.match(r"virtualloop: run \d+ has killed the process that made it \(order 'io'\)", failure.report)
    token = re.search(r"replay='(\S+)'", failure.report)[1]
    code = f"""
        import test_budgets, virtualloop
        virtualloop.explore(test_budgets.kills_its_process, replay={token!r})
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=session_environment(PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path])),
        check=False,
        capture_output=True,
    )
    assert process.returncode == 3, process.stderr


# --- the line at the end ----------------------------------------------------------------------------------------------


def test_the_line_at_the_end():
    sums = ledger.Ledger()
    assert sums.lines() == []
    for runs in (5, 7):
        sums.add(virtualloop.explore(ten_timers, runs=runs), is_test=False)
    sums.add(virtualloop.explore(two_bugs, check=False), is_test=False)
    line = sums.lines()[0]
    assert re.fullmatch(r"virtualloop: 3 explorations, \d+ runs, \d+ different, 1 failure, 2 ended by runs=", line)


def test_what_is_one_run_only_is_said_with_what_would_be_more():
    async def apart():
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(1.13))

    exploration = virtualloop.explore(apart)
    said = "1 run, 1 different, none failed: all there are with nothing more than 50 ms late"
    more = "; what nothing else is near was on time, and lateness= allows more"
    assert str(exploration) == said + more
    assert exploration.lateness == 0.05
    sums = ledger.Ledger()
    sums.add(exploration, is_test=False)
    sums.add(virtualloop.explore(apart, lateness=0.1), is_test=False)
    sums.add(virtualloop.explore(apart, order="fifo"), is_test=False)
    _, line = sums.lines()
    assert line.startswith("virtualloop: 1 exploration is one run, as nothing in it is within 50 ms of anything else; ")
    further = virtualloop.explore(apart, lateness=0.2)
    assert further.distinct == 2
    assert str(further).endswith("all there are with nothing more than 200 ms late")


def test_where_the_line_is_shown():
    script = """
        import asyncio, virtualloop

        async def main():
            await asyncio.gather(*[asyncio.sleep(0.01 * i) for i in range(9)])

        if {is_test}:
            virtualloop.explored(runs=3)(main)()
        else:
            virtualloop.explore(main, runs=3)
    """

    def stderr(*, is_test, **environment):
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script).format(is_test=is_test)],
            env=session_environment(VIRTUALLOOP_KEEP="", **environment),
            check=True,
            capture_output=True,
            text=True,
        ).stderr

    line = r"virtualloop: 1 exploration, 3 runs, [23] different, 1 ended by runs=\n"
    assert re.fullmatch(line, stderr(is_test=True))
    assert stderr(is_test=False) == ""
    assert re.fullmatch(line, stderr(is_test=False, VIRTUALLOOP="runs=3"))
    assert stderr(is_test=True, PYTEST_XDIST_WORKER="gw0") == ""
