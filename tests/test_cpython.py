"""Where the package does not run, one line says so, and nothing else is imported."""

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import virtualloop._cpython

SOURCE = Path(virtualloop._cpython.__file__).read_text()


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("pypy", (3, 11, 13), "this is PyPy 3.11"),
        ("cpython", (3, 10, 14), "this is CPython 3.10"),
        ("graalpy", (3, 12, 0), "this is graalpy 3.12"),
    ],
)
def test_other_pythons_are_refused(monkeypatch, name, version, told):
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(name=name))
    monkeypatch.setattr(sys, "version_info", version)

    with pytest.raises(ImportError, match=f"^virtualloop needs CPython 3.11 or later.*{told}$"):
        exec(SOURCE, {})  # noqa: S102  # as the import does


def test_it_is_the_first_import_and_older_pythons_can_read_it():
    """The packages's `__init__` as well: it is what they read first."""
    package = Path(virtualloop.__file__).read_text()
    for text in (SOURCE, package):
        ast.parse(text, feature_version=(3, 7))

    first = next(line for line in package.splitlines() if "virtualloop" in line and "import" in line)
    assert "_cpython" in first
