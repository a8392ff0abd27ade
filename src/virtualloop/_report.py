"""What people read when a run cannot go on: which tasks are blocked, on what, and where.

Owns the words and their order; decides nothing, and sees what `_waits` has found. Nothing in a report is an address or
counts beyond its loop, so the same run gives the same report.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import traceback
from collections.abc import Sequence
from itertools import chain
from types import CodeType
from typing import Any, NamedTuple

from virtualloop._frames import Place, chain_of, is_machinery, own_frames
from virtualloop._waits import Look, Survey, Wait, in_order, names

__all__ = [
    "Step",
    "callback_lines",
    "deadlock",
    "describe_tasks",
    "error_lines",
    "livelock",
    "logged_lines",
    "never_idle",
    "pending",
]

_Task = asyncio.Task

#: A message has to stay readable: what does not fit into so many lines is named, and no more.
MAX_LINES = 24
#: Nor is every caller of a long chain of use; the innermost are.
MAX_FRAMES = 3
#: Nor more of a circle.
MAX_CIRCLE = 5
#: More tasks than this that differ only in whom they wait for are told of together.
MAX_ALIKE = 3
#: Of errors that came before, the last ones are told of.
MAX_FAILURES = 2

VERBS = {"blocked": "awaits", "ready": "is ready to go on", "running": "is running", "not started": "has not started"}


class Step(NamedTuple):
    """One callback that a spinning loop has run: the task that it resumed, or itself, and the line that queued it."""

    subject: Any
    origin: Place | None


def deadlock(seconds: float, survey: Survey, errors: Sequence[list[str]]) -> str:
    """Return the message of a DeadlockError at `seconds`; `errors` are those that were logged before."""
    head = f"nothing can run any more at t={seconds:g}: "
    head += "no callback is ready, no timer is pending, no thread is at work."
    if not survey.looks:
        return f"{head}\nNo task is left either; nothing will call stop()."
    failures = _failures(survey, errors)
    return "\n".join([head, *_tasks(survey, "blocked"), *failures, _advice(survey, failures)])


def describe_tasks(seconds: float, survey: Survey) -> str:
    """Return what each task does at `seconds`."""
    if not survey.looks:
        return f"No task is pending at t={seconds:g}."
    return "\n".join([f"At t={seconds:g}:", *_tasks(survey, "pending"), *_failures(survey, ())])


def pending(survey: Survey) -> list[str]:
    """Return the lines about tasks that a loop leaves pending."""
    return _tasks(survey, "pending") if survey.looks else []


def _tasks(survey: Survey, state: str) -> list[str]:
    """Return the lines about all tasks: those that wait for each other first, and last who waits for another one."""
    lines: list[str] = []
    circles = survey.circles
    for k, circle in enumerate(circles):
        drawing = _circle(circle)
        if k and len(lines) + len(drawing) > MAX_LINES:
            lines.append(f"and {len(circles) - k} more such circles")
            break
        lines += drawing
    in_circles = {look.task for circle in circles for look in circle}
    others = [look for look in survey.looks if look.task not in in_circles]
    # Who waits for nobody comes first: there it began.
    others.sort(key=lambda look: bool(look.waits_for))
    if others:
        more = " more" if in_circles else ""
        lines.append(f"{len(others)}{more} task{' is' if len(others) == 1 else 's are'} {state}:")
    unlisted: list[Look] = []
    for group in _grouped(others):
        entry = _entry(group)
        if len(lines) + len(entry) <= MAX_LINES:
            lines += entry
        else:
            unlisted += group
    if unlisted:
        and_more = "" if len(unlisted) == len(others) else f"and {len(unlisted)} more: "
        lines.append(f"  {and_more}{names(look.task for look in unlisted)}")
    return lines


def _grouped(looks: list[Look]) -> list[list[Look]]:
    """Put together those that wait for the same thing at the same place, and those that do where there are many."""
    alike: dict[tuple[Any, ...], dict[str, list[Look]]] = {}
    for look in looks:
        kind = (look.state, look.timeout, look.wait and look.wait.what, look.made, *look.places)
        alike.setdefault(kind, {}).setdefault(_about([look]), []).append(look)
    return [
        group
        for groups in alike.values()
        for group in ([[*chain(*groups.values())]] if len(groups) > MAX_ALIKE else groups.values())
    ]


def _circle(circle: list[Look]) -> list[str]:
    """Return the drawing of tasks that wait for each other, in the order of waiting."""
    if len(circle) == 1:
        return [f"{circle[0].task.get_name()!r} waits for itself:", *_entry(circle)]
    shown = circle if len(circle) <= MAX_CIRCLE else circle[: MAX_CIRCLE - 1]
    entries = [_entry([look]) for look in shown]
    if shown is not circle:
        others = circle[MAX_CIRCLE - 1 :]
        entries.append(
            [f"  {names(look.task for look in others)} likewise, the last for {circle[0].task.get_name()!r}"]
        )
    lines = [line for entry in entries for line in entry]
    left = ["+->" if k == 0 else "+--" if k == len(lines) - 1 else "|  " for k in range(len(lines))]
    return [
        f"{len(circle)} tasks wait for each other:",
        *(f"{margin}{line.removeprefix(' ')}" for margin, line in zip(left, lines, strict=True)),
    ]


def _entry(looks: list[Look]) -> list[str]:
    """Return the lines about a task, or about several that differ in nothing but their names."""
    look = looks[0]
    what = VERBS[look.state]
    if len(looks) > 1:
        what = what.replace("awaits", "await").replace("is ", "are ").replace("has ", "have ")
    timeout = "" if look.timeout is None else f", with a timeout at t={look.timeout:g}"
    lines = [f"  {names(look.task for look in looks)} {what}{_about(looks)}{timeout}"]
    if (more := len(look.places) - MAX_FRAMES) > 0:
        lines.append(f"    ({more} more caller{'s' if more > 1 else ''})")
    for place in look.places[-MAX_FRAMES:]:
        lines += place.lines("    ")
    if look.made is not None:
        lines += ["    made at", *look.made.lines("    ")]
    if look.wait is not None and look.wait.thread is not None:
        lines += ["    and its thread stands at", *look.wait.thread.lines("    ")]
    return lines


def _about(looks: list[Look]) -> str:
    """Return what the tasks wait for, and who holds it."""
    waits = [look.wait for look in looks if look.wait is not None]
    if not waits:
        return ""
    what = f" {waits[0].what}"
    tasks = list(dict.fromkeys(task for wait in waits for task in wait.tasks))
    if tasks:
        what += waits[0].link + names(tasks)
    return what if waits[0].lock is None else what + _held(looks, waits)


def _held(looks: list[Look], waits: list[Wait]) -> str:
    """Return who holds the locks that the tasks wait for."""
    if any(wait.holders is None for wait in waits):
        return ""
    holders = {holder.task: holder.place for wait in waits for holder in wait.holders or ()}
    if not holders:
        return ", which no task holds by `async with`: acquire() without release()?"
    if len(holders) > 1:
        return f", held by {names(holders)}"
    ((task, place),), look = holders.items(), looks[0]
    same_file = bool(look.places) and place.file == look.places[-1].file
    since = f"line {place.line}" if same_file else f"{place.file}:{place.line}"
    held = "which it holds itself" if task is look.task else f"held by {task.get_name()!r}"
    if waits[0].perhaps:
        held = held.replace("which it holds", "which it perhaps holds").replace("held", "perhaps held")
    return f", {held} since {since}"


def _failures(survey: Survey, errors: Sequence[list[str]]) -> list[str]:
    """Return the lines about what has gone wrong before: in tasks that nobody has asked, and what was logged."""
    lines: list[str] = []
    alike: dict[tuple[str, ...], list[_Task[Any]]] = {}
    for task in survey.failed:
        alike.setdefault(tuple(error_lines("", task._exception)), []).append(task)
    if survey.failed:
        lines.append("1 task has failed:" if len(survey.failed) == 1 else f"{len(survey.failed)} tasks have failed:")
    for (what, *where), tasks in list(alike.items())[:MAX_FAILURES]:
        lines += [f"  {names(tasks)}{what.strip(' ')}", *where]
    if errors:
        lines.append("1 error was logged:" if len(errors) == 1 else f"{len(errors)} errors were logged:")
    for error in errors[-MAX_FAILURES:]:
        lines += error
    return lines


def _advice(survey: Survey, failures: list[str]) -> str:
    """Return what to do about a deadlock."""
    if failures and not survey.circles:
        return "Look first at what has failed: it may be what the others wait for."
    circles = survey.circles
    locks = [look for circle in circles for look in circle if look.wait is not None and look.wait.lock is not None]
    if any(len(circle) == 1 and circle[0] in locks for circle in circles):
        return (
            "asyncio's locks and semaphores are not reentrant: what runs under one must not take it again. Take it "
            "once, outside, and give the inner code a variant that does not."
        )
    if locks:
        return "Take locks in the same order everywhere, and await nothing under a lock that needs the same lock."
    if circles:
        return "Break the circle: one of these has to finish without the next."
    return (
        "Look for what should have set, released, put or completed the things awaited above. If that is the "
        "test's part, drive the loop with run_until_idle() or advance(), which let tasks stay blocked."
    )


def never_idle(seconds: float, instants: int, survey: Survey) -> str:
    """Return the message of a LivelockError of run_until_idle()."""
    return "\n".join(
        [
            f"run_until_idle() has let {instants} instants pass, until t={seconds:g}, and a timer is always set again.",
            *_tasks(survey, "pending"),
            "Use advance(seconds) for programs that never come to rest.",
        ]
    )


# --- spins ------------------------------------------------------------------------------------------------------------


def livelock(
    seconds: float, turns: int, limit: str, *, steps: Sequence[Step], survey: Survey, errors: Sequence[list[str]]
) -> str:
    """Return the message of a LivelockError; `steps` are the last that were made."""
    groups: dict[tuple[str, ...], list[Step]] = {}
    for step in steps:
        groups.setdefault(tuple(_step(step)), []).append(step)
    lines: list[str] = []
    unlisted = 0
    for (what, *where), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        if len(lines) + len(where) >= MAX_LINES:
            unlisted += len(group)
            continue
        tasks = in_order({step.subject for step in group if isinstance(step.subject, _Task)})
        lines += [f"  {len(group)} times {names(tasks)}{what}", *where]
    return "\n".join(
        [
            f"the loop spins at t={seconds:g}: {turns} turns and time has not passed, because no timer is pending that "
            "could make it.",
            f"These are its last {len(steps)} steps:",
            *lines,
            *([f"  and {unlisted} others"] if unlisted else []),
            *_failures(survey, errors),
            "Wait for an event, a future or a timer instead of asking again at once"
            f" (or raise the limit, VirtualLoop({limit}=...), if this is work and not a spin).",
        ]
    )


def _step(step: Step) -> list[str]:
    """Return what a step did, but for the name of its task, and the lines that say where."""
    subject, origin = step
    if isinstance(subject, _Task):
        own = own_frames(chain_of(subject.get_coro())[0])
        what = f" in {own[-1].name}()" if own else ""
        where = own[-1].place.lines("    ") if own else []
        return [what, *where, *([] if origin is None else ["    woken by", *origin.lines("    ")])]
    what, *where = callback_lines(subject)
    return [what, *where] if origin is None else [f"{what}, scheduled by", *origin.lines("    ")]


def callback_lines(callback: Any) -> list[str]:
    """Return what a callback is, and the lines that say where it is defined."""
    function = inspect.unwrap(getattr(callback, "func", callback))
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    what = f"callback {getattr(function, '__qualname__', type(function).__qualname__)}()"
    if not isinstance(code, CodeType):
        return [what]
    return [what, *Place(code.co_filename, code.co_firstlineno, code.co_qualname).lines("    ")]


def error_lines(what: str, exception: BaseException | None) -> list[str]:
    """Return what has failed with which exception, and the reader's line that raised it."""
    lines = [f"  {what}"]
    if exception is not None:
        lines[0] += ": " + "".join(traceback.format_exception_only(exception)).strip().partition("\n")[0]
        places = [
            Place(frame.f_code.co_filename, line, frame.f_code.co_qualname)
            for frame, line in traceback.walk_tb(exception.__traceback__)
            if not is_machinery(frame.f_code)
        ]
        lines += places[-1].lines("    ") if places else []
    return [re.sub(r" at 0x[0-9a-fA-F]+", "", line) for line in lines]


def logged_lines(context: dict[str, Any]) -> list[str]:
    """Return what the exception handler is told, in lines."""
    what = context.get("message") or "Unhandled exception in event loop"
    future, handle = context.get("future"), context.get("handle")
    if isinstance(future, _Task):
        what = f"{future.get_name()!r}: {what}"
    elif isinstance(handle, asyncio.Handle):
        what = f"in {callback_lines(handle._callback)[0]}"  # type: ignore[attr-defined]  # not in the stub
    return error_lines(what, context.get("exception"))
