"""Whether a thread is at work, waits and will go on by itself, or is parked until somebody of this process wakes it.

Owns that judgement and nothing else; knows nothing of loops and jobs.

There are two witnesses. A thread's Python frame tells which call it is in the middle of, and mostly on what object: a
condition that still lists the waiter, a lock that is taken, a queue that is empty. The system (`system`, on Linux)
tells what the thread sleeps in, whichever code brought it there, and whether that has a time limit. A condition's list
is certain, and is asked first because it costs least; then the system. Where there is no system to ask, what looks
parked by its frame is a guess, to be confirmed by a second look at the same place after the GIL was let go.
"""

from __future__ import annotations

import concurrent.futures
import dis
import enum
import functools
import os
import selectors
import sys
import threading
from bisect import bisect
from queue import SimpleQueue
from types import BuiltinFunctionType, CodeType, FrameType, MethodDescriptorType
from typing import Any, NamedTuple

from virtualloop._folders import LIBRARY, PACKAGE
from virtualloop._stock.private import RUN_ONCE
from virtualloop._world import natives, system
from virtualloop._world.ends import child_works_for, is_within
from virtualloop._world.frameworks import runs_nothing_else
from virtualloop._world.system import Call

__all__ = ["Look", "State", "awaited_future", "look_at"]

#: Methods that park the thread that calls them, if it stays in the call: of locks, conditions, events, futures, queues
#: and threads.
PARKING = frozenset({"__enter__", "acquire", "get", "join", "put", "wait", "_wait_for_tstate_lock"})
#: The same for selectors, behind which a thread waits for the outside world.
OUTSIDE = frozenset({"epoll", "poll", "select"})

#: How many functions between Condition.wait() and the lock's own acquire() are looked through.
MAX_WRAPPERS = 2

#: In place of the name of something that has none.
_UNKNOWN = ("",)
_BUILTIN = (BuiltinFunctionType, MethodDescriptorType)
_FUTURE_WAITS = (concurrent.futures.Future.result.__code__, concurrent.futures.Future.exception.__code__)
_CONDITION_WAIT = threading.Condition.wait.__code__
#: Where locks are shared with other processes.
_BETWEEN_PROCESSES = os.path.join(LIBRARY, "multiprocessing", "")  # noqa: PTH118  # see there


class State(enum.Enum):
    """What a thread does."""

    WORKING = "runs code, is about to, or is inside a C function"
    TIMED = "waits, and will go on by itself when its time is up"
    OUTSIDE = "waits for a descriptor or a process, without a time limit"
    PARKED = "waits in a lock, a queue, or at an end of this process's, without a time limit, and nobody has woken it"
    PERHAPS = "looks parked; look again at the same place"


class Look(NamedTuple):
    """What was seen of a thread.

    `mark` is the same at two looks if the thread has not moved in between. `left` is how many seconds a wait goes on at
    most, where that is known; `limit` how many it was to go on, if it is one for somebody of this process. `woken` says
    that somebody has just ended its wait.
    """

    state: State
    mark: object = None
    left: float | None = None
    limit: float | None = None
    woken: bool = False


class _Callee(NamedTuple):
    """What a thread calls: the name of the function, and whose method it is, where that is known."""

    name: str
    receiver: Any


def look_at(thread: threading.Thread, frame: FrameType) -> Look:
    """Judge a thread whose innermost frame this is."""
    place = (id(frame), frame.f_lasti)
    code = frame.f_code
    condition = _condition_wait(frame)
    if condition is not None:
        look = _in_condition(condition, thread)
        if look is not None:
            return look
    callee = _called(frame)
    name = None if callee is None else callee.name
    doing = system.what_does(thread.native_id) if system.AVAILABLE else None
    if doing is None:
        return Look(_by_frame(frame, callee), place)
    if doing.call is Call.WORK:
        return Look(State.WORKING)
    if doing.call is Call.SLEEP:
        return Look(State.TIMED, (*place, system.turns_of(thread.native_id)), doing.left)
    if doing.call is Call.LOCK:
        if doing.limited and name not in PARKING:
            # It waits in C code, which may set itself limits as it likes.
            return Look(State.WORKING)
        mark = (*place, system.turns_of(thread.native_id))
        if doing.limited:
            return Look(State.TIMED, mark, doing.left, limit=doing.left)
        if code.co_filename.startswith(_BETWEEN_PROCESSES) and not system.is_asleep():
            return Look(State.WORKING, mark)
        if name not in PARKING:
            # Another interpreter's lock may be handed over, a moment's wait: so this takes two looks.
            return Look(State.WORKING) if natives.at_work() else Look(State.PERHAPS, mark)
        if callee is not None and isinstance(callee.receiver, SimpleQueue) and name == "get":
            if not callee.receiver.empty():
                return Look(State.WORKING)  # Something was put for it.
        return Look(State.PARKED, mark)
    mark = (*place, system.turns_of(thread.native_id))
    if doing.limited:
        return Look(State.TIMED, mark, doing.left)
    if _is_loop(frame) and runs_nothing_else(frame):
        return Look(State.PARKED, mark)  # A notebook's: it waits for the user.
    # What multiprocessing hands to a child may be on its way to it, so there any child counts.
    between_processes = _is_between_processes(frame)
    if child_works_for(thread.native_id) if not between_processes else not system.is_asleep():
        return Look(State.WORKING, mark)
    if between_processes or _is_idle_loop(frame):
        return Look(State.PARKED, mark)
    if is_within(thread.native_id) and not natives.at_work():
        return Look(State.PARKED, mark)
    return Look(State.OUTSIDE, mark)


def awaited_future(frame: FrameType) -> concurrent.futures.Future[Any] | None:
    """Return the future whose result the thread waits for, with a time limit or without, or None."""
    condition = _condition_wait(frame)
    caller = None if condition is None else condition.f_back
    while caller is not None and caller.f_code.co_filename.startswith(PACKAGE):
        caller = caller.f_back  # What stands in for Condition.wait(), where a world has its clocks.
    if caller is not None and caller.f_code in _FUTURE_WAITS:
        future: concurrent.futures.Future[Any] = caller.f_locals["self"]
        return future
    return None


def _condition_wait(frame: FrameType) -> FrameType | None:
    """Return the frame of Condition.wait() that parks the thread, also where somebody has wrapped lock.acquire()."""
    at: FrameType | None = frame
    for _ in range(1 + MAX_WRAPPERS):
        if at is None or at.f_code is _CONDITION_WAIT:
            return at
        at = at.f_back
    return None


def _in_condition(frame: FrameType, thread: threading.Thread) -> Look | None:
    """Judge a thread in Condition.wait(), where Queue.get(), Event.wait() and Future.result() all end.

    notify() strikes the waiter off the list before it wakes the thread, so this is certain even if the thread has not
    run since. Nor is it at rest before it stands in the call that parks it: on the way there it lets go of the lock.
    """
    names = frame.f_locals
    waiter = names.get("waiter")
    if waiter is None or _callee(frame.f_code, frame.f_lasti) != ("waiter", "acquire"):
        return None
    if waiter not in names["self"]._waiters:
        return Look(State.WORKING, woken=True)
    # The next wait's lock may have the address of this one's.
    mark = (id(waiter), system.turns_of(thread.native_id))
    if names["timeout"] is None:
        return Look(State.PARKED, mark)
    doing = system.what_does(thread.native_id) if system.AVAILABLE else None
    left = None if doing is None else doing.left
    return Look(State.TIMED, mark, names["timeout"] if left is None else left, limit=names["timeout"])


def _by_frame(frame: FrameType, callee: _Callee | None) -> State:
    """Judge a thread by its frame alone."""
    if callee is None:
        return State.WORKING
    if callee.name in OUTSIDE:
        if frame.f_code.co_filename == selectors.__file__ and frame.f_locals.get("timeout") not in (None, -1):
            return State.TIMED
        return State.PARKED if _is_idle_loop(frame) else State.OUTSIDE
    if callee.name not in PARKING:
        return State.WORKING
    receiver = callee.receiver
    if isinstance(receiver, SimpleQueue):
        if callee.name != "get" or not receiver.empty():
            return State.WORKING
        # Since Python 3.13, put() may hand the item to a waiter past the queue, which then stays empty.
        return State.PARKED if sys.version_info < (3, 13) else State.PERHAPS
    if callee.name in ("acquire", "__enter__"):
        locked = getattr(receiver, "locked", None)
        if locked is not None and not locked():
            return State.WORKING
    return State.PERHAPS


def _is_idle_loop(frame: FrameType) -> bool:
    """Return whether this is a stock loop that waits for nothing but to be woken by a thread of this process.

    Such a loop has no timer, since it waits without a limit, and watches no descriptor but that of its alarm.
    """
    selector = frame.f_locals.get("self")
    return _is_loop(frame) and isinstance(selector, selectors.BaseSelector) and len(selector.get_map() or ()) <= 1


def _is_loop(frame: FrameType) -> bool:
    """Return whether this is a stock loop, between two of its turns."""
    caller = frame.f_back
    return caller is not None and caller.f_code is RUN_ONCE


def _is_between_processes(frame: FrameType) -> bool:
    """Return whether multiprocessing waits for child processes; where all are at rest, those wait for this one."""
    at: FrameType | None = frame
    while at is not None and not at.f_code.co_filename.startswith(_BETWEEN_PROCESSES):
        at = at.f_back if at.f_code.co_filename == selectors.__file__ else None
    return at is not None


def _called(frame: FrameType) -> _Callee | None:
    """Return what a thread calls in this frame, or None where that is not known.

    A function goes by its own name, whatever the variable is called that holds it.
    """
    path = _callee(frame.f_code, frame.f_lasti)
    if path is None:
        return None
    _, function = _resolve(frame, path)
    if isinstance(function, _BUILTIN):
        return _Callee(function.__name__, getattr(function, "__self__", None))
    _, receiver = _resolve(frame, path[:-1])
    return _Callee(path[-1], receiver)


def _resolve(frame: FrameType, path: tuple[str, ...]) -> tuple[bool, Any]:
    """Return (True, object) for a dotted name that needs no code to run, else (False, None)."""
    if not path:
        return False, None
    for names in (frame.f_locals, frame.f_globals):
        if path[0] in names:
            value = names[path[0]]
            break
    else:
        return False, None
    for name in path[1:]:
        try:
            value = object.__getattribute__(value, name)
        except AttributeError:
            return False, None
    return True, value


@functools.lru_cache(maxsize=1024)
def _callee(code: CodeType, position: int) -> tuple[str, ...] | None:
    """Return the dotted name being called at `position`, as far as it is one, or None where it has no name.

    The instructions before a call push what is called and then its arguments, so walking back over as many pushes as
    there are arguments ends at the method's name.
    """
    instructions = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "KW_NAMES")]
    # In the middle of a call, until Python 3.12, the position may be that of its caches.
    at = bisect(instructions, position, key=lambda instruction: instruction.offset) - 1
    if at < 0:
        return None
    if sys.version_info < (3, 12) and instructions[at].opname == "PRECALL":
        at += 1  # On Python 3.11 it may make the call itself.
    at -= sum(instruction.opname == "PRECALL" for instruction in instructions[:at])
    instructions = [instruction for instruction in instructions if instruction.opname != "PRECALL"]
    call = instructions[at]
    if call.opname == "BEFORE_WITH":  # until Python 3.13
        return (*_name_before(instructions, at), "__enter__")
    if not call.opname.startswith("CALL"):
        return None
    if call.opname == "CALL_FUNCTION_EX":
        # f(*args), with or without **kwargs; since Python 3.14 there is always something in their place.
        to_skip = 1 + (1 if sys.version_info >= (3, 14) else (call.arg or 0) & 1)
    else:
        to_skip = (call.arg or 0) + (1 if call.opname == "CALL_KW" else 0)
    at -= 1
    while at >= 0 and to_skip > 0:
        skipped = instructions[at]
        to_skip -= dis.stack_effect(skipped.opcode, skipped.arg, jump=False)
        at -= 1
    if to_skip < 0:
        return (str(instructions[at + 1].argval[0]),)  # One instruction has pushed what is called and an argument.
    while at >= 0 and instructions[at].opname == "PUSH_NULL":
        at -= 1
    if at < 0:
        return None
    method = instructions[at]
    if sys.version_info >= (3, 14) and method.opname == "LOAD_SPECIAL":  # a with statement
        return ("__enter__",)
    if method.opname in ("LOAD_ATTR", "LOAD_METHOD"):
        return (*(_name_before(instructions, at) or _UNKNOWN), str(method.argval))
    if method.opname.startswith("LOAD_SUPER_"):  # since Python 3.12
        return (*_UNKNOWN, str(method.argval))
    return _name_before(instructions, at + 1) or None


def _name_before(instructions: list[dis.Instruction], at: int) -> tuple[str, ...]:
    """Return the dotted name that the instructions before `at` push, or () for anything but a name."""
    path: list[str] = []
    for instruction in reversed(instructions[:at]):
        name = instruction.argval
        if instruction.opname == "LOAD_ATTR":
            path.append(str(name))
        elif instruction.opname.startswith(("LOAD_FAST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME")):
            path.append(str(name[-1] if isinstance(name, tuple) else name))
            return tuple(reversed(path))
        else:
            break
    return ()
