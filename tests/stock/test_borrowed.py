"""The methods that are asyncio's own see asyncio's modules as they are, whoever patches them and when."""

import asyncio
import socket
import sys
from unittest import mock

import pytest

from helpers import opened, run
from virtualloop import VirtualLoop
from virtualloop._stock.private import BORROWED, GIVEN_SOCKETS, StockLoop

NAMES = [*BORROWED, *(name for name in GIVEN_SOCKETS)]


def function(name):
    method = getattr(VirtualLoop, name)
    return getattr(method, "__wrapped__", method)


@pytest.mark.parametrize("name", NAMES)
def test_a_new_global_of_its_module_is_seen(name):
    """By the very look-up that the function makes."""
    code = "def look(): return brand_new_name, len, __name__"
    namespace = {}
    exec(code, namespace)  # noqa: S102  # a function to give other globals to
    module = sys.modules[getattr(StockLoop, name).__module__]
    look = type(function(name))(namespace["look"].__code__, function(name).__globals__)
    with mock.patch.object(module, "brand_new_name", 1, create=True):
        assert look() == (1, len, module.__name__)
    with mock.patch.object(module, "brand_new_name", 2, create=True):
        assert look() == (2, len, module.__name__)
    with pytest.raises(NameError):
        look()


def test_a_patched_logger_is_written_to():
    class Refuses(asyncio.Protocol):
        def connection_made(self, transport):
            transport.close()

    async def main():
        with mock.patch("asyncio.base_events.logger") as logger:
            server = await asyncio.get_running_loop().create_server(Refuses, "localhost", 80)
            asyncio.get_running_loop().set_debug(True)
            reader, writer = await asyncio.open_connection("localhost", 80)
            assert await reader.read() == b""
            writer.close()
            server.close()
            return [call.args[0] for call in logger.debug.call_args_list]

    assert any("connected to" in text for text in run(main))


def test_a_patched_transport_is_made():
    async def main():
        with mock.patch("asyncio.selector_events._SelectorSocketTransport") as made:
            loop = asyncio.get_running_loop()
            assert loop.network
            loop._make_socket_transport(1, mock.sentinel.protocol)
            return made.call_args.args[1:3]

    assert run(main) == (1, mock.sentinel.protocol)


def test_a_patched_socket_module_is_used():
    with mock.patch("asyncio.base_events.socket") as patched:
        patched.AF_INET, patched.SOCK_STREAM = socket.AF_INET, socket.SOCK_STREAM
        with opened() as loop:
            sock = function("create_server").__globals__["socket"].socket(1)

            assert sock is patched.socket.return_value
            assert loop.time() == 0.0
    patched.socket.assert_called_once_with(1)


def test_a_server_listens_at_its_hosts_in_their_order():
    """Stock asyncio goes through a set of them, in the order of hashes of strings: another one in each process."""
    hosts = [f"127.0.0.{number}" for number in range(9, 1, -1)]

    async def main():
        async with await asyncio.start_server(lambda reader, writer: None, hosts, 80) as server:
            return [sock.getsockname()[0] for sock in server.sockets]

    assert run(main) == hosts


def test_most_methods_are_asyncios_own():
    assert sum(function(name) is getattr(StockLoop, name) for name in NAMES) > len(NAMES) / 2
