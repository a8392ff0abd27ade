"""Tracebacks that a reader can use: their own lines, and none of ours.

Owns what is cut out of the traceback of an error and what is put in its place. Knows nothing of loops and tasks but a
task's coroutine. An error of the loop's own is raised deep inside of it, which says nothing: where the program waits is
what matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from traceback import walk_tb
from types import CodeType, FrameType, TracebackType
from typing import Any

from virtualloop._folders import PACKAGE
from virtualloop._report.frames import Frame, chain_of, is_machinery, name_of, own_frames, reach_of, source_of

__all__ = ["at_definition", "name_of_foreign", "readers_only", "waiting_at", "without_internals"]

#: In a traceback this has Python ask the frame's code for the line each time, which knows none then.
NO_LINE = -1


def waiting_at(task: Any) -> TracebackType | None:
    """Return a traceback that ends at the line where a task waits, or None where none of that is the reader's."""
    frames, _ = chain_of(task.get_coro())
    return _made_of((frame.frame, frame.frame.f_lasti, _line(frame.frame)) for frame in own_frames(frames))


def without_internals(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this package."""
    return _filtered(traceback, lambda code: not code.co_filename.startswith(PACKAGE))


def readers_only(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this package, of asyncio, and of the rest of the standard library."""
    return _filtered(traceback, lambda code: not is_machinery(code))


def name_of_foreign(exc: BaseException) -> str | None:
    """Return what the reader calls the thing of another loop that an error of asyncio's is about, and its line.

    Of a lock or a queue that is the object in whose method the error was raised. A future is only in the error's text:
    it is the one that the line names, if that names one; else None.
    """
    entries = [*walk_tb(exc.__traceback__)]
    frame, line = next((entry for entry in reversed(entries) if not is_machinery(entry[0].f_code)), (None, 0))
    if frame is None:
        return None
    its = Frame(None, frame)
    source = source_of(frame.f_code.co_filename, line).replace('"', "'")  # as names are given
    if "is bound to" in str(exc):
        name = name_of(entries[-1][0].f_locals.get("self"), its, source)
    else:
        futures = [(name, value) for name, value in reach_of(its) if asyncio.isfuture(value) and name in source]
        name = futures[0][0] if len({id(value) for _, value in futures}) == 1 else None
    return None if name is None else f"{name} ({Path(frame.f_code.co_filename).name}:{line})"


def at_definition(function: Any) -> TracebackType | None:
    """Return a traceback that points to the line at which a function is defined, or None where that is not known."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return None
    # A traceback needs a frame, and a frame needs a code object that has run.
    points_there = compile("raise LookupError", code.co_filename, "exec")
    points_there = points_there.replace(co_firstlineno=code.co_firstlineno, co_name=code.co_name)
    try:
        exec(points_there, {})  # noqa: S102  # it is ours, and does nothing
    except LookupError as exc:
        traceback = exc.__traceback__
        return None if traceback is None else traceback.tb_next
    return None


def _line(frame: FrameType) -> int:
    line: int | None = frame.f_lineno  # None in compiled extensions; the stub does not know
    return frame.f_code.co_firstlineno if line is None else line


def _filtered(traceback: TracebackType | None, keeps: Callable[[CodeType], bool]) -> TracebackType | None:
    entries = []
    while traceback is not None:
        if keeps(traceback.tb_frame.f_code):
            line: int | None = traceback.tb_lineno  # as in _line()
            entries.append((traceback.tb_frame, traceback.tb_lasti, NO_LINE if line is None else line))
        traceback = traceback.tb_next
    return _made_of(entries)


def _made_of(entries: Iterable[tuple[FrameType, int, int]]) -> TracebackType | None:
    """Return the traceback of some frames, each with where it stands, the outermost first."""
    traceback = None
    for frame, offset, line in reversed([*entries]):
        traceback = TracebackType(traceback, frame, offset, line)
    return traceback
