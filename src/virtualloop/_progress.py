"""How far a long exploration is, in a line on a terminal.

Owns that line, and the real time between two of them; silent where nobody looks.
"""

from __future__ import annotations

import time
from typing import TextIO

__all__ = ["Progress"]

#: Real seconds before the line is shown, and between two of them.
PROGRESS_AFTER = 1.0
PROGRESS_EACH = 0.2

# Kept from before anyone can put it on a virtual clock.
_real_time = time.monotonic


class Progress:
    """A line on a terminal that says how far a long exploration is; silent elsewhere."""

    def __init__(self, stream: TextIO | None, runs: int) -> None:
        self._stream = stream
        self._runs = runs
        # Programs without a console have no stream at all.
        self._next = _real_time() + PROGRESS_AFTER if stream is not None and stream.isatty() else float("inf")
        self._shown = False

    def show(self, count: int, distinct: int) -> None:
        """Say that so many runs were made, if it is time to."""
        if _real_time() >= self._next:
            self._next = _real_time() + PROGRESS_EACH
            self._shown = True
            line = f"\rexploring: {count} of {self._runs} runs, {distinct} different"
            print(line, end="", file=self._stream, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = False
            print("\r\033[K", end="", file=self._stream, flush=True)
