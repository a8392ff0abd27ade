"""What has failed is made first: kept failures, edits, pinned runs, and the one run that the environment asks for."""

import asyncio
import atexit
import re
import subprocess
import sys
import unittest
import warnings
from pathlib import Path

import pytest

import virtualloop
from helpers import session_environment
from virtualloop._exploration import api
from virtualloop._exploration.ledger import Ledger
from virtualloop.schedules import ReplayError

ROOT = Path(__file__).parent.parent.parent

#: Ann's reply may be late; Bob comes 30 ms after her. `{before}` and `{after}` is what an edit adds.
TEST = """
import asyncio
import virtualloop

@virtualloop.explored(runs=400)
async def test_two():
    balance = 100

    async def deposit(amount, after):
        nonlocal balance
        await asyncio.sleep(after)
        {before}
        seen = balance
        await asyncio.sleep(0.01)
        {after}
        balance = {value}

    await asyncio.gather(deposit(10, after=0.0), deposit(20, after=0.03))
    print("balance", balance)
    assert balance == 130

def test_other():
    pass
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for variable in ("CI", "VIRTUALLOOP_KEEP", "VIRTUALLOOP_REPLAY", "VIRTUALLOOP"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("VIRTUALLOOP_KEEP", str(tmp_path / "kept"))


def kept_lines(folder):
    return [
        line
        for path in sorted(folder.glob("*.txt"))
        for line in path.read_text().splitlines()
        if line.startswith("v1.")
    ]


def pytest_on(folder, *options, **variables):
    """Run pytest on a folder, in a process of its own; return it, its output without colours."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_x.py"],
        cwd=folder,
        env=session_environment(**variables),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def write_test(folder, *, before="pass", after="pass", value="seen + amount"):
    (folder / "test_x.py").write_text(TEST.format(before=before, after=after, value=value))


@pytest.mark.slow
def test_a_failure_of_one_process_is_the_first_run_of_the_next(tmp_path):
    write_test(tmp_path)
    first = pytest_on(tmp_path, PYTHONHASHSEED="1")
    assert first.returncode == 1, first.stdout
    (line,) = kept_lines(tmp_path / ".virtualloop")
    assert re.fullmatch(
        r"v1\.\S+ (timing|io) 3\.\d+ \d{4}-\d\d-\d\d passed=0 AssertionError: assert 1[12]0 == 130", line
    )
    assert re.search(r"^virtualloop: 1 exploration, \d+ runs, \d+ different, 1 failure$", first.stderr, re.MULTILINE)

    again = pytest_on(tmp_path, PYTHONHASHSEED="2")
    assert again.returncode == 1
    assert re.search(r"This run failed on \S+ and was kept$", again.stdout, re.MULTILINE)
    line_at_the_end = "virtualloop: 1 exploration, 1 run, 1 different, 1 failure, 1 run made first for kept failures"
    assert line_at_the_end in again.stderr
    assert kept_lines(tmp_path / ".virtualloop") == [line]

    # An edit adds an await before, and one after; the kept run still is what it was.
    for before, after in [
        ("await asyncio.sleep(0)", "await asyncio.sleep(0)"),
        ("await asyncio.sleep(0.001)", "await asyncio.sleep(0.001)"),
    ]:
        write_test(tmp_path, before=before, after=after)
        edited = pytest_on(tmp_path, VIRTUALLOOP="runs=1")
        assert edited.returncode == 1, edited.stdout
        assert "This run failed on" in edited.stdout, edited.stdout
        assert len(kept_lines(tmp_path / ".virtualloop")) == 1

    # Repaired, it passes; the tenth time, it is forgotten.
    write_test(tmp_path, value="balance + amount")
    for number in range(1, 11):
        assert pytest_on(tmp_path, VIRTUALLOOP="runs=5").returncode == 0
        passed = [re.search(r"passed=(\d+)", line)[1] for line in kept_lines(tmp_path / ".virtualloop")]
        assert passed == ([] if number == 10 else [str(number)])


def explored_deposits(gap=0.03, *, fixed=False, **options):
    """A test of this module, explored: two deposits, one of which gets lost if the first is late."""

    @virtualloop.explored(**options)
    async def test_deposits(name="Ann"):
        made.append(name)
        balance = 100

        async def deposit(amount, after):
            nonlocal balance
            await asyncio.sleep(after)
            seen = balance
            await asyncio.sleep(0.01)
            balance = (balance if fixed else seen) + amount

        await asyncio.gather(deposit(10, after=0.0), deposit(20, after=gap))
        assert balance == 130

    made = []
    test_deposits.made = made
    return test_deposits


def failure_of(test, *args):
    with pytest.raises(AssertionError) as info:
        test(*args)
    return info.value


def token_of(exception):
    return re.search(r"VIRTUALLOOP_REPLAY=(\S+)", "\n".join(exception.__notes__))[1]


def test_kept_and_made_first(tmp_path):
    token = token_of(failure_of(explored_deposits()))
    (line,) = kept_lines(tmp_path / "kept")
    assert line.startswith(token)

    test = explored_deposits()
    exception = failure_of(test)
    assert token_of(exception) == token
    assert len(test.made) <= 4  # the run, again to examine it, with a trace, and the nearest that passes
    assert any(re.fullmatch(r"This run failed on \S+ and was kept", note) for note in exception.__notes__)


def test_each_argument_has_its_own():
    failure_of(explored_deposits(), "Ann")
    test = explored_deposits()
    failure_of(test, "Bob")
    assert len(test.made) > 10  # it was not made first


def test_what_passes_is_counted(tmp_path):
    failure_of(explored_deposits())
    for _ in range(2):
        explored_deposits(fixed=True, runs=5)()
    (line,) = kept_lines(tmp_path / "kept")
    assert "passed=2" in line


def test_every_failure_keeps_every_failure(tmp_path):
    @virtualloop.explored(every_failure=True, runs=300)
    async def test_both():
        order = []

        async def one(number, after):
            await asyncio.sleep(after)
            order.append(number)

        await asyncio.gather(*[one(number, 0.01 + 0.01 * number) for number in range(4)])
        if order[0] != 0:
            raise KeyError(order[0])
        assert order[-1] == 3

    with pytest.raises(ExceptionGroup, match="2 different failures") as info:
        test_both()
    assert {type(exc) for exc in info.value.exceptions} == {KeyError, AssertionError}
    for exc in info.value.exceptions:
        assert sum("virtualloop: " in note for note in exc.__notes__) == 1
    assert len(kept_lines(tmp_path / "kept")) == 2


def test_with_every_failure_all_kept_runs_are_made_and_each_failure_is_told_once(tmp_path):
    made = []

    async def two_choices():
        first, second = virtualloop.choose("ab"), virtualloop.choose("ab")
        made.append(first + second)
        if first == "b":
            raise KeyError
        assert second == "a"

    async def only_both():
        assert virtualloop.choose("ab") + virtualloop.choose("ab") != "bb"

    def explored():
        made.clear()
        with pytest.raises(ExceptionGroup, match="2 different failures"):
            virtualloop.explored(every_failure=True, runs=300)(two_choices)()
        return made[:]

    explored()
    (path,) = (tmp_path / "kept").glob("*.txt")
    # One more that fails as the first one does: it was kept by somebody else, say.
    both = virtualloop.explore(only_both, check=False, patch_time=False, patch_random=False).failure.token
    header, *lines = path.read_text().splitlines()
    same = next(line for line in lines if "KeyError" in line)
    path.write_text("\n".join([header, *lines, same.replace(same.split()[0], both)]) + "\n")

    assert "bb" in explored()
    assert len(kept_lines(tmp_path / "kept")) == 3


def test_where_nothing_can_be_written_a_note_says_so(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VIRTUALLOOP_KEEP", str(tmp_path / "file"))
    assert any(note.startswith("This run was not kept: ") for note in failure_of(explored_deposits()).__notes__)


def test_a_damaged_token_in_a_file_is_left_alone(tmp_path):
    failure_of(explored_deposits())
    (path,) = (tmp_path / "kept").glob("*.txt")
    path.write_text(re.sub(r"v1\.\S+", "v1.nonsense", path.read_text()))
    explored_deposits(fixed=True, runs=5)()
    failure_of(explored_deposits())
    assert len(kept_lines(tmp_path / "kept")) == 2


# --- pinned -----------------------------------------------------------------------------------------------------------


def test_pinned_runs_are_always_made(monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP_KEEP", "")
    token = token_of(failure_of(explored_deposits()))

    test = explored_deposits(replay=[token], runs=1)
    exception = failure_of(test)
    assert "This run is pinned by replay=" in exception.__notes__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explored_deposits(replay=[token], fixed=True, runs=5)()


def test_a_pinned_run_that_fits_no_more_is_no_failure(monkeypatch):
    monkeypatch.setenv("VIRTUALLOOP_KEEP", "")
    token = token_of(failure_of(explored_deposits()))

    @virtualloop.explored(replay=[token], runs=2)
    async def test_deposits(name="Ann"):
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2))

    with pytest.warns(UserWarning, match="fits no more, and passes: ") as record:
        test_deposits()
    assert any(f"the run replay={token!r}" in str(warning.message) for warning in record)


@pytest.mark.parametrize("wrong", ["v1.abc", [1]])
def test_what_is_pinned_is_checked(wrong):
    with pytest.raises(TypeError, match="replay must be a list of tokens"):
        explored_deposits(replay=wrong)
    with pytest.raises(ReplayError, match="the token is not whole"):
        explored_deposits(replay=["v1.abc"])


# --- VIRTUALLOOP_REPLAY -----------------------------------------------------------------------------------------------


def test_a_replay_is_for_its_own_arguments(monkeypatch):
    token = token_of(failure_of(explored_deposits(), "Ann"))
    monkeypatch.setenv("VIRTUALLOOP_REPLAY", token)
    failure_of(explored_deposits(), "Ann")
    with pytest.raises(unittest.SkipTest, match=r"holds a run of explored_deposits\S+test_deposits with other arg"):
        explored_deposits()("Bob")


def test_a_replay_of_another_test_is_nothing_to_this_one(monkeypatch):
    token = token_of(failure_of(explored_deposits()))
    monkeypatch.setenv("VIRTUALLOOP_REPLAY", token)
    made = []

    @virtualloop.explored(runs=5)
    async def test_else():
        made.append(1)
        await asyncio.sleep(1)

    test_else()
    assert len(made) > 1


def test_a_token_of_another_program_does_not_pass_silently():
    token = token_of(failure_of(explored_deposits()))

    async def other():
        await asyncio.sleep(1)

    with pytest.raises(ReplayError, match=r"of another program, or of this one with other arguments: this is test_"):
        virtualloop.explore(other, replay=token)


def test_a_replay_that_does_not_fit_says_what_to_do(monkeypatch):
    token = token_of(failure_of(explored_deposits()))
    monkeypatch.setenv("VIRTUALLOOP_REPLAY", token)

    @virtualloop.explored
    async def test_deposits(name="Ann"):
        await asyncio.sleep(0)

    test_deposits.__wrapped__.__qualname__ = "explored_deposits.<locals>.test_deposits"
    with pytest.raises(ReplayError, match=r"Fixed\? Run it without VIRTUALLOOP_REPLAY"):
        test_deposits()


def test_a_replay_that_passes_is_said_at_the_end(monkeypatch):
    token = token_of(failure_of(explored_deposits()))
    monkeypatch.setenv("VIRTUALLOOP_REPLAY", token)
    sums = Ledger()
    monkeypatch.setattr(api, "ledger", sums)
    monkeypatch.setattr(atexit, "register", lambda function: None)
    explored_deposits(fixed=True)()
    assert sums.lines() == [
        "virtualloop: the run in VIRTUALLOOP_REPLAY passes. Fixed? Run it without VIRTUALLOOP_REPLAY."
    ]
