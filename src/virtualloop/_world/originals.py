"""Functions of Python's modules in C as they are, whatever stands in their place.

Owns how they are found, and real time: what this package measures and waits for in seconds of the machine. Knows
nothing of virtual clocks.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType
from typing import Any

__all__ = ["Originals", "real_time"]


class Originals:
    """Functions of a module in C, by their names, also while a library of this kind stands in for them.

    In the attributes of a module such a library would find and replace them; `Substitution` leaves alone what objects
    of this package have.
    """

    def __init__(self, module: Any, names: Iterable[str]) -> None:
        for name in names:
            if name in vars(module):
                setattr(self, name, _original(module, name))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this Python has no {name}()")


def _original(module: Any, name: str) -> Any:
    found = vars(module)[name]
    if type(found) is BuiltinFunctionType and found.__name__ == name:
        return found
    # Who has replaced it keeps it, to give it back.
    kept = (each for each in gc.get_objects() if type(each) is BuiltinFunctionType)
    return next(each for each in kept if each.__name__ == name and each.__self__ is module)


class RealTime(Originals):
    """The clock of the machine, which nobody stops: who looks for its functions looks in modules, not in objects."""

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


real_time = RealTime(time, ["monotonic", "sleep"])
