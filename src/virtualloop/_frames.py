"""Where each thread stands in Python code.

Owns the look at that, and the one case in which it must not be taken: until Python 3.14, whoever asks for the frames of
all threads gets those of other interpreters as well, in objects that those free with an allocator of their own, which
ends the process (`free(): invalid pointer`). While there are other interpreters, nobody knows where a thread stands,
and the operating system is the only witness (see `_world.parked`).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["frames_of_others"]

#: The modules by which programs make interpreters with an allocator of their own, on Pythons that end with the above.
_MAKERS = () if sys.version_info >= (3, 14) else ("_interpreters", "_xxsubinterpreters")


def frames_of_others() -> dict[int, FrameType]:
    """Return the innermost frame of each thread but this one, by its ident.

    Where they must not be looked at, each is one that says nothing. This thread's own would be a cycle with what is in
    its variables.
    """
    if any(len(sys.modules[name].list_all()) > 1 for name in _MAKERS if name in sys.modules):
        frames = {thread.ident or 0: _nowhere.gi_frame for thread in threading.enumerate()}
    else:
        frames = sys._current_frames()
    frames.pop(threading.get_ident(), None)
    return frames


def _wait() -> Iterator[None]:
    yield


#: A function that has stopped at a place of no thread's.
_nowhere: Any = _wait()
next(_nowhere)
