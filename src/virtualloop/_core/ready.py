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

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from virtualloop._core.entries import FIRST

__all__ = ["ReorderingQueue"]


class ReorderingQueue:
    """A queue in which whoever joins may change places with others.

    An entry is a wake-up, and may be overtaken and overtake, if it is a tuple that does not end with FIRST; anything
    else is a plain callback. `choose` is asked for one of n where there is someone to change places with.
    """

    __slots__ = ("choose", "items", "loose", "seen")

    def __init__(self, choose: Callable[[int, str], int]) -> None:
        #: Where others append; all else is ours.
        self.items: deque[Any] = deque()
        self.choose = choose
        #: How many places there are up to the last plain callback, and how many have been asked about. The loop's hot
        #: path does what `take` does by itself, but for what joins in a crowd.
        self.loose = 0
        self.seen = 0

    def vary(self, choose: Callable[[int, str], int]) -> None:
        """Ask `choose` from now on."""
        self.choose = choose

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def take(self) -> Any:
        """Take out the entry that runs next. Raises IndexError where there is none, and whatever `choose` raises."""
        items = self.items
        if len(items) > self.seen:
            self.settle()
        item = items.popleft()
        self.seen -= 1
        if self.loose:
            self.loose -= 1
        return item

    def settle(self) -> None:
        """Let those who joined change places, one after the other."""
        items, choose = self.items, self.choose
        loose, seen = self.loose, self.seen
        # Each is put back before it is asked about, so that its place is at the end, where a deque is quickly read.
        joined = [items.pop() for _ in range(len(items) - seen)]
        try:
            while joined:
                item = joined.pop()
                items.append(item)
                place = seen
                if seen > loose:
                    self.loose, self.seen = loose, seen  # whoever is asked may look
                    if k := choose(seen - loose + 1, "task"):
                        place = seen - k
                        items[seen] = items[place]
                        items[place] = item
                if type(item) is not tuple or item[2] is FIRST:
                    loose = place + 1
                seen += 1
        finally:
            self.loose, self.seen = loose, seen
            items.extend(reversed(joined))

    def clear(self) -> None:
        """Forget all entries."""
        self.items.clear()
        self.loose = self.seen = 0

    def check(self) -> None:
        """Assert every invariant; for tests, which call it after each step."""
        items = list(self.items)
        assert 0 <= self.loose <= self.seen <= len(items), "the places are out of order"
        loose = items[self.loose : self.seen]
        assert all(type(item) is tuple and item[2] is not FIRST for item in loose), "a plain callback can be overtaken"
