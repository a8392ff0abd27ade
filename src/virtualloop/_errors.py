"""The exception tree.

Owns the types only. What a message says is put together where the facts are, as in the reports for blocked and spinning
tasks.
"""

from __future__ import annotations

__all__ = [
    "DeadlockError",
    "LivelockError",
    "PropertyError",
    "ReplayError",
    "UnsupportedError",
    "VirtualLoopError",
]


class VirtualLoopError(RuntimeError):
    """Base of every error that virtualloop itself raises about a run.

    A strict loop raises it as such when it is closed and something was left open; the message says what, and where.
    """

    __module__ = "virtualloop"


class DeadlockError(VirtualLoopError):
    """The program under test waits for something that can no longer happen.

    Nothing is ready, no timer is pending, and whatever thread or signal might have sent something was given its time.
    The message lists every blocked task: its name, what it awaits, who holds that, and the line of your code that
    awaits it. Tasks that wait for each other come first.
    """

    __module__ = "virtualloop"


class LivelockError(VirtualLoopError):
    """The program under test keeps the loop busy forever without time passing.

    The message names the callbacks and tasks that spin, with the lines they spin at and those that queue them.
    """

    __module__ = "virtualloop"


class PropertyError(VirtualLoopError, AssertionError):
    """The program under test has broken what `always` says of it.

    The message names the task whose step did it, the line where that task stands, and the line that says what always
    holds. It is an AssertionError, as a failed assert in a test is.
    """

    __module__ = "virtualloop.properties"


class UnsupportedError(VirtualLoopError, NotImplementedError):
    """The program asked for something that a loop without an operating system does not have.

    The message names the method, says why, and what to do instead.
    """

    __module__ = "virtualloop"


class ReplayError(VirtualLoopError, ValueError):
    """A recorded schedule does not fit the run: the program, or its Python, is not the one that was recorded.

    Or it is none: a token that is cut off, mistyped or of another version. The message says where they part.
    """

    __module__ = "virtualloop.schedules"
