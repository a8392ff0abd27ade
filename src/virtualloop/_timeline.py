"""A trace as one HTML file that needs nothing else: no network, no other file.

Owns what the page is given to show. How it looks and what it does with a mouse is in `_timeline.html`, into which
the steps go as JSON.
"""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import Any

from virtualloop._chronicle import Chronicle
from virtualloop._recorder import Event

__all__ = ["page"]

#: The lane of whatever is no task.
CALLBACKS = "callbacks"


def page(chronicle: Chronicle, *, title: str | None = None) -> str:
    """Return the page, under another title than what the loop was made with if one is given."""
    template = files("virtualloop").joinpath("_timeline.html").read_text(encoding="utf-8")
    # Nothing in a name or a message may end the script element that it stands in.
    data = json.dumps(_data(chronicle), separators=(",", ":")).replace("<", "\\u003c")
    title = html.escape(title or chronicle.title or "no loop yet")
    return template.replace("{{title}}", title).replace("{{data}}", data)


class _Texts:
    """Texts by number: most of them occur again and again."""

    def __init__(self) -> None:
        self.all: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.all.setdefault(text, len(self.all))


def _data(chronicle: Chronicle) -> dict[str, Any]:
    texts = _Texts()
    shown = chronicle.visible
    position = {number: k for k, number in enumerate(shown)}
    lanes = _lanes(chronicle)
    steps = []
    for number in shown:
        step = chronicle.steps[number]
        cause = chronicle.cause(number)
        place = chronicle.place(number)
        is_task = isinstance(step.subject, int)
        steps.append(
            [
                step.tick,
                lanes[step.subject if is_task else CALLBACKS],
                -1 if cause is None else position[cause],
                chronicle.fate(number),
                int(chronicle.is_first(number)),
                texts.number("" if is_task else chronicle.who(number)),
                texts.number(chronicle.why(number)),
                texts.number("; ".join(chronicle.deeds(number))),
                texts.number(chronicle.rest(number)),
                texts.number(chronicle.where(number)),
                texts.number(place.source if place else ""),
            ]
        )
    return {
        "title": chronicle.title,
        "heading": chronicle.heading(),
        "lanes": [_lane(chronicle, lane) for lane in lanes],
        "steps": steps,
        "events": [_event(chronicle, event, position) for event in chronicle.events if event.kind != "send"],
        "texts": list(texts.all),
    }


def _lanes(chronicle: Chronicle) -> dict[object, int]:
    """Return the place of each lane: tasks as they came, those of a host together below its name."""
    hosts = chronicle.hosts
    by_host: dict[str | None, dict[object, None]] = {}
    for number in chronicle.visible:
        subject = chronicle.steps[number].subject
        host = hosts.get(subject) if isinstance(subject, int) else None
        by_host.setdefault(host, {})[subject if isinstance(subject, int) else CALLBACKS] = None
    lanes: dict[object, int] = {}
    for host, own in by_host.items():
        if host is not None or lanes:
            lanes["host", host or "no host"] = len(lanes)
        for lane in own:
            lanes[lane] = len(lanes)
    return lanes


def _lane(chronicle: Chronicle, lane: object) -> tuple[str, str]:
    """Return a lane's name, and what it is."""
    if isinstance(lane, int):
        return chronicle.tasks[lane], "task"
    return (lane[1], "host") if isinstance(lane, tuple) else (CALLBACKS, "callbacks")


def _event(chronicle: Chronicle, event: Event, position: dict[int, int]) -> list[Any]:
    inside = chronicle.is_inside(event) and event.step in position
    number = event.step
    while number < len(chronicle.steps) and number not in position:
        number += 1
    at = position.get(number, len(position))
    about = position.get(chronicle.about(event), at)
    return [at, about, event.tick, int(inside), int(event.deviates), chronicle.tell(event)]
