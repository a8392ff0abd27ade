"""What is used of pytest's insides, all of it, each with its reason.

Owns that knowledge; tested against the oldest and the newest pytest that are supported. pytest sets up a test's
fixtures once, and has no public way to do it again: that is what these are for.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from _pytest.logging import caplog_handler_key
from _pytest.tmpdir import tmppath_result_key
from _pytest.unittest import TestCaseFunction

__all__ = [
    "captured",
    "fill_fixtures",
    "finalizers_of",
    "has_fixtures_of_its_own",
    "parameters_of",
    "renew",
    "say_how_it_went",
    "scope_of",
    "set_up_wide",
    "show_captured",
    "takes_parameters_only",
    "test_of",
    "undo",
]

#: What a test's outcome may be raised as: `pytest.skip` and its like derive from BaseException.
OUTCOMES: tuple[type[BaseException], ...] = (pytest.skip.Exception, pytest.fail.Exception, Exception)
#: And an async fixture may be cancelled by what it has entered itself.
TEAR_DOWN_OUTCOMES: tuple[type[BaseException], ...] = (*OUTCOMES, asyncio.CancelledError)


def parameters_of(item: pytest.Function) -> dict[str, Any]:
    """Return what a test is parametrized with, by name; not what its fixtures are."""
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    own = set(item._fixtureinfo.argnames)
    return {name: value for name, value in parameters.items() if name in own}


def takes_parameters_only(item: pytest.Function, is_readers: Callable[[str], bool]) -> bool:
    """Return whether a test is a function that is called with its parameters, and only plugins set anything up for it.

    `is_readers` says of a file whether it is the reader's own.
    """
    if item.cls is not None:
        return False
    for name in item.fixturenames:
        definitions = item._fixtureinfo.name2fixturedefs.get(name, ())
        # get_direct_param_fixture_func: what pytest takes the value of a parameter for, unless it goes to a fixture.
        is_parameter = any("direct_param" in each.func.__name__ for each in definitions)
        is_plugins = definitions and not any(is_readers(each.func.__code__.co_filename) for each in definitions)
        if not is_parameter and (not is_plugins or name in item._fixtureinfo.argnames):
            return False
    return True


def test_of(request: pytest.FixtureRequest) -> pytest.Item:
    """Return the test that a fixture is set up for, of whatever scope it is."""
    # _pyfuncitem: request.node is the test only for fixtures of the scope "function".
    item: pytest.Item = request._pyfuncitem
    return item


def has_fixtures_of_its_own(item: pytest.Item) -> bool:
    """Return whether a test gets its fixtures from pytest, and can have them anew; unittest's cannot."""
    # TestCaseFunction: a Function as well, but unittest sets it up, runs it and tears it down.
    return isinstance(item, pytest.Function) and not isinstance(item, TestCaseFunction)


def scope_of(item: Any, name: str) -> str | None:
    """Return the scope of a fixture that a test uses; None for what is no fixture: `request`."""
    # _fixtureinfo.name2fixturedefs: which definition of a fixture a test uses is only there.
    definitions = item._fixtureinfo.name2fixturedefs.get(name)
    return definitions[-1].scope if definitions else None


def set_up_wide(item: Any, skipped: Callable[[str], bool]) -> None:
    """Set up the fixtures of a test that live longer than it, as Function.setup() does with all of them."""
    for name in item.fixturenames:
        scope = scope_of(item, name)
        if scope is not None and scope != "function" and name not in item.funcargs and not skipped(name):
            # _request: what Function.setup() fills fixtures through.
            item.funcargs[name] = item._request.getfixturevalue(name)


def renew(item: Any) -> None:
    """Make a test as it was before its fixtures were set up, with a new instance of its class."""
    # _obj, _instance: caches of the function and of the instance that it is bound to.
    with suppress(AttributeError):
        del item._instance
    item._obj = None
    marks = list(item.own_markers)
    item.obj  # noqa: B018  # looked up anew; old versions of pytest collect the marks once more
    item.own_markers[:] = marks
    # _initrequest(): forgets the values of fixtures; it is what Function.__init__ ends with.
    item._initrequest()


def fill_fixtures(item: Any, skipped: Callable[[str], bool]) -> dict[str, Any]:
    """Set up all fixtures of a test, in pytest's order; return its arguments."""
    for name in item.fixturenames:
        if name not in item.funcargs and not skipped(name):
            item.funcargs[name] = item._request.getfixturevalue(name)
    # _fixtureinfo.argnames: which of them the function takes.
    return {name: item.funcargs[name] for name in item._fixtureinfo.argnames}


def say_how_it_went(item: pytest.Item, *, passed: bool) -> None:
    """Tell `tmp_path`, which is about to be finalised, whether its test passed."""
    # tmppath_result_key: where pytest notes it once a test, and where tmp_path deletes it again.
    item.stash[tmppath_result_key] = {"setup": True, "call": passed}


def finalizers_of(item: pytest.Item) -> list[Callable[[], object]]:
    """Return the finalizers that are to run when a test is torn down, the last one first."""
    # _setupstate: the stack of what is set up, with the finalizers of each.
    finalizers: list[Callable[[], object]] = item.session._setupstate.stack[item][0]
    return finalizers


def undo(finalizers: list[Callable[[], object]], kept: int) -> list[BaseException]:
    """Run the finalizers that came after the first so many, as pytest does; return what they raised."""
    errors: list[BaseException] = []
    while len(finalizers) > kept:
        try:
            finalizers.pop()()
        except TEAR_DOWN_OUTCOMES as exc:
            errors.append(exc)
    return errors


def _capture(config: pytest.Config) -> Any:
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    return manager if manager is not None and manager.is_globally_capturing() else None


def _report_log(config: pytest.Config) -> Any:
    # report_handler: keeps what a test logs for its report.
    return getattr(config.pluginmanager.getplugin("logging-plugin"), "report_handler", None)


def captured(item: pytest.Item) -> tuple[str, ...]:
    """Take out what was printed and logged since the last call, also for `caplog`."""
    manager, log = _capture(item.config), _report_log(item.config)
    printed = ("", "") if manager is None else tuple(manager.read_global_capture())
    if log is None:
        return printed
    logged = log.stream.getvalue()
    log.reset()
    # caplog_handler_key: `caplog` reads what a test has logged from there.
    item.stash[caplog_handler_key].clear()
    return (*printed, logged)


def show_captured(item: pytest.Item, text: tuple[str, ...]) -> None:
    """Print and log what was taken out, so that it is captured again."""
    log = _report_log(item.config)
    streams = [sys.stdout, sys.stderr] if log is None else [sys.stdout, sys.stderr, log.stream]
    for stream, part in zip(streams, text, strict=False):
        stream.write(part)
