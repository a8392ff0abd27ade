"""Generators of random numbers that a program, or a library of its, has made before: a jitter's, a faker's.

Owns finding them, and that each run, and whoever comes afterwards, finds each in the state that it was in. They would
go on from run to run, so that no two runs were the same. Knows nothing of runs.
"""

from __future__ import annotations

import gc
import random
import sys
import weakref
from collections.abc import Iterator
from typing import Any

__all__ = ["Generators"]

#: Whether reference counts are exact. Where threads run at once they are not.
_COUNTS = "free-threading" not in sys.version


class _Search:
    """What was found last. An object counts as a reference to its class, so it is known whether there are others."""

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._found: list[weakref.ref[random.Random]] = []

    def found(self) -> list[random.Random]:
        """Return all generators there are but that of the module itself."""
        classes = list(_classes(random.Random))
        counts = [sys.getrefcount(cls) for cls in classes]
        found = [each for ref in self._found if (each := ref()) is not None]
        if counts != self._counts or len(found) < len(self._found) or not _COUNTS:
            found = [each for each in gc.get_referrers(*classes) if _is_found(each)]
            self._found, self._counts = [weakref.ref(each) for each in found], counts
        kept = _generator_of_tempfile()
        return [each for each in found if each is not kept]


_search = _Search()


def _classes(cls: type[random.Random]) -> Iterator[type[random.Random]]:
    """Return a class and all that are derived from it, but for those that keep no state, or another one."""
    yield cls
    for derived in cls.__subclasses__():
        if derived.getstate is random.Random.getstate and derived.setstate is random.Random.setstate:
            yield from _classes(derived)


def _generator_of_tempfile() -> object:
    """Return what draws the names of temporary files, which have to be new in each run; None before there is any."""
    names = vars(sys.modules.get("tempfile", object)).get("_name_sequence")
    return None if names is None else vars(names).get("_rng")


def _is_found(thing: Any) -> bool:
    kind = type(thing)
    return (
        issubclass(kind, random.Random)
        and kind.getstate is random.Random.getstate
        and thing is not vars(random)["seed"].__self__
    )


class Generators:
    """Those that there are when runs begin."""

    def __init__(self) -> None:
        self._before = [(each, each.getstate()) for each in _search.found()]

    def restore(self) -> None:
        """Let each be in the state that it was in."""
        for each, state in self._before:
            each.setstate(state)
