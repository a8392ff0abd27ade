"""What pytest and unittest print of a failure: the test's lines, none of ours, and the story last."""

import os
import re
import subprocess
import sys
import textwrap

import pytest

from helpers import session_environment

PROGRAM = """
import asyncio
import unittest

import pytest

from virtualloop import VirtualLoop, explore, explored


async def main():
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        before = balance
        await asyncio.sleep(0.01)
        balance = before + amount

    await asyncio.gather(deposit(10, 0), deposit(20, 0.03))
    assert balance == 130  # the end


@explored
async def test_assertion():
    await main()


def test_call():
    explore(main)


@explored
async def test_deadlock():
    await asyncio.Event().wait()  # the end


@explored
async def test_livelock():
    while True:
        await asyncio.sleep(0)  # the end


def test_plain_deadlock():
    async def hangs():
        await asyncio.Event().wait()  # the end

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(hangs())


class TestCase(unittest.TestCase):
    @explored
    async def test_unittest(self):
        await asyncio.Event().wait()  # the end


lock = asyncio.Lock()


@explored
async def test_lock_of_the_module():
    async def use():
        async with lock:  # the end
            await asyncio.sleep(0.01)

    await asyncio.gather(use(), use())


@pytest.fixture
def queue():
    async def made():
        queue = asyncio.Queue()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 0.01)
        return queue

    return asyncio.run(made())


@explored
async def test_queue_of_another_loop(queue):
    await queue.get()  # the end


dice = iter([[0.01, 0.02]] + [[0.01]] * 10)


@explored
async def test_another_run():
    await asyncio.gather(*map(asyncio.sleep, next(dice)))
"""
TESTS = [
    "test_assertion",
    "test_call",
    "test_deadlock",
    "test_livelock",
    "test_plain_deadlock",
    "TestCase.test_unittest",
    "test_lock_of_the_module",
    "test_queue_of_another_loop",
    "test_another_run",
]


#: What the path of a file of ours has in it.
OURS = f"{os.sep}virtualloop{os.sep}"


def run(folder, *command):
    (folder / "test_failing.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=session_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Return what pytest prints of each test."""
    text = run(tmp_path_factory.mktemp("failing"), "pytest", "-q", "-p", "no:cacheprovider", "test_failing.py")
    parts = re.split(r"^_{5,} (\S+) _{5,}$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("test", TESTS)
def test_only_lines_of_the_test_are_shown(printed, test):
    text = printed[test].partition("short test summary")[0]

    assert "All traceback entries are hidden" not in text
    assert OURS not in text
    shown = [line for line in text.splitlines() if line.startswith(">")]
    # Where it is nothing in particular, the test begins.
    assert shown[-1].endswith("# the end") or (test == "test_another_run" and "@explored" in shown[-1])


@pytest.mark.parametrize("test", ["test_assertion", "test_call", "test_deadlock", "TestCase.test_unittest"])
def test_the_story_comes_last_and_its_label_first(printed, test):
    lines = [line[1:].strip() for line in printed[test].splitlines() if line.startswith("E ")]
    label = next(k for k, line in enumerate(lines) if line.startswith("virtualloop: "))

    assert not any("virtualloop: " in line for line in lines[label + 1 :])
    assert lines[-1].startswith("Replay it: ")


@pytest.mark.parametrize("test", ["test_lock_of_the_module", "test_queue_of_another_loop"])
def test_what_another_loop_has_made_takes_a_sentence(printed, test):
    text = printed[test]

    assert "make it in the test" in " ".join(text.split()).replace(" E ", " ")
    assert len(text.splitlines()) < 30
    assert " object at 0x" not in "".join(line for line in text.splitlines() if "virtualloop" in line)


@pytest.mark.parametrize("style", ["short", "line", "native"])
def test_other_styles(tmp_path, style):
    text = run(tmp_path, "pytest", "-x", f"--tb={style}", "-p", "no:cacheprovider", "test_failing.py::test_deadlock")

    assert "All traceback entries are hidden" not in text
    if style != "line":  # of which older versions of pytest show one line
        assert "virtualloop: stock asyncio can do this, in its own order (order 'fifo')." in text
    if style != "native":
        assert OURS not in text
    line = PROGRAM.splitlines().index("    await asyncio.Event().wait()  # the end") + 1
    assert re.search(rf'test_failing.py(", line |:){line}\b', text)


def test_unittest_prints_the_tests_lines(tmp_path):
    text = run(tmp_path, "unittest", "test_failing.TestCase")

    assert OURS not in text
    assert "await asyncio.Event().wait()  # the end" in text
    assert "Replay it: set VIRTUALLOOP_REPLAY=" in text


def test_a_program_prints_its_own_lines(tmp_path):
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import virtualloop

            async def main():
                raise LookupError("here")

            virtualloop.explore(main)
            """
        )
    )
    text = run(tmp_path, "program")

    assert text.count(OURS) == 1  # explore() itself
    assert text.splitlines()[-4:][0].startswith("LookupError: here")
