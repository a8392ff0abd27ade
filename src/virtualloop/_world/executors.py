"""Which executors run what they are given in threads of this interpreter.

Owns that question: only what such a one is given can be wrapped, so that it is known who runs it.
"""

from __future__ import annotations

import concurrent.futures
import sys

__all__ = ["runs_here"]

#: Where the executor is whose jobs go to other interpreters, since Python 3.14. It takes long to load.
_INTERPRETERS = "concurrent.futures.interpreter"


def runs_here(executor: object) -> bool:
    """Return whether an executor is one of threads, and they run what it is given as it is."""
    if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        return False
    interpreters = sys.modules.get(_INTERPRETERS)
    return interpreters is None or not isinstance(executor, interpreters.InterpreterPoolExecutor)
