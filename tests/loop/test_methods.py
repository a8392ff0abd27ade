"""Every method of asyncio's loop is there, and of the kind that it is there."""

import asyncio
import inspect

import pytest

from helpers import opened, run
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


@pytest.mark.parametrize("queued", [False, True])
def test_nothing_to_shut_down(queued):
    """What stands for a coroutine that has nothing to do is awaited, closed and thrown into as one."""

    async def main():
        loop = asyncio.get_running_loop()
        if queued:
            loop.call_soon(list)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()
        await asyncio.create_task(loop.shutdown_asyncgens())

    run(main)
    with opened() as loop:
        nothing = loop.shutdown_asyncgens()
        with pytest.raises(KeyError):
            nothing.throw(KeyError())
        nothing.close()


def test_a_task_factory_of_a_closed_loop_is_kept():
    with opened() as loop:
        pass
    loop.set_task_factory(print)
    assert loop.get_task_factory() is print
