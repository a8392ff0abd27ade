"""python -m virtualloop: explore a program, or replay one of its failures, without writing a test.

Owns the command line; what it does is done by `explore`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self

from virtualloop._exploration.api import Exploration, explore

__all__ = ["main"]

ABOUT = """\
virtualloop {version}: an asyncio event loop for tests, with virtual time and an order of events that a seed decides.

  asyncio.run(main(), loop_factory=VirtualLoop)      an hour of sleep takes a millisecond
  @virtualloop.explored                              a test runs under hundreds of timings that can happen
  pytest --explore=200                               and so does a suite of async tests, as it stands
  python -m virtualloop explore module:function      explore a coroutine function, which takes no arguments
  python -m virtualloop replay TOKEN module:function make the one run that a failure's token holds
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status: 1 if a run fails, 2 for what makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m virtualloop", description="Explore asyncio programs.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command")

    replay = commands.add_parser("replay", help="make the one run that a failure's token holds")
    replay.add_argument("token")
    replay.add_argument("program", metavar="module:function")

    runs = commands.add_parser("explore", help="explore a coroutine function that takes no arguments")
    runs.add_argument("program", metavar="module:function")
    runs.add_argument("--runs", type=int, help="how many runs at most")
    runs.add_argument("--seed", type=int, help="another seed is another exploration")
    runs.add_argument("--order", choices=["fifo", "timing", "io", "tasks"], help="what may vary")
    runs.add_argument("--jobs", type=int, default=1, help="how many processes make the runs")

    options = parser.parse_args(arguments)
    if options.command is None:
        print(ABOUT.format(version=_version()), end="")  # noqa: T201  # it is what the command is for
        return 0
    try:
        program = Named(options.program)
        if options.command == "replay":
            return _tell(explore(program, replay=options.token, check=False))
        given = {name: getattr(options, name) for name in ("runs", "seed", "order")}
        given = {name: value for name, value in given.items() if value is not None}
        return _explore(program, options.jobs, given)
    except (LookupError, TypeError, ValueError) as exc:
        parser.error(str(exc.args[0] if exc.args else exc))


def _explore(program: Named, jobs: int, options: dict[str, Any]) -> int:
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {jobs}")
    if jobs == 1:
        return _tell(explore(program, check=False, **options))
    with concurrent.futures.ProcessPoolExecutor(jobs) as executor:
        return _tell(explore(program, check=False, executor=executor, **options))


class Named(functools.partial[Any]):
    """A program by its name, "module:function"; other processes import it by that as well."""

    name: str

    def replay_command(self, token: str) -> str:
        """Return the line that makes the run of a token again."""
        return f"python -m virtualloop replay {token} {self.name}"

    def __new__(cls, name: str) -> Self:
        """Find the program."""
        found = super().__new__(cls, _function(name))
        found.name = name
        return found

    def __reduce__(self) -> Any:
        return Named, (self.name,)


def _function(name: str) -> Any:
    """Return the function that "module:function" names."""
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise ValueError(f"a program is named as module:function, not {name!r}")
    # As `python -m` does, and so do the processes of --jobs: what is here can be imported.
    here = os.getcwd()  # noqa: PTH109  # sys.path holds strings
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = functools.reduce(getattr, function.split("."), importlib.import_module(module))
    except ModuleNotFoundError as exc:
        raise LookupError(f"there is no module {exc.name!r} to be imported from here") from exc
    except AttributeError as exc:
        raise LookupError(f"module {module!r} has no {function!r}") from exc
    if not callable(found):
        raise TypeError(f"{name} is no function")
    return getattr(found, "__wrapped__", found)  # of an explored test, what it explores


def _tell(exploration: Exploration) -> int:
    failure = exploration.failure
    if failure is not None:
        traceback.print_exception(failure.exception)
    print(exploration)  # noqa: T201  # as above
    return 0 if failure is None else 1


def _version() -> str:
    try:
        return version("virtualloop")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    # What other processes are sent they find by name, but not in a __main__, which is theirs.
    Named.__module__ = "virtualloop.__main__"
    sys.modules[Named.__module__] = sys.modules["__main__"]
    sys.exit(main())
