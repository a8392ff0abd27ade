"""What the system tells about a thread."""

import subprocess
import sys
import threading

import pytest

from virtualloop._world import system
from virtualloop._world.system import Call

pytestmark = pytest.mark.skipif(not system.AVAILABLE, reason="this system tells nothing about threads")


def test_who_wants_the_interpreters_lock_is_at_work():
    over = threading.Event()

    def compute():
        while not over.is_set():
            pass

    threads = [threading.Thread(target=compute) for _ in range(3)]
    for thread in threads:
        thread.start()

    looks = [system.what_does(thread.native_id) for _ in range(200) for thread in threads]
    over.set()

    assert {look.call for look in looks} == {Call.WORK}


@pytest.mark.parametrize(("look", "call"), [(1, Call.LOCK), (2, Call.WORK)])
def test_a_time_limit_is_never_read_from_what_was_there_before(look, call, monkeypatch):
    lock = threading.Lock()
    lock.acquire()
    again = threading.Lock()
    again.acquire()

    def wait():
        lock.acquire(timeout=3600)
        again.acquire()

    thread = threading.Thread(target=wait)
    thread.start()
    while system.what_does(thread.native_id).call is not Call.LOCK:
        pass

    seconds_at, reads = system._seconds_at, []

    def too_late(address):
        reads.append(address)
        if len(reads) < look:
            return seconds_at(address)
        lock.release()
        while system._what_does(f"/proc/self/task/{thread.native_id}") != system.Doing(Call.LOCK):
            pass
        return 1e14

    with monkeypatch.context() as patch:
        patch.setattr(system, "_seconds_at", too_late)
        seen = system.what_does(thread.native_id)
    again.release()

    assert seen == system.Doing(call)


@pytest.mark.parametrize(
    ("number", "state", "call"),
    [
        (0, "S", Call.DESCRIPTORS),
        (0, "D", Call.WORK),
        (0, "R", Call.WORK),
        (202, "S", Call.LOCK),
        (202, "R", Call.WORK),
    ],
)
def test_a_wait_that_is_over_or_is_for_a_disk_is_work(number, state, call, monkeypatch):
    files = {
        "/syscall": f"{number} 0x3 0x7f00 0x1000 0x0 0x0 0x0 0x7ffe 0x7f01".encode(),
        "/stat": f"7 (a) b) {state} 1".encode(),
    }
    monkeypatch.setattr(system, "_CALLS", system._X86_64)
    monkeypatch.setattr(system, "_read", lambda path, room=0: files[path])

    assert system._what_does("").call is call


@pytest.mark.parametrize(("turns", "asleep"), [((3, 3), True), ((3, 4), False)])
def test_children_that_wake_each_other_while_they_are_looked_at_are_at_work(turns, asleep, monkeypatch):
    runs = iter(turns)

    def sleeps(tree, seen):
        seen["a child"] = next(runs)
        return True

    monkeypatch.setattr(system, "_is_asleep", sleeps)

    assert system.is_asleep() is asleep


def test_children_that_wait_for_each_other_come_to_sleep():
    with subprocess.Popen(["/bin/sh", "-c", "cat | cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        while not system.is_asleep():
            pass
        assert child.poll() is None
        child.stdin.close()


@pytest.mark.parametrize(("state", "runs"), [("S", False), ("D", True), ("R", True)])
def test_a_thread_that_waits_for_a_disk_runs(state, runs, monkeypatch):
    monkeypatch.setattr(system, "_read", lambda path, room=0: f"7 (a) b) {state} 1".encode())

    assert system.runs(7) is runs


def test_a_descriptor_that_is_closed_while_it_is_looked_at_hides_no_other(monkeypatch):
    def readlink(path):
        if path.endswith("/3"):
            raise FileNotFoundError
        return {"0": "/dev/null", "4": "pipe:[7]"}[path[-1]]

    monkeypatch.setattr(system, "_listdir", lambda path: ["0", "3", "4"])
    monkeypatch.setattr(system, "_readlink", readlink)

    assert system.names_of("1") == {"/dev/null", "pipe:[7]"}


def test_what_has_ended_has_nothing_and_does_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    ended = str(process.pid)

    assert system.children(ended) == [] == list(system.descendants(ended))
    assert system.names_of(ended) == set()
    assert system.name_of(0, ended) is None
    assert system.birth_of(ended) is None
    assert system.is_asleep(ended)


def test_a_thread_that_has_not_begun_does_nothing():
    assert system.what_does(threading.Thread().native_id) is None


@pytest.mark.parametrize("said", [b"", b"running", b"-1 0x7f00 0x7f01"])
def test_who_waits_for_nothing_that_is_told_waits_for_nobody(said, monkeypatch):
    monkeypatch.setattr(system, "_read", lambda path, room=0: said)

    assert system.awaited_by(1) is None
    assert system._what_does("") == (system.Doing(Call.WORK) if said else None)
