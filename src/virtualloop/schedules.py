"""Where a run could have gone another way, and which way it goes.

Owns every decision that is left open, and nothing else: no clock, no queue, no asyncio. This is the only module that
draws random numbers.

A run is a list of small integers. Wherever the real world could have gone another way, the loop asks its schedule
`choose(n, kind)` and gets an integer in `range(n)`. 0 is always what stock asyncio on an idle machine would do, so a
list of zeros, like an empty one, is the plain run, and driving answers towards 0 drives a failure towards its cause.

The kinds that the loop asks for:

    late     of 2: 0, the loop reads its clock now; 1, only after one more deadline has passed
    hold     of 2: 0, this external event comes in now; 1, it lets later ones pass
    task     of n: 0, the task that has been ready longest runs next; k, another one does
    user     of n: the test's own `virtualloop.choose(options)`
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from math import log
from typing import NamedTuple, Protocol, runtime_checkable

from virtualloop._errors import VirtualLoopError

__all__ = ["Choice", "Random", "Recording", "Replay", "ReplayError", "Schedule"]

#: How often an event is held, drawn once per run between these two. Bugs differ in the rate that finds them fastest,
#: so no single rate wins. An event that is held is asked about again whenever another one comes in, so among many of
#: these a rate below 0.8 holds none for long; at a rate above 0.9 hardly any event is punctual.
HOLD_RATES = (0.3, 0.95)
#: How often the clock passes one more deadline, drawn once per run between these two. It is asked at each turn of the
#: loop: where deadlines are close together, several have to pass for one that matters to be late by much.
LATE_RATES = (0.05, 0.75)
#: How often another task than the oldest runs, one of these per run. Half of the runs reorder no task, because most
#: races need late events and order in the queue, and reordering everything else drowns them.
TASK_RATES = (0.0, 0.0, 0.2, 0.7)
#: Among more tasks than this, the rate falls in proportion. A few out of their order find what there is to find, and to
#: resume thousands all over the place costs more in cache misses than everything else together.
CROWD = 16


class ReplayError(VirtualLoopError):
    """A recorded schedule does not fit the run: the program, or its Python, is not the one that was recorded."""


class Choice(NamedTuple):
    """One decision of a run: `answer` out of `range(n)`, asked for as `kind`."""

    answer: int
    n: int
    kind: str


@runtime_checkable
class Schedule(Protocol):
    """Whatever answers the loop's questions. Any object with this one method will do.

    Example:

        class Latest:
            def choose(self, n: int, kind: str) -> int:
                return n - 1

        loop = VirtualLoop(schedule=Latest())
    """

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`, n being at least 2.

        It may raise, since nothing has left a queue yet; after that it is not asked again in this run.
        """
        ...


class Random:
    """A schedule drawn from a seed: the same seed gives the same answers, in every process and on every machine.

    Each kind of question has a stream of its own, so one more draw of the test's own choices, say, does not shift the
    order of events.

    Example:

        loop = VirtualLoop(schedule=Random(7))      # what VirtualLoop(seed=7) does
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._order = draw = self._stream("order").random
        low, high = HOLD_RATES
        self._hold_rate = low + (high - low) * draw()
        low, high = LATE_RATES
        self._late_rate = low + (high - low) * draw()
        self._task_rate = TASK_RATES[int(draw() * len(TASK_RATES))]
        # In a crowd: questions to be answered with 0 before the next draw.
        self._skip = 0
        self._user: random.Random | None = None

    @property
    def keeps_task_order(self) -> bool:
        """Whether this schedule answers 0 to every question of kind "task", so that nobody need ask."""
        return not self._task_rate

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`."""
        if kind == "task":
            rate = self._task_rate
            if not rate:
                return 0
            if n > CROWD:
                if self._skip:
                    self._skip -= 1
                    return 0
                # How many are passed over until the next change of places, drawn at once.
                self._skip = int(log(1 - self._order()) / log(1 - rate * CROWD / n))
            elif self._order() >= rate:
                return 0
            # Any distance is as likely as any other of its magnitude: who is a little late is overtaken by a few,
            # rarely by ten thousand.
            return min(int(n ** self._order()), n - 1)
        if kind == "hold":
            return 1 if self._order() < self._hold_rate else 0
        if kind == "late":
            return 1 if self._order() < self._late_rate else 0
        if self._user is None:
            self._user = self._stream("user")
        return int(self._user.random() * n)

    def _stream(self, name: str) -> random.Random:
        # Seeding with a string hashes it by SHA-512, the same everywhere and far apart for neighbouring seeds.
        return random.Random(f"virtualloop {name} {self.seed}")

    def __repr__(self) -> str:
        return f"Random({self.seed})"


class Replay:
    """A recorded schedule, replayed. What runs off its end is 0.

    `choices` are answers, or the `Choice`s that a `Recording` kept; only the latter can tell that the run asks
    something else than the one that was recorded, and then raise ReplayError.

    Example:

        loop = VirtualLoop(schedule=Replay([0, 1, 0, 1]))
    """

    def __init__(self, choices: Iterable[int | Choice]) -> None:
        self._choices = list(choices)
        for choice in self._choices:
            answer = choice.answer if isinstance(choice, Choice) else choice
            if isinstance(answer, bool) or not isinstance(answer, int):
                raise TypeError(f"choices must hold integers or Choices, not {choice!r}")
            if answer < 0:
                raise ValueError(f"choices must not be negative, got {choice!r}")
        self._position = 0

    def choose(self, n: int, kind: str) -> int:
        """Return the next recorded answer, or 0 after the last."""
        if self._position >= len(self._choices):
            return 0
        choice = self._choices[self._position]
        if isinstance(choice, Choice):
            if (choice.n, choice.kind) != (n, kind):
                raise ReplayError(
                    f"the schedule does not fit this run: choice {self._position} was recorded as {choice.kind!r} "
                    f"of {choice.n}, and the run asks for {kind!r} of {n}. Record it again, with this program and "
                    "this Python version."
                )
            answer = choice.answer
        else:
            answer = choice
        if answer >= n:
            raise ReplayError(
                f"the schedule does not fit this run: choice {self._position} is {answer}, and the run asks for "
                f"{kind!r} of {n}. Record it again, with this program and this Python version."
            )
        self._position += 1
        return answer

    def __repr__(self) -> str:
        return f"Replay({self._choices})"


class Recording:
    """Another schedule, with every answer that it gave kept in `choices`, ready for `Replay`.

    Example:

        recording = Recording(Random(7))
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(schedule=recording)) as runner:
            runner.run(main())
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(schedule=Replay(recording.choices))) as runner:
            runner.run(main())
    """

    def __init__(self, schedule: Schedule) -> None:
        check_schedule(schedule)
        self._schedule = schedule
        self.choices: list[Choice] = []

    def choose(self, n: int, kind: str) -> int:
        """Ask the other schedule and keep its answer."""
        answer = self._schedule.choose(n, kind)
        self.choices.append(Choice(answer, n, kind))
        return answer

    def __repr__(self) -> str:
        return f"Recording({self._schedule!r})"


class Plain:
    """What stock asyncio on an idle machine would do, whatever is asked."""

    def choose(self, n: int, kind: str) -> int:
        """Return 0."""
        return 0


PLAIN = Plain()


def check_schedule(schedule: object) -> None:
    """Raise TypeError for what is no schedule."""
    if not callable(getattr(schedule, "choose", None)) or isinstance(schedule, type):
        raise TypeError(f"schedule must be an object with a choose(n, kind) method, not {schedule!r}")


def answers_of(schedule: Schedule) -> Callable[[int, str], int]:
    """Return the schedule's choose(), checked: TypeError or ValueError that names it for anything outside `range(n)`.

    A schedule that has raised is not asked again: what is left, the teardown of the run, gets 0 for every answer. Else
    it could not end, and hypothesis, say, which stops a run by raising, would be left with tasks that never started.
    """
    if type(schedule) in (Random, Plain):
        return schedule.choose  # It is always right, and asked most of the time.
    failed = False

    def choose(n: int, kind: str) -> int:
        nonlocal failed
        if failed:
            return 0
        failed = True
        answer = schedule.choose(n, kind)
        if isinstance(answer, bool) or not isinstance(answer, int):
            raise TypeError(f"{schedule!r}.choose({n}, {kind!r}) returned {answer!r}, not an integer")
        if not 0 <= answer < n:
            raise ValueError(f"{schedule!r}.choose({n}, {kind!r}) returned {answer}, which is not in range({n})")
        failed = False
        return answer

    return choose
