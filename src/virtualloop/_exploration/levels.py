"""What may vary in a run, level by level.

Owns the names of the levels, and which kind of deviation belongs to which.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

__all__ = ["LEVELS", "Level", "level_of", "tighter_than"]

Level = Literal["fifo", "timing", "io", "tasks"]
LEVELS: tuple[Level, ...] = ("fifo", "timing", "io", "tasks")

#: The level that a deviation of each kind belongs to. All others are not a matter of order.
_LEVEL_OF_KIND: dict[str, Level] = {
    "late": "timing",
    "slow": "timing",
    "apart": "timing",
    "hold": "io",
    "reply": "io",
    "release": "io",
    "task": "tasks",
}


def level_of(kinds: Iterable[str]) -> Level:
    """Return the tightest level at which deviations of these kinds can happen."""
    return LEVELS[max((LEVELS.index(_LEVEL_OF_KIND.get(kind, "fifo")) for kind in kinds), default=0)]


def tighter_than(level: Level) -> tuple[Level, ...]:
    """Return the levels that leave less open, the tightest first."""
    return LEVELS[: LEVELS.index(level)]
