"""What a loop without an operating system does not have, and what to do instead.

Owns the refusals: every method of asyncio's loop that would reach the outside world, none of which is ever silently
skipped or let through to it.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from virtualloop._errors import UnsupportedError

__all__ = ["Outside", "refuse_descriptor"]

_DESCRIPTORS = (
    "a file descriptor becomes ready in real time, outside the loop's clock",
    "move the blocking call into asyncio.to_thread(), for which the clock stands still, or run this test on "
    "asyncio's own loop",
)
_PROCESSES = (
    "another process runs in real time, outside the loop's clock",
    "call subprocess.run() in asyncio.to_thread(), for which the clock stands still, or fake the process",
)


def _refuse(method: str, reason: tuple[str, str]) -> NoReturn:
    why, instead = reason
    raise UnsupportedError(f"VirtualLoop.{method}() is not supported: {why}. Instead, {instead}.")


def refuse_descriptor(method: str) -> NoReturn:
    """Refuse a method for a file descriptor that is no socket of this loop's network."""
    _refuse(f"{method}", _DESCRIPTORS)


class Outside(asyncio.AbstractEventLoop):
    """Every method that needs the operating system, refused."""

    # Any: the refusal is the same whatever the arguments, and asyncio's signatures differ between Python versions.

    async def connect_read_pipe(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("connect_read_pipe", _DESCRIPTORS)

    async def connect_write_pipe(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("connect_write_pipe", _DESCRIPTORS)

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("subprocess_shell", _PROCESSES)

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("subprocess_exec", _PROCESSES)
