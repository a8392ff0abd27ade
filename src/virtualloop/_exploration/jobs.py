"""Processes of this machine that make the runs of explored tests, where VIRTUALLOOP says jobs=.

Owns these processes, and how the function of a test is found in one: by its file and its name, because there pytest has
not imported it. What cannot be sent, as a test with fixtures, is run here as ever.
"""

from __future__ import annotations

import concurrent.futures
import functools
import importlib
import importlib.util
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from virtualloop._exploration.identity import is_value
from virtualloop._exploration.mark import EXPLORED

__all__ = ["Node", "jobs", "node_of"]


class Node(NamedTuple):
    """A call of a function at the top level of a module."""

    file: str
    module: str
    function: str
    args: tuple[Any, ...]
    keywords: Mapping[str, Any]

    def resolve(self) -> functools.partial[Any]:
        """Return the call, in any process."""
        module = sys.modules.get(self.module)
        if module is None or getattr(module, "__file__", None) != self.file:
            module = _imported(self.module, self.file)
        found = getattr(module, self.function)
        test = getattr(found, EXPLORED, None)
        return functools.partial(found if test is None else test.function, *self.args, **self.keywords)


def node_of(function: Callable[..., Any], args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Node:
    """Return a call that can be sent. Raises PicklingError for one that cannot, or would be another one there."""
    node = Node(function.__code__.co_filename, function.__module__, function.__qualname__, args, dict(keywords))
    if not all(map(is_value, (*args, *keywords.values()))):
        raise pickle.PicklingError(f"what {node.function}() is called with is not the same in each process")
    found = getattr(sys.modules.get(node.module), node.function, None)
    if found is not function and getattr(getattr(found, EXPLORED, None), "function", None) is not function:
        raise pickle.PicklingError(f"{node.function}() is not at the top level of its module")
    return node


def _imported(name: str, file: str) -> Any:
    try:
        module = importlib.import_module(name)
    except ImportError:
        module = None
    if module is not None and getattr(module, "__file__", None) == file:
        return module
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {name} from {file}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Processes(concurrent.futures.Executor):
    """A pool for all explorations of this process; where one of its members has died, there is another one."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._pool = self._new()

    def _new(self) -> concurrent.futures.ProcessPoolExecutor:
        # The one way to start a process that is the same on all systems, and safe beside threads.
        return concurrent.futures.ProcessPoolExecutor(self._number, mp_context=multiprocessing.get_context("spawn"))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Have one of the processes call it."""
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except concurrent.futures.BrokenExecutor:
            self._pool = self._new()
            return self._pool.submit(fn, *args, **kwargs)


_processes = functools.cache(Processes)


def jobs(number: int, program: Any) -> concurrent.futures.Executor | None:
    """Return so many processes, if the program can be sent there; else None."""
    if number == 1:
        return None
    try:
        pickle.dumps(program)
    except (pickle.PicklingError, TypeError, AttributeError):
        return None
    return _processes(number)
