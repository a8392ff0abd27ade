"""What users read runs: the README's code, its first command, and the examples in docstrings."""

import ast
import asyncio
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import virtualloop
from virtualloop import VirtualLoop
from virtualloop.schedules import Exhaustive, Random, Recording, Replay

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
COMMANDS = re.search(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)[1].splitlines()


def run_with_factory(main, *, loop_factory=None):
    """asyncio.run() as it is since Python 3.12, as the README tells readers with 3.11 to write it."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)


@pytest.mark.parametrize("code", CODE, ids=range(len(CODE)))
def test_code_in_the_readme(code, monkeypatch):
    monkeypatch.setattr(asyncio, "run", run_with_factory)
    exec(code, {"__name__": "readme"})  # noqa: S102  # it is ours


def test_the_readme_has_its_parts():
    assert len(CODE) >= 5
    assert len(COMMANDS) == 2


def test_the_first_command_prints_what_the_readme_shows():
    assignment, python, example = shlex.split(COMMANDS[0])
    assert (assignment, python) == ("PYTHONPATH=src", "python3")
    printed = subprocess.run(
        [sys.executable, example], cwd=ROOT, env={"PYTHONPATH": "src"}, capture_output=True, check=True, text=True
    ).stdout

    def without_tokens(text):
        return re.sub(r"v1\.[\w-]+", "TOKEN", text)  # it holds the version of Python

    assert f"```text\n{without_tokens(printed)}```" in without_tokens(README)


def test_the_deadlock_report_is_the_one_in_the_readme():
    printed = subprocess.run(
        [sys.executable, "examples/deadlock.py"],
        cwd=ROOT,
        env={"PYTHONPATH": "src"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    shown = next(block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if "can run any more" in block)

    assert shown in printed


def examples():
    """Every indented block below "Example:" in a docstring, by where it stands."""
    for path in sorted((ROOT / "src" / "virtualloop").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                _, found, example = (ast.get_docstring(node) or "").partition("Example:\n")
                if found:
                    lines = example.strip("\n").splitlines()
                    block = [line for line in lines if line.startswith("    ") or not line.strip()]
                    yield pytest.param(textwrap.dedent("\n".join(block)), id=f"{path.stem}.{node.name}")


async def main():
    await asyncio.gather(*[asyncio.sleep(0.01 * i) for i in range(5)])


@pytest.mark.parametrize("example", list(examples()))
def test_examples_in_docstrings(example, tmp_path):
    names = {
        "directory": tmp_path,
        "asyncio": asyncio,
        "virtualloop": virtualloop,
        "VirtualLoop": VirtualLoop,
        "Exhaustive": Exhaustive,
        "Random": Random,
        "Recording": Recording,
        "Replay": Replay,
        "main": main,
    }
    exec(example, names)  # noqa: S102  # it is ours
    loop = names.get("loop")
    if loop is not None and not loop.is_closed():
        loop.run_until_complete(main())
        loop.close()


def test_public_functions_have_examples():
    ids = {parameter.id for parameter in examples()}

    assert {
        "_loop.VirtualLoop",
        "_loop.advance",
        "_loop.run_until_idle",
        "_inside.advance",
        "_inside.run_until_idle",
        "_inside.choose",
        "_explore.explore",
        "_explore.explored",
        "schedules.Exhaustive",
        "schedules.Schedule",
        "schedules.Random",
        "schedules.Replay",
        "schedules.Recording",
    } <= ids
