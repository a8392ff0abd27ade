"""An asyncio event loop for tests: virtual time, and an order of events that a seed decides."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from virtualloop._errors import DeadlockError as DeadlockError
from virtualloop._errors import LivelockError as LivelockError
from virtualloop._errors import UnsupportedError as UnsupportedError
from virtualloop._errors import VirtualLoopError as VirtualLoopError
from virtualloop._inside import advance as advance
from virtualloop._inside import choose as choose
from virtualloop._inside import note as note
from virtualloop._inside import run_until_idle as run_until_idle
from virtualloop._loop import VirtualLoop as VirtualLoop
from virtualloop.schedules import Schedule as Schedule

if TYPE_CHECKING:
    from virtualloop._explore import Exploration as Exploration
    from virtualloop._explore import explore as explore
    from virtualloop._explore import explored as explored
    from virtualloop._failure import Failure as Failure
    from virtualloop.network import Network as Network
    from virtualloop.trace import Trace as Trace

__all__ = [
    "DeadlockError",
    "Exploration",
    "Failure",
    "LivelockError",
    "Network",
    "Schedule",
    "Trace",
    "UnsupportedError",
    "VirtualLoop",
    "VirtualLoopError",
    "advance",
    "choose",
    "explore",
    "explored",
    "note",
    "run_until_idle",
]

# Where a name comes from that is not needed to run a loop: it is imported when it is first asked for.
_LATER = {
    **dict.fromkeys(["Exploration", "Failure", "explore", "explored"], "virtualloop._explore"),
    "Network": "virtualloop.network",
    "Trace": "virtualloop.trace",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
