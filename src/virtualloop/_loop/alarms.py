"""An alarm ends a run, whatever it interrupts.

Owns what happens when the handler of SIGALRM raises while a loop runs, as the limits of time of test frameworks do. The
exception surfaces wherever the program was: a task keeps it as its own failure, a callback's is logged, and a program
that hangs goes on to hang. So the exception is kept here as well, the loop is stopped, and it is raised out of the run.

Only while a loop runs in the main thread and somebody has set such a handler does ours stand in front of theirs.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from types import FrameType, TracebackType
from typing import Any, Self

from virtualloop._loop.signals import Signals

__all__ = ["Alarm", "alarm_for", "heard"]

_ALARM = getattr(signal, "SIGALRM", None)  # Windows has none
_NOBODY = nullcontext(None)
#: In C: what `signal` has around it makes enums of numbers, which takes half as long as to make a loop.
_handler_of: Callable[[int], Any] = import_module("_signal").getsignal


def heard(stop: Callable[[], object], *, waits: bool = False) -> AbstractContextManager[Alarm | None]:
    """Return a context manager in which an alarm that raises calls `stop()`, and which raises the same at its end.

    With `waits` it interrupts nothing until that is switched off.
    """
    return alarm_for(stop, waits=waits) or _NOBODY


def alarm_for(stop: Callable[[], object], *, waits: bool) -> Alarm | None:
    """Return that context manager; None where there is no handler that could raise."""
    handler = None if _ALARM is None else _handler_of(_ALARM)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        return None
    if isinstance(getattr(handler, "__self__", None), Signals):  # a loop's own, which raises nothing
        return None
    return Alarm(handler, stop, waits=waits)


class Alarm:
    """What stands in front of somebody's handler, and knows whether that has raised."""

    def __init__(
        self, handler: Callable[[int, FrameType | None], Any], stop: Callable[[], object], *, waits: bool
    ) -> None:
        #: Whether what the handler raises waits for the end, and interrupts nothing.
        self.waits = waits
        self._handler = handler
        self._stop = stop
        self._raised: BaseException | None = None

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        try:
            return self._handler(number, frame)
        except BaseException as exc:
            self._raised = exc
            self._stop()
            if self.waits:
                return None
            # Now: it may be __enter__ or __exit__ that is interrupted.
            self._stand_aside()
            raise

    def check(self) -> None:
        """Raise what the handler has raised, if that came to nothing: in the thread where handlers run."""
        if self._raised is not None and threading.current_thread() is threading.main_thread():
            raise self._raised

    def __enter__(self) -> Self:
        assert _ALARM is not None
        signal.signal(_ALARM, self)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stand_aside()
        raised, self._raised = self._raised, None
        if raised is not None and exc is not raised:
            raise raised

    def _stand_aside(self) -> None:
        assert _ALARM is not None
        if signal.getsignal(_ALARM) is self:
            signal.signal(_ALARM, self._handler)
