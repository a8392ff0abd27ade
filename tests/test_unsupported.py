"""What reaches the outside world is refused by name, with the reason and a way out."""

import asyncio
import inspect
import socket

import pytest

from helpers import opened
from virtualloop import UnsupportedError
from virtualloop._unsupported import Outside

REFUSED = sorted(name for name in vars(Outside) if not name.startswith("_"))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    with opened() as loop:
        method = getattr(loop, name)
        args = (0, int) if name in ("add_reader", "add_writer") else ()

        async def call():
            made = method(*args)
            if inspect.isawaitable(made):
                await made

        with pytest.raises(UnsupportedError, match=rf"^VirtualLoop\.{name}\(\) is not supported: .*\. Instead, .*\.$"):
            loop.run_until_complete(call())
        assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(
            getattr(asyncio.BaseEventLoop, name, method)
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
        with pytest.raises(UnsupportedError, match="create_connection"):
            await asyncio.open_connection("localhost", 80)
        with pytest.raises(UnsupportedError, match="create_server"):
            await asyncio.start_server(int, port=0)
        with pytest.raises(UnsupportedError, match="subprocess_exec"):
            await asyncio.create_subprocess_exec("true")

    with opened() as loop:
        loop.run_until_complete(main())


def test_the_loop_makes_no_socket(monkeypatch):
    monkeypatch.setattr(socket.socket, "__init__", lambda *args, **kwargs: pytest.fail("a socket was made"))
    with opened(7) as loop:
        loop.run_until_complete(asyncio.sleep(1))
