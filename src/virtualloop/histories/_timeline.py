"""A history as a small timeline: a row an operation, and a bar from where it began to where it ended.

Owns what a counter-example looks like; knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePath
from typing import Any

from virtualloop.histories._call import Call, short

__all__ = ["counterexample", "timeline"]

#: So many operations are shown: more do not fit on a screen, and the last ones tell.
MAX_ROWS = 16
#: What stands before the bars is cut to this many columns, and the bars are as wide as they can be in the rest.
MAX_TEXT = 56
MAX_WIDTH = 100
#: So many states are named.
MAX_STATES = 3
ARROW = " <--"


def counterexample(
    calls: Sequence[Call], stuck: Collection[Call], states: Sequence[Any], *, what: str, key: object, about: str
) -> str:
    """Return what to say of calls that no order explains; `about` says what an order is."""
    of_key = "" if key is None else f", key {short(key)}"
    earlier = len(calls) - MAX_ROWS
    lines = [f"not {what}{of_key}: no order of these operations{about} explains"]
    for call in list(stuck)[:MAX_STATES]:
        place = f"{PurePath(call.place.file).name}:{call.place.line}"
        lines.append(f"  {call.text(with_none=True)} by client {call.client} ({place})")
    lines.append("")
    lines += timeline(calls, stuck)
    possible = [short(state) for state in states[:MAX_STATES]]
    if len(states) > MAX_STATES:
        possible.append(f"{len(states) - MAX_STATES} others")
    if possible:
        either = " or ".join(filter(None, [", ".join(possible[:-1]), possible[-1]]))
        lines += ["", f"  before {'it' if len(stuck) == 1 else 'these'}, the state may have been {either}"]
    if earlier > 0:
        lines += [f"  ({earlier} earlier operations are not shown)"]
    return "\n".join(lines)


def timeline(calls: Sequence[Call], marked: Collection[Call] = ()) -> list[str]:
    """Return the rows of the last calls; those that are marked have an arrow, and are never left out."""
    others = [call for call in calls if call not in marked]
    last = {id(call) for call in [*others[max(len(others) - MAX_ROWS + len(marked), 0) :], *marked]}
    rows = [call for call in calls if id(call) in last]
    moments = sorted({call.began for call in rows} | {call.ended for call in rows} - {None})  # type: ignore[type-var]
    names = [str(call.client) for call in rows]
    width = max(map(len, names), default=0)
    # None is an answer where other operations of that name have one.
    answering = {call.op for call in [*calls, *marked] if call.result is not None or call in marked}
    texts = [
        f"  {name:{width}}  {call.text(with_none=call.op in answering)}" for name, call in zip(names, rows, strict=True)
    ]
    room = min(max(map(len, texts), default=0), MAX_TEXT)
    step = 2 if room + 2 * len(moments) + len(ARROW) + 4 <= MAX_WIDTH else 1
    column = {moment: step * number for number, moment in enumerate(moments)}
    end = step * len(moments)
    lines: list[str] = []
    for call, text in zip(rows, texts, strict=True):
        cut = text if len(text) <= room else text[: room - 3] + "..."
        begins = column[call.began]
        if call.ended is None:
            bar = "|" + "-" * (end - begins) + "?"
        else:
            bar = "|" + "-" * (column[call.ended] - begins - 1) + "|"
        mark = ARROW if call in marked else ""
        lines.append(f"{cut:{room}}  {' ' * begins}{bar}{mark}")
    return lines
