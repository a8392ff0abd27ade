"""Which replies come after the timeouts that wait for them: one in a run, or two, and by how much.

Owns the order in which that is tried; runs nothing. First each reply of the plain run is late in each of the usual
ways. A run with a late reply shows others, such as those to a request that is sent again, so that is late as well, once
behind each reply that was; and it shows what comes next, so the reply also comes with each of these, and after it. When
all that was tried, chance decides by how much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from virtualloop._core.lateness import HELD
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.replies import Reply
from virtualloop._exploration.tree import Branch
from virtualloop.schedules._choice import Choice
from virtualloop.schedules._random import random_delay

__all__ = ["LateReplies", "LateRun"]

#: What is so many ticks later than something else comes in a turn of its own: with a clock of its own, a jump lands a
#: tick past its deadline, and takes along what is due by then; and it is from there that spare time was counted.
APART = 3
#: By how many ticks a reply comes after its timeout.
DELAYS = (APART, 0, 5_000, 20_000, 45_000)
#: So many pairs are tried; a program with many replies has many times more.
MOST_PAIRS = 100


class LateRun(NamedTuple):
    """A run in which a reply is late: how it deviates, the reply, the last of two, and what all else is drawn from."""

    branch: Branch
    reply: Reply
    seed: int | None
    #: Whether it has to show which replies there are in it.
    shows: bool


class _Late(NamedTuple):
    """A reply that may be late, how its run deviates before, and how it was asked about."""

    before: Branch
    reply: Reply
    asked: Choice


class LateReplies:
    """The replies that may be late in a program. `seed` is that of the exploration's first run, in all of them."""

    def __init__(
        self, replies: Iterable[Reply], plain: Sequence[Choice], *, needed: Collection[Reply], seed: int
    ) -> None:
        self._needed = needed
        self._seed = seed
        self._number = 0
        self._known = [_Late((), reply, plain[reply.question]) for reply in replies]
        # What is to be tried: each late reply in the usual ways; and what a run with one has shown, two or a later one.
        self._usual = deque((late, delay) for delay in DELAYS for late in self._known)
        self._shown: deque[tuple[_Late, int]] = deque()
        self._doubles_left = MOST_PAIRS

    def __bool__(self) -> bool:
        """Whether any reply may be late that the program does not need in time."""
        return any(map(self._may_be_late, self._known))

    def left(self) -> int:
        """Return how many runs there are before chance decides."""
        return sum(self._may_be_late(late) for late, _ in (*self._usual, *self._shown))

    def take(self) -> LateRun:
        """Take out the next run: by turns one of the usual ones, and one that another has shown."""
        self._number += 1
        queues = (self._usual, self._shown) if self._number % 2 else (self._shown, self._usual)
        for queue in queues:
            while queue:
                late, delay = queue.popleft()
                if self._may_be_late(late):
                    return self._run(late, delay, shows=delay == DELAYS[0] and not late.before)
        known = list(filter(self._may_be_late, self._known))
        late = known[self._number % len(known)]
        seed = self._seed + self._number
        return self._run(late, random_delay(seed, late.reply.spare), seed=seed)

    def learn(self, run: LateRun, outcome: Outcome) -> None:
        """Take note of what a run has shown in which a reply was late; one that failed shows nothing."""
        if not run.shows or outcome.failed is not None:
            return
        question, asked = run.branch[-1]
        late = _Late(run.branch[:-1], run.reply, asked)
        self._shown.extend((late, DELAYS[0] + ticks + after) for ticks in outcome.follows for after in (0, APART))
        for reply in outcome.replies:
            if reply.question > question and self._doubles_left:
                self._doubles_left -= 1
                late = _Late(run.branch, reply, outcome.choices[reply.question])
                self._known.append(late)
                self._shown.append((late, DELAYS[0]))

    def _may_be_late(self, late: _Late) -> bool:
        return late.reply not in self._needed

    def _run(self, late: _Late, delay: int, *, seed: int | None = None, shows: bool = False) -> LateRun:
        reply, (_, n, kind) = late.reply, late.asked
        answer = min(reply.spare + delay + (HELD if kind == "hold" else 0), n - 1)
        branch = (*late.before, (reply.question, Choice(answer, n, kind)))
        return LateRun(branch, reply, seed, shows)
