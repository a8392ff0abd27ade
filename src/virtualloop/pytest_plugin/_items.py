"""One explored test, as pytest runs it: wide fixtures once, all others for each run.

Owns what stands in the place of a test's set-up and of its call, and the stage of a run: its fixtures. An async fixture
is awaited on the loop of the run, before main begins and after it has ended, so that a server, a client or a pool that
it makes is part of what is explored.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import pickle
import re
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from virtualloop._errors import VirtualLoopError
from virtualloop._exploration.api import TestCall, check_options, explore_test
from virtualloop._exploration.jobs import Node, node_of
from virtualloop._exploration.mark import EXPLORED
from virtualloop._exploration.mistakes import defined_at
from virtualloop._exploration.run import RunLoop
from virtualloop._loop.current import plain
from virtualloop._report.frames import is_readers
from virtualloop.pytest_plugin import _internals
from virtualloop.pytest_plugin._host import Host
from virtualloop.pytest_plugin._summary import REMARK

__all__ = ["ExploredItem", "FixtureCall", "FixtureHooks"]

#: Fixtures by which other plugins make an event loop for a test: a run has one of its own.
LOOP_FIXTURES = re.compile(r"event_loop|_(function|class|module|package|session)_scoped_runner")

#: What is said of an error by which a fixture fails.
FAILED_SET_UP = "That was in the set-up of fixture"
FAILED_TEAR_DOWN = "That was in the tear-down of the test's fixtures."


def is_of_another_loop(name: str) -> bool:
    """Return whether a fixture makes an event loop that an explored test has no use for."""
    return LOOP_FIXTURES.fullmatch(name) is not None


class ExploredItem:
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
        self.item = item
        self.stage: Stage | None = None
        self._options = options
        self._token = token
        self._defaults = defaults
        self._as_it_stands = as_it_stands
        check_options(options)
        item.setup = self._set_up  # type: ignore[method-assign]  # for this one test
        item.runtest = self._run  # type: ignore[method-assign]  # as above

    def _set_up(self) -> None:
        _internals.set_up_wide(self.item, is_of_another_loop)

    def _run(self) -> None:
        __tracebackhide__ = True
        item = self.item
        test = getattr(item.function, EXPLORED, None)
        function = item.function if test is None else test.function
        options = {**self._defaults, **({} if test is None else test.options), **self._options}
        call = FixtureCall(function)
        call.explored = self
        call.parameters = _internals.parameters_of(item)
        if self._as_it_stands:
            call.remarks = []
        try:
            exploration = explore_test(call, options, token=self._token)
        finally:
            _internals.renew(item)
        if exploration is None:
            return
        item.user_properties += [(REMARK, (item.name, remark)) for remark in call.remarks or ()]
        if exploration.failure is not None:
            _internals.captured(item)  # What other runs have printed is not shown.
            _internals.show_captured(item, call.output)
            raise exploration.exception()

    @contextmanager
    def setting_up(self, fixturedef: Any, request: Any) -> Iterator[None]:
        """Have a run await a fixture that is async, by a function in its place that is not; name one that fails."""
        __tracebackhide__ = True
        function = fixturedef.func
        stage = self.stage
        is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if is_async and fixturedef.scope != "function":
            pytest.fail(
                f"fixture {fixturedef.argname!r}{defined_at(function)} is async and of scope {fixturedef.scope!r}: it "
                "would live on another loop than the runs of an explored test. Give it scope 'function', or make what "
                "it makes in the test.",
                pytrace=False,
            )
        if is_async and stage is not None:
            fixturedef.func = functools.partial(stage.set_up, function, request)
        try:
            yield
        except Exception as exc:
            if not any(FAILED_SET_UP in note for note in getattr(exc, "__notes__", ())):
                exc.add_note(f"{FAILED_SET_UP} {fixturedef.argname!r}.")
            raise
        finally:
            fixturedef.func = function


class FixtureHooks:
    """A plugin of its own, which is there where a test is explored: what it costs is paid for each fixture."""

    def __init__(self, explored: Mapping[str, ExploredItem]) -> None:
        self._explored = explored

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Have a run of an explored test await its async fixtures, on its loop; who else would sees none that is async.

        Outermost, so that what other plugins find is what is put in place here.
        """
        __tracebackhide__ = True
        explored = self._explored.get(_internals.test_of(request).nodeid)
        if explored is None:
            return (yield)
        with explored.setting_up(fixturedef, request):
            return (yield)


class FixtureCall(TestCall):
    """The program of a test: each run of it has fixtures of its own."""

    explored: ExploredItem
    #: What the last run that failed has printed.
    output: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        item = self.explored.item
        if not _internals.takes_parameters_only(item, is_readers):
            raise pickle.PicklingError(f"{item.nodeid} takes fixtures, or is a method: neither is sent")
        return Node.resolve, (node_of(self.func, (), self.parameters),)

    def on(self, loop: RunLoop) -> Stage:
        """Return what a run on `loop` consists of."""
        return Stage(self, loop)


class Stage:
    """The fixtures of one run, and its main coroutine."""

    def __init__(self, call: FixtureCall, loop: RunLoop) -> None:
        self._call = call
        self._loop = loop
        self._item = call.explored.item
        self._finalizers = _internals.finalizers_of(self._item)
        self._kept = len(self._finalizers)
        self._host: Host | None = None
        loop.logs_errors = True  # as `caplog` sees them

    def __call__(self) -> Coroutine[Any, Any, Any] | asyncio.Future[Any]:
        """Set up the fixtures; return the main coroutine, or what becomes of it."""
        item = self._item
        _internals.captured(item)  # as in ExploredItem
        _internals.renew(item)
        self._call.explored.stage = self
        arguments = _internals.fill_fixtures(item, is_of_another_loop)
        test = getattr(item.obj, EXPLORED, None)
        function = item.obj if test is None else functools.partial(test.function, *_bound(item.obj))
        coro: Coroutine[Any, Any, Any] = function(**arguments)
        if not self._is_anyios or not asyncio.iscoroutine(coro):
            return coro
        return self._hosting().give(coro, test=item.obj.__name__)

    def close(self, *, failed: bool) -> None:
        """Finalise the fixtures; raise what that raises."""
        item = self._item
        folder = item.funcargs.get("tmp_path")
        _internals.say_how_it_went(item, passed=not failed)
        if self._host is not None:
            self._finalizers.insert(self._kept, self._host.end)
            self._finalizers.append(self._host.free)
        errors = _internals.undo(self._finalizers, self._kept)
        for error in errors:
            error.add_note(FAILED_TEAR_DOWN)
        self._call.explored.stage = None
        if failed or errors:
            self._call.output = _internals.captured(item)
        elif isinstance(folder, Path):
            shutil.rmtree(folder, ignore_errors=True)  # Hundreds of them are of no use.
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"errors while tearing down {item!r}", errors[::-1])

    def set_up(self, function: Callable[..., Any], request: Any, /, **arguments: Any) -> Any:
        """Await an async fixture; return its value."""
        name = request.fixturename
        if self._loop.is_running():
            pytest.fail(
                f"fixture {name!r} is async, and is asked for while the loop runs: let the test take it as argument.",
                pytrace=False,
            )
        bound = _bound_to(request.instance, function)
        if not inspect.isasyncgenfunction(bound):
            return self._await(bound(**arguments), name)
        generator = bound(**arguments)
        value = self._await(anext(generator), name)
        request.addfinalizer(functools.partial(self._finish, generator, name))
        return value

    def _finish(self, generator: AsyncGenerator[Any, Any], name: str) -> None:
        end = object()
        if self._await(anext(generator, end), name) is not end:
            raise VirtualLoopError(f"fixture {name!r} yields more than once")

    @property
    def _is_anyios(self) -> bool:
        return "anyio_backend" in self._item.fixturenames

    def _hosting(self) -> Host:
        if self._host is None:
            self._host = Host(self._loop)
        return self._host

    def _await(self, awaitable: Awaitable[Any], fixture: str) -> Any:
        """Run the loop until something is there, at asyncio's own order."""

        async def plainly() -> Any:
            with plain():
                return await awaitable

        if self._is_anyios and self._hosting().is_free:
            return self._loop.run_until_complete(self._hosting().give(plainly()))
        # What it sets stays, as what a fixture sets that is not async.
        context = contextvars.copy_context()
        try:
            return self._loop.run_until_complete(
                self._loop.create_task(plainly(), context=context, name=f"fixture {fixture}")
            )
        finally:
            for variable, value in context.items():
                if variable.get(end := object()) is not value and variable.get(end) != value:
                    variable.set(value)


def _bound(method: Any) -> tuple[Any, ...]:
    """Return the instance that a test's function is bound to, if it is a method."""
    instance = getattr(method, "__self__", None)
    return () if instance is None else (instance,)


def _bound_to(instance: Any, function: Any) -> Any:
    """Return a fixture's function, bound to the test's own instance where it is a method, as pytest binds it."""
    if instance is None or not inspect.ismethod(function) or not isinstance(instance, type(function.__self__)):
        return function
    return function.__func__.__get__(instance)
