"""Runs that are made in a process of their own, because one of their kind has killed its process.

Owns how such a run is found and named: what it was asked is written down as it is asked.
"""

from __future__ import annotations

import concurrent.futures
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from virtualloop._errors import VirtualLoopError
from virtualloop._exploration.control import controlled
from virtualloop._exploration.failure import Failure, token_of
from virtualloop._exploration.outcome import Outcome
from virtualloop._exploration.program import Program
from virtualloop._exploration.search import Plan
from virtualloop._exploration.story import in_lines
from virtualloop.schedules._choice import Choice, Schedule

__all__ = ["DIED", "death", "isolated"]

#: What all runs have in common that kill their process.
DIED = ("the process died",)


def isolated(program: Program, plans: Sequence[Plan]) -> Iterator[Outcome]:
    """Make these runs one after the other, each in a process that may die."""
    executor: concurrent.futures.ProcessPoolExecutor | None = None
    with tempfile.TemporaryDirectory(prefix="virtualloop-") as folder:
        path = Path(folder) / "choices"
        try:
            for plan in plans:
                path.unlink(missing_ok=True)
                executor = executor or concurrent.futures.ProcessPoolExecutor(1)
                try:
                    outcome = executor.submit(_make, program, plan, path).result()
                except concurrent.futures.BrokenExecutor:
                    executor.shutdown(wait=False)
                    executor = None
                    outcome = _died(plan, path)
                yield outcome
        finally:
            if executor is not None:
                executor.shutdown()


def death(program: Program, outcome: Outcome, seed: int, number: int) -> Failure:
    """Return the failure of a run that has killed its process: it is not made again here."""
    token = token_of(program, outcome)
    head = (
        f"virtualloop: run {number} has killed the process that made it (order {outcome.level!r}): look for "
        "os._exit(), a fatal signal, or an extension that crashes."
    )
    replay = f"Replay it, in a process that may die: explore(main, replay={token!r})"
    report = "\n".join([*in_lines(head), replay])
    return Failure(VirtualLoopError(report), seed, outcome.level, token, report)


def _make(program: Program, plan: Plan, path: Path) -> Outcome:
    with controlled(patched=program.is_patched), path.open("wb", buffering=0) as file:
        return program.of(plan).run(Written(plan.make(), file.fileno()), plan.order).portable()


def _died(plan: Plan, path: Path) -> Outcome:
    lines = path.read_text().splitlines() if path.exists() else []
    choices = [Choice(int(answer), int(n), kind) for answer, n, kind in (line.split(" ") for line in lines)]
    kinds = {choice.kind for choice in choices if choice.answer}
    return Outcome(plan.order, failed="its process died", signature=DIED, choices=choices, kinds=kinds)


class Written:
    """A schedule whose answers are in a file before they are given."""

    def __init__(self, schedule: Schedule, descriptor: int) -> None:
        self.keeps_task_order: bool = getattr(schedule, "keeps_task_order", False)
        self._schedule = schedule
        self._descriptor = descriptor

    def choose(self, n: int, kind: str) -> int:
        """Ask the other schedule, and write its answer down."""
        answer = self._schedule.choose(n, kind)
        os.write(self._descriptor, f"{answer} {n} {kind}\n".encode())
        return answer
