"""What is called "timing" happens on stock asyncio: each such race is replayed there, with real pauses.

Here the clock is the real one, so a loaded machine may add pauses of its own. One run that fails is the proof, and
a few are allowed for it; that a run does *not* fail proves nothing, and is never asserted.
"""

import asyncio
import time

import pytest

from quality.scenarios import SCENARIOS, wrong
from virtualloop import DeadlockError, explore
from virtualloop.schedules import Replay

LATENESS = 0.05
#: Runs allowed for a failure; all but a few scenarios fail at the first.
TRIES = 10
#: What hangs on stock asyncio is given up after this, in seconds; each scenario is over in a fifth of it.
HANGS = 0.5


class StallingLoop(asyncio.SelectorEventLoop):
    """Stock asyncio in a process that stalls, for real, where a schedule says that the loop reads its clock late."""

    def __init__(self, choose):
        super().__init__()
        self._choose = choose
        self._instant = self.time()

    def _process_events(self, events):
        """Stall between `select()` and the look at the clock, until as many deadlines have passed as are chosen."""
        super()._process_events(events)
        if not self._ready:
            self._instant = self.time()
        while (deadline := self._next_deadline()) is not None and self._choose(2, "late"):
            time.sleep(max(deadline - self.time(), 0))

    def _next_deadline(self):
        now = self.time() + self._clock_resolution
        pending = [handle.when() for handle in self._scheduled if not handle.cancelled()]
        return min((when for when in pending if now < when <= self._instant + LATENESS), default=None)


async def within_limits(main):
    async with asyncio.timeout(HANGS):
        await main()


def failure_on_stock(main, schedule):
    """Return the type of what the run fails with, if it does; of what hangs, that of a deadlock."""
    try:
        with asyncio.Runner(loop_factory=lambda: StallingLoop(schedule.choose)) as runner:
            runner.run(within_limits(main))
    except TimeoutError:
        return DeadlockError
    except (Exception, asyncio.CancelledError) as exc:
        return type(exc)
    return None


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.level == "timing"], ids=lambda scenario: scenario.__name__
)
def test_happens_on_stock_asyncio(scenario):
    failure = explore(wrong(scenario), check=False).failure
    on_stock = (failure_on_stock(wrong(scenario), Replay(failure.token)) for _ in range(TRIES))

    assert failure.level == "timing"
    assert type(failure.exception) in on_stock
