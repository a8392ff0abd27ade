"""How this package and `time_machine` get along: that one replaces the functions of C from within.

Owns what has to stand in for it. To travel it writes into what `time.time` and `datetime.now` are made of, so it must
find the functions themselves there: what stands in for them steps aside meanwhile. While it travels, the calendar is
where it says; and where it asks how much time has passed since, it is told the time of the world.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import MethodType
from typing import Any

from virtualloop._world.clocks import NANOSECONDS, reader_here
from virtualloop._world.originals import Originals

__all__ = ["pairs"]

MODULE = "_time_machine"
#: What writes into the functions, in its several versions.
WRITERS = ("patch", "patch_if_needed", "unpatch")


class StandIns:
    """The functions of `_time_machine`, as a world has them."""

    def __init__(self, real: Any, aside: Callable[[], AbstractContextManager[None]]) -> None:
        self._real = real
        self._aside = aside

    def patch(self) -> None:
        """Write into the functions."""
        with self._aside():
            self._real.patch()

    def patch_if_needed(self) -> None:
        """Write into the functions."""
        with self._aside():
            self._real.patch_if_needed()

    def unpatch(self) -> None:
        """Write into the functions what was there."""
        with self._aside():
            self._real.unpatch()

    def original_time_ns(self) -> int:
        """Return nanoseconds since 1970, without travelling."""
        reader = reader_here()
        real = int(self._real.original_time_ns())
        if reader is None:
            return real
        if reader.origin is None:
            # Who travelled before this world was made goes on from there.
            reader.origin = real // NANOSECONDS - reader.now()
        return (reader.origin + reader.now()) * NANOSECONDS


def pairs(aside: Callable[[], AbstractContextManager[None]]) -> list[tuple[object, object]]:
    """Return its functions, each with its stand-in; none where it is not installed. `aside` takes all stand-ins away.

    It is loaded now: afterwards it would be too late.
    """
    if importlib.util.find_spec(MODULE) is None:
        return []
    real: Any = Originals(importlib.import_module(MODULE), [*WRITERS, "original_time_ns"])
    stand_ins = StandIns(real, aside)
    return [(getattr(real, name), MethodType(vars(StandIns)[name], stand_ins)) for name in vars(real)]
