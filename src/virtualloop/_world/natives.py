"""Threads of this process that know nothing of Python: those of a library in C.

Owns the look at whether one of them runs. Linux alone tells; elsewhere none is ever seen.

Such a library hands on what it has by writing to a descriptor that the program watches (grpc does). Each of its threads
wakes the next one before it goes to sleep, so as long as something is on its way, one of them runs.
"""

from __future__ import annotations

import threading

from virtualloop._world import system

__all__ = ["at_work"]


def at_work() -> bool:
    """Return whether a thread that is none of Python's runs, or is about to."""
    ours = {thread.native_id for thread in threading.enumerate()}
    return any(system.runs(native_id) for native_id in system.native_threads() if native_id not in ours)
