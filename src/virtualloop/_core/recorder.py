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

import sys
import weakref
from collections.abc import Callable
from functools import partial
from itertools import repeat
from types import CodeType, CoroutineType, FrameType, FunctionType
from typing import Any

from virtualloop._core.clock import Clock
from virtualloop._core.coroutines import frame_of, handled_by
from virtualloop._core.entries import FIRST
from virtualloop._core.entries import run as run_entry
from virtualloop._core.places import Places
from virtualloop._core.ready import ReorderingQueue
from virtualloop._core.record import UNNUMBERED, Event
from virtualloop._core.scheduler import FEW
from virtualloop._core.shown import described, name_of, shown
from virtualloop._core.timers import Timers
from virtualloop._errors import PropertyError

__all__ = ["BOTTOMS", "TELLS", "Recorder"]

#: The attribute of those tasks that say themselves when they are cancelled.
TELLS = "_virtualloop_tells_who_cancels"

#: In the dict of an exception: the task that handles it, and the step in which it was raised there.
_RAISED = "_virtualloop_raised"

_NOBODY = (None, None)


class Recorder:
    """The record of one loop."""

    def __init__(self, is_machinery: Callable[[CodeType], bool], library_of: Callable[[CodeType], str | None]) -> None:
        #: What is known of the code that the run has come through.
        self.places = Places(is_machinery, library_of, BOTTOMS)
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
        self._host_of: Callable[[Any], str | None] | None = None
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
        # Whether more is to be looked at after a step: tasks that have begun or do not say who cancels them, or hosts.
        self._alert = False
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
        self._task_type: Any
        self._iterator_type: Any
        self._handle_type: Any
        self._timer_type: Any
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
        task_type: type,
        handle_type: type,
        timer_type: type,
        iterator_type: type,
    ) -> None:
        """Take the parts of the loop: its queue, what says which task runs, and what it tells of errors.

        The callback that wraps others, and the classes of its own tasks, which keep where they rest, of its handles
        that keep who has queued them, of its timers, and of what a coroutine has on its stack that awaits a future.
        """
        self._clock = clock
        self._timers = timers
        self._queue = queue
        self._current_task = current_task
        self._failed = failed
        self._wrapper = wrapper
        self._task_type, self._iterator_type = task_type, iterator_type
        self._handle_type, self._timer_type = handle_type, timer_type

    def end(self) -> None:
        """Let go of the loop, which is closed."""
        del self._timers, self._queue, self._failed, self._wrapper, self._current_task
        self._silent.clear()
        self.tags.clear()
        self._withheld = self.withheld()
        self._held.clear()
        self._moved.clear()
        self._host_of = None

    def tell_hosts(self, host_of: Callable[[Any], str | None]) -> None:
        """Note which task makes its steps on which host: `host_of` tells that of a context."""
        self._host_of = host_of
        self._alert = True

    # --- what the loop tells ------------------------------------------------------------------------------------------

    def turn(self, take: Callable[[], Any], ready: Any) -> Callable[[bool], None]:
        """Return what runs a turn, and records it, where nothing else looks at steps.

        `take` takes out the entry that runs next, and `ready` is as long as the turn; what is returned is told whether
        the loop had nothing else to do. This is the hot path: `step` and `call` in line, for most of what there is.
        """
        steps, moved, held = self.steps, self._moved, self._held
        handle_type, timer_type, wrapper = self._handle_type, self._timer_type, self._wrapper
        clock, failed, operations = self._clock, self._failed, self.places.operations
        append = steps.append

        def turn(idle: bool) -> None:
            subject: int | CodeType | str
            if self._late:
                self.begin_turn(idle=idle)
            n = len(ready)
            for _ in FEW[n] if n < 17 else repeat(None, n):
                entry = take()
                kind: Any = type(entry)
                # Nothing that has run may live on in a variable while the next one does: each is written anew before.
                if kind is tuple:
                    context, callback, argument, waker, task = entry
                    try:
                        rest = task._virtualloop_rest
                    except AttributeError:  # another class than the loop's own
                        rest = None
                    if rest is None:
                        own = None
                        self.step(entry)
                        continue
                    number, own, code, limit, awaits = rest
                    self.now = len(steps)
                    if moved:
                        self._has_moved(entry)
                    if cancelled := task._must_cancel:
                        self.overruled.add(self.now)
                    if argument is not None and not cancelled:
                        cancelled = argument.cancelled()
                    try:
                        if argument is None:
                            context.run(callback)
                        else:
                            context.run(callback, argument)
                    except (SystemExit, KeyboardInterrupt, PropertyError):
                        raise
                    except BaseException as exc:
                        failed(exc, entry)
                    finally:
                        if (
                            type(inner := own.cr_await) is CoroutineType
                            and ((below := inner.cr_code) is awaits or id(below) in operations)
                            and (offset := own.cr_frame.f_lasti) < limit
                        ):
                            # What _record() comes to for most tasks.
                            append((clock.tick, number, waker, cancelled, code, offset, below))
                        else:
                            self._record(task, number, waker, cancelled)
                        inner = None
                        if self._alert:
                            self._attend(number, context)
                        self.now = None
                    continue
                context = callback = argument = task = rest = own = None
                callback = entry._callback
                if callback is None:  # cancelled
                    self.tags.pop(id(entry), None)
                    continue
                if kind is handle_type:
                    waker, due = entry._waker, None
                elif kind is timer_type and not held:
                    waker, due, _ = entry._scheduled
                else:
                    self.call(entry)
                    continue
                self.now = len(steps)
                if moved:
                    self._has_moved(entry)
                if type(callback) is FunctionType and callback is not wrapper:
                    subject = callback.__code__
                else:
                    subject = self._known_callback(entry)
                failure = None
                try:
                    argument = entry._args
                    if not argument:
                        entry._context.run(callback)
                    elif len(argument) == 1:
                        entry._context.run(callback, argument[0])
                    elif len(argument) == 2:
                        entry._context.run(callback, argument[0], argument[1])
                    else:
                        entry._context.run(callback, *argument)
                except (SystemExit, KeyboardInterrupt, PropertyError):
                    raise
                except BaseException as exc:
                    failure = f"raises {described(exc)}"
                    failed(exc, entry)
                finally:
                    append((clock.tick, subject, waker, due, None, 0, failure))
                    if self._alert:
                        self._attend(None, None)
                    self.now = None
            # An exception that somebody keeps may keep this frame.
            entry = context = callback = argument = task = rest = own = None

        return turn

    def step(self, entry: Any, run: Callable[[Any], object] | None = None) -> None:
        """Make a step, of a task mostly, and record it. `run` does it where debug mode has its own way.

        An entry is what it is in the loop's queue, with its tag and its task as two parts more.
        """
        if type(entry) is not tuple:
            self.call(entry, run)
            return
        self.now = len(self.steps)
        if self._moved:
            self._has_moved(entry)
        context, callback, argument, waker, task = entry
        try:
            number = task._virtualloop_number
        except AttributeError:
            number = self._known_as(task)
        first = self._meet(task, number) if number not in self.names else None
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
            self._record(task, number, waker, cancelled, first)
            if self._alert:
                self._attend(number, context)
            self.now = None

    def call(self, handle: Any, run: Callable[[Any], object] | None = None) -> None:
        """Run a plain callback, and record it. `run` as above."""
        waker = handle._waker if type(handle) is self._handle_type else self.tags.pop(id(handle), None)
        if handle._callback is None:  # cancelled
            return
        self.now = len(self.steps)
        if self._moved:
            self._has_moved(handle)
        due = None
        if waker is None and (tag := getattr(handle, "_scheduled", None)):
            waker, due, _ = tag
            if self._held and (held := self._held.pop(id(handle), None)) is not None:
                in_time, *_ = held
                if self.now > in_time or self._clock.tick > due:
                    self._add("hold", (waker, due, self._subject(handle)), True)
        subject, failure = self._known_callback(handle), None
        try:
            (run or run_entry)(handle)
        except (SystemExit, KeyboardInterrupt, PropertyError):
            raise
        except BaseException as exc:
            failure = f"raises {described(exc)}"
            self._failed(exc, handle)
        finally:
            self.steps.append((self._clock.tick, subject, waker, due, None, 0, failure))
            if self._alert:
                self._attend(None, None)
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
            self.raised[step] = (step, f"raises {described(exc)}", *self.places.raised_at(exc.__traceback__))

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
            self._add("cancels", (self._number_of(task), *self.places.line_above(sys._getframe(1))))

    def wakes(self, task: Any, frame: FrameType) -> None:
        """Take note that the step that runs completes what a task waits for, where a line of the reader's does.

        `frame` is that of whoever has called; those below are not looked at, which would make objects of them.
        """
        if self.now is None:
            return
        code, offset = self.places.line_above(frame)
        if code is not None:
            try:
                number = task._virtualloop_number
            except AttributeError:
                number = self._known_as(task)
            if number not in self.names:
                self._meet(task, number)
            step = self.here() if self.begins else self.now
            self.events.append((step, self._clock.tick, "wakes", False, (number, code, offset)))

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
            self.begins = self._alert = True
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
                step, _ = self._at_rest(task, number, waker, False)
                self.steps.append(step)

    def _known_as(self, task: Any) -> int:
        """Return the number of a task, or what it is known by until it has one."""
        number: int | None = getattr(task, "_virtualloop_number", None)
        return self._unnumbered.setdefault(task, UNNUMBERED + len(self._unnumbered)) if number is None else number

    # --- what a step did ----------------------------------------------------------------------------------------------

    def _record(self, task: Any, number: int, waker: int | None, cancelled: bool, first: Any = None) -> None:
        """Record the step that a task has made; `first` is its coroutine if it was the first."""
        rest: tuple[Any, ...] | None = None
        own: Any = task.get_coro()
        awaits: Any = None
        if type(own) is CoroutineType:
            inner: Any = own.cr_await
            if (kind := type(inner)) is CoroutineType:
                awaits = inner.cr_code if id(inner.cr_code) in self.places.operations else None
            elif kind is self._iterator_type:
                awaits = self._awaited(task._fut_waiter)
        frame: Any = None if awaits is None else own.cr_frame
        if frame is not None and (offset := frame.f_lasti) < (limit := self.places.own.get(id(code := own.cr_code), 0)):
            # What _at_rest() comes to for most tasks.
            step: tuple[Any, ...] = (self._clock.tick, number, waker, cancelled, code, offset, awaits)
            rest = (number, own, code, limit, awaits) if number < UNNUMBERED else None
        elif task.done():
            step = self._ended(task, number, waker, cancelled, first=first)
        else:
            step, rest = self._at_rest(task, number, waker, cancelled)
        self.steps.append(step)
        if isinstance(task, self._task_type):
            task._virtualloop_rest = rest

    def _attend(self, number: int | None, context: Any) -> None:
        """Look at more after a step, a task's of this number if it was one's."""
        if self._host_of is not None and number is not None:
            visits = self.visits.setdefault(number, {})
            host = self._host_of(context)
            visits[host] = visits.get(host, 0) + 1
        if self._silent:
            self._look_at_the_silent()
        if self.begins:
            self._record_begun()
        self._alert = bool(self._silent) or self._host_of is not None

    def _at_rest(
        self, task: Any, number: int, waker: int | None, cancelled: bool
    ) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
        """Return how a task came to rest: at which code and offset in it, and what it awaits.

        And what it may be known by when it comes to rest again in the same coroutine, awaiting some operation: which
        number and coroutine, its code, from where on that handles exceptions, and the operation.
        """
        places = self.places
        awaits: Any
        inner, awaits, handling = places.rest_of(task.get_coro())
        if handling is not None:
            self._look_for_handled(handling, number)
        rest = None
        if awaits is None:
            awaits = self._awaited(task._fut_waiter)
        elif (
            type(inner) is CoroutineType
            and id(awaits) in places.operations
            and (limit := places.own.get(id(inner.cr_code), 0))
            and number < UNNUMBERED
        ):
            rest = (number, inner, inner.cr_code, limit, awaits)
        frame = inner.cr_frame if type(inner) is CoroutineType else frame_of(inner)
        if frame is None:
            return (self._clock.tick, number, waker, cancelled, None, 0, awaits), None
        return (self._clock.tick, number, waker, cancelled, frame.f_code, frame.f_lasti, awaits), rest

    def _awaited(self, awaited: Any) -> int | type | None:
        """Return the number of a task that another one waits for, or the type of a future."""
        kind = None if awaited is None else type(awaited)
        if kind is self._task_type:
            return awaited._virtualloop_number  # type: ignore[no-any-return]  # of those it is an integer
        if kind is None or not hasattr(awaited, "get_coro"):
            return kind
        number = self._known_as(awaited)
        if number >= UNNUMBERED:
            self._number_of(awaited)  # Nothing else may be seen of it.
        return number

    def _look_for_handled(self, coroutines: list[Any], number: int) -> None:
        """Mark exceptions that a task handles where it rests: they were raised in this step, or earlier."""
        for exc in handled_by(coroutines, self.places.handlers):
            mark = vars(exc).get(_RAISED)
            if mark is None or mark[0] != number:
                vars(exc)[_RAISED] = (number, len(self.steps))

    def _meet(self, task: Any, number: int) -> Any:
        """Take note of a task that makes its first step in the queue; return its coroutine if it has made none yet."""
        coro = task.get_coro()
        self._name(task, coro, number)
        known = self._unnumbered.get(task, number) if self._unnumbered else number
        if known != number and known in self.names:
            self.numbered[known] = number
            self._silent.pop(known, None)
            return None
        if coro.cr_suspended if type(coro) is CoroutineType else getattr(coro, "cr_suspended", False):
            self.eager.add(number)
        return coro

    def _name(self, task: Any, coro: Any, number: int) -> None:
        self.names[number] = task.get_name()
        name = coro.__qualname__ if type(coro) is CoroutineType else getattr(coro, "__qualname__", None)
        if isinstance(name, str):
            self.coroutines[number] = name
        if type(task) is not self._task_type and not hasattr(task, TELLS):
            self._silent[number] = weakref.ref(task), task.cancelling()
            self._alert = True

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
            raised, at = self.places.raised_at(exc.__traceback__)
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
            self.raised[len(self.steps)] = (
                step,
                f"raises {described(exc)}",
                *self.places.raised_at(exc.__traceback__),
            )

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
        return name_of(callback)

    def _known_callback(self, handle: Any) -> int | CodeType | str:
        """Return what a step is known by that runs a plain callback."""
        callback = handle._callback
        if callback is self._wrapper:
            return self._subject(handle)
        code = getattr(callback, "__code__", None)
        return name_of(callback) if code is None else code


#: The frames that a step begins with.
BOTTOMS = (
    *(constant for constant in Recorder.turn.__code__.co_consts if isinstance(constant, CodeType)),
    Recorder.step.__code__,
    Recorder.call.__code__,
)
