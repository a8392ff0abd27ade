"""Callbacks that somebody may cancel.

Owns asyncio's handle, made cheaply. `asyncio.Handle.__init__` asks the loop for its debug flag and fills nine slots;
for a callback that does little, that is most of what it costs. So outside debug mode handles are made without
`__init__`, by `make_handle` and by the loop's own hot path; in debug mode the loop makes asyncio's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

__all__ = ["Handle", "RecordedHandle", "describe_handle", "make_handle"]


class Handle(asyncio.Handle):
    """A callback in the queue. It is cancelled if it holds no callback any more."""

    __slots__ = ()
    # The slots of asyncio.Handle that are filled; the stub does not know them.
    _callback: Any
    _args: Any
    _context: Context
    _loop: Any
    # In place of the slots of these names, which only hold something in debug mode.
    _repr = None
    _source_traceback = None

    if TYPE_CHECKING:

        def __init__(self) -> None: ...
    else:
        __init__ = object.__init__

    @property
    def _cancelled(self) -> bool:  # type: ignore[override]  # in place of a slot, too
        return self._callback is None

    def cancel(self) -> None:
        """Cancel the callback; cancelling twice is fine."""
        self._callback = None
        self._args = None


class RecordedHandle(Handle):
    """The same on a loop that keeps a record: it keeps which step has queued it."""

    __slots__ = ("_waker",)
    _waker: int | None


# People read its name in its repr, which is asyncio's.
RecordedHandle.__name__ = RecordedHandle.__qualname__ = "Handle"


def make_handle(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., object], args: tuple[Any, ...], context: Context
) -> Handle:
    """Return a handle to run `callback(*args)` in `context`."""
    handle = Handle()
    handle._callback = callback
    handle._args = args
    handle._context = context
    handle._loop = loop
    return handle


def describe_handle(handle: asyncio.Handle) -> str:
    """Return what asyncio's debug mode calls a handle: for a task's step, the task."""
    callback: Any = handle._callback  # type: ignore[attr-defined]  # not in the stub
    task = getattr(callback, "__self__", None)
    return repr(task) if isinstance(task, asyncio.Task) else str(handle)
