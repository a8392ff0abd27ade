"""Errors, debug mode and async generators, as in stock asyncio."""

import asyncio
import logging
import re
import sys
import threading
import time

import pytest

from helpers import opened, run


def test_the_exception_handler_is_told_in_the_context_of_the_callback(caplog):
    import contextvars

    variable = contextvars.ContextVar("variable")
    with opened() as loop:
        seen = []
        loop.set_exception_handler(lambda loop, context: seen.append((variable.get(), context["exception"])))
        context = contextvars.copy_context()
        context.run(variable.set, "inside")
        error = LookupError("no")

        def fail():
            raise error

        loop.call_soon(fail, context=context)
        loop.run_until_idle()

        assert seen == [("inside", error)]
        assert not caplog.records


def test_the_default_handler_logs(caplog):
    with opened() as loop:

        def fail():
            raise LookupError("no")

        loop.call_soon(fail)
        loop.run_until_idle()
        loop.call_exception_handler({"colour": "red"})

    first, second = caplog.records
    assert first.name == "asyncio"
    assert "Exception in callback test_the_default_handler_logs.<locals>.fail() at" in first.message
    assert "LookupError: no" in caplog.text
    assert second.message == "Unhandled exception in event loop\ncolour: 'red'"


def test_a_handler_that_fails_is_reported_by_the_default(caplog):
    with opened() as loop:

        def handler(loop, context):
            raise LookupError("from the handler")

        loop.set_exception_handler(handler)
        loop.call_exception_handler({"message": "what happened"})
        assert loop.get_exception_handler() is handler

    assert "Unhandled error in exception handler" in caplog.text
    assert "from the handler" in caplog.text


def test_a_default_handler_that_fails_is_logged(caplog):
    with opened() as loop:

        def broken(context):
            raise LookupError

        loop.default_exception_handler = broken
        loop.call_exception_handler({"message": "what happened"})
        loop.set_exception_handler(broken)
        loop.call_exception_handler({"message": "what happened"})

    assert "Exception in default exception handler" in caplog.records[0].message
    assert "while handling an unexpected error in custom exception handler" in caplog.records[1].message


@pytest.mark.parametrize("exit_", [SystemExit, KeyboardInterrupt])
def test_exits_pass_through_handlers(exit_):
    with opened() as loop:

        def leave(*args):
            raise exit_

        loop.set_exception_handler(leave)
        with pytest.raises(exit_):
            loop.call_exception_handler({})
        loop.default_exception_handler = leave
        loop.set_exception_handler(None)
        with pytest.raises(exit_):
            loop.call_exception_handler({})
        loop.set_exception_handler(lambda loop, context: 1 / 0)
        with pytest.raises(exit_):
            loop.call_exception_handler({})


def test_set_exception_handler_refuses_what_cannot_be_called():
    with opened() as loop:
        with pytest.raises(TypeError, match="A callable object or None is expected"):
            loop.set_exception_handler("log")

        assert loop.get_exception_handler() is None


# --- debug mode -------------------------------------------------------------------------------------------------------


@pytest.fixture
def debugged():
    with opened() as loop:
        loop.set_debug(True)
        yield loop


def test_debug_mode_checks_the_thread(debugged):
    errors = []

    def from_elsewhere():
        for method in (debugged.call_soon, lambda f: debugged.call_later(1, f), lambda f: debugged.call_at(1, f)):
            try:
                method(int)
            except RuntimeError as error:
                errors.append(str(error))

    async def main():
        thread = threading.Thread(target=from_elsewhere)
        thread.start()
        thread.join()

    debugged.run_until_complete(main())

    assert errors == ["Non-thread-safe operation invoked on an event loop other than the current one"] * 3


def test_debug_mode_checks_callbacks(debugged):
    async def coroutine():
        pass

    methods = [
        ("call_soon", debugged.call_soon),
        ("call_soon_threadsafe", debugged.call_soon_threadsafe),
        ("call_later", lambda f: debugged.call_later(1, f)),
        ("call_at", lambda f: debugged.call_at(1, f)),
        ("run_in_executor", lambda f: debugged.run_in_executor(None, f)),
    ]
    for name, method in methods:
        with pytest.raises(TypeError, match=rf"coroutines cannot be used with {name}\(\)"):
            method(coroutine)
        with pytest.raises(TypeError, match=rf"a callable object was expected by {name}\(\), got 7"):
            method(7)


def test_debug_mode_reports_slow_callbacks_by_real_time(debugged, caplog):
    debugged.slow_callback_duration = 0.02

    async def slow():
        await asyncio.sleep(3600)
        time.sleep(0.03)

    debugged.run_until_complete(slow())

    # On a busy machine other steps may take as long.
    records = [record for record in caplog.records if record.message.startswith("Executing <Task ")]
    assert records
    assert {record.levelno for record in records} == {logging.WARNING}
    # In seconds of the real clock, an hour of which has not passed.
    assert all(re.search(r" took \d{1,2}\.\d{3} seconds$", record.message) for record in records)


def test_debug_mode_remembers_where_things_were_created(debugged):
    handles = [
        debugged.call_soon(int),
        debugged.call_later(1, int),
        debugged.call_at(1, int),
        debugged.call_soon_threadsafe(int),
    ]
    task = debugged.create_task(asyncio.sleep(0))

    for thing in (*handles, task):
        assert thing._source_traceback[-1].filename == __file__
    debugged.run_until_complete(task)


def test_debug_mode_shows_where_a_failed_callback_was_created(debugged, caplog):
    def fail():
        debugged.call_exception_handler({"message": "from a callback"})
        raise LookupError

    debugged.call_soon(fail)
    debugged.run_until_idle()

    assert "Handle created at (most recent call last):" in caplog.records[0].message
    assert "Object created at (most recent call last):" in caplog.records[1].message
    assert __file__ in caplog.records[1].message


def test_debug_mode_tracks_the_origin_of_coroutines_while_it_runs(debugged):
    async def main():
        during.append(sys.get_coroutine_origin_tracking_depth())
        debugged.set_debug(False)
        await asyncio.sleep(0)
        during.append(sys.get_coroutine_origin_tracking_depth())
        debugged.set_debug(True)
        await asyncio.sleep(0)
        during.append(sys.get_coroutine_origin_tracking_depth())

    during = []
    before = sys.get_coroutine_origin_tracking_depth()
    debugged.run_until_complete(main())

    assert during == [10, before, 10]
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_debug_mode_goes_on_and_off_while_the_loop_runs():
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(4):
            loop.set_debug(not loop.get_debug())
            await asyncio.sleep(1)
            await asyncio.sleep(0)
        return loop.time()

    assert run(main) == 4.0


def test_debug_mode_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    with opened() as loop:
        assert loop.get_debug()
        loop.run_until_complete(asyncio.sleep(1))
    with opened() as loop:  # which finds out by making a task
        task = loop.create_task(asyncio.sleep(1))
        assert task._source_traceback[-1].filename == __file__
        loop.run_until_complete(task)
    monkeypatch.delenv("PYTHONASYNCIODEBUG")
    with opened() as loop:
        assert loop.get_debug() == sys.flags.dev_mode


def test_debug_mode_passes_over_what_was_cancelled(debugged):
    debugged.call_soon(pytest.fail).cancel()
    debugged.call_later(1, pytest.fail).cancel()
    debugged.run_until_idle()

    assert debugged.time() == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_debug_mode_runs_first_steps_at_every_order(seed):
    async def main():
        asyncio.get_running_loop().set_debug(True)
        return await asyncio.gather(*[asyncio.sleep(0.01 * i, i) for i in range(5)])

    assert run(main, seed) == [0, 1, 2, 3, 4]


def test_closing_is_logged_in_debug_mode(caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    with opened() as loop:
        loop.set_debug(True)

    assert "Close <VirtualLoop" in caplog.text


# --- async generators -------------------------------------------------------------------------------------------------


async def numbers(log):
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(1)
        log.append("closed")


async def first(generator):
    return await anext(generator)


def test_generators_are_closed_when_the_loop_shuts_down():
    log = []

    async def main():
        generator = numbers(log)
        kept.append(generator)
        return await anext(generator)

    kept = []
    assert run(main) == 1
    assert log == ["closed"]


def test_a_generator_that_is_dropped_is_closed_by_the_loop():
    log = []

    async def main():
        async for _ in numbers(log):
            break
        await asyncio.sleep(2)
        return list(log)

    assert run(main) == ["closed"]


def test_a_generator_that_fails_to_close_is_reported():
    async def failing():
        try:
            yield 1
        finally:
            raise LookupError("in the generator")

    with opened() as loop:
        reports = []
        loop.set_exception_handler(lambda loop, context: reports.append(context))
        generator = failing()
        loop.run_until_complete(first(generator))
        loop.run_until_complete(loop.shutdown_asyncgens())

        assert "an error occurred during closing of asynchronous generator" in reports[0]["message"]
        assert reports[0]["asyncgen"] is generator


def test_a_generator_started_after_the_shutdown_warns():
    with opened() as loop:
        loop.run_until_complete(loop.shutdown_asyncgens())
        generator = numbers([])
        with pytest.warns(ResourceWarning, match="was scheduled after loop.shutdown_asyncgens"):
            loop.run_until_complete(first(generator))
        loop.run_until_complete(generator.aclose())


def test_the_hooks_of_others_are_restored():
    before = sys.get_asyncgen_hooks()
    with opened() as loop:
        loop.run_until_complete(asyncio.sleep(1))

        assert sys.get_asyncgen_hooks() == before
