"""Where functions of the process are known, and others in their place for a while.

Owns finding every place that holds a function, as far as Python can see, putting a stand-in there, and giving all of it
back. Knows nothing of what the functions do.

`from time import monotonic` copies a function into another module's globals, `def wait(timer=monotonic)` into a tuple,
`self.timer = timer` into an instance: what was bound before does not see that `time.monotonic` has been replaced. The
garbage collector knows who refers to a function, so it is asked; that takes some milliseconds, whatever the number of
functions. So it is asked for a class method of a built-in class, which is another object for each who has taken it.
Locals of functions that run, lists, sets and C code stay out of reach.

What refers to a stand-in when it is taken out, because it was bound meanwhile, is found in the same way; reference
counts say whether there is anything to be found. A stand-in that remains all the same does what the function would do.
"""

from __future__ import annotations

import functools
import gc
import operator
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import (
    BuiltinMethodType,
    CellType,
    ClassMethodDescriptorType,
    FrameType,
    FunctionType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any, NamedTuple

from virtualloop._world.frameworks import OFFERS_A_CLOCK, is_framework

__all__ = ["Substitution"]

#: How far it is from a function to what owns the place: function, static method, namespace of the class, class.
LONGEST_WAY = 3

#: How often it is tried to give back what stands in, where what signals raise interrupts it.
ATTEMPTS = 5

#: Whether reference counts are exact. Where threads run at once they are not.
_COUNTS = "free-threading" not in sys.version

#: What holds other objects but is no place that anyone calls a function from.
_OUT_OF_REACH = (list, set, frozenset, FrameType)

#: Modules that know the functions to have them; and those whose objects do.
_OURS = "virtualloop."
_ROOM = "virtualloop._world."

#: The flag of classes that Python code has made.
_HEAP_TYPE = 1 << 9

#: Sets `__abstractmethods__` of any class, built-in ones too, which tells Python that the class has changed.
_abstract_methods: Any = type.__dict__["__abstractmethods__"]


class Way(NamedTuple):
    """How to get at what a holder has by a key, and how to set it."""

    get: Callable[[Any, Any], object]
    set: Callable[[Any, Any, Any], object]


class Place:
    """One place where something else stands now: how to get at it, what was there, and what is there now."""

    __slots__ = ("_address", "_holder", "_key", "_now", "_way", "lasting", "was")

    def __init__(self, way: Way, holder: Any, key: object, was: object, now: object, *, lasting: bool = False) -> None:
        self._way = way
        self._key = key
        self.was = was
        self._now = now
        self._address = _address(holder)
        try:
            # So that nothing lives longer for it.
            self._holder: Any = weakref.ref(holder)
            lasting = True
        except TypeError:
            self._holder = holder
        #: Whether it keeps nothing alive, but for globals of modules, which live on anyway.
        self.lasting = lasting

    def let_go(self) -> None:
        """Keep nothing alive."""
        if not self.lasting:
            self._holder = None

    def find(self, holders: dict[Any, object]) -> None:
        """Take up again what was let go, if it is among these, by their addresses."""
        if not self.lasting:
            self._holder = holders.get(self._address)

    def is_as_it_was(self) -> bool:
        """Return whether what was there is there."""
        holder = self._holder() if type(self._holder) is weakref.ref else self._holder
        return holder is not None and self._way.get(holder, self._key) is self.was

    def fill(self) -> None:
        """Put the stand-in there, unless somebody else has put something else."""
        self._exchange(self.was, self._now)

    def give_back(self) -> None:
        """Put back what was there, unless somebody else has put something else."""
        self._exchange(self._now, self.was)

    def _exchange(self, expected: object, new: object) -> None:
        holder = self._holder() if type(self._holder) is weakref.ref else self._holder
        if holder is not None and self._way.get(holder, self._key) is expected:
            self._way.set(holder, self._key, new)


class Substitution:
    """Stand-ins for functions, and for members of classes, while anyone holds it.

    `functions` are pairs of a function and its stand-in; `members` are a class, a name, and what stands in for
    what the class has by that name. A stand-in must not be one that binds to an instance, since functions of C do not.
    """

    def __init__(
        self,
        functions: Iterable[tuple[object, object]],
        members: Iterable[tuple[type, str, object]] = (),
    ) -> None:
        # By id, because what is looked for may have any kind of __eq__; the pairs keep both alive.
        self._functions = list(functions)
        self._members = [(cls, name, vars(cls)[name], new) for cls, name, new in members]
        #: All that is looked for, and what stands in for it: functions, and class methods that somebody has bound.
        self._pairs = self._functions
        self._lock = threading.RLock()
        self._users = 0
        self._places: list[Place] = []
        self._remembered: list[Place] = []
        self._state: object = None
        # How many hold each stand-in before anyone else does.
        self._at_rest: list[int] = []

    def hold(self) -> None:
        """Put the stand-ins in place, unless they are; whatever happens meanwhile, they are all in place or none is."""
        with self._lock:
            if not self._users:
                try:
                    self._put_in()
                except BaseException:
                    self._surely_take_out()
                    raise
            self._users += 1

    def release(self) -> None:
        """Take the stand-ins out again when nobody holds them any more."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._surely_take_out()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the stand-ins away for a moment, from wherever they were put."""
        with self._lock:
            try:
                self._give_back()
                self._give_back_members()
                yield
            finally:
                if self._users:
                    self._fill()

    def _put_in(self) -> None:
        if self._remembered and self._state == self._look() and _are_there(self._remembered):
            self._places = self._remembered
        else:
            self._remembered = []
            self._pairs = [*self._functions, *_bound_before(self._members)]
            self._places = _places({id(old): (old, new) for old, new in self._pairs})
        self._at_rest = self._counts()
        self._fill()

    def _fill(self) -> None:
        for cls, name, _, new in self._members:
            _set_member(cls, name, new)
        for place in self._places:
            place.fill()

    def _surely_take_out(self) -> None:
        """Take the stand-ins out, though signals interrupt it: nobody is left with one because a key was pressed."""
        interrupt: BaseException | None = None
        for _ in range(ATTEMPTS):
            try:
                self._take_out()
                break
            except BaseException as exc:
                interrupt = exc
        if interrupt is not None:
            raise interrupt

    def _take_out(self) -> None:
        self._give_back()
        self._give_back_members()
        self._sweep()
        for place in self._places:
            place.let_go()
        self._remembered, self._places = self._places, []
        self._state = self._look()

    def _give_back(self) -> None:
        for place in self._places:
            place.give_back()

    def _give_back_members(self) -> None:
        for cls, name, old, _ in self._members:
            _set_member(cls, name, old)

    def _sweep(self) -> None:
        """Give back what was bound while the stand-ins were in place."""
        if _COUNTS and self._counts() == self._at_rest:
            return
        for place in _places({id(new): (new, old) for old, new in self._pairs}):
            place.fill()

    def _counts(self) -> list[int]:
        return [sys.getrefcount(new) for _, new in self._pairs]

    def _look(self) -> object:
        """Return what is the same as long as the functions are known in the same places; None where that is unknown."""
        if not _COUNTS:
            return object()
        # What is frozen was not found, and may be melted again.
        return len(sys.modules), gc.get_freeze_count(), [sys.getrefcount(old) for old, _ in self._pairs]


def _bound_before(members: Iterable[tuple[type, str, Any, Any]]) -> Iterator[tuple[object, object]]:
    """Return the class methods that somebody has taken from their class before, as `default_factory=datetime.now` does.

    Not those of classes that Python code has made: whoever keeps the method keeps the class alive.
    """
    methods = [each for each in members if type(each[2]) is ClassMethodDescriptorType]
    classes = [cls for base, *_ in methods for cls in (base, *base.__subclasses__()) if not cls.__flags__ & _HEAP_TYPE]
    for bound in gc.get_referrers(*classes) if classes else ():
        if type(bound) is BuiltinMethodType:
            for cls, _, old, new in methods:
                owner: Any = bound.__self__
                if issubclass(type(owner), type) and issubclass(owner, cls) and bound == old.__get__(None, owner):
                    yield bound, new.__get__(None, owner)


def _set_member(cls: type, name: str, value: object) -> None:
    """Set a member of a class, also of a built-in one, where Python itself refuses to.

    Subclasses, C code and everyone who has the class see the change, and the class stays what it is. The proxy that
    `vars()` returns refers to the namespace behind it.
    """
    if vars(cls).get(name) is value:
        return
    if cls.__flags__ & _HEAP_TYPE:
        type.__setattr__(cls, name, value)
    else:
        (namespace,) = gc.get_referents(vars(cls))
        namespace[name] = value
        _abstract_methods.__set__(cls, frozenset())
        _abstract_methods.__delete__(cls)


# --- places -----------------------------------------------------------------------------------------------------------

_Pairs = dict[int, tuple[Any, Any]]


def _places(pairs: _Pairs) -> list[Place]:
    """Return every place of the first of each pair, with the second to be put there."""
    found: list[Place] = []
    holders: list[Any] = gc.get_referrers(*[old for old, _ in pairs.values()])
    if gc.get_freeze_count():
        # What is frozen, the collector does not tell.
        holders += [vars(module) for module in list(sys.modules.values()) if type(module) is ModuleType]
    unowned: dict[int, dict[Any, Any]] = {}
    seen = {id(holders), id(pairs), id(unowned)}
    for _ in range(LONGEST_WAY):
        on_the_way: list[Any] = []
        for holder in holders:
            if id(holder) in seen or type(holder) in _OUT_OF_REACH:
                continue
            seen.add(id(holder))
            if type(holder) is dict and (module := _module_of(holder)) is not None:
                if (not is_framework(module) or module in OFFERS_A_CLOCK) and not module.startswith(_OURS):
                    found += _in_namespace(holder, pairs, lasting=True)
            elif type(holder) in (dict, tuple, staticmethod):
                on_the_way.append(holder)
                if type(holder) is dict:
                    unowned[id(holder)] = holder
            else:
                for namespace in _namespaces(holder):
                    unowned.pop(id(namespace), None)
                if not _is_exempt(holder):
                    found += _in_owner(holder, pairs)
        if not on_the_way:
            break
        seen.add(id(on_the_way))
        holders = gc.get_referrers(*on_the_way)
    for namespace in unowned.values():
        found += _in_namespace(namespace, pairs)
    return found


def _are_there(places: list[Place]) -> bool:
    """Return whether these places are as they were; one look finds again what was let go, and a search takes four."""
    loose = {id(place.was): place.was for place in places if not place.lasting}
    holders = {_address(holder): holder for holder in (gc.get_referrers(*loose.values()) if loose else ())}
    for place in places:
        place.find(holders)
    return all(place.is_as_it_was() for place in places)


def _address(holder: object) -> tuple[int, type]:
    return id(holder), type(holder)


def _module_of(namespace: dict[Any, Any]) -> str | None:
    """Return the name of the module whose globals these are; None where they are none."""
    if "__builtins__" in namespace or "__spec__" in namespace:
        name = namespace.get("__name__")
        return name if type(name) is str else ""
    return None


def _is_exempt(owner: Any) -> bool:
    """Return whether a function or a class is that of a framework, or an object of one of its classes.

    Of this package's, those of this room are; a handle, say, has what a program has given it.
    """
    kind = type(owner)
    module = owner.__module__ if kind is FunctionType or issubclass(kind, type) else kind.__module__
    if type(module) is not str:
        return False
    return module.startswith(_ROOM) or is_framework(module)


def _in_namespace(namespace: dict[Any, Any], pairs: _Pairs, *, lasting: bool = False) -> Iterator[Place]:
    if pairs.keys().isdisjoint(map(id, [*namespace.values()])):
        return  # as in most of hundreds of modules
    for name, value in list(namespace.items()):
        if id(value) in pairs:
            yield Place(_ITEM, namespace, name, value, pairs[id(value)][1], lasting=lasting)


def _namespaces(owner: Any) -> Iterable[dict[Any, Any]]:
    """Return the dicts that are a part of their owner, and not just something that it has."""
    if issubclass(type(owner), type):
        return gc.get_referents(vars(owner))
    if type(owner) is FunctionType:
        return (owner.__kwdefaults__ or {},)
    if issubclass(type(owner), functools.partial):
        return (owner.keywords,)
    return (_namespace(owner),)


def _in_owner(owner: Any, pairs: _Pairs) -> Iterator[Place]:
    """Return the places in what is neither a namespace nor a tuple."""
    if issubclass(type(owner), type):
        yield from _in_class(owner, pairs)
    elif type(owner) is FunctionType:
        for name, value in list(_keywords(owner).items()):
            if id(value) in pairs:
                yield Place(_KEYWORD, owner, name, value, pairs[id(value)][1])
        defaults = owner.__defaults__ or ()
        if any(id(value) in pairs for value in defaults):
            yield Place(_ATTRIBUTE, owner, "__defaults__", defaults, _exchanged(defaults, pairs))
    elif issubclass(type(owner), functools.partial):
        was = _parts(owner)
        if any(id(value) in pairs for value in was):
            yield Place(_PARTIAL, owner, (was, now := _exchanged(was, pairs)), was, now)
    elif type(owner) is CellType:
        contents = _contents(owner, None)
        if id(contents) in pairs:
            yield Place(_CELL, owner, None, contents, pairs[id(contents)][1])
    else:
        yield from _in_instance(owner, pairs)


def _in_class(owner: type, pairs: _Pairs) -> Iterator[Place]:
    for name, value in list(vars(owner).items()):
        static = type(value) is staticmethod
        function = value.__func__ if static else value
        if id(function) in pairs:
            stand_in = pairs[id(function)][1]
            yield Place(_MEMBER, owner, name, value, staticmethod(stand_in) if static else stand_in)


def _in_instance(owner: Any, pairs: _Pairs) -> Iterator[Place]:
    for name, value in list(_namespace(owner).items()):
        if id(value) in pairs:
            yield Place(_VARIABLE, owner, name, value, pairs[id(value)][1])
    for cls in type(owner).__mro__:
        for slot in list(vars(cls).values()):
            if type(slot) is MemberDescriptorType:
                value = _content(owner, slot)
                if id(value) in pairs and _can_be_set(owner, slot, value):
                    yield Place(_SLOT, owner, slot, value, pairs[id(value)][1])


def _exchanged(values: tuple[Any, ...], pairs: _Pairs) -> tuple[Any, ...]:
    return tuple(pairs[id(value)][1] if id(value) in pairs else value for value in values)


# --- ways to get at them ----------------------------------------------------------------------------------------------


def _namespace(obj: object) -> dict[str, Any]:
    """Return the variables of an object, without its own __getattr__(), which may do anything."""
    try:
        found = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def _content(obj: object, slot: Any) -> object:
    try:
        return slot.__get__(obj)
    except (AttributeError, TypeError):
        return None


def _can_be_set(obj: object, slot: Any, value: object) -> bool:
    """Return whether that is a slot of a class made by Python code: those of built-in ones are read-only."""
    try:
        slot.__set__(obj, value)
    except (AttributeError, TypeError):
        return False
    return True


def _keywords(function: FunctionType) -> dict[str, Any]:
    return function.__kwdefaults__ or {}


def _contents(cell: CellType, _: object) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _parts(partial: functools.partial[Any]) -> tuple[Any, ...]:
    """Return the function of a partial and all that it is given."""
    return (partial.func, *partial.args, *partial.keywords.values())


def _known_parts(partial: functools.partial[Any], states: Any) -> object:
    """Return which of two states a partial is in. What it is made of is copied when it is set, so it is compared."""
    parts = _parts(partial)
    return next((state for state in states if len(state) == len(parts) and all(map(operator.is_, state, parts))), None)


def _set_parts(partial: Any, _: object, parts: tuple[Any, ...]) -> None:
    function, args = parts[0], parts[1 : 1 + len(partial.args)]
    keywords = dict(zip(partial.keywords, parts[1 + len(args) :], strict=True))
    partial.__setstate__((function, args, keywords, vars(partial) or None))


_ITEM = Way(dict.get, dict.__setitem__)
_ATTRIBUTE = Way(getattr, setattr)
_KEYWORD = Way(
    lambda function, name: _keywords(function).get(name), lambda f, name, new: _keywords(f).update({name: new})
)
_MEMBER = Way(lambda cls, name: vars(cls).get(name), type.__setattr__)
_VARIABLE = Way(lambda obj, name: _namespace(obj).get(name), lambda obj, name, new: _namespace(obj).update({name: new}))
_SLOT = Way(_content, lambda obj, slot, new: slot.__set__(obj, new))
_CELL = Way(_contents, lambda cell, _, new: setattr(cell, "cell_contents", new))
_PARTIAL = Way(_known_parts, _set_parts)
