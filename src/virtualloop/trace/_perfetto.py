"""A trace in the JSON format of Chrome's trace viewer, which Perfetto opens.

Owns that format: a lane for each task, slices for steps and waits, arrows from who woke to who was woken.

In virtual time a step takes no time at all, and a slice of no length cannot be seen. So the steps of one instant are
drawn out: a microsecond each, or as much as there is until the clock moves on.
"""

from __future__ import annotations

import json
from typing import Any

from virtualloop.trace._history import History
from virtualloop.trace._narrator import Narrator

__all__ = ["document"]

#: How much of a step's place its slice takes up, so that two of them in a row can be told apart.
FILLED = 0.8

#: What belongs to no host is this process of Perfetto's; each host is another.
PID = 1


def document(narrator: Narrator) -> str:
    """Return the file's content."""
    content = {
        "displayTimeUnit": "ms",
        "otherData": {"run": narrator.heading()},
        "traceEvents": _events(narrator),
    }
    return json.dumps(content, separators=(",", ":"))


def _events(narrator: Narrator) -> list[dict[str, Any]]:
    history = narrator.history
    shown = history.visible
    starts, lengths, end = _spread(history, shown)
    position = {number: k for k, number in enumerate(shown)}
    lanes = _lanes(history, shown)
    lane_of = [lanes[_lane(history.steps[number].subject)] for number in shown]
    events: list[dict[str, Any]] = []
    for k, number in enumerate(shown):
        lane = lane_of[k]
        start, stop = starts[k], starts[k] + lengths[k]
        args = {"did": "; ".join(narrator.deeds(number)), "where": narrator.where(number)}
        line = history.line(number)
        if line is not None:
            args["source"] = line.source
        is_task = isinstance(history.steps[number].subject, int)
        name = narrator.why(number) if is_task else history.who(number)
        if not is_task:
            args["why"] = narrator.why(number)
        events.append({"ph": "X", "cat": "step", "name": name, "ts": start, "dur": lengths[k], **lane, "args": args})
        if is_task and history.fate(number) == "waits":
            after = history.after[number]
            until = end if after is None else starts[position[after]]
            name = narrator.rest(number) or "yields"
            if until > stop:
                events.append({"ph": "X", "cat": "wait", "name": name, "ts": stop, "dur": until - stop, **lane})
        cause = history.cause(number)
        if cause is not None and lane_of[position[cause]] != lane:
            source = position[cause]
            arrow = {
                "cat": "wake",
                "name": "creates" if history.is_first(number) else "wakes",
                "id": number,
                "pid": PID,
            }
            # Within the slice of the one who wakes, which is what the arrow is bound to.
            events.append({"ph": "s", "ts": starts[source] + lengths[source] // 2, **lane_of[source], **arrow})
            events.append({"ph": "f", "bp": "e", "ts": start, **lane, **arrow})
    for event in history.incidents:
        at = next((position[n] for n in range(event.step, len(history.steps)) if n in position), None)
        moment = {"ph": "i", "name": narrator.tell(event), "ts": end if at is None else starts[at]}
        moment |= {"cat": "deviation" if event.deviates else event.kind}
        if at is not None and history.is_inside(event):
            events.append({**moment, "s": "t", **lane_of[at]})
        else:
            events.append({**moment, "s": "g", "pid": PID, "tid": 0})
    events.sort(key=lambda each: each["ts"])
    for each in events:
        for key in ("ts", "dur"):
            if key in each:
                each[key] /= 1000  # nanoseconds were exact; the format has microseconds
    return [*_names(history, lanes), *events]


def _spread(history: History, shown: list[int]) -> tuple[list[int], list[int], int]:
    """Return where the slice of each step begins and how long it is, and where the run ends, all in nanoseconds.

    Counted from the beginning of the run: what the clock said then is a label, and too large for the format.
    """
    ticks = [history.steps[number].tick for number in shown]
    starts: list[int] = []
    lengths: list[int] = []
    k = 0
    while k < len(ticks):
        stop = k
        while stop < len(ticks) and ticks[stop] == ticks[k]:
            stop += 1
        room = (ticks[stop] - ticks[k]) * 1000 if stop < len(ticks) else (stop - k) * 1000
        slot = min(1000, max(room // (stop - k), 1))
        for n in range(stop - k):
            starts.append((ticks[k] - ticks[0]) * 1000 + min(n * slot, room))
            lengths.append(max(int(slot * FILLED), 1))
        k = stop
    return starts, lengths, starts[-1] + 1000 if starts else 0


def _lane(subject: object) -> object:
    """Return what has a lane: a task's number, or one for all callbacks."""
    return subject if isinstance(subject, int) else None


def _lanes(history: History, shown: list[int]) -> dict[object, dict[str, int]]:
    """Return where each lane is drawn: its host is a process, and it a thread of that."""
    pids: dict[str | None, int] = {None: PID}
    lanes: dict[object, dict[str, int]] = {}
    for number in shown:
        lane = _lane(history.steps[number].subject)
        if lane not in lanes:
            host = history.hosts.get(lane) if isinstance(lane, int) else None
            lanes[lane] = {"pid": pids.setdefault(host, PID + len(pids)), "tid": len(lanes) + 1}
    return lanes


def _names(history: History, lanes: dict[object, dict[str, int]]) -> list[dict[str, Any]]:
    """Return what names the lanes, and keeps them in the order of their tasks."""
    title = history.title or "no loop yet"
    processes = {PID: title}
    named: list[dict[str, Any]] = []
    for lane, place in lanes.items():
        host = history.hosts.get(lane) if isinstance(lane, int) else None
        processes.setdefault(place["pid"], host or title)
        name = history.labels[lane] if isinstance(lane, int) else "callbacks"
        named.append({"ph": "M", "name": "thread_name", **place, "args": {"name": name}})
        named.append({"ph": "M", "name": "thread_sort_index", **place, "args": {"sort_index": place["tid"]}})
    first = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
        for pid, name in processes.items()
    ]
    return [*first, *named]
