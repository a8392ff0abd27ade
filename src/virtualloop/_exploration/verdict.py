"""Whether a run that failed because a reply came after its timeout shows a fault of the program.

Owns this judgement; tries nothing else. A reply that never comes may break a test just as well, because the test needs
it: a login that expires, a fallback's value. So the run is made once more with the reply withheld, and what happens
without it is compared:

- The run does not fail, or otherwise: to come late is worse than never, which is a fault.
- It cannot go on without the reply, and has not failed by then: it waits for what is late, and fails when that comes.
- It fails in the same way, by a hang: what the timeout left behind is broken.
- It fails in the same way: the test needs its reply in time, and that says nothing about the program.
"""

from __future__ import annotations

from virtualloop._errors import DeadlockError, LivelockError
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.program import Program
from virtualloop.schedules._choice import is_late
from virtualloop.schedules._replay import LenientReplay

__all__ = ["is_fault", "late_replies"]


def late_replies(outcome: Outcome) -> list[int]:
    """Return the questions at which a reply was put off beyond what any event may be late."""
    return [position for position, choice in enumerate(outcome.choices) if is_late(choice)]


def is_fault(program: Program, outcome: Outcome) -> bool:
    """Return whether a failure is one of the program's, given that replies came late in it."""
    late = late_replies(outcome)
    if not late:
        return True
    # Of two, the last one: up to there it is the same run.
    answers = outcome.answers
    answers[late[-1]] = outcome.choices[late[-1]].n - 1
    without = program.run(LenientReplay(answers), outcome.order, withheld=late[-1:])
    if not without.fails_like(outcome):
        return True
    if isinstance(outcome.exception, DeadlockError | LivelockError):
        return True
    return isinstance(outcome.exception, TimeoutError) and _hung_until_then(program, outcome, late)


def _hung_until_then(program: Program, outcome: Outcome, late: list[int]) -> bool:
    """Return whether main ended by another timeout than those exceeded, while nothing else could happen."""
    _, survey = program.survey(LenientReplay(outcome.answers), outcome.order, states=False)
    return survey.hung_until_a_timeout(late)
