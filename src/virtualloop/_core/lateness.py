"""How an answer to "hold" reads: by how much an event is late.

Owns these numbers and nothing else. 0 is on time. Up to MOST_TURNS it is late by so many turns of the loop: it arrives
in the middle of what others set off. HELD is late until the schedule releases it, its lateness ends, or nothing else
could run. Where replies may be later than their timeouts, there are more answers: HELD + k is late by k ticks, whatever
the lateness is.
"""

from __future__ import annotations

__all__ = ["CLOSE", "HELD", "LONGEST", "MOST_TURNS", "ordinary_answers"]

#: The window between a wake-up and the step that follows is one to three turns wide, and two thirds of the races that
#: people have written down sit there; one turn more for those who hand on once.
MOST_TURNS = 4
HELD = MOST_TURNS + 1

#: By a clock that is late by a tick wherever it moves, what is due within so many ticks is due at one time.
CLOSE = 16

#: A reply is late by so many ticks at most: twelve days, longer than any timeout.
LONGEST = 2**40


def ordinary_answers(n: int, kind: str) -> int:
    """Return how many of the answers to a question say nothing of a reply that is later than its timeout.

    These are for whoever tries answers by chance or one after the other; how late a reply can be is for those who know
    its timeout.
    """
    if kind == "hold":
        return min(n, HELD + 1)
    return 1 if kind == "reply" else n
