import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop._core.clock import LONGEST, NEVER, Clock, span_in_ticks

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


# --- anything that a float can be -------------------------------------------------------------------------------------

LARGE = st.floats(min_value=1e290, allow_infinity=False) | st.integers(10**290, 10**320) | st.integers(10**18, 10**30)
ANY = st.floats() | LARGE | LARGE.map(lambda number: -number) | st.integers()


def refusal(what, *args, **kwargs):
    """Return what a call returns, and the text of the error that it refuses its argument with."""
    try:
        return what(*args, **kwargs), None
    except (TypeError, ValueError) as exc:
        return None, str(exc)


@given(STARTS, ANY)
def test_a_delay_is_exact_or_never_comes_or_is_refused(start, delay):
    clock = Clock(start)
    tick, refused = refusal(clock.tick_after, delay)
    if refused:
        assert math.isnan(delay) if isinstance(delay, float) else abs(delay) > sys.float_info.max
        assert refused.startswith("a delay must ")
    elif tick is None:
        assert delay >= NEVER - max(start, 0)
    else:
        assert (tick > clock.tick) == (delay > 0)
        if delay > 1e16:  # there each float is a whole number
            assert tick - clock.tick == int(delay) * 1_000_000
        clock.move(max(tick, clock.tick))
        assert math.isfinite(clock.seconds)


@given(STARTS, ANY)
def test_a_deadline_is_exact_or_never_comes_or_is_refused(start, when):
    clock = Clock(start)
    tick, refused = refusal(clock.tick_at, when)
    if refused:
        assert math.isnan(when) if isinstance(when, float) else abs(when) > sys.float_info.max
        assert refused.startswith("a deadline must ")
    elif tick is None:
        assert when >= NEVER
    else:
        assert (tick > clock.tick) == (when > clock.seconds)
        clock.move(max(tick, clock.tick))
        assert when < 1e16 or clock.seconds == float(when)


@given(ANY | st.booleans() | st.none() | st.text() | st.complex_numbers() | st.decimals() | st.fractions())
def test_a_span_is_exact_or_refused_by_name(span):
    ticks, refused = refusal(span_in_ticks, span, argument="lateness")
    if refused:
        assert refused.startswith("lateness must be ")
    else:
        assert 0 <= span <= LONGEST
        assert (ticks > 0) == (span > 0)
        assert span < 1e16 or ticks == int(span) * 1_000_000


@given(ANY)
def test_a_start_is_exact_or_refused_by_name(start):
    clock, refused = refusal(Clock, start)
    if refused:
        assert refused.startswith("start must be ")
    else:
        assert clock.seconds == start or isinstance(start, int)
        before = clock.tick
        clock.move(before + span_in_ticks(LONGEST, argument="seconds"))
        assert clock.tick - before == int(LONGEST) * 1_000_000


def test_an_integer_with_more_digits_than_python_prints_is_refused():
    clock = Clock()
    for refuse in (Clock, clock.tick_after, clock.tick_at, lambda span: span_in_ticks(span, argument="span")):
        assert refusal(refuse, 10**5000)[1]
        assert refusal(refuse, -(10**5000))[1]
