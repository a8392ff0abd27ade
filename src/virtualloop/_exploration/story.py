"""What people read about a failure: whether it is real, what happened, and how to see it again.

Owns the words and their order; finds nothing out. The story has to fit onto a screen below somebody's assertion error;
all that does not is in the files, for those who ask for them.
"""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from virtualloop._exploration.levels import Level
from virtualloop._words import counted, cut, fitted, kept_end, with_short_names
from virtualloop.trace import Deviation, Trace
from virtualloop.trace._table import width as line_width
from virtualloop.trace._trace import story_of, telling_of

__all__ = ["Story", "current_test", "deviated", "in_lines"]

#: A story is not longer than this, in lines.
MAX_LINES = 40
#: What the tasks did when it failed has so many of them, where there is that much to say.
MAX_TASK_LINES = 12

#: A path is not made shorter than this.
MIN_PATH = 16

#: What each level claims, in words that a person can act on.
_CLAIMS: dict[Level, str] = {
    "fifo": "stock asyncio can do this, in its own order",
    "timing": "stock asyncio can do this",
    "io": "stock asyncio can do this",
    "tasks": "this needs a wake-up order that asyncio does not produce today",
}


class Story(NamedTuple):
    """A failure and what is known of it."""

    #: The name of the program, and the exception as its last line says it.
    program: str
    exception: str
    level: Level
    #: Which timeouts were exceeded by replies that came after them, as parts of a sentence.
    exceeded: tuple[str, ...]
    token: str
    #: What a call that replays has to be given besides, as it is written in one; None where the test does that.
    options: str | None
    #: The failing run, and one like it that passes, if there is one.
    trace: Trace
    passing: Trace | None
    #: How else it comes about, where a likelier way is known, as a part of a sentence.
    likewise: str
    #: What to do about it where that is known, as a sentence without its stop.
    advice: str
    #: What each task did when it failed, or nothing if that was not to be seen.
    tasks: str
    #: The line that replays it, where the program knows one.
    command: str | None = None
    #: What to say where a replay may be another run, in sentences.
    unsteady: str = ""

    def tell(self) -> str:
        """Return the story, line by line; the last one is the command that replays it."""
        width = line_width()
        telling = telling_of(self.trace)
        claim = f"virtualloop: {self._claim(telling)} (order {self.level!r})"
        advice = f"{self.advice[:1].upper()}{self.advice[1:]}." if self.advice else ""
        condition = f"if {' and '.join(self.exceeded)}" if self.exceeded else ""
        head = [claim, f"  {condition}"] if condition else [claim]
        head[-1] += ":" if telling else "."
        how = f"  {deviated(self.trace)}." if telling else ""
        paragraphs = [
            *head,
            how,
            f"  Likewise {self.likewise}." if self.likewise else "",
            f"  {advice}",
            f"  {self.unsteady}",
        ]
        lines = in_lines(*paragraphs)
        tasks = [_in_line(line, width) for line in self.tasks.replace(f'"{Path.cwd()}{os.sep}', '"').splitlines()]
        room = MAX_LINES - len(lines) - 1
        # What happened comes first; what the tasks did is cut where there is not enough room for both.
        lines += story_of(self.trace, room=room - min(len(tasks), MAX_TASK_LINES))
        room = MAX_LINES - len(lines) - 1
        if tasks and room > 1:
            lines += tasks if len(tasks) <= room else [*tasks[: room - 1], "  ..."]
        return "\n".join([*lines, f"Replay it: {self.replay_command()}"])

    def _claim(self, deviations: Sequence[Deviation]) -> str:
        """Return what the level claims. A reply may be late in any case; a timer only where it stands for one.

        A timeout stands for none: that it is late says that what it waits for may come sooner.
        """
        if self.level == "fifo" and self.advice:
            return "each run does this, as it is set up"
        if self.exceeded:
            return _CLAIMS[self.level]
        late = [deviation for deviation in deviations if deviation.kind == "hold"]
        timers = sum("'s timer" in deviation.text for deviation in late)
        if self.level == "io" and not timers and any("'s timeout" in deviation.text for deviation in late):
            return f"{_CLAIMS[self.level]} if what beats the timeout stands for I/O"
        if self.level != "io" or not timers:
            return _CLAIMS[self.level]
        return f"{_CLAIMS[self.level]} if the late timer{'s stand' if timers > 1 else ' stands'} for I/O"

    def replay_command(self) -> str:
        """Return the line that replays the run where it is at home."""
        if self.command is not None:
            return self.command
        if self.options is not None:
            return f"explore(main, {self.options}replay={self.token!r})"
        if test := current_test():
            python = Path(sys.executable or "python").name
            return f"VIRTUALLOOP_REPLAY={self.token} {python} -m pytest {shlex.quote(test)}"
        return f"set VIRTUALLOOP_REPLAY={self.token} and run {self.program} again"


def deviated(trace: Trace) -> str:
    """Return how a run deviated: the deviation nearest to its failure, and how many there are besides."""
    telling = telling_of(trace)
    others = Counter(deviation.kind == "latency" for deviation in trace.deviations)
    nearest = next((deviation for deviation in reversed(telling) if deviation.kind != "latency"), telling[-1])
    others[nearest.kind == "latency"] -= 1
    parts = [counted(others[False], "more deviation")] if others[False] else []
    if others[True]:
        parts.append(f"{others[True]} latenc{'y' if others[True] == 1 else 'ies'} of the network")
    return f"{nearest.text}{', and ' if parts else ''}{' and '.join(parts)}"


def _in_line(line: str, width: int) -> str:
    """Return a line of what the tasks did, not wider than this: a path is cut at its beginning."""
    start, quote, rest = line.partition('File "')
    path, end, place = rest.partition('", ')
    if not end or len(line) <= width:
        return cut(line, width)
    return cut(f"{start}{quote}{kept_end(path, max(width - len(line) + len(path), MIN_PATH))}{end}{place}", width)


def in_lines(*paragraphs: str) -> list[str]:
    """Return paragraphs in lines as wide as a story's."""
    width = line_width()
    wrap = textwrap.TextWrapper(width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    texts = [with_short_names(text) for text in paragraphs if text.strip()]
    return [fitted(line, width) for text in texts for line in wrap.wrap(text)]


def current_test() -> str:
    """Return the test that pytest runs, by its node id, or nothing."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
