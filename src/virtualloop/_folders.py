"""Whose code a file is, by the folder that it lies in.

Owns the names of these folders, as the files of code objects begin: this package, asyncio, the standard library.
"""

from __future__ import annotations

import os
import threading

__all__ = ["ASYNCIO", "LIBRARY", "PACKAGE", "names_in", "status_of"]

#: `os.listdir` and `os.stat`, kept from before anyone forbids them while a loop runs (blockbuster does).
names_in, status_of = os.listdir, os.stat


def _folder_of(file: str) -> str:
    return os.path.dirname(os.path.abspath(file)) + os.sep  # noqa: PTH100, PTH120  # pathlib takes longer to import than all of ours


PACKAGE = _folder_of(__file__)
#: Of a module that is not frozen into the interpreter, whose file would be another name for the same.
LIBRARY = _folder_of(threading.__file__)
ASYNCIO = os.path.join(LIBRARY, "asyncio", "")  # noqa: PTH118  # as above
