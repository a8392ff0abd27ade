"""What a run did, step by step: what a trace is made from.

Owns the record of one run and what it costs to keep it. Knows neither asyncio nor words: it keeps numbers, names and
code objects, which are cheap and keep nothing of the program alive; `trace` makes sentences of them when somebody
reads. It looks at a task only right after a step, where the task has come to rest.

Who woke whom: the loop tags what is queued, and each timer that is set, with the step during which that happened
(`now`), and hands the tag back with the entry.
"""

from __future__ import annotations

import gc
import re
import reprlib
from collections.abc import Callable
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType, TracebackType
from typing import Any, NamedTuple

from virtualloop._clock import Clock
from virtualloop._ready import FIRST, LooseQueue
from virtualloop._timers import Timers

__all__ = ["Event", "Recorder", "Step", "without_addresses"]

#: A value of the program's or a message is cut to this many characters: it has to fit into a line.
MAX_SHOWN = 80

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_shorten = reprlib.Repr()
_shorten.maxother = _shorten.maxstring = MAX_SHOWN

# How a code object counts in a chain of awaits: the reader's own; an operation that a reader knows by name, below which
# there is nothing of the reader's; one that awaits what it is given; and what has no name that a reader knows.
_OWN, _OPERATION, _PASSES_ON, _INNER = range(4)
#: Operations of asyncio that await a coroutine they are given, without making a task of it.
PASSING_ON = frozenset({"staggered_race", "wait_for"})

_NOBODY = (None, None)
_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
# The iterators that stand between a frame and the coroutine or generator it awaits.
_WRAPPERS = frozenset({"anext_awaitable", "async_generator_asend", "async_generator_athrow", "coroutine_wrapper"})


class Step(NamedTuple):
    """One callback that ran, or one task that was resumed."""

    tick: int
    #: A task's number; for a plain callback its code, or its name where it has none.
    subject: int | CodeType | str
    #: The step that queued it or set its timer; None for what came from outside of any step.
    waker: int | None
    #: A task: whether CancelledError was thrown into it. A timer: the tick it was set for. Else None.
    detail: Any
    #: A task: the innermost of the reader's frames when it came to rest, as code and the offset in it.
    code: CodeType | None
    offset: int
    #: A task at rest: the operation of asyncio's that this frame called, else the number of the task or the type of the
    #: future that it awaits, or None. What has ended: how, in words.
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

    def __init__(self, is_machinery: Callable[[CodeType], bool]) -> None:
        self._is_machinery = is_machinery
        #: Steps as plain tuples in the form of `Step`, because making a NamedTuple takes as long as a short step.
        self.steps: list[tuple[Any, ...]] = []
        #: In the form of `Event`, likewise.
        self.events: list[tuple[Any, ...]] = []
        #: The names of tasks by number, in the order of their first steps.
        self.names: dict[int, str] = {}
        #: The numbers of tasks that had begun, inside a step of another one, before their first steps of their own.
        self.eager: set[int] = set()
        #: How many steps each task made on which host, by number, where the network has any: None is for "localhost".
        #: And what tells the host of a context.
        self.visits: dict[int, dict[str | None, int]] = {}
        self.host_of: Callable[[Any], str | None] | None = None
        #: What the loop was made with, in words.
        self.title: str | None = None
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
        # Deadlines that the clock has passed by in this turn, and where it came from.
        self._late_from = 0
        self._late: list[Any] = []
        # What each code object counts as, by id, and what keeps those ids theirs.
        self._counts_as: dict[int, int] = {}
        self._codes: list[CodeType] = []
        # Parts of the loop; its queue is a deque, or a LooseQueue.
        self._queue: Any
        self._failed: Callable[[BaseException, Any], None]
        self._wrapper: object = None
        self._clock: Clock
        self._timers: Timers

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
        failed: Callable[[BaseException, Any], None],
        wrapper: object,
    ) -> None:
        """Take the parts of the loop: its queue, what it tells of errors, and the callback that wraps others."""
        self._clock = clock
        self._timers = timers
        self._queue = queue
        self._failed = failed
        self._wrapper = wrapper

    def end(self) -> None:
        """Let go of the loop, which is closed."""
        del self._timers, self._queue, self._failed, self._wrapper
        self.tags.clear()
        self._withheld = self.withheld()
        self._held.clear()
        self._moved.clear()
        self.host_of = None

    # --- what the loop tells ------------------------------------------------------------------------------------------

    def resume(self, entry: Any, run: Callable[[Any], object] | None) -> None:
        """Make a step of a task, and record it. `run` does it where debug mode has its own way.

        An entry is what it is in the loop's queue, with its tag as a fourth part.
        """
        steps = self.steps
        self.now = len(steps)
        if self._moved:
            self._has_moved(entry)
        context, callback, argument, waker = entry
        task = callback.__self__
        try:
            number = task.number
        except AttributeError:
            number = hash(task)
        if number not in self.names:
            self._meet(task, number)
        cancelled = task._must_cancel or (argument is not None and argument is not FIRST and argument.cancelled())
        try:
            if run is not None:
                run(entry)
            elif argument is None or argument is FIRST:
                context.run(callback)
            else:
                context.run(callback, argument)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._failed(exc, entry)
        finally:
            if self.host_of is not None:
                visits = self.visits.setdefault(number, {})
                host = self.host_of(context)
                visits[host] = visits.get(host, 0) + 1
            # Where it came to rest: down the chain of awaits to the innermost frame of the reader's own, and the first
            # operation below it that has a name.
            own = task.get_coro()
            if task.done():
                steps.append(self._ended(task, number, waker, cancelled))
            else:
                awaits = None
                counts_as = self._counts_as
                inner = _awaited_by(own)
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
                    elif kind.__name__ in _WRAPPERS:
                        inner = _wrapped(inner)
                        continue
                    else:
                        break
                    count = counts_as.get(id(code))
                    if count is None:
                        count = self._count(code)
                    if count == _OPERATION:
                        awaits = awaits or code
                        break
                    if count == _OWN:
                        own = inner
                        awaits = None
                    elif count == _PASSES_ON and awaits is None:
                        awaits = code
                    inner = below
                if awaits is None and (waiter := task._fut_waiter) is not None:
                    awaits = hash(waiter) if hasattr(waiter, "get_coro") else type(waiter)
                frame = _frame_of(own)
                if frame is None:
                    steps.append((self._clock.tick, number, waker, cancelled, None, 0, awaits))
                else:
                    steps.append((self._clock.tick, number, waker, cancelled, frame.f_code, frame.f_lasti, awaits))

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
            waker, due = tag
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
                else:
                    handle._context.run(callback, *args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            failure = f"raises {_described(exc)}"
            self._failed(exc, handle)
        finally:
            steps.append((self._clock.tick, subject, waker, due, None, 0, failure))

    def arrived(self, *, idle: bool) -> None:
        """What comes in at the start of a turn is queued; `idle` says whether the loop had nothing else to do."""
        if self._late:
            timers, self._late = tuple(self._late), []
            self._add("late", (idle, self._late_from, timers), True)

    def hold(self, timer: Any) -> None:
        """Take note that an event that could come in now is held."""
        if id(timer) not in self._held:
            waker, _ = timer._scheduled
            event = (len(self.steps), self._clock.tick, "hold", True, (waker, None, self._subject(timer)))
            self._held[id(timer)] = len(self.steps) + len(self._queue), timer, event

    def withheld(self) -> list[tuple[Any, ...]]:
        """Return events that were held and have not come in: they are none before the run is over."""
        return self._withheld or [event for _, _, event in self._held.values()]

    def chose(self, options: Any, position: int, frame: FrameType) -> None:
        """Take note of a choice of the test's own, and where it was made."""
        self._add("user", (_shown(options[position]), len(options), frame.f_code, frame.f_lasti), position > 0)

    def cancel(self, task: Any, *, waits: bool) -> None:
        """Cancel a task because the schedule said so: where it has begun to wait, or before it goes on."""
        number = hash(task)
        if number not in self.names:
            self._meet(task, number)
        self._add("cancel", (number, waits), True)
        # It is no step of the program's that does it.
        now, self.now = self.now, None
        task.cancel()
        self.now = now

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
                    self._is_late()
                elif kind == "task":
                    self._changes_places(answer)
            return answer

        return watched

    # --- deviations ---------------------------------------------------------------------------------------------------

    def _is_late(self) -> None:
        """The clock is about to pass the next deadline."""
        if not self._late:
            self._late_from = self._clock.tick
        timers = self._timers
        entry = timers.by_tick[timers.ticks[0]]
        for timer in entry if type(entry) is list else [entry]:
            if timer._callback is not None:
                self._late.append((*timer._scheduled, self._subject(timer)))

    def _changes_places(self, distance: int) -> None:
        """Who joins the queue takes the place of one ahead; whether that matters is seen when it runs."""
        queue: LooseQueue = self._queue
        joins, gives_way = queue.items[queue.seen], queue.items[queue.seen - distance]
        self._moved[id(joins)] = (joins, gives_way)

    def _has_moved(self, entry: Any) -> None:
        _, other = self._moved.pop(id(entry), _NOBODY)
        if other is None:
            return
        queue: LooseQueue = self._queue
        for item in queue.items[queue.head :]:
            if item is other:
                self._add("task", (self._subject(entry), self._subject(other)), True)
                return

    def _add(self, kind: str, data: tuple[Any, ...], deviates: bool = False) -> None:
        self.events.append((len(self.steps), self._clock.tick, kind, deviates, data))

    # --- what a step did ----------------------------------------------------------------------------------------------

    def _meet(self, task: Any, number: int) -> None:
        self.names[number] = task.get_name()
        if getattr(task.get_coro(), "cr_suspended", False):
            self.eager.add(number)

    def _ended(self, task: Any, number: int, waker: int | None, cancelled: bool) -> tuple[Any, ...]:
        self.names[number] = task.get_name()  # It may have got another one since its first step.
        code, offset, how = None, 0, "returned"
        if task.cancelled():
            how = "cancelled"
        elif (exc := task._exception) is not None:
            how = f"raises {_described(exc)}"
            code, offset = self._raised_at(exc.__traceback__)
        return (self._clock.tick, number, waker, cancelled, code, offset, how)

    def _raised_at(self, traceback: TracebackType | None) -> tuple[CodeType | None, int]:
        """Return the innermost of the reader's frames in a traceback."""
        code, offset = None, 0
        while traceback is not None:
            its = traceback.tb_frame.f_code
            if not self._is_machinery(its):
                code, offset = its, traceback.tb_lasti
            traceback = traceback.tb_next
        return code, offset

    def _subject(self, entry: Any) -> int | CodeType | str:
        if type(entry) is tuple:
            task = entry[1].__self__
            number: int = hash(task)
            if number not in self.names:
                self._meet(task, number)
            return number
        callback = entry._callback
        if callback is self._wrapper:
            callback = entry._args[0]._callback
        code: CodeType | None = getattr(callback, "__code__", None)
        return _name_of(callback) if code is None else code

    def _count(self, code: CodeType) -> int:
        """Return what a code object counts as, seen for the first time."""
        self._codes.append(code)
        if not self._is_machinery(code):
            count = _OWN
        elif any(part.startswith("_") and not part.startswith("__") for part in code.co_qualname.split(".")):
            count = _INNER
        else:
            count = _PASSES_ON if code.co_name in PASSING_ON else _OPERATION
        self._counts_as[id(code)] = count
        return count


def _name_of(callback: Any) -> CodeType | str:
    """Return what is known of a callback that is no plain function or method."""
    while hasattr(callback, "func"):  # functools.partial
        callback = callback.func
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    return getattr(callback, "__code__", None) or str(name)


def _awaited_by(coro: Any) -> Any:
    """Return what the outermost frame of a task awaits."""
    if type(coro) is CoroutineType:
        return coro.cr_await
    return getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None)


def _frame_of(coro: Any) -> FrameType | None:
    if type(coro) is CoroutineType:
        return coro.cr_frame
    return next((frame for name in _FRAMES if (frame := getattr(coro, name, None)) is not None), None)


def _wrapped(awaitable: Any) -> Any:
    """Return the coroutine or generator behind one of the iterators that do not say; the collector can see it."""
    kinds = (CoroutineType, GeneratorType, AsyncGeneratorType)
    return next((thing for thing in gc.get_referents(awaitable) if isinstance(thing, kinds)), None)


def _shown(value: object) -> str:
    return without_addresses(_shorten.repr(value))


def _described(exc: BaseException) -> str:
    """Return an exception's name and message, in one line, without addresses."""
    try:
        message = str(exc)
    except Exception:
        message = ""
    first = without_addresses(message.partition("\n")[0])
    name = type(exc).__qualname__
    return f"{name}: {first[:MAX_SHOWN]}" if first else name


def without_addresses(text: str) -> str:
    """Return the text with every address that a repr put there cut out: the next run has others."""
    return _ADDRESS.sub("", text)
