"""One operation of one client: what was asked, what was answered, and when each happened.

Owns that record and what stands for an answer that nobody knows. Knows nothing of models and orders.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Hashable
from typing import Any, ClassVar, NamedTuple, NoReturn, Self

__all__ = ["UNKNOWN", "Call", "Model", "Place", "short"]

#: What a correct object does, as one function of (state, op, args, result): the state after the operation, or None
#: where that result is not possible in that state.
Model = Callable[[Any, str, tuple[Any, ...], Any], Any]

#: Values are cut to this many characters: a timeline holds a dozen operations side by side.
MAX_VALUE = 24


class Unknown:
    """The result of an operation that never returned: it equals whatever a model compares it with."""

    def __eq__(self, other: object) -> bool:
        return True

    # What equals everything has no hash. That a model looks for it in a set is better an error than a wrong verdict.
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "the result of an operation that never returned is not known: a model compares it by ==, or asks "
            "`result is histories.UNKNOWN`"
        )

    def __repr__(self) -> str:
        return "UNKNOWN"


#: The result of an operation that raised or never returned. It equals everything, has no truth value and no hash.
UNKNOWN = Unknown()


class Place(NamedTuple):
    """The line of the reader's code that made a call."""

    file: str
    line: int


class Call:
    """An operation of a client, made by `History.call`.

    `client`, `op` and `args` are what was asked. `result` is what was answered, to be set within the block. A model
    sees UNKNOWN in its place where the operation raised or has not returned.
    """

    __slots__ = ("_now", "args", "began", "client", "ended", "op", "place", "result", "times")

    def __init__(
        self, client: Hashable, op: str, args: tuple[Any, ...], now: Callable[[], Moment], place: Place
    ) -> None:
        self.client: Hashable = client
        self.op: str = op
        self.args: tuple[Any, ...] = args
        self.result: Any = None
        self.place: Place = place
        self._now = now
        #: Where the operation began and ended in the order of all that was recorded; None for one that is open, and
        #: for the beginning of one that was discarded.
        self.began: int | None
        self.ended: int | None = None
        self.began, time = now()
        #: The loop's time at the same two points; None where no loop ran.
        self.times: tuple[float | None, float | None] = (time, None)

    def finish(self, result: object = None) -> None:
        """Say that the operation has returned, and what. Raises RuntimeError if it had before, or was discarded."""
        if self.began is None or self.ended is not None:
            raise RuntimeError(f"{self.text()} of client {self.client!r} is over already")
        self.result = result
        self.ended, time = self._now()
        self.times = (self.times[0], time)

    def discard(self) -> None:
        """Take the operation out of the history: it is certain that it had no effect, and its answer says nothing."""
        self.began = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, traceback: object) -> None:
        # What raised may have had its effect, have it later, or never have it. That is what open means.
        if kind is None and self.began is not None and self.ended is None:
            self.finish(self.result)

    def text(self, *, with_none: bool = False) -> str:
        """Return the operation as it would be written in Python, with its result where that is known."""
        asked = f"{self.op}({', '.join(map(short, self.args))})"
        answered = self.ended is not None and (with_none or self.result is not None)
        return f"{asked} -> {short(self.result)}" if answered else asked

    def __repr__(self) -> str:
        state = " (open)" if self.ended is None else ""
        return f"<Call of {self.client!r}: {self.text()}{state}>"


#: A place in the order of all that was recorded, and the time that it happened at.
Moment = tuple[int, float | None]

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = MAX_VALUE


def short(value: object) -> str:
    """Return a value as its repr, cut where it is long."""
    return _brief.repr(value)
