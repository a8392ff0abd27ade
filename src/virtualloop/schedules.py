"""Where a run could have gone another way, and which way it goes.

Owns every decision that is left open, and nothing else: no clock, no queue, no asyncio. This is the only module that
draws random numbers.

A run is a list of small integers. Wherever the real world could have gone another way, the loop asks its schedule
`choose(n, kind)` and gets an integer in `range(n)`. 0 is always what stock asyncio on an idle machine would do, so a
list of zeros, like an empty one, is the plain run, and driving answers towards 0 drives a failure towards its cause.

The kinds that the loop asks for:

    late     of 2: 0, the loop reads its clock now; 1, only after one more deadline has passed
    hold     of 2: 0, this external event comes in now; 1, it is late, and lets later ones pass
    release  of n: 0, those who are late stay so; k, the k-th of them comes in now, after the one that just did
    task     of n: 0, the task that has been ready longest runs next; k, another one does
    cancel   of 2: 1, this task is cancelled here; asked by `explore(cancel=...)` only
    user     of n: the test's own `virtualloop.choose(options)`

And, where a `Network` says that it happens, with a probability of k/n for answers from 1 to k:

    latency    of n: how much longer than at best this takes to come in, in n - 1 steps up to the longest
    loss       of n: this datagram is lost
    duplicate  of n: this datagram comes in twice
    reorder    of n: this datagram is overtaken by later ones
    fragment   of n: of what has come in only a part is read at once
    cut        of n: and that part is so much shorter, by k + 1 bytes
    coalesce   of n: this write is held back, to come in with the next
    reset      of n: this write resets the connection
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import log
from sys import float_info
from typing import NamedTuple, Protocol, runtime_checkable

from virtualloop import _token
from virtualloop._clock import TICKS_PER_SECOND
from virtualloop._errors import VirtualLoopError

__all__ = ["Choice", "Exhaustive", "Random", "Recording", "Replay", "ReplayError", "Schedule"]

#: How often an event is held, drawn once per run between these two. Bugs differ in the rate that finds them fastest,
#: so no single rate wins.
HOLD_RATES = (0.2, 0.7)
#: How often one of those that are held follows another event that comes in, drawn once per run between these two. The
#: lower the rate, the later they are.
RELEASE_RATES = (0.05, 0.7)
#: How often the clock passes one more deadline, drawn once per run between these two. It is asked at each turn of the
#: loop, so at a higher rate each busy period would end as late as it may; at a lower one few runs are late at all.
LATE_RATES = (0.1, 0.6)
#: How often the clock passes yet another deadline when it has just passed one: whatever took so long may have taken
#: longer, and what a program does after 30 ms may need ten deadlines to have passed, not one.
LATER_RATES = (0.3, 0.95)
#: How often another task than the oldest runs, one of these per run. Half of the runs reorder no task, because most
#: races need late events and order in the queue, and reordering everything else drowns them.
TASK_RATES = (0.0, 0.0, 0.2, 0.7)
#: Among more tasks than this, the rate falls in proportion. A few out of their order find what there is to find, and to
#: resume thousands all over the place costs more in cache misses than everything else together.
CROWD = 16


#: What the network asks about; see above.
NETWORK_KINDS = frozenset({"latency", "loss", "duplicate", "reorder", "fragment", "cut", "coalesce", "reset"})


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

    `seed` is an integer, or a random.Random that all answers are drawn from; hypothesis has one that it can shrink,
    `st.randoms(use_true_random=False)`. With an integer, each kind of question has a stream of its own, so one more
    draw of the test's own choices, say, does not shift the order of events. Small draws are small answers.

    Example:

        loop = VirtualLoop(schedule=Random(7))      # what VirtualLoop(seed=7) does
    """

    def __init__(self, seed: int | random.Random) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | random.Random):
            raise TypeError(f"seed must be an integer or a random.Random, not {seed!r}")
        self.seed = seed
        self._order = draw = self._stream("order").random
        low, high = HOLD_RATES
        self._hold_from = 1 - (low + (high - low) * draw())
        low, high = RELEASE_RATES
        self._release_from = 1 - (low + (high - low) * draw())
        low, high = LATE_RATES
        self._late_from = 1 - (low + (high - low) * draw())
        low, high = LATER_RATES
        self._later_from = 1 - (low + (high - low) * draw())
        self._was_late = False
        self._task_rate = TASK_RATES[int(draw() * len(TASK_RATES))]
        self._task_from = 1 - self._task_rate
        # In a crowd: questions to be answered with 0 before the next draw.
        self._skip = 0
        self._user: random.Random | None = None
        self._network: random.Random | None = None

    @property
    def keeps_task_order(self) -> bool:
        """Whether this schedule answers 0 to every question of kind "task", so that nobody need ask."""
        return not self._task_rate

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`."""
        if kind == "task":  # first, because it is asked at each step
            rate = self._task_rate
            if not rate:
                return 0
            if n > CROWD:
                if self._skip:
                    self._skip -= 1
                    return 0
                # How many are passed over until the next change of places, drawn at once.
                self._skip = int(log(self._order() or float_info.min) / log(1 - rate * CROWD / n))
            elif self._order() < self._task_from:
                return 0
            # Any distance is as likely as any other of its magnitude: who is a little late is overtaken by a few,
            # rarely by ten thousand.
            return min(int(n ** self._order()), n - 1)
        if kind == "hold":
            return 1 if self._order() >= self._hold_from else 0
        if kind == "release":
            share = (self._order() - self._release_from) / (1 - self._release_from)
            return 0 if share < 0 else min(1 + int(share * (n - 1)), n - 1)
        if kind == "late":
            self._was_late = self._order() >= (self._later_from if self._was_late else self._late_from)
            return 1 if self._was_late else 0
        if kind == "cancel":
            return 0  # Whoever wants a cancellation says which: at any rate, few runs would have but one.
        if kind in NETWORK_KINDS:
            if self._network is None:
                self._network = self._stream("network")
            return int(self._network.random() * n)
        if self._user is None:
            self._user = self._stream("user")
        return int(self._user.random() * n)

    def _stream(self, name: str) -> random.Random:
        if isinstance(self.seed, random.Random):
            return self.seed
        # Seeding with a string hashes it by SHA-512, the same everywhere and far apart for neighbouring seeds.
        return random.Random(f"virtualloop {name} {self.seed}")

    def __repr__(self) -> str:
        return f"Random({self.seed!r})"


class Replay:
    """A recorded schedule, replayed. What runs off its end is 0.

    `choices` are a token, as a failure of `explore` has one; or the `Choice`s that a `Recording` kept; or mere answers.
    All but answers can tell that the run asks something else than the one that was recorded, and then raise
    ReplayError. A token also says which order and lateness it was recorded with, and VirtualLoop takes these from it.

    Raises TypeError or ValueError that names the argument.

    Example:

        loop = VirtualLoop(schedule=Replay([0, 1, 0, 1]))
    """

    #: The order and the lateness, in seconds, that a token was recorded with; None without one.
    order: str | None = None
    lateness: float | None = None

    def __init__(self, choices: str | Iterable[int | Choice]) -> None:
        self._advice = "Record it again, with this program and this Python version."
        if isinstance(choices, str):
            token = _token.decode(choices)
            self.order = token.order
            self.lateness = token.lateness / TICKS_PER_SECOND
            choices = [Choice(*choice) for choice in token.choices]
            self._advice = "The program has changed since, or it depends on more than its schedule."
            if token.python != _token.python_version():
                self._advice = f"It was recorded on Python {token.python}, and this is {_token.python_version()}."
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
                    f"of {choice.n}, and the run asks for {kind!r} of {n}. {self._advice}"
                )
            answer = choice.answer
        else:
            answer = choice
        if answer >= n:
            raise ReplayError(
                f"the schedule does not fit this run: choice {self._position} is {answer}, and the run asks for "
                f"{kind!r} of {n}. {self._advice}"
            )
        self._position += 1
        return answer

    def check_end(self) -> None:
        """Raise ReplayError if the run, which is over, has not asked for all that was recorded."""
        if self._position < len(self._choices):
            raise ReplayError(
                f"the schedule does not fit this run: it ended after {self._position} of {len(self._choices)} recorded "
                f"choices, before {self._choices[self._position]!r}. {self._advice} An exploration with cancel=, "
                "network= or strict= is replayed with the same."
            )

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
        self.order, self.lateness = terms_of(schedule)

    def choose(self, n: int, kind: str) -> int:
        """Ask the other schedule and keep its answer."""
        answer = self._schedule.choose(n, kind)
        self.choices.append(Choice(answer, n, kind))
        return answer

    def __repr__(self) -> str:
        return f"Recording({self._schedule!r})"


class Exhaustive:
    """Every schedule there is, by how much it deviates: first the plain one, then each single deviation, and so on.

    Iterate over it and run the program once with each schedule that it gives, all at the same order; what one run asked
    tells which others there are. `deviations` is how many answers other than 0 a schedule may have, without bound if it
    is None; `kinds` are the kinds of question that are answered with anything else than 0, all if it is None. When the
    iteration ends, there is no other run within these bounds.

    Example:

        search = Exhaustive(deviations=2)
        for schedule in search:
            with asyncio.Runner(loop_factory=lambda: VirtualLoop(schedule=schedule, order="io")) as runner:
                runner.run(main())
    """

    def __init__(self, *, deviations: int | None = None, kinds: Collection[str] | None = None) -> None:
        if deviations is not None and (isinstance(deviations, bool) or not isinstance(deviations, int)):
            raise TypeError(f"deviations must be an integer or None, not {deviations!r}")
        if deviations is not None and deviations < 0:
            raise ValueError(f"deviations must not be negative, got {deviations}")
        self._bound = deviations
        self._kinds = kinds
        #: How many deviations the schedules have that come now, and how many of these are left.
        self.level = 0
        self.left = 1
        # The starts of those that are left; and the runs of this level, each with the length of its start.
        self._starts: Iterator[list[Choice]] = iter([[]])
        self._runs: list[tuple[list[Choice], int]] = []

    def __iter__(self) -> Iterator[Recording]:
        while self.left:
            while self.left:
                start, choices = self.take()
                recording = Recording(Replay(start))
                recording.choices = choices
                yield recording
            self.descend()

    def take(self) -> tuple[list[Choice], list[Choice]]:
        """Return how the next schedule of this level starts, all else being 0, and a list for what its run asks.

        The list is to be filled before `descend()`. Raises StopIteration where none is left.
        """
        start = next(self._starts)
        self.left -= 1
        choices: list[Choice] = []
        self._runs.append((choices, len(start)))
        return start, choices

    def descend(self) -> None:
        """Go on to the schedules with one deviation more; all of this level have been run."""
        runs, self._runs = self._runs, []
        self.level += 1
        self.left = 0
        if self._bound is None or self.level <= self._bound:
            self.left = sum(
                choice.n - 1 for choices, start in runs for choice in choices[start:] if self._varies(choice)
            )
            self._starts = self._deviating(runs)

    def _deviating(self, runs: list[tuple[list[Choice], int]]) -> Iterator[list[Choice]]:
        """Leave each run at each of its choices, for each other answer."""
        for choices, start in runs:
            for position in range(start, len(choices)):
                _, n, kind = choices[position]
                if self._varies(choices[position]):
                    for answer in range(1, n):
                        yield [*choices[:position], Choice(answer, n, kind)]

    def _varies(self, choice: Choice) -> bool:
        return self._kinds is None or choice.kind in self._kinds


class Few:
    """Another schedule, but for `count` deviations among the first so many questions of a kind, or of all kinds."""

    def __init__(
        self, seed: int, *, count: int, among: int, kind: str | None = None, others: Schedule | None = None
    ) -> None:
        self._random = draw = random.Random(f"virtualloop few {seed}")
        self._positions = {int(draw.random() * among) for _ in range(count)}
        self._kind = kind
        self._others = PLAIN if others is None else others
        self._asked = 0

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`."""
        if self._kind is not None and kind != self._kind:
            return self._others.choose(n, kind)
        position = self._asked
        self._asked += 1
        if position not in self._positions:
            return 0 if self._kind is not None else self._others.choose(n, kind)
        return min(int(n ** self._random.random()), n - 1)


class Punctual:
    """Another schedule, but for what it says of the order: only how long things take is left to it."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`."""
        return 0 if kind in ("hold", "release", "task") else self._schedule.choose(n, kind)


class Answers:
    """Another schedule, with its answers kept in `answers`, and nothing else: half the cost of a Recording."""

    def __init__(self, schedule: Schedule) -> None:
        self.answers: list[int] = []
        self.keeps_task_order: bool = getattr(schedule, "keeps_task_order", False)
        ask, keep = schedule.choose, self.answers.append

        def choose(n: int, kind: str) -> int:
            answer = ask(n, kind)
            keep(answer)
            return answer

        self.choose = choose


class Attempt:
    """Answers that may not fit: 0 takes the place of those that are out of range, and of what is missing."""

    def __init__(self, answers: Sequence[int]) -> None:
        self._answers = iter(answers)

    def choose(self, n: int, kind: str) -> int:
        """Return an integer in `range(n)`."""
        answer = next(self._answers, 0)
        return answer if answer < n else 0


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


def terms_of(schedule: object) -> tuple[str | None, float | None]:
    """Return the order and the lateness in seconds that a schedule was made for; None for what it does not say."""
    return (schedule.order, schedule.lateness) if isinstance(schedule, Replay | Recording) else (None, None)


def answers_of(schedule: Schedule) -> Callable[[int, str], int]:
    """Return the schedule's choose(), checked: TypeError or ValueError that names it for anything outside `range(n)`.

    A schedule that has raised is not asked again: what is left, the teardown of the run, gets 0 for every answer. Else
    it could not end, and hypothesis, say, which stops a run by raising, would be left with tasks that never started.
    """
    if type(schedule) in (Plain, Answers) or (type(schedule) is Random and type(schedule.seed) is int):
        return schedule.choose  # These are always right, and are asked most of the time.
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
