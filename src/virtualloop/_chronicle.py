"""What a record of a run says, in words.

Owns the sentences: who did what, when, why and at which line of the reader's code, and where the run left stock
asyncio's order. Changes nothing; text, HTML and other forms of a trace are all made from this.

Steps of asyncio's own callbacks, such as the one that ends a sleep, get no line: they are part of why a task was
resumed. Nothing that is said depends on addresses, hashes or the machine, so the same run is told the same.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePath
from types import CodeType
from typing import NamedTuple

from virtualloop._clock import TICKS_PER_SECOND
from virtualloop._recorder import Event, Recorder, Step

__all__ = ["Chronicle", "Line", "counted", "duration", "listed", "seconds"]

#: A list of names in a line says this many, and how many more there are.
MAX_NAMES = 4

#: A name of a task is cut to this many characters in a column of names.
MAX_NAME = 24

#: A line is cut to this many characters: wider than this, terminals wrap it and columns fall apart.
MAX_WIDTH = 160

#: Places stand in a column behind what was done, unless that is longer than this.
MAX_DEED = 60

#: How many lines are shown before and after the point where two runs part.
CONTEXT = 8

#: The callback of asyncio's that ends a sleep.
END_OF_SLEEP = "_set_result_unless_cancelled"

#: Callbacks of asyncio's that end a wait because its time is over.
TIMEOUTS = frozenset({"Timeout._on_timeout", "_release_waiter"})

#: How the names of callbacks begin that hand over the result of a thread, asyncio's and this package's.
THREADS = ("_chain_future.<locals>._set_state", "Threads.finished.<locals>")


#: The kinds of deviations from asyncio's order; all others are faults of the network.
ORDER_KINDS = frozenset({"late", "hold", "task", "cancel", "user"})

#: Where the callbacks are that let something come in over the network.
NETWORK = str(Path(__file__).parent / "network") + os.sep


class Place(NamedTuple):
    """A line of the reader's code."""

    file: str
    line: int
    source: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Line(NamedTuple):
    """One line of the text: a step or an event."""

    tick: int
    #: Its step, or that an event comes before.
    step: int
    #: The event, or None for a step.
    event: Event | None
    who: str
    what: str
    where: str
    source: str


class Chronicle:
    """What the record said when this was made."""

    def __init__(self, recorder: Recorder, is_machinery: Callable[[CodeType], bool]) -> None:
        self._is_machinery = is_machinery
        self._names = dict(recorder.names)
        #: The hosts of tasks by number, where the network has any.
        self.hosts = _hosts(recorder.visits)
        self._lines_of: dict[int, list[tuple[int, int, int | None]]] = {}
        self._hides: dict[int, bool] = {}
        #: What tells this chronicle from a later one of the same record.
        self.size = (recorder.title, len(recorder.steps), len(recorder.events), len(recorder.withheld()))
        self.title = recorder.title
        self._eager = set(recorder.eager)
        self.steps = [self._adapted(Step(*raw)) for raw in recorder.steps]
        events = [Event(*raw) for raw in (*recorder.events, *recorder.withheld())]
        self.events = sorted(events, key=lambda event: event.step)
        self._inside: dict[int, list[Event]] = {}
        for event in self.events:
            self._inside.setdefault(event.step, []).append(event)
        #: By step: the steps that it queued or set a timer for.
        self.caused: list[list[int]] = [[] for _ in self.steps]
        #: By step: the one before it of the same task, or None.
        self.before: list[int | None] = []
        #: By step: the next one of the same task, or None.
        self.after: list[int | None] = [None] * len(self.steps)
        last: dict[int, int] = {}
        for number, step in enumerate(self.steps):
            if step.waker is not None:
                self.caused[step.waker].append(number)
            earlier = last.get(step.subject) if isinstance(step.subject, int) else None
            self.before.append(earlier)
            if earlier is not None:
                self.after[earlier] = number
            if isinstance(step.subject, int):
                last[step.subject] = number

    def _adapted(self, step: Step) -> Step:
        """Return a step as a reader sees it: a task that runs nothing but an operation of asyncio's awaits that."""
        if isinstance(step.subject, int) and step.code is not None and self._is_hidden(step.code):
            return Step(*step[:4], None, 0, step.code)
        return step

    @cached_property
    def visible(self) -> list[int]:
        """The numbers of the steps that are told."""
        return [number for number in range(len(self.steps)) if not self.is_hidden(number)]

    # --- who ----------------------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> dict[int, str]:
        """The names of tasks by number, in the order of their first steps."""
        return self._names

    def is_hidden(self, number: int) -> bool:
        """Return whether a step is asyncio's own business, and nothing went wrong in it."""
        step = self.steps[number]
        return isinstance(step.subject, CodeType) and self._is_hidden(step.subject) and step.awaits is None

    def who(self, number: int) -> str:
        """Return the task, or the callback, of a step."""
        subject = self.steps[number].subject
        return self._names[subject] if isinstance(subject, int) else _called(subject)

    def is_first(self, number: int) -> bool:
        """Return whether a step is its task's first."""
        subject = self.steps[number].subject
        return isinstance(subject, int) and self.before[number] is None and subject not in self._eager

    # --- why ----------------------------------------------------------------------------------------------------------

    def cause(self, number: int) -> int | None:
        """Return the visible step that led to this one, through asyncio's own callbacks, or None."""
        waker = self.steps[number].waker
        while waker is not None and self.is_hidden(waker):
            waker = self.steps[waker].waker
        return waker

    def timer(self, number: int) -> int | None:
        """Return the step of the timer that resumed this one, or None."""
        waker = self.steps[number].waker
        while waker is not None and self.is_hidden(waker):
            if self.steps[waker].detail is not None:
                return waker
            waker = self.steps[waker].waker
        return None

    def why(self, number: int) -> str:
        """Return how it came to a step."""
        step = self.steps[number]
        cause = self.cause(number)
        by = None if cause is None else self.who(cause)
        if not isinstance(step.subject, int):
            if step.detail is not None:
                return f"timer of {by}" if by else "timer"
            return f"queued by {by}" if by else "queued from outside"
        over = " over the network" if self._is_sent(number) else ""
        if self.is_first(number):
            return f"starts, created by {by}{over}" if by else "starts"
        timer = self.timer(number)
        own = cause is not None and self.steps[cause].subject == step.subject
        if over and not step.detail:
            return "woken by the network" if own or by is None else f"woken by {by}{over}"
        if timer is not None:
            kind = "timeout" if self._code_name(timer) in TIMEOUTS else "timer"
            by = f"its {kind}" if own else f"a {kind} of {by}" if by else f"a {kind}"
        elif cause is None:
            return f"{'cancelled' if step.detail else 'woken'} {self._outside(number)}"
        if step.detail:
            if cause is not None and not own and self.steps[cause].awaits == "cancelled":
                return f"woken by {by}, which was cancelled"
            return f"cancelled by {'itself' if own and timer is None else by}"
        if own:
            return "goes on" if timer is None else "wakes up" if by == "its timer" else "timed out"
        return f"woken by {by}"

    def _is_sent(self, number: int) -> bool:
        """Return whether a step was brought about over the network."""
        waker = self.steps[number].waker
        while waker is not None and self.is_hidden(waker):
            if _is_of_network(self.steps[waker].subject):
                return True
            waker = self.steps[waker].waker
        return False

    def _outside(self, number: int) -> str:
        """Return who resumed a task that no step did."""
        waker = self.steps[number].waker
        while waker is not None:
            if self._code_name(waker).startswith(THREADS):
                return "by a thread"
            waker = self.steps[waker].waker
        before = self.before[number]
        awaited = None if before is None else self.steps[before].awaits
        match awaited.co_name if isinstance(awaited, CodeType) else None:
            case "advance" | "run_until_idle":
                return "by the loop, all else being settled"
            case "to_thread":
                return "by a thread"
        return "from outside"

    # --- what ---------------------------------------------------------------------------------------------------------

    def deeds(self, number: int) -> list[str]:
        """Return what a step did, the last one being how it ended."""
        step = self.steps[number]
        created, woken, called = [], [], []
        for other in self._led_to(number):
            if not isinstance(self.steps[other].subject, int):
                called.append(self.who(other))
            elif self.is_first(other):
                created.append(self.who(other))
            elif self.steps[other].subject != step.subject:
                woken.append(self.who(other))
        deeds = []
        if created:
            deeds.append(f"creates {listed(created)}")
        if woken:
            deeds.append(f"wakes {listed(dict.fromkeys(woken))}")
        if called:
            deeds.append(f"queues {listed(dict.fromkeys(called))}")
        sent: dict[str, int] = {}
        for event in self._inside.get(number, ()):
            if event.kind == "send":
                target, size = event.data
                sent[target] = sent.get(target, 0) + size
        deeds += [f"sends {counted(size, 'byte')} to {target}" for target, size in sent.items()]
        end = self._end(number)
        return [*deeds, end] if end else deeds

    def _led_to(self, number: int) -> Iterable[int]:
        """Return the visible steps that this one queued itself, through asyncio's own callbacks but without timers."""
        for other in self.caused[number]:
            if not self.is_hidden(other):
                if not isinstance(self.steps[other].detail, int) or isinstance(self.steps[other].detail, bool):
                    yield other
            elif self.steps[other].detail is None:
                yield from self._led_to(other)

    def _end(self, number: int) -> str:
        step = self.steps[number]
        awaits = step.awaits
        if not isinstance(step.subject, int):
            return str(awaits) if awaits else ""
        if isinstance(awaits, str):
            return {"returned": "ends", "cancelled": "ends, cancelled"}.get(awaits, awaits)
        if isinstance(awaits, CodeType):
            if awaits.co_qualname == "sleep":
                return self._sleep(number)
            if awaits.co_name == "__aexit__":
                return f"waits to leave the {awaits.co_qualname.split('.')[-2]}"
            # Which of asyncio's base classes a method stands in says nothing.
            operation = awaits.co_name if awaits.co_qualname.startswith("Base") else awaits.co_qualname
            return f"waits for {operation}()"
        if isinstance(awaits, int):
            return f"waits for task {self._names.get(awaits, f'Task-{awaits}')}"
        if isinstance(awaits, type):
            return "waits for gather()" if awaits.__name__ == "_GatheringFuture" else "waits for a future"
        return "yields"

    def _sleep(self, number: int) -> str:
        step = self.steps[number]
        for other in self.caused[number]:
            due = self.steps[other].detail
            if due is not None and self._code_name(other) == END_OF_SLEEP:
                return f"sleeps {duration(due - step.tick)}"
        after = self.after[number]
        return "yields" if after is not None and self.steps[after].waker == number else "sleeps"

    def rest(self, number: int) -> str:
        """Return what a task waits for from this step on, in a word or two, or nothing."""
        end = self._end(number)
        return end.removeprefix("waits for ") if self.fate(number) == "waits" and end != "yields" else ""

    def fate(self, number: int) -> str:
        """Return how a step ended: "waits", "ends", "cancelled" or "raises"."""
        awaits = self.steps[number].awaits
        if not isinstance(awaits, str):
            return "waits" if isinstance(self.steps[number].subject, int) else "ends"
        return {"returned": "ends", "cancelled": "cancelled"}.get(awaits, "raises")

    # --- where --------------------------------------------------------------------------------------------------------

    def place(self, number: int) -> Place | None:
        """Return the line at which a step came to rest or raised, or where its callback begins."""
        step = self.steps[number]
        if isinstance(step.subject, CodeType):
            return self.place_in(step.subject, None)
        return None if step.code is None else self.place_in(step.code, step.offset)

    def place_in(self, code: CodeType, offset: int | None) -> Place:
        """Return the line of an offset in a code object; of its beginning where there is none."""
        line = code.co_firstlineno if offset is None else self._line(code, offset)
        return Place(self._files[code.co_filename], line, linecache.getline(code.co_filename, line).strip())

    def where(self, number: int) -> str:
        """Return the lines between which a step ran: where it was resumed and where it came to rest."""
        place = self.place(number)
        before = self.before[number]
        start = None if before is None else self.place(before)
        if start is None or start == place:
            return str(place or "")
        if place is None:
            return str(start)
        return f"{start} -> {place.line if place.file == start.file else place}"

    def _line(self, code: CodeType, offset: int) -> int:
        lines = self._lines_of.get(id(code))
        if lines is None:
            lines = self._lines_of[id(code)] = list(code.co_lines())
        return next((line for start, end, line in lines if start <= offset < end and line), code.co_firstlineno)

    @cached_property
    def _files(self) -> dict[str, str]:
        codes = [part for step in self.steps for part in (step.subject, step.code) if isinstance(part, CodeType)]
        codes += [part for event in self.events for part in event.data if isinstance(part, CodeType)]
        return _short_names({code.co_filename for code in codes})

    def _code_name(self, number: int) -> str:
        subject = self.steps[number].subject
        return subject.co_qualname if isinstance(subject, CodeType) else ""

    def _is_hidden(self, code: CodeType) -> bool:
        hides = self._hides.get(id(code))
        if hides is None:
            hides = self._hides[id(code)] = self._is_machinery(code)
        return hides

    # --- events -------------------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> str:
        """Return what an event is, in words."""
        data = event.data
        match event.kind:
            case "late":
                idle, since, timers = data
                passed = duration(timers[-1][1] - since)
                late = dict.fromkeys(self._arrival(waker, subject) for waker, _, subject in timers)
                due = listed(late) + (" are due" if len(late) > 1 else " is due")
                if idle:
                    return f"the loop wakes {passed} late, and {due} as well"
                return f"the callbacks before took {passed}, and {due} already"
            case "hold":
                waker, due, subject = data
                what = self._arrival(waker, subject)
                if due is None:
                    return f"{what} is late, and does not come in any more"
                late = event.tick - due
                return f"{what} comes in {duration(late)} late" if late > 0 else f"{what} comes in after later ones"
            case "task":
                first, other = data
                if isinstance(first, int):
                    return f"{self._names[first]} resumes before {self._names[other]}"
                return f"{self._callback(event.step, first)} runs before {self._names[other]} resumes"
            case "cancel":
                number, waits = data
                return f"{self._names[number]} is cancelled {'while it waits' if waits else 'before it goes on'}"
            case "user":
                shown, _, code, offset = data
                return f"choose() returns {shown} at {self.place_in(code, offset)}"
            case "note":
                return f"note: {data[0]}"
        return f"network: {data[0]}"

    def is_inside(self, event: Event) -> bool:
        """Return whether an event happened in the midst of its step, and not before it."""
        if event.step == len(self.steps) or event.kind in ("late", "hold", "task"):
            return False
        return event.kind != "cancel" or bool(event.data[1])  # which ends a wait as soon as it has begun

    def about(self, event: Event) -> int:
        """Return the step that an event is about: the one that it led to, if its own is asyncio's business."""
        if event.step == len(self.steps) or not self.is_hidden(event.step):
            return event.step
        return next(self._visible_from(event.step), event.step)

    def _visible_from(self, number: int) -> Iterator[int]:
        """Return the visible steps that one of asyncio's own led to, also by way of the network."""
        for other in self.caused[number]:
            if self.is_hidden(other):
                yield from self._visible_from(other)
            else:
                yield other

    def _callback(self, number: int, subject: CodeType | str) -> str:
        """Return what the plain callback that runs in a step is to the reader."""
        if number == len(self.steps):  # The run ended in it.
            return _called(subject)
        step = self.steps[number]
        if step.detail is not None:
            return self._arrival(step.waker, subject)
        return _called(subject) if step.waker is None else f"{_called(subject)}, queued by {self.who(step.waker)},"

    def _arrival(self, waker: int | None, subject: CodeType | str) -> str:
        """Return what an external event is: its callback, and the step that brought it about."""
        if isinstance(subject, CodeType) and subject.co_qualname.startswith(THREADS):
            return "the result of a thread"
        while waker is not None and self.is_hidden(waker):
            waker = self.steps[waker].waker
        place = None if waker is None else self.place(waker)
        who = "the test" if waker is None else f"{self.who(waker)} ({place})" if place else self.who(waker)
        if not _is_of_network(subject):
            return f"the timer of {who}"
        has_sent = waker is not None and any(event.kind == "send" for event in self._inside.get(waker, ()))
        return f"what was sent by {who}" if has_sent else f"the network's answer to {who}"

    # --- the text -----------------------------------------------------------------------------------------------------

    @cached_property
    def lines(self) -> list[Line]:
        """Everything that gets a line: steps that are not hidden, and events, in order."""
        lines: list[Line] = []
        position = 0
        for number in range(len(self.steps) + 1):
            own: list[Line] = []
            while position < len(self.events) and self.events[position].step == number:
                event = self.events[position]
                position += 1
                if event.kind == "send":  # It is one of its step's deeds.
                    continue
                line = Line(event.tick, number, event, "", self.tell(event), "", "")
                (own if self.is_inside(event) else lines).append(line)
            if number < len(self.steps) and not self.is_hidden(number):
                lines.append(self._line_of_step(number))
            lines += own
        return lines

    def _line_of_step(self, number: int) -> Line:
        what = "; ".join([self.why(number), *self.deeds(number)])
        place = self.place(number)
        source = place.source if place else ""
        subject = self.steps[number].subject
        host = self.hosts.get(subject) if isinstance(subject, int) else None
        who = f"{self.who(number)} @{host}" if host else self.who(number)
        return Line(self.steps[number].tick, number, None, who, what, self.where(number), source)

    def part(self, other: Chronicle) -> str:
        """Return where two runs part, with what both did before and each one after."""
        mine, others = [[chronicle._key(line) for line in chronicle.lines] for chronicle in (self, other)]
        length = min(len(mine), len(others))
        common = next((k for k in range(length) if mine[k] != others[k]), length)
        if common == len(mine) == len(others):
            return f"The runs are the same: {self.heading()}"
        tick = min(chronicle.lines[common].tick for chronicle in (self, other) if common < len(chronicle.lines))
        parts = [f"The runs part at t={seconds(tick)}, after {counted(common, 'line')} in common."]
        before = self.lines[max(common - CONTEXT, 0) : common]
        if before:
            parts += ["Both:", *self.formatted(before)]
        for name, chronicle in (("This run", self), ("The other run", other)):
            after = chronicle.lines[common : common + CONTEXT]
            parts += [f"{name}, {chronicle.title}:", *(chronicle.formatted(after) or ["  ends here"])]
        return "\n".join(parts)

    def _key(self, line: Line) -> tuple[object, ...]:
        """Return what makes a line different from another, as far as could be known at that time."""
        if line.event is not None:
            return (line.tick, line.what)
        awaits = self.steps[line.step].awaits
        end = awaits.co_qualname if isinstance(awaits, CodeType) else awaits
        return (line.tick, line.who, self.why(line.step), line.where, end)

    def heading(self) -> str:
        """Return what the whole run comes to, in one line."""
        faults = sum(event.deviates and event.kind not in ORDER_KINDS for event in self.events)
        deviations = sum(event.deviates for event in self.events) - faults
        order = f"{counted(deviations, 'deviation')} from asyncio's order" if deviations else "asyncio's own order"
        if faults:
            order += f", {counted(faults, 'fault')} of the network"
        ended = seconds(self.steps[-1].tick) if self.steps else "0"
        return (
            f"{self.title or 'no loop yet'}: {counted(len(self.steps), 'step')} of {counted(len(self._names), 'task')} "
            f"until t={ended}, {order}"
        )

    def formatted(self, lines: Sequence[Line]) -> list[str]:
        """Return lines as text, in columns."""
        places = 3 if all(line.tick % 1000 == 0 for line in lines) else 6
        times = [f"{line.tick / TICKS_PER_SECOND:.{places}f}" for line in lines]
        width = max(map(len, times), default=0)
        whos = min(max((len(line.who) for line in lines), default=0), MAX_NAME)
        deeds = min(max((len(line.what) for line in lines if line.event is None), default=0), MAX_DEED)
        wheres = min(max((len(line.where) for line in lines), default=0), MAX_DEED)
        texts = []
        for line, time in zip(lines, times, strict=True):
            if line.event is None:
                text = (
                    f"  {time:>{width}}  {_cut(line.who, MAX_NAME):{whos}}  {line.what:{deeds}}  {line.where:{wheres}}"
                )
                text = f"{text}  {line.source}"
            else:
                text = f"{'*' if line.event.deviates else ' '} {time:>{width}}  {'':{whos}}  {line.what}"
            texts.append(_cut(text.rstrip(), MAX_WIDTH))
        return texts


def _hosts(visits: dict[int, dict[str | None, int]]) -> dict[int, str]:
    """Return the host of each task: where it made most of its steps. None at all where all are on the one there is."""
    if not any(host is not None for hosts in visits.values() for host in hosts):
        return {}
    return {number: max(hosts, key=lambda host: hosts[host]) or "localhost" for number, hosts in visits.items()}


def seconds(tick: int) -> str:
    """Return a time in seconds, as short as it can be."""
    text = f"{tick / TICKS_PER_SECOND:.6f}".rstrip("0").rstrip(".")
    return text or "0"


def duration(ticks: int) -> str:
    """Return a length of time with its unit."""
    return f"{seconds(ticks)} s" if abs(ticks) >= TICKS_PER_SECOND else f"{seconds(ticks * 1000)} ms"


def listed(names: Iterable[str]) -> str:
    """Return names as a list in a sentence."""
    several = list(names)
    if len(several) > MAX_NAMES:
        several = [*several[: MAX_NAMES - 1], f"{len(several) - MAX_NAMES + 1} more"]
    *first, last = several
    return f"{', '.join(first)} and {last}" if first else last


def _is_of_network(subject: int | CodeType | str) -> bool:
    return isinstance(subject, CodeType) and subject.co_filename.startswith(NETWORK)


def _called(subject: CodeType | str) -> str:
    name = subject.co_qualname if isinstance(subject, CodeType) else subject
    return f"{name.rpartition('<locals>.')[2]}()"


def counted(n: int, noun: str) -> str:
    """Return a number and what is counted, as in "1 run" and "2 runs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _short_names(files: Iterable[str]) -> dict[str, str]:
    """Return each file's name with as many of its folders as tell it from the others."""
    names = {}
    parts = {file: PurePath(file).parts for file in files}
    for file, own in parts.items():
        length = 1
        while length < len(own) and any(
            other[-length:] == own[-length:] for name, other in parts.items() if name != file
        ):
            length += 1
        names[file] = "/".join(own[-length:])
    return names
