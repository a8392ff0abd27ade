"""One explored method of a test case of unittest's, as pytest runs it: set up for each run, and not around all of them.

Owns what stands in the place of the method when unittest runs it, so that skips, expected failures and whatever else
surrounds a test there are as ever. How a run is set up and torn down is owned by the explorations.
"""

from __future__ import annotations

import asyncio
import copy
import functools
from typing import TYPE_CHECKING, Any

from virtualloop._exploration.api import CaseCall, check_options, explore_test
from virtualloop._exploration.cases import CaseStage
from virtualloop._exploration.mark import EXPLORED
from virtualloop._exploration.run import RunLoop
from virtualloop.pytest_plugin import _internals
from virtualloop.pytest_plugin._summary import REMARK

if TYPE_CHECKING:
    import pytest

__all__ = ["ExploredMethod"]


class ExploredMethod:
    """A test that is explored; made for each such test when all are collected."""

    def __init__(
        self,
        item: pytest.Function,
        options: dict[str, Any],
        token: str | None,
        defaults: dict[str, Any],
        *,
        as_it_stands: bool,
    ) -> None:
        self._item = item
        self._options = options
        self._token = token
        self._defaults = defaults
        self._as_it_stands = as_it_stands
        self._run_method = item.runtest
        check_options(options)
        item.runtest = self._run  # type: ignore[method-assign]  # for this one test

    def _run(self) -> None:
        __tracebackhide__ = True
        item = self._item
        case: Any = item.instance
        of_a_run = copy.copy(case)
        test = getattr(item.function, EXPLORED, None)
        function = item.function if test is None else test.function
        options = {**self._defaults, **({} if test is None else test.options), **self._options}

        @functools.wraps(function)
        def method() -> None:
            __tracebackhide__ = True
            call = MethodCall(function, of_a_run)
            call.item = item
            if self._as_it_stands:
                call.remarks = []
            exploration = explore_test(call, options, token=self._token)
            if exploration is None:
                return
            item.user_properties.extend((REMARK, (item.name, remark)) for remark in call.remarks or ())
            if exploration.failure is not None:
                _internals.captured(item)  # What other runs have printed is not shown.
                _internals.show_captured(item, call.output)
                raise exploration.exception()

        case.setUp = case.tearDown = _do_nothing
        case.asyncSetUp = case.asyncTearDown = _do_nothing_later
        item.obj = method
        self._run_method()


class MethodCall(CaseCall):
    """The program of such a test."""

    item: pytest.Function
    #: What the last run that failed has printed.
    output: tuple[str, ...] = ()

    def on(self, loop: RunLoop) -> MethodStage:
        """Return what a run on `loop` consists of."""
        loop.logs_errors = True  # as `caplog` sees them
        return MethodStage(self, loop)


class MethodStage(CaseStage):
    """What surrounds the method in one run, and what the run prints."""

    def __init__(self, call: MethodCall, loop: RunLoop) -> None:
        super().__init__(call, loop)
        self._program = call

    def __call__(self) -> asyncio.Future[Any]:
        """Set up; return the task of the test method."""
        _internals.captured(self._program.item)  # as in ExploredMethod
        return super().__call__()

    def close(self, *, failed: bool) -> None:
        """Tear down, and clean up; raise what that raises."""
        is_fine = False
        try:
            super().close(failed=failed)
            is_fine = not failed
        finally:
            if not is_fine:
                self._program.output = _internals.captured(self._program.item)


def _do_nothing() -> None:
    """As a set-up that each run does for itself."""


async def _do_nothing_later() -> None:
    """The same, awaited."""
