"""Tracebacks that end where the reader looks."""

import asyncio
import functools
import traceback

import pytest

from virtualloop._report.tracebacks import at_definition, name_of_foreign, readers_only


def here():
    raise LookupError("here")


def test_a_function_is_pointed_at_where_it_is_defined():
    (frame,) = traceback.extract_tb(at_definition(here))

    assert (frame.filename, frame.lineno, frame.name) == (__file__, here.__code__.co_firstlineno, "here")


def test_what_has_no_line_is_not_pointed_at():
    assert at_definition(len) is None
    assert at_definition(functools.partial(here)) is None


def test_an_error_in_which_the_reader_has_no_part_names_nothing():
    assert name_of_foreign(RuntimeError("a lock is bound to a different event loop")) is None
    with pytest.raises(TypeError) as info:
        asyncio.run(asyncio.sleep("soon"))
    exc = info.value
    assert [frame.filename for frame in traceback.extract_tb(readers_only(exc.__traceback__))] == [__file__]
    exc.__traceback__ = exc.__traceback__.tb_next
    assert name_of_foreign(exc) is None
    assert readers_only(exc.__traceback__) is None
