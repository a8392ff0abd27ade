"""What a loop makes sure of when a schedule answers.

Owns these checks; knows no loop.
"""

from __future__ import annotations

from collections.abc import Callable

from virtualloop.schedules._choice import Plain, Schedule
from virtualloop.schedules._random import Random
from virtualloop.schedules._replay import Deviating, DeviationLog

__all__ = ["answers_of"]

#: Schedules that are always right, and are asked most of the time.
_RIGHT = (Plain, Deviating, DeviationLog)


def answers_of(schedule: Schedule) -> Callable[[int, str], int]:
    """Return the schedule's choose(), checked: TypeError or ValueError that names it for anything outside `range(n)`.

    A schedule that has raised is not asked again: what is left, the teardown of the run, gets 0 for every answer. Else
    it could not end, and hypothesis, say, which stops a run by raising, would be left with tasks that never started.
    """
    kind = type(schedule)
    if (kind is Random and type(schedule.seed) is int) or kind in _RIGHT:  # type: ignore[attr-defined]  # it has one
        return schedule.choose
    failed = False

    def choose(n: int, kind: str) -> int:
        nonlocal failed
        if failed:
            return 0
        failed = True
        answer = schedule.choose(n, kind)
        if isinstance(answer, bool) or not isinstance(answer, int):
            raise TypeError(f"{schedule!r}.choose({n}, {kind!r}) returned {answer!r}, not an integer")
        if not 0 <= answer < n:
            raise ValueError(f"{schedule!r}.choose({n}, {kind!r}) returned {answer}, which is not in range({n})")
        failed = False
        return answer

    return choose
