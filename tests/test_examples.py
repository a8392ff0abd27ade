"""Every file in examples/ runs as its docstring says, and prints what its reader is to see."""

import concurrent.futures
import functools
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import virtualloop
from helpers import amount

EXAMPLES = Path(__file__).parent.parent / "examples"
DEBUG = ("-X", "dev", "-W", "error")
#: In seconds: enough on a machine that is busy with much else.
LIMIT = 500


def run(name, *options, arguments=(), **environment):
    """Run an example in a process of its own; return the process, which ended well."""
    process = subprocess.run(
        [sys.executable, *options, EXAMPLES / name, *arguments],
        # Not this test's name: an example that fails a run says how to replay it outside of pytest.
        env={**os.environ, **environment, "PYTEST_CURRENT_TEST": ""},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process


def output(name, *options, arguments=(), **environment):
    """Run an example that has nothing to say on stderr; return what it prints."""
    process = run(name, *options, arguments=arguments, **environment)
    # In debug mode a busy machine has more to say: it is no wall-clock figure that is tested.
    assert re.sub(r"^Executing <.*> took [\d.]+ seconds\n", "", process.stderr, flags=re.MULTILINE) == ""
    return process.stdout


def without_tokens(text):
    return re.sub(r"v1\.[\w-]+", "TOKEN", text)  # it holds the version of Python


@pytest.mark.parametrize("options", [DEBUG, ()], ids=["debug", "plain"])
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_lost_update(options, hash_seed):
    """What it finds is part of it: so it tells when a seed means another run than it used to, or than elsewhere."""
    printed = output("lost_update.py", *options, PYTHONHASHSEED=hash_seed)
    known = Path(__file__).with_name("lost_update.txt").read_text(encoding="utf-8")

    assert without_tokens(printed) == without_tokens(known)


@pytest.mark.slow
def test_kv_linearizable():
    lines = output("kv_linearizable.py", *amount(("-W", "error"), DEBUG)).splitlines()
    assert lines[0] == "Store on stock asyncio: 5 runs pass."
    assert re.fullmatch(r"Store, explored: \d+ runs, the last one is", lines[1])
    assert re.fullmatch(r"not linearizable, key '[xy]': no order of these operations explains", lines[2])
    assert re.fullmatch(r"  get\(.*\) -> (None|1) by client (Bob|Eve) \(kv_linearizable.py:\d+\)", lines[3])
    assert sum(line.endswith("| <--") for line in lines) == 1
    assert re.fullmatch(r"LeaderStore, explored: 1000 runs, \d+ different, .*none failed.*", lines[-1])


def test_raft():
    # The longest failures take seconds to be made small; that all are found is tested below.
    names = amount(["GenerousNode"], ["ForgetfulNode", "GenerousNode", "CarelessNode"])
    printed = output("raft.py", "-W", "error", arguments=amount(names, ()))  # debug mode would take minutes
    *stories, right = printed.split("\n\n")
    for name, story in zip(names, stories, strict=True):
        first, broken, *rest = story.splitlines()
        assert re.fullmatch(rf"{name}: run \d+ fails", first)
        assert re.fullmatch(
            r"always\('one leader a term'\) no longer holds at t=.*, after callback Node.datagram_received\(\)", broken
        )
        told = rest[next(number for number, line in enumerate(rest) if line.startswith("virtualloop: ")) :]
        assert len(told) <= 40
        assert told[-1].startswith("Replay it: explore(main, network=..., replay='v1.")
        # Who forgets, does so in a crash; and the two that contradict each other.
        assert name != "ForgetfulNode" or any(re.search(r"network: host n\d crashes$", line) for line in told)
        leaders = [re.search(r"note: (n\d) leads (term \d)$", line) for line in told]
        (one, term), (other, same) = [leader.groups() for leader in leaders if leader][-2:]
        assert (one != other, term) == (True, same)
    assert re.fullmatch(r"Node: 300 runs, \d+ different, .*none failed\n", right)


@pytest.mark.parametrize("node_type", ["ForgetfulNode", "GenerousNode", "CarelessNode"])
def test_raft_with_other_seeds_and_two_processes(node_type, monkeypatch):
    """Each bug is found with each seed; two processes find the same run."""
    monkeypatch.syspath_prepend(EXAMPLES)
    raft = importlib.import_module("raft")
    program = functools.partial(raft.election, getattr(raft, node_type))
    options = {"network": raft.network(), "epoch": 0, "check": False, "shrink": False}
    found = [virtualloop.explore(program, seed=seed, **options) for seed in range(3)]
    for each in found:
        assert each.failure is not None
        assert "one leader a term" in str(each.failure.exception)
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        again = virtualloop.explore(program, seed=2, executor=executor, **options)
    assert (again.runs, again.failure.token) == (found[2].runs, found[2].failure.token)
    assert again.failure.report == found[2].failure.report


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
    lines = output("trace.py", *DEBUG).splitlines()
    assert lines[0].startswith("VirtualLoop(seed=10, order='io'): 8 steps of 3 tasks until t=0.05, 1 deviation")
    assert sum(line.startswith("*") for line in lines) == 1
    assert "note: the balance is 120, not 130" in lines[-1]


def test_beyond_one_machine():
    lines = output("beyond_one_machine.py").splitlines()
    assert lines[0].removeprefix("elsewhere: ") == lines[1].removeprefix("here:      ")
    assert lines[2] == "the same failure: True"


def test_every_example_has_a_test():
    for path in EXAMPLES.glob("*.py"):
        assert f"test_{path.stem}" in globals()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_says_how_to_run_it(path):
    assert f"python examples/{path.name}\n" in path.read_text(encoding="utf-8").split('"""')[1]
