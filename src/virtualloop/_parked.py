"""Whether a thread is at work, or parked in a lock or a queue until somebody wakes it.

Owns that judgement and nothing else; knows nothing of loops and jobs.

Python does not say what a thread waits for, but its frame tells which call it is in the middle of, and mostly on what
object: a lock that is taken, a queue that is empty, a condition that still lists the waiter. Where the object says so
the judgement is certain. Elsewhere it is a guess, to be confirmed by a second look at the same place, after the GIL
was let go, at a thread that the system has not scheduled. A thread that sleeps, computes, or is inside a C function is
at work.
"""

from __future__ import annotations

import concurrent.futures
import dis
import enum
import functools
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from types import CodeType, FrameType
from typing import Any

__all__ = ["State", "is_scheduled", "state_of", "waits_for_future"]

#: Methods that park the thread that calls them, if it stays in the call: of locks, conditions, events, futures, queues
#: and threads; and of selectors, behind which a thread waits for the outside world.
PARKING = frozenset(
    {"__enter__", "acquire", "epoll", "get", "join", "poll", "put", "select", "wait", "_wait_for_tstate_lock"}
)

_FUTURE_WAITS = (concurrent.futures.Future.result.__code__, concurrent.futures.Future.exception.__code__)


class State(enum.Enum):
    """What a thread does."""

    WORKING = "runs code, sleeps, or is inside a C function"
    TIMED = "waits in a lock or queue, and will go on by itself when its time is up"
    PARKED = "waits in a lock or queue, and nobody has woken it"
    PERHAPS = "looks parked; look again at the same place"


def state_of(frame: FrameType) -> State:
    """Judge the thread whose innermost frame this is."""
    code = frame.f_code
    if code is threading.Condition.wait.__code__:
        # Queue.get(), Event.wait() and Future.result() all end here. notify() strikes the waiter off the list before
        # it wakes the thread, so this is certain even if the thread has not run since.
        names = frame.f_locals
        if "waiter" in names:
            if names["waiter"] not in names["self"]._waiters:
                return State.WORKING
            return State.PARKED if names["timeout"] is None else State.TIMED
    callee = _callee(code, frame.f_lasti)
    if callee is None or callee[-1] not in PARKING:
        return State.WORKING
    known, receiver = _resolve(frame, callee[:-1])
    if known and isinstance(receiver, SimpleQueue):
        if callee[-1] != "get" or not receiver.empty():
            return State.WORKING
        # Since Python 3.13, put() may hand the item to a waiter past the queue, which then stays empty.
        return State.PARKED if sys.version_info < (3, 13) else State.PERHAPS
    if known and callee[-1] in ("acquire", "__enter__"):
        locked = getattr(receiver, "locked", None)
        if locked is not None and not locked():
            return State.WORKING
    return State.PERHAPS


def waits_for_future(frame: FrameType) -> bool:
    """Return whether the thread waits for the result of a future, with a time limit or without."""
    caller = frame.f_back
    return frame.f_code is threading.Condition.wait.__code__ and caller is not None and caller.f_code in _FUTURE_WAITS


def is_scheduled(native_id: int) -> bool:
    """Return whether the system has woken the thread, though it may not have run since. Linux tells, others do not."""
    try:
        status = Path(f"/proc/self/task/{native_id}/stat").read_text()
    except OSError:
        return False
    # The state stands behind the name, which is in parentheses and may hold anything.
    return status.rpartition(")")[2].split()[0] == "R"


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
    """Return the dotted name being called at `position`, as far as it is one, or None where no method is called.

    The instructions before a call push what is called and then its arguments, so walking back over as many pushes as
    there are arguments ends at the method's name.
    """
    instructions = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "PRECALL", "KW_NAMES")]
    at = next((k for k, i in enumerate(instructions) if i.offset >= position), len(instructions))
    if at == len(instructions):
        return None
    call = instructions[at]
    if call.opname == "BEFORE_WITH":  # until Python 3.13
        return (*_name_before(instructions, at), "__enter__")
    if not call.opname.startswith("CALL"):
        return None
    to_skip = (call.arg or 0) + (1 if call.opname == "CALL_KW" else 0)
    at -= 1
    while at >= 0 and to_skip > 0:
        skipped = instructions[at]
        to_skip -= dis.stack_effect(skipped.opcode, skipped.arg, jump=False)
        at -= 1
    while at >= 0 and instructions[at].opname == "PUSH_NULL":
        at -= 1
    if at < 0:
        return None
    method = instructions[at]
    if method.opname == "LOAD_SPECIAL":  # a with statement, since Python 3.14
        return ("__enter__",)
    if method.opname in ("LOAD_ATTR", "LOAD_METHOD"):
        return (*_name_before(instructions, at), str(method.argval))
    return None


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
