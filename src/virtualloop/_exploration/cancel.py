"""A task is cancelled wherever it awaits something, as a timeout or a user who gives up would do it.

Owns the sweep: which tasks are meant, and where the schedule is asked. Two moments matter: when a task has just begun
to wait, and when it was woken and has not yet run, where what it was handed may get lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from virtualloop._exploration.run import SweptLoop

__all__ = ["Cancel", "Named", "Sweep", "predicate_of"]

#: The tasks to be cancelled: names of tasks or of their coroutines, or whatever tells these tasks from others.
Cancel = str | Collection[str] | Callable[[asyncio.Task[Any]], bool]


class Named:
    """Tells tasks by their names, or by those of their coroutine functions."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    def __call__(self, task: asyncio.Task[Any]) -> bool:
        coro = task.get_coro()
        names = {task.get_name(), getattr(coro, "__name__", ""), getattr(coro, "__qualname__", "")}
        return not names.isdisjoint(self._names)


def predicate_of(cancel: Cancel | None) -> Callable[[asyncio.Task[Any]], bool] | None:
    """Return what tells the tasks to be cancelled. Raises TypeError or ValueError that names the argument."""
    if cancel is None or (callable(cancel) and not isinstance(cancel, type)):
        return cancel
    names = [cancel] if isinstance(cancel, str) else cancel
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"cancel must be names of tasks or a function of a task, not {cancel!r}")
    if not names:
        raise ValueError("cancel must name at least one task")
    return Named(names)


class Sweep:
    """An instrument of the scheduler that asks, wherever certain tasks wait, whether to cancel them."""

    def __init__(self, loop: SweptLoop, chosen: Callable[[asyncio.Task[Any]], bool]) -> None:
        self._loop = loop
        self._chosen = chosen

    def around(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return what runs an entry, and asks before and after a task's step."""

        def run_and_ask(entry: Any) -> None:
            if type(entry) is not tuple:
                run(entry)
                return
            task = entry[1].__self__
            self.ask(task, waits=False)
            run(entry)
            self.ask(task, waits=True)

        return run_and_ask

    def ask(self, task: asyncio.Task[Any], *, waits: bool) -> None:
        """Cancel the task here, if the schedule says so: where it has begun to wait, or before it goes on."""
        # Who it is is asked last: before Python 3.13, a task gets its name after its first step was queued.
        if not self._loop.is_over and not task.done() and self._is_chosen(task):
            self._loop.ask_to_cancel(task, waits=waits)

    def _is_chosen(self, task: asyncio.Task[Any]) -> bool:
        if self._loop.aborted is not None:
            return False
        try:
            return self._chosen(task)
        except BaseException as exc:
            # It is no fault of the program's, and the step that asks must not end in it.
            exc.add_note("It was raised by the function that cancel= was given.")
            self._loop.abort(exc)
            return False
