"""What is known of when timers were set, without a loop."""

import pytest

from virtualloop._core.clock import Clock
from virtualloop._core.moments import MANY, MOMENT, Moments
from virtualloop._core.timers import Timers


class Timer:
    """What the moments see of a timer."""

    _context = None

    def __init__(self, name, number, deadline):
        self._callback = name
        self._scheduled = number
        self._when = deadline

    def __repr__(self):
        return self._callback


class World:
    """A clock, and timers that are set."""

    def __init__(self):
        self.clock = Clock()
        self.timers = Timers()
        self.moments = Moments(self.clock, self.timers)

    def sets(self, *names, deadline=None):
        timers = []
        for name in names:
            self.timers.number += 1
            timers.append(Timer(name, self.timers.number * (1 if deadline is None else -1), deadline))
        return timers

    def moves(self, tick):
        self.clock.move(tick)
        self.moments.look()

    def candidates(self, *timers, beside=(), ticks=0):
        return self.moments.candidates(list(timers), self.moments.only_interval(timers), beside, ticks)

    def arrives(self, *timers):
        self.moments.arrive(list(timers), self.moments.only_interval(timers))

    def delays(self, timer, ticks=0):
        self.moments.delay(timer, ticks)

    def late(self, *timers):
        found = self.moments.late(list(timers), self.moments.only_interval(timers))
        return [found.get(id(timer), 0) for timer in timers]

    def puts_off(self, timer):
        self.moments.put_off(timer, *self.late(timer))


@pytest.fixture
def world():
    return World()


def test_what_one_callback_sets_is_late_together_with_what_it_set_after_it(world):
    a, b, c = world.sets("a", "b", "c")
    world.moves(10)

    assert world.candidates(a, b, c) == [b, c]
    world.delays(b)
    assert world.late(a, b, c) == [0, MOMENT, MOMENT]


def test_what_was_set_at_different_moments_may_come_in_in_the_other_order(world):
    (first,) = world.sets("first")
    world.moves(10)
    (second,) = world.sets("second")
    world.moves(20)

    assert world.candidates(first, second) == [first, second]
    world.delays(first)
    assert world.late(first, second) == [MOMENT, 0]


def test_nothing_is_late_that_something_set_after_it_was_not(world):
    first, last, witness = world.sets("first", "last", "witness")
    world.moves(10)
    world.arrives(witness)
    (second,) = world.sets("second")
    world.moves(20)

    assert world.candidates(first, second) == [second]
    assert world.candidates(first, last) == []


def test_what_is_as_late_as_the_one_set_after_it_may_be_so(world):
    first, witness = world.sets("first", "witness")
    world.moves(10)
    world.delays(witness)
    world.puts_off(witness)
    world.arrives(witness)
    (second,) = world.sets("second")
    world.moves(20)

    assert world.candidates(first, second) == [first, second]
    world.delays(first)
    world.puts_off(first)
    assert world.candidates(first, second) == [second]
    assert world.moments.in_order([first, second]) == [first, second]


def test_what_is_due_shortly_after_is_due_at_the_same_time(world):
    (first,) = world.sets("first")
    world.moves(10)
    (second,) = world.sets("second")
    world.moves(20)

    assert world.candidates(first, beside=[second], ticks=3) == [first]
    world.delays(first, 3)
    assert world.late(first, second) == [3 + MOMENT, 0]


def test_no_moment_is_longer_than_the_time_until_the_clock_moved(world):
    a, b = world.sets("a", "b")
    world.moves(2 * MOMENT - 1)

    assert world.candidates(a, b) == []


def test_what_is_set_now_is_not_late(world):
    assert world.candidates(*world.sets("a", "b")) == []


def test_a_deadline_that_the_program_has_computed_is_as_late_as_any_other(world):
    (a,) = world.sets("a")
    (b,) = world.sets("b", deadline=0.5)
    world.moves(10)

    assert world.candidates(a, b) == [b]


def test_one_deadline_is_not_parted(world):
    (a,) = world.sets("a")
    b, c = world.sets("b", "c", deadline=0.5)
    world.moves(10)
    (d,) = world.sets("d", deadline=0.25)
    world.moves(20)

    assert world.candidates(a, b, c) == [b]
    assert world.candidates(b, c, d) == [b, d]


def test_what_is_over_is_forgotten(world):
    (pending,) = world.sets("pending")
    world.timers.add(10**9, pending)
    for k in range(3 * MANY):
        (timer,) = world.sets(str(k))
        world.moves(k + 1)
        world.arrives(timer)

    assert len(world.moments._intervals) <= MANY + 1
    assert len(world.moments._arrived) <= MANY
    (other,) = world.sets("other")
    world.moves(10**9)
    assert world.candidates(other, pending) == [other]  # the clock moved on a tick after the first was set


@pytest.mark.parametrize("alone", [False, True])
def test_what_has_come_in_and_nobody_asks_about_does_not_pile_up(world, alone):
    timers = world.sets(*map(str, range(4 * MANY)))
    world.moves(10)
    for timer in timers:
        if alone:
            world.moments.arrive_alone(timer)
        else:
            world.arrives(timer)

        assert len(world.moments._arrived) <= MANY
