"""A record of a run, for people to read.

Owns the public class and nothing of the work: the core's recorder keeps the record, `_history` and `_narrator`
say what it means, and each form of a trace has a module of its own, which is loaded when it is asked for.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import NamedTuple

from virtualloop._core.clock import TICKS_PER_SECOND
from virtualloop._core.record import Event
from virtualloop._core.recorder import Recorder
from virtualloop._report.frames import is_machinery, library_of
from virtualloop.trace._history import History
from virtualloop.trace._narrator import Narrator
from virtualloop.trace._table import difference, formatted, rows, width

__all__ = ["Deviation", "Trace", "page_of", "recorder_of", "story_of", "telling_of"]

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
        self._recorder = Recorder(is_machinery, library_of)
        self._narrator: Narrator | None = None

    def __str__(self) -> str:
        narrator = self._narrated()
        found = rows(narrator)
        if len(found) <= 2 * SHOWN + 1:
            text = formatted(found)
        else:
            text = formatted(found[:SHOWN] + found[-SHOWN:])
            text.insert(SHOWN, f"  ... {len(found) - 2 * SHOWN} more lines: Trace.lines() has them all ...")
        return "\n".join([narrator.heading(), "", *text])

    def __repr__(self) -> str:
        return f"<Trace of {self._narrated().heading()}>" if self._recorder.title else "<Trace of no loop yet>"

    def lines(self) -> list[str]:
        """Return the whole text, line by line, without its heading."""
        return formatted(rows(self._narrated()))

    @property
    def deviations(self) -> list[Deviation]:
        """Where the run left stock asyncio's order, from the first to the last; none at order "fifo"."""
        narrator = self._narrated()
        return [self._deviation(event) for event in narrator.history.events if event.deviates]

    def _deviation(self, event: Event) -> Deviation:
        return Deviation(event.tick / TICKS_PER_SECOND, event.kind, self._narrated().tell(event), event.step)

    def around(self, deviation: Deviation, *, steps: int = 3) -> list[str]:
        """Return the lines of the text around a deviation: those of so many steps before and after it, and its own.

        Raises TypeError or ValueError for a number of steps that is none, and for a deviation of another run.
        """
        if isinstance(steps, bool) or not isinstance(steps, int):
            raise TypeError(f"steps must be an integer, not {steps!r}")
        if steps < 0:
            raise ValueError(f"steps must not be negative, got {steps}")
        lines = rows(self._narrated())
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
        return formatted(lines[first : last + 1])

    def diff(self, other: Trace) -> str:
        """Return, as text, the first place where this run and another part, with what each did around it.

        Raises TypeError for what is no Trace.
        """
        if not isinstance(other, Trace):
            raise TypeError(f"other must be a Trace, not {other!r}")
        return difference(self._narrated(), other._narrated())

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the run as a timeline to look at in a browser: one file, which needs no other and no network.

        Raises TypeError for what is no path, and what opening the file raises.

        Example:

            trace = virtualloop.Trace()
            with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed=7, trace=trace)) as runner:
                runner.run(main())
            trace.to_html(directory / "run.html")
        """
        _write(path, page_of(self))

    def to_perfetto(self, path: str | PathLike[str]) -> None:
        """Write the run as JSON that https://ui.perfetto.dev and chrome://tracing open.

        Raises TypeError for what is no path, and what opening the file raises.

        Example:

            trace = virtualloop.Trace()
            with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed=7, trace=trace)) as runner:
                runner.run(main())
            trace.to_perfetto(directory / "run.json")
        """
        from virtualloop.trace._perfetto import document  # noqa: PLC0415  # loaded when it is asked for

        _write(path, document(self._narrated()))

    def _narrated(self) -> Narrator:
        recorder = self._recorder
        if self._narrator is None or self._narrator.history.size != recorder.size:
            self._narrator = Narrator(History(recorder, is_machinery, library_of))
        return self._narrator


# What the rest of this package asks of a trace, beside what everybody may.


def recorder_of(trace: Trace) -> Recorder:
    """Return what keeps the record."""
    return trace._recorder


def page_of(trace: Trace, *, title: str | None = None, report: str = "", replay: str = "") -> str:
    """Return a trace as HTML, under another title than what the loop was made with if one is given.

    It shows the report of a failure, and copies the line that replays it, where there are such.
    """
    from virtualloop.trace._html import page  # noqa: PLC0415  # loaded when it is asked for

    return page(trace._narrated(), title=title, report=report, replay=replay)


def story_of(trace: Trace, *, room: int) -> list[str]:
    """Return what led to the failure, in at most `room` lines as wide as the terminal."""
    from virtualloop.trace._chain import story  # noqa: PLC0415  # loaded when it is asked for

    return story(trace._narrated(), room=room, width=width())


def telling_of(trace: Trace) -> list[Deviation]:
    """Return the deviations that are worth telling of a failure."""
    from virtualloop.trace._chain import telling  # noqa: PLC0415  # loaded when it is asked for

    narrator = trace._narrated()
    return [trace._deviation(event) for event in telling(narrator.history, narrator.history.incidents)]


def _write(path: str | PathLike[str], text: str) -> None:
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be a string or a path, not {path!r}")
    Path(path).write_text(text, encoding="utf-8", newline="\n")
