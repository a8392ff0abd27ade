"""What a run did, step by step: what a trace is made from.

Owns the record of one run and what it costs to keep it. Knows neither asyncio nor words: it keeps numbers, names and
code objects, which are cheap and keep nothing of the program alive; `trace` makes sentences of them when somebody
reads. It looks at a task only right after a step, where the task has come to rest.

Who woke whom: the loop tags what is queued, and each timer that is set, with the step during which that happened
(`here()`), and hands the tag back with the entry.

A task that begins eagerly does so in the midst of another step. That part is a step of its own, recorded right after
the one it was made in. It is seen by what the task does to the loop meanwhile, which is nearly always something.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType, TracebackType
from typing import Any, NamedTuple

from virtualloop._core.clock import Clock
from virtualloop._core.coroutines import WRAPPERS, awaited_by, first_handler, frame_of, wrapped
from virtualloop._core.entries import FIRST
from virtualloop._core.entries import run as run_entry
from virtualloop._core.ready import ReorderingQueue
from virtualloop._core.shown import described, shown
from virtualloop._core.timers import Timers
from virtualloop._errors import PropertyError

__all__ = ["BOTTOMS", "TELLS", "UNNUMBERED", "Event", "Recorder", "Step"]

#: The attribute of those tasks that say themselves when they are cancelled.
TELLS = "_virtualloop_tells_who_cancels"

# How a code object counts in a chain of awaits: the reader's own; that of a library, public or not, which may come back
# to the reader's own; an operation that a reader knows by name, below which there is nothing of the reader's; one that
# awaits what it is given; and what has no name that a reader knows.
_OWN, _LIBRARY, _LIBRARY_INNER, _OPERATION, _PASSES_ON, _INNER, _BOTTOM = range(7)
#: Operations of asyncio that await a coroutine they are given, without making a task of it.
PASSING_ON = frozenset({"staggered_race", "wait_for"})

#: A task that nobody has given a number yet is not given one by being recorded: the run would be another one. It is
#: known by one beyond those of all tasks and futures.
UNNUMBERED = 1 << 50

#: In the dict of an exception: the task that handles it, and the step in which it was raised there.
_RAISED = "_virtualloop_raised"

_NOBODY = (None, None)


class Step(NamedTuple):
    """One callback that ran, or one task that was resumed."""

    tick: int
    #: A task's number; for a plain callback its code, or its name where it has none.
    subject: int | CodeType | str
    #: The step that queued it or set its timer; None for what came from outside of any step.
    waker: int | None
    #: A task: whether CancelledError was thrown into it. A timer: the tick it was set for. Else None.
    detail: Any
    #: A task: the innermost of the reader's frames when it came to rest, as code and the offset in it; where there is
    #: none, the innermost of a library's. One that has ended in its first step is where it begins: without an offset.
    code: CodeType | None
    offset: int | None
    #: A task at rest: the operation, of asyncio's or a library's, that this frame called, else the number of the task
    #: or the type of the future that it awaits, or None. What has ended: how, in words.
    awaits: CodeType | int | type | str | None


class Event(NamedTuple):
    """Something between two steps, or inside one: a note, a choice, a deviation from stock asyncio's order."""

    #: How many steps had been recorded: the number of the step it belongs to, or comes before.
    step: int
    tick: int
    kind: str
    #: Whether stock asyncio on an idle machine would have gone another way.
    deviates: bool
    #: What `trace` makes words of, by kind.
    data: tuple[Any, ...]


class Recorder:
    """The record of one loop."""

    def __init__(self, is_machinery: Callable[[CodeType], bool], library_of: Callable[[CodeType], str | None]) -> None:
        self._is_machinery = is_machinery
        self._library_of = library_of
        #: Steps as plain tuples in the form of `Step`, because making a NamedTuple takes as long as a short step.
        self.steps: list[tuple[Any, ...]] = []
        #: In the form of `Event`, likewise.
        self.events: list[tuple[Any, ...]] = []
        #: The names of tasks by number, in the order of their first steps.
        self.names: dict[int, str] = {}
        #: The names of their coroutines, likewise.
        self.coroutines: dict[int, str] = {}
        #: The numbers of tasks that had begun, inside a step of another one, before their first steps of their own.
        self.eager: set[int] = set()
        #: What tasks were known by before they had numbers, with these numbers.
        self.numbered: dict[int, int] = {}
        #: By the step in which a task ended by an exception: the one in which that was raised, where clean-up lies
        #: between them; in words, and at which of the reader's lines.
        self.raised: dict[int, tuple[int, str, CodeType | None, int]] = {}
        #: The steps of tasks that were cancelled after something else had woken them.
        self.overruled: set[int] = set()
        #: How many steps each task made on which host, by number, where the network has any: None is for "localhost".
        #: And what tells the host of a context.
        self.visits: dict[int, dict[str | None, int]] = {}
        self.host_of: Callable[[Any], str | None] | None = None
        #: What the loop was made with, in words.
        self.title: str | None = None
        #: How many steps and events there were when the program had failed, and when; what comes after cleans up.
        self.failed_at: tuple[int, int, int] | None = None
        #: The number of the step that runs, or None between two: what is queued or set now is tagged with it.
        self.now: int | None = None
        #: Tags of handles in the queue, by id: each is taken out of the queue in the end, cancelled or not.
        self.tags: dict[int, int | None] = {}
        # Events that were held, each with the number that its step has if nothing comes in before it, and entries that
        # changed places with others: by id, with what keeps the ids theirs.
        self._held: dict[int, tuple[int, Any, tuple[Any, ...]]] = {}
        # What was still held when the loop was closed.
        self._withheld: list[tuple[Any, ...]] = []
        self._moved: dict[int, tuple[Any, Any]] = {}
        # Tasks that do not say who cancels them, by number, and how often that was done, as seen after each step.
        self._silent: dict[int, tuple[Callable[[], Any], int]] = {}
        # Deadlines that the clock has passed by in this turn, and where it came from.
        self._late_from = 0
        self._late: list[Any] = []
        # What each code object counts as, by id, and what keeps those ids theirs. Of the reader's own, where the code
        # begins that handles exceptions.
        self._counts_as: dict[int, int] = {id(code): _BOTTOM for code in BOTTOMS}
        self._codes: list[CodeType] = []
        self._handlers: dict[int, int] = {}
        # Of these, the reader's own, with the offset from which on it handles exceptions; operations; and all that is
        # nobody's whom a reader knows.
        self._own: dict[int, int] = {}
        self._operations: set[int] = set()
        self._skipped: set[int] = set()
        #: Whether tasks may have begun in the midst of this step; else it is `now` whatever happens in it.
        self.begins = False
        # The task whose step it is, if so, and those that have begun, each with its coroutine (one that has ended does
        # not say), and the step that made it.
        self._task: Any = None
        self._begun: list[tuple[Any, Any, int]] = []
        self._unnumbered: dict[Any, int] = {}
        # Parts of the loop; its queue is a deque, or a ReorderingQueue.
        self._queue: Any
        self._current_task: Callable[[], Any]
        self._failed: Callable[[BaseException, Any], None]
        self._wrapper: object = None
        self._clock: Clock
        self._timers: Timers

    @property
    def size(self) -> tuple[object, ...]:
        """What is another one as soon as there is more to read."""
        return (self.title, len(self.steps), len(self.events), len(self.withheld()))

    def begin(self, title: str) -> None:
        """Begin the record of a loop. Raises ValueError where there is one already."""
        if self.title is not None:
            raise ValueError("trace holds the record of another loop already: give each loop a Trace of its own")
        self.title = title

    def attach(
        self,
        *,
        clock: Clock,
        timers: Timers,
        queue: Any,
        current_task: Callable[[], Any],
        failed: Callable[[BaseException, Any], None],
        wrapper: object,
    ) -> None:
        """Take the parts of the loop.

        Its queue, what says which task runs, what it tells of errors, and the callback that wraps others.
        """
        self._clock = clock
        self._timers = timers
        self._queue = queue
        self._current_task = current_task
        self._failed = failed
        self._wrapper = wrapper

    def end(self) -> None:
        """Let go of the loop, which is closed."""
        del self._timers, self._queue, self._failed, self._wrapper, self._current_task
        self._silent.clear()
        self.tags.clear()
        self._withheld = self.withheld()
        self._held.clear()
        self._moved.clear()
        self.host_of = None

    # --- what the loop tells ------------------------------------------------------------------------------------------

    def step(self, entry: Any, run: Callable[[Any], object] | None = None) -> None:
        """Make a step, of a task mostly, and record it. `run` does it where debug mode has its own way.

        An entry is what it is in the loop's queue, with its tag as a fourth part.
        """
        if type(entry) is not tuple:
            self.call(entry, run)
            return
        steps = self.steps
        self.now = len(steps)
        if self._moved:
            self._has_moved(entry)
        context, callback, argument, waker = entry
        task = callback.__self__
        try:
            number = task._virtualloop_number
        except AttributeError:
            number = self._known_as(task)
        first = task.get_coro() if number not in self.names and self._meet(task, number) else None
        if cancelled := task._must_cancel:
            self.overruled.add(self.now)
        cancelled = cancelled or (argument is not None and argument is not FIRST and argument.cancelled())
        try:
            if run is not None:
                run(entry)
            elif argument is None or argument is FIRST:
                context.run(callback)
            else:
                context.run(callback, argument)
        except (SystemExit, KeyboardInterrupt, PropertyError):
            raise
        except BaseException as exc:
            self._failed(exc, entry)
        finally:
            if self.host_of is not None:
                visits = self.visits.setdefault(number, {})
                host = self.host_of(context)
                visits[host] = visits.get(host, 0) + 1
            own: Any = task.get_coro()
            if (
                type(own) is CoroutineType
                and type(inner := own.cr_await) is CoroutineType
                and id(awaits := inner.cr_code) in self._operations
                and (offset := own.cr_frame.f_lasti) < self._own.get(id(code := own.cr_code), 0)  # type: ignore[union-attr]  # as it waits
            ):
                # What _at_rest() comes to for most tasks.
                steps.append((self._clock.tick, number, waker, cancelled, code, offset, awaits))
            elif task.done():
                steps.append(self._ended(task, number, waker, cancelled, first=first))
            else:
                steps.append(self._at_rest(task, number, waker, cancelled))
            if self._silent:
                self._look_at_the_silent()
            if self.begins:
                self._record_begun()
            self.now = None

    def call(self, handle: Any, run: Callable[[Any], object] | None) -> None:
        """Run a plain callback, and record it. `run` as above."""
        waker = self.tags.pop(id(handle), None)
        callback = handle._callback
        if callback is None:  # cancelled
            return
        steps = self.steps
        self.now = len(steps)
        if self._moved:
            self._has_moved(handle)
        due = None
        if waker is None and (tag := getattr(handle, "_scheduled", None)):
            waker, due, _ = tag
            if self._held and (held := self._held.pop(id(handle), None)) is not None:
                in_time, *_ = held
                if self.now > in_time or self._clock.tick > due:
                    self._add("hold", (waker, due, self._subject(handle)), True)
        try:
            subject = callback.__code__
        except AttributeError:
            subject = _name_of(callback)
        else:
            if callback is self._wrapper:
                subject = self._subject(handle)
        failure = None
        try:
            if run is not None:
                run(handle)
            else:
                args = handle._args
                if not args:
                    handle._context.run(callback)
                elif len(args) == 1:
                    handle._context.run(callback, args[0])
                elif len(args) == 2:
                    handle._context.run(callback, args[0], args[1])
                else:
                    handle._context.run(callback, *args)
        except (SystemExit, KeyboardInterrupt, PropertyError):
            raise
        except BaseException as exc:
            failure = f"raises {described(exc)}"
            self._failed(exc, handle)
        finally:
            steps.append((self._clock.tick, subject, waker, due, None, 0, failure))
            if self._silent:
                self._look_at_the_silent()
            if self.begins:
                self._record_begun()
            self.now = None

    def around(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return what runs an entry, by `run`, and records it."""
        return self.step if run is run_entry else partial(self.step, run=run)

    def begin_turn(self, *, idle: bool) -> None:
        """What arrives in this turn is queued; `idle` says whether the loop had nothing else to do."""
        if self._late:
            timers, self._late = tuple(self._late), []
            self._add("late", (idle, self._late_from, timers), True)

    def hold(self, timer: Any) -> None:
        """Take note that an event that could come in now is held."""
        if id(timer) not in self._held:
            waker, *_ = timer._scheduled
            event = (len(self.steps), self._clock.tick, "hold", True, (waker, None, self._subject(timer)))
            self._held[id(timer)] = len(self.steps) + len(self._queue), timer, event

    def has_failed(self) -> None:
        """The program has failed."""
        self.failed_at = (len(self.steps), len(self.events), self._clock.tick)

    def raises(self, exc: BaseException) -> None:
        """The step that runs has raised what the program fails with, and its task goes on."""
        if (step := self.here()) is not None:
            self.raised[step] = (step, f"raises {described(exc)}", *self._raised_at(exc.__traceback__))

    def withheld(self) -> list[tuple[Any, ...]]:
        """Return events that were held and have not come in: they are none before the run is over."""
        return self._withheld or [event for _, _, event in self._held.values()]

    def chose(self, options: Any, position: int, frame: FrameType) -> None:
        """Take note of a choice of the test's own, and where it was made."""
        self._add("user", (shown(options[position]), len(options), frame.f_code, frame.f_lasti), position > 0)

    def cancel(self, task: Any, *, waits: bool) -> None:
        """Cancel a task because the schedule said so: where it has begun to wait, or before it goes on."""
        self._add("cancel", (self._number_of(task), waits), True)
        # It is no step of the program's that does it.
        now, self.now = self.now, None
        task.cancel()
        self.now = now

    def cancels(self, task: Any) -> None:
        """Take note that the step that runs cancels a task, and of the reader's line that does."""
        if self.here() is not None and not task.done():
            self._add("cancels", (self._number_of(task), *self._line_of_reader(sys._getframe(1))))

    def wakes(self, task: Any, frame: FrameType) -> None:
        """Take note that the step that runs completes what a task waits for, where a line of the reader's does.

        `frame` is that of whoever has called; those below are not looked at, which would make objects of them.
        """
        if self.now is None:
            return
        code, offset = self._line_of_reader(frame)
        if code is not None:
            try:
                number = task._virtualloop_number
            except AttributeError:
                number = self._known_as(task)
            if number not in self.names:
                self._meet(task, number)
            step = self.here() if self.begins else self.now
            self.events.append((step, self._clock.tick, "wakes", False, (number, code, offset)))

    def _line_of_reader(self, frame: FrameType | None) -> tuple[CodeType | None, int]:
        """Return the innermost line of the reader's that is being run in this step: code and offset."""
        skipped = self._skipped
        while frame is not None:
            code = frame.f_code
            if id(code) not in skipped:
                count = self._counts_as.get(id(code))
                if count is not None or (count := self._count(code)) <= _LIBRARY_INNER:
                    # Below the step there is whoever runs the loop.
                    return (None, 0) if count == _BOTTOM else (code, frame.f_lasti)
            frame = frame.f_back
        return None, 0

    def incident(self, text: str) -> None:
        """Take note of what the program does to the world it runs in, such as to crash a host."""
        self._add("incident", (text,))

    def note(self, text: str) -> None:
        """Take note of a line of the test's own."""
        self._add("note", (text,))

    def fault(self, kind: str, text: str) -> None:
        """Take note that the network did not do what a perfect one does."""
        self._add(kind, (text,), True)

    def send(self, target: str, size: int) -> None:
        """Take note of bytes that are sent."""
        self._add("send", (target, size))

    def watch(self, choose: Callable[[int, str], int]) -> Callable[[int, str], int]:
        """Return a choose() that asks this one, and takes note of where an answer leads."""

        def watched(n: int, kind: str) -> int:
            answer = choose(n, kind)
            if answer:
                if kind == "late":
                    self.passes()
                elif kind == "task":
                    self._changes_places(answer)
            return answer

        return watched

    # --- deviations ---------------------------------------------------------------------------------------------------

    def passes(self) -> None:
        """The clock is about to pass the next deadline."""
        if not self._late:
            self._late_from = self._clock.tick
        timers = self._timers
        entry = timers.by_tick[timers.ticks[0]]
        for timer in entry if type(entry) is list else [entry]:
            if timer._callback is not None:
                self._late.append((*timer._scheduled[:2], self._subject(timer)))

    def _changes_places(self, distance: int) -> None:
        """Who joins the queue takes the place of one ahead; whether that matters is seen when it runs."""
        queue: ReorderingQueue = self._queue
        joins, gives_way = queue.items[queue.seen], queue.items[queue.seen - distance]
        self._moved[id(joins)] = (joins, gives_way)

    def _has_moved(self, entry: Any) -> None:
        _, other = self._moved.pop(id(entry), _NOBODY)
        if other is None:
            return
        for item in self._queue:
            if item is other:
                self._add("task", (self._subject(entry), self._subject(other)), True)
                return

    def _add(self, kind: str, data: tuple[Any, ...], deviates: bool = False) -> None:
        here = self.here() if self.begins else self.now
        step = len(self.steps) if here is None else here
        self.events.append((step, self._clock.tick, kind, deviates, data))

    # --- what begins in the midst of a step ---------------------------------------------------------------------------

    def may_begin(self) -> None:
        """Take note that a task may be about to begin in the midst of this step."""
        if not self.begins:
            self.begins = True
            self._task = self._current_task()
        self.here()

    def here(self) -> int | None:
        """Return the number of the step that runs, or None between two."""
        now = self.now
        if now is None or not self.begins:
            return now
        task = self._current_task()
        return now if task is None or task is self._task else self._step_of(task, now)

    def _step_of(self, task: Any, now: int) -> int:
        """Return the number of the step with which a task begins in the midst of this one."""
        running = now
        for position, (begun, coro, _) in enumerate(self._begun, now + 1):
            if begun is task:
                return position
            if getattr(coro, "cr_running", False):
                running = position
        coro = task.get_coro()
        if self._known_as(task) in self.names or not getattr(coro, "cr_running", False):
            return now
        self._begun.append((task, coro, running))
        return now + len(self._begun)

    def _record_begun(self) -> None:
        """Record the first steps of tasks that have begun in the midst of the last one."""
        begun, self._begun = self._begun, []
        self.begins, self._task = False, None
        for task, coro, waker in begun:
            number = self._known_as(task)
            self._name(task, coro, number)
            self.eager.discard(number)  # Who waits for it has met it before.
            if task.done():
                self.steps.append(self._ended(task, number, waker, False, first=coro))
            else:
                self.steps.append(self._at_rest(task, number, waker, False))

    def _known_as(self, task: Any) -> int:
        """Return the number of a task, or what it is known by until it has one."""
        number: int | None = getattr(task, "_virtualloop_number", None)
        return self._unnumbered.setdefault(task, UNNUMBERED + len(self._unnumbered)) if number is None else number

    # --- what a step did ----------------------------------------------------------------------------------------------

    def _at_rest(self, task: Any, number: int, waker: int | None, cancelled: bool) -> tuple[Any, ...]:
        """Return how a task came to rest: at which code and offset in it, and what it awaits.

        That is down the chain of awaits to the innermost frame of the reader's own, and the first operation below it
        that has a name.
        """
        own = task.get_coro()
        code: Any
        awaits: Any = None
        counts_as, handlers = self._counts_as, self._handlers
        # For a coroutine, what awaited_by() and its like do is put in line.
        if type(own) is CoroutineType:
            code = own.cr_code
            inner = own.cr_await
        else:
            code = getattr(own, "cr_code", None) or getattr(own, "gi_code", None)
            inner = awaited_by(own)
        # A library's frames are told of only where none of the reader's is around them.
        count = counts_as.get(id(code))
        is_inside = code is not None and (self._count(code) if count is None else count) == _OWN
        handling = [own] if handlers and id(code) in handlers else None
        while inner is not None:
            kind = type(inner)
            if kind is CoroutineType:
                code = inner.cr_code
                below = inner.cr_await
            elif kind is GeneratorType:
                code = inner.gi_code
                below = inner.gi_yieldfrom
            elif kind is AsyncGeneratorType:
                code = inner.ag_code
                below = inner.ag_await
            elif kind.__name__ in WRAPPERS:
                inner = wrapped(inner)
                continue
            else:
                break
            count = counts_as.get(id(code))
            if count is None:
                count = self._count(code)
            if count == _OPERATION:
                if awaits is None:
                    awaits = code
                break
            if count == _OWN or (count <= _LIBRARY_INNER and not is_inside):
                own = inner
                awaits = None
                is_inside = count == _OWN
                if handlers and id(code) in handlers:
                    handling = [*(handling or ()), inner]
            elif (count in (_LIBRARY, _PASSES_ON)) and awaits is None:
                awaits = code
            inner = below
        if handling is not None:
            self._look_for_handled(handling, number)
        if awaits is None and (waiter := task._fut_waiter) is not None:
            awaits = self._known_as(waiter) if hasattr(waiter, "get_coro") else type(waiter)
            if not isinstance(awaits, type) and awaits >= UNNUMBERED:
                self._number_of(waiter)  # Nothing else may be seen of it.
        frame = own.cr_frame if type(own) is CoroutineType else frame_of(own)
        if frame is None:
            return (self._clock.tick, number, waker, cancelled, None, 0, awaits)
        return (self._clock.tick, number, waker, cancelled, frame.f_code, frame.f_lasti, awaits)

    def _look_for_handled(self, coroutines: list[Any], number: int) -> None:
        """Mark exceptions that a task handles where it rests: they were raised in this step, or earlier."""
        for coro in coroutines:
            frame = frame_of(coro)
            if frame is None or frame.f_lasti < self._handlers[id(frame.f_code)]:
                continue
            for thing in gc.get_referents(coro):
                if isinstance(thing, BaseException) and thing.__traceback__ is not None:
                    mark = vars(thing).get(_RAISED)
                    if mark is None or mark[0] != number:
                        vars(thing)[_RAISED] = (number, len(self.steps))

    def _meet(self, task: Any, number: int) -> bool:
        """Take note of a task that makes its first step in the queue; return whether it is the first of all."""
        coro = task.get_coro()
        self._name(task, coro, number)
        known = self._unnumbered.get(task, number)
        if known != number and known in self.names:
            self.numbered[known] = number
            self._silent.pop(known, None)
            return False
        if getattr(coro, "cr_suspended", False):
            self.eager.add(number)
        return True

    def _name(self, task: Any, coro: Any, number: int) -> None:
        self.names[number] = task.get_name()
        name = getattr(coro, "__qualname__", None)
        if isinstance(name, str):
            self.coroutines[number] = name
        if not hasattr(task, TELLS):
            self._silent[number] = weakref.ref(task), task.cancelling()

    def _look_at_the_silent(self) -> None:
        """Take note of the tasks that the step which runs has cancelled, as far as they have not said so."""
        assert self.now is not None
        for number, (reference, before) in list(self._silent.items()):
            task = reference()
            if task is None or task.done():
                del self._silent[number]
                continue
            count = task.cancelling()
            if count != before:
                self._silent[number] = reference, count
            if count > before:
                self.events.append(Event(self.now, self._clock.tick, "cancels", False, (number, None, 0)))

    def _ended(self, task: Any, number: int, waker: int | None, cancelled: bool, *, first: Any) -> tuple[Any, ...]:
        """Return how a task ended; `first` is its coroutine if that was its first step, else None."""
        self.names[number] = task.get_name()  # It may have got another one since its first step.
        code: CodeType | None = None
        offset: int | None = 0
        how = "returned"
        if first is not None:  # It has been nowhere else: where it begins says what it is.
            code, offset = getattr(first, "cr_code", None), None
        if task.cancelled():
            how = "cancelled"
        elif (exc := task._exception) is not None:
            how = f"raises {described(exc)}"
            raised, at = self._raised_at(exc.__traceback__)
            if raised is not None:
                code, offset = raised, at
            self._look_for_raised(exc, number)
        return (self._clock.tick, number, waker, cancelled, code, offset, how)

    def _look_for_raised(self, exc: BaseException, number: int) -> None:
        """Take note of the step in which a task's exception was raised, if that was an earlier one."""
        # What the body of a group of tasks has raised is put into another exception.
        while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
            (exc,) = exc.exceptions
        by, step = vars(exc).pop(_RAISED, (None, 0))
        if by == number:
            self.raised[len(self.steps)] = (step, f"raises {described(exc)}", *self._raised_at(exc.__traceback__))

    def _raised_at(self, traceback: TracebackType | None) -> tuple[CodeType | None, int]:
        """Return the innermost of the reader's frames in a traceback; where there is none, of a library's."""
        code, offset, is_own = None, 0, False
        while traceback is not None:
            its = traceback.tb_frame.f_code
            if not self._is_machinery(its) and ((own := self._library_of(its) is None) or not is_own):
                code, offset, is_own = its, traceback.tb_lasti, own
            traceback = traceback.tb_next
        return code, offset

    def _number_of(self, task: Any) -> int:
        number = self._known_as(task)
        if number not in self.names:
            self._meet(task, number)
        return number

    def _subject(self, entry: Any) -> int | CodeType | str:
        if type(entry) is tuple:
            return self._number_of(entry[1].__self__)
        callback = entry._callback
        if callback is self._wrapper:
            callback = entry._args[0]._callback
        return _name_of(callback)

    def _count(self, code: CodeType) -> int:
        """Return what a code object counts as, seen for the first time."""
        self._codes.append(code)
        is_private = any(part.startswith("_") and not part.startswith("__") for part in code.co_qualname.split("."))
        if not self._is_machinery(code):
            is_own = self._library_of(code) is None
            count = _OWN if is_own else _LIBRARY_INNER if is_private else _LIBRARY
        elif is_private:
            count = _INNER
        else:
            count = _PASSES_ON if code.co_name in PASSING_ON else _OPERATION
        if count == _OPERATION:
            self._operations.add(id(code))
        elif count == _OWN:
            if (begins := first_handler(code)) is not None:
                self._handlers[id(code)] = begins
            self._own[id(code)] = sys.maxsize if begins is None else begins
        if count > _LIBRARY_INNER:
            self._skipped.add(id(code))
        self._counts_as[id(code)] = count
        return count


#: The frames that a step begins with.
BOTTOMS = (Recorder.step.__code__, Recorder.call.__code__)


def _name_of(callback: Any) -> CodeType | str:
    """Return what is known of a callback that is no plain function or method."""
    while hasattr(callback, "func"):  # functools.partial
        callback = callback.func
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    return getattr(callback, "__code__", None) or str(name)
