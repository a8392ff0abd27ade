"""Races that explore() has found, replayed on stock asyncio in a process that stalls for real.

Run by name, and at night: a loaded machine may add pauses of its own. One run that fails is the proof, and some are
allowed for it; that a run does *not* fail proves nothing, and is never asserted.
"""

import asyncio

import pytest

from quality.pauses import StallingLoop
from quality.races import SCENARIOS, wrong
from quality.test_stock import failure_of, script_of
from virtualloop import DeadlockError, explore

#: Runs allowed for a failure; all but a few scenarios fail at the first.
TRIES = 10
#: What hangs on stock asyncio is given up after this, in seconds; each scenario is over in a fifth of it.
HANGS = 0.5


async def within_limits(main):
    async with asyncio.timeout(HANGS):
        await main()


def failure_on_stock(main, script):
    failure = failure_of(StallingLoop(script, guards=1), lambda: within_limits(main))
    return DeadlockError if failure is TimeoutError else failure


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.level == "timing"], ids=lambda scenario: scenario.__name__
)
def test_happens_in_a_process_that_stalls(scenario):
    failure = explore(wrong(scenario), check=False).failure
    script = script_of(scenario, failure)

    assert type(failure.exception) in (failure_on_stock(wrong(scenario), script) for _ in range(TRIES))
