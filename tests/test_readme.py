"""What users read runs: the README's code, its first command, and the examples in docstrings."""

import ast
import asyncio
import dataclasses
import inspect
import pydoc
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

import virtualloop
from helpers import session_environment
from virtualloop import VirtualLoop
from virtualloop.schedules import Exhaustive, Random, Recording, Replay

ROOT = Path(__file__).parent.parent
SRC = Path(virtualloop.__file__).parent  # which is the one that is installed, where a wheel is tested
README = (ROOT / "README.md").read_text()
HANGS = (ROOT / "examples" / "guide" / "hangs_and_leaks.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "examples" / "guide").glob("*.md"))]
#: Pages that have no code to be run.
OTHERS = [
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "RESULTS.md",
    ROOT / "benchmarks" / "RACES.md",
    ROOT / "tests" / "README.md",
]
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
    assert len(CODE) >= 2
    assert len(COMMANDS) == 2


def printed_by(command):
    assignment, python, example = shlex.split(command)
    assert (assignment, python) == ("PYTHONPATH=src", "python3")
    return subprocess.run(
        [sys.executable, example],
        cwd=ROOT,
        env=session_environment(PYTHONPATH="src"),
        capture_output=True,
        check=True,
        text=True,
    ).stdout


def test_the_first_command_finds_a_race_and_replays_it():
    printed = printed_by(COMMANDS[0])

    assert "stock asyncio can do this if the late timer stands for I/O (order 'io')" in printed
    assert "Replayed, it is the same run." in printed
    assert "LockedAccount, explored: " in printed


def test_the_story_in_the_readme_is_the_one_that_is_told():
    shown = re.search(r"^```text\n(virtualloop: .*?)^```$", README, re.DOTALL | re.MULTILINE)[1].splitlines()
    names = {"__name__": "readme"}
    exec(next(code for code in CODE if "test_one_left" in code), names)  # noqa: S102  # it is ours
    with pytest.raises(AssertionError) as failed:
        names["test_one_left"]()
    told = re.sub(r" \([^ ]*:\d+\)", "", failed.value.__notes__[-1])

    assert len(shown) <= 10
    for line in shown[:-1]:
        assert line.strip() in told, told
    assert "\nReplay it: " in told


def test_the_deadlock_report_is_the_one_in_the_guide():
    printed = printed_by("PYTHONPATH=src python3 examples/deadlock.py")
    shown = next(block for block in re.findall(r"```text\n(.*?)```", HANGS, re.DOTALL) if "can run any more" in block)

    assert shown in printed


def test_the_front_page_is_one_page():
    lines = README.splitlines()
    blocks = re.findall(r"^```\w+\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)

    assert len(lines) <= 250
    assert all(len(line) <= 100 for block in blocks[1:] for line in block.splitlines())


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for link, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", without_code(page)):
        if "://" not in link:
            target = page.parent / link if link else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


def without_code(page):
    return re.sub(r"(?ms)^```.*?^```$", "", page.read_text())


def anchors(page):
    """Return the headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def examples():
    """Every indented block below "Example:" in a docstring, by where it stands."""
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                _, found, example = (ast.get_docstring(node) or "").partition("Example:\n")
                if found:
                    lines = example.strip("\n").splitlines()
                    block = [line for line in lines if line.startswith("    ") or not line.strip()]
                    yield pytest.param(
                        textwrap.dedent("\n".join(block)),
                        id=".".join([*path.relative_to(SRC).with_suffix("").parts, node.name]),
                    )


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


def test_help_shows_the_public_names_first():
    text = pydoc.plaintext.document(virtualloop)
    first = text.partition("PACKAGE CONTENTS")[0]

    assert [name for name in virtualloop.__all__ if not re.search(rf"\b{name}\b", first)] == []
    assert all(f".{name}" in first for name in virtualloop._MODULES)


@pytest.mark.parametrize("result", [virtualloop.Exploration, virtualloop.Failure])
def test_each_field_of_a_result_is_documented(result):
    documented = re.findall(r"^ {4}(\w+): ", inspect.getdoc(result), re.MULTILINE)

    assert documented == [field.name for field in dataclasses.fields(result)]


def test_the_version_has_one_home():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert released[0] == version
    assert [path for path in SRC.rglob("*.py") if version in path.read_text()] == []


def test_public_functions_have_examples():
    ids = {parameter.id for parameter in examples()}

    assert {
        "_loop.virtual.VirtualLoop",
        "_loop.virtual.advance",
        "_loop.virtual.run_until_idle",
        "_loop.current.advance",
        "_loop.current.run_until_idle",
        "_loop.current.choose",
        "_loop.current.plain",
        "_exploration.api.explore",
        "_exploration.api.explored",
        "properties.until",
        "properties.always",
        "properties.sometimes",
        "_loop.virtual.until",
        "histories._history.History",
        "histories._history.check",
        "schedules._exhaustive.Exhaustive",
        "schedules._choice.Schedule",
        "schedules._random.Random",
        "schedules._replay.Replay",
        "schedules._replay.Recording",
    } <= ids
