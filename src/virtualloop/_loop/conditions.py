"""What a loop looks at after each step: conditions that somebody waits for, that always hold, and that sometimes do.

Owns this instrument. A loop has it while there is anything to look at; to look is no task and queues nothing, so it
changes no order. What `until`, `always` and `sometimes` mean is said where they are defined.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from virtualloop._core.clock import span_in_ticks
from virtualloop._errors import PropertyError
from virtualloop._loop.handles import subject_of
from virtualloop._report.broken import broken
from virtualloop._report.frames import Place, place_of

if TYPE_CHECKING:
    from virtualloop._core.recorder import Recorder
    from virtualloop._core.scheduler import Scheduler

__all__ = ["Condition", "Conditions", "check_condition", "check_within", "conditions_of"]

Condition = Callable[[], object]

#: The flag of an async generator's code, as inspect has it.
_ASYNC_GENERATOR = 0x200


class Looking(Protocol):
    """A loop, as far as it looks at conditions."""

    _conditions: Conditions | None
    _awaited: asyncio.Future[Any] | None

    @property
    def _recorder(self) -> Recorder | None: ...
    def time(self) -> float: ...
    def create_future(self) -> asyncio.Future[Any]: ...
    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle: ...
    def describe_tasks(self) -> str: ...
    def _scheduling(self) -> Scheduler: ...


class _Property(NamedTuple):
    """Something that always holds."""

    condition: Condition
    text: str
    #: The same as it was written, and where.
    call: str
    stated: Place
    #: Whether it ends with the main in which it was stated, or with the loop.
    of_main: bool


class _Fixture:
    """What a fixture says always holds: from its yield until it goes on."""

    def __init__(self, condition: Condition, frame: FrameType) -> None:
        self._condition = condition
        self._frame = frame
        self._paused_at: int | None = None

    def __call__(self) -> object:
        return self.is_over() or self._condition()

    def pause(self) -> None:
        """The main in which it was stated is over: it waits at its yield, if it has one."""
        if self._paused_at is None:
            self._paused_at = self._frame.f_lasti

    def is_over(self) -> bool:
        return self._paused_at is not None and self._frame.f_lasti != self._paused_at


class _Awaited(NamedTuple):
    """Something that somebody waits for, and the timer that ends that."""

    condition: Condition
    future: asyncio.Future[None]
    limit: asyncio.TimerHandle | None


class Conditions:
    """The conditions of one loop, looked at after each step."""

    def __init__(self) -> None:
        self._always: list[_Property] = []
        # Their conditions.
        self._conditions: list[Condition] = []
        self._awaited: list[_Awaited] = []
        self._unmet: list[_Property] = []
        #: What was stated to hold sometimes, and whether it has.
        self.sometimes: dict[str, bool] = {}
        # Whether something was stated in a turn that began without looking.
        self._late = False
        self._is_attached = False

    def attach(self, loop: Looking) -> None:
        """Look from now on, as long as there is anything to look at."""
        self._late = True
        if not self._is_attached:
            self._is_attached = True
            # Within what a trace records of a step, so that what is noted of it and who is woken belong to that step.
            loop._scheduling().add_instrument(self, inside=loop._recorder)

    def _detach(self, loop: Looking) -> None:
        if self._is_attached and not (self._always or self._awaited or self._unmet):
            self._is_attached = False
            loop._scheduling().remove_instrument(self)

    # --- what is stated -----------------------------------------------------------------------------------------------

    def wait(self, loop: Looking, condition: Condition, within: float | None) -> asyncio.Future[None]:
        """Return what is done as soon as the condition holds, and fails when the time is over."""
        future: asyncio.Future[None] = loop.create_future()
        limit = None if within is None else loop.call_later(within, _time_is_over, loop, future, within)
        self._awaited.append(_Awaited(condition, future, limit))
        return future

    def always(self, condition: Condition, text: str, frame: FrameType) -> None:
        """Fail the step that breaks the condition; `frame` says so."""
        loop = _running_loop()
        of_main = loop._awaited is not None
        if of_main and frame.f_code.co_flags & _ASYNC_GENERATOR:
            condition, of_main = _Fixture(condition, frame), False
        self._always.append(
            _Property(condition, text, f"always({text!r})" if text else "always()", place_of(frame), of_main)
        )
        self._conditions.append(condition)

    def once(self, condition: Condition, text: str, frame: FrameType) -> None:
        """Remember whether the condition has held."""
        if not self.sometimes.setdefault(text, False):
            self._unmet.append(_Property(condition, text, f"sometimes({text!r})", place_of(frame), of_main=True))

    def main_ends(self, loop: Looking) -> None:
        """Forget what was stated for this main."""
        self._unmet.clear()
        kept: list[_Property] = []
        for each in self._always:
            if isinstance(each.condition, _Fixture):
                each.condition.pause()
                if not each.condition.is_over():
                    kept.append(each)
            elif not each.of_main:
                kept.append(each)
        self._always = kept
        self._conditions = [each.condition for each in kept]
        self._detach(loop)

    # --- the instrument -----------------------------------------------------------------------------------------------

    def end_turn(self) -> None:
        """Look once where something was stated in the middle of this turn: the steps after it have passed unseen."""
        if self._late:
            self.look(None)

    def begin_turn(self, *, idle: bool) -> None:
        """The same, where the loop was stopped in that turn."""
        self.end_turn()

    def around(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return what runs an entry and looks."""
        look = self.look

        def run_and_look(entry: Any) -> None:
            try:
                run(entry)
            finally:
                look(entry)

        return run_and_look

    def look(self, entry: Any) -> None:
        """Look at everything, after this entry of the queue has run. Raises PropertyError."""
        self._late = False
        # All of them, after each step: nothing but the calls.
        for condition in self._conditions:
            try:
                if condition():
                    continue
            except Exception as exc:
                raise self._broken(self._property_of(condition), entry) from exc
            raise self._broken(self._property_of(condition), entry)
        if self._awaited:
            self._look_at_awaited()
        if self._unmet:
            self._look_at_unmet(entry)
        if not self._always and not self._awaited and not self._unmet:
            self._detach(_running_loop())

    def _property_of(self, condition: Condition) -> _Property:
        return next(each for each in self._always if each.condition is condition)

    def _look_at_awaited(self) -> None:
        for each in list(self._awaited):
            if not each.future.done():
                try:
                    if not each.condition():
                        continue
                except Exception as exc:
                    each.future.set_exception(exc)
                else:
                    each.future.set_result(None)
            if each.limit is not None:
                each.limit.cancel()
            self._awaited.remove(each)

    def _look_at_unmet(self, entry: Any) -> None:
        for each in self._unmet:
            if not self.sometimes[each.text] and self._holds(each, entry):
                self.sometimes[each.text] = True
        self._unmet = [each for each in self._unmet if not self.sometimes[each.text]]

    def _holds(self, each: _Property, entry: Any) -> bool:
        try:
            return bool(each.condition())
        except Exception as exc:
            raise self._broken(each, entry) from exc

    def _broken(self, each: _Property, entry: Any) -> PropertyError:
        """Return what to raise of a property that is broken, and look at nothing any more: the run is over."""
        loop = _running_loop()
        self._always.clear()
        self._conditions = []
        self._unmet.clear()
        self._detach(loop)
        if loop._recorder is not None:
            loop._recorder.note(f"{each.call} no longer holds")
        subject = None if entry is None else subject_of(entry)
        return PropertyError(broken(loop.time(), each.call, each.stated, subject))


def conditions_of(loop: Looking) -> Conditions:
    """Return the conditions of a loop, which looks at them from now on."""
    if loop._conditions is None:
        loop._conditions = Conditions()
    loop._conditions.attach(loop)
    return loop._conditions


def check_condition(condition: object, function: str) -> None:
    """Raise TypeError for what is no condition."""
    if not callable(condition) or inspect.iscoroutinefunction(condition):
        raise TypeError(
            f"condition must be a plain function without arguments, not {condition!r}: "
            f"{function}(lambda: ...) is looked at again and again"
        )


def check_within(within: float | None) -> None:
    """Raise TypeError or ValueError for what is no limit."""
    if within is not None:
        span_in_ticks(within, argument="within")


def _time_is_over(loop: Looking, future: asyncio.Future[None], within: float) -> None:
    if not future.done():
        text = f"until() has waited for {within:g} s, and its condition is not true.\n{loop.describe_tasks()}"
        future.set_exception(TimeoutError(text))


def _running_loop() -> Looking:
    return cast("Looking", asyncio.get_running_loop())
