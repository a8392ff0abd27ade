"""Who keeps the real clock and real entropy although he runs in a world: test frameworks, debuggers, and real waits.

Owns the list of these modules, and the questions whether a caller is one of them, and whether a thread runs nothing
else. What they measure are matters of the machine: how long a test took, when it has hung, whether an example was slow.
And what waits in the operating system by a clock of its own (for a child process, in the selector of a stock loop) has
to measure by that same clock.
"""

from __future__ import annotations

from types import FrameType

from virtualloop._folders import LIBRARY

__all__ = ["OFFERS_A_CLOCK", "is_framework", "keeps_real", "runs_nothing_else"]

#: By the whole name of a module, or by its first part. A mock calls in the name of whoever has it, so `unittest` as a
#: whole is none of these; nor is a name that programs have for modules of their own.
FRAMEWORKS = frozenset(
    {
        *("_pytest", "pluggy", "pytest", "pytest_cov", "pytest_timeout", "execnet", "xdist", "hypothesis"),
        *("unittest.async_case", "unittest.case", "unittest.result", "unittest.runner", "unittest.suite"),
        *("bdb", "coverage", "cProfile", "pdb", "timeit"),
        *("IPython", "ipykernel", "ipykernel_launcher"),
        *("_pydev_bundle", "_pydevd_bundle", "debugpy", "line_profiler", "pydevd", "pyinstrument", "viztracer"),
        *("asyncio.base_events", "multiprocessing", "subprocess", "tempfile"),
    }
)

#: Those of them whose names are there for programs: `timeit.default_timer()` is a clock like any other, while what
#: `timeit` itself measures has it as a default.
OFFERS_A_CLOCK = frozenset({"timeit"})

_known: dict[str, bool] = {}


def is_framework(module: str) -> bool:
    """Return whether the module of this name is one of these."""
    found = _known.get(module)
    if found is None:
        found = _known[module] = module in FRAMEWORKS or module.partition(".")[0] in FRAMEWORKS
    return found


def keeps_real(caller: FrameType) -> bool:
    """Return whether the caller's code is that of such a module."""
    name = caller.f_globals.get("__name__")
    return type(name) is str and is_framework(name)


def runs_nothing_else(frame: FrameType) -> bool:
    """Return whether a thread, whose innermost frame this is, is such a module's own, and runs nothing of a program."""
    outermost = None
    at: FrameType | None = frame
    while at is not None:
        file = at.f_code.co_filename
        if "site-packages" in file:
            outermost = at
        elif not file.startswith((LIBRARY, "<frozen")):
            return False
        at = at.f_back
    if outermost is None:
        return False
    # `python -m` calls the module that it runs by another name.
    spec = outermost.f_globals.get("__spec__")
    name = outermost.f_globals.get("__name__") if spec is None else spec.name
    return type(name) is str and is_framework(name)
