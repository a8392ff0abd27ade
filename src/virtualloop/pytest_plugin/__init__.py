"""The pytest plugin: what a run of an explored test changes is made anew for that run.

Owns the hooks. pytest loads this module by an entry point in every session, so all else, the loop included, is imported
only when a test is explored, and what is here is small. What is used of pytest's insides is in `_internals`, all of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import Any, NoReturn

import pytest

__all__: list[str] = []

#: How many workers of xdist have crashed.
CRASHES = pytest.StashKey[int]()
#: Whether a run was asked for that no test has made.
NOT_MADE = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --explore and --explore-replay, each with its ini twin."""
    group = parser.getgroup("virtualloop", "explore async tests under many timings")
    group.addoption(
        "--explore",
        type=_runs,
        metavar="RUNS",
        help="explore each async test (of pytest-asyncio, anyio, unittest) with so many runs, as if it were @explored",
    )
    group.addoption("--explore-replay", metavar="TOKEN", help="make the one run that a failure's token holds")
    parser.addini("explore", "runs to explore each async test with, as --explore", default="")
    parser.addini("explore_replay", "a failure's token, as --explore-replay", default="")
    parser.addini(
        "explore_outside",
        "addresses that are real to explored tests, one a line, as Network(outside=[...]) has them",
        type="linelist",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and check what was set."""
    config.addinivalue_line(
        "markers",
        "explored(**options): run this async test under many timings; the options are those of virtualloop.explored().",
    )
    if config.getoption("explore") is None and (text := config.getini("explore")):
        try:
            config.option.explore = _runs(text)
        except ValueError as exc:
            raise pytest.UsageError(f"explore in {config.inipath}: {exc}") from None
    if os.environ.get("VIRTUALLOOP"):
        from virtualloop._exploration.budget import Budget, overridden

        try:
            overridden(Budget(1, 0, None))
        except ValueError as exc:
            raise pytest.UsageError(str(exc)) from None
    token = config.getoption("explore_replay") or config.getini("explore_replay")
    if token:
        from virtualloop.schedules import Replay

        try:
            Replay(token)
        except ValueError as exc:
            raise pytest.UsageError(f"--explore-replay: {exc}") from None
        config.option.explore_replay = token


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what all explorations of the session have in common, if anything was set."""
    runs = config.getoption("explore")
    said = [] if runs is None else [f"--explore={runs}"]
    token = config.getoption("explore_replay")
    said += [f"--explore-replay={token}"] if token else []
    said += [f"{name}={os.environ[name]!r}" for name in ("VIRTUALLOOP", "VIRTUALLOOP_REPLAY") if os.environ.get(name)]
    return [f"virtualloop: {', '.join(said)}"] if said else []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take over the tests that are to be explored."""
    runs, token = config.getoption("explore"), config.getoption("explore_replay")
    mark = sys.modules.get("virtualloop._exploration.mark")  # where a test was marked
    if runs is None and mark is None and not token and not os.environ.get("VIRTUALLOOP_REPLAY"):
        items = [item for item in items if item.get_closest_marker("explored")]
    if items:
        from virtualloop.pytest_plugin._choice import take_over

        take_over(config, items, runs, token)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """Raise what a strict loop raises that is closed here, also where a plugin has made a warning of it."""
    __tracebackhide__ = True
    leaks = sys.modules.get("virtualloop._report.leaks")  # where a strict loop was made
    if leaks is None:
        return (yield)
    result = None
    with leaks.heard() as errors:
        try:
            result = yield
        except Exception as exc:
            if not errors or exc in errors or not isinstance(exc, Warning):
                raise
    if errors:
        _fail(str(errors[0]))
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Have each report carry what it has to tell: it is all that is left of a worker of xdist that crashes later."""
    patience = sys.modules.get("virtualloop._world.patience")
    # Where anything is explored, or a thread was waited for in vain.
    if "virtualloop._exploration" in sys.modules or (patience is not None and patience.is_used_up()):
        from virtualloop.pytest_plugin._summary import carry_news

        carry_news(report)


@pytest.hookimpl(optionalhook=True)  # xdist's
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take note that a worker of xdist has crashed."""
    if error:
        node.config.stash[CRASHES] = node.config.stash.get(CRASHES, 0) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Have a session fail in which no test has made the run that was asked for: it has not passed either."""
    config = session.config
    asked = config.getoption("explore_replay") or os.environ.get("VIRTUALLOOP_REPLAY", "").strip()
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not asked or reporter is None or config.option.collectonly or session.exitstatus != pytest.ExitCode.OK:
        return
    if "PYTEST_XDIST_WORKER" not in os.environ:
        from virtualloop.pytest_plugin._summary import is_replayed

        if not is_replayed(_reports(reporter)):
            config.stash[NOT_MADE] = True
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how much was explored, and what fails on a ladder of loops."""
    stash = terminalreporter.config.stash
    reports = _reports(terminalreporter)
    not_made = stash.get(NOT_MADE, False)
    if reports or not_made or "virtualloop._exploration.ladder" in sys.modules:
        from virtualloop.pytest_plugin._summary import write_summary

        write_summary(terminalreporter, reports, crashes=stash.get(CRASHES, 0), not_made=not_made)


def _reports(terminalreporter: Any) -> list[Any]:
    """Return the reports that have something to tell."""
    return [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if any(name.startswith("virtualloop") for name, _ in getattr(report, "user_properties", ()))
    ]


def _fail(text: str) -> NoReturn:
    # With its frame to be seen, or pytest would say that all are hidden.
    pytest.fail(text, pytrace=False)


def _runs(text: str) -> int:
    """Return a number of runs. Raises ValueError that says what it should be."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"a number of runs is an integer from 1 up, not {text!r}")
    return int(text)
