"""What a record shows of the program's values and errors: one line each, the same in every process.

Owns how they are cut. Knows nothing of what they are of.
"""

from __future__ import annotations

import re
import reprlib
from types import CodeType
from typing import Any

__all__ = ["described", "name_of", "shown", "without_addresses"]

#: A value of the program's or a message is cut to this many characters: it has to fit into a line.
MAX_SHOWN = 80

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_shorten = reprlib.Repr()
_shorten.maxother = _shorten.maxstring = MAX_SHOWN


def shown(value: object) -> str:
    """Return the repr of a value, shortened, without addresses."""
    return without_addresses(_shorten.repr(value))


def described(exc: BaseException) -> str:
    """Return an exception's name and message, in one line, without addresses."""
    try:
        message = str(exc)
    except Exception:
        message = ""
    first = without_addresses(message.partition("\n")[0])
    name = type(exc).__qualname__
    return f"{name}: {first[:MAX_SHOWN]}" if first else name


def without_addresses(text: str) -> str:
    """Return the text with every address that a repr put there cut out: the next run has others."""
    return _ADDRESS.sub("", text)


def name_of(callback: Any) -> CodeType | str:
    """Return what is known of a callback that is no plain function or method."""
    while hasattr(callback, "func"):  # functools.partial
        callback = callback.func
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    return getattr(callback, "__code__", None) or str(name)
