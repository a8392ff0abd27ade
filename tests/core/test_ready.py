import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop._core.entries import FIRST
from virtualloop._core.ready import ReorderingQueue


def wakeup(name):
    return (None, name, None)


def first(name):
    return (None, name, FIRST)


def name(entry):
    return entry[1] if type(entry) is tuple else entry


def drained(queue):
    names = []
    while queue:
        names.append(name(queue.take()))
        queue.check()
    return names


def test_zeros_are_first_in_first_out():
    queue = ReorderingQueue(lambda n, kind: 0)
    queue.items.extend([wakeup("a"), "plain", wakeup("b"), first("c"), wakeup("d")])

    assert drained(queue) == ["a", "plain", "b", "c", "d"]


def test_asks_only_where_there_is_someone_to_change_places_with():
    asked = []
    queue = ReorderingQueue(lambda n, kind: asked.append((n, kind)) or 0)
    queue.items.extend([wakeup("a"), wakeup("b"), "plain", wakeup("c"), wakeup("d")])

    assert drained(queue) == ["a", "b", "plain", "c", "d"]
    assert asked == [(2, "task"), (3, "task"), (2, "task")]


def test_every_order_of_wakeups_comes_about():
    seen = set()
    for answers in itertools.product(range(2), range(3), range(4)):
        given_answers = iter(answers)
        queue = ReorderingQueue(lambda n, kind, given_answers=given_answers: next(given_answers))
        queue.items.extend(wakeup(letter) for letter in "abcd")
        seen.add("".join(drained(queue)))

    assert len(seen) == 24


def test_an_answer_that_raises_loses_nothing():
    def refuse(n, kind):
        raise LookupError

    queue = ReorderingQueue(refuse)
    queue.items.extend([wakeup("a"), wakeup("b")])
    with pytest.raises(LookupError):
        queue.take()
    queue.check()

    assert [name(entry) for entry in queue] == ["a", "b"]


def test_empty():
    queue = ReorderingQueue(lambda n, kind: 0)

    with pytest.raises(IndexError):
        queue.take()


def test_clear():
    queue = ReorderingQueue(lambda n, kind: 0)
    queue.items.extend([wakeup("a"), "plain"])
    queue.take()
    queue.clear()
    queue.check()

    assert len(queue) == 0


@pytest.mark.parametrize(
    ("loose", "seen", "text"),
    [
        (-1, 0, "the places are out of order"),
        (2, 1, "the places are out of order"),
        (2, 4, "the places are out of order"),
        (0, 2, "a plain callback can be overtaken"),
        (2, 3, "a plain callback can be overtaken"),
    ],
)
def test_a_check_says_what_is_wrong(loose, seen, text):
    queue = ReorderingQueue(lambda n, kind: 0)
    queue.items.extend([wakeup("a"), "plain", first("b")])
    queue.loose, queue.seen = loose, seen

    with pytest.raises(AssertionError, match=rf"^{text}"):
        queue.check()


KINDS = st.sampled_from(["wakeup", "first", "plain"])


@given(st.lists(st.tuples(KINDS, st.booleans()), max_size=120), st.integers(0, 2**32))
def test_nothing_overtakes_a_plain_callback_queued_before_it(steps, seed):
    draw = random.Random(seed)
    queue = ReorderingQueue(lambda n, kind: draw.randrange(n))
    ran = []
    for number, (kind, take) in enumerate(steps):
        queue.items.append({"wakeup": wakeup, "first": first, "plain": lambda n: n}[kind](number))
        if take:
            ran.append(name(queue.take()))
            queue.check()
    ran += drained(queue)

    assert sorted(ran) == list(range(len(steps)))
    place = {number: position for position, number in enumerate(ran)}
    for number, (kind, _) in enumerate(steps):
        if kind != "wakeup":
            assert all(place[number] < place[later] for later in range(number + 1, len(steps)))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=30), st.integers(0, 5))
def test_an_answer_that_raises_in_a_crowd_loses_nothing(crowds, good):
    answers = iter([0] * good)
    queue = ReorderingQueue(lambda n, kind: next(answers))
    for crowd in crowds:
        queue.items.extend(wakeup(letter) for letter in "abc"[:crowd])
    joined = [name(entry) for entry in queue]
    while queue:
        try:
            assert name(queue.take()) == joined.pop(0)
        except StopIteration:
            break

    queue.check()
    assert [name(entry) for entry in queue] == joined[-len(queue) :]
