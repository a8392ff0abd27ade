"""How far a long exploration is, in a line on a terminal, and now and then one in the log of a CI job.

Owns that line, and the real time between two of them; silent where nobody looks.
"""

from __future__ import annotations

import os
from typing import TextIO

from virtualloop._world.originals import real_time

__all__ = ["Progress"]

#: Real seconds before the line is shown on a terminal, and between two of them.
PROGRESS_AFTER = 1.0
PROGRESS_EACH = 0.2
#: In a log, where each stays, and where a job that says nothing for ten minutes is taken for dead.
LOG_EACH = 30.0


class Progress:
    """Says how far a long exploration is: on a terminal, or where `CI` is set in lines of a log."""

    def __init__(self, stream: TextIO | None, runs: int) -> None:
        # Programs without a console have no stream at all.
        self._stream = stream
        self._runs = runs
        self._terminal = stream is not None and stream.isatty()
        self._shown = 0
        if self._terminal:
            self._each, self._next = PROGRESS_EACH, real_time.monotonic() + PROGRESS_AFTER
        elif stream is not None and os.environ.get("CI"):
            self._each, self._next = LOG_EACH, real_time.monotonic() + LOG_EACH
        else:
            self._each = self._next = float("inf")

    def show(self, count: int, distinct: int) -> None:
        """Say that so many runs were made, if it is time to."""
        if real_time.monotonic() >= self._next:
            self._say(f"exploring: {count} of {self._runs} runs, {distinct} different")

    def show_shrinking(self, first: int, now: int) -> None:
        """Say how small a failure is by now, if it is time to."""
        if real_time.monotonic() >= self._next:
            self._say(f"making the failure small: {first} -> {now} deviations (Ctrl-C to see it as it is)")

    def _say(self, text: str) -> None:
        self._next = real_time.monotonic() + self._each
        if self._terminal:
            # What is left of a longer one is taken away.
            print(f"\r{text:{self._shown}}", end="", file=self._stream, flush=True)
            self._shown = len(text)
        else:
            print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = 0
            print("\r\033[K", end="", file=self._stream, flush=True)
