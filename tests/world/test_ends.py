"""Who has the other end of a descriptor: what Linux tells."""

import os
import pty
import socket

import pytest

from virtualloop._world import system
from virtualloop._world.ends import Ends, is_within, other_ends

pytestmark = pytest.mark.skipif(not system.AVAILABLE, reason="this system does not tell who has a pipe")

NOBODY = Ends(frozenset(), frozenset(), anybody=False)
ANYBODY = NOBODY._replace(anybody=True)


def named(fd):
    return NOBODY._replace(names=frozenset([system.name_of(fd)]))


def test_both_ends_of_a_pipe_have_one_name():
    here, there = os.pipe()
    try:
        assert other_ends([here]) == other_ends([there]) == named(there) == named(here)
    finally:
        os.close(here)
        os.close(there)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_pair_of_sockets(kind):
    here, there = socket.socketpair(type=kind)
    with here, there:
        assert other_ends([here.fileno()]) == named(there.fileno())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_connection(family):
    with socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family) as server:
        assert other_ends([server.fileno()]) == ANYBODY
        here = socket.create_connection(server.getsockname()[:2])
        there, _ = server.accept()
        with here, there:
            assert other_ends([here.fileno()]) == named(there.fileno())
            assert other_ends([there.fileno()]) == named(here.fileno())


def test_datagrams():
    with socket.socket(type=socket.SOCK_DGRAM) as bound, socket.socket(type=socket.SOCK_DGRAM) as connected:
        bound.bind(("127.0.0.1", 0))
        connected.connect(bound.getsockname())

        assert other_ends([bound.fileno()]) == ANYBODY
        assert other_ends([connected.fileno()]) == NOBODY


def test_a_unix_socket_that_listens(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s"))
        server.listen()

        assert other_ends([server.fileno()]) == ANYBODY


def test_a_terminal():
    here, there = pty.openpty()
    try:
        assert other_ends([here]) == named(there)
        assert other_ends([there]) == NOBODY
    finally:
        os.close(here)
        os.close(there)


def test_a_pipe_with_a_path(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    fd = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert other_ends([fd]) == named(fd)._replace(anybody=True)
    finally:
        os.close(fd)


def test_a_process():
    fd = os.pidfd_open(os.getpid())
    try:
        assert other_ends([fd]) == NOBODY._replace(processes=frozenset([os.getpid()]))
    finally:
        os.close(fd)


def test_what_is_not_there_any_more_has_no_other_end(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    assert other_ends([fd]) == NOBODY
    os.close(fd)
    assert other_ends([fd]) == NOBODY


def test_where_the_system_says_nothing_of_sockets(monkeypatch):
    here, there = socket.socketpair()
    with here, there:
        monkeypatch.delattr(socket, "AF_NETLINK")

        assert other_ends([here.fileno()]) == NOBODY


def test_what_the_system_does_not_say_of_a_descriptor_is_nobody(monkeypatch):
    here, there = pty.openpty()
    process = os.pidfd_open(os.getpid())
    try:
        monkeypatch.setattr(system, "told_of", lambda fd, key: None)
        assert other_ends([here, process]) == NOBODY
        # A process that has ended, or is one of another namespace.
        monkeypatch.setattr(system, "told_of", lambda fd, key: -1)
        assert other_ends([process]) == NOBODY
    finally:
        for fd in (here, there, process):
            os.close(fd)


def test_who_waits_for_a_file_does_not_wait_within_the_process(tmp_path, monkeypatch):
    read, write = os.pipe()
    with open(tmp_path / "file", "wb") as file:
        for fds, within in (([read], True), ([file.fileno()], False), ([read, file.fileno()], False), ([], False)):
            monkeypatch.setattr(system, "awaited_by", lambda native_id, fds=fds: (fds, None))
            assert is_within(1) is within
    monkeypatch.setattr(system, "awaited_by", lambda native_id: ([read], 7))  # or a child
    assert not is_within(1)
    os.close(read)
    os.close(write)
