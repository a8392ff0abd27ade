"""The last steps of a loop that spins: what each was, and who had queued it.

Owns the watch over those steps. Who queues a callback is not recorded while all is well, so a spin that is about to be
reported is let go on for a little, with the loop's methods that queue something replaced by ones that remember.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

from virtualloop._frames import Place, caller
from virtualloop._report import Step

__all__ = ["last_steps"]

#: Steps that are watched: enough for the pattern of a spin, and no time beside the million before.
WATCHED = 1000


def last_steps(loop: Any) -> list[Step] | None:
    """Make the loop's next steps, in its own order; return them, or None if it does not spin any more."""
    with _remembering(loop) as origins:
        # Who has queued what is in the queue already, nobody has seen.
        if _turn(loop, origins) is None:
            return None
        steps: list[Step] = []
        while len(steps) < WATCHED:
            made = _turn(loop, origins)
            if made is None:
                return None
            steps += made
    return steps[:WATCHED]


def _turn(loop: Any, origins: dict[int, Place]) -> list[Step] | None:
    """Make one turn of the loop; return its steps, or None if the clock has moved or the loop is to stop."""
    if loop._arrive():
        return None
    steps = []
    take, count = loop._taking()
    for _ in repeat(None, count()):
        entry = take()
        origin = origins.pop(id(entry), None)
        handle: Any = loop._as_handle(entry)
        if not handle._cancelled:
            steps.append(Step(loop._subject(entry), origin))
            handle._run()
    entry = handle = None  # What a task raises holds this frame, which must not hold the task.
    return None if loop._leave else steps


@contextmanager
def _remembering(loop: Any) -> Iterator[dict[int, Place]]:
    """Remember the line that queued each callback, by the callback's entry in the queue."""
    origins: dict[int, Place] = {}

    def remembering(method: Callable[..., Any]) -> Callable[..., Any]:
        def queue(*args: Any, **kwargs: Any) -> Any:
            handle = method(*args, **kwargs)
            place = caller()
            if place is not None:
                # A task's step has no handle.
                origins[id(loop._ready[-1] if handle is None else handle)] = place
            return handle

        return queue

    methods = ("call_soon", "call_at", "call_later")
    before = {name: vars(loop)[name] for name in methods if name in vars(loop)}
    vars(loop).update({name: remembering(getattr(loop, name)) for name in methods})
    try:
        yield origins
    finally:
        for name in methods:
            del vars(loop)[name]
        vars(loop).update(before)
