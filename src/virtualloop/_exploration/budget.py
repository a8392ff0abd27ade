"""How long an exploration goes on: by runs, by seconds, and what the environment says instead.

Owns VIRTUALLOOP, the one variable for all explorations of a process, and the real seconds that have passed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, NamedTuple

from virtualloop._world.originals import real_time

__all__ = ["VARIABLE", "Budget", "Deadline", "overridden"]

#: Terms for every exploration, over those in the source: "runs=20000 seed=today seconds=600 jobs=4".
VARIABLE = "VIRTUALLOOP"
TERMS = ("runs", "seed", "seconds", "jobs")

# Kept from before anyone can put it on a virtual clock.
_now = datetime.now


class Budget(NamedTuple):
    """What an exploration is given."""

    runs: int
    seed: int
    seconds: float | None
    #: How many processes make the runs of an explored test.
    jobs: int = 1


class Deadline:
    """When a number of real seconds is over; never without one."""

    def __init__(self, seconds: float | None) -> None:
        self._at = float("inf") if seconds is None else real_time.monotonic() + seconds

    def is_over(self) -> bool:
        """Return whether the time is over."""
        return real_time.monotonic() >= self._at


def overridden(budget: Budget) -> Budget:
    """Return the budget with what the environment says. Raises ValueError that names the variable."""
    given: dict[str, Any] = {}
    for term in os.environ.get(VARIABLE, "").split():
        name, equals, value = term.partition("=")
        if not equals or name not in TERMS:
            raise ValueError(f"{VARIABLE} must hold {', '.join(f'{each}=...' for each in TERMS)}, not {term!r}")
        given[name] = _parsed(name, value)
    return budget._replace(**given)


def _parsed(name: str, value: str) -> Any:
    if name == "seed" and value == "today":
        # Another one each day, and the same in all processes of that day.
        return int(_now(UTC).strftime("%Y%m%d"))
    try:
        number = float(value) if name == "seconds" else int(value)
    except ValueError:
        number = float("nan")
    least = {"runs": 1, "seed": -float("inf"), "seconds": 0, "jobs": 1}[name]
    if not number >= least:
        kind = {
            "runs": "a number of runs",
            "seed": 'an integer or "today"',
            "seconds": "a number of seconds",
            "jobs": "a number of processes",
        }[name]
        raise ValueError(f"{VARIABLE} must give {name} as {kind}, not {value!r}")
    return number
