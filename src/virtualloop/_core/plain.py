"""Where a program says that nothing may vary: in its set-up, and for timers that stand for nothing outside.

Owns these scopes, and which events are set within one. A scope belongs to the code that runs in it, by its context, and
to what that sets meanwhile: a server that is started within one is as free as ever when the scope is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

__all__ = ["PlainScope", "is_plain", "set_within"]


class PlainScope:
    """One `with virtualloop.plain():`."""

    __slots__ = ("active", "kept")

    def __init__(self) -> None:
        self.active = True
        #: Events that were set within it and are pending when it is left, by id.
        self.kept: dict[int, Any] = {}

    def leave(self, pending: Iterable[Any]) -> None:
        """What is varies again, but for what was set within and is among those pending."""
        self.active = False
        self.kept = {id(event): event for event in pending if event._context.get(SCOPE) is self}


SCOPE: ContextVar[PlainScope | None] = ContextVar("virtualloop.plain", default=None)


def is_plain() -> bool:
    """Return whether the code that runs is within a scope."""
    scope = SCOPE.get()
    return scope is not None and scope.active


def set_within(event: Any) -> bool:
    """Return whether an event was set within a scope that has not been left, or was pending when it was."""
    context = event._context
    scope = None if context is None else context.get(SCOPE)
    return scope is not None and (scope.active or id(event) in scope.kept)
