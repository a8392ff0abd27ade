"""What a record consists of: steps, and events between them.

Owns the form of both, and knows nothing of how they come about.
"""

from __future__ import annotations

from types import CodeType
from typing import Any, NamedTuple

__all__ = ["UNNUMBERED", "Event", "Step"]

#: A task that nobody has given a number yet is not given one by being recorded: the run would be another one. It is
#: known by one beyond those of all tasks and futures.
UNNUMBERED = 1 << 50


class Step(NamedTuple):
    """One callback that ran, or one task that was resumed."""

    tick: int
    #: A task's number; for a plain callback its code, or its name where it has none.
    subject: int | CodeType | str
    #: The step that queued it or set its timer; None for what came from outside of any step.
    waker: int | None
    #: A task: whether CancelledError was thrown into it. A timer: the tick it was set for. Else None.
    detail: Any
    #: A task: the innermost of the reader's frames when it came to rest, as code and the offset in it; where there is
    #: none, the innermost of a library's. One that has ended in its first step is where it begins: without an offset.
    code: CodeType | None
    offset: int | None
    #: A task at rest: the operation, of asyncio's or a library's, that this frame called, else the number of the task
    #: or the type of the future that it awaits, or None. What has ended: how, in words.
    awaits: CodeType | int | type | str | None


class Event(NamedTuple):
    """Something between two steps, or inside one: a note, a choice, a deviation from stock asyncio's order."""

    #: How many steps had been recorded: the number of the step it belongs to, or comes before.
    step: int
    tick: int
    kind: str
    #: Whether stock asyncio on an idle machine would have gone another way.
    deviates: bool
    #: What `trace` makes words of, by kind.
    data: tuple[Any, ...]
