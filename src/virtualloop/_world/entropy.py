"""What is random in this process, and for whom it is the run that decides.

Owns the stand-ins for what draws from the operating system: `os.urandom`, and with it `secrets`, `random.SystemRandom`
and `uuid.uuid4`; what of a UUID is the machine's; and generators of `random` that are seeded with nothing. Who gets the
run's is asked as `clocks` asks it. `tempfile` is left alone: its names have to be new in each run.

The stream is one of its own, so that a key more does not shift the order of events, and each thread of a run has its
own, because threads race. It follows from the number of the run and nothing else; runs with different numbers never
give one database the same key.
"""

from __future__ import annotations

import os
import random
import sys
import uuid
from _thread import get_ident
from collections.abc import Callable
from operator import attrgetter
from types import FrameType, MethodType
from typing import Any

from virtualloop._world.frameworks import keeps_real
from virtualloop._world.originals import Originals
from virtualloop._world.shares import share_of
from virtualloop.schedules._random import entropy

__all__ = ["Dice", "Uuids", "members", "pairs"]

#: What `uuid` remembers of the last UUID, so that the next one is later.
LAST_UUIDS = tuple(
    name
    for name in ("_last_timestamp", "_last_timestamp_v6", "_last_timestamp_v7", "_last_counter_v7")
    if hasattr(uuid, name)
)
_last_uuids: Callable[[object], Any] = attrgetter(*LAST_UUIDS, "__name__")
#: A node that is no network card's has this bit.
MULTICAST = 1 << 40


class Uuids:
    """What `uuid` remembers in a run, and outside meanwhile: the clock of the one is nothing to the other."""

    _known: tuple[Any, ...] = (*[None] * len(LAST_UUIDS), "uuid")

    def exchange(self) -> None:
        """Let `uuid` remember what it knew when this was last called."""
        known = _last_uuids(uuid)
        if known != self._known:
            for name, value in zip((*LAST_UUIDS, "__name__"), self._known, strict=True):
                setattr(uuid, name, value)
            self._known = known


class Dice:
    """The entropy of one thread of a run."""

    # What most runs never come to, or not before they draw.
    _draw: Callable[[int], bytes] | None = None
    _threads = 0
    _state: Any = None

    def __init__(self, number: int, thread: str = "") -> None:
        #: What they follow from.
        self.number = number
        self._thread = thread

    def draw(self, count: int) -> bytes:
        """Return so many random bytes."""
        if self._draw is None:
            self._draw = entropy(f"{self.number}{self._thread}")
        return self._draw(count)

    def bits(self, count: int) -> int:
        """Return an integer of so many random bits."""
        return int.from_bytes(self.draw((count + 7) // 8)) >> (-count % 8)

    def node(self) -> int:
        """Return what stands for this machine's network card, the same in all of the run."""
        return int.from_bytes(entropy(f"{self.number} node")(6)) | MULTICAST

    def of_a_thread(self) -> Dice:
        """Return the dice of another thread, which this one starts."""
        self._threads += 1
        return Dice(self.number, f"{self._thread}.{self._threads}")

    def exchange_random(self, seed: int) -> None:
        """Let the module `random` be in the state that it was in when this was last called; at first, at its seed."""
        state = random.getstate()
        if self._state is None:
            random.seed(seed)
        else:
            random.setstate(self._state)
        self._state = state


# --- the stand-ins ----------------------------------------------------------------------------------------------------


_real: Any = Originals(sys.modules["nt" if os.name == "nt" else "posix"], ["urandom", "getrandom"])
_real.uuid1, _real.getnode = uuid.uuid1, uuid.getnode
_real.seed, _real.seed_any = random.seed, random.Random.seed


def _drawer(caller: FrameType) -> Dice | None:
    """Return what the caller draws from, unless it is real."""
    share = share_of(get_ident())
    dice: Dice | None = None if share is None else share.dice
    return None if dice is None or keeps_real(caller) else dice


class StandIns:
    """The functions, as a run has them. Methods, because those do not bind to a class that has them."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __reduce__(self) -> Any:
        # What is pickled is the function itself, by its name.
        return __import__, (self._module,)

    def urandom(self, size: int, /) -> Any:
        """Return so many random bytes."""
        dice = _drawer(sys._getframe(1))
        if dice is None or not isinstance(size, int) or size < 0:
            return _real.urandom(size)
        return dice.draw(size)

    def getrandom(self, size: int, flags: int = 0) -> Any:
        """Return so many random bytes."""
        dice = _drawer(sys._getframe(1))
        if dice is None or not isinstance(size, int) or size < 0:
            return _real.getrandom(size, flags)
        return dice.draw(size)

    def getnode(self) -> Any:
        """Return what tells this machine from others."""
        dice = _drawer(sys._getframe(1))
        return _real.getnode() if dice is None else dice.node()

    def uuid1(self, node: int | None = None, clock_seq: int | None = None) -> Any:
        """Return a UUID of a node, a number and the present time."""
        share = share_of(get_ident())
        if share is not None and not keeps_real(sys._getframe(1)):
            dice = share.dice
            if dice is not None:
                node = dice.node() if node is None else node
                clock_seq = dice.bits(14) if clock_seq is None else clock_seq
            elif share.reader is not None and node is None and clock_seq is None:
                # Else it is made by the operating system, by its clock.
                node, clock_seq = _real.getnode(), int.from_bytes(_real.urandom(2)) >> 2
        return _real.uuid1(node, clock_seq)

    def seed(self, a: Any = None, version: int = 2) -> None:
        """Seed the generator that the functions of `random` share."""
        dice = _drawer(sys._getframe(1)) if a is None else None
        _real.seed(a if dice is None else dice.bits(256), version)


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    """Seed a generator; one that is given nothing, from the run."""
    if a is None:
        caller = sys._getframe(1)
        if caller.f_globals is vars(random):  # Random.__init__
            caller = caller.f_back or caller
        dice = _drawer(caller)
        if dice is not None:
            a = dice.bits(256)
    _real.seed_any(self, a, version)


def _pair(function: Any, name: str, module: str) -> tuple[object, object]:
    stand_in = vars(StandIns)[name]
    stand_in.__module__, stand_in.__qualname__ = module, name
    return function, MethodType(stand_in, StandIns(module))


def pairs() -> list[tuple[object, object]]:
    """Return the functions, each with its stand-in."""
    found = [
        _pair(_real.urandom, "urandom", "os"),
        _pair(_real.uuid1, "uuid1", "uuid"),
        _pair(_real.getnode, "getnode", "uuid"),
        _pair(_real.seed, "seed", "random"),
    ]
    if hasattr(_real, "getrandom"):
        found.append(_pair(_real.getrandom, "getrandom", "os"))
    return found


def members() -> list[tuple[type, str, object]]:
    """Return the class, the name and the stand-in of each."""
    return [(random.Random, "seed", _seed)]
