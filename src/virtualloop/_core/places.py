"""Whose code is whose, and at which line of the reader's something stands: what a record says of a place.

Owns what each code object counts as, and the ways down a chain of awaits, up a stack and along a traceback to the
innermost frame of the reader's. Knows no tasks and no steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType, TracebackType
from typing import Any

from virtualloop._core.coroutines import WRAPPERS, awaited_by, first_handler, wrapped

__all__ = ["Places"]

# How a code object counts in a chain of awaits: the reader's own; that of a library, public or not, which may come back
# to the reader's own; an operation that a reader knows by name, below which there is nothing of the reader's; one that
# awaits what it is given; and what has no name that a reader knows.
_OWN, _LIBRARY, _LIBRARY_INNER, _OPERATION, _PASSES_ON, _INNER = range(6)
#: Operations of asyncio that await a coroutine they are given, without making a task of it.
PASSING_ON = frozenset({"staggered_race", "wait_for"})


class Places:
    """What is known of the code that a run has come through.

    `is_machinery` and `library_of` say the same of all code in one file. Frames of `bottoms` are what a step begins
    with: below them there is whoever runs the loop.
    """

    def __init__(
        self,
        is_machinery: Callable[[CodeType], bool],
        library_of: Callable[[CodeType], str | None],
        bottoms: Sequence[CodeType],
    ) -> None:
        self._is_machinery = is_machinery
        self._library_of = library_of
        self._bottoms = bottoms
        self._files_of_bottoms = {code.co_filename for code in bottoms}
        # What each code object counts as, by id, and what keeps those ids theirs.
        self._counts_as: dict[int, int] = {}
        self._codes: list[CodeType] = []
        #: Of the reader's own code that handles exceptions, by id, where that begins.
        self.handlers: dict[int, int] = {}
        #: Of all that is the reader's own, the same; where it handles none, as if that began behind it.
        self.own: dict[int, int] = {}
        #: Operations, by id.
        self.operations: set[int] = set()
        #: Files of which all code is machinery and no bottom, and those of which none is, as far as anybody has looked:
        #: names of files have hashes that are known, where a code object has to be asked by its id.
        self.skipped: set[str] = set()
        self.told: set[str] = set()

    def line_above(self, frame: FrameType | None) -> tuple[CodeType | None, int]:
        """Return the innermost line of the reader's that is being run in this step: code and offset.

        `frame` is the first that is looked at; to look at those above it would make objects of them.
        """
        skipped, told = self.skipped, self.told
        while frame is not None:
            code = frame.f_code
            file = code.co_filename
            if file not in skipped:
                if file in told:
                    return code, frame.f_lasti
                if code in self._bottoms:
                    return None, 0
                if not self._is_machinery(code):
                    told.add(file)
                    return code, frame.f_lasti
                if file not in self._files_of_bottoms:
                    skipped.add(file)
            frame = frame.f_back
        return None, 0

    def raised_at(self, traceback: TracebackType | None) -> tuple[CodeType | None, int]:
        """Return the innermost of the reader's frames in a traceback; where there is none, of a library's."""
        code, offset, is_own = None, 0, False
        while traceback is not None:
            its = traceback.tb_frame.f_code
            if not self._is_machinery(its) and ((own := self._library_of(its) is None) or not is_own):
                code, offset, is_own = its, traceback.tb_lasti, own
            traceback = traceback.tb_next
        return code, offset

    def rest_of(self, own: Any) -> tuple[Any, CodeType | None, list[Any] | None]:
        """Return where the coroutine of a task has come to rest.

        That is down the chain of awaits to the innermost of the reader's own, and the first operation below it that has
        a name, or None. And which of them, on the way, have code that handles exceptions; None for none of them.
        """
        code: Any
        awaits: Any = None
        counts_as, handlers = self._counts_as, self.handlers
        # For a coroutine, what awaited_by() and its like do is put in line.
        if type(own) is CoroutineType:
            code = own.cr_code
            inner = own.cr_await
        else:
            code = getattr(own, "cr_code", None) or getattr(own, "gi_code", None)
            inner = awaited_by(own)
        # A library's frames are told of only where none of the reader's is around them.
        count = counts_as.get(id(code))
        is_inside = code is not None and (self.count(code) if count is None else count) == _OWN
        handling = [own] if handlers and id(code) in handlers else None
        while inner is not None:
            kind = type(inner)
            if kind is CoroutineType:
                code = inner.cr_code
                below = inner.cr_await
            elif kind is GeneratorType:
                code = inner.gi_code
                below = inner.gi_yieldfrom
            elif kind is AsyncGeneratorType:
                code = inner.ag_code
                below = inner.ag_await
            elif kind.__name__ in WRAPPERS:
                inner = wrapped(inner)
                continue
            else:
                break
            count = counts_as.get(id(code))
            if count is None:
                count = self.count(code)
            if count == _OPERATION:
                if awaits is None:
                    awaits = code
                break
            if count == _OWN or (count <= _LIBRARY_INNER and not is_inside):
                own = inner
                awaits = None
                is_inside = count == _OWN
                if handlers and id(code) in handlers:
                    handling = [*(handling or ()), inner]
            elif (count in (_LIBRARY, _PASSES_ON)) and awaits is None:
                awaits = code
            inner = below
        return own, awaits, handling

    def count(self, code: CodeType) -> int:
        """Return what a code object counts as, seen for the first time."""
        self._codes.append(code)
        is_private = any(part.startswith("_") and not part.startswith("__") for part in code.co_qualname.split("."))
        if not self._is_machinery(code):
            is_own = self._library_of(code) is None
            count = _OWN if is_own else _LIBRARY_INNER if is_private else _LIBRARY
        elif is_private:
            count = _INNER
        else:
            count = _PASSES_ON if code.co_name in PASSING_ON else _OPERATION
        if count == _OPERATION:
            self.operations.add(id(code))
        elif count == _OWN:
            if (begins := first_handler(code)) is not None:
                self.handlers[id(code)] = begins
            self.own[id(code)] = sys.maxsize if begins is None else begins
        self._counts_as[id(code)] = count
        return count
