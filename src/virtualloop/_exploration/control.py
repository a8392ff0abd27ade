"""What belongs to the whole process and has to be the same for each run: collector, random module, filters of warnings.

Owns how runs find them, and that they are as before when the last exploration is over, whichever thread made it. Knows
nothing of what a run is.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, ParamSpec, TypeVar

from virtualloop._exploration.generators import Generators
from virtualloop._loop.alarms import Alarm, heard

__all__ = ["NoAlarm", "alarm_here", "alone", "controlled", "ignore_unawaited", "leave_behind"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Each so many runs, what outlived its own run is looked through: the loop of the one before, say, which the network of
#: all runs knew until the next came, or a failure that another has taken the place of.
RUNS_BETWEEN = 32
#: So many runs may have failed before all garbage is collected, as the next exploration begins.
MOST_LEFT = 300


class _Process:
    """How many explorations there are, and what they found when the first of them began."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.explorations = 0
        self.random_state: Any = None
        self.generators: Generators | None = None
        #: The state of the random module with which each run begins, once it is known.
        self.first_state: Any = None
        self.collects = False
        self.filters = ExitStack()
        #: Whether coroutines that nobody has awaited are ignored by now.
        self.ignores_unawaited = False
        #: Held while a run lasts; and how many there were.
        self.run = threading.RLock()
        self.runs = 0
        #: How many have failed since all garbage was collected: an exception knows its loop, and that all its tasks.
        self.left_behind = 0
        #: An alarm may also come between two loops, or while garbage is collected, where an exception gets lost.
        self.alarm: Alarm | None = None


_process = _Process()


def _forget() -> None:
    """Start anew in a child process, where the threads are not that held the locks."""
    global _process  # noqa: PLW0603  # the locks of a process
    _process = _Process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def controlled(*, patched: bool) -> Iterator[None]:
    """Have the garbage collector, the random module's state and the filters of warnings restored after some runs.

    What a failed run leaves open it leaves open because it failed, and there are many such runs on the way to a small
    one: no warnings of that. A strict loop tells it of those that would pass.

    `patched` says whether the runs have clocks or dice of their own: then what stands in for the process's is put in
    place once for all of them.
    """
    process = _process
    if process.left_behind >= MOST_LEFT and not process.explorations:
        # By now nobody may know these failures any more, and asyncio goes through all tasks there are, in each run.
        process.left_behind = 0
        gc.collect()
    own, alarm = ExitStack(), None
    with process.lock:
        process.explorations += 1
        if process.explorations == 1:
            process.random_state = random.getstate()
            process.generators = Generators()
            process.collects = gc.isenabled()
            gc.disable()
        # Where filters belong to a context each exploration has its own, else the process has one list of them.
        if sys.version_info >= (3, 14) and sys.flags.context_aware_warnings:
            own.enter_context(_quiet())
        elif process.explorations == 1:
            process.filters.enter_context(_quiet())
    try:
        with heard(bool) as alarm, own:
            process.alarm = process.alarm or alarm
            if patched:
                here = alarm_here()
                here.waits = True
                own.enter_context(_stand_ins())
                here.waits = False
                here.check()
            try:
                yield
                gc.collect(1)
            finally:
                if alarm is not None:
                    alarm.waits = True
    finally:
        with process.lock:
            if process.alarm is alarm:
                process.alarm = None
            process.explorations -= 1
            if not process.explorations:
                process.filters.close()
                process.ignores_unawaited = False
                random.setstate(process.random_state)
                if process.generators is not None:
                    process.generators.restore()
                    process.generators = None
                if process.collects:
                    gc.enable()


def _stand_ins() -> AbstractContextManager[None]:
    from virtualloop._world.patches import in_place  # noqa: PLC0415  # it is loaded where it is needed

    return in_place()


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def ignore_unawaited() -> None:
    """Let nobody warn of coroutines that nobody has awaited, up to the end of the explorations.

    Once, because each change of the filters has all warnings told again that were told once.
    """
    if not _process.ignores_unawaited:
        _process.ignores_unawaited = True
        warnings.filterwarnings("ignore", ".* was never awaited", RuntimeWarning)


def leave_behind() -> None:
    """Take note that a run has failed, and so is in memory for as long as anyone knows how."""
    _process.left_behind += 1


class NoAlarm:
    """Stands for an alarm where there is none that could interrupt this thread."""

    waits = False

    def check(self) -> None:
        """Nothing was raised."""


def alarm_here() -> Alarm | NoAlarm:
    """Return what stands in front of the handler of an alarm, as long as runs are made.

    What would be left half done is done while it waits. That is said in line: an alarm may interrupt any call.
    """
    here = _process.alarm if threading.current_thread() is threading.main_thread() else None
    return here or NoAlarm()


def alone(run: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Make a run while no other thread makes one, and with the random module in the same state as each."""
    with _process.run:
        if _process.alarm is not None:
            _process.alarm.check()
        if _process.first_state is None:
            random.seed(0)
            _process.first_state = random.getstate()
        else:
            random.setstate(_process.first_state)  # a quarter of the time
        if _process.generators is not None:
            _process.generators.restore()
        result = run(*args, **kwargs)
        _process.runs += 1
        if _process.runs % RUNS_BETWEEN == 0:
            gc.collect(1)
        return result
