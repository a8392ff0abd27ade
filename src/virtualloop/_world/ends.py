"""Who has the other end of what a loop or a thread waits for.

Owns that question to Linux: which pipe, terminal or socket is at the other end of a descriptor, under the name that it
has among the descriptors of a process, and which process's end a descriptor tells of; and whether a child at work has
one. Elsewhere nobody is known.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterable
from typing import NamedTuple

from virtualloop._world import system
from virtualloop._world.segments import holds_back

__all__ = ["Ends", "child_works_for", "is_within", "other_ends"]

#: Linux's protocol to ask for sockets by what is known of them, `man 7 sock_diag`: the number among netlink's, the
#: kinds of message, and the attribute that names a unix socket's peer.
_SOCK_DIAG, _BY_FAMILY, _REQUEST = 4, 20, 1
_SHOW_PEER, _PEER = 4, 2
_ANY = 0xFFFFFFFF
_HEAD = struct.Struct("=IHHII")
#: Where the answer on a unix socket has its attributes, and that on an internet socket its number.
_ATTRIBUTES, _INODE = 16 + 16, 16 + 68


class Ends(NamedTuple):
    """The other ends of some descriptors.

    `names` are what a process that has one of them has among its descriptors; `processes` those whose end is told;
    `anybody` says that who has none may come: one connects to a socket, or opens a pipe by its path.
    """

    names: frozenset[str]
    processes: frozenset[int]
    anybody: bool

    def are_had_by(self, process: str) -> bool:
        """Return whether a process has one of them, or its end is told."""
        return int(process) in self.processes or not self.names.isdisjoint(system.names_of(process))


class _Found:
    def __init__(self) -> None:
        self.names: set[str] = set()
        self.processes: set[int] = set()
        self.anybody = False


def other_ends(fds: Iterable[int]) -> Ends:
    """Return the other ends of these descriptors of this process, as far as they are to be seen."""
    found = _Found()
    for fd in fds:
        name = system.name_of(fd)
        if name is not None:
            _enter(fd, name, found)
    return Ends(frozenset(found.names), frozenset(found.processes), found.anybody)


def child_works_for(native_id: int | None) -> bool:
    """Return whether a child is at work that ends what a thread waits for, or may, for all that can be seen."""
    if system.is_asleep():
        return False
    awaited = system.awaited_by(native_id)
    if awaited is None:
        return True
    fds, child = awaited
    if child is not None:
        return not system.is_child_asleep(child)
    ends = other_ends(fds)
    return ends.anybody or any(
        ends.are_had_by(each) and not system.is_child_asleep(int(each)) for each in system.descendants("self")
    )


def is_within(native_id: int | None) -> bool:
    """Return whether all that a thread waits for has its other end in this process, and nowhere else."""
    fds, child = system.awaited_by(native_id) or ([], None)
    return bool(fds) and child is None and all(map(_ends_here, fds))


def _ends_here(fd: int) -> bool:
    name = system.name_of(fd)
    if name is None or not name.startswith(("pipe:", "socket:")):
        return False
    if name.startswith("pipe:"):
        return any(each != fd and system.name_of(each) == name and system.is_written(each) for each in system.opened())
    ends = other_ends([fd])
    there = [each for each in system.opened() if system.name_of(each) in ends.names]
    # What the system holds back is on its way.
    return bool(there) and not any(map(holds_back, there))


def _enter(fd: int, name: str, found: _Found) -> None:
    if name.startswith("pipe:"):
        found.names.add(name)
    elif name.startswith("socket:"):
        _enter_peer(fd, found)
    elif "pidfd" in name:
        process = system.told_of(fd, "Pid")
        if process is not None and process > 0:
            found.processes.add(process)
    elif name.endswith("/ptmx"):
        number = system.told_of(fd, "tty-index")
        if number is not None:
            found.names.add(f"/dev/pts/{number}")
    elif stat.S_ISFIFO(os.fstat(fd).st_mode):
        found.names.add(name)
        found.anybody = True


def _enter_peer(fd: int, found: _Found) -> None:
    sock = socket.socket(fileno=fd)
    try:
        unix = sock.family == getattr(socket, "AF_UNIX", None)
        inode = _unix_peer(os.fstat(fd).st_ino) if unix else _inet_peer(sock)
        if inode:
            found.names.add(f"socket:[{inode}]")
        elif inode == 0:
            found.anybody = True
    finally:
        sock.detach()


def _unix_peer(inode: int) -> int | None:
    """Return the number of the socket that this one is connected to, None if that cannot be seen.

    0 if it is connected to none, or to one that nobody has accepted.
    """
    answer = _ask(struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, _ANY, inode & _ANY, _SHOW_PEER, _ANY, _ANY))
    if answer is None:
        return None
    at = _ATTRIBUTES
    while at + 4 <= len(answer):
        size, kind = struct.unpack_from("=HH", answer, at)
        if kind == _PEER:
            peer: int = struct.unpack_from("=I", answer, at + 4)[0]
            return peer
        at += (size + 3) & ~3 or 4
    return 0


def _inet_peer(sock: socket.socket) -> int | None:
    """Return the same of an internet socket: None also where the peer is on another machine, or may be any of many."""
    try:
        here, there = sock.getsockname(), sock.getpeername()
    except OSError:
        return 0
    if sock.type != socket.SOCK_STREAM:
        return None
    ports = struct.pack(">HH", there[1], here[1])
    addresses = [socket.inet_pton(sock.family, address[0].partition("%")[0]) for address in (there, here)]
    ends = b"".join(address.ljust(16, b"\0") for address in addresses)
    answer = _ask(
        struct.pack("=BBBBI", sock.family, socket.IPPROTO_TCP, 0, 0, _ANY)
        + ports + ends + struct.pack("=III", 0, _ANY, _ANY)
    )  # fmt: skip
    return None if answer is None else struct.unpack_from("=I", answer, _INODE)[0]


def _ask(question: bytes) -> bytes | None:
    """Return what the system says of one socket, or None where it says nothing."""
    try:
        with socket.socket(getattr(socket, "AF_NETLINK"), socket.SOCK_DGRAM, _SOCK_DIAG) as netlink:  # noqa: B009  # not every system has it
            netlink.send(_HEAD.pack(_HEAD.size + len(question), _BY_FAMILY, _REQUEST, 0, 0) + question)
            answer = netlink.recv(4096)
    except (AttributeError, OSError):
        return None
    size, kind, *_ = _HEAD.unpack_from(answer)
    return answer[:size] if kind == _BY_FAMILY else None
