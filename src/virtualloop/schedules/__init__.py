"""Where a run could have gone another way, and which way it goes.

Owns every decision that is left open, and nothing else: no clock, no queue, no asyncio. A loop at order "fifo" decides
nothing, so each is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virtualloop.schedules._choice import Choice as Choice
    from virtualloop.schedules._choice import Schedule as Schedule
    from virtualloop.schedules._exhaustive import Exhaustive as Exhaustive
    from virtualloop.schedules._random import Random as Random
    from virtualloop.schedules._replay import Recording as Recording
    from virtualloop.schedules._replay import Replay as Replay
    from virtualloop.schedules._replay import ReplayError as ReplayError

__all__ = ["Choice", "Exhaustive", "Random", "Recording", "Replay", "ReplayError", "Schedule"]

_HOMES = {
    "Choice": "_choice",
    "Exhaustive": "_exhaustive",
    "Random": "_random",
    "Recording": "_replay",
    "Replay": "_replay",
    "ReplayError": "_replay",
    "Schedule": "_choice",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
