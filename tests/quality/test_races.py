"""Races are found within a few runs, each with its true label, and programs that are right are never reported.

`benchmarks/quality.py` measures the same in more runs, and beside other loops.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean, geometric_mean

import pytest

from helpers import OracleLoop, amount, run
from quality.contracts import RIGHT, RIGHT_IN_ORDER
from quality.races import SCENARIOS, right, wrong
from virtualloop import explore

#: Runs of each program that is right. `benchmarks/quality.py --check` makes a thousand, which takes too long here.
RUNS = 150

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
every_right_program = pytest.mark.parametrize("program", RIGHT + RIGHT_IN_ORDER, ids=lambda program: program.__name__)


class MillisecondLoop(OracleLoop):
    """Stock asyncio, with a clock on which nothing is ever late."""

    GRAIN = 0.001


def run_on_stock(main):
    with asyncio.Runner(loop_factory=MillisecondLoop) as runner:
        runner.run(main())


def found(scenario, seed=0):
    """Return the failure of the wrong version, at the default order if that can find it."""
    order = "tasks" if scenario.level == "tasks" else None
    return explore(wrong(scenario), seed=seed, order=order, check=False).failure


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
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_is_found_and_its_label_is_true(scenario, seed):
    failure = found(scenario, seed)

    assert failure is not None
    assert failure.level == scenario.level


def test_most_are_found_within_a_few_runs():
    """All that need no other order of wake-ups: each within a hundred runs, and four on the geometric mean."""
    taken = {}
    for scenario in SCENARIOS:
        if scenario.level != "tasks":
            explorations = [explore(wrong(scenario), seed=seed, check=False, shrink=False) for seed in range(3)]
            assert all(exploration.failure is not None for exploration in explorations)
            taken[scenario.__name__] = fmean(exploration.runs for exploration in explorations)

    assert max(taken.values()) <= 100, taken
    assert geometric_mean(taken.values()) <= 4


@pytest.mark.slow
@pytest.mark.parametrize("program", [right(s) for s in SCENARIOS if s.level != "tasks"] + RIGHT + RIGHT_IN_ORDER)
def test_right_is_not_reported_in_many_runs_and_needs_nothing(program):
    exploration = explore(program, runs=amount(2 * RUNS, 1000), order="io")

    assert exploration.failure is None
    assert exploration.needs == ()


@every_scenario
def test_repaired_is_not_reported(scenario):
    order = "tasks" if scenario.level == "tasks" else None

    assert explore(right(scenario), runs=RUNS, order=order).failure is None


@every_right_program
def test_right_is_not_reported(program):
    run_on_stock(program)

    assert explore(program, runs=RUNS, order="io").failure is None


@pytest.mark.parametrize("program", RIGHT, ids=lambda program: program.__name__)
def test_right_whatever_resumes_first(program):
    assert explore(program, runs=RUNS, order="tasks").failure is None


@pytest.mark.parametrize("program", RIGHT_IN_ORDER, ids=lambda program: program.__name__)
def test_what_relies_on_the_order_of_wake_ups_fails_at_tasks_and_is_called_so(program):
    failure = explore(program, order="tasks", check=False).failure

    assert failure is not None
    assert failure.level == "tasks"


REPLAY = """
import json, sys
from quality.races import SCENARIOS, wrong
from virtualloop import explore

tokens = json.load(sys.stdin)
for scenario in SCENARIOS:
    if scenario.__name__ not in tokens:
        continue
    failure = explore(wrong(scenario), replay=tokens[scenario.__name__], check=False).failure
    print(json.dumps([scenario.__name__, failure and repr(failure.exception), failure and failure.token]))
"""


@pytest.mark.slow
def test_tokens_replay_in_a_fresh_process_that_hashes_otherwise():
    failures = {scenario.__name__: found(scenario) for scenario in SCENARIOS[:: amount(3, 1)]}
    tokens = json.dumps({name: failure.token for name, failure in failures.items()})
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent.parent)])
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", REPLAY], env=environment, input=tokens, capture_output=True, text=True, check=True
    )
    replayed = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(replayed) >= 10
    assert replayed == [[name, repr(failure.exception), failure.token] for name, failure in failures.items()]
