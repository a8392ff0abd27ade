"""What the loop goes to without a question: a timer that nothing can come in before, and that is late by nothing."""

from collections import deque

import pytest

from virtualloop._core.arrivals import Arrivals
from virtualloop._core.clock import Clock, LateClock
from virtualloop._core.punctual import Punctual
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


def test_what_was_set_late_is_looked_at():
    world = World(100, kind=Punctual)
    (event,) = world.timers.of(100)
    world.arrivals._moments.delay(event, 0)
    assert not world.arrivals.jump()
