"""A ladder of loops for a suite as it stands: the plain one first, then seeded ones that are later and later.

Owns the rungs, what a test that fails on one is told, and the report at the end: which tests pass on the plain loop and
fail on a rung, least margin first. Knows the test frameworks by what they take, a mapping of names to factories, and by
where they say which test runs: pytest in the environment, unittest in its frames.
"""

from __future__ import annotations

import atexit
import os
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from virtualloop._core.clock import TICKS_PER_SECOND, span_in_ticks
from virtualloop._exploration.run import add_note, is_verdict
from virtualloop._exploration.story import Story, current_test
from virtualloop._loop.virtual import Order, VirtualLoop
from virtualloop._report.text import in_words
from virtualloop._words import counted
from virtualloop.trace import Trace

__all__ = ["Ladder", "Rung", "flake_report", "handed_over", "ladder", "take_over"]

#: What a rung may vary: what stock asyncio cannot do says nothing about how a suite will fare.
RungOrder = Literal["timing", "io"]

#: The rungs of a ladder, from the bottom: what a busy machine, a slow one, and an overloaded one are late by.
RUNGS: tuple[tuple[RungOrder, float], ...] = (
    *(("timing", lateness) for lateness in (0.001, 0.005, 0.02, 0.05)),
    *(("io", lateness) for lateness in (0.001, 0.005, 0.02, 0.05)),
)
#: Seeds for each rung unless told otherwise: enough to meet what goes wrong in every third run.
SEEDS = 3
PLAIN = "plain"
#: A report at the end lists so many tests.
MAX_TESTS = 40


@dataclass(frozen=True)
class Rung:
    """A factory of loops of one kind: call it for a loop."""

    name: str
    order: Order = "fifo"
    lateness: float = 0.0
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> VirtualLoop:
        """Return a new loop, whose runs are told of when they fail."""
        if self.seed is None:
            return LadderLoop(self, None, **self.options)
        return LadderLoop(self, Trace(), seed=self.seed, order=self.order, lateness=self.lateness, **self.options)

    @property
    def margin(self) -> tuple[bool, float]:
        """What makes a rung a low one."""
        return self.order == "io", self.lateness

    def __str__(self) -> str:
        return f"order {self.order!r}, {_milliseconds(self.lateness)} late, seed {self.seed}"


class Ladder(Mapping[str, Rung]):
    """Names of loops and what makes them, from the plain one up; see `ladder`."""

    def __init__(self, rungs: Iterable[Rung]) -> None:
        self._rungs = {rung.name: rung for rung in rungs}

    def __getitem__(self, name: str) -> Rung:
        return self._rungs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rungs)

    def __len__(self) -> int:
        return len(self._rungs)

    @property
    def backends(self) -> list[tuple[str, dict[str, Any]]]:
        """The parameters of anyio's fixture `anyio_backend`, whose `ids` are the ladder itself."""
        return [("asyncio", {"loop_factory": rung}) for rung in self._rungs.values()]

    def __repr__(self) -> str:
        return f"<Ladder {', '.join(self._rungs)}>"


def ladder(
    *,
    seeds: int | Collection[int] = SEEDS,
    rungs: Collection[tuple[RungOrder, float]] = RUNGS,
    **options: Any,
) -> Ladder:
    """Return loops for a suite as it stands, the plain one first: what fails on the others will flake some day.

    It is a mapping of names to factories, as pytest-asyncio takes it; `backends` and the names are what anyio takes.
    The name of a test that fails says it all: `test_refresh[timing-5ms-2]` fails as soon as a machine is 5 ms late, and
    stock asyncio can do that. Its exception says how it came about, and a report at the end of the process lists all
    tests that pass on the plain loop and fail on another, least margin first.

    Arguments:
        seeds: how many seeds for each rung; or which ones.
        rungs: pairs of an order, "timing" or "io", and a lateness in seconds; see `VirtualLoop`. By default 1, 5, 20
            and 50 ms of each.
        options: other keywords of `VirtualLoop`, for every loop.

    Raises TypeError or ValueError that names the argument.

    Example, in a conftest.py:

        LADDER = virtualloop.ladder(seeds=2)

        def pytest_asyncio_loop_factories(config, item):
            return LADDER

        assert list(LADDER)[:3] == ["plain", "timing-1ms-0", "timing-1ms-1"]
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int | Collection):
        raise TypeError(f"seeds must be a number of seeds, or several seeds, not {seeds!r}")
    numbers = range(seeds) if isinstance(seeds, int) else list(seeds)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"seeds must be integers, not {number!r}")
    if not numbers:
        raise ValueError(f"seeds must be at least one, got {seeds!r}")
    made = [Rung(PLAIN, options=options)]
    for order, lateness in rungs:
        if order not in get_args(RungOrder):
            raise ValueError(f"rungs must be of order {' or '.join(get_args(RungOrder))}, not {order!r}")
        span_in_ticks(lateness, argument="lateness")
        made += [
            Rung(f"{order}-{_milliseconds(lateness).replace(' ', '')}-{seed}", order, lateness, seed, options)
            for seed in numbers
        ]
    return Ladder(made)


class LadderLoop(VirtualLoop):
    """A loop of a rung: what is raised out of its runs is told of, and counted."""

    def __init__(self, rung: Rung, trace: Trace | None, **options: Any) -> None:
        super().__init__(trace=trace, **options)
        self._rung = rung
        self._trace = trace
        _results.begin()

    def run_until_complete(self, future: Any) -> Any:
        """Run until the future is done; if it fails, say how that came about in this order."""
        __tracebackhide__ = True  # pytest shows the test's frames, not ours
        try:
            result = super().run_until_complete(future)
        except BaseException as exc:
            if is_verdict(exc):
                self._tell(exc)
            raise
        _results.passes(_running_test(self._rung), self._rung)
        return result

    def _tell(self, exc: BaseException) -> None:
        rung = self._rung
        test = _running_test(rung)
        _results.fails(test, rung)
        if self._trace is None or self._recorder is None:
            return
        self._recorder.has_failed()
        story = RungStory(
            program=test or "main",
            exception=in_words(exc),
            level=rung.order,
            exceeded=(),
            token=rung.name,
            options=None,
            trace=self._trace,
            passing=None,
            likewise="",
            advice="",
            tasks="",
        )
        add_note(exc, story.tell())


class RungStory(Story):
    """The story of a run on a rung, which the test's own name replays."""

    def replay_command(self) -> str:
        """Return the line that runs the test on this rung."""
        if test := current_test():
            return f"{Path(sys.executable or 'python').name} -m pytest {shlex.quote(test)}"
        return f"run {self.program} with loop_factory=ladder[{self.token!r}]"


# People read this name in the repr of the loop.
LadderLoop.__name__ = LadderLoop.__qualname__ = "VirtualLoop"


#: What is sent from one process to another: a test, a rung's name, order, lateness and seed, and whether it has failed.
Sent = tuple[str, str, Order, float, int | None, bool]


class Results:
    """Which test has failed on which rungs, for the whole process."""

    #: Whether somebody has told it already.
    is_told = False

    def __init__(self) -> None:
        self._failed: dict[str, dict[str, tuple[Rung, bool]]] = {}
        self._news: list[tuple[str, Rung, bool]] = []
        self._is_on = False

    def begin(self) -> None:
        """Report at the end of the process."""
        if not self._is_on:
            self._is_on = True
            # The workers of xdist have nobody who reads what they write.
            if "PYTEST_XDIST_WORKER" not in os.environ:
                atexit.register(_print_report)

    def passes(self, test: str, rung: Rung) -> None:
        """Take note that a test has got so far on a rung; one without a name cannot be told from others."""
        if test and rung.name not in self._failed.get(test, ()):
            self._note(test, rung, has_failed=False)

    def fails(self, test: str, rung: Rung) -> None:
        """Take note that a test has failed on a rung."""
        if test:
            self._note(test, rung, has_failed=True)

    def _note(self, test: str, rung: Rung, *, has_failed: bool) -> None:
        self._failed.setdefault(test, {})[rung.name] = rung, has_failed
        self._news.append((test, rung, has_failed))

    def news(self) -> list[Sent]:
        """Return what has become known since this was last asked, as what can be sent."""
        news, self._news = self._news, []
        return [(test, rung.name, rung.order, rung.lateness, rung.seed, failed) for test, rung, failed in news]

    def report(self) -> list[str]:
        """Return the lines of the report; none if there was nothing to compare."""
        compared = {test: runs for test, runs in self._failed.items() if PLAIN in runs and len(runs) > 1}
        if not compared:
            return []
        flaky: list[tuple[tuple[bool, float], str, str]] = []
        for test, runs in compared.items():
            failed = [rung for rung, has_failed in runs.values() if has_failed]
            if failed and not runs[PLAIN][1]:
                lowest = min(failed, key=lambda rung: rung.margin)
                beside = [rung for rung, _ in runs.values() if rung.seed is not None and rung.margin == lowest.margin]
                number = sum(rung.margin == lowest.margin for rung in failed)
                how = (
                    f"{lowest.order}, {_milliseconds(lowest.lateness)} late: {number} of {counted(len(beside), 'seed')}"
                )
                flaky.append((lowest.margin, test, how))
        flaky.sort()
        count = counted(len(compared), "test")
        if not flaky:
            return [f"virtualloop: {count} on a ladder of loops, none fails that passes on the plain one"]
        lines = [
            f"virtualloop: {len(flaky)} of {count} pass on the plain loop and fail on a later one; least margin first:"
        ]
        width = max(len(test) for _, test, _ in flaky[:MAX_TESTS])
        lines += [f"  {test:{width}}  {how}" for _, test, how in flaky[:MAX_TESTS]]
        if len(flaky) > MAX_TESTS:
            lines.append(f"  and {len(flaky) - MAX_TESTS} more")
        return lines


_results = Results()


def flake_report() -> list[str]:
    """Return the lines of the report on all ladders of this process, to be told now; none where none was used."""
    _results.is_told = True
    return _results.report()


def handed_over() -> list[Sent]:
    """Return what the ladders of this process have shown since the last time, for the process that reports."""
    return _results.news()


def take_over(results: Iterable[Sent]) -> None:
    """Report also on what another process has handed over."""
    for test, name, order, lateness, seed, has_failed in results:
        (_results.fails if has_failed else _results.passes)(test, Rung(name, order, lateness, seed))


def _print_report() -> None:
    lines = [] if _results.is_told else flake_report()
    if lines and sys.stderr is not None:
        print(*lines, sep="\n", file=sys.stderr)  # noqa: T201  # pytest is over when the process ends


def _running_test(rung: Rung) -> str:
    """Return the name of the running test, the same on every rung; nothing outside of pytest and unittest."""
    test = current_test() or _unittest_s()
    head, bracket, parameters = test.partition("[")
    if not bracket:
        return test
    others = parameters.removesuffix("]").replace(rung.name, "", 1).replace("--", "-").strip("-")
    return f"{head}[{others}]" if others else head


def _unittest_s() -> str:
    """Return the test that unittest runs in this thread, by its id, or nothing."""
    kind: Any = getattr(sys.modules.get("unittest.case"), "TestCase", ())
    frame = sys._getframe() if kind else None
    while frame is not None:
        case: Any = frame.f_locals.get("self")
        if isinstance(case, kind):
            return str(case.id())
        frame = frame.f_back
    return ""


def _milliseconds(seconds: float) -> str:
    return f"{span_in_ticks(seconds, argument='lateness') * 1000 / TICKS_PER_SECOND:g} ms"
