import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualloop._report.circles import circles


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ({}, []),
        ({1: []}, []),
        ({1: [2], 2: [3], 3: []}, []),
        ({1: [1]}, [[1]]),
        ({1: [2], 2: [1]}, [[1, 2]]),
        ({3: [1], 1: [2], 2: [1]}, [[1, 2]]),
        ({1: [2], 2: [3], 3: [1, 4], 4: [5]}, [[1, 2, 3]]),
        ({1: [2], 2: [3, 1], 3: [1]}, [[1, 2]]),
        ({4: [3], 3: [4], 1: [2, 3], 2: [1]}, [[4, 3], [1, 2]]),
        # In one knot, and still two of them.
        ({1: [2], 2: [1, 3], 3: [4], 4: [3, 1]}, [[1, 2], [3, 4]]),
        ({"a": ["nobody"], "b": ["a"]}, []),
    ],
)
def test_circles(waits, expected):
    assert circles(waits) == expected


def has_circle(waits):
    """Take away whoever waits for nobody that is left, as often as it takes; return whether anyone is left."""
    left = set(waits)
    while free := {each for each in left if left.isdisjoint(waits[each])}:
        left -= free
    return bool(left)


@given(
    st.integers(1, 9).flatmap(lambda n: st.lists(st.lists(st.integers(0, n + 1), max_size=3), min_size=n, max_size=n))
)
def test_no_circle_is_left_out(lists):
    waits = dict(enumerate(lists))
    found = circles(waits)
    used = [each for circle in found for each in circle]

    assert len(used) == len(set(used))
    for circle in found:
        assert all(after in waits[before] for before, after in zip(circle, circle[1:] + circle[:1], strict=True))
    assert not has_circle({each: others for each, others in waits.items() if each not in used})


class Counted(list):
    """Whom somebody waits for, and how often that was asked."""

    asked = 0

    def __iter__(self):
        Counted.asked += 1
        return super().__iter__()


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        lambda n: {k: [k + 1] for k in range(n)},
        lambda n: {k: [k - 1] for k in range(n)},
        lambda n: {k: [(k + 1) % n] for k in range(n)},
        lambda n: {k: [k ^ 1] for k in range(n)},
        lambda n: {k: [k + 1, k ^ 1] for k in range(n)},
        lambda n: {k: [0] for k in range(n)},
    ],
    ids=["chain", "chain backwards", "circle", "pairs", "chain of pairs", "one that all wait for"],
)
def test_a_hundred_thousand_are_walked_along_a_few_times(shape):
    n = 100_000
    waits = {each: Counted(others) for each, others in shape(n).items()}
    Counted.asked = 0
    circles(waits)

    assert Counted.asked <= 6 * n
