"""An asyncio event loop for tests: virtual time, and an order of events that a seed decides."""

from virtualloop._errors import DeadlockError as DeadlockError
from virtualloop._errors import LivelockError as LivelockError
from virtualloop._errors import UnsupportedError as UnsupportedError
from virtualloop._errors import VirtualLoopError as VirtualLoopError
from virtualloop._inside import advance as advance
from virtualloop._inside import choose as choose
from virtualloop._inside import run_until_idle as run_until_idle
from virtualloop._loop import VirtualLoop as VirtualLoop
from virtualloop.schedules import Schedule as Schedule

__all__ = [
    "DeadlockError",
    "LivelockError",
    "Schedule",
    "UnsupportedError",
    "VirtualLoop",
    "VirtualLoopError",
    "advance",
    "choose",
    "run_until_idle",
]
