"""Ready made models: what each of them lets pass, operation by operation."""

import pytest

from virtualloop import histories

UNKNOWN = histories.UNKNOWN


def accepts(model, *operations, initial=None):
    """Whether (op, *args, result) are possible one after the other."""
    state = initial
    for op, *args, result in operations:
        state = model(state, op, tuple(args), result)
        if state is None:
            return False
    return True


@pytest.mark.parametrize(
    ("expected", "operations"),
    [
        (True, [("read", None), ("write", 1, None), ("read", 1)]),
        (False, [("write", 1, None), ("read", 2)]),
        (True, [("write", None, None), ("read", None)]),
        (True, [("cas", None, 1, True), ("cas", 0, 2, False), ("read", 1)]),
        (False, [("cas", 0, 1, True)]),
        (True, [("cas", 0, 1, UNKNOWN), ("read", None)]),
        (True, [("read", UNKNOWN)]),
    ],
)
def test_register(expected, operations):
    assert accepts(histories.register, *operations) is expected


def test_register_with_a_value_to_begin_with():
    assert accepts(histories.register, ("read", 5), ("cas", 5, None, True), ("read", None), initial=5)
    assert not accepts(histories.register, ("read", None), initial=5)


@pytest.mark.parametrize(
    ("expected", "operations"),
    [
        (True, [("get", "x", None), ("put", "x", 1, None), ("get", "x", 1), ("get", "y", None)]),
        (False, [("put", "x", 1, None), ("get", "y", 1)]),
        (True, [("put", "x", 1, None), ("delete", "x", None), ("get", "x", None)]),
        (True, [("append", "x", "a", None), ("append", "x", "b", None), ("get", "x", "ab")]),
        (True, [("append", "x", [1], None), ("append", "x", [2], None), ("get", "x", [1, 2])]),
        (True, [("cas", "x", None, 1, True), ("cas", "x", 0, 2, False), ("get", "x", 1)]),
        (False, [("cas", "x", 0, 1, True)]),
    ],
)
def test_key_value(expected, operations):
    assert accepts(histories.key_value, *operations) is expected


@pytest.mark.parametrize(
    ("expected", "operations"),
    [
        (True, [("add", 1, None), ("add", 1, False), ("add", 2, True), ("read", [2, 1])]),
        (False, [("add", 1, False)]),
        (True, [("add", 1, None), ("contains", 1, True), ("remove", 1, True), ("contains", 1, False)]),
        (False, [("remove", 1, True)]),
        (True, [("add", 1, UNKNOWN), ("read", UNKNOWN), ("contains", 1, UNKNOWN)]),
        (False, [("add", 1, None), ("read", [])]),
    ],
)
def test_set_of_items(expected, operations):
    assert accepts(histories.set_of_items, *operations) is expected


@pytest.mark.parametrize(
    ("expected", "operations"),
    [
        (True, [("get", None), ("put", 1, None), ("put", 2, None), ("get", 1), ("get", 2), ("get", None)]),
        (False, [("put", 1, None), ("put", 2, None), ("get", 2)]),
        (False, [("put", 1, None), ("get", None)]),
        (False, [("get", 1)]),
        (True, [("get", UNKNOWN), ("put", 1, None), ("get", UNKNOWN), ("get", None)]),
    ],
)
def test_queue(expected, operations):
    assert accepts(histories.queue, *operations) is expected


@pytest.mark.parametrize(
    ("expected", "operations"),
    [
        (True, [("read", 0), ("add", None), ("add", 5, 6), ("read", 6)]),
        (False, [("add", 2)]),
        (True, [("add", UNKNOWN), ("read", 1), ("read", UNKNOWN)]),
    ],
)
def test_counter(expected, operations):
    assert accepts(histories.counter, *operations) is expected


@pytest.mark.parametrize(
    ("expected", "operations"),
    [
        (True, [("acquire", None), ("acquire", False), ("release", None), ("acquire", True)]),
        (False, [("acquire", None), ("acquire", None)]),
        (False, [("acquire", True), ("acquire", True)]),
        (False, [("acquire", False)]),
        (False, [("release", None)]),
        (True, [("acquire", "Ann", True), ("release", "Ann", None), ("acquire", "Bob", None)]),
        (False, [("acquire", "Ann", True), ("release", "Bob", None)]),
        (True, [("acquire", True), ("acquire", UNKNOWN), ("release", None), ("acquire", UNKNOWN), ("acquire", False)]),
    ],
)
def test_lock(expected, operations):
    assert accepts(histories.lock, *operations) is expected


@pytest.mark.parametrize("name", ["register", "key_value", "set_of_items", "queue", "counter", "lock"])
def test_other_operations_are_refused(name):
    with pytest.raises(ValueError, match=rf"^histories\.{name} knows no operation 'explode', only "):
        getattr(histories, name)(None, "explode", ("x",), None)
