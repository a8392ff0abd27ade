"""What order "timing" does happens on stock asyncio: it is run there again, with the pauses it took.

Each run has a clock that goes by the pauses alone, and comes to the same steps, or the same failure. In a process that
stalls for real the races are replayed by `real_stalls`, beside this file.
"""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quality.pauses import NotingLoop, PausingOracle, StockGoesOnError
from quality.races import SCENARIOS, wrong
from test_oracle import STEPS, interpret
from virtualloop import DeadlockError, explore
from virtualloop.schedules import Random
from virtualloop.schedules._replay import LenientReplay
from virtualloop.schedules._token import decode


def steps(loop, programs):
    log = []
    loop.set_exception_handler(lambda loop, context: None)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(interpret(programs, log))
    return [what for _, *what in log]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=4), st.integers(0, 2**64), st.booleans())
def test_any_run_at_order_timing_happens_on_stock_asyncio(programs, seed, has_own_clocks):
    loop = NotingLoop(schedule=Random(seed), patch_time=has_own_clocks)
    taken = steps(loop, programs)

    assert steps(PausingOracle(loop.script()), programs) == taken


def failure_of(loop, main):
    """Return the type of what the run fails with, if it does; of what hangs, that of a deadlock."""
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())
    except (Exception, asyncio.CancelledError) as exc:
        return type(exc)
    return None


def script_of(scenario, failure):
    """Return what took how long in the run that failed, made again by an exact clock."""
    answers = [answer for answer, *_ in decode(failure.token).choices]
    loop = NotingLoop(schedule=LenientReplay(answers))
    assert failure_of(loop, wrong(scenario)) is type(failure.exception)
    return loop.script()


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.level == "timing"], ids=lambda scenario: scenario.__name__
)
def test_happens_on_stock_asyncio(scenario):
    failure = explore(wrong(scenario), check=False).failure
    on_stock = failure_of(PausingOracle(script_of(scenario, failure)), wrong(scenario))

    assert failure.level == "timing"
    assert (DeadlockError if on_stock is StockGoesOnError else on_stock) is type(failure.exception)
