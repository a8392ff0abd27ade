"""How numbers, times and lists read in a sentence.

Owns nothing but that, for everything that people read. Knows nothing of what is counted or listed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from virtualloop._core.clock import TICKS_PER_SECOND

__all__ = [
    "coarse",
    "counted",
    "cut",
    "duration",
    "fitted",
    "kept_end",
    "listed",
    "moment",
    "seconds",
    "told_apart",
    "with_short_names",
]

_T = TypeVar("_T")

#: A list of names in a line says this many, and how many more there are.
MAX_NAMES = 4
#: From here on, in seconds, nobody looks at single microseconds.
FINE = 0.0005

#: What is a name in a sentence, or a place, and long enough to be cut.
_NAME = re.compile(r"[\w.<>/\\:-]{24,}")
#: A name is not made shorter than this.
MIN_NAME = 16
#: What is told in several lines has names of up to so many characters.
MAX_NAME = 40


def cut(text: str, width: int) -> str:
    """Return a text without its end where it is wider than this."""
    return text if len(text) <= width else f"{text[: max(width - 3, 0)]}..."


def kept_end(name: str, width: int) -> str:
    """Return a name without its beginning where it is wider than this: what has parts differs at its end."""
    return name if len(name) <= width else f"...{name[len(name) - width + 3 :]}"


def fitted(sentence: str, width: int) -> str:
    """Return a sentence that is wider than this with its longest names cut; and without its end, if need be."""
    while len(sentence) > width:
        longest = max(_NAME.findall(sentence), key=len, default="")
        if len(longest) <= MIN_NAME:
            return cut(sentence, width)
        sentence = sentence.replace(longest, kept_end(longest, max(len(longest) - len(sentence) + width, MIN_NAME)))
    return sentence


def with_short_names(sentence: str) -> str:
    """Return a sentence with its very long names cut."""
    return _NAME.sub(lambda match: kept_end(match[0], MAX_NAME), sentence)


def counted(n: int, noun: str) -> str:
    """Return a number and what is counted, as in "1 run" and "2 runs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listed(names: Iterable[str]) -> str:
    """Return names as a list in a sentence."""
    several = list(names)
    if len(several) > MAX_NAMES:
        several = [*several[: MAX_NAMES - 1], f"{len(several) - MAX_NAMES + 1} more"]
    *first, last = several
    return f"{', '.join(first)} and {last}" if first else last


def seconds(tick: int) -> str:
    """Return a time in seconds, as short as it can be."""
    text = f"{tick / TICKS_PER_SECOND:.6f}".rstrip("0").rstrip(".")
    return text or "0"


def moment(time: float) -> str:
    """Return a moment on a loop's clock in seconds, without the microseconds that a clock is late by."""
    return f"{round(time, 4) if abs(time) >= FINE else time:g}"


def duration(ticks: int) -> str:
    """Return a length of time with its unit; a long one without the microseconds that a clock is late by."""
    ticks = coarse(ticks)
    return f"{seconds(ticks)} s" if abs(ticks) >= TICKS_PER_SECOND else f"{seconds(ticks * 1000)} ms"


def coarse(ticks: int) -> int:
    """Return a time without the microseconds that a clock is late by, unless they are all there is."""
    return round(ticks, -2) if abs(ticks) >= FINE * TICKS_PER_SECOND else ticks


def told_apart(names: Mapping[_T, str]) -> dict[_T, str]:
    """Return names of which no two are the same: of several, all but the first get a number."""
    taken = Counter(names.values())
    seen: Counter[str] = Counter()
    apart: dict[_T, str] = {}
    for thing, name in names.items():
        seen[name] += 1
        apart[thing] = name if seen[name] == 1 else f"{name} ({seen[name]})"
        while seen[name] > 1 and apart[thing] in taken:
            seen[name] += 1
            apart[thing] = f"{name} ({seen[name]})"
    return apart
