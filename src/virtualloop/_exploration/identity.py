"""Which program a run is of: the same in every process, whatever runs it, and another one with other arguments.

Owns the name of a program, and what of its arguments tells it from others.
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Identity", "arguments_of", "identity_of", "is_value"]


class Identity(NamedTuple):
    """What a run belongs to."""

    #: The file of its function, without folders: a test's module has other names when it is run in other ways.
    module: str
    #: The qualified name of its function.
    name: str
    #: What it is called with, as far as that is the same in every process.
    arguments: str
    #: The path of the file, for those who look for where it lies.
    file: str

    @property
    def program(self) -> str:
        """The function, without its arguments."""
        return f"{self.module}:{self.name}"


def identity_of(main: Any) -> Identity:
    """Return which program this is; what functools.partial has given it is part of it, by the names of parameters.

    A value counts as one that is the same in each process: a number, a text, a class, a list of such things. Fixtures
    do not.
    """
    texts = {name: _text(value) for name, value in arguments_of(main).items()}
    while isinstance(main, functools.partial):
        main = main.func
    code = getattr(main, "__code__", None)
    file = "" if code is None else str(code.co_filename)
    module = Path(file).stem if file else type(main).__module__
    name = str(getattr(main, "__qualname__", type(main).__qualname__))
    arguments = ", ".join(f"{name}={text}" for name, text in sorted(texts.items()) if text is not None)
    return Identity(module, name, arguments, file)


def arguments_of(main: Any) -> dict[str, Any]:
    """Return what functools.partial has given a program, by the names of parameters."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    while isinstance(main, functools.partial):
        positional = [*main.args, *positional]
        named = {**getattr(main, "parameters", {}), **main.keywords, **named}
        main = main.func
    try:
        bound = inspect.signature(main).bind_partial(*positional, **named).arguments
    except (TypeError, ValueError):
        bound = {str(number): value for number, value in enumerate(positional)}
        return {**bound, **named}
    return dict(bound)


def is_value(value: Any) -> bool:
    """Return whether a value, and all that it holds, is the same in each process."""
    if isinstance(value, Mapping):
        return all(is_value(part) for item in value.items() for part in item)
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_value, value))
    return _text(value) is not None


def _text(value: Any) -> str | None:
    """Return a value where it is one, and None where it may be another one each time."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, type) or inspect.isroutine(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(key)}: {_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(str(_text(each)) for each in value)}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(str(_text(each)) for each in value))}}}"
    return None
