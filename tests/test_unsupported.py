"""What reaches the outside world is refused by name, with the reason and a way out."""

import asyncio
import inspect

import pytest

from helpers import opened
from virtualloop import UnsupportedError
from virtualloop._private import BORROWED, GIVEN_SOCKETS
from virtualloop._unsupported import Outside

REFUSED = sorted(name for name in vars(Outside) if not name.startswith("_"))
DESCRIPTORS = ["add_reader", "add_writer", "remove_reader", "remove_writer"]


@pytest.mark.parametrize("name", REFUSED + DESCRIPTORS)
def test_refused(name):
    with opened() as loop:
        method = getattr(loop, name)
        args = {"add_reader": (0, int), "add_writer": (0, int), "remove_reader": (0,), "remove_writer": (0,)}

        async def call():
            made = method(*args.get(name, ()))
            if inspect.isawaitable(made):
                await made

        with pytest.raises(UnsupportedError, match=rf"^VirtualLoop\.{name}\(\) is not supported: .*\. Instead, .*\.$"):
            loop.run_until_complete(call())


def test_methods_are_coroutines_where_those_of_asyncio_are():
    with opened() as loop:
        for name in [*REFUSED, *DESCRIPTORS, *GIVEN_SOCKETS, *BORROWED, "getaddrinfo", "getnameinfo"]:
            stock = getattr(asyncio.SelectorEventLoop, name, None)

            assert stock is None or inspect.iscoroutinefunction(getattr(loop, name)) == inspect.iscoroutinefunction(
                stock
            )


def test_the_error_is_a_not_implemented_error():
    assert issubclass(UnsupportedError, NotImplementedError)
    assert issubclass(UnsupportedError, RuntimeError)


def test_nothing_of_asyncios_loop_is_left_unsaid():
    """Every method that asyncio's abstract loop has is ours, not its bare NotImplementedError."""
    with opened() as loop:
        names = [name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_")]
        missing = [name for name in names if getattr(type(loop), name) is getattr(asyncio.AbstractEventLoop, name)]

    assert missing == []


def test_high_level_functions_reach_the_refusal():
    async def main():
        with pytest.raises(UnsupportedError, match="subprocess_exec"):
            await asyncio.create_subprocess_exec("true")

    with opened() as loop:
        loop.run_until_complete(main())
