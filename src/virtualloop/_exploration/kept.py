"""Runs that failed are kept: in a folder, one plain text file for each test, which the next run of that test reads.

Owns the folder, the form of its files and when a line is dropped. Knows nothing of how a run is made again.

A file has a line for each failure, so that two people's files merge as text does. It is small enough for a repository,
and fit to be an artefact of a CI job: put into its place, it makes the next local run begin with what failed there.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from virtualloop._exploration.identity import Identity
from virtualloop.schedules import _token

__all__ = ["VARIABLE", "KeptRun", "KeptRuns"]

#: Where failures are kept; empty: nowhere.
VARIABLE = "VIRTUALLOOP_KEEP"
FOLDER = ".virtualloop"
#: How often a run passes, on the Python version that it failed on, before it is dropped: what passes that often is
#: fixed, and until then a fix that is taken back is noticed at once.
PASSES = 10
#: Lines in a file: more different failures of one test than anyone looks at.
MAX_RUNS = 20
#: Characters of a test's name in the name of its file: systems take 255 bytes for all of it.
MAX_NAME = 120
MAX_EXCEPTION = 120

_now = datetime.now


class KeptRun(NamedTuple):
    """A run that failed: a line of a file."""

    token: str
    level: str
    python: str
    date: str
    #: How often it has passed since.
    passed: int
    exception: str

    def line(self) -> str:
        """Return it as it stands in the file."""
        return f"{self.token} {self.level} {self.python} {self.date} passed={self.passed} {self.exception}".rstrip()


_LINE = re.compile(r"(v\d\.\S+) (\w+) (\d+\.\d+) (\d{4}-\d\d-\d\d) passed=(\d+) ?(.*)")


class KeptRuns:
    """The kept runs of one test."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._test = f"{identity.program}({identity.arguments})"

    @property
    def path(self) -> Path | None:
        """The file, whether it is there or not; None where nothing is kept."""
        place = os.environ.get(VARIABLE)
        if place == "":
            return None
        root = _root(self._identity.file)
        folder = root / FOLDER if place is None else Path(place)
        file = Path(self._identity.file)
        module = ".".join(file.relative_to(root).with_suffix("").parts) if file.is_relative_to(root) else file.stem
        name = re.sub(r"[^\w.=-]+", "-", f"{module}.{self._identity.name}-{self._identity.arguments}")
        digest = zlib.crc32(f"{module}:{self._test}".encode())
        return folder / f"{name[:MAX_NAME].strip('-')}-{digest:08x}.txt"

    def read(self) -> list[KeptRun]:
        """Return the runs, the last that failed first; what is no line of this form is left alone."""
        path = self.path
        return [] if path is None else _read(path)

    def add(self, token: str, level: str, exception: str, *, instead_of: str | None = None) -> str | None:
        """Keep a run; return why that was not possible, or None."""
        first = " ".join(exception.partition("\n")[0].split())[:MAX_EXCEPTION]
        new = KeptRun(token, level, _token.python_version(), _now(UTC).strftime("%Y-%m-%d"), 0, first)

        def change(runs: list[KeptRun]) -> list[KeptRun]:
            return [new, *(run for run in runs if run.token not in (token, instead_of))][:MAX_RUNS]

        return self._change(change)

    def have_passed(self, tokens: Collection[str]) -> None:
        """Take note that these have passed; drop those that have done so often enough. Not where CI is set."""
        if os.environ.get("CI"):
            return
        version = _token.python_version()

        def change(runs: list[KeptRun]) -> list[KeptRun]:
            counted = [
                run._replace(passed=run.passed + 1) if run.token in tokens and run.python == version else run
                for run in runs
            ]
            return [run for run in counted if run.passed < PASSES]

        self._change(change)

    def _change(self, change: Callable[[list[KeptRun]], list[KeptRun]]) -> str | None:
        path = self.path
        if path is None:
            return None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path.parent):
                before = _read(path)
                after = change(before)
                if not after:
                    path.unlink(missing_ok=True)
                elif after != before:
                    header = f"# Runs of {self._test} that failed; the next run of it makes them first.\n"
                    # Another process reads the one file or the other, never half of one.
                    part = path.with_suffix(f".{os.getpid()}")
                    part.write_text(header + "".join(f"{run.line()}\n" for run in after), encoding="utf-8")
                    part.replace(path)
        except OSError as exc:
            return f"this run was not kept: {exc}"
        return None


def _read(path: Path) -> list[KeptRun]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found: dict[str, KeptRun] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is not None:
            token, level, python, date, passed, exception = match.groups()
            found.setdefault(token, KeptRun(token, level, python, date, int(passed), exception))
    return list(found.values())


def _root(file: str) -> Path:
    """Return where the folder lies: at pytest's rootdir, which the running test's name is relative to, else here."""
    node = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]
    path = Path(file)
    if node and path.as_posix().endswith(f"/{node}"):
        return Path(path.as_posix().removesuffix(f"/{node}") or "/")
    return Path.cwd()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from changing this folder, where the system has locks for that."""
    try:
        import fcntl  # noqa: PLC0415  # not on every system
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
