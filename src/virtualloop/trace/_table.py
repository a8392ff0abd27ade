"""A run as a table of text: a row for each step and each event.

Owns the columns and their widths, and how two runs stand side by side. What a row says is the narrator's.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

from virtualloop._core.record import Event
from virtualloop._words import coarse, counted, cut, fitted, kept_end, seconds, told_apart
from virtualloop.trace._history import has_default_name
from virtualloop.trace._narrator import Narrator

__all__ = ["Row", "difference", "formatted", "rows", "width"]

#: What has no name of its own is as wide as its coroutine, up to so many characters in the column of names. A longer
#: name loses its beginning: names that are made of parts differ at their ends.
MAX_NAME = 24
#: Lines are as wide as the terminal, within these bounds: narrower ones say too little, in wider ones the eye gets
#: lost.
#: Where there is no terminal, in CI and in files, they are as wide as can be.
MIN_WIDTH, MAX_WIDTH = 76, 100
#: The whole text of a trace has room for the source as well: it is read in an editor.
FULL_WIDTH = 160
#: Places stand in a column behind what was done, unless that is longer than this.
MAX_DEED = 60
MIN_DEED = 20
#: A place that leaves less than this to what was done loses its beginning.
FAIR_DEED = 32
MIN_PLACE = 12
#: A place of its own source is given so many characters at least, or none.
MIN_SOURCE = 12

#: Where a deed was done, in its words.
_PLACE = re.compile(r" \([^() ]+:\d+\)")

#: What a task waits for, up to the name of the method.
_CLASS = re.compile(r"^waits for (?:\w+\.)+(?=\w+\(\)$)")

#: How many rows are shown before and after the point where two runs part.
CONTEXT = 8


class Row(NamedTuple):
    """One row of the text: a step or an event."""

    tick: int
    #: Its step, or that an event comes before.
    step: int
    #: The event, or None for a step.
    event: Event | None
    who: str
    what: str
    where: str
    source: str


def rows(narrator: Narrator) -> list[Row]:
    """Return everything that gets a row: steps that are not hidden, and events, in order."""
    history = narrator.history
    found: list[Row] = []
    position = 0
    for number in range(len(history.steps) + 1):
        own: list[Row] = []
        while position < len(history.incidents) and history.incidents[position].step == number:
            event = history.incidents[position]
            position += 1
            row = Row(event.tick, number, event, "", narrator.tell(event), "", "")
            (own if history.is_inside(event) else found).append(row)
        if number < len(history.steps) and not history.is_hidden(number):
            found.append(_row_of_step(narrator, number))
        found += own
    return found


def _row_of_step(narrator: Narrator, number: int) -> Row:
    history = narrator.history
    line = history.line(number)
    subject = history.steps[number].subject
    host = history.hosts.get(subject) if isinstance(subject, int) else None
    who = f"{history.label(number)} @{host}" if host else history.label(number)
    source = line.source if line else ""
    return Row(history.steps[number].tick, number, None, who, narrator.told(number), narrator.where(number), source)


def width() -> int:
    """Return how wide a line may be where the program writes."""
    if os.environ.get("CI") or not any(_is_terminal(stream) for stream in (sys.__stdout__, sys.__stderr__)):
        return MAX_WIDTH
    return min(max(shutil.get_terminal_size((MAX_WIDTH, 0)).columns, MIN_WIDTH), MAX_WIDTH)


def _is_terminal(stream: object) -> bool:
    try:
        return stream is not None and bool(stream.isatty())  # type: ignore[attr-defined]  # a text stream or a stand-in
    except (AttributeError, ValueError):
        return False


def formatted(shown: Sequence[Row], *, width: int = FULL_WIDTH) -> list[str]:
    """Return rows as text, in columns; no line is wider than `width`."""
    return [line for lines in blocks(shown, width=width) for line in lines]


def blocks(shown: Sequence[Row], *, width: int) -> list[list[str]]:
    """Return the lines of each row: one, or two where it has to say what fits into no single one."""
    times = _times([row.tick for row in shown])
    timing = max(map(len, times), default=0)
    names = told_apart({row.who: _cut_name(row.who) for row in shown})
    whos = max(map(len, names.values()), default=0)
    deeds = min(max((len(row.what) for row in shown if row.event is None), default=0), MAX_DEED)
    places = [kept_end(row.where, max(width - timing - whos - FAIR_DEED - 8, MIN_PLACE)) for row in shown]
    wheres = max(map(len, places), default=0)
    # A place is worth more than the words that overflow before it.
    deeds = min(deeds, max(width - timing - whos - wheres - 8, MIN_DEED))
    found = []
    for row, time, where in zip(shown, times, places, strict=True):
        if row.event is not None:
            mark = "*" if row.event.deviates else " "
            text = f"{mark} {time:>{timing}}  {'':{whos}}  {row.what}"
            if len(text) > width:  # There are no names in it to be kept in their column.
                text = f"{text[: timing + 4]}{row.what}"
            found.append([fitted(text, width)])
            continue
        start = f"  {time:>{timing}}  {names[row.who]:{whos}}  "
        left = width - len(start) - (len(where) + 2 if where else 0)
        what, *more = _squeezed(row.what, left)
        text = f"{start}{what:{deeds}}  {where}" if where else start + what
        padded = f"{text:{timing + whos + deeds + wheres + 8}}  "
        if row.source and len(padded) + min(MIN_SOURCE, len(row.source)) <= width:
            text = padded + row.source
        found.append([cut(line.rstrip(), width) for line in (text, *(" " * len(start) + rest for rest in more))])
    return found


def _times(ticks: Sequence[int]) -> list[str]:
    """Return times in milliseconds, with as many digits as tell them apart and are not zero."""
    told = [coarse(tick) for tick in ticks]
    digits = next((n for n in range(3) if len({_rounded(t, n) for t in told}) == len(set(told))), 3)
    return [f"{_rounded(tick, digits)}ms" for tick in told]


def _rounded(tick: int, digits: int) -> str:
    return f"{tick / 1000:.{digits}f}"


def difference(one: Narrator, other: Narrator) -> str:
    """Return where two runs part, with what both did before and each one after."""
    mine, others = rows(one), rows(other)
    keys = [[_key(narrator, row) for row in its] for narrator, its in ((one, mine), (other, others))]
    length = min(len(mine), len(others))
    common = next((k for k in range(length) if keys[0][k] != keys[1][k]), length)
    if common == len(mine) == len(others):
        return f"The runs are the same: {one.heading()}"
    tick = min(its[common].tick for its in (mine, others) if common < len(its))
    parts = [f"The runs part at t={seconds(tick)}, after {counted(common, 'line')} in common."]
    before = mine[max(common - CONTEXT, 0) : common]
    if before:
        parts += ["Both:", *formatted(before)]
    for name, narrator, its in (("This run", one, mine), ("The other run", other, others)):
        after = its[common : common + CONTEXT]
        parts += [f"{name}, {narrator.history.title}:", *(formatted(after) or ["  ends here"])]
    return "\n".join(parts)


def _key(narrator: Narrator, row: Row) -> tuple[object, ...]:
    """Return what makes a row different from another, as far as could be known at that time."""
    if row.event is not None:
        return (row.tick, row.what)
    awaits = narrator.history.steps[row.step].awaits
    end = getattr(awaits, "co_qualname", awaits)
    return (row.tick, row.who, narrator.why(row.step), row.where, end)


def _squeezed(what: str, width: int) -> list[str]:
    """Return what a step did in less room: how it came and how it ended come before what it did in between.

    What it raised, and who took away what it was handed, has a line of its own if need be.
    """
    how, *between, end = what.split("; ") if "; " in what else (what, "")
    if not end or len(what) <= width:
        return [cut(what, width)]
    # Callbacks say themselves who has queued them; then, who was woken says more than where.
    between = [deed for deed in between if not deed.startswith("queues ")]
    for deeds in (between, [_PLACE.sub("", deed) for deed in between], ["..."] if between else []):
        short = "; ".join([how, *deeds, end])
        if len(short) <= width:
            return [short]
    if end.startswith("raises"):
        return [cut(f"{how};", width), end]
    # What an operation's class is says less than why a step came.
    short = "; ".join([how, *(["..."] if between else []), _CLASS.sub("waits for ", end)])
    if len(short) <= width:
        return [short]
    # That it was cancelled is said.
    end = "ends" if "cancelled" in how and end == "ends, cancelled" else end
    if "cancelled" not in how:
        return [fitted(f"...; {end}", width)]
    if len(how) + len(end) + 2 <= width:
        return [f"{how}; {end}"]
    woken, then, cancelled = how.partition(", then ")
    if then and len(how) > width:
        return [cut(f"{woken},", width), f"then {cancelled}; {end}"]
    return [fitted(how, width)]


def _cut_name(name: str) -> str:
    """Return a name without its beginning where it is too wide; a number that asyncio gave it stays."""
    if len(name) <= MAX_NAME:
        return name
    number, _, rest = name.partition(" ")
    if has_default_name(number):
        return f"{number} {kept_end(rest, MAX_NAME - len(number) - 1)}"
    return kept_end(name, MAX_NAME)
