"""asyncio's own networking methods, over another kind of socket.

Owns the borrowing: which methods of stock asyncio's selector loop VirtualLoop has as they are, and what stands below
them. Knows nothing of how sockets in memory work.

Stock asyncio's transports, servers, TLS and `sock_*` methods are pure Python over four things: the `socket` class, a
name look-up, and being told when a socket may be read or written. This loop replaces these and nothing else, so that
whatever stock does with a connection, in the Python version that runs, in its order and with its errors, is what
happens here as well.

Where a method makes its sockets by itself, the name `socket` in it is bound to `_Sockets`: the same function, with
another set of globals.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import sys
import types
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVarTuple

from virtualloop._handles import make_handle
from virtualloop._private import (
    BORROWED,
    GIVEN_SOCKETS,
    DatagramTransport,
    StockLoop,
    StreamTransport,
    get_running_loop,
)
from virtualloop._unsupported import Outside, refuse_descriptor

if TYPE_CHECKING:
    from virtualloop.network import Network
    from virtualloop.network._endpoint import Endpoint
    from virtualloop.network._medium import Medium

__all__ = ["Borrowed"]

_Ts = TypeVarTuple("_Ts")


class _Sockets:
    """The `socket` module as a module of asyncio's has it, with sockets in memory."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace

    def __getattr__(self, name: str) -> Any:
        # Looked up at each call, since tests replace it.
        return getattr(self._namespace["socket"], name)

    def socket(self, *args: Any, **kwargs: Any) -> Any:
        """Make a socket in the network of the running loop."""
        if self._namespace["socket"] is not socket:
            return self._namespace["socket"].socket(*args, **kwargs)
        loop: Any = get_running_loop()
        return loop._medium.make_socket(*args, **kwargs)


class _Numbered:
    """Transports that hash by the number of their socket: servers keep them in sets, whose order is that of hashes."""

    _sock_fd: int

    def __hash__(self) -> int:
        return self._sock_fd


@functools.cache
def _namespace_for(module: str) -> dict[str, Any]:
    """Return the globals of one of asyncio's modules, with sockets in memory."""
    namespace = vars(sys.modules[module])
    return {
        **namespace,
        "socket": _Sockets(namespace),
        # create_server() goes through a set of addresses, whose order is that of hashes of strings.
        "set": dict.fromkeys,
        # By the same names, for their texts.
        **{kind.__name__: type(kind.__name__, (_Numbered, kind), {}) for kind in (StreamTransport, DatagramTransport)},
    }


def _borrowed(name: str) -> Any:
    """Return a method of stock asyncio's loop, with sockets in memory below it."""
    stock = getattr(StockLoop, name)
    namespace = _namespace_for(stock.__module__)
    method = types.FunctionType(stock.__code__, namespace, name, stock.__defaults__, stock.__closure__)
    method.__kwdefaults__ = stock.__kwdefaults__
    method.__doc__ = stock.__doc__
    return method


def _adopting(name: str) -> Any:
    """Return a borrowed method that is given a socket of the program's: it stands for one in memory from then on."""
    stock = _borrowed(name)

    @functools.wraps(stock)
    async def method(self: Borrowed, *args: Any, **kwargs: Any) -> Any:
        for arg in (*args, *kwargs.values()):
            if issubclass(type(arg), socket.socket):  # and no mock that claims to be one
                self._medium.adopt(arg)
        return await stock(self, *args, **kwargs)

    return method


class Borrowed(Outside):
    """The networking methods of an event loop."""

    # The network, made when it is first asked for.
    _network: Network | None = None
    _debug: bool | None

    if TYPE_CHECKING:
        # What is set below. Any: their signatures differ between Python versions.
        connect_accepted_socket: Any
        create_connection: Any
        create_datagram_endpoint: Any
        create_server: Any
        create_unix_connection: Any
        create_unix_server: Any
        sendfile: Any
        sock_accept: Any
        sock_connect: Any
        sock_recv: Any
        sock_recv_into: Any
        sock_recvfrom: Any
        sock_recvfrom_into: Any
        sock_sendall: Any
        sock_sendfile: Any
        sock_sendto: Any
        start_tls: Any
        _ensure_fd_no_transport: Any

    def _check_closed(self) -> None:
        """Raise RuntimeError if the loop is closed."""
        raise NotImplementedError

    @property
    def network(self) -> Network:
        """The network in memory that this loop's connections go through."""
        if self._network is None:
            from virtualloop.network import Network  # only a loop that needs it pays for it

            self._join_network(Network())
        assert self._network is not None
        return self._network

    def _join_network(self, network: Network) -> None:
        from virtualloop.network import Network  # as above

        if not isinstance(network, Network):
            raise TypeError(f"network must be a virtualloop.Network, not {network!r}")
        network._open(self)
        self._network = network

    # --- names --------------------------------------------------------------------------------------------------------

    async def _sock_sendfile_native(self, sock: Any, file: Any, offset: int, count: int | None) -> int:
        # There is no file descriptor to send to, so the file is read and sent, as stock asyncio does where it has to.
        raise asyncio.SendfileNotAvailableError(f"a socket in memory, {sock!r}, takes no file")

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002  # its name in asyncio
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Look up a name among the hosts of the network; an answer is an event from outside."""
        medium = self._medium
        here = medium.here
        return await medium.answer(
            lambda: medium.look_up(here, host, port, family=family, kind=type, proto=proto, flags=flags)
        )

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """Look up an address among the hosts of the medium."""
        medium = self._medium
        return await medium.answer(lambda: medium.name_of(sockaddr, flags))

    # --- what the borrowed methods ask of the loop --------------------------------------------------------------------

    @property
    def _medium(self) -> Medium:
        network = self._network
        if network is None:
            network = self.network
        return network._live()

    @property
    def _transports(self) -> Any:
        return self._medium.transports

    @property
    def _selector(self) -> Any:
        return self._medium

    @property
    def _unix_server_sockets(self) -> Any:
        return self._medium.unix_files

    def _add_reader(self, fd: Any, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        return self._set_watch(self._socket_at(fd).reader, callback, args, context)

    def _add_writer(self, fd: Any, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        return self._set_watch(self._socket_at(fd).writer, callback, args, context)

    def _set_watch(self, watch: Any, callback: Any, args: tuple[Any, ...], context: Any) -> asyncio.Handle:
        self._check_closed()
        handle: asyncio.Handle
        if self._debug:
            handle = asyncio.Handle(callback, args, self, context)
        else:
            handle = make_handle(self, callback, args, copy_context() if context is None else context)
        watch.set(handle)
        return handle

    def _remove_reader(self, fd: Any) -> bool:
        sock = self._medium.sockets.get(fd)
        return sock is not None and sock.waits_to_read() and sock.reader.unset()

    def _remove_writer(self, fd: Any) -> bool:
        sock = self._medium.sockets.get(fd)
        return sock is not None and sock.waits_to_write() and sock.writer.unset()

    def _stop_serving(self, sock: Any) -> None:
        medium = self._medium
        # Servers of Python 3.13 and later take the files of their sockets with them.
        path = sock.getsockname() if sock in medium.unix_files else None
        self._remove_reader(sock.fileno())
        sock.close()
        if path is not None:
            medium.paths.remove_file(path, medium.unix_files.pop(sock))

    def _socket_at(self, fd: Any) -> Endpoint:
        return self._medium.sockets[fd]

    # --- watches of the program's own ---------------------------------------------------------------------------------

    def add_reader(self, fd: Any, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Run `callback(*args)` whenever a socket of the network may be read. No other file descriptor will do."""
        number = self._own(fd, "add_reader")
        self._ensure_fd_no_transport(number)
        self._add_reader(number, callback, *args)

    def remove_reader(self, fd: Any) -> bool:
        """Undo `add_reader`; return whether there was anything to undo."""
        number = self._own(fd, "remove_reader")
        self._ensure_fd_no_transport(number)
        return self._remove_reader(number)

    def add_writer(self, fd: Any, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Run `callback(*args)` whenever a socket of the network may be written. No other file descriptor will do."""
        number = self._own(fd, "add_writer")
        self._ensure_fd_no_transport(number)
        self._add_writer(number, callback, *args)

    def remove_writer(self, fd: Any) -> bool:
        """Undo `add_writer`; return whether there was anything to undo."""
        number = self._own(fd, "remove_writer")
        self._ensure_fd_no_transport(number)
        return self._remove_writer(number)

    def _own(self, fd: Any, method: str) -> int:
        """Return the number of a socket of the network, or refuse what is none."""
        if isinstance(fd, socket.socket):
            self._medium.adopt(fd)
            return fd.fileno()
        if not isinstance(fd, int) or not self._medium.has_number(fd):
            refuse_descriptor(method)
        return fd


for _names, _borrow in ((GIVEN_SOCKETS, _adopting), (BORROWED, _borrowed)):
    for _name in _names:
        setattr(Borrowed, _name, _borrow(_name))
