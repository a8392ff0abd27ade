"""Which step of a loop runs now.

Owns telling one step from another, from the frames on the stack: the run loop does not count its steps, because that
would cost each of them, and only a program that reads the clock thousands of times is asked.
"""

from __future__ import annotations

import asyncio
import sys
from types import FrameType

from virtualloop._core.scheduler import Scheduler

__all__ = ["step_now"]

_OURS = "virtualloop."


def step_now() -> object:
    """Return what is the same in one step, and another thing in the next."""
    frame: FrameType | None = sys._getframe(1)
    outermost = None
    while frame is not None:
        if frame.f_code in Scheduler.BODIES:
            names = frame.f_locals
            turns = names["turns"]  # a task makes at most one step in each
            if sys.version_info < (3, 13):
                names.clear()  # else the frame would keep what was in its variables
            task = asyncio.current_task()
            # Frames that have ended make room for others at the same address; tasks are numbered.
            return turns, outermost, getattr(task, "number", id(task))
        if not str(frame.f_globals.get("__name__")).startswith(_OURS):
            outermost = id(frame)
        frame = frame.f_back
    return None
