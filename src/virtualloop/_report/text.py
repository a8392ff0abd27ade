"""What people read when a run cannot go on: which tasks are blocked, on what, and where.

Owns the words and their order; decides nothing, and sees what `survey` has found. Nothing in a report is an address or
counts beyond its loop, so the same run gives the same report.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from types import CodeType
from typing import Any, NamedTuple

from virtualloop._report.frames import Place, chain_of, is_machinery, own_frames
from virtualloop._report.survey import Look, Survey, Wait, in_order
from virtualloop._words import listed, moment

__all__ = [
    "Step",
    "callback_lines",
    "deadlock",
    "describe_tasks",
    "error_lines",
    "hang",
    "in_words",
    "livelock",
    "logged_lines",
    "never_idle",
    "pending",
]

_Task = asyncio.Task

#: A message has to stay readable: what does not fit into so many lines is named, and no more.
MAX_LINES = 29
#: So many tasks, or groups of tasks that differ in nothing but names, are described; all others are named.
MAX_ENTRIES = 7
#: Nor is every caller of a long chain of use; the innermost are, and fewer of them where there are many tasks.
MAX_FRAMES = 3
#: Nor more of a circle.
MAX_CIRCLE = 5
#: More tasks than this that differ only in whom they wait for are told of together.
MAX_ALIKE = 3
#: Where two kinds of tasks are told of, fewer of each.
MAX_SOME = 3
#: Of errors that came before, the last ones are told of.
MAX_FAILURES = 2

VERBS = {"blocked": "awaits", "ready": "is ready to go on", "running": "is running", "not started": "has not started"}


class Step(NamedTuple):
    """One callback that a spinning loop has run: the task that it resumed, or itself, and the line that queued it."""

    subject: Any
    origin: Place | None


def deadlock(
    seconds: float, survey: Survey, errors: Sequence[list[str]], restless: Sequence[tuple[str, float]] = ()
) -> str:
    """Return the message of a DeadlockError at `seconds`; `errors` are those that were logged before.

    `restless` are threads that could move, in words, and how long each was waited for.
    """
    head = f"nothing can run any more at t={moment(seconds)}: no callback is ready, no timer is pending, "
    if restless:
        those = listed([f"{name} in {waited:.3g} real seconds" for name, waited in restless])
        head += f"and nothing has come from {those}."
    else:
        head += "no thread is at work."
    if not survey.looks:
        return f"{head}\nNo task is left either; nothing will call stop()."
    failures = _failures(survey, errors)
    return "\n".join([head, *_tasks(survey, "blocked"), *failures, _advice(survey, failures)])


def describe_tasks(seconds: float, survey: Survey) -> str:
    """Return what each task does at `seconds`."""
    if not survey.looks:
        return f"No task is pending at t={moment(seconds)}."
    return "\n".join([f"At t={moment(seconds)}:", *_tasks(survey, "pending"), *_failures(survey, ())])


def pending(survey: Survey) -> list[str]:
    """Return the lines about tasks that a loop leaves pending."""
    return _tasks(survey, "pending") if survey.looks else []


def _tasks(survey: Survey, state: str) -> list[str]:
    """Return the lines about all tasks: those that wait for each other first, and last who waits for another one."""
    lines: list[str] = []
    circles = survey.circles
    for k, circle in enumerate(circles):
        drawing = _circle(survey, circle)
        if k and len(lines) + len(drawing) > MAX_LINES:
            lines.append(f"and {len(circles) - k} more such circles")
            break
        lines += drawing
    in_circles = {look.task for circle in circles for look in circle}
    others = [look for look in survey.looks if look.task not in in_circles]
    # Who waits for nobody comes first, for there it began; and of these, who keeps many waiting.
    waiting = Counter(task for look in survey.looks for task in look.waits_for)
    others.sort(key=lambda look: 1 if look.waits_for else -waiting[look.task])
    if others:
        more = " more" if in_circles else ""
        lines.append(f"{len(others)}{more} task{' is' if len(others) == 1 else 's are'} {state}:")
    groups = _grouped(survey, others)
    shown = groups[:MAX_ENTRIES]
    room = MAX_LINES - len(lines)
    entries = [_entry(survey, group) for group in shown]
    for frames in range(MAX_FRAMES - 1, 0, -1):
        if sum(map(len, entries)) > room:
            entries = [_entry(survey, group, frames) for group in shown]
    unlisted = [look for group in groups[MAX_ENTRIES:] for look in group]
    for group, entry in zip(shown, entries, strict=True):
        if len(lines) + len(entry) <= MAX_LINES:
            lines += entry
        else:
            unlisted += group
    if unlisted:
        and_more = "" if len(unlisted) == len(others) else f"and {len(unlisted)} more: "
        lines.append(f"  {and_more}{survey.names(look.task for look in unlisted)}")
    return lines


def _grouped(survey: Survey, looks: list[Look]) -> list[list[Look]]:
    """Put together those that wait for the same thing at the same place, and those that do where there are many."""
    alike: dict[tuple[Any, ...], dict[str, list[Look]]] = {}
    for look in looks:
        kind = (look.state, look.timeout, look.wait and look.wait.what, look.made, *look.places)
        alike.setdefault(kind, {}).setdefault(_about(survey, [look]), []).append(look)
    return [
        group
        for groups in alike.values()
        for group in ([[*chain(*groups.values())]] if len(groups) > MAX_ALIKE else groups.values())
    ]


def _circle(survey: Survey, circle: list[Look]) -> list[str]:
    """Return the drawing of tasks that wait for each other, in the order of waiting."""
    if len(circle) == 1:
        return [f"{survey.name(circle[0].task)} waits for itself:", *_entry(survey, circle)]
    shown = circle if len(circle) <= MAX_CIRCLE else circle[: MAX_CIRCLE - 1]
    entries = [_entry(survey, [look]) for look in shown]
    if shown is not circle:
        others = circle[MAX_CIRCLE - 1 :]
        entries.append(
            [f"  {survey.names(look.task for look in others)} likewise, the last for {survey.name(circle[0].task)}"]
        )
    lines = [line for entry in entries for line in entry]
    left = ["+->" if k == 0 else "+--" if k == len(lines) - 1 else "|  " for k in range(len(lines))]
    return [
        f"{len(circle)} tasks wait for each other:",
        *(f"{margin}{line.removeprefix(' ')}" for margin, line in zip(left, lines, strict=True)),
    ]


def _entry(survey: Survey, looks: list[Look], frames: int = MAX_FRAMES) -> list[str]:
    """Return the lines about a task, or about several that differ in nothing but their names."""
    look = looks[0]
    what = VERBS[look.state]
    if len(looks) > 1:
        what = what.replace("awaits", "await").replace("is ", "are ").replace("has ", "have ")
    timeout = "" if look.timeout is None else f", with a timeout at t={moment(look.timeout)}"
    lines = [f"  {survey.names(look.task for look in looks)} {what}{_about(survey, looks)}{timeout}"]
    if (more := len(look.places) - frames) > 0:
        lines.append(f"    ({more} more caller{'s' if more > 1 else ''})")
    for place in look.places[-frames:]:
        lines += place.lines("    ")
    if look.made is not None:
        lines += ["    created at", *look.made.lines("    ")]
    if look.wait is not None and look.wait.thread is not None:
        lines += ["    and its thread stands at", *look.wait.thread.lines("    ")]
    return lines


def _about(survey: Survey, looks: list[Look]) -> str:
    """Return what the tasks wait for, and who holds it."""
    waits = [look.wait for look in looks if look.wait is not None]
    if not waits:
        return ""
    what = f" {waits[0].what}"
    tasks = list(dict.fromkeys(task for wait in waits for task in wait.tasks))
    if tasks:
        what += waits[0].link + survey.names(tasks)
    return what if waits[0].lock is None else what + _held(survey, looks, waits)


def _held(survey: Survey, looks: list[Look], waits: list[Wait]) -> str:
    """Return who holds the locks that the tasks wait for."""
    if any(wait.holders is None for wait in waits):
        return ""
    holders = {holder.task: holder.place for wait in waits for holder in wait.holders or ()}
    if not holders:
        return ", which no task holds by `async with`: acquire() without release()?"
    if len(holders) > 1:
        return f", held by {survey.names(holders)}"
    ((task, place),), look = holders.items(), looks[0]
    same_file = bool(look.places) and place.file == look.places[-1].file
    if place.line is None:
        since = f"in {place.function}()"
    else:
        since = f"since line {place.line}" if same_file else f"since {place.file}:{place.line}"
    held = "which it holds itself" if task is look.task else f"held by {survey.name(task)}"
    return f", {held} {since}"


def _failures(survey: Survey, errors: Sequence[list[str]]) -> list[str]:
    """Return the lines about what has gone wrong before: in tasks that nobody has asked, and what was logged."""
    lines: list[str] = []
    alike: dict[tuple[str, ...], list[_Task[Any]]] = {}
    for task in survey.failed:
        alike.setdefault(tuple(error_lines("", task._exception)), []).append(task)
    if survey.failed:
        lines.append("1 task has failed:" if len(survey.failed) == 1 else f"{len(survey.failed)} tasks have failed:")
    for (what, *where), tasks in list(alike.items())[:MAX_FAILURES]:
        lines += [f"  {survey.names(tasks)}{what.strip(' ')}", *where]
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
            f"run_until_idle() has let {instants} instants pass, until t={moment(seconds)}, and a timer is always set "
            "again.",
            *_tasks(survey, "pending"),
            "Use advance(seconds) for programs that never come to rest.",
        ]
    )


def hang(
    seconds: float,
    survey: Survey,
    *,
    stuck: Iterable[_Task[Any]],
    repeating: Sequence[Any],
    errors: Sequence[list[str]],
) -> str:
    """Return the message of a LivelockError where tasks wait in vain beside others that go on for ever."""
    waiting, busy = set(stuck), set(repeating)
    own = [subject for subject in repeating if not isinstance(subject, _Task) and _is_own(subject)]
    return "\n".join(
        [
            f"a hang beside a heartbeat, at t={moment(seconds)}: what still runs has only gone through the same lines "
            "again and again for very long, and none of what main waits for has gone on.",
            *_some(
                survey, [look for look in survey.looks if look.task in waiting], "task is blocked", "tasks are blocked"
            ),
            *_some(
                survey,
                [look for look in survey.looks if look.task in busy],
                "task repeats itself",
                "tasks repeat themselves",
            ),
            *(line for callback in own[:MAX_FRAMES] for line in callback_lines(callback)),
            *_failures(survey, errors),
            "Look for what should have set, released, put or completed what main awaits. If it only takes longer than "
            "this, put asyncio.timeout() around it: as long as such a timer is ahead, this is no hang.",
        ]
    )


def _is_own(callback: Any) -> bool:
    """Return whether a callback is the reader's own function."""
    code = getattr(getattr(callback, "func", callback), "__code__", None)
    return isinstance(code, CodeType) and not is_machinery(code)


def _some(survey: Survey, looks: list[Look], one: str, several: str) -> list[str]:
    """Return the lines about some tasks, as many as are readable."""
    if not looks:
        return []
    lines = [f"{len(looks)} {one if len(looks) == 1 else several}:"]
    groups = _grouped(survey, looks)
    for group in groups[:MAX_SOME]:
        lines += _entry(survey, group)
    unlisted = [look.task for group in groups[MAX_SOME:] for look in group]
    return [*lines, f"  and {len(unlisted)} more: {survey.names(unlisted)}"] if unlisted else lines


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
        lines += [f"  {len(group)} times {survey.names(tasks)}{what}", *where]
    return "\n".join(
        [
            f"the loop spins at t={moment(seconds)}: {turns} turns and time has not passed, because no timer is "
            "pending that could make it.",
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


def in_words(exc: BaseException) -> str:
    """Return an exception as the last lines of a traceback show it; its type where it cannot be shown."""
    try:
        return "".join(traceback.format_exception_only(exc)).strip()
    except Exception:
        return type(exc).__qualname__


def error_lines(what: str, exception: BaseException | None) -> list[str]:
    """Return what has failed with which exception, and the reader's line that raised it."""
    lines = [f"  {what}"]
    if exception is not None:
        lines[0] += ": " + in_words(exception).partition("\n")[0]
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
