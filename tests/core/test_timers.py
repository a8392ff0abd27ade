from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop._core.timers import MIN_CANCELLED, Timers


class Timer:
    """As much of a handle as Timers knows."""

    def __init__(self, name):
        self._callback = name

    def __repr__(self):
        return f"<{self._callback}>"


def cancel(timers, timer):
    timer._callback = None
    timers.count_cancelled()


def released(timers, tick):
    queue = deque()
    timers.release(tick, queue)
    return [timer._callback for timer in queue if timer._callback is not None]


def test_by_tick_then_by_registration():
    timers = Timers()
    for name, tick in [("c", 3), ("a1", 1), ("b", 2), ("a2", 1), ("a3", 1)]:
        timers.add(tick, Timer(name))
    timers.check()

    assert timers.next_tick() == 1
    assert released(timers, 2) == ["a1", "a2", "a3", "b"]
    assert timers.next_tick() == 3
    tick, timers_there = timers.pop()
    assert (tick, [timer._callback for timer in timers_there]) == (3, ["c"])
    assert timers.next_tick() is None


def test_cancelled_timers_are_passed_over():
    timers = Timers()
    first, second, third = Timer("first"), Timer("second"), Timer("third")
    timers.add(1, first)
    timers.add(2, second)
    timers.add(2, third)
    cancel(timers, first)
    cancel(timers, second)
    timers.check()

    assert timers.next_tick() == 2
    assert released(timers, 5) == ["third"]
    assert timers.next_tick() is None


def test_a_tick_of_cancelled_timers_is_no_tick():
    timers = Timers()
    both = [Timer("a"), Timer("b")]
    for timer in both:
        timers.add(1, timer)
    for timer in both:
        cancel(timers, timer)

    assert timers.next_tick() is None
    assert not timers.ticks
    assert not timers.by_tick


@pytest.mark.slow
def test_a_million_cancelled_timers_leave_nothing_behind():
    timers = Timers()
    for i in range(1_000_000):
        timer = Timer("timeout")
        timers.add(i % 1000, timer)
        cancel(timers, timer)

    kept = sum(len(entry) if type(entry) is list else 1 for entry in timers.by_tick.values())
    assert kept <= MIN_CANCELLED


def test_a_sweep_is_paid_for_by_the_cancellations():
    """Among 10,000 live timers, cancelling a few must not walk over all of them each time."""
    timers = Timers()
    for i in range(10_000):
        timers.add(i, Timer("alive"))
    walks = 0
    for i in range(20_000):
        timer = Timer("timeout")
        timers.add(i, timer)
        before = timers.cancelled
        cancel(timers, timer)
        walks += timers.cancelled < before

    assert walks <= 4
    timers.check()


def test_a_few_cancellations_among_many_timers_sweep_nothing():
    timers = Timers()
    for i in range(100_000):
        timers.add(i, Timer("alive"))
    for i in range(10 * MIN_CANCELLED):
        timer = Timer("timeout")
        timers.add(i, timer)
        cancel(timers, timer)

    assert timers.cancelled == 10 * MIN_CANCELLED
    timers.check()


def test_after_a_sweep_as_many_cancellations_are_free_as_timers_are_left():
    timers = Timers()
    kept = [Timer(f"kept {i}") for i in range(3 * MIN_CANCELLED)]
    for i, timer in enumerate(kept):
        timers.add(i // 2, timer)  # two of each tick
    for _ in range(4 * MIN_CANCELLED):
        timer = Timer("timeout")
        timers.add(10_000, timer)
        cancel(timers, timer)
    timers.check()

    assert timers.sweep_above == len(kept)
    assert [timers.of(tick) for tick in sorted(timers.ticks)[:2]] == [kept[:2], kept[2:4]]


def cancelled_before_a_sweep(ticks):
    """Return how many timers may be cancelled, and are, before all are walked over where so many ticks are pending."""
    timers = Timers()
    for tick in range(ticks):
        timers.add(tick, Timer("alive"))
    cancelled = 0
    while timers.cancelled == cancelled:
        timers.add(0, timer := Timer("timeout"))
        cancel(timers, timer)
        timers.check()
        cancelled += 1
    assert timers.cancelled == 0
    return cancelled - 1


@pytest.mark.parametrize(
    ("ticks", "free"),
    [(1, MIN_CANCELLED), (2 * MIN_CANCELLED, MIN_CANCELLED), (2 * MIN_CANCELLED + 2, MIN_CANCELLED + 1), (400, 200)],
)
def test_half_as_many_cancellations_are_free_as_ticks_are_pending(ticks, free):
    assert cancelled_before_a_sweep(ticks) == free


def test_what_a_sweep_leaves_alone_at_its_tick_stands_alone():
    timers = Timers()
    timers.add(1, kept := Timer("kept"))
    for _ in range(MIN_CANCELLED + 1):
        timers.add(1, timer := Timer("timeout"))
        cancel(timers, timer)

    assert timers.by_tick == {1: kept}


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(-1, 31))
def test_ticks_until_one_of_them(ticks, until):
    timers = Timers()
    for tick in ticks:
        timers.add(tick, Timer("alive"))

    assert sorted(timers.ticks_until(until)) == sorted({tick for tick in ticks if tick <= until})


def test_clear():
    timers = Timers()
    timers.add(1, Timer("a"))
    cancelled = Timer("b")
    timers.add(1, cancelled)
    cancel(timers, cancelled)
    timers.clear()
    timers.check()

    assert timers.next_tick() is None
    assert timers.cancelled == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 1000)),
        st.tuples(st.just("release"), st.integers(0, 20)),
        st.tuples(st.just("next"), st.just(0)),
    ),
    max_size=300,
)


@given(STEPS)
def test_against_a_sorted_list(steps):
    timers = Timers()
    model = []  # (tick, number, timer) of those alive
    number = 0
    for step, value in steps:
        if step == "add":
            number += 1
            timer = Timer(number)
            timers.add(value, timer)
            model.append((value, number, timer))
        elif step == "cancel" and model:
            _, _, timer = model.pop(value % len(model))
            cancel(timers, timer)
        elif step == "release":
            due = sorted(entry for entry in model if entry[0] <= value)
            model = [entry for entry in model if entry[0] > value]
            assert released(timers, value) == [entry[1] for entry in due]
        else:
            assert timers.next_tick() == min((entry[0] for entry in model), default=None)
        timers.check()


class Event(Timer):
    """What arrives from outside."""

    _scheduled = None


def test_events_come_before_the_timers_of_their_tick():
    timers = Timers()
    entries = [Timer("a"), Event("b"), Timer("c"), Event("d"), Event("e")]
    for entry in entries:
        (timers.add_event if type(entry) is Event else timers.add)(7, entry)
        timers.check()
    timers.add_event(3, alone := Event("f"))
    timers.add_event(3, other := Event("g"))
    a, b, c, d, e = entries

    assert timers.of(7) == [b, d, e, a, c]
    assert timers.pop() == (3, [alone, other])


def test_events_are_numbered_but_for_those_that_are_tagged():
    timers = Timers()
    events = [Event("a"), Event("b"), Event("c")]
    events[1]._scheduled = tag = (None, 7, None)
    for event in events:
        timers.add_event(7, event)

    assert [event._scheduled for event in events] == [1, tag, 3]
    assert timers.number == 3


def crowded():
    """Return timers at three ticks, one of them cancelled."""
    timers = Timers()
    for tick in (1, 2, 2, 3):
        timers.add(tick, timer := Timer("alive"))
    cancel(timers, timer)
    timers.check()
    return timers


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (lambda timers: timers.ticks.pop(), "the heap and the dict disagree"),
        (lambda timers: timers.ticks.reverse(), "the heap is out of order"),
        (lambda timers: timers.by_tick[2].clear(), "a tick without a timer"),
        (lambda timers: setattr(timers, "cancelled", 0), "cancelled timers are miscounted"),
        (lambda timers: setattr(timers, "sweep_above", 0), "cancelled timers are miscounted"),
    ],
)
def test_a_check_says_what_is_wrong(harm, text):
    timers = crowded()
    harm(timers)

    with pytest.raises(AssertionError, match=rf"^{text}"):
        timers.check()
