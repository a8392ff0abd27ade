"""What a run came to.

Owns the one object that search, shrinking, label and story pass on, and when two failures are the same. Knows nothing
of how a run is made.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from virtualloop._errors import DeadlockError, LivelockError, VirtualLoopError
from virtualloop._exploration.levels import Level, level_of
from virtualloop._exploration.replies import Reply
from virtualloop._report.frames import is_machinery
from virtualloop.schedules._choice import Choice

if TYPE_CHECKING:
    from virtualloop.trace import Trace

__all__ = ["Outcome", "failure_signature"]

#: A place in an error's text: the line, and the function.
_PLACE = re.compile(r'File ".*", line (\d+)(?:, in (.*))?')


@dataclass  # nobody writes to it; frozen, making one takes ten times as long, for each run
class Outcome:
    """What a run came to: all that it takes to make it again, to compare it and to describe it."""

    #: The order that it was made at.
    order: Level
    #: What it failed with, in words, if it failed, and what that has in common with failures that are the same.
    failed: str | None = None
    signature: tuple[Any, ...] | None = None
    #: The exception itself; None also for a run that was made in another process.
    exception: BaseException | None = None
    #: What it was asked and how that was answered, where this was kept; and of which kinds the deviations are.
    choices: Sequence[Choice] = ()
    kinds: Collection[str] = ()
    #: The state in which each question was asked, where that was kept.
    states: Sequence[int] = ()
    #: Runs that differ have different ones, in every process.
    digest: int = 0
    #: How many callbacks it ran.
    steps: int = 0
    #: What the program says that is sometimes true, and whether it was in this run.
    sometimes: Collection[tuple[str, bool]] = ()
    #: A trace of the run where one was kept, and what each task did when main failed.
    trace: Trace | None = None
    #: And which timeouts were exceeded by replies that came after them, in words.
    exceeded: tuple[str, ...] = ()
    #: The replies that were in time, where the run was to show them.
    replies: Sequence[Reply] = ()
    #: And by how many ticks what arrived next came after the late one.
    follows: Sequence[int] = ()
    tasks: str = ""
    #: Where it was to deviate at a question that it was not asked, in words: then it is another run than was planned.
    misfit: str | None = None

    @property
    def answers(self) -> list[int]:
        """What was answered."""
        return [choice.answer for choice in self.choices]

    @property
    def level(self) -> Level:
        """The tightest level at which the deviations of this run can happen."""
        return level_of(self.kinds)

    def fails_like(self, other: Outcome) -> bool:
        """Return whether both have failed, and in the same way."""
        return self.failed is not None and other.failed is not None and self.signature == other.signature

    def portable(self) -> Outcome:
        """Return what of it can be sent to another process."""
        return replace(self, exception=None, trace=None)


def failure_signature(exc: BaseException) -> tuple[Any, ...]:
    """Return what two failures have in common if they are the same: type of exception, and how it came about.

    That is where in the program it was raised, and by whom that was called; or, for the loop's own errors, the places
    that their text names. Files are none of it: another machine has the program somewhere else, or was sent its code.
    """
    kind = type(exc).__qualname__
    if isinstance(exc, BaseExceptionGroup):
        return (kind, frozenset(failure_signature(each) for each in exc.exceptions))
    if isinstance(exc, DeadlockError | LivelockError):
        return (kind, frozenset(_PLACE.findall(str(exc))))
    frames = [
        (frame.f_code.co_qualname, line)
        for frame, line in traceback.walk_tb(exc.__traceback__)
        if not is_machinery(frame.f_code)
    ]
    if not frames and isinstance(exc, VirtualLoopError):
        return (kind, frozenset(_PLACE.findall(str(exc))))
    return (kind, tuple(frames))
