"""The story of each race: short, and with what matters in it."""

import re

import pytest

from quality.races import SCENARIOS
from quality.test_races import found
from virtualloop import DeadlockError

#: Scenarios in which it matters who cancelled whom, with the words that say so.
CANCELLED = {
    "SharedFlightCancelled": "cancelled by a timeout of Task-2",
    "ReleasedWithoutAcquire": "cancelled by its timeout",
    "LockLostOnHandOff": "cancelled by its timeout",
    "SlotLostOnHandOff": "woken by Task-3, then cancelled by Task-1",
    "NoticeLost": "woken by Task-1, then cancelled by its timeout",
    "ConnectionLeaked": "cancelled by its timeout",
    "CancelledWaiterIsWoken": "cancelled by its timeout",
    "ResultAgainstTimeout": "cancelled by its timeout",
    "RetryDoubles": "cancelled by its timeout",
    "RepliesMixedUp": "cancelled by its timeout",
    "CancelSwallowed": "cancelled by Task-1",
    "RollbackInterrupted": "cancelled by Task-1",
    "DoneBeforeSaved": "cancelled by Task-1",
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_story_has_what_matters(scenario):
    failure = found(scenario)
    *lines, replay = failure.report.splitlines()
    head = [line for line in lines if line.startswith("  if ")]
    deviation = lines[1 + len(head)]
    steps = [line for line in lines if re.match(r"[ *] +[0-9.]+ms  ", line)]

    assert len(lines) + 1 <= 40
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("virtualloop: ")
    assert replay.startswith("Replay it: ")
    # Where it left asyncio's order.
    first = deviation.strip().removesuffix(".").removesuffix(",").partition(", and ")[0]
    assert any(line.startswith("*") and first[:60] in line for line in steps)
    # What failed, near the end; or, where it hangs, who waits.
    if isinstance(failure.exception, DeadlockError):
        assert any("waits for" in line for line in steps)
    else:
        assert any(f"raises {type(failure.exception).__name__}" in line for line in lines)
    # Who cancelled whom.
    said = CANCELLED.get(scenario.__name__)
    assert said is None or any(said in line for line in steps)
    assert "cancelled from outside" not in failure.report


def test_what_a_late_callback_and_a_late_event_both_do_is_said_of_both():
    (scenario,) = [scenario for scenario in SCENARIOS if scenario.__name__ == "LostUpdate"]
    _, callback, event, *_ = found(scenario).report.splitlines()

    assert callback.startswith("  the loop wakes 25 ms late")
    assert event.startswith("  Likewise where Task-2 deposit's timer")
    assert event.endswith("fires 30 ms late.")
