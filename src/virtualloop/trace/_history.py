"""What happened in a run: its steps, its events, and what led to what.

Owns the facts that a record holds, as far as they concern a reader: who ran, at which line, by whose doing, and what
happened in between. Knows no sentences; those are the narrator's.

Steps of asyncio's own callbacks, such as the one that ends a sleep, are hidden: they are part of why a task was
resumed. Nothing depends on addresses, hashes or the machine, so the same run has the same history.
"""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePath
from types import CodeType
from typing import NamedTuple

from virtualloop._core.record import UNNUMBERED, Event, Step
from virtualloop._core.recorder import Recorder
from virtualloop._words import kept_end, told_apart

__all__ = ["History", "Line", "called", "has_default_name", "is_of_network", "is_of_thread"]

#: Callbacks of asyncio's that end a wait because its time is over.
TIMEOUTS = frozenset({"Timeout._on_timeout", "_release_waiter"})

#: A longer name of a method goes without its class.
MAX_LABEL = 24

#: And a name that a program has given a task without its beginning.
MAX_OWN_NAME = 40

#: The callback of asyncio's that ends a sleep.
END_OF_SLEEP = "_set_result_unless_cancelled"

#: How the names of callbacks begin that hand over what comes from a thread, asyncio's and this package's.
THREADS = ("_chain_future.<locals>._set_state", "Jobs.finished.<locals>", "Inbox.")

#: The kinds of events that are what a step did.
DEEDS = frozenset({"send", "cancels", "wakes"})

#: Where the callbacks are that let something arrive over the network.
NETWORK = str(Path(__file__).parent.parent / "network") + os.sep


_ENTERED = re.compile(r"\s*async with ([^,]+?)(?: as [^,]+)?:\s*$")


class Line(NamedTuple):
    """A line of the reader's code."""

    file: str
    number: int
    source: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


class History:
    """What the record said when this was made."""

    def __init__(
        self,
        recorder: Recorder,
        is_machinery: Callable[[CodeType], bool],
        library_of: Callable[[CodeType], str | None],
    ) -> None:
        self._is_machinery = is_machinery
        self._library_of = library_of
        self._numbered = recorder.numbered
        coroutines = {self._known(number): name for number, name in recorder.coroutines.items()}
        #: The names of their coroutines, without what they are defined in.
        self.coroutines = {number: name.rpartition(".")[2] for number, name in coroutines.items()}
        names = {self._known(number): name for number, name in recorder.names.items()}
        for number, name in names.items():
            # asyncio's own counter goes on from one run to the next.
            if number >= UNNUMBERED and has_default_name(name):
                names[number] = self.coroutines.get(number, "task")
        #: The names of tasks by number, in the order of their first steps; no two are the same.
        self.names = told_apart({number: kept_end(name, MAX_OWN_NAME) for number, name in names.items()})
        #: The same where there is room for more: what has no name of its own with its coroutine.
        self.labels = {number: _label(name, coroutines.get(number)) for number, name in self.names.items()}
        #: The hosts of tasks by number, where the network has any.
        self.hosts = _hosts({self._known(number): hosts for number, hosts in recorder.visits.items()})
        # Lines and what is written there, by the id of a code object, which the steps keep, and the offset in it.
        self._lines_of: dict[int, list[tuple[int, int, int | None]]] = {}
        self._found: dict[tuple[int, int | None], Line] = {}
        self._written: dict[tuple[int, int], str] = {}
        self._hides: dict[int, bool] = {}
        #: What tells this history from a later one of the same record.
        self.size = recorder.size
        self.title = recorder.title
        self._eager = set(map(self._known, recorder.eager))
        self._overruled = set(recorder.overruled)
        self.steps = [self._adapted(Step(*raw)) for raw in recorder.steps]
        #: By step that raised what its task ended by after some clean-up: that in words, and the code and offset of it.
        self._raising = {step: (what, code, offset) for step, what, code, offset in recorder.raised.values()}
        self._raised = recorder.raised
        events = [self._with_numbers(Event(*raw)) for raw in (*recorder.events, *recorder.withheld())]
        self.events = sorted(events, key=lambda event: event.step)
        self._inside: dict[int, list[Event]] = {}
        for event in self.events:
            self._inside.setdefault(event.step, []).append(event)
        #: How many steps had been made when the program had failed, or None; what comes after cleans up.
        self.failed_at: int | None = None
        self.failed_tick = 0
        self._clean_up: set[int] = set()
        if recorder.failed_at is not None:
            self.failed_at, first, self.failed_tick = recorder.failed_at
            self._clean_up = {id(event) for event in events[first : len(recorder.events)]}
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
        self._end_where_main_raised(last)

    def _end_where_main_raised(self, last: dict[int, int]) -> None:
        """Take for clean-up what the program's first task did after it had raised what it failed with."""
        if self.failed_at is None or not self.names:
            return
        main = next(iter(self.names))
        step, *_ = self._raised.get(last.get(main, -1), (None,))
        if step is not None and last[main] < self.failed_at:
            self.failed_at, self.failed_tick = step + 1, self.steps[step].tick

    def _known(self, number: int) -> int:
        """Return the number of a task that was recorded when it had none yet."""
        return self._numbered.get(number, number)

    def _with_numbers(self, event: Event) -> Event:
        if not self._numbered:
            return event
        return event._replace(data=tuple(self._known(part) if isinstance(part, int) else part for part in event.data))

    def _adapted(self, step: Step) -> Step:
        """Return a step as a reader sees it: a task that runs nothing but an operation of asyncio's awaits that."""
        if self._numbered:
            subject = self._known(step.subject) if isinstance(step.subject, int) else step.subject
            awaits = self._known(step.awaits) if isinstance(step.awaits, int) else step.awaits
            step = step._replace(subject=subject, awaits=awaits)
        if isinstance(step.subject, int) and step.code is not None and self._is_hidden(step.code):
            return Step(*step[:4], None, 0, step.awaits if isinstance(step.awaits, str) else step.code)
        return step

    @cached_property
    def visible(self) -> list[int]:
        """The numbers of the steps that are told."""
        return [number for number in range(len(self.steps)) if not self.is_hidden(number)]

    # --- who ----------------------------------------------------------------------------------------------------------

    def is_hidden(self, number: int) -> bool:
        """Return whether a step is asyncio's own business, and nothing went wrong in it."""
        step = self.steps[number]
        return isinstance(step.subject, CodeType) and self._is_hidden(step.subject) and step.awaits is None

    def who(self, number: int) -> str:
        """Return the task, or the callback, of a step."""
        subject = self.steps[number].subject
        return self.names[subject] if isinstance(subject, int) else called(subject)

    def label(self, number: int) -> str:
        """Return the same where there is room for more: with the coroutine of a task that has no name of its own."""
        subject = self.steps[number].subject
        return self.labels[subject] if isinstance(subject, int) else called(subject)

    def is_task(self, number: int) -> bool:
        """Return whether a step is a task's, and not that of a plain callback."""
        return isinstance(self.steps[number].subject, int)

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
            if is_of_thread(self.steps[waker].subject):
                return None  # Its result may be late, as a timer may.
            if self.steps[waker].detail is not None:
                return waker
            waker = self.steps[waker].waker
        return None

    def is_sent(self, number: int) -> bool:
        """Return whether a step was brought about over the network."""
        waker = self.steps[number].waker
        return waker is not None and self.is_by_network(waker)

    def is_by_network(self, number: int) -> bool:
        """Return whether a hidden step is what arrives over the network, or comes of that."""
        step: int | None = number
        while step is not None and self.is_hidden(step):
            if is_of_network(self.steps[step].subject):
                return True
            step = self.steps[step].waker
        return False

    def cancellation(self, number: int) -> Event | None:
        """Return the call of cancel(), or the event, that a step's CancelledError comes from, if it is known."""
        step = self.steps[number]
        if step.detail is not True or not isinstance(step.subject, int):
            return None
        before = self.before[number]
        calls = self._cancellations.get(step.subject, ())
        return next((c for c in calls if c.step <= number and (before is None or c.step >= before)), None)

    def was_overruled(self, number: int) -> bool:
        """Return whether a step's task was cancelled after something else had woken it."""
        return number in self._overruled

    @cached_property
    def _cancellations(self) -> dict[int, list[Event]]:
        calls: dict[int, list[Event]] = {}
        for event in self.events:
            if event.kind in ("cancels", "cancel"):
                calls.setdefault(event.data[0], []).append(event)
        return calls

    # --- what came of it ----------------------------------------------------------------------------------------------

    def led_to(self, number: int) -> Iterable[int]:
        """Return the visible steps that this one queued itself, through asyncio's own callbacks but without timers."""
        for other in self.caused[number]:
            if not self.is_hidden(other):
                if not isinstance(self.steps[other].detail, int) or isinstance(self.steps[other].detail, bool):
                    yield other
            elif self.steps[other].detail is None:
                yield from self.led_to(other)

    def sleep(self, number: int) -> int | None:
        """Return how long a step's task sleeps from there on, in ticks, where its timer fired."""
        for other in self.caused[number]:
            due = self.steps[other].detail
            if due is not None and self.code_name(other) == END_OF_SLEEP:
                return int(due) - self.steps[number].tick
        return None

    def fate(self, number: int) -> str:
        """Return how a step ended: "waits", "ends", "cancelled" or "raises"."""
        if number in self._raising:
            return "raises"
        awaits = self.steps[number].awaits
        if not isinstance(awaits, str):
            return "waits" if self.is_task(number) else "ends"
        if number in self._raised:
            return "ends"
        return {"returned": "ends", "cancelled": "cancelled"}.get(awaits, "raises")

    def raised(self, number: int) -> str | None:
        """Return what a step raised, in words, if its task went on to clean up."""
        return self._raising[number][0] if number in self._raising else None

    def has_raised(self, number: int) -> bool:
        """Return whether a task ended with this step by what it had raised in an earlier one."""
        return number in self._raised

    # --- where --------------------------------------------------------------------------------------------------------

    def line(self, number: int) -> Line | None:
        """Return the line at which a step came to rest or raised, or where its callback begins."""
        if number in self._raising:
            _, code, offset = self._raising[number]
            return None if code is None else self.line_in(code, offset)
        return self.line_at_rest(number)

    def line_at_rest(self, number: int) -> Line | None:
        """Return the same, but of a step that raised and went on to clean up where it came to rest."""
        step = self.steps[number]
        if isinstance(step.subject, CodeType):
            return self.line_in(step.subject, None)
        return None if step.code is None else self.line_in(step.code, step.offset)

    def line_in(self, code: CodeType, offset: int | None) -> Line:
        """Return the line of an offset in a code object; of its beginning where there is none."""
        key = (id(code), offset)
        found = self._found.get(key)
        if found is None:
            number = code.co_firstlineno if offset is None else self._line(code, offset)
            source = linecache.getline(code.co_filename, number).strip()
            found = self._found[key] = Line(self._files[code.co_filename], number, source)
        return found

    def _line(self, code: CodeType, offset: int) -> int:
        lines = self._lines_of.get(id(code))
        if lines is None:
            lines = self._lines_of[id(code)] = list(code.co_lines())
        return next((line for start, end, line in lines if start <= offset < end and line), code.co_firstlineno)

    @cached_property
    def _files(self) -> dict[str, str]:
        codes = [part for step in self.steps for part in (step.subject, step.code) if isinstance(part, CodeType)]
        codes += [part for event in self.events for part in event.data if isinstance(part, CodeType)]
        codes += [code for _, code, _ in self._raising.values() if code is not None]
        return _short_names({code.co_filename for code in codes})

    def awaited(self, number: int) -> str:
        """Return what the line at which a step came to rest awaits, as it is written there, or nothing."""
        step = self.steps[number]
        if step.code is None or step.offset is None or self.fate(number) != "waits":
            return ""
        key = (id(step.code), step.offset)
        if key not in self._written:
            self._written[key] = _written(step.code, step.offset)
        return self._written[key]

    def library(self, number: int) -> str | None:
        """Return the library that a step is wholly in, or None where any of the reader's code takes part."""
        step = self.steps[number]
        code = step.subject if isinstance(step.subject, CodeType) else step.code
        before = self.before[number]
        if code is None and before is not None:  # It ended where it had been.
            code = self.steps[before].code
        return None if code is None else self._library_of(code)

    def code_name(self, number: int) -> str:
        """Return the qualified name of what a plain callback runs, or nothing."""
        subject = self.steps[number].subject
        return subject.co_qualname if isinstance(subject, CodeType) else ""

    def _is_hidden(self, code: CodeType) -> bool:
        hides = self._hides.get(id(code))
        if hides is None:
            hides = self._hides[id(code)] = self._is_machinery(code)
        return hides

    # --- events -------------------------------------------------------------------------------------------------------

    @cached_property
    def incidents(self) -> list[Event]:
        """The events that are told as such; all others are deeds of their steps."""
        return [event for event in self.events if event.kind not in DEEDS]

    def inside(self, number: int) -> list[Event]:
        """Return the events that belong to a step or come right before it."""
        return self._inside.get(number, [])

    def is_inside(self, event: Event) -> bool:
        """Return whether an event happened in the midst of its step, and not before it."""
        if event.step == len(self.steps) or event.kind in ("late", "hold", "task"):
            return False
        return event.kind != "cancel" or bool(event.data[1])  # which ends a wait as soon as it has begun

    def is_clean_up(self, event: Event) -> bool:
        """Return whether an event came after the failure."""
        return id(event) in self._clean_up or (self.failed_at is not None and event.step > self.failed_at)

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


def _written(code: CodeType, offset: int) -> str:
    """Return what is awaited at an offset in a code object, as it is written, if that is in one line."""
    first, last, start, stop = next(islice(code.co_positions(), offset // 2, None), (None,) * 4)
    if first is None or start is None or stop is None:
        return ""
    line = linecache.getline(code.co_filename, first)
    if first != last:
        # On Python 3.11 a block that is entered is the whole statement.
        entered = _ENTERED.match(line)
        return entered[1] if entered else ""
    # Columns are counted in bytes.
    return line.encode()[start:stop].decode(errors="replace").removeprefix("await ").strip()


def is_of_network(subject: int | CodeType | str) -> bool:
    """Return whether what ran is a part of this package's network."""
    return isinstance(subject, CodeType) and subject.co_filename.startswith(NETWORK)


def is_of_thread(subject: int | CodeType | str) -> bool:
    """Return whether what ran hands over what comes from a thread."""
    return isinstance(subject, CodeType) and subject.co_qualname.startswith(THREADS)


def called(subject: CodeType | str) -> str:
    """Return what a plain callback is called."""
    name = subject.co_qualname if isinstance(subject, CodeType) else subject
    return f"{name.rpartition('<locals>.')[2]}()"


def _label(name: str, coroutine: str | None) -> str:
    """Return the name of a task, and of one that asyncio gave its name, also that of its coroutine."""
    if not has_default_name(name) or not coroutine:
        return name
    label = f"{name} {coroutine.rpartition('<locals>.')[2]}"
    return label if len(label) <= MAX_LABEL else f"{name} {coroutine.rpartition('.')[2]}"


def has_default_name(name: str) -> bool:
    """Return whether a name is one that asyncio gives."""
    return name.startswith("Task-") and name[len("Task-") :].isdecimal()


def _hosts(visits: dict[int, dict[str | None, int]]) -> dict[int, str]:
    """Return the host of each task: where it made most of its steps. None at all where all are on the one there is."""
    if not any(host is not None for hosts in visits.values() for host in hosts):
        return {}
    return {number: max(hosts, key=lambda host: hosts[host]) or "localhost" for number, hosts in visits.items()}


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
