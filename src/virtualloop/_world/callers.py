"""Threads that wait for a coroutine of the loop, by run_coroutine_threadsafe(), and are to be told that it hangs.

Owns the way from a concurrent future to the task behind it. The task goes on; only it has nobody to tell any more.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Iterable
from typing import Any

__all__ = ["release_caller"]


def release_caller(future: concurrent.futures.Future[Any], tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Have no task complete `future` any more, which somebody else is about to do."""
    for task in tasks:
        callbacks: list[Any] = list(getattr(task, "_callbacks", None) or ())
        for callback, _ in callbacks:
            if _completes(callback) is future:
                task.remove_done_callback(callback)


def _completes(callback: Any) -> Any:
    """Return the future that a done-callback of asyncio's chains to its task, or None."""
    if getattr(callback, "__qualname__", "") != "_chain_future.<locals>._call_set_state":
        return None
    return inspect.getclosurevars(callback).nonlocals.get("destination")
