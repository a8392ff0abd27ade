"""The body of the run loop in most runs of an exploration, where nothing but a digest of their steps is kept.

Owns this body, which does in line what the one with instruments comes to with a `StepLog`: that is asked at each step
of each run. Whatever else looks at the steps, a trace, a sweep of cancellations, conditions, has the other body.
"""

from __future__ import annotations

from itertools import repeat
from types import CoroutineType, GeneratorType

from virtualloop._core.entries import FIRST
from virtualloop._core.scheduler import FEW, Scheduler
from virtualloop._errors import PropertyError
from virtualloop._exploration.steps import MANY, SLEEP, YIELD, StepLog

__all__ = ["ExploringScheduler"]


class ExploringScheduler(Scheduler):
    """What runs when, at an order at which events arrive late, in a run that is told from others."""

    __slots__ = ()

    def _run_instrumented(self) -> None:
        log = self._instruments[0]
        if type(log) is StepLog and len(self._instruments) == 1 and self.arrivals is not None:
            self._run_noting(log)
        else:
            super()._run_instrumented()

    def _run_noting(self, log: StepLog) -> None:
        """The body with a StepLog: `run` and `StepLog.note_step` in line."""
        outside, arrivals = self.outside, self.arrivals
        assert outside is not None
        assert arrivals is not None
        take = self._taking()
        # As locals they are found faster.
        kind_of, step, first, coroutine, generator, sleep = type, tuple, FIRST, CoroutineType, GeneratorType, SLEEP
        ready, clock, ticks, sources = self._ready, self._clock, self._timers.ticks, self._sources
        held, by_turns = arrivals.held, arrivals.by_turns
        notes = log.notes
        turns = 0
        look_at = self.spin.next_look(1)
        while True:
            if not ready or sources:
                if self._begin_turn():
                    turns = 0
            elif held or by_turns or (ticks and (ticks[0] <= arrivals.horizon or ticks[0] <= clock.tick)):
                if self.settling is None:
                    # What _begin_turn() comes to.
                    arrivals.begin_turn(None, leaving=self.leave)
                else:
                    self._begin_turn()
            n = len(ready)
            log.steps += n
            for _ in FEW[n] if n < 17 else repeat(None, n):
                entry = take()
                # What has been looked at may be gone while the next one runs.
                task = coro = frame = None
                try:
                    if kind_of(entry) is step:
                        context, callback, argument = entry
                        if argument is None or argument is first:
                            context.run(callback)
                        else:
                            context.run(callback, argument)
                        task = callback.__self__
                        try:
                            notes.append(-task._virtualloop_number)
                        except AttributeError:
                            notes.append(-log.number_of(task))
                        coro = task.get_coro()
                        if kind_of(coro) is coroutine and (frame := coro.cr_frame) is not None:
                            notes.append(frame.f_lasti)
                            while kind_of(coro := coro.cr_await) is coroutine:
                                if coro.cr_code is sleep:
                                    if kind_of(coro.cr_await) is generator:
                                        notes.append(YIELD)
                                    break
                                if (frame := coro.cr_frame) is None:
                                    break
                                notes.append(frame.f_lasti)
                    else:
                        callback = entry._callback
                        if callback is not None:
                            argument = entry._args
                            if not argument:
                                entry._context.run(callback)
                            elif len(argument) == 1:
                                entry._context.run(callback, argument[0])
                            elif len(argument) == 2:  # as what ends a sleep has
                                entry._context.run(callback, argument[0], argument[1])
                            else:
                                entry._context.run(callback, *argument)
                except (SystemExit, KeyboardInterrupt, PropertyError):
                    raise
                except BaseException as exc:
                    outside.failed(exc, entry)
            # Nothing that has run may live on in these while the loop goes on to something else.
            entry = context = callback = argument = task = coro = frame = None
            if len(notes) > MANY:
                log.fold()
            if self.leave:
                return
            turns += 1
            if turns >= look_at:
                turns = self._check_livelock(turns)
                look_at = turns + self.spin.next_look(len(ready))

    Scheduler.BODIES.add(_run_noting.__code__)
