"""Races are found within a few runs, and programs that are right never fail.

`benchmarks/quality.py` measures the same, in many more runs and beside other loops.
"""

import asyncio

import pytest

from helpers import OracleLoop, run
from quality.contracts import RIGHT, RIGHT_IN_ORDER
from quality.scenarios import SCENARIOS, right, wrong

#: Each race is found within so many runs, whatever the seed.
WITHIN = 1000
#: Runs of each program that is right; `benchmarks/quality.py --check` makes a thousand.
RUNS = 100

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
every_right_program = pytest.mark.parametrize("program", RIGHT + RIGHT_IN_ORDER, ids=lambda program: program.__name__)
two_orders = pytest.mark.parametrize("order", ["timing", "io"])


class MillisecondLoop(OracleLoop):
    """Stock asyncio, with a clock that nothing is ever late on."""

    GRAIN = 0.001


def run_on_stock(main):
    with asyncio.Runner(loop_factory=MillisecondLoop) as runner:
        runner.run(main())


def failure(main, seed, order):
    """Return what a run fails with, or None."""
    try:
        run(main, seed, order=order)
    except (Exception, asyncio.CancelledError) as exc:
        return exc
    return None


def first_failure(main, order, start):
    """Return how many runs it takes, or None."""
    return next((n for n in range(1, WITHIN + 1) if failure(main, start + n, order)), None)


def test_there_are_enough():
    assert len(SCENARIOS) >= 25
    assert {scenario.level for scenario in SCENARIOS} == {"timing", "io", "tasks"}
    assert all(scenario.__doc__ for scenario in SCENARIOS)


@every_scenario
@pytest.mark.parametrize("version", [wrong, right])
def test_passes_where_nothing_is_late(scenario, version):
    run_on_stock(version(scenario))
    run(version(scenario))


@every_scenario
@pytest.mark.parametrize("start", [0, 10_000, 20_000])
def test_is_found(scenario, start):
    assert first_failure(wrong(scenario), scenario.level, start) is not None
    assert first_failure(wrong(scenario), "tasks", start) is not None


@every_scenario
@two_orders
def test_repaired_never_fails(scenario, order):
    assert [seed for seed in range(RUNS) if failure(right(scenario), seed, order)] == []


@every_right_program
@two_orders
def test_right_never_fails(program, order):
    assert [seed for seed in range(RUNS) if failure(program, seed, order)] == []


@pytest.mark.parametrize("program", RIGHT, ids=lambda program: program.__name__)
def test_right_whatever_resumes_first(program):
    assert [seed for seed in range(RUNS) if failure(program, seed, "tasks")] == []


@every_right_program
def test_right_on_stock_asyncio(program):
    run_on_stock(program)
    run(program)
