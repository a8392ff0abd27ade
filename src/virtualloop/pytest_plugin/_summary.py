"""The section of pytest's summary: how much was explored, and what fails on a ladder of loops.

Owns its lines, and by which names the report on a test carries what they are made of. So it is the same over xdist,
where the tests run in other processes; what a worker has reported before it crashed is in there.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from virtualloop._words import counted

__all__ = ["REMARK", "carry_news", "is_replayed", "write_summary"]

#: What explorations came to, what is to be said of one, what ladders have shown, and what used up its patience.
COUNTS, REMARK, LADDER = "virtualloop: counts", "virtualloop: remark", "virtualloop: ladder"
PATIENCE = "virtualloop: patience"
#: What is counted where a run was replayed.
REPLAYS = ("replays that pass", "replays that fail")

#: So many lines are said of what a suite has to be told.
MOST_REMARKS = 10


def carry_news(report: Any) -> None:
    """Have a report carry what is known since the last one; of ladders, where it is for another process to tell."""
    ledger, ladder = _used("_exploration.ledger"), _used("_exploration.ladder")
    patience = _used("_world.patience")
    if patience is not None and (used_up := patience.take_used_up()):
        report.user_properties.append((PATIENCE, used_up))
    if ledger is not None and (counts := ledger.ledger.news()):
        report.user_properties.append((COUNTS, counts))
    if ladder is not None and "PYTEST_XDIST_WORKER" in os.environ and (results := ladder.handed_over()):
        report.user_properties.append((LADDER, results))


def is_replayed(reports: Iterable[Any]) -> bool:
    """Return whether a test has made the run that a token holds."""
    return any(
        name == COUNTS and not value.keys().isdisjoint(REPLAYS)
        for report in reports
        for name, value in report.user_properties
    )


def write_summary(terminalreporter: Any, reports: Iterable[Any], *, crashes: int, not_made: bool = False) -> None:
    """Write the section, if there is anything to tell.

    `crashes` is how many workers of xdist were lost; `not_made`, whether a run was asked for that no test has made.
    """
    counts: Counter[str] = Counter()
    remarks: dict[str, list[str]] = {}
    used_up: list[tuple[str, float]] = []
    for report in reports:
        for name, value in report.user_properties:
            if name == COUNTS:
                counts.update(value)
            elif name == REMARK and report.when == "call":  # the report on its tear-down has them as well
                remarks.setdefault(value[1], []).append(value[0])
            elif name == PATIENCE:
                used_up += value
            elif name == LADDER:
                from virtualloop._exploration.ladder import take_over  # noqa: PLC0415  # where a worker has used one

                take_over(value)
    ladder = _used("_exploration.ladder")
    lines = [*_explored(counts), *_remarks(remarks), *([] if ladder is None else ladder.flake_report())]
    lines += _waits_in_vain(used_up)
    if not lines and not not_made:
        return
    if crashes:
        lines.append(
            f"{counted(crashes, 'worker')} of xdist crashed: what is told here is without the test that "
            f"{'it was' if crashes == 1 else 'each was'} running"
        )
    terminalreporter.section("virtualloop")
    for line in lines:
        terminalreporter.line(line.removeprefix("virtualloop: "))
    if not_made:
        terminalreporter.line(
            "no test has made the run in VIRTUALLOOP_REPLAY: it holds no token, or one of a test that is not among "
            "these, or has another name or arguments by now. Run the line that the failure gave.",
            red=True,
        )


def _used(module: str) -> Any:
    """Return a module of the package; None where nobody has used it."""
    return sys.modules.get(f"virtualloop.{module}")


def _explored(counts: Counter[str]) -> list[str]:
    if not counts:
        return []
    from virtualloop._exploration.ledger import in_lines, ledger  # noqa: PLC0415  # as above

    ledger.is_shown = True
    return in_lines(counts)


def _remarks(remarks: dict[str, list[str]]) -> Iterator[str]:
    for remark, tests in [*remarks.items()][:MOST_REMARKS]:
        yield f"{remark}: {tests[0] if len(tests) == 1 else f'{len(tests)} tests'}"
    if len(remarks) > MOST_REMARKS:
        yield f"and {len(remarks) - MOST_REMARKS} more remarks of this kind"


def _waits_in_vain(used_up: list[tuple[str, float]]) -> Iterator[str]:
    if used_up:
        seconds = sum(waited for _, waited in used_up)
        threads = list(dict.fromkeys(thread for thread, _ in used_up))
        more = f" and {len(threads) - 1} more" if len(threads) > 1 else ""
        yield f"the clock waited {seconds:.1f} real seconds in vain, for {threads[0]}{more}"
