"""A trace as one HTML file that needs nothing else: no network, no other file.

Owns what the page is given to show. How it looks and what it does with a mouse is in `timeline.html`, into which the
steps go as JSON.
"""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import Any

from virtualloop._core.record import Event
from virtualloop._words import listed
from virtualloop.trace._chain import failing_steps
from virtualloop.trace._history import History
from virtualloop.trace._narrator import Narrator

__all__ = ["page"]

#: The lane of whatever is no task.
CALLBACKS = "callbacks"


def page(narrator: Narrator, *, title: str | None = None, report: str = "", replay: str = "") -> str:
    """Return the page, under another title than what the loop was made with if one is given.

    It shows the report of a failure, and copies the line that replays it, where there are such.
    """
    template = files("virtualloop.trace").joinpath("timeline.html").read_text(encoding="utf-8")
    data = {**_data(narrator), "report": report, "replay": replay}
    # Nothing in a name or a message may end the script element that it stands in.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    title = html.escape(title or narrator.history.title or "no loop yet")
    return template.replace("{{title}}", title).replace("{{data}}", text)


class _Texts:
    """Texts by number: most of them occur again and again."""

    def __init__(self) -> None:
        self.all: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.all.setdefault(text, len(self.all))


def _data(narrator: Narrator) -> dict[str, Any]:
    history = narrator.history
    texts = _Texts()
    shown = history.visible
    position = {number: k for k, number in enumerate(shown)}
    libraries = _libraries(history)
    lanes = _lanes(history, libraries)
    steps = []
    for number in shown:
        step = history.steps[number]
        cause = history.cause(number)
        line = history.line(number)
        is_task = isinstance(step.subject, int)
        steps.append(
            [
                step.tick,
                lanes[step.subject if is_task else CALLBACKS],
                -1 if cause is None else position[cause],
                history.fate(number),
                int(history.is_first(number)),
                texts.number("" if is_task else history.who(number)),
                texts.number(narrator.why(number)),
                texts.number("; ".join(narrator.deeds(number))),
                texts.number(narrator.awaited(number)),
                texts.number(narrator.where(number)),
                texts.number(line.source if line else ""),
            ]
        )
    return {
        "title": history.title,
        "heading": narrator.heading(),
        "lanes": [_lane(history, libraries, lane) for lane in lanes],
        "steps": steps,
        "events": [_event(narrator, event, position) for event in history.incidents],
        "texts": list(texts.all),
        **_failure(history, position),
    }


def _failure(history: History, position: dict[int, int]) -> dict[str, Any]:
    """Return where a run failed: the steps that did, how many steps were made by then, and when."""
    if history.failed_at is None:
        return {"failing": [], "end": -1, "failed": 0, "hangs": False}
    failing = [number for number in failing_steps(history) if number in position]
    return {
        "failing": [position[number] for number in failing],
        "end": sum(number < history.failed_at for number in position),
        "failed": history.failed_tick,
        "hangs": bool(failing) and history.fate(failing[0]) == "waits",
    }


def _lanes(history: History, libraries: dict[int, str]) -> dict[object, int]:
    """Return the place of each lane: tasks as they came, those of a host together below its name, libraries' last."""
    hosts = history.hosts
    by_host: dict[str | None, dict[object, None]] = {}
    of_libraries: dict[object, None] = {}
    for number in history.visible:
        subject = history.steps[number].subject
        if subject in libraries:
            of_libraries[subject] = None
            continue
        host = hosts.get(subject) if isinstance(subject, int) else None
        by_host.setdefault(host, {})[subject if isinstance(subject, int) else CALLBACKS] = None
    lanes: dict[object, int] = {}
    for host, own in by_host.items():
        if host is not None or lanes:
            lanes["host", host or "no host"] = len(lanes)
        for lane in own:
            lanes[lane] = len(lanes)
    for lane in of_libraries:
        lanes[lane] = len(lanes)
    return lanes


def _libraries(history: History) -> dict[int, str]:
    """Return the tasks that are a library's own, and whose: no step of theirs is anywhere else."""
    found: dict[int, set[str]] = {}
    readers: set[int] = set()
    for number in history.visible:
        subject = history.steps[number].subject
        if isinstance(subject, int):
            library = history.library(number)
            if library is not None:
                found.setdefault(subject, set()).add(library)
            elif history.steps[number].code is not None:
                readers.add(subject)
    for task, coroutine in history.coroutines.items():
        if coroutine.startswith("_") and task not in readers:
            found.setdefault(task, set()).add("asyncio")
    return {task: listed(sorted(names)) for task, names in found.items() if task not in readers}


def _lane(history: History, libraries: dict[int, str], lane: object) -> tuple[str, str]:
    """Return a lane's name, and what it is."""
    if isinstance(lane, int):
        return history.labels[lane], f"library {libraries[lane]}" if lane in libraries else "task"
    return (lane[1], "host") if isinstance(lane, tuple) else (CALLBACKS, "callbacks")


def _event(narrator: Narrator, event: Event, position: dict[int, int]) -> list[Any]:
    history = narrator.history
    inside = history.is_inside(event) and event.step in position
    number = event.step
    while number < len(history.steps) and number not in position:
        number += 1
    at = position.get(number, len(position))
    about = position.get(history.about(event), at)
    return [at, about, event.tick, int(inside), event.kind, int(event.deviates), narrator.tell(event)]
