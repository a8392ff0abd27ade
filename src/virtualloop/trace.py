"""A record of a run, for people to read.

Owns the public class and nothing of the work: `_recorder` keeps the record, `_chronicle` has the words, and each other
form of a trace has a module of its own, which is loaded when it is asked for.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import NamedTuple

from virtualloop._chronicle import Chronicle
from virtualloop._clock import TICKS_PER_SECOND
from virtualloop._frames import is_machinery
from virtualloop._recorder import Recorder

__all__ = ["Deviation", "Trace"]

#: A printed trace shows this many lines of its beginning and as many of its end: a failure is at the end, what led to
#: it begins at the beginning, and a terminal keeps that much.
SHOWN = 100


class Deviation(NamedTuple):
    """A point at which a run left the order that stock asyncio on an idle machine would have kept."""

    #: When, in seconds.
    time: float
    #: What the schedule was asked for: "late", "hold", "task", "user", or a fault of the network such as "loss".
    kind: str
    #: What happened, in words.
    text: str
    #: How many steps were made before.
    step: int


class Trace:
    """A record of one run, made by `VirtualLoop(trace=...)`: print it, or write it as HTML or for Perfetto.

    It holds every step (when, which task, what woke it, what it did, at which lines of your code), every point at which
    the run left stock asyncio's order, and what the test said by `virtualloop.note()`. It keeps nothing of the program
    alive, and takes about 150 bytes a step. It can be read at any time, also while the loop runs. One trace is for one
    loop.

    Example:

        trace = virtualloop.Trace()
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed=7, trace=trace)) as runner:
            runner.run(main())
        print(trace)
    """

    def __init__(self) -> None:
        self._recorder = Recorder(is_machinery)
        self._told: Chronicle | None = None

    def __str__(self) -> str:
        told = self._chronicle()
        lines = told.lines
        if len(lines) <= 2 * SHOWN + 1:
            text = told.formatted(lines)
        else:
            head, tail = lines[:SHOWN], lines[-SHOWN:]
            text = told.formatted(head + tail)
            text.insert(SHOWN, f"  ... {len(lines) - 2 * SHOWN} more lines: Trace.lines() has them all ...")
        return "\n".join([told.heading(), "", *text])

    def __repr__(self) -> str:
        return f"<Trace of {self._chronicle().heading()}>" if self._recorder.title else "<Trace of no loop yet>"

    def lines(self) -> list[str]:
        """Return the whole text, line by line, without its heading."""
        told = self._chronicle()
        return told.formatted(told.lines)

    @property
    def deviations(self) -> list[Deviation]:
        """Where the run left stock asyncio's order, from the first to the last; none at order "fifo"."""
        told = self._chronicle()
        return [
            Deviation(event.tick / TICKS_PER_SECOND, event.kind, told.tell(event), event.step)
            for event in told.events
            if event.deviates
        ]

    def around(self, deviation: Deviation, *, steps: int = 3) -> list[str]:
        """Return the lines of the text around a deviation: those of so many steps before and after it, and its own.

        Raises TypeError or ValueError for a number of steps that is none, and for a deviation of another run.
        """
        if isinstance(steps, bool) or not isinstance(steps, int):
            raise TypeError(f"steps must be an integer, not {steps!r}")
        if steps < 0:
            raise ValueError(f"steps must not be negative, got {steps}")
        told = self._chronicle()
        lines = told.lines
        position = next(
            (
                k
                for k, line in enumerate(lines)
                if line.event and line.step == deviation.step and line.what == deviation.text
            ),
            None,
        )
        if position is None:
            raise ValueError(f"deviation must be one of this trace's, not {deviation!r}")
        first = last = position
        for _ in range(steps):
            first = max(first - 1, 0)
            while first and lines[first].event:
                first -= 1
            last = min(last + 1, len(lines) - 1)
            while last < len(lines) - 1 and lines[last].event:
                last += 1
        if lines[last].event is None:
            # What was said or chosen in the last step stands below it.
            number = lines[last].step
            while last < len(lines) - 1 and lines[last + 1].event and lines[last + 1].step == number:
                last += 1
        return told.formatted(lines[first : last + 1])

    def diff(self, other: Trace) -> str:
        """Return, as text, the first place where this run and another part, with what each did around it.

        Raises TypeError for what is no Trace.
        """
        if not isinstance(other, Trace):
            raise TypeError(f"other must be a Trace, not {other!r}")
        return self._chronicle().part(other._chronicle())

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the run as a timeline to look at in a browser: one file, which needs no other and no network.

        Raises TypeError for what is no path, and what opening the file raises.

        Example:

            trace = virtualloop.Trace()
            with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed=7, trace=trace)) as runner:
                runner.run(main())
            trace.to_html(directory / "run.html")
        """
        _write(path, self._as_html())

    def _as_html(self, *, title: str | None = None) -> str:
        """Return the page, under another title than what the loop was made with if one is given."""
        from virtualloop._timeline import page  # noqa: PLC0415  # loaded when it is asked for

        return page(self._chronicle(), title=title)

    def to_perfetto(self, path: str | PathLike[str]) -> None:
        """Write the run as JSON that https://ui.perfetto.dev and chrome://tracing open.

        Raises TypeError for what is no path, and what opening the file raises.

        Example:

            trace = virtualloop.Trace()
            with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed=7, trace=trace)) as runner:
                runner.run(main())
            trace.to_perfetto(directory / "run.json")
        """
        from virtualloop._perfetto import document  # noqa: PLC0415  # loaded when it is asked for

        _write(path, document(self._chronicle()))

    def _chronicle(self) -> Chronicle:
        recorder = self._recorder
        size = (recorder.title, len(recorder.steps), len(recorder.events), len(recorder.withheld()))
        if self._told is None or self._told.size != size:
            self._told = Chronicle(recorder, is_machinery)
        return self._told


def _write(path: str | PathLike[str], text: str) -> None:
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be a string or a path, not {path!r}")
    Path(path).write_text(text, encoding="utf-8", newline="\n")
