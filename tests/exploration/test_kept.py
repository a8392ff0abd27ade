"""Where failures are kept, in which form, and when they are dropped."""

import concurrent.futures
import functools
import multiprocessing
import sys
from pathlib import Path

import pytest

from virtualloop._exploration import kept
from virtualloop._exploration.identity import Identity, identity_of
from virtualloop._exploration.kept import KeptRuns
from virtualloop.schedules import _token

VERSION = _token.python_version()


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("VIRTUALLOOP_KEEP", raising=False)
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    monkeypatch.chdir(tmp_path)


def runs_of(name="test_cache", arguments="", file=None):
    return KeptRuns(Identity("test_x", name, arguments, str(file or Path.cwd() / "tests" / "test_x.py")))


def tokens(runs):
    return [run.token for run in runs.read()]


def test_a_line_for_each_failure():
    runs = runs_of()
    assert runs.read() == []
    assert runs.add("v1.aaa", "timing", "AssertionError: 1 != 2\nand more") is None
    assert runs.add("v1.bbb", "io", "KeyError") is None

    header, first, second = runs.path.read_text().splitlines()
    assert header == "# Runs of test_x:test_cache() that failed; the next run of it makes them first."
    date = first.split()[3]
    assert first == f"v1.bbb io {VERSION} {date} passed=0 KeyError"
    assert second == f"v1.aaa timing {VERSION} {date} passed=0 AssertionError: 1 != 2"
    assert runs.path.parent == Path.cwd() / ".virtualloop"
    assert [path.name for path in runs.path.parent.iterdir()] == [runs.path.name]
    assert tokens(runs_of()) == ["v1.bbb", "v1.aaa"]


def test_the_same_failure_is_kept_once():
    runs = runs_of()
    for token in ("v1.a", "v1.b", "v1.a"):
        runs.add(token, "io", "KeyError")
    assert tokens(runs) == ["v1.a", "v1.b"]
    runs.add("v1.c", "io", "KeyError", instead_of="v1.a")
    assert tokens(runs) == ["v1.c", "v1.b"]


def test_a_file_does_not_grow_for_ever():
    runs = runs_of()
    for number in range(30):
        runs.add(f"v1.{number}", "io", "KeyError")
    assert tokens(runs) == [f"v1.{number}" for number in range(29, 9, -1)]


def test_what_has_passed_ten_times_is_dropped():
    runs = runs_of()
    runs.add("v1.a", "io", "KeyError")
    runs.add("v1.b", "io", "KeyError")
    for _ in range(9):
        runs.have_passed(["v1.a"])
    assert [run.passed for run in runs.read()] == [0, 9]
    runs.have_passed(["v1.a"])
    assert tokens(runs) == ["v1.b"]
    for _ in range(10):
        runs.have_passed(["v1.b"])
    assert not runs.path.exists()


def test_what_fails_again_begins_anew():
    runs = runs_of()
    runs.add("v1.a", "io", "KeyError")
    for _ in range(9):
        runs.have_passed(["v1.a"])
    runs.add("v1.a", "io", "KeyError")
    assert [run.passed for run in runs.read()] == [0]


def test_nothing_is_dropped_in_ci_nor_by_another_python(monkeypatch):
    runs = runs_of()
    runs.add("v1.a", "io", "KeyError")
    monkeypatch.setenv("CI", "true")
    for _ in range(20):
        runs.have_passed(["v1.a"])
    monkeypatch.delenv("CI")
    runs.path.write_text(runs.path.read_text().replace(f" {VERSION} ", " 3.0 "))
    for _ in range(20):
        runs.have_passed(["v1.a"])
    assert [run.passed for run in runs.read()] == [0]


def test_files_merge_as_text_and_other_lines_are_left_alone():
    runs = runs_of()
    runs.add("v1.a", "io", "KeyError")
    text = runs.path.read_text()
    other = "v1.b io 3.12 2026-01-02 passed=3 ValueError: no\n"
    runs.path.write_text(text + "<<<<<<< HEAD\n" + other + other + "=======\nnonsense\nv1.c\n\n")
    assert tokens(runs) == ["v1.a", "v1.b"]
    runs.path.write_bytes(b"\xff\xfe\x00 no text at all")
    assert tokens(runs) == []


def test_each_test_and_each_of_its_parameters_has_a_file_of_its_own():
    paths = {
        runs_of(name, arguments).path
        for name in ("test_a", "test_b", "TestX.test_a")
        for arguments in ("", "1", "2", "1, 2", "'a/b'", "'" + "x" * 500 + "'", "'" + "x" * 500 + "y'")
    }
    assert len(paths) == 21
    assert all(path.parent == Path.cwd() / ".virtualloop" and len(path.name) < 200 for path in paths)
    assert runs_of("TestX.test_a", "1, 'b'").path.name.startswith("tests.test_x.TestX.test_a-1-b-")


def test_where_the_folder_is(monkeypatch, tmp_path):
    project = tmp_path / "project"
    test = project / "tests" / "test_x.py"
    assert runs_of(file=test).path.parent == tmp_path / ".virtualloop"
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "tests/test_x.py::test_a (call)")
    assert runs_of(file=test).path.parent == project / ".virtualloop"
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "elsewhere.py::test_a (call)")
    assert runs_of(file=test).path.parent == tmp_path / ".virtualloop"
    monkeypatch.setenv("VIRTUALLOOP_KEEP", str(tmp_path / "kept"))
    assert runs_of(file=test).path.parent == tmp_path / "kept"


def test_nothing_is_kept_where_the_variable_is_empty(monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP_KEEP", "")
    runs = runs_of()
    assert runs.path is None
    assert runs.add("v1.a", "io", "KeyError") is None
    runs.have_passed(["v1.a"])
    assert runs.read() == []
    assert list(Path.cwd().iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VIRTUALLOOP_KEEP", str(tmp_path / "file" / "folder"))
    assert runs_of().add("v1.a", "io", "KeyError").startswith("this run was not kept: ")
    assert runs_of().read() == []


def add_some(first):
    for number in range(first, first + 4):
        runs_of().add(f"v1.{number}", "io", "KeyError")


def test_several_processes_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as executor:
        list(executor.map(add_some, [0, 4, 8, 12]))
    assert sorted(tokens(runs_of())) == sorted(f"v1.{number}" for number in range(16))


# --- which program it is ----------------------------------------------------------------------------------------------


def function(first, second=0, *, third=None, fourth=None):
    pass


class Thing:
    def method(self):
        pass


def test_arguments_that_are_the_same_in_every_process_are_part_of_it():
    identity = identity_of(functools.partial(function, 1, "a", third=None, fourth={"k": {3, 1}}))
    assert identity.program == "test_kept:function"
    assert identity.arguments == "first=1, fourth={'k': {1, 3}}, second='a', third=None"
    assert identity.file == __file__
    assert identity_of(functools.partial(function, second="a", first=1)).arguments == "first=1, second='a'"
    assert identity_of(functools.partial(functools.partial(function, 1), 2)).arguments == "first=1, second=2"
    assert identity_of(Thing().method).program == "test_kept:Thing.method"
    assert identity_of(Thing().method).arguments == ""


def test_fixtures_are_no_part_of_it():
    """They may be other ones each time: a path, a connection, a test case."""
    program = functools.partial(function, Thing(), Path("x"), third=Thing, fourth=[function, Thing()])
    assert identity_of(program).arguments == "fourth=[function, None], third=Thing"


def test_what_has_no_code():
    class Program:
        async def __call__(self):
            pass

    assert identity_of(Program()).name == "test_what_has_no_code.<locals>.Program"
    assert kept.KeptRuns(identity_of(Program())).path.parent.name == ".virtualloop"


def test_where_the_system_has_no_locks(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    runs_of().add("v1.a", "io", "KeyError")

    assert tokens(runs_of()) == ["v1.a"]
