"""Where a run could have gone another way, and which way it goes.

Owns every decision that is left open, and nothing else: no clock, no queue, no asyncio. This is the only module that
draws random numbers.

A run is a list of small integers. Wherever the real world could have gone another way, the loop asks its schedule
`choose(n, kind)` and gets an integer in `range(n)`. 0 is always what stock asyncio on an idle machine would do, so a
list of zeros, like an empty one, is the plain run, and driving answers towards 0 drives a failure towards its cause.

The kinds that the loop asks for:

    late     of 2: 0, the loop reads its clock now; 1, only after one more deadline has passed
    slow     at order "timing", of n, where a callback of a turn has run and n - 1 have not: 0, all are fast enough; k,
             the clock has passed one more deadline before the k-th of these runs. After a 0 it is not asked again in
             this turn
    apart    at order "timing", of n: 0, timers that are due at the same time come in together, in the order in which
             they were set; k, one of them was set a moment later than it seems, and comes in later; so does what was
             set after it. Asked only where that is possible
    hold     of 6: 0, this external event arrives now; 1 to 4, so many turns of the loop later, in the middle of what
             others set off; 5, it is late until it is released, its lateness ends, or nothing else could run. Asked
             only where something could happen before it
    release  of n: 0, those that are late until they are released stay so; k, the k-th of them arrives now, after the
             one that just did, or in the middle of what others set off
    reply    in explorations, where a reply may be later than the timeouts that wait for it, and nothing else could
             happen before: 0, it arrives now; k, it takes k microseconds longer. Likewise 5 + k as an answer to "hold"
    task     of n: 0, the task that has been ready longest runs next; k, another one does
    cancel   of 2: 1, this task is cancelled here; asked by `explore(cancel=...)` only
    user     of n: the test's own `virtualloop.choose(options)`

And, where a `Network` says that it happens, with a probability of k/n for answers from 1 to k:

    latency    of n: how much longer than at best this takes to come in, in n - 1 steps up to the longest
    loss       of n: this datagram is lost
    duplicate  of n: this datagram comes in twice
    reorder    of n: this datagram is overtaken by later ones
    fragment   of n: of what has come in only a part is read at once
    cut        of n: and that part is so much shorter, by k + 1 bytes
    coalesce   of n: this write is held back, to come in with the next
    reset      of n: this write resets the connection
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from virtualloop._core.lateness import HELD

__all__ = ["PLAIN", "Choice", "Plain", "Schedule", "check_schedule", "is_late"]


class Choice(NamedTuple):
    """One decision of a run: `answer` out of `range(n)`, asked for as `kind`."""

    answer: int
    n: int
    kind: str


def is_late(choice: Choice) -> bool:
    """Return whether an answer puts a reply off beyond what any event may be late."""
    return choice.kind in ("hold", "reply") and choice.answer > (HELD if choice.kind == "hold" else 0)


@runtime_checkable
class Schedule(Protocol):
    """Whatever answers the loop's questions. Any object with this one method will do.

    Example:

        class Latest:
            def choose(self, n: int, kind: str) -> int:
                return n - 1

        loop = VirtualLoop(schedule=Latest())
    """

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`, n being at least 2.

        It may raise, since nothing has left a queue yet; after that it is not asked again in this run.
        """
        ...


class Plain:
    """What stock asyncio on an idle machine would do, whatever is asked."""

    def choose(self, n: int, kind: str) -> int:
        """Return 0."""
        return 0


PLAIN = Plain()


def check_schedule(schedule: object) -> None:
    """Raise TypeError for what is no schedule."""
    if not callable(getattr(schedule, "choose", None)) or isinstance(schedule, type):
        raise TypeError(f"schedule must be an object with a choose(n, kind) method, not {schedule!r}")
