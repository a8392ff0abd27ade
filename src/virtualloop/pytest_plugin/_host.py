"""The one task in which anyio's plugin runs the async fixtures of a test, and the test itself.

Owns that task, for one run: what a fixture enters, a task group or a cancel scope, is left in the task that entered it,
and cancels what is run there meanwhile. Knows nothing of fixtures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from virtualloop._exploration.run import RunLoop

__all__ = ["Host"]

#: What the task is called before it runs the test.
NAME = "fixtures"


class Host:
    """A task that runs what it is given, one after the other; `loop.host` is that task."""

    def __init__(self, loop: RunLoop) -> None:
        self._loop = loop
        self._next: asyncio.Future[Any] = loop.create_future()
        self._result: asyncio.Future[Any] | None = None
        self._is_main = self._is_over = False
        self._task = loop.host = loop.create_task(self._fixtures_and_test(), name=NAME)

    def give(self, coro: Coroutine[Any, Any, Any], *, test: str | None = None) -> asyncio.Future[Any]:
        """Have the task run a fixture's coroutine, or that of this test; return what becomes of it."""
        self._result = self._loop.create_future()
        self._is_main = test is not None
        if test is not None:
            # Not before: it is also by its name that a task is one to be cancelled.
            self._task.set_name(test)
        self._next.set_result(coro)
        return self._result

    @property
    def is_free(self) -> bool:
        """Whether the task has come to the end of what it was given."""
        return self._result is None or self._result.done()

    async def _fixtures_and_test(self) -> None:
        while True:
            cancelled = None
            try:
                await asyncio.shield(self._next)
            except asyncio.CancelledError as exc:
                if self._is_over:
                    raise
                cancelled = exc
            if self._next.done() and self._result is not None:
                coro, self._next = self._next.result(), self._loop.create_future()
                await self._run(coro, self._result, cancelled)

    async def _run(
        self, coro: Coroutine[Any, Any, Any], result: asyncio.Future[Any], cancelled: asyncio.CancelledError | None
    ) -> None:
        try:
            if cancelled is not None and self._is_main:
                coro.close()  # as a task that is cancelled before it begins
                raise cancelled
            value = await coro
        except BaseException as exc:
            if self._is_main:
                self._loop.has_raised(exc)
            # A cancellation as well, with what it was raised out of.
            result.set_exception(exc)
        else:
            result.set_result(value)

    def free(self) -> None:
        """Cancel what the task still runs, where a run that has failed has not seen the end of it."""
        if not self.is_free and self._result is not None:
            self._task.cancel()
            self._loop.run_until_complete(_over(self._result))

    def end(self) -> None:
        """End the task."""
        self._is_over = True
        self._task.cancel()
        self._loop.run_until_complete(_over(self._task))


async def _over(future: asyncio.Future[Any]) -> None:
    """Wait until a future is done, whatever comes of it."""
    await asyncio.wait([future])
    if not future.cancelled():
        future.exception()  # it is known
