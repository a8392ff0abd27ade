"""The exception tree.

Owns the types only. What a message says is put together where the facts are: `_report` for blocked and spinning
tasks, `_unsupported` for methods that would reach the outside world.
"""

from __future__ import annotations

__all__ = ["DeadlockError", "LivelockError", "UnsupportedError", "VirtualLoopError"]


class VirtualLoopError(RuntimeError):
    """Base of every error that virtualloop itself raises about a run.

    A strict loop raises it as such when it is closed and something was left open; the message says what, and where.
    """


class DeadlockError(VirtualLoopError):
    """The program under test waits for something that can no longer happen.

    Nothing is ready, no timer is pending, and whatever thread or signal might have sent something was given its time.
    The message lists every blocked task: its name, what it awaits, who holds that, and the line of your code that
    awaits it. Tasks that wait for each other come first.
    """


class LivelockError(VirtualLoopError):
    """The program under test keeps the loop busy for ever without time passing.

    The message names the callbacks and tasks that spin, with the lines they spin at and those that queue them.
    """


class UnsupportedError(VirtualLoopError, NotImplementedError):
    """The program asked for something that a loop without an operating system does not have.

    The message names the method, says why, and what to do instead.
    """
