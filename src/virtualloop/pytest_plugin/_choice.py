"""Which tests of a session are explored, and with which options.

Owns that choice: what says so itself, by decorator or by marker, and what is explored as it stands, because an option
or a token asks for it. Knows nothing of how a test is explored.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from virtualloop._exploration.api import TestCall
from virtualloop._exploration.mark import EXPLORED
from virtualloop._exploration.requested import REPLAY_VARIABLE, asks_for
from virtualloop.pytest_plugin._cases import ExploredMethod
from virtualloop.pytest_plugin._internals import has_fixtures_of_its_own, parameters_of
from virtualloop.pytest_plugin._items import ExploredItem, FixtureHooks
from virtualloop.pytest_plugin._summary import REMARK

__all__ = ["take_over"]

#: What asyncio plugins mark the tests with that are theirs.
ASYNC_MARKS = ("asyncio", "anyio")

#: What is said of a test that is not explored as it stands: it is set up once for all its examples.
BY_HYPOTHESIS = "is run by hypothesis, not explored (put @explored below @given)"


def take_over(config: pytest.Config, items: Iterable[pytest.Item], runs: int | None, token: str | None) -> None:
    """Have those of these tests explored that are to be, and their fixtures set up for each run."""
    explored = {}
    defaults = _defaults(config)
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        options = _options_of(item, runs)
        as_it_stands = options is None and _may_be_explored_as_it_stands(item)
        if as_it_stands and (runs is not None or _is_to_be_replayed(item, token)):
            options = {} if runs is None else {"runs": runs}
        if _is_wrapped(item.function):
            continue  # the decorator calls the explored test, once around all runs
        if options is not None:
            if has_fixtures_of_its_own(item):
                explored[item.nodeid] = ExploredItem(item, options, token, defaults, as_it_stands=as_it_stands)
            else:
                ExploredMethod(item, options, token, defaults, as_it_stands=as_it_stands)
        elif runs is not None and _is_of_hypothesis(item):
            item.user_properties.append((REMARK, (item.name, BY_HYPOTHESIS)))
    if explored:
        config.pluginmanager.register(FixtureHooks(explored))


def _defaults(config: pytest.Config) -> dict[str, Any]:
    """Return the options of each explored test that does not give them itself."""
    outside = config.getini("explore_outside")
    if not outside:
        return {}
    from virtualloop.network import Network  # noqa: PLC0415  # few sessions name what is outside

    try:
        return {"network": Network(outside=outside)}
    except ValueError as exc:
        raise pytest.UsageError(f"explore_outside: {exc}") from None


def _options_of(item: pytest.Function, runs: int | None) -> dict[str, Any] | None:
    """Return the options that a test is explored with which says so itself; None if it does not."""
    if getattr(item.function, EXPLORED, None) is not None:
        return {}
    marker = item.get_closest_marker("explored")
    if marker is None:
        return None
    if marker.args:
        raise pytest.UsageError(f"{item.nodeid}: pytest.mark.explored takes keywords, as in explored(runs=200)")
    if not inspect.iscoroutinefunction(item.function):
        raise pytest.UsageError(f"{item.nodeid}: pytest.mark.explored is for async tests, and this one is none")
    return {**({} if runs is None else {"runs": runs}), **marker.kwargs}


def _may_be_explored_as_it_stands(item: pytest.Function) -> bool:
    """Return whether a test is an async one, of asyncio, that some plugin runs, or unittest."""
    if not inspect.iscoroutinefunction(item.function):
        return False
    if not has_fixtures_of_its_own(item):
        # There is one only where somebody has imported it.
        of_unittest = getattr(sys.modules.get("unittest.async_case"), "IsolatedAsyncioTestCase", None)
        return of_unittest is not None and item.cls is not None and issubclass(item.cls, of_unittest)
    if not any(item.get_closest_marker(mark) for mark in ASYNC_MARKS):
        return False
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    backend = parameters.get("anyio_backend", "asyncio")  # a name, or a name and options
    return bool((backend if isinstance(backend, str) else backend[0]) == "asyncio")


def _is_wrapped(function: Any) -> bool:
    """Return whether a decorator stands above @explored that has made a function of its own."""
    test = getattr(function, EXPLORED, None)
    return test is not None and getattr(function, "__wrapped__", None) is not test.function


def _is_of_hypothesis(item: pytest.Function) -> bool:
    """Return whether a test is an async one that some plugin has hypothesis run."""
    inner = getattr(getattr(item.function, "hypothesis", None), "inner_test", None)
    return inspect.iscoroutinefunction(inner) and any(item.get_closest_marker(mark) for mark in ASYNC_MARKS)


def _is_to_be_replayed(item: pytest.Function, token: str | None) -> bool:
    """Return whether a token asks for a run of a test, which may have been explored as it stands."""
    token = token or os.environ.get(REPLAY_VARIABLE, "")
    return bool(token) and asks_for(token, TestCall(item.function, **parameters_of(item)))
