"""What people read when a run cannot go on: which tasks are blocked, on what, and where.

Owns the words and the look into coroutines; decides nothing. Nothing in a report is an address or counts beyond its
loop, so the same run gives the same report.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import linecache
import os
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

__all__ = ["blocked_tasks", "deadlock", "describe_callback", "describe_handle", "in_order", "livelock"]

#: More tasks than this are counted, not listed: the first few show the pattern, and a message has to stay readable.
MAX_LISTED = 20

#: Frames in these folders are machinery; a reader wants the line of their own code that waits.
_MACHINERY = (
    str(Path(asyncio.__file__).parent) + os.sep,
    str(Path(__file__).resolve().parent) + os.sep,
)


def deadlock(seconds: float, tasks: Iterable[asyncio.Task[Any]]) -> str:
    """Return the message of a DeadlockError at `seconds`."""
    blocked = list(tasks)
    lines = [
        f"nothing can run any more at t={seconds:g}: no callback is ready, no timer is pending, no thread is at work.",
        f"{_count(len(blocked), 'task')} blocked:" if blocked else "No task is left either; nothing will call stop().",
        *blocked_tasks(blocked),
    ]
    if blocked:
        lines.append(
            "Look for what should have set, released, put or completed the things awaited above. If that is the "
            "test's part, drive the loop with run_until_idle() or advance(), which let tasks stay blocked."
        )
    return "\n".join(lines)


def livelock(seconds: float, turns: int, limit: str, spinning: Iterable[Any]) -> str:
    """Return the message of a LivelockError: `spinning` are the callbacks and tasks in the queue."""
    names = list(dict.fromkeys(describe_callback(thing) for thing in spinning))
    listed = names[:MAX_LISTED]
    if len(names) > MAX_LISTED:
        listed.append(f"  and {len(names) - MAX_LISTED} more")
    return "\n".join(
        [
            f"the loop spins at t={seconds:g}: {turns} turns and time has not passed, because no timer is pending that "
            "could make it.",
            "These keep it busy:",
            *listed,
            "Wait for an event, a future or a timer instead of asking again at once"
            f" (or raise the limit, VirtualLoop({limit}=...), if this is work and not a spin).",
        ]
    )


def blocked_tasks(tasks: Iterable[asyncio.Task[Any]]) -> list[str]:
    """Return the lines that list blocked tasks: name, what each awaits, and the user's line that does."""
    blocked = list(tasks)
    lines = []
    for task in blocked[:MAX_LISTED]:
        lines += _describe_task(task)
    if len(blocked) > MAX_LISTED:
        lines.append(f"  and {len(blocked) - MAX_LISTED} more")
    return lines


def describe_callback(thing: Any) -> str:
    """Return the line or lines for a callback or a task that spins."""
    if isinstance(thing, asyncio.Task):
        return "\n".join(_describe_task(thing, verb="resumes in"))
    function = inspect.unwrap(getattr(thing, "func", thing))
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"  callback {name}()" + (f"\n{_place(code, code.co_firstlineno)}" if isinstance(code, CodeType) else "")


def describe_handle(handle: asyncio.Handle) -> str:
    """Return what asyncio's debug mode calls a handle: for a task's step, the task."""
    callback: Any = handle._callback  # type: ignore[attr-defined]  # not in the stub
    task = getattr(callback, "__self__", None)
    return repr(task) if isinstance(task, asyncio.Task) else str(handle)


# --- tasks ------------------------------------------------------------------------------------------------------------


def _describe_task(task: asyncio.Task[Any], *, verb: str = "awaits") -> list[str]:
    frames, awaited = _await_chain(task.get_coro())
    own = [k for k, (code, _) in enumerate(frames) if not _is_machinery(code)]
    if not frames:
        return [f"  {task.get_name()!r} ({_coroutine_name(task)})"]
    innermost = own[-1] if own else 0
    # A task may run a coroutine of asyncio itself: create_task(queue.get()).
    inner = frames[innermost + 1 :] if own else frames
    if verb == "awaits":
        what = _describe_operation(inner) if inner else _describe_awaited(awaited)
        # An operation of asyncio that ends at a task: say which one.
        if inner and isinstance(awaited, asyncio.Task):
            what += f", on {_describe_awaited(awaited)}"
        head = f"  {task.get_name()!r} awaits {what}"
    else:
        head = f"  {task.get_name()!r} {verb} {frames[innermost][0].co_qualname}()"
    return [head, _place(*frames[innermost])]


def _describe_operation(frames: list[tuple[CodeType, int]]) -> str:
    """Return what the reader's line called: the outermost of these names that has nothing private in it."""
    names = [code.co_qualname for code, _ in frames]
    public = [name for name in names if not any(part.startswith("_") and part[1:2] != "_" for part in name.split("."))]
    return f"{(public or names)[0]}()"


def _coroutine_name(task: asyncio.Task[Any]) -> str:
    coro = task.get_coro()
    return str(getattr(coro, "__qualname__", type(coro).__qualname__))


def _await_chain(coro: Any) -> tuple[list[tuple[CodeType, int]], Any]:
    """Return (code, line) for each coroutine that awaits the next, and the thing that the last one awaits."""
    frames: list[tuple[CodeType, int]] = []
    while True:
        for prefix, inner in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            frame: FrameType | None = getattr(coro, f"{prefix}_frame", None)
            if frame is not None:
                frames.append((frame.f_code, frame.f_lineno))
                coro = getattr(coro, inner)
                break
        else:
            break
    return frames, _future_of(coro)


def _future_of(awaitable: Any) -> Any:
    """Return the future behind an iterator of one; C's iterator does not say, but the collector can see it."""
    if awaitable is None or asyncio.isfuture(awaitable):
        return awaitable
    return next((thing for thing in gc.get_referents(awaitable) if asyncio.isfuture(thing)), awaitable)


def _describe_awaited(awaited: Any) -> str:
    if isinstance(awaited, asyncio.Task):
        return f"task {awaited.get_name()!r}"
    if awaited is None:
        return "nothing (it yielded)"
    if asyncio.isfuture(awaited):
        return "gather()" if type(awaited).__name__ == "_GatheringFuture" else "a future"
    return f"a {type(awaited).__qualname__}"


def _is_machinery(code: CodeType) -> bool:
    return code.co_filename.startswith(_MACHINERY)


def _place(code: CodeType, line: int) -> str:
    source = linecache.getline(code.co_filename, line).strip()
    place = f'    File "{code.co_filename}", line {line}, in {code.co_qualname}'
    return f"{place}\n      {source}" if source else place


def _count(n: int, noun: str) -> str:
    return f"1 {noun} is" if n == 1 else f"{n} {noun}s are"


def in_order(tasks: Iterable[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Return tasks in the order of their creation, whatever order the set they came from has."""
    return sorted(tasks, key=hash)
