"""python -m virtualloop."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from helpers import session_environment
from virtualloop.__main__ import main

PROGRAMS = """
import asyncio
import virtualloop

async def race():
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        before = balance
        await asyncio.sleep(0.01)
        balance = before + amount

    await asyncio.gather(deposit(10, 0.0), deposit(20, 0.03))
    assert balance == 130

@virtualloop.explored
async def test_right():
    await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
"""


@pytest.fixture(autouse=True)
def programs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "programs_of_main.py").write_text(PROGRAMS)
    yield
    sys.modules.pop("programs_of_main", None)


def test_without_a_command_it_says_what_it_can_do(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("virtualloop ")
    assert len(printed.splitlines()) <= 10


def test_a_failure_is_found_and_replayed(capsys):
    assert main(["explore", "programs_of_main:race", "--runs", "50", "--seed", "3"]) == 1
    out, err = capsys.readouterr()
    *_, last = err.splitlines()
    token = re.fullmatch(r"Replay it: python -m virtualloop replay (v1\.[\w-]+) programs_of_main:race", last)[1]
    assert "_exploration" not in err  # its traceback begins at the program's lines
    assert "stock asyncio can do this" in err
    assert "the last one failed (order 'timing')" in out

    assert main(["replay", token, "programs_of_main:race"]) == 1
    assert capsys.readouterr().out.startswith("1 run")


def test_what_passes_ends_with_0_also_in_two_processes():
    for jobs in ("1", "2"):
        command = [sys.executable, "-m", "virtualloop", "explore", "programs_of_main:test_right", "--runs", "20"]
        done = subprocess.run(
            [*command, "--jobs", jobs],
            env=session_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "none failed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explore", "race"], "a program is named as module:function, not 'race'"),
        (["explore", "programs_of_main:nothing"], "module 'programs_of_main' has no 'nothing'"),
        (["explore", "no_such_module:main"], "there is no module 'no_such_module' to be imported from here"),
        (["explore", "programs_of_main:race", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["explore", "programs_of_main:race", "--runs", "0"], "runs must be at least 1, got 0"),
        (["replay", "v1.x", "programs_of_main:race"], "the token is not whole"),
        (["explore", "programs_of_main:asyncio"], "programs_of_main:asyncio is no function"),
    ],
)
def test_what_makes_no_sense_ends_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_where_it_is_not_installed_it_has_no_version(monkeypatch, capsys):
    def raises(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("virtualloop.__main__.version", raises)
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("virtualloop (not installed)")
