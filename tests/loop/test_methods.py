"""Every method of asyncio's loop is there, and of the kind that it is there."""

import asyncio
import inspect

from helpers import opened
from virtualloop import UnsupportedError
from virtualloop._stock.private import BORROWED, GIVEN_SOCKETS


def test_methods_are_coroutines_where_those_of_asyncio_are():
    with opened() as loop:
        for name in [*GIVEN_SOCKETS, *BORROWED, "add_reader", "remove_writer", "getaddrinfo", "getnameinfo"]:
            stock = getattr(asyncio.SelectorEventLoop, name, None)

            assert stock is None or inspect.iscoroutinefunction(getattr(loop, name)) == inspect.iscoroutinefunction(
                stock
            )


def test_the_error_is_a_not_implemented_error():
    assert issubclass(UnsupportedError, NotImplementedError)
    assert issubclass(UnsupportedError, RuntimeError)


def test_nothing_of_asyncios_loop_is_missing():
    """Every method that asyncio's abstract loop has is ours, not its bare NotImplementedError."""
    with opened() as loop:
        names = [name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_")]
        missing = [name for name in names if getattr(type(loop), name) is getattr(asyncio.AbstractEventLoop, name)]

    assert missing == []
