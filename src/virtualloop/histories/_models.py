"""Models of the objects that are checked most: each one function of (state, op, args, result).

Owns what a correct register, key-value store, set, queue, counter and lock may answer. A model returns the state after
the operation, or None where the result is not possible. A result that is not known equals whatever it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from virtualloop.histories._call import UNKNOWN, Call, Model

__all__ = ["counter", "key_value", "lock", "queue", "register", "set_of_items", "usual_partition"]

_Args = tuple[Any, ...]


class _Held(NamedTuple):
    """The state of a register, so that the value None is told from "not possible"."""

    value: Any

    def __repr__(self) -> str:
        return repr(self.value)


def register(state: Any, op: str, args: _Args, result: Any) -> Any:
    """One value: `read()`, `write(value)`, and `cas(old, new)`, which returns whether the value was `old`.

    The value is that of `initial=` before the first write. Raises ValueError for other operations.
    """
    value = state.value if isinstance(state, _Held) else state
    if op == "read":
        return _Held(value) if result == value else None
    if op == "write":
        return _Held(args[0])
    if op == "cas":
        old, new = args
        if result != (value == old):
            return None
        return _Held(new if value == old else value)
    _unknown("register", op, "read, write, cas")


def key_value(state: Any, op: str, args: _Args, result: Any) -> Any:
    """Values by keys: `get(key)`, `put(key, value)`, `delete(key)`, `append(key, more)`, `cas(key, old, new)`.

    `get` returns None for a key that is not there; `append` adds to a string or a list, and makes one where there is
    none; `cas` returns whether the value was `old`. `initial=` is a dict. Each key is checked by itself unless
    `partition=` says otherwise. Raises ValueError for other operations.
    """
    items = state or {}
    key = args[0]
    value = items.get(key)
    if op == "get":
        return items if result == value else None
    if op == "put":
        return {**items, key: args[1]}
    if op == "delete":
        return {k: v for k, v in items.items() if k != key}
    if op == "append":
        return {**items, key: args[1] if value is None else value + args[1]}
    if op == "cas":
        _, old, new = args
        if result != (value == old):
            return None
        return {**items, key: new} if value == old else items
    _unknown("key_value", op, "get, put, delete, append, cas")


def set_of_items(state: Any, op: str, args: _Args, result: Any) -> Any:
    """A set: `add(item)` and `remove(item)`, `contains(item)`, and `read()`, which returns all items.

    `add` and `remove` may return None, or whether that changed the set. Raises ValueError for other operations.
    """
    items = frozenset(state or ())
    if op == "read":
        return items if result is UNKNOWN or items == frozenset(result) else None
    if op == "contains":
        return items if result == (args[0] in items) else None
    if op in ("add", "remove"):
        after = items | {args[0]} if op == "add" else items - {args[0]}
        return after if result is None or result == (after != items) else None
    _unknown("set_of_items", op, "add, remove, contains, read")


def queue(state: Any, op: str, args: _Args, result: Any) -> Any:
    """A queue, first in, first out: `put(item)`, and `get()`, which returns the first item, or None if there is none.

    Raises ValueError for other operations.
    """
    items = tuple(state or ())
    if op == "put":
        return (*items, args[0])
    if op == "get":
        if not items:
            return items if result == None else None  # noqa: E711  # what is not known equals None, too
        return items[1:] if result == items[0] else None
    _unknown("queue", op, "put, get")


def counter(state: Any, op: str, args: _Args, result: Any) -> Any:
    """A number: `add(amount)`, or `add()` for 1, and `read()`.

    `add` may return None, or the number after it. Raises ValueError for other operations.
    """
    number = state or 0
    if op == "read":
        return number if result == number else None
    if op == "add":
        after = number + (args[0] if args else 1)
        return after if result is None or result == after else None
    _unknown("counter", op, "read, add")


def lock(state: Any, op: str, args: _Args, result: Any) -> Any:
    """A lock: `acquire()` and `release()`, where `acquire` may return None, or whether it got the lock.

    Who holds it, if the operations say so by an argument, is checked as well: `acquire("Ann")`, `release("Ann")`.
    Raises ValueError for other operations.
    """
    holder = state or ()
    if op == "acquire":
        if holder:
            return holder if result is not None and result == False else None  # noqa: E712  # it may be unknown
        return ("held", *args) if result is None or result == True else None  # noqa: E712  # as above
    if op == "release":
        return () if holder == ("held", *args) else None
    _unknown("lock", op, "acquire, release")


#: Models whose operations on one key say nothing about another, and what the key is.
_PARTITIONS: dict[Any, Callable[[Call], Any]] = {key_value: lambda call: call.args[0]}


def usual_partition(model: Model) -> Callable[[Call], Any] | None:
    """Return how the operations of a ready made model fall apart, if they do."""
    return _PARTITIONS.get(model)


def _unknown(model: str, op: str, known: str) -> NoReturn:
    raise ValueError(f"histories.{model} knows no operation {op!r}, only {known}; a model of your own is one function")
