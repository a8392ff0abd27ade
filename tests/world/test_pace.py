"""How long the clock stands, and how fast it goes after that."""

import pytest

from virtualloop._world.pace import WORK_FACTOR, Pace


def stands(pace, ahead, look=0.125):
    """Return for how many real seconds the clock stands before a jump of `ahead` seconds."""
    real, passed = 0.0, 0.0
    while pace.holds(passed, ahead):
        passed = look
        real += look
    return real


def test_first_the_clock_stands_for_the_patience():
    assert stands(Pace(1), 0.5) == 1


def test_a_timer_further_ahead_fires_when_it_would_have_on_a_real_machine():
    assert stands(Pace(1), 5) == 5


def test_nobody_is_waited_for_longer_than_ten_times_the_patience():
    pace = Pace(1)
    assert stands(pace, 3600) == WORK_FACTOR == pace.waited
    assert pace.is_given_up
    assert stands(pace, 3600) == 0
    pace.restart()
    assert stands(pace, 3600) == WORK_FACTOR


def test_after_that_virtual_time_does_not_outrun_real_time():
    pace = Pace(1)
    virtual = real = 0.0
    while real < 9:
        real += stands(pace, 0.25)
        virtual += 0.25
        assert virtual <= real
    assert virtual == pytest.approx(real, abs=0.25)
    assert not pace.is_given_up


def test_where_nothing_else_could_happen_there_is_nothing_to_hurry_for():
    pace = Pace(1)
    assert stands(pace, None) == WORK_FACTOR
    assert not pace.is_given_up
    assert stands(pace, None) == 0
