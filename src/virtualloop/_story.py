"""What people read about an exploration: what was found, whether it is real, and how to see it again.

Owns the words; finds nothing out.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from virtualloop._search import Level
from virtualloop.schedules import Choice

__all__ = ["tell"]

#: What each level claims, in words that a person can act on.
_CLAIMS: dict[Level, str] = {
    "fifo": "stock asyncio does this, without any change of order",
    "timing": "stock asyncio can do this: nothing but time has to pass at the wrong moment",
    "io": "stock asyncio can do this if timers stand for replies: one that comes late is all it takes",
    "tasks": "it needs a wake-up order that asyncio does not produce today: an await that takes a little longer",
}


def tell(failure: BaseException, level: Level, choices: Sequence[Choice], token: str) -> str:
    """Return the story of a failure, line by line."""
    deviations = [choice for choice in choices if choice.answer]
    lines = [
        f"virtualloop: {_CLAIMS[level]} (order {level!r}).",
        f"{len(deviations)} deviation{'' if len(deviations) == 1 else 's'} from stock asyncio's order.",
        f"Replay it: {_replay_command(token)}",
    ]
    return "\n".join(lines)


def _replay_command(token: str) -> str:
    """Return the line that replays a run where the test is at home."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    if test:
        return f"VIRTUALLOOP_REPLAY={token} {_python()} -m pytest {shlex.quote(test)}"
    return f"explore(main, replay={token!r})"


def _python() -> str:
    return Path(sys.executable or "python").name
