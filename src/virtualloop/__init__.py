"""An asyncio event loop for tests: virtual time, and an order of events that a seed decides.

What it consists of, each with its arguments, errors and an example in `help(virtualloop.NAME)`:

    VirtualLoop                      the loop, for asyncio.run(main(), loop_factory=VirtualLoop)
    explored, explore                one test under hundreds of timings that can happen, by decorator or by call
    Exploration, Failure             what comes of it
    advance, run_until_idle, until   let time pass, from inside; loops have methods of these names, for outside
    always, sometimes                what holds after each step, or in some run
    plain, choose, note              nothing varies within; a decision of the test's own; a line in the story
    get_network, Network             links and hosts with faults, in memory
    ladder                           seeds for a test that draws them
    Schedule, Trace                  what decides a run, and what is recorded of it
    DeadlockError, LivelockError, UnsupportedError, VirtualLoopError

and the modules virtualloop.schedules, .trace, .network, .properties and .histories (is a history linearizable?).
Whatever else is listed below is no interface.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from virtualloop import _cpython as _cpython  # says so where the package does not run

if TYPE_CHECKING:
    from virtualloop import histories as histories
    from virtualloop._errors import DeadlockError as DeadlockError
    from virtualloop._errors import LivelockError as LivelockError
    from virtualloop._errors import UnsupportedError as UnsupportedError
    from virtualloop._errors import VirtualLoopError as VirtualLoopError
    from virtualloop._exploration.api import Exploration as Exploration
    from virtualloop._exploration.api import explore as explore
    from virtualloop._exploration.api import explored as explored
    from virtualloop._exploration.failure import Failure as Failure
    from virtualloop._exploration.ladder import ladder as ladder
    from virtualloop._loop.current import advance as advance
    from virtualloop._loop.current import choose as choose
    from virtualloop._loop.current import get_network as get_network
    from virtualloop._loop.current import note as note
    from virtualloop._loop.current import plain as plain
    from virtualloop._loop.current import run_until_idle as run_until_idle
    from virtualloop._loop.virtual import VirtualLoop as VirtualLoop
    from virtualloop.network import Network as Network
    from virtualloop.properties import always as always
    from virtualloop.properties import sometimes as sometimes
    from virtualloop.properties import until as until
    from virtualloop.schedules import Schedule as Schedule
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
    "always",
    "choose",
    "explore",
    "explored",
    "get_network",
    "ladder",
    "note",
    "plain",
    "run_until_idle",
    "sometimes",
    "until",
]

# Where each name comes from: it is imported when it is first asked for, because pytest imports this package in every
# session, for its plugin, and most sessions explore nothing.
_HOMES = {
    "DeadlockError": "_errors",
    "Exploration": "_exploration.api",
    "Failure": "_exploration.failure",
    "LivelockError": "_errors",
    "Network": "network",
    "Schedule": "schedules",
    "Trace": "trace",
    "UnsupportedError": "_errors",
    "VirtualLoop": "_loop.virtual",
    "VirtualLoopError": "_errors",
    "advance": "_loop.current",
    "always": "properties",
    "choose": "_loop.current",
    "explore": "_exploration.api",
    "explored": "_exploration.api",
    "get_network": "_loop.current",
    "ladder": "_exploration.ladder",
    "note": "_loop.current",
    "plain": "_loop.current",
    "run_until_idle": "_loop.current",
    "sometimes": "properties",
    "until": "properties",
}
# The same for public modules.
_MODULES = {"histories", "network", "properties", "schedules", "trace"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
