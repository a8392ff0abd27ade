"""Signals, without a selector to wake.

Owns the handlers of one loop. Python runs a signal's handler in the main thread between two instructions, also while
that thread waits for a lock, so no wake-up pipe is needed: the handler queues the callback itself.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Signals"]


class Signals:
    """`queue(callback, *args)` puts a callback into the loop's queue; `run(handle)` does so with a handle."""

    def __init__(self, queue: Callable[..., Any], run: Callable[[asyncio.Handle], None]) -> None:
        self._queue = queue
        self._run = run
        self._handles: dict[int, asyncio.Handle] = {}

    def add(self, sig: int, callback: Callable[..., object], handle: asyncio.Handle) -> None:
        """Run `handle` whenever `sig` arrives. Errors are those of asyncio's unix loop."""
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        check_signal(sig)
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("signals can only be handled by a loop in the main thread of the main interpreter")
        previous = self._handles.get(sig)
        self._handles[sig] = handle
        try:
            signal.signal(sig, self._arrived)
            signal.siginterrupt(sig, False)
        except (OSError, ValueError) as exc:
            if previous is None:
                del self._handles[sig]
            else:
                self._handles[sig] = previous
            if isinstance(exc, OSError) and exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from None
            raise

    def remove(self, sig: int) -> bool:
        """Restore the default for `sig`; return whether there was a handler."""
        check_signal(sig)
        if self._handles.pop(sig, None) is None:
            return False
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        return True

    def any(self) -> bool:
        """Return whether there is a handler."""
        return bool(self._handles)

    def clear(self) -> None:
        """Remove all handlers."""
        for sig in list(self._handles):
            self.remove(sig)

    def _arrived(self, sig: int, frame: FrameType | None) -> None:
        # Through the queue once more, because stock asyncio reads its wake-up pipe in a callback of its own.
        self._queue(self._deliver, sig)

    def _deliver(self, sig: int) -> None:
        handle = self._handles.get(sig)
        if handle is None:
            return
        if handle._cancelled:
            self.remove(sig)
        else:
            self._run(handle)


def check_signal(sig: int) -> None:
    """Raise TypeError or ValueError for what is no signal number."""
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")
