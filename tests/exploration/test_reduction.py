"""A failure on its way to a small one: what it may cost, where it is made, and what ends it."""

import asyncio
import concurrent.futures
import signal
import types

import pytest

import virtualloop
from helpers import as_explored
from virtualloop import explore
from virtualloop._core.lateness import HELD
from virtualloop._exploration import reduction
from virtualloop._exploration.levels import tighter_than
from virtualloop.schedules import Choice, Random, _token


async def crowded():
    """Two of forty replies matter."""
    shown = []

    async def reply(k):
        await asyncio.sleep(0.001 * (k % 7))
        shown.append(k)

    await asyncio.gather(*map(reply, range(40)))
    assert shown.index(8) < shown.index(15)


def size(failure):
    return sum(answer != 0 for answer, _, _ in _token.decode(failure.token).choices)


class Made:
    """A run: what it was answered, and what it cost. It fails if the first answer is not 0."""

    order = level = "io"

    def __init__(self, answers, *, steps=100, fails=None):
        self.answers = answers
        self.choices = [Choice(answer, 6, "hold") for answer in answers]
        self.steps = steps
        self._fails = bool(answers[0]) if fails is None else fails

    def fails_like(self, other):
        return self._fails

    def portable(self):
        return self


class Asks:
    """A program that asks three questions, or more, and fails as `Made` says, or where one event is held."""

    strict, is_patched = True, False

    def __init__(self, *, questions=3, held=None):
        self.questions, self.held = questions, held
        self.made = []

    def run(self, schedule, order):
        answers = [schedule.choose(6, "hold") for _ in range(self.questions)]
        self.made.append((answers, order))
        fails = None if self.held is None else answers[self.held : self.held + 1] == [HELD]
        return Made(answers, fails=fails)


def reduction_of(program, executor=None):
    progress = types.SimpleNamespace(show_shrinking=lambda first, now: None, clear=lambda: None)
    return reduction.Reduction(program, Made([1, 2, 3]), progress=progress, executor=executor)


@pytest.fixture(params=["serial", "in threads"])
def executor(request):
    if request.param == "serial":
        yield None
    else:
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            yield threads


def test_runs_are_made_in_their_order_and_paid_for(executor):
    program = Asks()
    reducing = reduction_of(program, executor)
    candidates = [[1], [0, 1], [2, 2], [0], [5, 5, 5]]
    made = list(reducing._made(iter(candidates)))

    assert [outcome and outcome.answers for outcome in made] == [[1, 0, 0], None, [2, 2, 0], None, [5, 5, 5]]
    assert {order for _, order in program.made} == {"io"}
    assert reducing._left == reduction.MOST_STEPS - 5 * (reduction.RUN + 100)


@pytest.mark.parametrize("steps", [2 * (reduction.RUN + 100) + 1, 3 * (reduction.RUN + 100)])
def test_no_more_runs_are_made_than_may_be_paid_for(executor, monkeypatch, steps):
    monkeypatch.setattr(reduction, "MOST_STEPS", steps)

    assert len(list(reduction_of(Asks(), executor)._made([k] for k in range(100)))) == 3


def test_so_many_runs_are_made_ahead():
    proposed = []
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        runs = reduction_of(Asks(), threads)._made(iter(proposed.append(k) or [k] for k in range(100)))
        next(runs)
        assert len(proposed) == reduction.AHEAD
        next(runs)
        assert len(proposed) == reduction.AHEAD + 1
        runs.close()


def test_one_event_is_late_after_the_other_until_it_fails_as_well():
    program = Asks(questions=40, held=5)
    reducing = reduction_of(program)
    reducing._find_late_event()

    assert reducing.likewise.answers == [0] * 5 + [HELD] + [0] * 34
    assert [order for _, order in program.made] == ["io"] * 7
    assert program.made[0] == ([0] * 40, "io")
    assert [answers.index(HELD) for answers, _ in program.made[1:]] == list(range(6))


def test_not_all_events_are_late_one_after_the_other(monkeypatch):
    program = Asks(questions=40, held=39)
    reducing = reduction_of(program)
    reducing._find_late_event()
    assert reducing.likewise is None
    assert len(program.made) == 1 + reduction.LATE_EVENTS

    for steps in (2 * (reduction.RUN + 100) + 1, 3 * (reduction.RUN + 100)):
        monkeypatch.setattr(reduction, "MOST_STEPS", steps)
        program = Asks(questions=40, held=39)
        reduction_of(program)._find_late_event()
        assert len(program.made) == 1 + 3


@pytest.mark.parametrize(
    ("level", "order", "found_at", "likewise", "late"),
    [
        ("io", "io", "timing", True, False),
        ("io", "tasks", "timing", True, False),
        ("io", "io", "fifo", False, False),
        ("io", "io", None, False, False),
        ("tasks", "tasks", "io", False, False),
        ("tasks", "tasks", "timing", False, True),
        ("timing", "io", None, False, True),
        ("timing", "tasks", None, False, True),
        ("timing", "timing", None, False, False),
        ("timing", "io", "fifo", False, False),
    ],
)
def test_what_is_looked_for_depends_on_what_is_known(level, order, found_at, likewise, late):
    """A tighter level, from the tightest on; and a late event, where it fails by what callbacks take."""
    reducing = reduction_of(Asks())
    reducing._order = order
    looser = reducing.best
    looser.level = level
    log = []

    def find_at(tighter, seed):
        log.append((tighter, seed))
        if tighter != found_at:
            return False
        reducing.best = Made([1])
        reducing.best.level = tighter
        return True

    reducing._find_at = find_at
    for name in ("_tighten", "_shrink", "_find_late_event"):
        setattr(reducing, name, lambda name=name: log.append(name))
    reducing.reduce(7)

    tried = list(tighter_than(level))
    if found_at is not None:
        tried = tried[: tried.index(found_at) + 1]
    found = ["_shrink"] if found_at is not None else []
    assert log == [
        "_tighten",
        "_shrink",
        *((each, 7) for each in tried),
        *found,
        "_tighten",
        *["_find_late_event"] * late,
    ]
    assert reducing.likewise is (looser if likewise else None)


class AsksByOrder:
    """A program that fails where its clock is late, at any order but "fifo"."""

    strict, is_patched = True, False
    KINDS = {"fifo": [], "timing": ["late"], "io": ["late", "hold"], "tasks": ["late", "hold", "task"]}  # noqa: RUF012

    def __init__(self):
        self.made = []

    def run(self, schedule, order):
        choices = [Choice(schedule.choose(2, kind), 2, kind) for kind in self.KINDS[order]]
        made = Made([choice.answer for choice in choices] or [0], fails=any(choices[:1]) and choices[0].answer == 1)
        made.choices, made.order = choices, order
        self.made.append(order)
        return made


def test_at_a_tighter_order_it_fails_without_what_only_looser_ones_ask():
    program = AsksByOrder()
    reducing = reduction_of(program)
    reducing.best.order = "tasks"
    reducing.best.choices = [Choice(1, 2, kind) for kind in ("hold", "late", "task")]
    reducing._tighten()

    assert program.made == ["fifo", "timing"]
    assert (reducing.best.order, reducing.best.answers) == ("timing", [1])


def test_how_far_it_has_come_is_shown():
    shown = []
    progress = types.SimpleNamespace(show_shrinking=lambda first, now: shown.append((first, now)), clear=lambda: None)
    reduction.Reduction(Asks(), Made([1, 2, 0, 3]), progress=progress)._shrink()

    assert shown
    assert {first for first, _ in shown} == {3}
    assert shown[-1] == (3, 1)


def lost(main):
    """Return a program, and a run of it that fails by a late clock, as one of any order may."""
    program = as_explored(main)
    return program, next(
        run for run in (program.run(Random(seed), "io") for seed in range(200)) if run.failed is not None
    )


def test_a_failure_is_looked_for_at_a_tighter_level():
    made = []

    async def main():
        made.append(None)
        balance = 0

        async def deposit(after):
            nonlocal balance
            await asyncio.sleep(after)
            seen = balance
            await asyncio.sleep(0.01)
            balance = seen + 1

        await asyncio.gather(deposit(0.0), deposit(0.03))
        assert balance == 2

    progress = types.SimpleNamespace(show_shrinking=lambda first, now: None, clear=lambda: None)
    program, outcome = lost(main)
    for left, runs in ((0, 0), (1, 1)):
        reducing = reduction.Reduction(program, outcome, progress=progress)
        reducing._left = left
        made.clear()
        assert not reducing._find_at("timing", 1)
        assert len(made) == runs
        assert reducing.best is outcome
    reducing._left = reduction.MOST_STEPS
    assert reducing._find_at("timing", 1)
    assert reducing.best is not outcome
    assert reducing.best.order == "timing"
    assert reducing.best.fails_like(outcome)
    found = reducing.best
    assert not reducing._find_at("fifo", 1)
    assert reducing.best is found

    same = reduction.again(program, outcome, found.answers, "timing")
    assert same.order == "timing"
    assert same.fails_like(outcome)
    assert reduction.again(program, outcome, [], "timing") is None


def test_an_executor_brings_the_same():
    serial = explore(crowded, seed=1, epoch=0, check=False).failure
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        same = explore(crowded, seed=1, epoch=0, check=False, executor=executor).failure

    assert (same.token, same.report) == (serial.token, serial.report)
    assert size(same) == 1


def test_it_costs_no_more_steps_than_it_may(monkeypatch):
    runs = []

    async def main():
        runs.append(None)
        await asyncio.gather(*[asyncio.sleep(0.001 * k) for k in range(300)])
        if virtualloop.choose(range(1000)) >= 500:
            raise LookupError

    def made():
        runs.clear()
        explore(main, check=False)
        return len(runs)

    all_of_them = made()
    monkeypatch.setattr(reduction, "MOST_STEPS", 2000)

    assert made() < all_of_them


def test_ctrl_c_ends_it_with_the_failure_as_it_is():
    runs = []

    async def main():
        runs.append(None)
        await crowded()

    explore(main, seed=1, check=False, shrink=False)
    until_it_fails = len(runs)
    runs.clear()

    async def interrupted():
        runs.append(None)
        if len(runs) == until_it_fails + 3:
            signal.raise_signal(signal.SIGINT)
        await crowded()

    failure = explore(interrupted, seed=1, check=False).failure

    assert isinstance(failure.exception, AssertionError)
    assert "Replay it: " in failure.report


def test_all_of_one_kind_go_first():
    calls = []
    answers = [1] * 30 + [2]

    def attempts(candidates):
        for candidate in candidates:
            calls.append(candidate)
            yield candidate if candidate[-1] else None

    groups = [list(range(30)), [30]]
    *_, small = reduction.shrink(answers, attempts, lambda: groups)

    assert calls[0] == [0] * 30 + [2]
    assert small == [0] * 30 + [1]


@pytest.mark.parametrize("eager", [False, True] if hasattr(asyncio, "eager_task_factory") else [False])
def test_a_task_is_cancelled_where_it_first_waits(eager):
    """Also one that began within the step that made it."""

    async def main():
        if eager:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        waiter = asyncio.get_running_loop().create_future()
        taken = []

        async def user():
            taken.append(None)
            await waiter
            taken.clear()

        task = asyncio.create_task(user(), name="user")
        await asyncio.sleep(0)
        waiter.done() or waiter.set_result(None)
        await asyncio.wait([task])
        assert not taken, "taken and not given back"

    assert explore(main, cancel="user", check=False).failure is not None


def test_tasks_are_cancelled_twice_where_once_finds_nothing():
    async def main():
        """The first cancellation is survived; whoever is cancelled while it cleans up leaves a mess."""
        clean = asyncio.Event()

        async def user():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)
            clean.set()

        await asyncio.wait([asyncio.create_task(user(), name="user")])
        assert clean.is_set() or asyncio.get_running_loop().time() == 0, "not cleaned up"

    failure = explore(main, cancel="user", check=False, order="fifo").failure

    assert sum(answer for answer, _, kind in _token.decode(failure.token).choices if kind == "cancel") == 2
