"""In which order ready callbacks run, when any task may take a little longer to resume.

Owns that order and nothing else: no clock, no asyncio, no draw of its own. Choice 0 is always the one asyncio would
make, so a shrinker that drives choices to zero ends at the production order.

The rule: tasks that were woken may resume in any order, **but nothing overtakes a plain callback queued before it**.
All that asyncio promises about call_soon follows: plain callbacks run in the order they were queued, a done-callback
runs before a waiter that was added after it, and tasks start in the order they were created (a first step is plain).

How: whatever joins the queue may change places with any entry behind the last plain callback, and that one then stands
at the end instead. This is how a shuffle is built up one card at a time, so each order that the rule allows can come
about; it costs the same however long the queue is, and where nothing ever changes places the queue is first in, first
out. The question is put when the queue is next taken from, not when somebody appends, because the answer may be an
exception and must not surface in the middle of somebody's future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["FIRST", "LooseQueue"]

#: In place of its argument, this makes a step of a task a plain callback.
FIRST = object()

#: Places at the front of the list that are empty are cut off when there are this many, and half of the list is.
MAX_EMPTY = 256


class LooseQueue:
    """A queue in which whoever joins may change places with others.

    An entry is a wake-up, and may be overtaken and overtake, if it is a tuple that does not end with FIRST; anything
    else is a plain callback. `choose` is asked for one of n where there is someone to change places with.
    """

    __slots__ = ("_choose", "head", "items", "loose", "seen")

    def __init__(self, choose: Callable[[int, str], int]) -> None:
        #: Where others append; all else is ours.
        self.items: list[Any] = []
        self._choose = choose
        #: The first place that is not empty, the first behind the last plain callback, and the first of those who
        #: joined since and have not been asked about. The loop's hot path does what `take` does by itself.
        self.head = 0
        self.loose = 0
        self.seen = 0

    def __len__(self) -> int:
        return len(self.items) - self.head

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items[self.head :])

    def take(self) -> Any:
        """Take out the entry that runs next. Raises IndexError where there is none, and whatever `choose` raises."""
        items = self.items
        head = self.head
        seen = self.seen
        while seen < len(items):
            item = items[seen]
            loose = self.loose
            if loose < head:
                loose = head
            place = seen
            if seen > loose:
                k = self._choose(seen - loose + 1, "task")
                if k:
                    place = seen - k
                    items[seen] = items[place]
                    items[place] = item
            if type(item) is not tuple or item[2] is FIRST:
                self.loose = place + 1
            seen += 1
            self.seen = seen
        item = items[head]
        items[head] = None
        self.head = head + 1
        if head >= MAX_EMPTY:
            self.cut()
        return item

    def cut(self) -> None:
        """Cut off the empty places, if they are many."""
        head = self.head
        if head >= MAX_EMPTY and head * 2 > len(self.items):
            del self.items[:head]
            self.seen -= head
            self.loose -= head
            self.head = 0

    def clear(self) -> None:
        """Forget all entries."""
        self.items.clear()
        self.head = self.loose = self.seen = 0

    def check(self) -> None:
        """Assert every invariant; for tests, which call it after each step."""
        items, head = self.items, self.head
        assert 0 <= head <= self.seen <= len(items), "the places are out of order"
        assert self.loose <= self.seen, "someone who has not been asked about is bound"
        assert all(item is None for item in items[:head]), "something was left behind"
        assert head <= MAX_EMPTY or head * 2 <= len(items) + 1, "empty places pile up"
        loose = items[max(head, self.loose) : self.seen]
        assert all(type(item) is tuple and item[2] is not FIRST for item in loose), "a plain callback can be overtaken"
