"""What the loop goes to without a question: a timer that nothing can come in before, and that is late by nothing."""

from collections import deque

import pytest

from virtualloop._core.arrivals import Arrivals
from virtualloop._core.clock import Clock, LateClock
from virtualloop._core.punctual import Punctual
from virtualloop._core.ready import ReorderingQueue
from virtualloop._core.timers import Timers

LATENESS = 50


class Timer:
    def __init__(self, number):
        self._callback = print
        self._context = None
        self._scheduled = number


class World:
    def __init__(self, *ticks, kind=Arrivals, clock=None, replies=False):
        self.timers, self.ready, self.asked = Timers(), deque(), []
        self.clock = clock or Clock()
        self.arrivals = kind(
            clock=self.clock,
            timers=self.timers,
            ready=self.ready,
            queue=self.ready,
            choose=lambda n, question: self.asked.append(question) or 0,
            lateness=LATENESS,
            replies=replies,
        )
        for number, tick in enumerate(ticks, 1):
            self.timers.number = number
            self.timers.add(tick, Timer(number))

    def begins_at(self, tick):
        """What jump() stands for."""
        self.clock.move(tick)
        self.arrivals.begin_at(self.clock.tick)
        self.arrivals.begin_turn(None, leaving=False)


@pytest.mark.parametrize("kind", [Arrivals, Punctual])
@pytest.mark.parametrize("clock", [Clock, LateClock])
@pytest.mark.parametrize("second", range(100 + LATENESS - 3, 100 + LATENESS + 4))
def test_what_is_gone_to_is_nothing_that_would_have_been_asked_about(kind, clock, second):
    jumping, stepping = (World(100, second, kind=kind, clock=clock()) for _ in range(2))
    stepping.begins_at(100)
    if not jumping.arrivals.jump():
        return
    assert not stepping.asked
    assert [event._scheduled for event in jumping.ready] == [event._scheduled for event in stepping.ready] == [1]
    for world in (jumping, stepping):
        world.arrivals.check()
        world.timers.check()
    assert (jumping.clock.tick, jumping.arrivals.instant, jumping.arrivals.horizon) == (
        stepping.clock.tick,
        stepping.arrivals.instant,
        stepping.arrivals.horizon,
    )


@pytest.mark.parametrize("kind", [Arrivals, Punctual])
def test_it_is_gone_to_where_the_next_one_is_far(kind):
    assert World(100, kind=kind).arrivals.jump()
    assert World(100, 200, 1000, kind=kind).arrivals.jump()
    assert not World(100, 1000, 120, kind=kind).arrivals.jump()
    assert not World(100, 100, kind=kind).arrivals.jump()
    assert not World(kind=kind).arrivals.jump()


def test_what_could_be_put_off_behind_another_one_is_asked_about():
    assert not World(100, 1000, replies=True).arrivals.jump()
    assert World(100, replies=True).arrivals.jump()


@pytest.mark.parametrize("kind", [Arrivals, Punctual])
@pytest.mark.parametrize("clock", [Clock, LateClock])
@pytest.mark.parametrize("ticks", [(100, 120), (100, 100), (100, 120, 400)])
def test_a_turn_begins_where_there_is_something_to_ask(kind, clock, ticks):
    moving, stepping = (World(*ticks, kind=kind, clock=clock(), replies=True) for _ in range(2))
    stepping.begins_at(100)
    assert moving.arrivals.move_on()
    moving.arrivals.check()
    for of in (lambda w: w.asked, lambda w: len(w.ready), lambda w: (w.clock.tick, w.arrivals.horizon)):
        assert of(moving) == of(stepping)
    assert moving.asked


def test_nobody_moves_on_from_what_is_due_or_held_or_the_last():
    held, due, cancelled = World(100, 120), World(100, 120), World(100, 120)
    held.arrivals.held.append((0, 1, Timer(3)))
    due.clock.move(100)
    due.timers.by_tick[100]._callback = None  # also where it was cancelled
    for world in (held, due):
        assert not world.arrivals.move_on()
        assert sorted(world.timers.by_tick) == [100, 120]
    for event in cancelled.timers.by_tick.values():
        event._callback = None
    assert not cancelled.arrivals.move_on()
    assert not World().arrivals.move_on()


def test_what_was_set_late_is_looked_at():
    world = World(100, kind=Punctual)
    (event,) = world.timers.of(100)
    world.arrivals._moments.delay(event, 0)
    assert not world.arrivals.jump()


# --- invariants -------------------------------------------------------------------------------------------------------


def holding():
    """Return what holds two events, and two more by turns, at tick 40."""
    world = World()
    world.clock.move(40)
    arrivals = world.arrivals
    arrivals.held[:] = [(10, 1, Timer(1)), (30, 2, Timer(2))]
    arrivals.by_turns.update({3: [(20, 3, Timer(3))], 4: [(40, 4, Timer(4))]})
    arrivals.check()
    return arrivals


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (lambda arrivals: arrivals.held.reverse(), "those that are held are out of order"),
        (lambda arrivals: arrivals.by_turns[3].insert(0, (30, 5, Timer(5))), "those that are held are out of order"),
        (lambda arrivals: arrivals.held.append((41, 5, Timer(5))), "held before its deadline"),
        (lambda arrivals: arrivals.by_turns[4].append((41, 5, Timer(5))), "held before its deadline"),
        (lambda arrivals: arrivals._due.append((41, Timer(5))), "held before its deadline"),
        (lambda arrivals: arrivals._clock.move(61), "held for too long"),
        (lambda arrivals: arrivals.by_turns[3].clear(), "a turn in which nothing arrives"),
        (lambda arrivals: arrivals.by_turns.update({0: [(40, 5, Timer(5))]}), "held for too many turns"),
    ],
)
def test_a_check_says_what_is_wrong(harm, text):
    arrivals = holding()
    harm(arrivals)

    with pytest.raises(AssertionError, match=rf"^{text}"):
        arrivals.check()


def test_as_late_as_it_may_be_is_not_too_late():
    arrivals = holding()
    arrivals._clock.move(60)
    arrivals.check()


# --- what is held -----------------------------------------------------------------------------------------------------


def test_what_is_held_and_due_is_listed_by_tick():
    arrivals = holding()
    arrivals._due.append((40, Timer(5)))

    assert [event._scheduled for event in arrivals.events()] == [1, 3, 2, 4, 5]
    assert arrivals.pending()
    assert arrivals.latest() == 10 + LATENESS
    del arrivals.held[0]
    assert arrivals.latest() == 20 + LATENESS
    arrivals.by_turns.clear()
    assert arrivals.latest() == 30 + LATENESS
    arrivals.held.clear()
    assert arrivals.latest() is None
    assert arrivals.pending()
    arrivals.clear()
    assert not arrivals.pending()
    assert list(arrivals.events()) == []


@pytest.mark.parametrize("part", ["held", "by_turns", "due"])
def test_all_are_forgotten_at_once(part):
    world = World()
    arrivals = world.arrivals
    event = (0, 1, Timer(1))
    {"held": arrivals.held.append, "by_turns": lambda late: arrivals.by_turns.update({2: [late]})}.get(
        part, lambda late: arrivals._due.append((0, late[2]))
    )(event)
    assert arrivals.pending()
    assert [each._scheduled for each in arrivals.events()] == [1]
    arrivals.clear()

    assert not arrivals.pending()


def test_only_those_that_have_been_late_for_as_long_as_may_be_arrive():
    world = World()
    world.clock.move(40)
    world.arrivals.held[:] = [(9, 1, Timer(1)), (10, 2, Timer(2)), (11, 3, Timer(3)), (12, 4, Timer(4))]
    world.arrivals.by_turns.update({9: [(10, 5, Timer(5)), (11, 6, Timer(6))], 8: [(9, 7, Timer(7))]})
    world.clock.move(10 + LATENESS)
    world.arrivals._deliver_overdue(world.clock.tick)

    assert [event._scheduled for event in world.ready] == [1, 7, 2, 5]
    assert [event._scheduled for event in world.arrivals.events()] == [3, 6, 4]
    assert list(world.arrivals.by_turns) == [9]


@pytest.mark.parametrize("reordering", [False, True])
def test_the_state_is_the_same_in_all_runs_that_came_the_same_way(reordering):
    """Whatever the objects are, and however many turns there were before."""

    def state_of(names, before, due=3):
        world = World()
        queue = ReorderingQueue(lambda n, kind: 0) if reordering else world.ready
        arrivals = Arrivals(
            clock=world.clock,
            timers=world.timers,
            ready=world.ready,
            queue=queue,
            choose=lambda n, kind: 0,
            lateness=LATENESS,
        )
        world.clock.move(30)
        for _ in range(before):
            arrivals.begin_turn(None, leaving=True)
        arrivals.begin_at(world.clock.tick)
        held, by_turns, last = (Timer(number) for number in (1, 2, 3))
        arrivals.held.append((10, 1, held))
        arrivals.by_turns[before + 2] = [(20, 2, by_turns)]
        arrivals._due.append((30, last))
        arrivals.names = {id(held): (10, 0, held), id(by_turns): (20, 1, by_turns), id(last): (30, due, last)}
        (queue.items if reordering else queue).extend(names)
        return arrivals.state(lambda entry: entry.upper())

    state = state_of("ab", 0)
    assert state == state_of("ab", 5)
    assert len({state, state_of("ab", 1), state_of("ba", 0), state_of("ab", 0, due=4)}) == 3
    assert state[-3:] == (((10, 0),), ((2, (20, 1)),), ((30, 3),))
    assert state[-5:-3] == ("A", "B")
