"""What can be seen of a coroutine that is suspended: what it awaits, its frame, and where its code handles exceptions.

Owns how that is asked of each kind of coroutine and generator. Knows nothing of tasks, and of who asks.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any

__all__ = ["WRAPPERS", "awaited_by", "first_handler", "frame_of", "handled_by", "wrapped"]

_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
#: The iterators that stand between a frame and the coroutine or generator it awaits.
WRAPPERS = frozenset({"anext_awaitable", "async_generator_asend", "async_generator_athrow", "coroutine_wrapper"})


def awaited_by(coro: Any) -> Any:
    """Return what the outermost frame of a task awaits that is no plain coroutine."""
    return getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None)


def frame_of(coro: Any) -> FrameType | None:
    """Return its frame, or None where it has none."""
    if type(coro) is CoroutineType:
        return coro.cr_frame
    return next((frame for name in _FRAMES if (frame := getattr(coro, name, None)) is not None), None)


def wrapped(awaitable: Any) -> Any:
    """Return the coroutine or generator behind one of the iterators that do not say; the collector can see it."""
    kinds = (CoroutineType, GeneratorType, AsyncGeneratorType)
    return next((thing for thing in gc.get_referents(awaitable) if isinstance(thing, kinds)), None)


def handled_by(coroutines: Iterable[Any], handlers: Mapping[int, int]) -> Iterator[BaseException]:
    """Yield the exceptions that coroutines handle where they stand; see first_handler(), by the ids of their code."""
    for coro in coroutines:
        frame = frame_of(coro)
        if frame is not None and frame.f_lasti >= handlers[id(frame.f_code)]:
            for thing in gc.get_referents(coro):
                if isinstance(thing, BaseException) and thing.__traceback__ is not None:
                    yield thing


def first_handler(code: CodeType) -> int | None:
    """Return the offset of the first instruction that begins to handle an exception; all such code is behind it."""
    from opcode import opmap  # noqa: PLC0415  # few programs keep records

    begins = code.co_code[::2].find(opmap["PUSH_EXC_INFO"])
    return None if begins < 0 else 2 * begins
