"""Signals, without a selector to wake.

Owns the handlers of one loop. Python runs a signal's handler in the main thread between two instructions, also while
that thread waits for a lock: the handler queues the callback itself.

Somebody may replace that handler by `signal.signal()`, as servers do, and a stock loop still hears of the signal, since
it goes by the bytes that the system's handler writes into a pair of sockets. Here is such a pair as well. It is
looked at in each turn, for signals whose handler is not ours any more.

An alarm (`signal.setitimer`) that is set for a handler of the loop is real. Where the next timer would be later, the
alarm is awaited, and the clock stands meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from virtualloop._core.clock import TICKS_PER_SECOND
from virtualloop._world.originals import real_time

__all__ = ["Signals"]

#: How far ahead an alarm may be, in real seconds, that the clock waits for.
FARTHEST_ALARM = 20.0
#: By how many seconds two looks at one alarm may differ.
BETWEEN_LOOKS = 0.01


class Signals:
    """`queue(callback, *args)` puts a callback into the loop's queue; `run(handle)` does so with a handle.

    `attach(self)` has the loop call poll() in each turn, and `detach(self)` ends that.
    """

    def __init__(
        self,
        queue: Callable[..., Any],
        run: Callable[[asyncio.Handle], None],
        *,
        attach: Callable[[Signals], None],
        detach: Callable[[Signals], None],
    ) -> None:
        self._queue = queue
        self._run = run
        self._attach, self._detach = attach, detach
        self._handles: dict[int, asyncio.Handle] = {}
        # Where the system's handler writes, and where that is read; and who was written to before.
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self._before = -1
        # When the alarm rings that was looked at last, in real time and in the loop's; and when one was due that rang.
        self._rings = 0.0
        self._due = self._rang = 0

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
        if self._pair is None:
            self._listen()

    def remove(self, sig: int) -> bool:
        """Restore the default for `sig`; return whether there was a handler."""
        check_signal(sig)
        if self._handles.pop(sig, None) is None:
            return False
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        if not self._handles:
            self._stop_listening()
        return True

    def any(self) -> bool:
        """Return whether there is a handler."""
        return bool(self._handles)

    def alarm(self, tick: int) -> int | None:
        """Return the tick at which an alarm rings for a handler of the loop, or None; `tick` is the present one."""
        if _ALARM not in self._handles:
            return None
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        if not 0 < left <= FARTHEST_ALARM:
            return None
        rings = real_time.monotonic() + left
        if abs(rings - self._rings) > BETWEEN_LOOKS:
            # One that was set by the one before goes on from there, or nothing would ever come after the two.
            self._rings = rings
            self._due = max(self._rang, tick) + int(left * TICKS_PER_SECOND)
        return self._due

    def clear(self) -> None:
        """Remove all handlers."""
        for sig in list(self._handles):
            self.remove(sig)

    def poll(self) -> None:
        """Queue what has arrived although somebody has replaced our handler."""
        assert self._pair is not None
        try:
            arrived = self._pair[0].recv(4096)
        except BlockingIOError:
            return
        for sig in arrived:
            if sig in self._handles and signal.getsignal(sig) != self._arrived:
                self._queue(self._deliver, sig)

    def _listen(self) -> None:
        here, there = self._pair = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        self._before = signal.set_wakeup_fd(there.fileno())
        self._attach(self)

    def _stop_listening(self) -> None:
        if self._pair is None:
            return
        signal.set_wakeup_fd(self._before)
        for end in self._pair:
            end.close()
        self._pair = None
        self._detach(self)

    def _arrived(self, sig: int, frame: FrameType | None) -> None:
        if sig == _ALARM:
            self._rang = self._due
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


#: Not every system has it.
_ALARM: int | None = getattr(signal, "SIGALRM", None)


def check_signal(sig: int) -> None:
    """Raise TypeError or ValueError for what is no signal number."""
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")
