"""What the operating system tells about a thread: whether it runs, what it waits in, and until when.

Owns the reading of Linux's /proc and nothing else; knows nothing of Python frames, loops or jobs. Where there is no
/proc, or on a processor whose system calls are not listed here, the answer is None, and others have to do without.

One line of `/proc/self/task/<id>/syscall` says nearly all, as of one moment: "running" for a thread that runs, else the
system call it sleeps in, with its arguments. Whether it was woken, and is about to run, stands in `stat`. A wait for a
lock is a futex. Without a time limit only somebody else of this process can end it. A thread that wants Python's
interpreter lock, or hands it over, waits in a futex as well, for a moment: it is told by its address, which lies among
the interpreter's static variables, where no program has a lock.
"""

from __future__ import annotations

import enum
import functools
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from virtualloop._folders import names_in

__all__ = [
    "AVAILABLE",
    "Call",
    "Doing",
    "awaited_by",
    "birth_of",
    "children",
    "descendants",
    "has_children",
    "is_asleep",
    "is_child_asleep",
    "is_dead",
    "is_ending",
    "is_written",
    "name_of",
    "names_of",
    "native_threads",
    "numbers_told_of",
    "opened",
    "rings_in",
    "runs",
    "told_of",
    "turns_of",
    "what_does",
]


class Call(enum.Enum):
    """What a thread sleeps in, as far as it makes a difference."""

    LOCK = "a lock or a condition"
    SLEEP = "a sleep"
    DESCRIPTORS = "a poll, a read, an accept: it waits for a descriptor"
    PROCESS = "a wait for a child process"
    WORK = "nothing: it runs, is about to, or is in a system call that will end by itself"


class Doing(NamedTuple):
    """What a thread does. `limited`: whether its wait ends by itself; `left`: in how many seconds, where known."""

    call: Call
    limited: bool = False
    left: float | None = None


#: Where a time limit stands among a call's arguments, and how it is written there.
_NO_LIMIT = (None, "")
_POINTER, _MILLISECONDS, _SLEEP, _CLOCK_SLEEP, _FUTEX = "pointer", "milliseconds", "sleep", "clock sleep", "futex"

_X86_64 = {
    0: (Call.DESCRIPTORS, _NO_LIMIT),  # read
    7: (Call.DESCRIPTORS, (2, _MILLISECONDS)),  # poll
    19: (Call.DESCRIPTORS, _NO_LIMIT),  # readv
    23: (Call.DESCRIPTORS, (4, _POINTER)),  # select
    35: (Call.SLEEP, (0, _SLEEP)),  # nanosleep
    43: (Call.DESCRIPTORS, _NO_LIMIT),  # accept
    45: (Call.DESCRIPTORS, _NO_LIMIT),  # recvfrom
    47: (Call.DESCRIPTORS, _NO_LIMIT),  # recvmsg
    61: (Call.PROCESS, _NO_LIMIT),  # wait4
    202: (Call.LOCK, (3, _FUTEX)),  # futex
    230: (Call.SLEEP, (2, _CLOCK_SLEEP)),  # clock_nanosleep
    232: (Call.DESCRIPTORS, (3, _MILLISECONDS)),  # epoll_wait
    247: (Call.PROCESS, _NO_LIMIT),  # waitid
    270: (Call.DESCRIPTORS, (4, _POINTER)),  # pselect6
    271: (Call.DESCRIPTORS, (2, _POINTER)),  # ppoll
    281: (Call.DESCRIPTORS, (3, _MILLISECONDS)),  # epoll_pwait
    288: (Call.DESCRIPTORS, _NO_LIMIT),  # accept4
    441: (Call.DESCRIPTORS, (3, _POINTER)),  # epoll_pwait2
}
_AARCH64 = {
    22: (Call.DESCRIPTORS, (3, _MILLISECONDS)),  # epoll_pwait
    63: (Call.DESCRIPTORS, _NO_LIMIT),  # read
    65: (Call.DESCRIPTORS, _NO_LIMIT),  # readv
    72: (Call.DESCRIPTORS, (4, _POINTER)),  # pselect6
    73: (Call.DESCRIPTORS, (2, _POINTER)),  # ppoll
    95: (Call.PROCESS, _NO_LIMIT),  # waitid
    98: (Call.LOCK, (3, _FUTEX)),  # futex
    101: (Call.SLEEP, (0, _SLEEP)),  # nanosleep
    115: (Call.SLEEP, (2, _CLOCK_SLEEP)),  # clock_nanosleep
    202: (Call.DESCRIPTORS, _NO_LIMIT),  # accept
    207: (Call.DESCRIPTORS, _NO_LIMIT),  # recvfrom
    212: (Call.DESCRIPTORS, _NO_LIMIT),  # recvmsg
    242: (Call.DESCRIPTORS, _NO_LIMIT),  # accept4
    260: (Call.PROCESS, _NO_LIMIT),  # wait4
    441: (Call.DESCRIPTORS, (3, _POINTER)),  # epoll_pwait2
}
#: The calls in which somebody sleeps until what he has written is read: write, writev, sendto, sendmsg.
_WRITES = {"x86_64": (1, 20, 44, 46), "aarch64": (64, 66, 206, 211)}
_MACHINE = os.uname().machine if hasattr(os, "uname") else ""
_CALLS = {"x86_64": _X86_64, "aarch64": _AARCH64}.get(_MACHINE, {})

#: How a call is told which descriptors, or which child, to wait for.
_ONE, _ARRAY, _SETS, _EPOLL = "one descriptor", "an array of them", "sets of them", "an epoll's"
_CHILD, _KIND_AND_CHILD = "a child", "a child, or what else the first argument says"
_GIVEN = {
    "x86_64": {
        _ONE: (0, 19, 43, 45, 47, 288),
        _ARRAY: (7, 271),
        _SETS: (23, 270),
        _EPOLL: (232, 281, 441),
        _CHILD: (61,),
        _KIND_AND_CHILD: (247,),
    },
    "aarch64": {
        _ONE: (63, 65, 202, 207, 212, 242),
        _ARRAY: (73,),
        _SETS: (72,),
        _EPOLL: (22, 441),
        _CHILD: (260,),
        _KIND_AND_CHILD: (95,),
    },
}.get(_MACHINE, {})
_GIVEN_BY = {call: given for given, calls in _GIVEN.items() for call in calls}
#: Of more descriptors than these it is not asked which they are.
MOST_DESCRIPTORS = 1024
#: For `waitid`: wait for one child, by its number.
_BY_NUMBER = 1

#: Room for the longest line: nine numbers of up to 18 digits each.
_LINE = 256
#: The flag that makes a sleep's end a time and not a length; and the one that says by which clock a futex is limited.
_ABSOLUTE = 1
_BY_THE_CALENDAR = 256
# Kept from before anyone can put these on a virtual clock, or forbid them while a loop runs.
_open, _get, _close, _listdir = os.open, os.read, os.close, names_in
_readlink: Any = getattr(os, "readlink", None)
_pread: Any = getattr(os, "pread", None)
_clock: Callable[[int], float] = getattr(time, "clock_gettime", float)


def what_does(native_id: int | None) -> Doing | None:
    """Return what the thread does, or None if the system does not tell: it is gone, or this is no Linux."""
    if native_id is None:
        return None
    task = f"/proc/self/task/{native_id}"
    doing = _what_does(task)
    if doing is None or doing.left is None:
        return doing
    # Once more: if it goes on meanwhile, where its time limit stood may be anything by then.
    turns = _turns(task)
    doing = _what_does(task)
    return doing if _turns(task) == turns else Doing(Call.WORK)


def _what_does(task: str) -> Doing | None:
    line = _read(f"{task}/syscall")
    if line is None:
        return None
    words = line.split()
    if not words:
        return None
    if not words[0].isdigit():
        # "running"; or -1, for a thread that is stopped or sleeps outside of any system call.
        return Doing(Call.WORK)
    if _state_of(f"{task}/stat") != b"S":
        # It was woken, and the processor that it shall run on has not heard of that yet. Or it reads a file, and waits
        # for the disk: such a sleep ends by itself.
        return Doing(Call.WORK)
    call, (position, kind) = _CALLS.get(int(words[0]), (Call.WORK, _NO_LIMIT))
    if position is None:
        return Doing(call)
    if call is Call.LOCK and int(words[1], 16) in _statics():
        return Doing(Call.WORK)
    argument = int(words[1 + position], 16)
    if kind is _POINTER:
        return Doing(call, limited=argument != 0)
    if kind is _MILLISECONDS:
        limit = argument & 0xFFFFFFFF
        return Doing(call) if limit >> 31 else Doing(call, limited=True, left=limit / 1000)
    if kind is _FUTEX and not argument:
        return Doing(call)
    left = _seconds_at(argument)
    if left is not None and (kind is _FUTEX or (kind is _CLOCK_SLEEP and int(words[2], 16) & _ABSOLUTE)):
        calendar = kind is _FUTEX and int(words[2], 16) & _BY_THE_CALENDAR
        left -= _clock(0 if calendar else 1 if kind is _FUTEX else int(words[1], 16))
    return Doing(call, limited=True, left=None if left is None else max(0.0, left))


def awaited_by(native_id: int | None) -> tuple[list[int], int | None] | None:
    """Return which descriptors a thread waits for, or which child; None if that cannot be seen, or it waits for any."""
    words = (_read(f"/proc/self/task/{native_id}/syscall") or b"").split()
    if len(words) < 7 or not words[0].isdigit():
        return None
    given = _GIVEN_BY.get(int(words[0]))
    first, second, third, fourth = (int(word, 16) for word in words[1:5])
    if given is _ONE:
        return [first & 0x7FFFFFFF], None
    if given is _EPOLL:
        return numbers_told_of(first, "tfd"), None
    if given is _ARRAY and second <= MOST_DESCRIPTORS:
        array = _memory_at(first, 8 * second)
        return None if array is None else ([fd for fd, _ in struct.iter_unpack("ii", array)], None)
    if given is _SETS and first <= MOST_DESCRIPTORS:
        sets = [_memory_at(address, MOST_DESCRIPTORS // 8) for address in (second, third, fourth) if address]
        bits = 0
        for each in sets:
            bits |= int.from_bytes(each or b"", sys.byteorder)
        return [fd for fd in range(first) if bits >> fd & 1], None
    if given is _CHILD and 0 < first < 1 << 31:
        return [], first
    if given is _KIND_AND_CHILD and first == _BY_NUMBER:
        return [], second & 0x7FFFFFFF
    return None


def is_ending(native_id: int | None) -> bool:
    """Return whether a thread that Python knows no more still runs: whoever has joined it waits for that."""
    doing = what_does(native_id)
    return doing is not None and doing.call is Call.WORK


def turns_of(native_id: int | None) -> object:
    """Return something that changes whenever the thread runs: how often it did, as far as the system tells."""
    return None if native_id is None else _turns(f"/proc/self/task/{native_id}")


def _turns(task: str) -> object:
    line = _read(f"{task}/schedstat")
    return None if line is None else line.split()[-1]


def is_asleep(tree: str = "self") -> bool:
    """Return whether all that the children of a process, and theirs, do is to wait for something without a time limit.

    So does a process that has no child. What cannot be seen is at work.
    """
    before: dict[str, object] = {}
    after: dict[str, object] = {}
    # Between the looks at two of them, one may have woken the other and gone to rest itself.
    return _is_asleep(tree, before) and (not before or (_is_asleep(tree, after) and before == after))


def _is_asleep(tree: str, turns: dict[str, object]) -> bool:
    """Return the same from one round of looks; enter into `turns` how often each thread that was looked at has run."""
    try:
        tasks = _listdir(f"/proc/{tree}/task")
    except OSError:
        return True  # It has ended meanwhile.
    for task in tasks:
        folder = f"/proc/{tree}/task/{task}"
        if tree != "self":
            doing = _what_does(folder)
            if doing is None or doing.limited or doing.call in (Call.WORK, Call.SLEEP):
                if not _waits_for_a_reader(tree, folder) and not _is_dead(f"{folder}/stat"):
                    return False
            turns[task] = _turns(folder)
        if not all(_is_asleep(child, turns) for child in _children_of(folder)):
            return False
    return True


def _waits_for_a_reader(process: str, task: str) -> bool:
    """Return whether a thread of a child sleeps until somebody reads what it writes into a pipe or a socket."""
    words = (_read(f"{task}/syscall") or b"").split()
    if len(words) < 2 or not words[0].isdigit() or int(words[0]) not in _WRITES.get(_MACHINE, ()):
        return False
    try:
        name: str = _readlink(f"/proc/{process}/fd/{int(words[1], 16)}")
    except OSError:
        return False
    return name.startswith(("pipe:", "socket:")) and _state_of(f"{task}/stat") == b"S"


def is_child_asleep(child: int) -> bool:
    """Return the same of a child together with all of its own. One that has ended is not: that is heard of at once."""
    return AVAILABLE and is_asleep(str(child)) and not is_dead(str(child))


def has_children() -> bool:
    """Return whether this process has child processes."""
    return AVAILABLE and bool(children())


def children(process: str = "self") -> list[str]:
    """Return the children of a process, by their numbers; those included that have ended and were not asked how."""
    try:
        if process == "self":
            # Most have none, and this costs less.
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        tasks = _listdir(f"/proc/{process}/task")
    except OSError:
        return []
    return [child for task in tasks for child in _children_of(f"/proc/{process}/task/{task}")]


def descendants(process: str) -> Iterator[str]:
    """Yield the children of a process, and theirs."""
    for child in children(process):
        yield child
        yield from descendants(child)


def birth_of(process: str) -> object:
    """Return something that no other process has, also where it got the number of this one."""
    words = _stat_of(f"/proc/{process}/stat")
    return None if words is None else (process, words[19])


def is_dead(process: str) -> bool:
    """Return whether a process has ended and only waits for its parent to ask how."""
    return _is_dead(f"/proc/{process}/stat")


def names_of(process: str) -> set[str]:
    """Return the names that the system gives to what a process has open; none if it has ended."""
    try:
        fds = _listdir(f"/proc/{process}/fd")
    except OSError:
        return set()
    return {name for fd in fds if (name := name_of(fd, process)) is not None}


def name_of(fd: int | str, process: str = "self") -> str | None:
    """Return the name that the system gives to what a descriptor is of, or None if it is not there any more."""
    try:
        name: str = _readlink(f"/proc/{process}/fd/{fd}")
    except OSError:
        return None
    return name


def opened() -> list[int]:
    """Return the descriptors that this process has open."""
    try:
        return [int(name) for name in _listdir("/proc/self/fd")]
    except OSError:
        return []


def is_written(fd: int) -> bool:
    """Return whether a descriptor of this process can be written to."""
    flags = told_of(fd, "flags")
    # They are told in octal digits.
    return flags is not None and flags % 10 & 3 != 0


def told_of(fd: int, key: str) -> int | None:
    """Return a number that the system tells of one of this process's descriptors."""
    return next(iter(numbers_told_of(fd, key)), None)


def numbers_told_of(fd: int, key: str) -> list[int]:
    """Return the same where there may be several."""
    lines = (_read(f"/proc/self/fdinfo/{fd}", 1 << 16) or b"").decode().splitlines()
    return [int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if name.strip() == key]


def rings_in(fd: int) -> float | None:
    """Return in how many seconds a timer rings that a descriptor is of; None if it is not set, or is none."""
    for line in (_read(f"/proc/self/fdinfo/{fd}", 1024) or b"").decode().splitlines():
        if line.startswith("it_value:"):
            seconds, nanoseconds = line.partition("(")[2].rstrip(")").split(",")
            return int(seconds) + int(nanoseconds) / 1e9 or None
    return None


def native_threads() -> list[int]:
    """Return the ids of all threads of this process, those included that know nothing of Python."""
    try:
        return sorted(int(name) for name in _listdir("/proc/self/task"))
    except OSError:
        return []


def runs(native_id: int) -> bool:
    """Return whether a thread runs, is about to, or waits for a disk."""
    return _state_of(f"/proc/self/task/{native_id}/stat") in (b"R", b"D")


@functools.cache
def _statics() -> range:
    """Return the addresses of the interpreter's static variables: None is one, and so is the state of the runtime."""
    with open("/proc/self/maps", "rb", buffering=1 << 16, opener=_open) as mappings:
        for mapping in mappings:
            start, end = (int(address, 16) for address in mapping.split(maxsplit=1)[0].split(b"-"))
            if start <= id(None) < end:
                return range(start, end)
    return range(0)


def _seconds_at(address: int) -> float | None:
    """Return the struct timespec at an address of this process, or None where nothing is."""
    found = _memory_at(address, 16)
    if found is None:
        return None
    seconds, nanoseconds = struct.unpack("qq", found)
    return float(seconds + nanoseconds / 1e9)


def _memory_at(address: int, size: int) -> bytes | None:
    """Return so much of the memory of this process, or None where nothing is."""
    try:
        memory = _open("/proc/self/mem", os.O_RDONLY)
    except OSError:
        return None
    try:
        found: bytes = _pread(memory, size, address)
    except (OSError, OverflowError):
        return None
    finally:
        _close(memory)
    return found if len(found) == size else None


def _children_of(task: str) -> list[str]:
    """Return the processes that a thread has started, and that have not been asked for since they ended."""
    return (_read(f"{task}/children", 1 << 16) or b"").decode().split()


def _is_dead(path: str) -> bool:
    """Return whether it has ended and only waits for its parent to ask how."""
    return _state_of(path) in (None, b"Z", b"X")


def _state_of(path: str) -> bytes | None:
    words = _stat_of(path)
    return None if words is None else words[0]


def _stat_of(path: str) -> list[bytes] | None:
    line = _read(path, 1024)
    # Behind the name, which is in parentheses and may hold anything.
    return None if line is None else line.rpartition(b")")[2].split()


def _read(path: str, room: int = _LINE) -> bytes | None:
    try:
        file = _open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _get(file, room)
    except OSError:
        return None
    finally:
        _close(file)


#: Whether the system tells anything here. A container may have a /proc that does not know system calls.
AVAILABLE = sys.platform == "linux" and bool(_CALLS) and _what_does("/proc/self") is not None
