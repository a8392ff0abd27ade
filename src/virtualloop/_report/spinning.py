"""The last steps of a loop that spins: what each was, and who had queued it.

Owns the watch over those steps. Who queues a callback is not recorded while all is well, so a spin that is about to be
reported is let go on for a little, with the loop's methods that queue something replaced by ones that remember.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from virtualloop._report.frames import Place, caller
from virtualloop._report.text import Step

__all__ = ["last_steps"]

#: Steps that are watched: enough for the pattern of a spin, and no time beside the million before.
WATCHED = 1000


def last_steps(
    make_turn: Callable[[Callable[[Any], None]], bool],
    *,
    loop: object,
    newest: Callable[[], Any],
    as_handle: Callable[[Any], Any],
    subject: Callable[[Any], Any],
) -> list[Step] | None:
    """Make the loop's next steps, in its own order; return them, or None if it does not spin any more.

    `make_turn` makes a turn, by what it is given; `newest` returns the newest entry of the queue, and the last two say
    what an entry is: its handle, and the task or the callback that it is about.
    """
    steps: list[Step] = []
    with _remembering(loop, newest) as origins:

        def run(entry: Any) -> None:
            origin = origins.pop(id(entry), None)
            handle = as_handle(entry)
            if not handle._cancelled:
                steps.append(Step(subject(entry), origin))
                handle._run()

        # Who has queued what is in the queue already, nobody has seen.
        spins = make_turn(run)
        steps.clear()
        while spins and len(steps) < WATCHED:
            spins = make_turn(run)
    return steps[:WATCHED] if spins else None


@contextmanager
def _remembering(loop: object, newest: Callable[[], Any]) -> Iterator[dict[int, Place]]:
    """Remember the line that queued each callback, by the callback's entry in the queue."""
    origins: dict[int, Place] = {}

    def remembering(method: Callable[..., Any]) -> Callable[..., Any]:
        def queue(*args: Any, **kwargs: Any) -> Any:
            handle = method(*args, **kwargs)
            place = caller()
            if place is not None:
                # A task's step has no handle.
                origins[id(newest() if handle is None else handle)] = place
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
