"""Where a suspended coroutine stands: its frames, down to what it awaits, and the blocks it has entered.

Owns the look into coroutines, generators and frames, and which code is the reader's own. Knows nothing of tasks and
locks.

What a suspended frame has on its stack, Python does not say, but the garbage collector has to know: the referents of a
coroutine are those of its frame, in the order of the stack. A block that was entered by `with` or `async with` has its
`__exit__` or `__aexit__` there, and the code's exception table has the handler that will call it, whose line is that of
the block. A block that is being entered has the one and not yet the other.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import linecache
import re
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from itertools import islice, pairwise
from pathlib import Path
from types import (
    AsyncGeneratorType,
    BuiltinMethodType,
    CodeType,
    FrameType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, NamedTuple

from virtualloop._core.scheduler import Scheduler
from virtualloop._folders import LIBRARY, PACKAGE

__all__ = [
    "Block",
    "Frame",
    "Place",
    "blocks_of",
    "caller",
    "chain_of",
    "held_by",
    "is_machinery",
    "is_readers",
    "library_of",
    "name_of",
    "own_frames",
    "place_of",
    "reach_of",
    "source_of",
]

#: Folders of what was installed. anyio is machinery as asyncio is: its primitives stand in for asyncio's.
_INSTALLED = ("site-packages", "dist-packages")
_PRIMITIVES = "anyio"

#: So many items of a list or a dict are looked at.
MAX_ITEMS = 1000

#: What the exit of a context manager may be.
_CALLABLE = (
    FunctionType,
    MethodType,
    BuiltinMethodType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)

_EXITS = ("__exit__", "__aexit__")

#: A type's flag that a class statement sets (and some types written in C): what functions and frames lead to is none
#: of the reader's.
_OF_PYTHON = 1 << 9

#: Each way to suspend: where its frame is, and what that awaits.
_KINDS = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))


class Place(NamedTuple):
    """A line of somebody's code."""

    file: str
    #: None where the code does not say, as that of compiled extensions.
    line: int | None
    function: str

    def lines(self, indent: str) -> list[str]:
        """Return what a traceback says of it: file, line and function, and the source where there is one."""
        line = "" if self.line is None else f" line {self.line},"
        place = f'{indent}File "{self.file}",{line} in {self.function}'
        source = source_of(self.file, self.line)
        return [place, f"{indent}  {source}"] if source else [place]


def place_of(frame: FrameType) -> Place:
    """Return where a frame stands."""
    # Of what was imported from a zip file, only its loader has the source. What was not imported has none that counts.
    if getattr(frame.f_globals.get("__spec__"), "loader", None) is not None:
        linecache.lazycache(frame.f_code.co_filename, frame.f_globals)
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)


def source_of(file: str, line: int | None) -> str:
    """Return a line of somebody's code, or nothing where it is not to be had."""
    if line is None:
        return ""
    try:
        return linecache.getline(file, line).strip()
    except Exception:  # whatever a loader raises, or a name that no file can have
        return ""


class Frame(NamedTuple):
    """A suspended frame, and the coroutine or generator that it belongs to."""

    owner: Any
    frame: FrameType

    @property
    def code(self) -> CodeType:
        """What it runs."""
        return self.frame.f_code

    @property
    def name(self) -> str:
        """The qualified name of what it runs."""
        return self.frame.f_code.co_qualname

    @property
    def place(self) -> Place:
        """Where it stands."""
        return place_of(self.frame)

    def local(self, name: str) -> Any:
        """Return a variable of the frame, or None."""
        return self.frame.f_locals.get(name)


class Block(NamedTuple):
    """A with-block that was entered: its context manager, and where it begins."""

    manager: Any
    place: Place


# --- whose code -------------------------------------------------------------------------------------------------------


def is_machinery(code: CodeType) -> bool:
    """Return whether code is part of the standard library, of anyio or of this package.

    asyncio awaits through it, and a reader wants the line of their own code that waits.
    """
    return _is_machinery(code.co_filename)


@functools.lru_cache(1024)
def _is_machinery(file: str) -> bool:
    package = _package_of(file)
    return file.startswith(PACKAGE) or package == _PRIMITIVES or (package is None and file.startswith(LIBRARY))


def is_readers(file: str) -> bool:
    """Return whether a file is the reader's own: neither machinery nor installed."""
    return not _is_machinery(file) and _package_of(file) is None


@functools.lru_cache(1024)
def _package_of(file: str) -> str | None:
    """Return the installed package that a file is part of, or None."""
    return next((after for part, after in pairwise(Path(file).parts) if part in _INSTALLED), None)


def library_of(code: CodeType) -> str | None:
    """Return the name of the installed library that code is part of; None for machinery and for the reader's own."""
    return None if is_machinery(code) else _package_of(code.co_filename)


def own_frames(frames: list[Frame]) -> list[Frame]:
    """Return the reader's frames, and the innermost one of a library that they go through.

    In a background task of a library, all that are not machinery.
    """
    others = [frame for frame in frames if not is_machinery(frame.code)]
    own = [frame for frame in others if _package_of(frame.code.co_filename) is None] or others
    if own and own[-1] is not others[-1]:
        own.append(others[-1])
    return own


def caller() -> Place | None:
    """Return the reader's line that is being run, or None where the loop runs something of its own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not Scheduler.drive.__code__:
        if not is_machinery(frame.f_code):
            return place_of(frame)
        frame = frame.f_back
    return None


# --- the chain of awaits ----------------------------------------------------------------------------------------------


def chain_of(coro: Any) -> tuple[list[Frame], Any]:
    """Return the frame of each coroutine that awaits the next, and what the last one awaits: a future, or None."""
    frames: list[Frame] = []
    while coro is not None and not asyncio.isfuture(coro):
        for kind, awaited in _KINDS:
            frame = getattr(coro, kind, None)
            if frame is not None:
                frames.append(Frame(coro, frame))
                coro = getattr(coro, awaited)
                break
        else:
            inner = _behind(coro)
            if inner is None:
                break
            coro = inner
    return frames, coro


def _behind(awaitable: Any) -> Any:
    """Return what one of Python's own iterators stands for: it does not say, but the collector knows."""
    if type(awaitable).__module__ not in ("builtins", "_asyncio") or _is_suspendable(awaitable):
        return None
    referents = gc.get_referents(awaitable)
    ends = (thing for thing in referents if asyncio.isfuture(thing) or _is_suspendable(thing))
    # anext() with a default wraps the iterator of another call.
    wrapped = (thing for thing in referents if type(thing).__name__ == "async_generator_asend")
    return next(ends, next(wrapped, None))


def _is_suspendable(thing: Any) -> bool:
    return inspect.iscoroutine(thing) or inspect.isasyncgen(thing) or inspect.isgenerator(thing)


# --- blocks -----------------------------------------------------------------------------------------------------------


def blocks_of(frames: list[Frame]) -> Iterator[Block]:
    """Return the with-blocks that the frames are inside of, outermost first.

    Also those inside a generator that a block or a loop goes through: `asynccontextmanager`, AsyncExitStack, `async
    for`. Their place is that of the block in the frame that was given.
    """
    seen = {id(frame.owner) for frame in frames}
    for frame in frames:
        for manager, place in _entered(frame):
            yield Block(manager, place)
            for inner in _inside(manager, seen):
                yield Block(inner, place)
        for thing in gc.get_referents(frame.owner):
            if type(thing) is AsyncGeneratorType:
                for inner in _inside(thing, seen):
                    yield Block(inner, frame.place)


def _inside(thing: Any, seen: set[int]) -> Iterator[Any]:
    """Return the context managers that were entered inside a generator, or by an exit stack."""
    # No more is asked of an object of the reader's than what its type is: that runs no code of theirs.
    kind = type(thing)
    generator = thing.gen if kind.__module__ == "contextlib" and hasattr(thing, "gen") else thing
    if issubclass(kind, AsyncExitStack):
        exits: Any = thing._exit_callbacks
        managers = [exit_.__self__ for _, exit_ in exits if hasattr(exit_, "__self__")]
    elif type(generator) is AsyncGeneratorType and id(generator) not in seen:
        seen.add(id(generator))
        managers = [block.manager for frame in chain_of(generator)[0] for block in _entered(frame)]
    else:
        return
    for manager in managers:
        yield manager
        yield from _inside(manager, seen)


def _entered(frame: Frame) -> list[Block]:
    code = frame.code
    managers = _exits_of(frame.owner)
    lines = _lines_of_blocks(code, frame.frame.f_lasti) if managers else []
    # A block that is being entered or left is the last on the stack. What does not match otherwise is not understood.
    if len(managers) - len(lines) not in (0, 1):
        return []
    return [
        Block(manager, Place(code.co_filename, line, code.co_qualname))
        for manager, line in zip(managers, lines, strict=False)
    ]


def _exits_of(owner: Any) -> list[Any]:
    """Return the context managers whose exits are on the stack of a suspended coroutine, outermost first."""
    managers: list[Any] = []
    for thing, following in pairwise([*gc.get_referents(owner), None]):
        if type(thing) in _CALLABLE:
            # Since Python 3.14 function and self are two entries.
            manager = getattr(thing, "__self__", following)
            if _is_exit(getattr(thing, "__func__", thing), manager):
                managers.append(manager)
    return managers


def _is_exit(function: Any, manager: Any) -> bool:
    return function.__name__ in _EXITS or any(
        vars(cls).get(name) is function for cls in type(manager).__mro__ for name in _EXITS
    )


@functools.lru_cache(1024)
def _lines_of_blocks(code: CodeType, instruction: int) -> list[int]:
    """Return the lines of the with-blocks around an instruction, outermost first."""
    from opcode import opmap  # noqa: PLC0415  # not before there is something to tell

    # What such a block's handler begins with.
    handler = (opmap["PUSH_EXC_INFO"], opmap["WITH_EXCEPT_START"])
    ranges = list(_exception_table(code))
    instructions = code.co_code
    lines: list[int] = []
    seen = set()
    while True:
        target = next((target for start, end, target in ranges if start <= instruction < end), None)
        if target is None or target in seen:
            return lines[::-1]
        seen.add(target)
        if (instructions[target], instructions[target + 2]) == handler:
            line = next((line for start, end, line in code.co_lines() if start <= target < end), None)
            lines.append(line or code.co_firstlineno)
        instruction = target


def _exception_table(code: CodeType) -> Iterator[tuple[int, int, int]]:
    """Return start, end and handler of each entry, innermost first. The form is that of CPython 3.11 to 3.15."""
    numbers = _numbers(code.co_exceptiontable)
    for start in numbers:
        length, target, _ = next(numbers), next(numbers), next(numbers)
        yield 2 * start, 2 * (start + length), 2 * target


def _numbers(table: bytes) -> Iterator[int]:
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            yield value
            value = 0


# --- names ------------------------------------------------------------------------------------------------------------


def name_of(thing: Any, frame: Frame, source: str | None = None) -> str | None:
    """Return what the frame's code calls a thing: a variable, or what can be reached from one in a step or two.

    The one that stands in the source, which is the line where the frame waits, if there is one; else the shortest way.
    """
    if source is None:
        source = source_of(frame.code.co_filename, frame.frame.f_lineno)
    nearest = None
    for name in (name for name, value in reach_of(frame) if value is thing):
        if re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", source):
            return name
        nearest = nearest or name
    return nearest


def reach_of(frame: Frame) -> Iterator[tuple[str, Any]]:
    """Return what the frame's variables and the globals that its code names lead to, by name, the nearest first."""
    used = frame.frame.f_globals
    variables = [*frame.frame.f_locals.items(), *((name, used[name]) for name in frame.code.co_names if name in used)]
    yield from variables
    for steps in (held_by, _further):
        for name, value in variables:
            yield from ((name + step, inner) for step, inner in steps(value))


def _further(value: Any) -> Iterator[tuple[str, Any]]:
    for step, inner in held_by(value):
        if step.startswith("."):
            yield from ((step + further, innermost) for further, innermost in held_by(inner))


def held_by(value: Any) -> Iterator[tuple[str, Any]]:
    """Return what a value holds, without running any code of its class."""
    if type(value) is dict:
        items = ((key, inner) for key, inner in islice(value.items(), MAX_ITEMS) if type(key) in (str, int))
        yield from ((f"[{key!r}]", inner) for key, inner in items)
    elif type(value) in (list, tuple):
        yield from ((f"[{k}]", inner) for k, inner in enumerate(islice(value, MAX_ITEMS)))
    if issubclass(type(value), (type, ModuleType)) or not type(value).__flags__ & _OF_PYTHON:
        return
    for cls in type(value).__mro__:
        for name, descriptor in vars(cls).items():
            if type(descriptor) is MemberDescriptorType:  # a slot, which may be empty
                with suppress(AttributeError):
                    yield f".{name}", descriptor.__get__(value)
            elif name == "__dict__" and type(descriptor) is GetSetDescriptorType:
                yield from ((f".{key}", inner) for key, inner in descriptor.__get__(value).items())
