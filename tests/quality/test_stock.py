"""What is called "timing" happens on stock asyncio: each such race is replayed there, with real pauses.

Here the clock is the real one, so a loaded machine may add pauses of its own. One run that fails is the proof, and
a few are allowed for it; that a run does *not* fail proves nothing, and is never asserted.
"""

import asyncio
import time

import pytest

from helpers import run
from quality.scenarios import SCENARIOS, wrong
from virtualloop.schedules import Random, Recording, Replay

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


def failure_of(main, run):
    try:
        run(main)
    except (Exception, asyncio.CancelledError) as exc:
        return exc
    return None


def run_stalling(main, choices):
    with asyncio.Runner(loop_factory=lambda: StallingLoop(Replay(choices).choose)) as runner:
        runner.run(within_limits(main))


def failing_choices(main):
    """Return what a seed chose in a run that failed, with as many pauses taken out as may be."""
    recording = None

    def fails(schedule):
        return failure_of(main, lambda main: run(main, schedule=schedule, order="timing"))

    for seed in range(1000):
        recording = Recording(Random(seed))
        if fails(recording):
            break
    choices = [choice.answer for choice in recording.choices]
    for i in range(len(choices)):
        fewer = [*choices[:i], 0, *choices[i + 1 :]]
        if fails(Replay(fewer)):
            choices = fewer
    return choices


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.level == "timing"], ids=lambda scenario: scenario.__name__
)
def test_happens_on_stock_asyncio(scenario):
    choices = failing_choices(wrong(scenario))

    assert 1 <= sum(choices) <= 5
    assert any(failure_of(wrong(scenario), lambda main: run_stalling(main, choices)) for _ in range(TRIES))
