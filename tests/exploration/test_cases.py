"""Explored methods of unittest's test cases: each run is set up and torn down as unittest does it, and alone."""

import asyncio
import contextlib
import contextvars
import unittest

import pytest

import virtualloop

SET_UP_BY = contextvars.ContextVar("SET_UP_BY", default=None)
RUNS = 12


def run(case, name="test"):
    result = unittest.TestResult()
    case(name).run(result)
    return result


class Logs(unittest.IsolatedAsyncioTestCase):
    """Logs what unittest calls, and what the context shows there."""

    log = None
    fails = ()

    def reach(self, what):
        self.log.append((what, SET_UP_BY.get()))
        if what in self.fails:
            raise ValueError(what)

    async def reach_later(self, what):
        await asyncio.sleep(0.01)
        self.reach(what)

    @contextlib.asynccontextmanager
    async def resource(self):
        self.reach("enter")
        yield
        self.reach("exit")

    def setUp(self):
        SET_UP_BY.set("setUp")
        self.addCleanup(self.reach, "first cleanup")
        self.reach("setUp")

    async def asyncSetUp(self):
        await self.enterAsyncContext(self.resource())
        self.addAsyncCleanup(self.reach_later, "async cleanup")
        await self.reach_later("asyncSetUp")
        SET_UP_BY.set("asyncSetUp")

    async def work(self):
        self.addCleanup(self.reach, "test's cleanup")
        await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
        SET_UP_BY.set("test")
        self.reach("test")

    async def asyncTearDown(self):
        await self.reach_later("asyncTearDown")

    def tearDown(self):
        self.reach("tearDown")


def logged(test, fails):
    """Return what a test case logs whose method is `test`, and what comes of it."""

    class Case(Logs):
        pass

    Case.test, Case.fails, Case.log = test, fails, []
    return Case.log, run(Case)


@pytest.mark.parametrize("fails", ["", "setUp", "asyncSetUp", "test", "asyncTearDown", "tearDown", "async cleanup"])
def test_each_run_is_set_up_and_torn_down_as_unittest_does_it(fails):
    async def test(self):
        await self.work()

    once, result = logged(test, {fails})
    assert result.wasSuccessful() is (not fails)
    # The object that unittest runs is set up as well, around all runs, and its method is what explores.
    explored = virtualloop.explored(runs=RUNS, shrink=False)(test)
    inner = []

    def around(self):
        case = type(self)
        case.log, outer = inner, case.log
        case.fails = {fails}
        try:
            explored(self)
        finally:
            case.log, case.fails = outer, ()

    outer, result = logged(around, ())
    assert result.wasSuccessful() is (not fails)
    assert [what for what, _ in outer][:2] == ["setUp", "enter"]
    runs, rest = divmod(len(inner), len(once))
    assert rest == 0
    assert inner == once * runs
    assert runs >= (1 if fails else 2)


def test_what_is_set_up_is_another_thing_in_each_run():
    class TestQueue(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            self.queue = asyncio.Queue()

        @virtualloop.explored(runs=RUNS)
        async def test(self):
            self.queue.put_nowait(1)
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
            assert self.queue.qsize() == 1

    result = run(TestQueue)
    assert result.testsRun == 1
    assert result.wasSuccessful(), result.errors


def test_a_plain_test_case_has_its_set_up_in_each_run():
    class TestStock(unittest.TestCase):
        def setUp(self):
            self.stock = 1

        def tearDown(self):
            assert self.stock == 0

        @virtualloop.explored(runs=RUNS)
        async def test(self):
            self.stock -= 1
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))

    # Nobody takes anything from the stock of the object that unittest sets up.
    ((_, text),) = run(TestStock).failures
    assert text.count("assert self.stock == 0") == 1
    assert "virtualloop:" not in text


def test_a_race_in_a_test_case_is_found_told_and_replayed(monkeypatch):
    class TestCounter(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            await asyncio.sleep(1)
            self.count = 0

        async def add(self, after):
            await asyncio.sleep(after)
            seen = self.count
            await asyncio.sleep(0.01)
            self.count = seen + 1

        @virtualloop.explored
        async def test(self):
            await asyncio.gather(self.add(0.0), self.add(0.03))
            assert self.count == 2

    ((_, text),) = run(TestCounter).failures
    assert "stock asyncio can do this (order 'timing')" in text
    token = text.partition("VIRTUALLOOP_REPLAY=")[2].split()[0]
    monkeypatch.setenv("VIRTUALLOOP_REPLAY", token)
    ((_, again),) = run(TestCounter).failures
    assert "virtualloop: stock asyncio can do this (order 'timing')" in again


def test_several_errors_of_a_tear_down_are_one_group():
    class TestTwice(unittest.TestCase):
        is_inner = False

        @virtualloop.explored(runs=RUNS)
        async def test(self):
            self.addCleanup(int, "one")
            self.addCleanup(int, "two")

    ((_, text),) = run(TestTwice).errors
    assert "ExceptionGroup: errors while tearing down <" in text
    assert "'one'" in text
    assert "'two'" in text


def test_what_fails_in_a_sub_test_fails_the_run():
    class TestParts(unittest.IsolatedAsyncioTestCase):
        @virtualloop.explored(runs=RUNS)
        async def test(self):
            with self.subTest("a part", number=3):
                raise ValueError("in a part")

    ((_, text),) = run(TestParts).errors
    assert "virtualloop: stock asyncio can do this, in its own order" in text
    assert "That was in subTest [a part] (number=3)\n" in text


def test_a_part_that_is_skipped_is_all_that_is_skipped():
    class TestParts(unittest.IsolatedAsyncioTestCase):
        @virtualloop.explored(runs=RUNS)
        async def test(self):
            with self.subTest():
                self.skipTest("not this one")
            with self.subTest():
                raise ValueError("in another part")

    result = run(TestParts)
    ((_, text),) = result.errors
    assert "That was in subTest (<subtest>)\n" in text
    assert result.skipped == []


def test_a_run_that_skips_skips_the_test():
    class TestSkip(unittest.IsolatedAsyncioTestCase):
        @virtualloop.explored(runs=RUNS)
        async def test(self):
            self.skipTest("not today")

    ((_, reason),) = run(TestSkip).skipped
    assert reason == "not today"
