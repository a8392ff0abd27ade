"""A ladder of loops for a suite as it stands."""

import asyncio
import re
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

import virtualloop
from helpers import session_environment
from virtualloop._exploration import ladder as ladders

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def results(monkeypatch):
    """Results of this test alone, which nobody reports at the end."""
    results = ladders.Results()
    monkeypatch.setattr(ladders, "_results", results)
    monkeypatch.setattr(results, "begin", lambda: None)
    return results


@pytest.fixture
def running(monkeypatch):
    """Say which test runs, as pytest does."""
    return lambda name: monkeypatch.setenv("PYTEST_CURRENT_TEST", f"{name} (call)")


async def close_call():
    """Two sleeps, 3 ms apart: it fails where the first is late by more."""
    woken = []

    async def sleep(seconds):
        await asyncio.sleep(seconds)
        woken.append(seconds)

    await asyncio.gather(sleep(0.013), sleep(0.01))
    assert woken == [0.01, 0.013]


def run(rung, main=close_call):
    with asyncio.Runner(loop_factory=rung) as runner:
        runner.run(main())


def test_names_and_rungs():
    made = virtualloop.ladder(seeds=2)
    assert list(made) == [
        "plain",
        *[f"{order}-{ms}ms-{seed}" for order in ("timing", "io") for ms in (1, 5, 20, 50) for seed in (0, 1)],
    ]
    with asyncio.Runner(loop_factory=made["plain"]) as runner:
        assert runner.get_loop().order == "fifo"
    with asyncio.Runner(loop_factory=made["io-5ms-1"]) as runner:
        loop = runner.get_loop()
        assert (loop.order, loop.seed) == ("io", 1)
        assert isinstance(loop, virtualloop.VirtualLoop)
        assert repr(loop).startswith("<VirtualLoop seed=1 order=io")
    assert repr(virtualloop.ladder(seeds=[7], rungs=[("io", 0.0005)])) == "<Ladder plain, io-0.5ms-7>"


def test_what_anyio_takes():
    made = virtualloop.ladder(seeds=1)
    assert len(made.backends) == len(made)
    name, options = made.backends[1]
    assert name == "asyncio"
    assert options == {"loop_factory": made["timing-1ms-0"]}


def test_other_options():
    made = virtualloop.ladder(seeds=1, start=100.0)
    for rung in made.values():
        with asyncio.Runner(loop_factory=rung) as runner:
            assert runner.get_loop().time() == 100.0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"seeds": 0}, ValueError, "seeds must be at least one, got 0"),
        ({"seeds": 1.5}, TypeError, "seeds must be a number of seeds, or several seeds, not 1.5"),
        ({"seeds": ["a"]}, TypeError, "seeds must be integers, not 'a'"),
        ({"rungs": [("tasks", 1)]}, ValueError, "rungs must be of order timing or io, not 'tasks'"),
        ({"rungs": [("io", -1)]}, ValueError, "lateness must"),
    ],
)
def test_arguments_are_checked(options, error, text):
    with pytest.raises(error, match=text):
        virtualloop.ladder(**options)


def test_what_fails_is_told(results, running):
    made = virtualloop.ladder(seeds=64)
    running("test_x.py::test_close[io-20ms-0]")
    for seed in range(64):
        try:
            run(made[f"io-20ms-{seed}"])
        except AssertionError as exc:
            (note,) = exc.__notes__
            break
    lines = note.splitlines()
    assert lines[0] == "virtualloop: stock asyncio can do this if the late timer stands for I/O (order 'io'):"
    assert any(line.startswith("*") for line in lines)
    assert len(lines) <= 40
    assert re.fullmatch(r"Replay it: python[\d.]* -m pytest 'test_x\.py::test_close\[io-20ms-0\]'", lines[-1])


def test_on_the_plain_loop_there_is_nothing_to_tell(results, running):
    running("test_x.py::test_fails[plain]")

    async def main():
        raise KeyError

    with pytest.raises(KeyError) as info:
        run(virtualloop.ladder()["plain"], main)
    assert not hasattr(info.value, "__notes__")


def test_outside_of_pytest_it_is_told_as_well(results, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")

    async def main():
        await asyncio.sleep(1)
        raise KeyError

    with pytest.raises(KeyError) as info:
        run(virtualloop.ladder()["timing-5ms-2"], main)
    assert info.value.__notes__[0].splitlines()[-1] == ("Replay it: run main with loop_factory=ladder['timing-5ms-2']")
    assert results.report() == []


def test_the_report_is_sorted_by_margin(results, running):
    async def passes():
        await asyncio.sleep(0)

    async def fails():
        raise KeyError

    made = virtualloop.ladder(seeds=2)
    programs = {
        "a.py::test_fine": {},
        "a.py::test_late": {"io-50ms-1"},
        "b.py::test_soon": {"timing-5ms-0", "timing-5ms-1", "io-1ms-0"},
        "b.py::test_soon[x-1]": {"io-20ms-1", "io-50ms-1"},
        "b.py::test_wrong": set(made),
        "b.py::test_plain_only": {"plain"},
    }
    for test, failing in programs.items():
        head, bracket, parameter = test.partition("[")
        for name, rung in made.items():
            running(f"{head}[{name}-{parameter}" if bracket else f"{head}[{name}]")
            try:
                run(rung, fails if name in failing else passes)
            except KeyError:
                assert name in failing

    assert results.report() == [
        "virtualloop: 3 of 6 tests pass on the plain loop and fail on a later one; least margin first:",
        "  b.py::test_soon       timing, 5 ms late: 2 of 2 seeds",
        "  b.py::test_soon[x-1]  io, 20 ms late: 1 of 2 seeds",
        "  a.py::test_late       io, 50 ms late: 1 of 2 seeds",
    ]


def test_unittest_on_a_ladder(results, monkeypatch):
    """A test that unittest runs once on each rung has one name; what a class is called on each is its own affair."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    made = virtualloop.ladder(seeds=1)

    class TestClose(unittest.TestCase):
        def run(self, result=None):
            for self.rung in made.values():
                result = super().run(result)
            return result

        def test_call(self):
            run(self.rung)

        def test_fine(self):
            run(self.rung, lambda: asyncio.sleep(0))

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(TestClose).run(result)

    assert result.testsRun == 2 * len(made)
    assert result.failures
    assert all("TestClose.test_call with loop_factory=ladder['" in text for _, text in result.failures)
    first, second = results.report()
    assert first == "virtualloop: 1 of 2 tests pass on the plain loop and fail on a later one; least margin first:"
    assert re.fullmatch(r"  \S+TestClose.test_call  \w+, \d+ ms late: 1 of 1 seed", second)


def test_what_another_process_hands_over_is_reported(results, running):
    """News are handed over, each once: what a test fails on stays, whatever it passes there later."""

    async def fails():
        raise KeyError

    running("a.py::test_close[timing-50ms-0]")
    with pytest.raises(KeyError):
        run(virtualloop.ladder()["timing-50ms-0"], fails)
    run(virtualloop.ladder()["timing-50ms-0"], lambda: asyncio.sleep(0))
    sent = ladders.handed_over()
    assert sent == [("a.py::test_close", "timing-50ms-0", "timing", 0.05, 0, True)]
    assert ladders.handed_over() == []
    assert results.report() == []

    ladders.take_over([("a.py::test_close", "plain", "fifo", 0.0, None, False)])
    ladders.take_over(sent)

    assert results.report() == [
        "virtualloop: 1 of 1 test pass on the plain loop and fail on a later one; least margin first:",
        "  a.py::test_close  timing, 50 ms late: 1 of 1 seed",
    ]


def test_where_none_flakes(results, running):
    made = virtualloop.ladder(seeds=1)
    assert results.report() == []
    for name, rung in made.items():
        running(f"a.py::test_fine[{name}]")
        run(rung, lambda: asyncio.sleep(0))
    assert results.report() == ["virtualloop: 1 test on a ladder of loops, none fails that passes on the plain one"]


def test_what_is_skipped_has_not_failed(results, running):
    async def skips():
        pytest.skip("not here")

    made = virtualloop.ladder(seeds=1)
    running("a.py::test_skips[plain]")
    run(made["plain"], lambda: asyncio.sleep(0))
    running("a.py::test_skips[io-5ms-0]")
    with pytest.raises(pytest.skip.Exception) as info:
        run(made["io-5ms-0"], skips)
    assert not hasattr(info.value, "__notes__")
    assert results.report() == ["virtualloop: 1 test on a ladder of loops, none fails that passes on the plain one"]


def test_a_suite_on_a_ladder():
    """The example's suite: what pytest prints, and the report at the end of its process."""
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/conftest_seeds"],
        cwd=ROOT,
        env=session_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1, process.stdout + process.stderr
    assert "test_a_value_is_kept[" not in process.stdout
    failed = re.findall(r"^FAILED .*::(\w+)\[(\w+)-\d+ms-\d\]", process.stdout, re.MULTILINE)
    assert set(failed) == {("test_two_who_ask_at_about_the_same_time", "io")}
    first, second = process.stderr.splitlines()
    assert first == "virtualloop: 1 of 2 tests pass on the plain loop and fail on a later one; least margin first:"
    assert re.fullmatch(r"  \S+::test_two_who_ask_at_about_the_same_time  io, \d+ ms late: \d of 2 seeds", second)


def test_a_long_report_ends_with_how_many_more_there_are(results, running):
    async def fails():
        raise KeyError

    made = virtualloop.ladder(seeds=1)
    for number in range(ladders.MAX_TESTS + 2):
        running(f"a.py::test_it[{number}]")
        run(made["plain"], close_call)
        with pytest.raises(KeyError):
            run(made["io-1ms-0"], fails)

    lines = results.report()
    assert len(lines) == ladders.MAX_TESTS + 2
    assert lines[-1] == "  and 2 more"


def test_a_rung_says_which_it_is():
    assert str(virtualloop.ladder()["io-20ms-1"]) == "order 'io', 20 ms late, seed 1"
