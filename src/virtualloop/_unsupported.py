"""What a loop without an operating system does not have, and what to do instead.

Owns the refusals: every method of asyncio's loop that would reach the outside world, none of which is ever silently
skipped or let through to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn, TypeVarTuple

from virtualloop._errors import UnsupportedError

__all__ = ["Outside"]

_Ts = TypeVarTuple("_Ts")

_NETWORK = (
    "virtualloop has no network, and a real one would bring real time and another run each time",
    "give the code under test streams or transports of your own (feed an asyncio.StreamReader, pass a fake transport "
    "to its protocol), or run this test on asyncio's own loop",
)
_NAMES = (
    "looking up a name asks the real world",
    "pass the code under test a resolver of its own, or patch this method on the loop",
)
_DESCRIPTORS = (
    "a file descriptor becomes ready in real time, outside the loop's clock",
    "move the blocking call into asyncio.to_thread(), for which the clock stands still, or run this test on "
    "asyncio's own loop",
)
_PROCESSES = (
    "another process runs in real time, outside the loop's clock",
    "call subprocess.run() in asyncio.to_thread(), for which the clock stands still, or fake the process",
)


def _refuse(method: str, reason: tuple[str, str]) -> NoReturn:
    why, instead = reason
    raise UnsupportedError(f"VirtualLoop.{method}() is not supported: {why}. Instead, {instead}.")


class Outside(asyncio.AbstractEventLoop):
    """Every method that needs the operating system, refused."""

    # Any: the refusal is the same whatever the arguments, and asyncio's signatures differ between Python versions.

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("getaddrinfo", _NAMES)

    async def getnameinfo(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("getnameinfo", _NAMES)

    async def create_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("create_connection", _NETWORK)

    async def create_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("create_server", _NETWORK)

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("create_unix_connection", _NETWORK)

    async def create_unix_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("create_unix_server", _NETWORK)

    async def create_datagram_endpoint(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("create_datagram_endpoint", _NETWORK)

    async def connect_accepted_socket(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("connect_accepted_socket", _NETWORK)

    async def start_tls(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("start_tls", _NETWORK)

    async def sendfile(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sendfile", _NETWORK)

    async def sock_recv(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sock_recv", _NETWORK)

    async def sock_recv_into(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sock_recv_into", _NETWORK)

    async def sock_recvfrom(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sock_recvfrom", _NETWORK)

    async def sock_recvfrom_into(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sock_recvfrom_into", _NETWORK)

    async def sock_sendall(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sock_sendall", _NETWORK)

    async def sock_sendto(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sock_sendto", _NETWORK)

    async def sock_connect(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sock_connect", _NETWORK)

    async def sock_accept(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sock_accept", _NETWORK)

    async def sock_sendfile(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("sock_sendfile", _NETWORK)

    def add_reader(self, fd: Any, callback: Callable[[*_Ts], object], *args: *_Ts) -> NoReturn:
        _refuse("add_reader", _DESCRIPTORS)

    def remove_reader(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("remove_reader", _DESCRIPTORS)

    def add_writer(self, fd: Any, callback: Callable[[*_Ts], object], *args: *_Ts) -> NoReturn:
        _refuse("add_writer", _DESCRIPTORS)

    def remove_writer(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("remove_writer", _DESCRIPTORS)

    async def connect_read_pipe(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("connect_read_pipe", _DESCRIPTORS)

    async def connect_write_pipe(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("connect_write_pipe", _DESCRIPTORS)

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("subprocess_shell", _PROCESSES)

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse("subprocess_exec", _PROCESSES)
