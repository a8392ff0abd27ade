"""Which program a run is of: the same in every process, and another one with other arguments."""

import enum
import functools

import pytest

from virtualloop._exploration.identity import arguments_of, identity_of, is_value
from virtualloop._exploration.requested import asks_for


class Colour(enum.Enum):
    RED = 1


class Thing:
    pass


async def program(one, two=2):
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Colour.RED, "Colour.RED"),
        (1.5, "1.5"),
        ({"a": [1, None]}, "{'a': [1, None]}"),
        ({3, 1, 2}, "{1, 2, 3}"),
        (Thing, "Thing"),
        (program, "program"),
    ],
)
def test_a_value_tells_programs_apart(value, text):
    assert identity_of(functools.partial(program, value)).arguments == f"one={text}"


def test_what_is_another_object_in_each_process_does_not():
    assert identity_of(functools.partial(program, Thing(), two=2)).arguments == "two=2"


def test_what_has_no_signature_has_arguments_by_number():
    assert arguments_of(functools.partial(sorted, (1,), reverse=True)) == {"iterable": (1,), "reverse": True}
    assert arguments_of(functools.partial(min, 1, key=2)) == {"0": 1, "key": 2}


def test_a_value_holds_values():
    assert is_value({"a": (1, [Colour.RED])})
    assert not is_value({"a": Thing()})
    assert not is_value({Thing(): 1})


def test_what_is_no_token_asks_for_no_program():
    assert not asks_for("nonsense", program)
