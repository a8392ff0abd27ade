"""What a plain run shows of a program: which replies made which timeouts unused.

Owns this analysis; tries nothing. It looks at one run that is recorded step by step, with each timer that is set and
cancelled, and each question about an event.

A timeout is a timer that was cancelled before it was due. Whatever arrived on the causal chain that led to this is a
reply that the timeout waited for, and on a real machine that may come after it. But a timer that repeats by
itself, as a periodic sleep does, is a wake-up, and stands for nothing that could be late by a whole timeout.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection
from pathlib import PurePath
from types import FrameType
from typing import Any, NamedTuple

from virtualloop._core.arrivals import Arrivals
from virtualloop._core.clock import TICKS_PER_SECOND, Clock
from virtualloop._core.events import ExternalEvent
from virtualloop._core.lateness import CLOSE
from virtualloop._core.recorder import BOTTOMS, Recorder
from virtualloop._exploration.replies import UNASKED, Reply, Timeout
from virtualloop._exploration.run import SweptLoop
from virtualloop._exploration.steps import StateLog
from virtualloop._report.frames import is_machinery, library_of
from virtualloop.schedules._choice import is_late
from virtualloop.schedules._replay import Recording

__all__ = ["Survey", "SurveyingLoop"]

#: Timers up to this long, in seconds, stand for a reply even where their task waits there again and again, if another
#: task asked for it: a fake server sleeps for milliseconds, a heartbeat for seconds.
SHORT = 0.05

#: So many things that come after a late reply are moments at which it could come instead, and so many of one kind.
MOST_FOLLOWING = 12
OF_EACH_KIND = 2

#: What comes from outside is a reply, however often its receiver waits at the same line, as all servers do; what a
#: thread sleeps is its own, like a timer.
REPLIES = frozenset({"network", "result"})

_Run = Callable[[Any], None]
_SLEEP = asyncio.sleep.__code__


class _SetTimer(NamedTuple):
    """A timer that was set: by which step, when, for when, and from where; and itself, so that its id stays its own."""

    step: int | None
    tick: int
    due: int
    function: str
    place: str
    #: Whether the program did so itself, and not by a sleep or a timeout.
    by_reader: bool
    handle: Any


class Survey(StateLog):
    """An instrument that keeps, beside a trace, what happened to timers, and which question was about which event."""

    def __init__(self, recording: Recording, *, states: bool) -> None:
        super().__init__(recording, keep=states)
        self._recording = recording
        self._recorder: Recorder
        self._timers: dict[int, _SetTimer] = {}
        # Timers that were cancelled before they were due, each with the step that did it.
        self._unused: list[tuple[_SetTimer, int]] = []
        # The question that was asked about each event, and about what each step came of.
        self._asked: dict[int, tuple[int, Any]] = {}
        self._questions: dict[int, int] = {}
        # The steps that are what something from outside led to, or a timer that the program has set by itself.
        self._answers: set[int] = set()
        # Whether a task, which rests at a place, does so by itself; and the first step of each. Both of the whole run.
        self._periods: dict[tuple[object, ...], bool] = {}
        self._first: dict[object, int] = {}
        # When the questions at which a reply was put off were asked, by number.
        self._asked_at: dict[int, int] = {}
        # For when timers were set when a reply arrived that was put off, by the question at which it was.
        self._ahead: dict[int, list[int]] = {}

    def attach(self, arrivals: Arrivals | None, clock: Clock, recorder: Recorder | None) -> None:
        """Look at the arrivals of a loop that keeps a record."""
        super().attach(arrivals, clock, recorder)
        assert recorder is not None
        self._recorder = recorder
        if arrivals is not None:
            arrivals.on_ask = self.asks

    def asks(self, event: Any) -> None:
        """Take note of the event that the next question is about."""
        question = len(self._recording.choices)
        self._asked.setdefault(id(event), (question, event))
        self._asked_at[question] = self._tick()

    def around(self, run: _Run) -> _Run:
        """Return what runs an entry and takes note of it."""
        run_and_keep = super().around(run)
        asked, steps = self._asked, self._recorder.steps

        def run_and_match(entry: Any) -> None:
            question, _ = asked.pop(id(entry), (None, None))
            if question is not None:
                self._questions[len(steps)] = question
                arrivals = self._arrivals
                if arrivals is not None and is_late(self._recording.choices[question]):
                    self._ahead[question] = arrivals.next_deadlines(MOST_FOLLOWING)
            if self._answers_somebody(entry):
                self._answers.add(len(steps))
            run_and_keep(entry)

        return run_and_match

    def timer_set(self, handle: Any, tick: int, frame: FrameType | None) -> None:
        """Take note of a timer, and of the reader's line that set it."""
        if not handle._scheduled:
            return
        by_reader = frame is not None and not is_machinery(frame.f_code)
        if frame is not None and frame.f_code is _SLEEP:
            # Whoever is cancelled while it sleeps had no timeout; but a task that does nothing else is one for others.
            frame = frame.f_back
            if frame is None or frame.f_code not in BOTTOMS:
                return
        function, place = "sleep", ""
        frame = _reader_of(frame)
        if frame is not None:
            function = frame.f_code.co_name
            place = f"{PurePath(frame.f_code.co_filename).name}:{frame.f_lineno}"
        step, due, _ = handle._scheduled
        self._timers[id(handle)] = _SetTimer(step, tick, due, function, place, by_reader, handle)

    def timer_cancelled(self, handle: Any, tick: int) -> None:
        """Take note of a timer that is cancelled."""
        timer = self._timers.get(id(handle))
        if timer is not None and tick < timer.due and (here := self._recorder.here()) is not None:
            self._unused.append((timer, here))

    def replies(self, lateness: int) -> list[Reply]:
        """Return what may come later than a timeout that waited for it, what has least to spare first.

        What `lateness`, in ticks, reaches anyway is left out.
        """
        steps = self._recorder.steps
        found: dict[tuple[int, Timeout], Reply] = {}
        for timer, cancelled_by in self._unused:
            by = None if timer.step is None else steps[timer.step][1]
            seconds = (timer.due - timer.tick) / TICKS_PER_SECOND
            timeout = Timeout(timer.function, timer.place, seconds, of_main=by == self._main())
            step: int | None = cancelled_by
            while step is not None and (timer.step is None or step > timer.step):
                tick, subject, waker, due, *_ = steps[step]
                question = self._questions.get(step, UNASKED)
                spare = timer.due - tick
                arrived = not isinstance(subject, int) and due is not None
                if arrived and spare > lateness and not self._repeats(step):
                    found.setdefault((question, timeout), Reply(question, spare, timeout))
                step = waker
        return sorted(found.values(), key=lambda reply: (reply.spare, reply.question))

    def follows(self, reply: Reply) -> list[int]:
        """Return how many ticks after a reply that came late each thing arrived that came next, of each kind the first.

        Those are the moments before and after which it makes a difference. So are those for which timers were set when
        it came, which it may have had cancelled.
        """
        steps = self._recorder.steps
        arrived = next((step for step, question in self._questions.items() if question == reply.question), None)
        if arrived is None:
            return []
        tick = steps[arrived][0]
        seen: dict[object, int] = {}
        found = {each - tick: None for each in self._ahead.get(reply.question, ()) if tick < each <= tick + reply.spare}
        for each, subject, waker, due, *_ in steps[arrived + 1 :]:
            if isinstance(subject, int) or due is None or each <= tick or each - tick > reply.spare:
                continue
            kind = subject if waker is None else (subject, steps[waker][1], *steps[waker][4:6])
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] <= OF_EACH_KIND:
                found[each - tick] = None
            if len(found) >= MOST_FOLLOWING:
                break
        return list(found)

    def near_cancellations(self) -> frozenset[int]:
        """Return the questions about events that come in when a task is cancelled, or when that is averted."""
        ticks = [tick for _, tick, kind, *_ in self._recorder.events if kind == "cancels"]
        for timer, cancelled_by in self._unused:
            ticks += (timer.due, self._recorder.steps[cancelled_by][0])
        return frozenset(
            question for question, asked in self._asked_at.items() if any(abs(asked - tick) <= CLOSE for tick in ticks)
        )

    def exceeded(self) -> tuple[str, ...]:
        """Return which timeouts were exceeded by the replies that were put off, in words."""
        unused = {id(timer.handle) for timer, _ in self._unused}
        arrivals = {question: self._recorder.steps[step][0] for step, question in self._questions.items()}
        found: dict[str, None] = {}
        for question, choice in enumerate(self._recording.choices):
            if not is_late(choice) or question not in arrivals:
                continue
            asked, arrived = self._asked_at[question], arrivals[question]
            fired = [
                timer
                for timer in self._timers.values()
                if timer.tick <= asked < timer.due <= arrived and id(timer.handle) not in unused
            ]
            if fired:
                last = max(fired, key=lambda timer: timer.due)
                seconds = (last.due - last.tick) / TICKS_PER_SECOND
                where = f" ({last.place})" if last.place else ""
                found[f"the reply to {last.function}() comes after its timeout of {seconds:g} s{where}"] = None
        return tuple(found)

    def has_events(self) -> bool:
        """Return whether anything came from outside."""
        return any(not isinstance(subject, int) and due is not None for _, subject, _, due, *_ in self._recorder.steps)

    def hung_until_a_timeout(self, late: Collection[int]) -> bool:
        """Return whether a timer ended main, after a pause, when what was late at these questions had arrived."""
        steps = self._recorder.steps
        main = self._main()
        step = max((number for number, each in enumerate(steps) if each[1] == main), default=None)
        while step is not None and (isinstance(steps[step][1], int) or steps[step][3] is None):
            step = steps[step][2]
        if not step:
            return False
        arrived = [number for number, question in self._questions.items() if question in late]
        pause = steps[step][0] - steps[step - 1][0]
        return len(arrived) == len(late) and max(arrived) < step and pause > SHORT * TICKS_PER_SECOND

    def _main(self) -> int | None:
        """Return the number of main's task: the first that was made."""
        return min(self._recorder.names, default=None)

    def _answers_somebody(self, entry: Any) -> bool:
        """Return whether something has arrived that is a reply, however often it is waited for at the same line."""
        if type(entry) is ExternalEvent:
            return entry.kind in REPLIES
        timer = self._timers.get(id(entry))
        return timer is not None and timer.by_reader

    def _repeats(self, step: int) -> bool:
        """Return whether what arrived is a timer that its task sets again and again, and for itself."""
        steps = self._recorder.steps
        tick, _, waker, due, *_ = steps[step]
        if waker is None or due is None or step in self._answers:
            return False
        began, task, _, _, code, offset, _ = steps[waker]
        if not isinstance(task, int):
            return False
        if tick - began <= SHORT * TICKS_PER_SECOND and self._is_asked_for(waker):
            return False
        place = (task, code, offset)
        if place not in self._periods:
            rests = [number for number, each in enumerate(steps) if (each[1], each[4], each[5]) == place]
            self._periods[place] = len(rests) > 1 and not all(map(self._is_asked_for, rests))
        return self._periods[place]

    def _is_asked_for(self, step: int) -> bool:
        """Return whether a step of a task was set off by another one, and by none of those that it has made itself."""
        steps = self._recorder.steps
        task = steps[step][1]
        asker = self._asker(step)
        if asker is None:
            return False
        if not self._first:
            for number, (_, subject, *_) in enumerate(steps):
                self._first.setdefault(subject, number)
        maker: int | None = asker
        while maker is not None and maker != task:
            maker = self._asker(self._first[maker])
        return maker is None

    def _asker(self, step: int) -> int | None:
        """Return the number of the task whose step led to this one, through whatever is no step of a task; or None."""
        steps = self._recorder.steps
        cause = steps[step][2]
        while cause is not None:
            subject = steps[cause][1]
            if isinstance(subject, int):
                return subject
            cause = steps[cause][2]
        return None


def _reader_of(frame: FrameType | None) -> FrameType | None:
    """Return the reader's innermost frame; where there is none, a library's."""
    of_library = None
    while frame is not None and frame.f_code not in BOTTOMS:
        if not is_machinery(frame.f_code):
            if library_of(frame.f_code) is None:
                return frame
            of_library = of_library or frame
        frame = frame.f_back
    return of_library


class SurveyingLoop(SweptLoop):
    """A loop that tells a survey of its timers."""

    def __init__(self, survey: Survey, **options: Any) -> None:
        super().__init__(**options)
        self.survey = survey

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:  # type: ignore[override]  # whatever the callback takes
        """Set a timer, and tell of it."""
        handle = super().call_later(delay, callback, *args, context=context)
        self.survey.timer_set(handle, self._clock.tick, sys._getframe(1))
        return handle

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:  # type: ignore[override]  # as above
        """Set a timer, and tell of it."""
        handle = super().call_at(when, callback, *args, context=context)
        self.survey.timer_set(handle, self._clock.tick, sys._getframe(1))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        super()._timer_handle_cancelled(handle)
        self.survey.timer_cancelled(handle, self._clock.tick)


# People read this name in the repr of the loop, as that of its base.
SurveyingLoop.__name__ = SurveyingLoop.__qualname__ = "VirtualLoop"
