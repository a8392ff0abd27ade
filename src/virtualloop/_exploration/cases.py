"""A test of unittest's, which each run of an exploration sets up and tears down anew.

Owns what unittest does around a test method: setUp() and asyncSetUp() before it, asyncTearDown(), tearDown() and the
cleanups after it, in one context, on the loop of the run and on an object of the case that was made for the run. Knows
nothing of explorations, and of how unittest reports.

The object that unittest runs is another one: it is set up once, around all runs, and no run sees it.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import inspect
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from virtualloop._exploration.run import RunLoop

if TYPE_CHECKING:
    import functools

__all__ = ["CaseStage", "is_case"]

#: What is said of an error in one part of a test.
IN_PART = "That was in subTest"


def is_case(value: object) -> bool:
    """Return whether a value is a test case of unittest's. Where nobody has imported unittest, it is none."""
    kind: Any = getattr(sys.modules.get("unittest.case"), "TestCase", ())
    return isinstance(value, kind)


class CaseStage:
    """What surrounds a test method in one run."""

    def __init__(self, call: functools.partial[Any], loop: RunLoop) -> None:
        self._loop = loop
        self._call = call
        self._context = contextvars.copy_context()
        self._is_set_up = False
        # What fixtures of pytest's have given the object it keeps.
        case: Any = copy.copy(call.args[0])
        case._cleanups = []
        case._outcome = None  # so that what fails in a subTest() is raised, and the run has failed
        case.subTest = _sub_test
        case._asyncioRunner = None  # which an async test case closes when it is gone
        self._case: unittest.TestCase = case

    def __call__(self) -> asyncio.Future[Any]:
        """Set up; return the task of the test method."""
        case = self._case
        self._run(case.setUp)
        self._run_async("asyncSetUp")
        self._is_set_up = True
        coro = self._call.func(case, *self._call.args[1:], **self._call.keywords)
        return self._loop.create_task(coro, context=self._context)

    def close(self, *, failed: bool) -> None:  # unittest tears down in either case
        """Tear down, unless setting up has failed, and clean up; raise what that raises."""
        errors: list[Exception] = []
        if self._is_set_up:
            try:
                self._run_async("asyncTearDown")
                self._run(self._case.tearDown)
            except Exception as exc:
                errors.append(exc)
        case: Any = self._case
        while case._cleanups:
            function, args, kwargs = case._cleanups.pop()
            try:
                self._run(function, *args, **kwargs)
            except Exception as exc:
                errors.append(exc)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"errors while tearing down {case!r}", errors)

    def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        if inspect.iscoroutinefunction(function):
            task = self._loop.create_task(function(*args, **kwargs), context=self._context)
            self._loop.run_until_complete(task)
        else:
            self._context.run(function, *args, **kwargs)

    def _run_async(self, name: str) -> None:
        """Run an async method of the case, unless it is that of IsolatedAsyncioTestCase, which does nothing."""
        method = getattr(self._case, name, None)
        if method is not None and method.__func__.__module__ != "unittest.async_case":
            self._run(method)


@contextmanager
def _sub_test(msg: object = "", **parameters: object) -> Iterator[None]:
    """Stand in for subTest(): what fails in a part ends the run, and says which part; one that is skipped does not."""
    try:
        yield
    except unittest.SkipTest:
        return
    except Exception as exc:
        part = [f"[{msg}]"] if msg != "" else []
        part += [f"({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"] if parameters else []
        exc.add_note(f"{IN_PART} {' '.join(part) or '(<subtest>)'}")
        raise
