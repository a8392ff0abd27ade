"""What a thread waits for, as Linux tells, and whether a child at work ends that."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time

import pytest

import virtualloop._world.ends
from virtualloop._world import system
from virtualloop._world.ends import child_works_for
from virtualloop._world.parked import State, look_at
from virtualloop._world.system import Call

pytestmark = pytest.mark.skipif(not system.AVAILABLE, reason="this system does not tell what a thread waits in")


def selected(here):
    select.select([here], [], [])


def polled(here):
    poll = select.poll()
    poll.register(here, select.POLLIN)
    poll.poll()


def epolled(here):
    with select.epoll() as epoll:
        epoll.register(here, select.EPOLLIN)
        epoll.poll()


def read(here):
    os.read(here, 1)


def received(here):
    socket.socket(fileno=os.dup(here)).recv(1)


class Waiting:
    """A thread that waits, once it does."""

    def __init__(self, wait, *args):
        self.thread = threading.Thread(target=wait, args=args)
        self.thread.start()
        while not (
            (doing := system.what_does(self.thread.native_id)) and doing.call in (Call.DESCRIPTORS, Call.PROCESS)
        ):
            time.sleep(0.001)

    def is_seen(self, state):
        """Return True as soon as it is: a thread that is about to end may be taken for one of a library in C."""
        while self.look() is not state:
            time.sleep(0.001)
        return True

    def look(self):
        return look_at(self.thread, sys._current_frames()[self.thread.ident]).state


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("wait", [selected, polled, epolled, read, received], ids=lambda wait: wait.__name__)
@pytest.mark.parametrize("has_end", [False, True])
def test_a_child_at_work_counts_if_it_has_the_other_end(wait, has_end):
    here, there = socket.socketpair()
    with here, there:
        waiting = Waiting(wait, here.fileno())
        passed = [there.fileno()] if has_end else []
        with subprocess.Popen(["/bin/sleep", "60"], pass_fds=passed) as child:
            assert system.awaited_by(waiting.thread.native_id) is not None
            assert child_works_for(waiting.thread.native_id) is has_end
            assert waiting.is_seen(State.WORKING if has_end else State.PARKED)
            child.kill()
        there.send(b"x")
        waiting.thread.join()


@contextlib.contextmanager
def pipe():
    here, there = os.pipe()
    try:
        yield here, there, lambda: os.write(there, b"x")
    finally:
        os.close(here)
        os.close(there)


@contextlib.contextmanager
def connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = socket.create_connection(server.getsockname())
        there, _ = server.accept()
    with here, there:
        yield here.fileno(), there.fileno(), lambda: there.send(b"x")


@pytest.mark.parametrize("ends", [pipe, connection], ids=lambda ends: ends.__name__)
def test_who_waits_for_this_process_alone_is_parked(ends, monkeypatch):
    with ends() as (here, there, write):
        waiting = Waiting(read, here)
        assert waiting.is_seen(State.PARKED)
        # The system holds back what was written, until the other side has acknowledged what it had before.
        monkeypatch.setattr(virtualloop._world.ends, "holds_back", lambda fd: fd == there)
        assert waiting.is_seen(State.PARKED if ends is pipe else State.OUTSIDE)
        write()
        waiting.thread.join()


def test_a_pipe_that_this_process_cannot_write_to_is_one_to_the_outside():
    here, there = os.pipe()
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=there) as child:
        os.close(there)
        copy = os.dup(here)
        while not system.is_child_asleep(child.pid):
            pass
        waiting = Waiting(read, here)
        look = waiting.look()
        child.stdin.close()
        waiting.thread.join()
        os.close(here)
        os.close(copy)

    assert look is State.OUTSIDE


@pytest.mark.parametrize("wait", [lambda child: child.wait(), lambda child: os.waitid(os.P_PID, child.pid, os.WEXITED)])
def test_a_child_that_is_waited_for_by_its_number(wait):
    with (
        subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as reader,
        subprocess.Popen(["/bin/sleep", "60"]) as works,
    ):
        while not system.is_child_asleep(reader.pid):
            pass
        waiting = [Waiting(wait, child) for child in (reader, works)]
        looks = [(each.look(), system.awaited_by(each.thread.native_id)) for each in waiting]
        reader.stdin.close()
        works.kill()
        for each in waiting:
            each.thread.join()

    assert looks == [(State.OUTSIDE, ([], reader.pid)), (State.WORKING, ([], works.pid))]


def test_who_waits_for_any_child_is_waited_for():
    with subprocess.Popen(["/bin/sleep", "60"]) as works:
        waiting = Waiting(lambda: os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT))
        look = waiting.look()
        works.kill()
        waiting.thread.join()

    assert look is State.WORKING
