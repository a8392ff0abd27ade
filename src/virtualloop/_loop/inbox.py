"""What other threads have sent that has not arrived yet, where that may be late.

Owns its order: one for all threads, since one of them may have been woken by another, after that had sent something.
So all that is there arrives with the first of it, as one event, and nothing overtakes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virtualloop._core.recorder import Recorder

__all__ = ["Inbox"]


class Inbox:
    """Entries of the queue that wait for an event. `ready` is where they are appended when it comes."""

    __slots__ = ("_entries", "_ready", "_recorder")

    def __init__(self, ready: Any, recorder: Recorder | None) -> None:
        self._ready = ready
        self._recorder = recorder
        self._entries: list[Any] = []

    def add(self, entries: Iterable[Any]) -> bool:
        """Keep entries until `let_in` is called; return whether nobody is to call it yet."""
        is_first = not self._entries
        self._entries.extend(entries)
        return is_first and bool(self._entries)

    def let_in(self) -> None:
        """Queue all that is there."""
        if self._recorder is not None:
            self._recorder.tags.update((id(entry), self._recorder.now) for entry in self._entries)
        self._ready.extend(self._entries)
        self._entries.clear()

    def before(self, complete: Callable[[], object]) -> Callable[[], object]:
        """Return what lets in what is there by now, and then completes a job: whose thread may have sent it."""
        if not self._entries:
            return complete

        def complete_after() -> None:
            self.let_in()
            complete()

        return complete_after
