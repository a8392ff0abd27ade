"""Which ready callback runs next, when any task may take a little longer to resume.

Owns that choice and nothing else: no clock, no asyncio, no draw of its own. Choice 0 is always the one asyncio would
make, so a shrinker that drives choices to zero ends at the production order.

The rule: tasks that were woken may resume in any order, **but nothing overtakes a plain callback queued before it**.
So the candidates are the wake-ups ahead of the first plain callback in the queue, and that callback, the barrier. All
that asyncio promises about call_soon follows: plain callbacks run in the order they were queued, a done-callback runs
before a waiter that was added after it, and tasks start in the order they were created (a first step is plain).

Taking the k-th of n candidates has to cost the same whatever n is, and choice 0 has to be the oldest one even after
many others were taken out of the middle. One structure cannot do both, so there are two over the same entries: a
deque by age, in which those already taken are passed over, and a list without gaps to index by choice, in which the
last one moves into the place of the one taken out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Candidates"]

#: In place of an entry's index once it was taken.
TAKEN = -1

#: Taken entries are swept from the deque when they outnumber the others by this: a schedule that never picks the oldest
#: would let them pile up behind it.
MAX_TAKEN = 64


class Candidates:
    """The head of a queue, any entry of which may run next.

    `queue` is the queue they come from, to which others append: tuples are wake-ups and may change places, anything
    else is a plain callback. `choose` is asked for one of n when there are two or more.
    """

    __slots__ = ("_barrier", "_by_age", "_by_choice", "_choose", "_queue")

    def __init__(self, queue: deque[Any], choose: Callable[[int, str], int]) -> None:
        self._queue = queue
        self._choose = choose
        # Each entry is [what came from the queue, its index in _by_choice or TAKEN].
        self._by_age: deque[list[Any]] = deque()
        self._by_choice: list[list[Any]] = []
        self._barrier: list[Any] | None = None

    def __len__(self) -> int:
        return len(self._by_choice) + len(self._queue)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over what is queued, oldest first."""
        yield from (entry[0] for entry in self._by_age if entry[1] != TAKEN)
        yield from self._queue

    def take(self) -> Any:
        """Take out the entry that runs next.

        The choice is asked for before anything is taken, so it may raise. Raises IndexError when there is no entry.
        """
        # Called for each step of each task: in locals, and in straight lines.
        by_choice = self._by_choice
        if self._barrier is None:
            queue = self._queue
            while queue:
                item = queue.popleft()
                entry = [item, len(by_choice)]
                self._by_age.append(entry)
                by_choice.append(entry)
                if type(item) is not tuple:
                    self._barrier = entry
                    break
        n = len(by_choice)
        k = self._choose(n, "task") if n > 1 else 0

        by_age = self._by_age
        entry = by_age[0]
        while entry[1] == TAKEN:
            by_age.popleft()
            entry = by_age[0]
        if k:
            # The others keep the order of the list: k counts them, with the oldest left out.
            entry = by_choice[k - 1 if k <= entry[1] else k]
            if len(by_age) > 2 * n + MAX_TAKEN:
                self._by_age = deque(old for old in by_age if old[1] != TAKEN)
        else:
            by_age.popleft()
        last = by_choice.pop()
        if last is not entry:
            index = entry[1]
            by_choice[index] = last
            last[1] = index
        if entry is self._barrier:
            self._barrier = None
        item = entry[0]
        entry[0] = None
        entry[1] = TAKEN
        return item

    def clear(self) -> None:
        """Forget all candidates; the queue they came from is its owner's."""
        self._by_age.clear()
        self._by_choice.clear()
        self._barrier = None

    def check(self) -> None:
        """Assert every invariant; for tests, which call it after each step."""
        by_choice = self._by_choice
        assert [entry[1] for entry in by_choice] == list(range(len(by_choice))), "an entry has lost its place"
        alive = [entry for entry in self._by_age if entry[1] != TAKEN]
        assert sorted(map(id, alive)) == sorted(map(id, by_choice)), "the two views disagree"
        plain = [entry for entry in alive if type(entry[0]) is not tuple]
        assert plain == ([] if self._barrier is None else [self._barrier]), "more than one barrier"
        assert self._barrier is None or alive[-1] is self._barrier, "something stands behind the barrier"
        assert len(self._by_age) <= 2 * (len(by_choice) + 1) + MAX_TAKEN + 1, "a sweep is overdue"
