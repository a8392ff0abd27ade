"""What the runs of a program leave behind in it, by name: the globals of its modules, its closure, its arguments.

Owns what counts as changed, and the words. Only looks, and runs no code of the program; what lies in a file,
in a library or deeper than a step it does not see.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from virtualloop._exploration.identity import arguments_of
from virtualloop._exploration.program import function_of
from virtualloop._report.frames import held_by, is_readers
from virtualloop._words import listed

__all__ = ["Leftovers"]

_VALUES = frozenset({int, bool, float, complex, str, bytes, type(None)})
_CONTAINERS = (dict, list, set, bytearray, deque)
_CACHED = type(functools.cache(len))


class Leftovers:
    """What a program held before its first run, and what of that is another thing now."""

    def __init__(self, main: Any) -> None:
        self._main = main
        self._before = dict(_states(main))

    def in_words(self) -> str:
        """Return a sentence that names what has changed, or nothing."""
        changed = [where for where, state in _states(self._main) if self._before.get(where) != state]
        return f" What its runs have changed: {listed(changed)}." if changed else ""


def _states(main: Any) -> Iterator[tuple[str, object]]:
    """Return in which state each thing is that a program holds, by how it is called and where."""
    function = function_of(main)
    for name, value in arguments_of(main).items():
        yield from _state(name, value, "")
    code = getattr(function, "__code__", None)
    if code is None:
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield from _state(name, cell.cell_contents, "")
        except ValueError:
            continue  # It is not set yet.
    for file, variables in _modules(function.__globals__):
        for name, value in [*variables.items()]:
            if not name.startswith(("_", "@")) and not isinstance(value, ModuleType):
                yield from _state(name, value, f" in {Path(file).name}")


def _modules(variables: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the module of a program, and those of the reader's that it has imported something of: file, globals."""
    found = {str(variables.get("__file__", variables.get("__name__", ""))): variables}
    for value in [*variables.values()]:
        kind = value if isinstance(value, type | FunctionType) else type(value)
        module = value if type(value) is ModuleType else sys.modules.get(str(kind.__module__))
        file = getattr(module, "__file__", None)
        if module is not None and file is not None and is_readers(file):
            found.setdefault(file, vars(module))
    yield from found.items()


def _state(name: str, value: Any, where: str) -> Iterator[tuple[str, object]]:
    """Return the state of a thing, and those of what it holds."""
    kind = type(value)
    if kind in _VALUES:
        yield f"{name}{where}", value
    elif issubclass(kind, _CONTAINERS):
        yield f"{name}{where}", (id(value), len(value))
    elif kind is _CACHED:
        yield f"{name}(){where}", value.cache_info().currsize
    else:
        yield f"{name}{where}", id(value)
        variables = vars(value).items() if issubclass(kind, type) else ()
        held = ((step[1:], inner) for step, inner in held_by(value) if step.startswith("."))
        for attribute, inner in (*variables, *held):
            if type(inner) in _VALUES:
                yield f"{name}.{attribute}{where}", inner
            elif issubclass(type(inner), _CONTAINERS):
                yield f"{name}.{attribute}{where}", (id(inner), len(inner))
