"""What tells a run from others: which task went on, at which line, in which order.

Owns the digest of these steps and, for runs whose neighbours are tried, that of the state in which each question was
asked. Both are the same in every process. Knows nothing of what is looked for.

Two runs that have made the same steps, at the same ticks, and where the same events are pending, ready and held, go on
in the same way: so that whoever has tried all answers to a question in one of them need not try them in the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from types import CoroutineType, GeneratorType
from typing import Any
from weakref import WeakKeyDictionary

from virtualloop._core.arrivals import Arrivals
from virtualloop._core.clock import Clock
from virtualloop._core.recorder import Recorder
from virtualloop.schedules._choice import Schedule
from virtualloop.schedules._replay import Recording

__all__ = ["StateLog", "StepLog", "WithholdingLog"]

_Run = Callable[[Any], None]
#: What stands for a plain callback: they keep their order among themselves, so it need not be said which one it is.
_PLAIN = -1
#: Answers of these kinds say in which order what is pending runs, which is part of the state; all others go to the
#: program, and decide what it is from there on.
_OF_THE_ORDER = frozenset({"late", "slow", "apart", "hold", "reply", "release", "task"})


#: A coroutine of `asyncio.sleep` waits at one of two lines, and what it awaits tells which. Its frame is not asked: the
#: object would be made for that alone and dropped with the next step, which costs as much as half of the step.
SLEEP = asyncio.sleep.__code__

#: What stands for a bare yield of `asyncio.sleep`. A note is a place in code, which is even, or the number of a task,
#: which stands negative; and so many are kept until they are digested.
YIELD = 1
MANY = 1 << 16
#: Where the numbers begin of tasks that nobody has given one.
_UNNUMBERED = 1 << 40


class StepLog:
    """An instrument of the scheduler that digests steps of tasks.

    Where it is the only one, the scheduler of an exploration does in line what `around` would do; see `body`.
    """

    def __init__(self) -> None:
        #: How many there were, those of plain callbacks included.
        self.steps = 0
        #: Of each step of a task who went on, and where it stands then; a digest of those before comes first.
        self.notes: list[int] = []
        # Tasks that nobody has given numbers: a library has made them, and they began eagerly.
        self._seen: WeakKeyDictionary[Any, int] | None = None
        self._unnumbered = _UNNUMBERED

    @property
    def digest(self) -> int:
        """What tells the steps of tasks from those of other runs."""
        self.fold()
        return hash(tuple(self.notes))

    def fold(self) -> None:
        """Keep no more than a digest of notes that are many: the same of the same notes, whenever this is called."""
        notes = self.notes
        while len(notes) > MANY:
            notes[:MANY] = [hash(tuple(notes[:MANY]))]

    def around(self, run: _Run) -> _Run:
        """Return what runs an entry and takes note of the step."""

        def run_and_note(entry: Any) -> None:
            self.steps += 1
            run(entry)
            if type(entry) is tuple:
                self._note(entry[1].__self__)

        return run_and_note

    def _note(self, task: Any) -> None:
        """Take note of a step that a task has made."""
        note = self.notes.append
        try:
            note(-task._virtualloop_number)
        except AttributeError:
            note(-self.number_of(task))
        coro = task.get_coro()
        if type(coro) is CoroutineType and (frame := coro.cr_frame) is not None:
            # Down to the innermost coroutine: each stands where the task will go on.
            note(frame.f_lasti)
            while type(coro := coro.cr_await) is CoroutineType:
                if coro.cr_code is SLEEP:
                    if type(coro.cr_await) is GeneratorType:
                        note(YIELD)
                    break
                if (frame := coro.cr_frame) is None:
                    break
                note(frame.f_lasti)
        if len(self.notes) > MANY:
            self.fold()

    def number_of(self, task: Any) -> int:
        """Return what tells a task from others: its number or, as it hashes by its address, one by its first step."""
        number: int | None = getattr(task, "_virtualloop_number", None)
        if number is None:
            if self._seen is None:
                self._seen = WeakKeyDictionary()
            number = self._seen.get(task)
            if number is None:
                self._unnumbered += 1
                number = self._seen[task] = self._unnumbered
        return number


class StateLog(StepLog):
    """The same, and a schedule around another one that digests the state in which each question is asked."""

    def __init__(self, schedule: Schedule, *, keep: bool = True) -> None:
        super().__init__()
        self._schedule = schedule
        self._keep = keep
        self._history = 0
        self._arrivals: Arrivals | None = None
        self._names: dict[int, tuple[int, int, Any]] = {}
        self._clock: Clock | None = None
        #: A digest for each question.
        self.states: list[int] = []

    def _tick(self) -> int:
        return 0 if self._clock is None else self._clock.tick

    def attach(self, arrivals: Arrivals | None, clock: Clock, recorder: Recorder | None) -> None:
        """Look at the arrivals of a loop, none at order "fifo"; `recorder` keeps the record, if there is one."""
        self._arrivals = arrivals
        self._clock = clock
        if arrivals is not None and self._keep:
            arrivals.names = self._names

    def choose(self, n: int, kind: str) -> int:
        """Ask the other schedule, and digest the state, where that is to be kept."""
        if not self._keep:
            return self._schedule.choose(n, kind)
        arrivals = self._arrivals
        state = None if arrivals is None else arrivals.state(self._name_of)
        answer = self._schedule.choose(n, kind)
        of_the_order = kind in _OF_THE_ORDER
        # Strings hash otherwise in each process, and which kind it is follows from the state, but for this.
        self.states.append(hash((self._history, state, n, of_the_order)))
        if not of_the_order:
            self._history = hash((self._history, n, answer))
        return answer

    def around(self, run: _Run) -> _Run:
        """Return what runs an entry and takes note of it."""
        run_and_note = super().around(run)
        if not self._keep:
            return run_and_note
        names, name_of, clock = self._names, self._name_of, self._clock
        assert clock is not None

        def run_and_keep(entry: Any) -> None:
            self._history = hash((self._history, clock.tick, name_of(entry)))
            names.pop(id(entry), None)
            run_and_note(entry)

        return run_and_keep

    def _name_of(self, entry: Any) -> int | tuple[int, int]:
        if type(entry) is tuple:
            task = entry[1].__self__
            try:
                return task._virtualloop_number  # type: ignore[no-any-return]  # an integer
            except AttributeError:
                return self.number_of(task)
        name = self._names.get(id(entry))
        return _PLAIN if name is None else name[:2]


class WithholdingLog(StepLog):
    """The same, and ends the run where main would go on only with events that were put off at these questions."""

    def __init__(self, recording: Recording, questions: Collection[int]) -> None:
        super().__init__()
        self._recording = recording
        self._withheld_at = questions
        self._withheld: dict[int, Any] = {}
        #: Called where nothing else is left to happen.
        self.give_up: Callable[[], None]

    def asks(self, event: Any) -> None:
        """Take note of the event that the next question is about."""
        if len(self._recording.choices) in self._withheld_at:
            self._withheld[id(event)] = event

    def around(self, run: _Run) -> _Run:
        """Return what runs an entry, unless it is withheld."""
        run_and_note = super().around(run)
        withheld = self._withheld

        def run_unless_withheld(entry: Any) -> None:
            if id(entry) in withheld:
                self.give_up()
            else:
                run_and_note(entry)

        return run_unless_withheld
