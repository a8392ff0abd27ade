"""What people read about a failure: whether it is real, what happened, and how to see it again.

Owns the words and their order; finds nothing out. The story has to fit onto a screen below somebody's assertion error;
all that does not is in the files, for those who ask for them.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from virtualloop._search import Level
from virtualloop.trace import Deviation, Trace

__all__ = ["REPORT_VARIABLE", "Story"]

#: A story is not longer than this, in lines.
MAX_LINES = 40
#: A run of up to so many lines is shown whole; of a longer one, what is around each deviation, or its end.
SHORT_RUN = 24
#: Steps before and after a deviation that are shown: what it overtook, and what came of it.
AROUND = 2

#: Names of files have so many characters of the program's name at most: systems take 255, in bytes.
MAX_NAME = 60

#: A folder to write each failure into, as text and as HTML.
REPORT_VARIABLE = "VIRTUALLOOP_REPORT_DIR"

#: What each level claims, in words that a person can act on.
_CLAIMS: dict[Level, str] = {
    "fifo": "stock asyncio can do this, in its own order",
    "timing": "stock asyncio can do this",
    "io": "stock asyncio can do this if what is late stands for I/O",
    "tasks": "this needs a wake-up order that asyncio does not produce today",
}


class Story(NamedTuple):
    """A failure and what is known of it."""

    #: The name of the program, and the exception as its last line says it.
    program: str
    exception: str
    level: Level
    token: str
    #: What a call that replays has to be given besides, as it is written in one; None where the test does that.
    options: str | None
    #: The failing run, how many of its lines come before the end of main, and one like it that passes, if there is one.
    trace: Trace
    end: int | None
    passing: Trace | None
    #: What each task did when it failed, or nothing if that was not to be seen.
    tasks: str

    def tell(self) -> str:
        """Return the story, line by line; the last one is the command that replays it."""
        deviations = self.trace.deviations
        lines = [f"virtualloop: {_CLAIMS[self.level]}{_first_of(deviations)} (order {self.level!r})."]
        run = self.trace.lines()[: self.end]
        if len(run) > SHORT_RUN:
            run = self._excerpt(deviations, run)
        tasks = self.tasks.splitlines()
        # What happened comes first; what the tasks did is cut where there is not enough room for both.
        room = MAX_LINES - len(lines) - 1
        lines += run[:room]
        room -= len(run)
        if tasks and room > 1:
            lines += tasks if len(tasks) <= room else [*tasks[: room - 1], "  ..."]
        return "\n".join([*lines, f"Replay it: {self._replay_command()}"])

    def _replay_command(self) -> str:
        """Return the line that replays the run where it is at home."""
        if self.options is not None:
            return f"explore(main, {self.options}replay={self.token!r})"
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
        if test:
            return (
                f"VIRTUALLOOP_REPLAY={self.token} {Path(sys.executable or 'python').name} -m pytest {shlex.quote(test)}"
            )
        return f"set VIRTUALLOOP_REPLAY={self.token} and run {self.program} again"

    def _excerpt(self, deviations: Sequence[Deviation], run: list[str]) -> list[str]:
        """Return the lines around each deviation, as far as there is room; the run's end where there is none."""
        if not deviations:
            return ["  ...", *run[1 - SHORT_RUN :]]
        lines: list[str] = []
        for deviation in deviations:
            around = self.trace.around(deviation, steps=AROUND)
            new = [line for line in around if line not in lines]
            if len(lines) + len(new) + 2 > SHORT_RUN:
                return [*lines, f"  ... {len(deviations)} deviations in all"]
            lines += ["  ...", *new]
        return [*lines, "  ..."]

    def write(self, folder: Path) -> Path:
        """Write the failure into a folder, which is made if it is missing; return the path of the text."""
        folder.mkdir(parents=True, exist_ok=True)
        # The token is the failure's own, so that another one of the same test does not take its place.
        name = re.sub(r"[^\w.-]+", "_", f"{self.program[-MAX_NAME:]}-{self.token[-8:]}")
        parts = [self.exception, self.tell(), str(self.trace)]
        if self.passing is not None:
            parts.append("Beside the nearest run that passes:\n" + self.trace.diff(self.passing))
        if self.tasks:
            parts.append(self.tasks)
        text = folder / f"{name}.txt"
        text.write_text("\n\n".join(parts) + "\n", encoding="utf-8", errors="backslashreplace")
        title = f"{self.program}: {self.exception.partition(chr(10))[0]}"
        page = self.trace._as_html(title=title)
        text.with_suffix(".html").write_text(page, encoding="utf-8", errors="backslashreplace")
        return text


def _first_of(deviations: Sequence[Deviation]) -> str:
    if not deviations:
        return ""
    more = len(deviations) - 1
    return f": {deviations[0].text}" + (f", and {more} deviation{'s' if more > 1 else ''} more" if more else "")
