"""Who is called when a socket may be read or written.

Owns the callback that waits for one direction of one socket, and the event that says so. Knows nothing of sockets.

That a socket is ready is an event from outside, as from select(). It says no more than "look", so nothing that is late
or held can change the order of what there is to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virtualloop.network._driver import Driver, Watcher

__all__ = ["Readiness"]


class Readiness:
    """Waits until `is_ready()`, and then has its watcher run, in each turn for as long as that is so.

    There is one event at most on its way.
    """

    __slots__ = ("_driver", "_is_ready", "event", "is_posted", "post", "watcher")

    def __init__(self, driver: Driver, is_ready: Callable[[], bool]) -> None:
        self._driver = driver
        self._is_ready = is_ready
        #: What a wire does in line where bytes arrive: post the event that says so, if somebody waits and it is not
        #: on its way already.
        self.post = driver.post_now
        self.event: Any = driver.event(self._dispatch)
        self.is_posted = False
        self.watcher: Watcher | None = None

    def set(self, watcher: Watcher) -> None:
        """Have `watcher` run when ready, in place of the one before."""
        previous = self.watcher
        self.watcher = watcher
        if previous is not None:
            previous.cancel()
        elif not self.is_posted and self._is_ready():
            self.is_posted = True
            self.post(self.event)

    def unset(self) -> bool:
        """Have nothing run any more; return whether something would have."""
        watcher = self.watcher
        if watcher is None:
            return False
        self.watcher = None
        watcher.cancel()
        return True

    def notify(self) -> None:
        """It may be ready now."""
        if self.watcher is not None and not self.is_posted and self._is_ready():
            self.is_posted = True
            self.post(self.event)

    def close(self) -> None:
        """Never run anything again."""
        watcher = self.watcher
        if watcher is not None:
            self.watcher = None
            watcher.cancel()
        if self.is_posted:
            self.event.cancel()
        # Without it, this is no cycle.
        self.event = None

    def _dispatch(self) -> None:
        self.is_posted = False
        watcher = self.watcher
        if watcher is None or not self._is_ready():
            return
        try:
            if not self._driver.run(watcher):
                self.watcher = None  # It was cancelled.
        finally:
            # Also after an exception that ends the run: it may go on, and there is still something to read.
            if self.watcher is not None and not self.is_posted and self._is_ready():
                self.is_posted = True
                self.post(self.event)
