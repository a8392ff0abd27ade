"""Where the runs of a round are made: here, one after the other, or by an executor.

Owns the executor's part in an exploration; knows nothing of which runs are made, and why.
"""

from __future__ import annotations

import concurrent.futures
import pickle
import re
from collections.abc import Generator, Sequence
from typing import NamedTuple

from virtualloop._exploration.control import controlled
from virtualloop._exploration.isolated import isolated
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.program import Program
from virtualloop._exploration.search import Plan

__all__ = ["outcomes"]

#: Plans that are sent to an executor at a time: few enough to be shared out, enough to be worth the way.
SENT = 8

_CANNOT_BE_SENT = (pickle.PicklingError, TypeError, AttributeError)


def outcomes(
    program: Program, plans: Sequence[Plan], executor: concurrent.futures.Executor | None, *, goes_on: bool = False
) -> Generator[Outcome, None, None]:
    """Make the runs of a round; give what they came to in the order of the plans, up to one that fails or `goes_on`.

    A run that kills the process that makes it is found among the others, and these are made all the same.
    """
    if executor is None or len(plans) == 1:
        yield from (program.of(plan).make(plan) for plan in plans)
        return
    sent: list[concurrent.futures.Future[list[Outcome]]] = []
    given = 0
    parcel = _parcel(program, executor)
    try:
        try:
            sent += [executor.submit(_make, parcel, plans[i : i + SENT], goes_on) for i in range(0, len(plans), SENT)]
        except concurrent.futures.BrokenExecutor:
            yield from isolated(program, plans)
            return
        for future in sent:
            try:
                made = future.result()
            except concurrent.futures.BrokenExecutor:
                yield from isolated(program, plans[given:])
                return
            except Exception as exc:
                if isinstance(exc, _CANNOT_BE_SENT) and re.search("pickl|local object", str(exc)):
                    raise TypeError(
                        f"the executor cannot send {program.main!r} to another process ({exc}): define main, and "
                        "what cancel= is given, at the top level of a module; functools.partial gives them arguments"
                    ) from exc
                raise
            for outcome in made:
                given += 1
                yield outcome
    finally:
        for future in sent:
            future.cancel()


class Parcel(NamedTuple):
    """A program as it is sent: opened where its runs are made, so that what goes wrong there can be told."""

    packed: bytes

    def open(self) -> Program:
        """Return the program. Raises ImportError where that is not there."""
        try:
            program: Program = pickle.loads(self.packed)  # noqa: S301  # it is ours
        except (ImportError, AttributeError) as exc:
            raise ImportError(
                f"the executor's processes do not have the program: {exc}. Send them its source, as Dask's "
                "Client.upload_file() does, or install it there"
            ) from None
        return program


def _parcel(program: Program, executor: concurrent.futures.Executor) -> Program | Parcel:
    """Return what to send; the program itself where the executor has ways of its own, or nothing is sent."""
    if isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        return program
    try:
        packed = pickle.dumps(program)
    except _CANNOT_BE_SENT:
        return program
    # What stands in the script itself has another name in each kind of process.
    return program if b"__main__" in packed else Parcel(packed)


def _make(parcel: Program | Parcel, plans: Sequence[Plan], goes_on: bool) -> list[Outcome]:  # it is sent
    """Make some runs in another process; stop at the first that fails, unless it goes on."""
    program = parcel.open() if isinstance(parcel, Parcel) else parcel
    made: list[Outcome] = []
    with controlled(patched=program.is_patched):
        for plan in plans:
            made.append(program.of(plan).make(plan).portable())
            if made[-1].failed is not None and plan.late is None and not goes_on:
                break
    return made
