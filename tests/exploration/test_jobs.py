"""VIRTUALLOOP="jobs=2": the runs of an explored test in other processes, with the result of a serial exploration."""

import asyncio
import functools
import pickle
import re
import subprocess
import sys

import pytest

import virtualloop
from helpers import session_environment
from virtualloop import explored
from virtualloop._exploration.jobs import node_of

RACES = """
import asyncio
import os
import pytest
from virtualloop import choose, explored

def made():
    with open("processes", "a") as file:
        file.write(f"{os.getpid()}\\n")

async def race():
    made()
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        before = balance
        await asyncio.sleep(0.01)
        balance = before + amount

    await asyncio.gather(deposit(10, 0.0), deposit(20, 0.03), *[asyncio.sleep(i / 100) for i in range(4)])
    return balance

@explored(runs=100, epoch=0)
@pytest.mark.parametrize("least", [0, 100])
async def test_passes(least):
    assert await race() >= least

@explored(runs=100, epoch=0)
async def test_fails():
    assert await race() == 130
"""
FIXTURE = """
@pytest.fixture
def least():
    return 0

@explored(runs=30)
async def test_takes_a_fixture(least):
    assert await race() >= least

class TestIt:
    @explored(runs=30)
    async def test_is_a_method(self):
        await race()
"""
KILLS = """
@explored(runs=100, epoch=0)
async def test_kills():
    if choose([False, True]):
        os._exit(1)
    await race()

@explored(runs=100, epoch=0)
async def test_after_it():
    await race()
"""


@pytest.fixture
def session(tmp_path):
    """Run pytest on some tests; return what it prints, and how many processes made the runs."""

    def run(code, jobs, *options, python=()):
        (tmp_path / "test_it.py").write_text(code)
        (tmp_path / "processes").unlink(missing_ok=True)
        command = [sys.executable, *python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        variables = session_environment(VIRTUALLOOP_KEEP="", VIRTUALLOOP=f"jobs={jobs}")
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr, len(set((tmp_path / "processes").read_text().split()))

    return run


def results(printed):
    return re.findall(r"^\d+ explorations.*|VIRTUALLOOP_REPLAY=\S+", printed, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-p", "virtualloop.pytest_plugin"), ("--import-mode=importlib",)])
def test_the_result_is_that_of_a_serial_exploration(session, options):
    serial, one = session(RACES, 1, *options)
    same, several = session(RACES, 2, *options)

    assert (one, several) == (1, 3)
    assert "1 failed, 2 passed" in same
    assert results(same) == results(serial) != []


@pytest.mark.slow
def test_what_takes_fixtures_or_is_a_method_is_explored_here(session):
    printed, processes = session(RACES.partition("@explored")[0] + FIXTURE, 2, "-p", "virtualloop.pytest_plugin")

    assert "2 passed" in printed
    assert processes == 1


@pytest.mark.slow
def test_a_run_that_kills_its_process_is_told_and_the_next_test_has_new_ones(session):
    printed, processes = session(RACES.partition("@explored")[0] + KILLS, 2, "-p", "virtualloop.pytest_plugin")

    assert "has killed the process that made it" in printed
    assert "1 failed, 1 passed" in printed
    assert processes > 3


@explored(runs=5)
async def some_test(number):
    await asyncio.gather(asyncio.sleep(number), asyncio.sleep(2))


def test_a_node_is_resolved_to_what_the_test_was_made_of():
    function = some_test.__wrapped__
    call = pickle.loads(pickle.dumps(node_of(function, (), {"number": 1}))).resolve()  # noqa: S301  # our own

    assert (call.func, call.args, call.keywords) == (function, (), {"number": 1})


def test_what_would_be_another_call_elsewhere_is_not_sent():
    async def inner(): ...

    for function, args in ((inner, ()), (some_test.__wrapped__, (object(),)), (some_test.__wrapped__, ([object()],))):
        with pytest.raises(pickle.PicklingError, match=r"is not at the top level|is not the same in each process"):
            node_of(function, args, {})


def test_a_file_that_python_cannot_load_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("")
    node = node_of(some_test.__wrapped__, (), {"number": 1})._replace(module="notes", file=str(path))

    with pytest.raises(ImportError, match=r"cannot import notes from .*notes\.txt"):
        node.resolve()


@pytest.mark.parametrize("value", ["0", "two", "1.5", ""])
def test_a_number_of_jobs_is_checked(monkeypatch, value):
    monkeypatch.setenv("VIRTUALLOOP", f"jobs={value}")

    with pytest.raises(ValueError, match=f"VIRTUALLOOP must give jobs as a number of processes, not '{value}'"):
        virtualloop.explore(functools.partial(asyncio.sleep, 1))


@pytest.mark.slow
def test_a_module_that_cannot_be_imported_by_its_name_is_found_by_its_file(session):
    """As where `pytest` is called by its own name, and so the folder is in nobody's path."""
    serial, _ = session(RACES, 1, "--import-mode=importlib", python=["-P"])
    same, several = session(RACES, 2, "--import-mode=importlib", python=["-P"])

    assert several == 3
    assert results(same) == results(serial) != []
