"""Every file in examples/ runs as its docstring says, and prints what its reader is to see."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
DEBUG = ("-X", "dev", "-W", "error")


def run(name, *options, **environment):
    """Run an example in a process of its own; return the process, which ended well."""
    process = subprocess.run(
        [sys.executable, *options, EXAMPLES / name],
        # Not this test's name: an example that fails a run says how to replay it outside of pytest.
        env={**os.environ, **environment, "PYTEST_CURRENT_TEST": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process


def output(name, *options, **environment):
    """Run an example that has nothing to say on stderr; return what it prints."""
    process = run(name, *options, **environment)
    assert process.stderr == ""
    return process.stdout


def without_tokens(text):
    return re.sub(r"v1\.[\w-]+", "TOKEN", text)  # it holds the version of Python


@pytest.mark.parametrize("options", [DEBUG, ()], ids=["debug", "plain"])
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_lost_update(options, hash_seed):
    """What it finds is part of it: so it tells when a seed means another run than it used to, or than elsewhere."""
    printed = output("lost_update.py", *options, PYTHONHASHSEED=hash_seed)
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")

    assert f"```text\n{without_tokens(printed)}```" in without_tokens(readme)


def test_retry_backoff():
    lines = output("retry_backoff.py", *DEBUG).splitlines()
    moments = [0, 20, 60, 140, 300, 600, 900, 1200, 1500, 1800, 2100, 2400, 2700, 3000, 3300, 3600]
    assert lines == [
        *(f"attempt {number:2} at {moment:4} s" for number, moment in enumerate(moments, start=1)),
        "16 attempts in 3600 s of virtual time took less than a second of real time.",
    ]


def test_drive_from_outside():
    report = run("drive_from_outside.py", *DEBUG).stderr
    assert re.search(r"^Ran 4 tests in", report, re.MULTILINE)
    assert report.endswith("\nOK\n")


def test_drive_from_outside_under_pytest():
    # Other plugins than this project's own may be installed, and some of them warn.
    process = run("drive_from_outside.py", *DEBUG, "-m", "pytest", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "4 passed" in process.stdout


def test_deadlock():
    lines = output("deadlock.py", *DEBUG).splitlines()
    assert lines[0].startswith("nothing can run any more at t=0.01")
    assert lines[1] == "2 tasks wait for each other:"
    for task, line in [
        ("Task-1", "await there"),
        ("from Ann to Bob", "async with target.lock:"),
        ("from Bob to Ann", "async with target.lock:"),
    ]:
        position = next(n for n, text in enumerate(lines) if f" {task!r} awaits " in text)
        assert '    File "deadlock.py", line ' in lines[position + 1]
        assert lines[position + 2].strip("|+- ") == line


def test_trace():
    assert f"```text\n{output('trace.py', *DEBUG)}```" in (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")


def test_every_example_has_a_test():
    for path in EXAMPLES.glob("*.py"):
        assert f"test_{path.stem}" in globals()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_says_how_to_run_it(path):
    assert f"python examples/{path.name}\n" in path.read_text(encoding="utf-8").split('"""')[1]
