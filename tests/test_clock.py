import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop._clock import Clock, span_in_ticks

STARTS = st.sampled_from([0.0, 1.0, 1.8e9, -3.5])
DELAYS = st.floats(min_value=5e-324, max_value=1e12) | st.sampled_from([0.1, 0.2, 0.3, 1e-9, 1e-6])


def test_starts_where_it_is_told_and_stays_there():
    clock = Clock(12.3456789)

    assert clock.seconds == 12.3456789
    assert clock.seconds == 12.3456789


def test_ten_tenths_are_one():
    clock = Clock()
    for _ in range(10):
        clock.move(clock.tick_after(0.1))

    assert clock.seconds == 1.0


@pytest.mark.parametrize("start", [0.0, 1.8e9])
def test_deadlines_that_agree_on_paper_coincide(start):
    clock = Clock(start)

    assert clock.tick_at(start + 0.1 + 0.2) == clock.tick_at(start + 0.3) == clock.tick_after(0.3)


@given(STARTS, DELAYS)
def test_any_delay_moves_the_clock(start, delay):
    clock = Clock(start)
    before = clock.seconds
    clock.move(clock.tick_after(delay))

    assert clock.seconds > before or before + 1e-6 == before


@given(STARTS, DELAYS)
def test_no_deadline_comes_early(start, delay):
    clock = Clock(start)
    when = start + delay
    clock.move(clock.tick_at(when))

    assert clock.seconds >= when - max(1e-6, math.ulp(when))


@given(STARTS, st.floats(min_value=0.0, max_value=100.0))
def test_waiting_for_a_deadline_ends(start, delay):
    clock = Clock(start)
    deadline = clock.seconds + delay
    waits = 0
    while clock.seconds < deadline:
        clock.move(clock.tick_after(deadline - clock.seconds))
        waits += 1

    assert waits <= 2


@given(STARTS, st.floats(max_value=0.0, allow_nan=False))
def test_what_has_passed_is_due_now(start, delay):
    clock = Clock(start)

    assert clock.tick_after(delay) <= clock.tick
    assert clock.tick_at(start + delay) <= clock.tick


@given(st.floats(max_value=0.0, allow_nan=False), st.floats(max_value=0.0, allow_nan=False))
def test_what_has_passed_longer_comes_first(a, b):
    clock = Clock()
    a, b = sorted((a, b))

    assert clock.tick_after(a) <= clock.tick_after(b)
    assert clock.tick_at(a) <= clock.tick_at(b)


def test_infinite_never_comes_and_nan_is_refused():
    clock = Clock()

    assert clock.tick_after(math.inf) is None
    assert clock.tick_at(math.inf) is None
    assert clock.tick_at(1e305) is None
    with pytest.raises(ValueError, match="nan"):
        clock.tick_after(math.nan)
    with pytest.raises(ValueError, match="nan"):
        clock.tick_at(math.nan)


def test_a_clock_that_jumped_far_still_moves():
    clock = Clock()
    clock.move(clock.tick_after(1e20))
    tick = clock.tick
    clock.move(clock.tick_after(1e-6))

    assert clock.tick == tick + 1


def test_does_not_go_back():
    clock = Clock(1.0)

    with pytest.raises(ValueError, match="cannot go back"):
        clock.move(0)
    assert clock.seconds == 1.0


@pytest.mark.parametrize("start", [math.nan, math.inf, -math.inf])
def test_refuses_a_start_that_is_no_time(start):
    with pytest.raises(ValueError, match="start must be finite"):
        Clock(start)


@pytest.mark.parametrize("start", ["0", None, True])
def test_refuses_a_start_that_is_no_number(start):
    with pytest.raises(TypeError, match="start must be a number"):
        Clock(start)


def test_spans():
    assert span_in_ticks(1.5, argument="x") == 1_500_000
    assert span_in_ticks(0, argument="x") == 0
    assert span_in_ticks(1e-12, argument="x") == 1
    for bad in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="lateness must be finite and not negative"):
            span_in_ticks(bad, argument="lateness")
    for bad in ("1", None, True):
        with pytest.raises(TypeError, match="lateness must be a number of seconds"):
            span_in_ticks(bad, argument="lateness")
