"""What is said to whoever asks explore() or explored() for what they do not do.

Owns the words: what is wrong, where, and what to write instead. Knows nothing of runs.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

__all__ = ["NO_EXECUTOR", "defined_at", "loop_is_running", "no_async_function", "no_executor"]

#: Why explored() does not take one: the executor's processes would find the test in the place of its function.
NO_EXECUTOR = (
    "explored() takes no executor=, because other processes cannot find the function that a test was made of: give "
    'explore(main, executor=...) a function at the top level of a module, or set VIRTUALLOOP="jobs=2"'
)


def defined_at(function: Any) -> str:
    """Return where a function or a class is defined, as " (file:line)"; nothing where that is not known."""
    code = getattr(function, "__code__", None)
    if code is not None:
        return f" ({Path(code.co_filename).name}:{code.co_firstlineno})"
    try:
        return f" ({Path(inspect.getfile(function)).name}:{inspect.getsourcelines(function)[1]})"
    except (TypeError, OSError):
        return ""


def no_async_function(thing: Any) -> str:
    """Return what to say of something that explored() is put on, and that is no async function."""
    if not callable(thing):
        return (
            f"explored() takes keywords, and was given {thing!r}: write @explored(runs={thing!r}), or @explored alone"
        )
    name = getattr(thing, "__qualname__", repr(thing))
    if isinstance(thing, type):
        return (
            f"explored() is for async functions, and {name}{defined_at(thing)} is a class: put it on each async test, "
            "or have the class marked by @pytest.mark.explored"
        )
    inner = getattr(getattr(thing, "hypothesis", None), "inner_test", None)
    if inner is not None:
        return (
            f"explored() stands above given(), which makes {inner.__qualname__}(){defined_at(inner)} a plain function: "
            "put @explored below @given, next to the function"
        )
    if inspect.isasyncgenfunction(thing):
        return f"explored() is for async functions, and {name}(){defined_at(thing)} yields: a test returns"
    return (
        f"explored() is for async functions, and {name}(){defined_at(thing)} is none: write async def, or explore what "
        "it runs by virtualloop.explore(main)"
    )


def no_executor(thing: Any) -> str:
    """Return what to say of something that was given as an executor."""
    number = thing if isinstance(thing, int) and not isinstance(thing, bool) and thing > 0 else 2
    return (
        f"executor must be a concurrent.futures.Executor, not {thing!r}: write "
        f"with ProcessPoolExecutor({number}) as executor: explore(main, executor=executor)"
    )


def loop_is_running(call: str, arguments: str) -> str:
    """Return what to say where a loop runs already."""
    return (
        f"{call}() runs whole programs on loops of their own, and in this thread a loop is running: in a notebook or a "
        f"coroutine, await asyncio.to_thread({arguments}); elsewhere, call it from a plain function"
    )
