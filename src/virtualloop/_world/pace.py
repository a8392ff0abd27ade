"""How long the clock stands for somebody who is at work outside, and how fast it may go beside him after that.

Owns this one account: real seconds that were waited, and virtual ones that were let pass meanwhile.

At first the clock stands, for the patience. Who takes longer than that is not hurried: from then on no more virtual
time passes than real time has, so that a timer fires when it would have fired on a real machine, and not before. After
ten times the patience he is given up, and time goes on without him.
"""

from __future__ import annotations

import warnings

from virtualloop._world.patience import WORK_FACTOR

__all__ = ["Pace"]


class Pace:
    """One account. `patience` is in real seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.restart()

    def restart(self) -> None:
        """He has given a sign of life, or is waited for anew."""
        #: For how long he was waited for: while a timer was ahead, and while nothing else could happen.
        self.waited = self._waited_in_vain = 0.0
        self._let_pass = 0.0
        self.is_given_up = False

    def holds_or_tells(self, passed: float, ahead: float | None, what: str) -> bool:
        """Return the same as `holds`; where that gives him up, warn, and say `what` he is."""
        was_given_up = self.is_given_up
        holds = self.holds(passed, ahead)
        if self.is_given_up and not was_given_up:
            warnings.warn(
                f"the clock has gone on after {self.waited:.1f} real seconds {what}. "
                "Set VirtualLoop(thread_patience=...) to wait longer.",
                RuntimeWarning,
                stacklevel=3,
            )
        return holds

    def holds(self, passed: float, ahead: float | None) -> bool:
        """Return whether the clock stands, `passed` real seconds after the last look.

        `ahead`: how many seconds the next timer is, or None where nothing else could happen: then there is nothing to
        hurry for.
        """
        longest = WORK_FACTOR * self._patience
        if ahead is None:
            self._waited_in_vain += passed
            return self._waited_in_vain < longest
        if self.is_given_up:
            return False
        self.waited += passed
        then = self._let_pass + ahead
        if self.waited < min(longest, max(self._patience, then)):
            return True
        if self.waited < longest:
            self._let_pass = then
        else:
            self.is_given_up = True
        return False
