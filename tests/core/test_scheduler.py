"""The scheduler without a loop: entries are plain tuples, and nobody is outside."""

import itertools
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop._core import scheduler
from virtualloop._core.clock import Clock, LateClock
from virtualloop._core.entries import FIRST, is_wakeup, run
from virtualloop._core.events import ExternalEvent
from virtualloop._core.lateness import HELD, LONGEST, MOST_TURNS
from virtualloop._core.punctual import PunctualScheduler
from virtualloop._core.ready import ReorderingQueue
from virtualloop._core.scheduler import Scheduler
from virtualloop._core.timers import Timers

LATENESS = 50
ORDERS = ["fifo", "timing", "io", "tasks"]


class Plain:
    """A context in which nothing is different."""

    def get(self, variable):
        return None

    def run(self, callback, *args):
        return callback(*args)


HERE = Plain()


class StuckError(Exception):
    pass


class ProgramsTimer:
    """A timer of the program's, by its shape."""

    _args = ()
    _context = HERE
    _scheduled = 0

    def __init__(self, callback):
        self._callback = callback


class Nobody:
    """An outside with nobody in it."""

    def __init__(self):
        self.failures = []

    crowd = staticmethod(lambda: 0)

    def stirs(self):
        return False

    def collect(self, ahead, beside=0):
        return False

    def take_turn(self):
        pass

    def wait(self):
        return False

    def failed(self, exc, entry):
        self.failures.append((exc, entry))

    def deadlock(self):
        return StuckError("deadlock")

    def livelock(self, turns):
        self.turns = turns
        return StuckError("livelock")

    def restless(self, instants):
        return StuckError("restless")

    def endless(self, jumps):
        return StuckError("endless")


class Checking:
    """An instrument that asserts the invariants after each step."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.steps = 0

    def begin_turn(self, *, idle):
        self.scheduler.check()

    def around(self, run):
        def checked(entry):
            run(entry)
            self.steps += 1

        return checked


class World:
    """A scheduler, and a log of what it ran: (tick, name)."""

    def __init__(
        self, order="fifo", choose=lambda n, kind: 0, *, spin_limit=1000, checked=True, replies=False, clock=None
    ):
        self.clock = clock or Clock()
        self.timers = Timers()
        reordering = ReorderingQueue(choose) if order == "tasks" else None
        self.ready = deque() if reordering is None else reordering.items
        self.scheduler = (PunctualScheduler if order == "timing" else Scheduler)(
            clock=self.clock,
            timers=self.timers,
            ready=self.ready,
            queue=self.ready if reordering is None else reordering,
            order=order,
            choose=choose,
            lateness=LATENESS,
            replies=replies,
            spin_limit=spin_limit,
        )
        self.outside = Nobody()
        self.log = []
        if checked:
            self.scheduler.add_instrument(Checking(self.scheduler))

    def does(self, name, then=lambda: None):
        def do():
            self.log.append((self.clock.tick, name))
            then()

        return do

    def soon(self, callback, argument=None):
        self.ready.append((HERE, callback, argument))

    def at(self, tick, callback):
        event = ExternalEvent(callback, kind="test", context=HERE, timers=self.timers)
        self.scheduler.post(tick, event)
        return event

    def drive(self, **end):
        self.scheduler.drive(self.outside, **end)

    def names(self):
        return [name for _, name in self.log]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("checked", [True, False])
def test_what_arrives_at_once_comes_in_with_the_next_turn(order, checked):
    """After what the turn has queued, before the timers that are due, and the clock stands until then."""
    world = World(order, checked=checked)

    def step():
        world.timers.add(0, ProgramsTimer(world.does("due")))
        world.at(0, world.does("event"))
        world.at(0, world.does("another", lambda: world.at(0, world.does("third"))))
        world.soon(world.does("ready"))
        assert not world.scheduler.is_empty()
        assert len(list(world.scheduler.entries())) == 5

    world.at(10, world.does("ten"))
    world.soon(step)
    world.drive(target=20)

    assert world.log == [(0, "ready"), (0, "event"), (0, "another"), (0, "due"), (0, "third"), (10, "ten")]
    assert world.scheduler.is_empty()


def test_what_was_to_arrive_at_once_is_forgotten_with_the_rest():
    world = World()
    world.at(0, world.does("event"))
    assert world.scheduler.has_due()
    world.scheduler.clear()

    assert world.scheduler.is_empty()
    world.drive(target=20)
    assert world.log == []


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("checked", [True, False])
def test_everything_runs_and_the_clock_ends_at_the_target(order, checked):
    world = World(order, checked=checked)
    world.soon(world.does("now"))
    world.at(20, world.does("later"))
    world.at(10, world.does("soon", lambda: world.soon(world.does("next"))))
    world.drive(target=100)

    assert world.log == [(0, "now"), (10, "soon"), (10, "next"), (20, "later")]
    assert world.clock.tick == 100
    assert world.scheduler.reached_end
    assert world.scheduler.is_empty()


def drawn(seed):
    draw = random.Random(seed)
    return lambda n, kind: draw.randrange(n)


@given(st.sampled_from(ORDERS), st.lists(st.integers(0, 200), max_size=8), st.integers())
def test_events_arrive_at_their_tick_or_late_but_never_early(order, ticks, seed):
    world = World(order, drawn(seed))
    for number, tick in enumerate(ticks):
        world.at(tick, world.does(number))
    world.drive(target=1000)

    assert sorted(world.names()) == list(range(len(ticks)))
    bound = {"fifo": 0, "timing": LATENESS}.get(order, 2 * LATENESS)
    assert all(ticks[number] <= tick <= ticks[number] + bound for tick, number in world.log)
    if order in ("fifo", "timing"):
        assert world.names() == sorted(range(len(ticks)), key=lambda number: (ticks[number], number))


@given(st.lists(st.booleans(), max_size=12), st.integers())
def test_nothing_overtakes_a_plain_callback(plain, seed):
    """Wake-ups are tuples that do not end with FIRST; what does end with it is queued as a plain callback is."""
    world = World("tasks", drawn(seed))
    for number, is_plain in enumerate(plain):
        entry = (HERE, world.does(number) if is_plain else (lambda _, number=number: world.does(number)()))
        world.ready.append((*entry, FIRST if is_plain else "a future"))
    world.drive(until_idle=True)

    place = {number: i for i, number in enumerate(world.names())}
    for number, is_plain in enumerate(plain):
        if is_plain:
            assert all(place[number] < place[after] for after in range(number + 1, len(plain)))


@pytest.mark.parametrize("order", ORDERS)
def test_the_plain_answers_are_the_order_of_fifo(order):
    def program(world):
        def chain(name, left):
            return world.does(name, lambda: left and world.soon(chain(f"{name}'", left - 1)))

        for tick in (30, 10, 10, 60):
            world.at(tick, chain(str(tick), 3))
        world.soon(chain("first", 2))
        world.drive(target=200)
        return world.log

    assert program(World(order)) == program(World("fifo"))


#: What each order may ask for, and so what may vary there.
ASKED = {
    "fifo": set(),
    "timing": {"late", "slow", "apart"},
    "io": {"late", "hold", "release"},
    "tasks": {"late", "hold", "release", "task"},
}


@pytest.mark.parametrize("order", ORDERS)
def test_each_order_asks_for_what_may_vary_there_and_for_nothing_else(order):
    asked = set()
    for seed in range(20):
        draw = random.Random(seed)

        def choose(n, kind, draw=draw):
            asked.add(kind)
            return draw.randrange(n)

        world = World(order, choose)
        for tick in (10, 10, 20, 30, 40):
            world.at(tick, world.does(tick, lambda world=world: world.soon(lambda _: None, "a future")))
            world.soon(lambda _: None, "a future")
        world.drive(until_idle=True)

    assert asked - {"apart"} == ASKED[order] - {"apart"}  # timers that the program sets, and not what is outside


def test_what_is_held_arrives_when_it_is_released_after_another_event():
    releases = iter([2, 0])
    holds = iter([HELD, HELD, HELD, 0])
    world = World("io", lambda n, kind: next({"hold": holds, "release": releases}.get(kind, iter([0])), 0))
    for name in ("a", "b", "c"):
        world.at(10, world.does(name))
    world.at(10, world.does("on time"))
    world.at(10 + LATENESS // 2, world.does("after"))
    world.drive(until_idle=True)

    assert world.names()[:2] == ["on time", "b"]
    assert sorted(world.names()) == ["a", "after", "b", "c", "on time"]


@pytest.mark.parametrize("answer", [1, HELD])
def test_what_is_set_for_a_past_tick_is_held_in_its_order(answer):
    """A deadline may have passed before its timer is set; those that are held are in the order of their deadlines."""
    world = World("io", lambda n, kind: answer if kind == "hold" else 0)
    world.at(20, world.does("canceller", lambda: world.soon(world.does("goes on"))))
    world.clock.move(30)
    for tick in (30, 25, 10, 27):
        world.at(tick, world.does(tick))
        world.scheduler.arrivals.begin_turn(None, leaving=False)
        world.scheduler.check()
    world.drive(until_idle=True)

    assert sorted(map(str, world.names())) == ["10", "25", "27", "30", "canceller", "goes on"]


def test_what_was_cancelled_while_it_was_held_is_not_released():
    holds = iter([HELD, 0])
    world = World("io", lambda n, kind: next(holds, 0) if kind == "hold" else n - 1 if kind == "release" else 0)
    event = world.at(10, world.does("held"))
    world.at(10, world.does("first"))
    world.at(10, world.does("pending"))
    world.scheduler.arrivals.on_hold = lambda held: held.cancel()
    world.drive(until_idle=True)

    assert event._callback is None
    assert world.names() == ["first", "pending"]


def test_a_scheduler_is_empty_when_nothing_is_left_to_run():
    world = World("io", lambda n, kind: 0)
    assert world.scheduler.is_empty()
    world.soon(world.does("ready"))
    assert not world.scheduler.is_empty()
    world.drive(until_idle=True)
    world.at(10, world.does("pending"))
    assert not world.scheduler.is_empty()
    world.drive(until_idle=True)
    assert world.scheduler.is_empty()


def test_an_event_that_is_cancelled_never_arrives():
    holds = iter([HELD])
    world = World("io", lambda n, kind: next(holds, 0) if kind == "hold" else 0)
    held = world.at(10, world.does("held"))
    world.at(20, world.does("canceller", held.cancel))
    pending = world.at(500, world.does("pending"))
    pending.cancel()
    pending.cancel()
    world.drive(until_idle=True)

    assert world.names() == ["canceller"]


def first_is(answer, asked):
    """Return a choose() whose first answer about an event is this one; what it is asked goes into a list."""
    answers = iter([answer])

    def choose(n, kind):
        asked.append((n, kind))
        return next(answers, 0) if kind in ("hold", "reply") else 0

    return choose


@pytest.mark.parametrize("turns", range(1, MOST_TURNS + 1))
def test_an_event_is_late_by_so_many_turns(turns):
    """It arrives behind what was queued by then, as from select(), and at the latest when nothing else is left."""

    def chain(world, left):
        return world.does(f"turn {left}", lambda: left and world.soon(chain(world, left - 1)))

    asked = []
    world = World("io", first_is(turns, asked))
    world.at(10, world.does("late"))
    world.at(10, chain(world, 2))
    world.drive(until_idle=True)

    expected = ["turn 2", "turn 1", "turn 0"]
    expected.insert(min(turns + 1, 3), "late")
    assert world.names() == expected
    assert {tick for tick, _ in world.log} == {10}


def test_what_nothing_could_overtake_is_not_asked_about():
    asked = []
    world = World("io", first_is(HELD, asked))
    world.at(10, world.does("alone"))
    world.at(10 + LATENESS + 1, world.does("far"))
    world.drive(until_idle=True)

    assert world.names() == ["alone", "far"]
    assert [kind for _, kind in asked] == []


@pytest.mark.parametrize("near", [False, True])
def test_a_reply_may_take_longer_than_any_lateness(near):
    """How it is asked for depends on whether anything else could happen before it; how late it is, does not."""
    asked = []
    ticks = 20 * LATENESS
    world = World("io", first_is(ticks + (HELD if near else 0), asked), replies=True)
    world.at(10, world.does("reply"))
    world.at(10 + LATENESS * 10, world.does("timeout"))
    if near:
        world.at(11, world.does("near"))
    world.drive(until_idle=True)

    assert world.log[-1] == (10 + ticks, "reply")
    assert asked[0] == ((HELD + 1 + LONGEST, "hold") if near else (1 + LONGEST, "reply"))


def test_a_reply_that_takes_longer_may_be_cancelled_meanwhile():
    world = World("io", first_is(20 * LATENESS, []), replies=True)
    reply = world.at(10, world.does("reply"))
    world.at(10 + LATENESS * 10, world.does("timeout", reply.cancel))
    world.drive(until_idle=True)

    assert world.names() == ["timeout"]


def test_the_ends_of_a_drive_are_told_apart():
    world = World()
    with pytest.raises(StuckError, match="deadlock"):
        world.drive()
    world.drive(until_idle=True)

    assert world.scheduler.reached_end
    world.scheduler.stop()
    world.drive(target=10)
    assert not world.scheduler.reached_end
    assert world.clock.tick == 0


def test_jumps_are_counted_where_they_are_limited():
    for checked in (True, False):
        world = World(checked=checked)
        world.scheduler.most_jumps = 5

        def beat(world=world):
            world.at(world.clock.tick + 1, beat)

        beat()
        with pytest.raises(StuckError, match="endless"):
            world.drive()
        assert world.clock.tick == 6


def test_polling_makes_the_clock_creep_and_without_a_deadline_is_a_livelock():
    world = World(checked=False)

    def poll():
        if not any(name == "timer" for _, name in world.log):
            world.soon(poll)

    poll()
    world.at(100, world.does("timer"))
    world.drive(until_idle=True)
    assert world.log == [(100, "timer")]

    world = World(checked=False)

    def spin():
        world.soon(spin)

    spin()
    with pytest.raises(StuckError, match="livelock"):
        world.drive()


def test_the_clock_creeps_as_slowly_as_before_after_it_has_moved_by_itself():
    """It creeps faster and faster while a program polls for long; the next time it polls is another one."""
    world = World(checked=False)

    def crept(target):
        ticks = []

        def poll():
            if world.clock.tick not in ticks[-1:]:
                ticks.append(world.clock.tick)
            if world.clock.tick < target:
                world.soon(poll)

        poll()
        world.at(target, world.does("timer"))
        world.drive(until_idle=True)
        return [after - before for before, after in itertools.pairwise(ticks)]

    first = crept(30_000)
    assert max(first) > 2 * first[0]
    world.at(40_000, world.does("jump"))
    world.at(50_000, world.does("jump"))
    world.drive(until_idle=True)

    assert crept(80_000)[:10] == first[:10]


class Handle:
    """What stands in the queue for a plain callback."""

    _context = HERE

    def __init__(self, callback, *args):
        self._callback, self._args = callback, args


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("count", range(5))
def test_a_callback_is_given_all_its_arguments(order, checked, count):
    world = World(order, checked=checked)
    world.ready.append(Handle(lambda *args: world.log.append(args), *range(count)))
    world.drive(until_idle=True)

    assert world.log == [tuple(range(count))]


def test_what_fails_is_reported_and_the_rest_goes_on():
    for order, checked in itertools.product(ORDERS, (True, False)):
        world = World(order, checked=checked)
        world.soon(lambda: 1 / 0)
        failing = world.ready[-1]
        world.soon(world.does("rest"))
        world.drive(until_idle=True)

        ((exc, entry),) = world.outside.failures
        assert isinstance(exc, ZeroDivisionError)
        assert entry is failing
        assert world.names() == ["rest"]


def test_an_exit_leaves_the_rest_for_the_next_drive():
    for order in ORDERS:
        world = World(order, checked=False)

        def leave():
            raise KeyboardInterrupt

        world.soon(leave)
        world.soon(world.does("rest"))
        with pytest.raises(KeyboardInterrupt):
            world.drive()
        world.drive(until_idle=True)

        assert world.names() == ["rest"]


class Waiter:
    def __init__(self, log, name):
        self.log, self.name, self.cancelled = log, name, False

    def done(self):
        return self.cancelled

    def set_result(self, result):
        self.log.append(self.name)


def test_waiters_go_on_when_all_else_at_their_tick_has_settled():
    world = World()
    for name, tick in (("b", 20), ("a", 10), ("c", 20)):
        world.scheduler.await_tick(tick, Waiter(world.log, name))
    gone = Waiter(world.log, "gone")
    gone.cancelled = True
    world.scheduler.await_tick(5, gone)
    world.scheduler.await_idle(Waiter(world.log, "idle"))
    world.at(10, lambda: world.log.append("ten"))
    world.at(30, lambda: world.log.append("thirty"))
    world.drive(until_idle=True)

    assert world.log == ["ten", "a", "b", "c", "thirty", "idle"]
    assert world.clock.tick == 30


def test_a_callback_takes_no_longer_than_somebody_waits_for():
    """What it has begun to wait for in the same turn, too."""
    world = World("timing", lambda n, kind: int(kind == "slow"))
    world.at(30, world.does("thirty"))
    world.soon(lambda: world.scheduler.await_tick(10, Waiter(world.log, "ten")))
    world.soon(world.does("next"))
    world.soon(world.does("last"))
    world.drive(until_idle=True)

    assert world.log == [(0, "next"), (0, "last"), "ten", (30, "thirty")]


@pytest.mark.parametrize("checked", [False, True])
def test_in_the_middle_of_a_turn_one_question_is_for_all_callbacks_that_are_left(checked):
    asked = []

    def choose(n, kind):
        if kind != "slow":
            return 0
        asked.append((n, *world.names()[-1:]))
        return 2 if n == 5 else 0

    world = World("timing", choose, checked=checked)
    for tick in (10, 20, 30):
        world.at(tick, world.does(str(tick)))
    for name in "abcde":
        world.soon(world.does(name))
    world.drive(until_idle=True)

    assert asked[0] == (5, "a")
    assert [name for _, name in asked].count("c") == 0  # what is due by now is not passed by
    assert world.log[:5] == [(0, "a"), (0, "b"), (10, "c"), (10, "d"), (10, "e")]


@pytest.mark.parametrize("checked", [False, True])
def test_a_callback_that_is_slow_where_nothing_is_due_is_so_in_its_own_turn_only(checked):
    timers = []
    world = World("timing", lambda n, kind: int(kind == "slow" and n == 4) * 3, checked=checked)
    timers.append(world.at(10, world.does("ten")))
    world.soon(world.does("a"))
    world.soon(world.does("b", lambda: timers[0].cancel()))
    world.soon(world.does("c", lambda: [world.soon(world.does(name)) for name in "xy"]))
    world.soon(world.does("d", lambda: world.at(20, world.does("twenty"))))
    world.drive(until_idle=True)

    assert world.log == [(0, "a"), (0, "b"), (0, "c"), (0, "d"), (0, "x"), (0, "y"), (20, "twenty")]


def test_a_source_is_looked_at_each_turn_before_the_timers():
    world = World()

    class Pipe:
        written = 0

        def poll(self):
            if self.written:
                self.written -= 1
                world.soon(world.does("readable"))

        def write(self):
            self.written += 1
            world.at(world.clock.tick, world.does("due"))

    pipe = Pipe()
    world.scheduler.add_source(pipe)
    world.at(10, world.does("timer", pipe.write))
    world.drive(target=50)
    world.scheduler.remove_source(pipe)
    pipe.write()
    world.drive(target=60)

    assert world.log == [(10, "timer"), (10, "readable"), (10, "due"), (50, "due")]


def test_instruments_are_nested_as_they_were_added():
    world = World(checked=False)

    class Named:
        def __init__(self, name):
            self.name = name

        def around(self, run):
            def named(entry):
                world.log.append(self.name)
                run(entry)

            return named

    outer, inner = Named("outer"), Named("inner")
    world.scheduler.add_instrument(outer)
    world.scheduler.add_instrument(inner, innermost=True)
    world.soon(lambda: world.log.append("step"))
    world.drive(until_idle=True)
    world.scheduler.remove_instrument(outer)
    world.soon(lambda: world.log.append("step"))
    world.drive(until_idle=True)

    assert world.log == ["outer", "inner", "step", "inner", "step"]


def test_all_that_is_to_run_is_listed_in_its_order():
    late = iter([HELD, 2, 0, 0])
    world = World("io", lambda n, kind: next(late, 0) if kind == "hold" else 0)
    seen = []

    def look():
        seen.extend(entry._callback.__name__ for entry in world.scheduler.entries() if type(entry) is not tuple)
        seen.extend(entry[1].__name__ for entry in world.scheduler.entries() if type(entry) is tuple)

    def held(): ...

    def by_turns(): ...

    def ready(): ...

    def pending(): ...

    world.at(10, held)
    world.at(20, by_turns)
    world.at(20, lambda: (world.soon(ready), look()))
    world.at(500, pending)
    world.drive(until_idle=True)
    assert seen == ["held", "by_turns", "pending", "ready"]
    world.at(500, pending)
    world.soon(ready)
    world.scheduler.clear()
    assert list(world.scheduler.entries()) == []


def test_what_an_entry_is():
    log = []
    run((HERE, lambda: log.append("step"), None))
    run((HERE, lambda: log.append("first"), FIRST))
    run((HERE, log.append, "future"))
    event = ExternalEvent(lambda: log.append("event"), kind="test", context=HERE, timers=Timers())
    run(event)
    event.cancel()
    run(event)

    assert log == ["step", "first", "future", "event"]
    assert [is_wakeup(entry) for entry in ((HERE, run, None), (HERE, run, FIRST), (HERE, run, 1), event)] == [
        False,
        False,
        True,
        False,
    ]


def _past_its_stop(world):
    world.scheduler.await_tick(5, Waiter([], "late"))
    world.clock.move(6)


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (_past_its_stop, "the clock has passed where it had to stop"),
        (lambda world: world.timers.ticks.append(3), "the heap and the dict disagree"),
        (lambda world: setattr(world.scheduler.queue, "loose", 1), "the places are out of order"),
        (lambda world: world.scheduler.arrivals.by_turns.update({1: []}), "a turn in which nothing arrives"),
    ],
)
def test_a_check_looks_at_all_parts(harm, text):
    world = World("tasks")
    world.scheduler.await_tick(100, Waiter([], "in time"))
    world.scheduler.check()
    harm(world)

    with pytest.raises(AssertionError, match=rf"^{text}"):
        world.scheduler.check()


# --- the bodies -------------------------------------------------------------------------------------------------------

BODIES = pytest.mark.parametrize(
    ("order", "checked"), [(order, checked) for order in ORDERS for checked in (False, True)]
)


@BODIES
@pytest.mark.parametrize("count", [1, 15, 16, 17, 18, 19, 100])
def test_what_is_ready_runs_in_one_turn_and_what_it_queues_in_the_next(order, checked, count):
    world = World(order, checked=checked)
    for number in range(count):
        world.soon(world.does(number, lambda number=number: world.soon(world.does(-number))))
    world.drive(until_idle=True)

    assert world.names() == [*range(count), *(-number for number in range(count))]


@BODIES
def test_jumps_are_counted_over_drives_however_they_end(order, checked):
    world = World(order, checked=checked)
    world.scheduler.most_jumps = 6

    def interrupt():
        raise KeyboardInterrupt

    for tick in (100, 200):
        world.at(tick, world.does(tick))
    world.at(300, interrupt)
    with pytest.raises(KeyboardInterrupt):
        world.drive()
    world.at(400, world.does(400, world.scheduler.stop))
    world.drive()
    for tick in range(500, 1000, 100):
        world.at(tick, world.does(tick))
    with pytest.raises(StuckError, match="endless"):
        world.drive()

    assert world.names() == [100, 200, 400, 500, 600]


@pytest.mark.parametrize("order", ["io", "tasks"])
@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize(("tick", "asked"), [(LATENESS - 1, 4), (LATENESS, 4), (LATENESS + 1, 0)])
def test_the_clock_may_be_late_by_its_lateness_and_no_more_in_each_turn(order, checked, tick, asked):
    questions = []
    world = World(order, lambda n, kind: questions.append(kind) or 0, checked=checked)

    def step(left):
        if left:
            world.soon(lambda: step(left - 1))

    world.soon(lambda: step(3))
    world.at(tick, world.does("due"))
    world.drive(until_idle=True)

    assert questions.count("late") == asked
    assert world.log == [(tick, "due")]


class Asked(Nobody):
    """Counts how often it is asked whether anything stirs, and by how much of a crowd."""

    def __init__(self):
        super().__init__()
        self.stirred = 0

    def stirs(self):
        self.stirred += 1
        return False


@pytest.mark.parametrize(
    ("order", "clock", "often"),
    [
        ("fifo", Clock, False),
        ("fifo", LateClock, True),
        ("timing", Clock, False),
        ("io", LateClock, False),
    ],
)
def test_a_loop_that_is_alone_does_not_ask_at_each_jump(order, clock, often):
    """By a clock that goes elsewhere than it is sent, others have to look at it each time."""
    world = World(order, checked=False, clock=clock())
    world.outside = Asked()
    for tick in range(1000, 101_000, 1000):
        world.at(tick, world.does(tick))
    world.at(101_000, world.scheduler.stop)
    world.drive()

    assert len(world.log) == 100
    assert (world.outside.stirred > 50) is often


@BODIES
def test_who_waits_for_the_loop_to_settle_or_a_source_is_looked_at_at_each_jump(order, checked):
    world = World(order, checked=checked)
    polled = []

    class Source:
        def poll(self):
            polled.append(world.clock.tick)

    for tick in (1000, 2000, 3000):
        world.at(tick, world.does(tick))
    world.at(1500, lambda: world.scheduler.add_source(source))
    world.at(4000, world.scheduler.stop)
    source = Source()
    waiter = Waiter(world.log, "waited")
    world.at(2500, lambda: world.scheduler.await_tick(2700, waiter))
    world.drive()

    assert set(polled) >= {2000, 2700, 3000}
    assert world.log == [(1000, 1000), (2000, 2000), "waited", (3000, 3000)]
    assert not world.scheduler.alone


def test_who_never_is_idle_is_told_after_so_many_instants(monkeypatch):
    monkeypatch.setattr(scheduler, "IDLE_LIMIT", 5)
    for again in range(2):
        world = World(checked=False)
        if again:
            world.at(1, world.does("before"))
            world.drive(until_idle=True)
        began = world.clock.tick

        def beat(world=world):
            world.at(world.clock.tick + 1, beat)

        beat()
        with pytest.raises(StuckError, match="restless"):
            world.drive(until_idle=True)
        assert world.clock.tick == began + 6


class Named:
    """An instrument that logs its name at each step."""

    def __init__(self, world, name):
        self.world, self.name = world, name

    def around(self, run):
        def named(entry):
            self.world.log.append(self.name)
            run(entry)

        return named


def test_an_instrument_goes_inside_of_another_one():
    world = World(checked=False)
    first, second, third, last = (Named(world, name) for name in ("first", "second", "third", "last"))
    for instrument in (first, second):
        world.scheduler.add_instrument(instrument)
    world.scheduler.add_instrument(third, inside=second)
    world.scheduler.add_instrument(last, inside=first)
    world.soon(lambda: world.log.append("step"))
    world.drive(until_idle=True)

    assert world.log == ["second", "third", "first", "last", "step"]


def test_instruments_come_and_go_while_the_loop_runs():
    world = World(checked=False)
    instrument, other = Named(world, "looks"), Named(world, "other")
    world.soon(world.does("first", lambda: world.scheduler.add_instrument(instrument)))
    world.at(1, world.does("second", lambda: world.scheduler.add_instrument(other)))
    world.at(2, world.does("third", lambda: world.scheduler.remove_instrument(instrument)))
    world.at(3, world.does("fourth", lambda: world.scheduler.remove_instrument(other)))
    world.at(4, world.does("fifth"))
    world.drive(until_idle=True)

    assert [each if type(each) is str else each[1] for each in world.log] == [
        *("first", "looks", "second", "other", "looks", "third", "other", "fourth", "fifth")
    ]


class Silent:
    """A source from which nothing comes."""

    def poll(self):
        pass


@BODIES
@pytest.mark.parametrize(("crowd", "source"), [(1, False), (7, False), (1, True)])
def test_so_many_steps_at_one_instant_are_a_livelock(order, checked, crowd, source):
    world = World(order, checked=checked, spin_limit=1000)
    if source:
        world.scheduler.add_source(Silent())
    steps = []

    def spin():
        steps.append(world.clock.tick)
        world.soon(spin)

    for _ in range(crowd):
        world.soon(spin)
    with pytest.raises(StuckError, match="livelock"):
        world.drive()

    assert set(steps) == {0}
    assert world.outside.turns == len(steps) // crowd
    assert 1000 <= len(steps) < 1000 + (1 if crowd == 1 else 1000 // 20)


@BODIES
def test_polling_makes_the_clock_creep_to_the_next_timer(order, checked):
    """A look for every fiftieth turn, by as many ticks."""
    world = World(order, checked=checked, spin_limit=1000)
    ticks = []

    def poll():
        ticks.append(world.clock.tick)
        if "timer" not in world.names():
            world.soon(poll)

    poll()
    world.at(120, world.does("timer"))
    world.drive(until_idle=True)

    assert sorted(set(ticks)) == [0, 50, 100, 120]
    assert ticks.count(50) == ticks.count(100) == 50


@BODIES
def test_sources_and_what_is_due_are_looked_at_in_each_turn_while_others_run(order, checked):
    world = World(order, checked=checked)
    polled = []

    class Source:
        def poll(self):
            polled.append(world.names()[-1:])

    world.scheduler.add_source(Source())

    def chain(left):
        return world.does(left, lambda: left and world.soon(chain(left - 1)))

    world.soon(world.does("sets", lambda: world.at(world.clock.tick, world.does("due"))))
    world.soon(chain(3))
    world.drive(until_idle=True)

    assert world.names() == ["sets", 3, 2, "due", 1, 0]
    assert polled[:5] == [[], [3], ["due"], [1], [0]]


class Reports(Nobody):
    """Makes some turns itself when a spin is to be reported, to see its last steps."""

    def __init__(self, world):
        super().__init__()
        self.world = world
        self.ran, self.spins = [], []

    def livelock(self, turns):
        self.spins.extend(self.world.scheduler.make_turn(self.run) for _ in range(4))

    def run(self, entry):
        self.ran.append(self.world.clock.tick)
        run(entry)


@BODIES
def test_a_spin_that_ends_while_it_is_looked_at_is_none(order, checked):
    world = World(order, checked=checked, spin_limit=1000)
    world.outside = Reports(world)
    left = iter(range(1002))

    def spin():
        if next(left, None) is not None:
            world.soon(spin)
        else:
            world.at(5, world.does("later"))

    spin()
    world.drive(until_idle=True)

    # Two turns at the instant of the spin; then the clock moves, and what was set for later comes.
    assert world.outside.spins == [True, True, False, True]
    assert world.outside.ran == [0, 0, 5]
    assert world.log == [(5, "later")]


@pytest.mark.parametrize("order", ["io", "tasks"])
@pytest.mark.parametrize("checked", [False, True])
def test_the_clock_does_not_creep_past_what_is_held(order, checked):
    world = World(order, first_is(HELD, []), checked=checked, spin_limit=1400)  # by 70 ticks at a time
    world.at(10, world.does("held"))
    world.at(10, world.does("on time"))

    def poll():
        if "last" not in world.names():
            world.soon(poll)

    world.at(10, poll)
    world.at(1000, world.does("last"))
    world.drive(until_idle=True)

    assert world.log == [(10, "on time"), (10 + LATENESS, "held"), (1000, "last")]


@pytest.mark.parametrize("order", ["io", "tasks"])
@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("source", [False, True])
def test_in_the_last_turn_before_a_stop_the_clock_is_not_late(order, checked, source):
    world = World(order, lambda n, kind: int(kind == "late"), checked=checked)
    if source:
        world.scheduler.add_source(Silent())
    world.scheduler.stop()
    world.soon(world.does("ready"))
    world.at(10, world.does("later"))
    world.drive()

    assert world.log == [(0, "ready")]
    assert world.clock.tick == 0
    world.drive(until_idle=True)
    assert world.names() == ["ready", "later"]


def test_the_order_of_tasks_varies_or_not():
    world = World("tasks", lambda n, kind: n - 1 if kind == "task" else 0)

    def order():
        world.log.clear()
        for name in "abc":
            world.soon(lambda _, name=name: world.does(name)(), "a future")
        world.drive(until_idle=True)
        return "".join(world.names())

    varied = order()
    world.scheduler.vary_tasks(vary=False)
    assert order() == "abc" != varied
    world.scheduler.vary_tasks(vary=True)
    assert order() == varied
    World("io").scheduler.vary_tasks(vary=False)  # where it does not vary in any case


class Stirring(Nobody):
    """An outside where something may be at work; it says how far ahead the next event is each time it is asked."""

    def __init__(self):
        super().__init__()
        self.ahead = []

    def stirs(self):
        return True

    def collect(self, ahead, beside=0):
        self.ahead.append(ahead)
        return False


@BODIES
def test_who_is_at_work_is_waited_for_until_what_happens_next(order, checked):
    world = World(order, checked=checked)
    world.outside = Stirring()
    world.at(100, world.does("timer"))
    world.scheduler.await_tick(40, Waiter(world.log, "waited"))
    world.drive(target=300)
    assert world.outside.ahead == [40, 100, 300]
    world.outside.ahead.clear()
    world.drive(until_idle=True)
    assert set(world.outside.ahead) == {300}  # Nothing will happen, and that is waited for.
    world.outside.ahead.clear()
    with pytest.raises(StuckError, match="deadlock"):
        world.drive()
    assert set(world.outside.ahead) == {None}
    assert world.log == ["waited", (100, "timer")]


@pytest.mark.parametrize("order", ORDERS)
def test_each_drive_looks_anew_whether_anybody_is_at_work(order):
    world = World(order, checked=False)

    def driven(outside):
        world.outside = outside
        for tick in range(1000, 11_000, 1000):
            world.at(world.clock.tick + tick, int)
        world.at(world.clock.tick + 11_000, world.scheduler.stop)
        world.drive()
        return outside

    assert len(driven(Stirring()).ahead) > 9
    assert driven(Asked()).stirred < 5
    world.drive(target=world.clock.tick + 1)
    assert driven(Asked()).stirred < 5
    assert len(driven(Stirring()).ahead) > 9
