"""What stands in the queue: the one owner of its shape.

Owns the two kinds of entry and what can be done with one; knows no queue, no order and no asyncio.

- A **step** of a task is a tuple, (context, callback, argument), or (context, callback, argument, tag, task) while a
  run is recorded. The argument is None for a step without one, FIRST for the first step of a task where that matters,
  else the future that woke the task. Steps have no handle, because whoever queues one, a C function, drops it.
- Everything else is a **handle**: an object with `_callback`, which is None once it was cancelled, `_args`, `_context`.

The fast bodies of the scheduler do in line what `run` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["FIRST", "callback_of", "context_of", "is_wakeup", "run"]

#: In place of its argument, this makes a step of a task a plain callback: nothing may overtake it.
FIRST = object()


def run(entry: Any) -> None:
    """Call what an entry holds, unless it was cancelled."""
    if type(entry) is tuple:
        argument = entry[2]
        if argument is None or argument is FIRST:
            entry[0].run(entry[1])
        else:
            entry[0].run(entry[1], argument)
        return
    callback = entry._callback
    if callback is not None:
        args = entry._args
        if not args:
            entry._context.run(callback)
        elif len(args) == 1:
            entry._context.run(callback, args[0])
        elif len(args) == 2:
            entry._context.run(callback, args[0], args[1])
        else:
            entry._context.run(callback, *args)


def is_wakeup(entry: Any) -> bool:
    """Return whether an entry resumes a task that waited for something."""
    return type(entry) is tuple and entry[2] is not None and entry[2] is not FIRST


def callback_of(entry: Any) -> Callable[..., object] | None:
    """Return what an entry calls; None if it was cancelled."""
    callback: Callable[..., object] | None = entry[1] if type(entry) is tuple else entry._callback
    return callback


def context_of(entry: Any) -> Any:
    """Return the context that an entry runs in."""
    return entry[0] if type(entry) is tuple else entry._context
