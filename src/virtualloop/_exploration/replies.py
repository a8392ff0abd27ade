"""What a reply is, and the timeout that it made unused.

Owns these two and their words; `survey` finds them.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["UNASKED", "Reply", "Timeout"]

#: In place of the number of a question, for what was not asked about because nothing could happen before it.
UNASKED = -1


class Timeout(NamedTuple):
    """A timeout that was not used."""

    #: In which function it was set, where, as "app.py:12", and how long it is, in seconds.
    function: str
    place: str
    seconds: float
    #: Whether main's own task did it.
    of_main: bool

    def __str__(self) -> str:
        return f"{self.function}()'s timeout of {self.seconds:g} s{self._where}"

    @property
    def need(self) -> str:
        """What a test that fails beyond it needs."""
        return f"{self.function}() within {self.seconds:.3g} s{self._where}"

    @property
    def _where(self) -> str:
        return f" ({self.place})" if self.place else ""


class Reply(NamedTuple):
    """What arrived in time for a timeout."""

    #: Which question of the run asked about it, UNASKED if none did; and how many ticks later the timeout would fire.
    question: int
    spare: int
    timeout: Timeout
