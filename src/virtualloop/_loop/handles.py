"""Entries of the queue as asyncio knows them.

Owns what an entry is to somebody who looks at it or has to report it: a handle, the task or callback that it is about,
and the words of an error that it raised. A task's step has no handle until it is asked for here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from virtualloop._core.entries import FIRST, callback_of, context_of
from virtualloop._stock.handles import make_handle
from virtualloop._stock.tasks import is_step

__all__ = ["handle_of", "report", "run_unless_cancelled", "subject_of"]


def handle_of(loop: Any, entry: Any) -> asyncio.Handle:
    """Return the handle of a queue entry; a task's step has none until somebody asks, nor has an event."""
    if isinstance(entry, asyncio.Handle):
        return entry
    argument = entry[2] if type(entry) is tuple else None
    args = () if argument is None or argument is FIRST else (argument,)
    return make_handle(loop, callback_of(entry), args, context_of(entry))  # type: ignore[arg-type]  # None is a cancelled one


def subject_of(entry: Any) -> Any:
    """Return the task or the callback that a queue entry is about."""
    callback: Any = callback_of(entry)
    return callback.__self__ if is_step(callback) else callback


def report(loop: Any, exc: BaseException, entry: Any) -> None:
    """Report what an entry raised, to the loop's exception handler; the words are those of asyncio.Handle."""
    handle: Any = handle_of(loop, entry)
    # The repr of a plain handle is its class, then the callback and its place.
    plain = make_handle(loop, handle._callback, tuple(handle._args or ()), handle._context)
    what = repr(plain)[1:-1].partition(" ")[2]
    loop.call_exception_handler({"message": f"Exception in callback {what}", "exception": exc, "handle": handle})


def run_unless_cancelled(handle: asyncio.Handle) -> None:
    """Run a handle that another thread may cancel: its own method holds the lock against that."""
    if not handle._cancelled:
        handle._run()
