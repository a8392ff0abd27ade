"""Which Pythons the package runs on.

Owns that check, which is made before anything else is imported, and in words that older Pythons can read.
"""

import sys

if sys.implementation.name != "cpython" or sys.version_info < (3, 11):
    _python = "PyPy" if sys.implementation.name == "pypy" else sys.implementation.name.replace("cpython", "CPython")
    _version = ".".join(map(str, sys.version_info[:2]))
    raise ImportError(
        "virtualloop needs CPython 3.11 or later, of which it uses the tasks that are written in C; "
        f"this is {_python} {_version}"
    )
