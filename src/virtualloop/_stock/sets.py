"""In which order asyncio goes through its own sets of tasks and futures.

Owns the set that stands in where asyncio makes one (wait(), as_completed(), TaskGroup, all_tasks()), and for how long
it does. Knows nothing of the loop beyond who runs, and changes nobody's class.

asyncio's code says `set`, which is the builtin because its modules have no global of that name. While a loop of ours
runs, they have: a function that returns an ordered set to whoever runs on such a loop, and a plain one to others. The
name is there from the start of the first loop that runs, in whatever thread, to the end of the last. `all_tasks` is
another matter: asyncio.Runner asks for what it cancels when its loop has stopped. So it stands in until all loops that
have run are closed.

An ordered set is a set in all that it does. It is gone through in the order of its members' numbers, which tasks have
from their creation, and futures from their first appearance in such a set. What takes no number (a coroutine) comes
last, in the order in which it was given.

anyio's module for asyncio has sets as well, of tasks and of its scopes. Those are of its own classes and hash by
address, so what it makes is gone through in the order in which the members came.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from operator import attrgetter
from typing import Any

from virtualloop._stock.private import get_running_loop
from virtualloop._stock.tasks import any_left, is_ours, number_future, number_tasks

__all__ = ["OrderedSet", "begin", "end", "finish"]

#: Where anyio has what it does on asyncio.
ANYIO = "anyio._backends._asyncio"

_by_number = attrgetter("_virtualloop_number")


class OrderedSet(builtins.set[Any]):
    """A set of tasks, futures or coroutines that is gone through in one order, whatever their hashes are."""

    __slots__ = ("_positions", "_taken")
    #: The places of members that take no number, in what the set was made of.
    _positions: dict[Any, int]
    #: What pop() takes next, the last first.
    _taken: list[Any]

    def __init__(self, members: Iterable[Any] = ()) -> None:
        members = list(members)
        super().__init__(members)
        self._positions = _numbered(members) if members else {}

    def __iter__(self) -> Iterator[Any]:
        size = len(self)
        for member in self._in_order():
            if len(self) != size:
                break
            yield member
        if len(self) != size:
            raise RuntimeError("Set changed size during iteration")

    def _in_order(self) -> list[Any]:
        members = list(super().__iter__())
        if len(members) > 1:
            others = _numbered(members)
            members.sort(key=self._rank if others else _by_number)
        return members

    def _rank(self, member: Any) -> tuple[int, int]:
        number = getattr(member, "_virtualloop_number", None)
        return (0, number) if type(number) is int else (1, self._positions.get(member, len(self)))

    def pop(self) -> Any:
        """Take out the first member. Raises KeyError where there is none."""
        taken = getattr(self, "_taken", [])
        while True:
            while taken:
                member = taken.pop()
                if member in self:
                    self.remove(member)
                    return member
            if not self:
                raise KeyError("pop from an empty set")
            taken = self._taken = self._in_order()[::-1]

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}" if self else "set()"

    def __reduce__(self) -> Any:
        return builtins.set, (list(self),)


# People read its name.
OrderedSet.__name__ = OrderedSet.__qualname__ = "set"


def _combining(name: str) -> Callable[..., Any]:
    stock = getattr(builtins.set, name)

    @functools.wraps(stock)
    def method(self: OrderedSet, *others: Any) -> Any:
        result = stock(self, *others)
        return OrderedSet(result) if type(result) is builtins.set else result

    return method


# What a set makes of itself and of others is a plain one if nobody sees to it.
for _name in ("copy", "union", "intersection", "difference", "symmetric_difference"):
    setattr(OrderedSet, _name, _combining(_name))
for _name in ("or", "and", "sub", "xor"):
    for _side in ("", "r"):
        setattr(OrderedSet, f"__{_side}{_name}__", _combining(f"__{_side}{_name}__"))


def _numbered(members: list[Any]) -> dict[Any, int]:
    """Give numbers to tasks and futures that have none; return the places of what takes none."""
    try:
        if all(type(number) is int for number in map(_by_number, members)):
            return {}
    except AttributeError:
        pass
    number_tasks(member for member in members if isinstance(member, asyncio.Task))
    return {
        member: position
        for position, member in enumerate(members)
        if type(getattr(member, "_virtualloop_number", None)) is not int and not number_future(member)
    }


class KeptOrder(builtins.set[Any]):
    """A set of whatever hashes by its address that is gone through in the order in which its members came."""

    __slots__ = ("_order",)
    _order: dict[Any, None]

    def __init__(self, members: Iterable[Any] = ()) -> None:
        self._order = dict.fromkeys(members)
        super().__init__(self._order)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def add(self, member: Any) -> None:
        """Add a member, as the last one where it is new."""
        super().add(member)
        self._order[member] = None

    def discard(self, member: Any) -> None:
        """Take out a member, if it is one."""
        super().discard(member)
        self._order.pop(member, None)

    def remove(self, member: Any) -> None:
        """Take out a member. Raises KeyError where it is none."""
        super().remove(member)
        del self._order[member]

    def pop(self) -> Any:
        """Take out the first member. Raises KeyError where there is none."""
        for member in self._order:
            self.remove(member)
            return member
        raise KeyError("pop from an empty set")

    def clear(self) -> None:
        """Take out all members."""
        super().clear()
        self._order.clear()

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}" if self else "set()"

    def __reduce__(self) -> Any:
        return builtins.set, (list(self),)


KeptOrder.__name__ = KeptOrder.__qualname__ = "set"


def _changing(name: str) -> Callable[..., Any]:
    stock = getattr(builtins.set, name)

    @functools.wraps(stock)
    def method(self: KeptOrder, *others: Any) -> Any:
        others = tuple(list(other) if isinstance(other, Iterator) else other for other in others)
        result = stock(self, *others)
        members = builtins.set(builtins.set.__iter__(self))
        new = dict.fromkeys(member for other in others for member in other if member in members)
        self._order = dict.fromkeys(member for member in (*self._order, *new) if member in members)
        return result

    return method


for _name in ("update", "difference_update", "intersection_update", "symmetric_difference_update"):
    setattr(KeptOrder, _name, _changing(_name))
for _name in ("ior", "iand", "isub", "ixor"):
    setattr(KeptOrder, f"__{_name}__", _changing(f"__{_name}__"))


# --- while a loop runs ------------------------------------------------------------------------------------------------


def _set(*members: Iterable[Any]) -> builtins.set[Any]:
    """Return what `set()` returns; to code on a loop of ours, one that is gone through in order."""
    return OrderedSet(*members) if is_ours(get_running_loop()) else builtins.set(*members)


class _LikeSet(type):
    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, builtins.set)


class _KeptSet(metaclass=_LikeSet):
    """The same for anyio, whose members hash by address; whatever else its versions do with that name."""

    def __new__(cls, *members: Iterable[Any]) -> Any:
        return KeptOrder(*members) if is_ours(get_running_loop()) else builtins.set(*members)

    def __class_getitem__(cls, item: Any) -> Any:
        return builtins.set[item]


_stock_all_tasks: Any = asyncio.all_tasks


@functools.wraps(_stock_all_tasks)
def _all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> builtins.set[asyncio.Task[Any]]:
    if loop is not None and not any_left() and is_ours(loop) and not loop.is_running():
        return builtins.set()  # as mostly where asyncio.run() asks for what it cancels
    tasks: builtins.set[asyncio.Task[Any]] = _stock_all_tasks(loop)
    return OrderedSet(tasks) if is_ours(get_running_loop() if loop is None else loop) else tasks


# The modules that make sets of tasks, or have all_tasks(). staggered is left out, where all tasks are the loop's.
_tasks, _groups, _asyncio = asyncio.tasks.__dict__, asyncio.taskgroups.__dict__, asyncio.__dict__

# The loops that have run and are open, by id. There is no lock, since each run of a loop would pay for it: who comes
# writes the names, and who leaves as the last looks again whether anybody has come meanwhile.
_open: dict[int, None] = {}


def begin(loop: object) -> None:
    """A loop begins to run: replace the names."""
    _replace_set()
    _open[id(loop)] = None
    _replace_all_tasks()


def end(running: Sized) -> None:
    """A loop has stopped: put back the name `set`, if no others are `running`."""
    if not running:
        _tasks.pop("set", None)
        _groups.pop("set", None)
        if "anyio" in sys.modules:
            _anyio().pop("set", None)
        if running:
            _replace_set()


def finish(loop: object) -> None:
    """A loop has closed: put back the name `all_tasks`, if it was the last that had run. Twice is fine."""
    _open.pop(id(loop), None)
    if not _open:
        if _tasks["all_tasks"] is _all_tasks:
            _tasks["all_tasks"] = _stock_all_tasks
        if _asyncio["all_tasks"] is _all_tasks:
            _asyncio["all_tasks"] = _stock_all_tasks
        if _open:
            _replace_all_tasks()


def _replace_set() -> None:
    _tasks["set"] = _groups["set"] = _set
    if "anyio" in sys.modules:
        _anyio()["set"] = _KeptSet


def _anyio() -> dict[str, Any]:
    """Return the names of anyio's module for asyncio, which anyio loads when it is first asked for anything."""
    module = sys.modules.get(ANYIO)
    if module is None:
        with contextlib.suppress(ImportError):  # another anyio than we know
            module = importlib.import_module(ANYIO)
    return {} if module is None else module.__dict__


def _replace_all_tasks() -> None:
    # Either may be somebody's replacement already.
    if _tasks["all_tasks"] is _stock_all_tasks:
        _tasks["all_tasks"] = _all_tasks
    if _asyncio["all_tasks"] is _stock_all_tasks:
        _asyncio["all_tasks"] = _all_tasks
