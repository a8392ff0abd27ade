"""asyncio's own networking methods, over another kind of socket.

Owns the borrowing: how a method of stock asyncio's selector loop becomes one of VirtualLoop's, and what stands below
it. Knows nothing of how sockets in memory work.

Stock asyncio's transports, servers, TLS and `sock_*` methods are pure Python over four things: the `socket` class, a
name look-up, and being told when a socket may be read or written. This loop replaces these and nothing else, so that
whatever stock does with a connection, in the Python version that runs, in its order and with its errors, is what
happens here as well.

Where a method makes its sockets or its transports by itself, it is the same function with other globals: those of its
module as they are at any time, but for these few names.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import socket
import sys
import types
from collections.abc import Callable
from typing import Any, TypeVar

from virtualloop._stock.private import (
    BORROWED,
    GIVEN_SOCKETS,
    DatagramTransport,
    StockLoop,
    StreamTransport,
    get_running_loop,
)

__all__ = ["borrow"]

_T = TypeVar("_T")


class _Sockets:
    """The `socket` module as a module of asyncio's has it, with sockets in memory."""

    def __init__(self, namespace: dict[str, Any], make: Callable[..., Any]) -> None:
        self._namespace = namespace
        self._make = make

    def __getattr__(self, name: str) -> Any:
        # Looked up at each call, since tests replace it.
        return getattr(self._namespace["socket"], name)

    def socket(self, *args: Any, **kwargs: Any) -> Any:
        """Make a socket in the network of the running loop."""
        if self._namespace["socket"] is not socket:
            return self._namespace["socket"].socket(*args, **kwargs)
        return self._make(get_running_loop(), *args, **kwargs)


class _Numbered:
    """Transports that hash by the number of their socket: servers keep them in sets, whose order is that of hashes."""

    _sock: Any
    _sock_fd: int
    _server: Any = None

    def __hash__(self) -> int:
        return self._sock_fd

    def __del__(self) -> None:
        if self._sock is None:
            return  # It was closed.
        # Several that are collected at once, unclosed, are all the last for a server since Python 3.13, and a TypeError
        # would be printed of the second: there is nobody any more who waits for the server to be closed.
        server = self._server
        if server is not None and server._waiters is None:
            self._server = None
        super().__del__()  # type: ignore[misc]  # a transport's


@functools.cache
def _numbered(kind: Any) -> Any:
    """Return a class of transports as one that hashes by number; by the same name, for its texts."""
    return type(kind.__name__, (_Numbered, kind), {})


class _Transports:
    """A class of asyncio's transports as a module has it at any time, hashing by number."""

    def __init__(self, namespace: dict[str, Any], stock: Any) -> None:
        self._namespace = namespace
        self._name = stock.__name__
        self._stock = stock
        self._stock_numbered = _numbered(stock)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kind = self._namespace[self._name]
        if kind is self._stock and not kwargs:
            return self._stock_numbered(*args)
        return (_numbered(kind) if isinstance(kind, type) else kind)(*args, **kwargs)


@functools.cache
def _namespace_for(module: str, make_socket: Callable[..., Any]) -> dict[str, Any]:
    """Return globals that are those of one of asyncio's modules, as they are at any time, with sockets in memory."""
    namespace = vars(sys.modules[module])
    # What is not in it is looked up in the module, without a frame of Python's. Builtins are, since two misses for each
    # would cost a connection a twentieth more.
    view = type("Globals", (dict,), {"__missing__": namespace.__getitem__})
    own = {
        **{name: value for name, value in vars(builtins).items() if name not in namespace},
        "__name__": module,
        "socket": _Sockets(namespace, make_socket),
        # create_server() goes through a set of addresses, whose order is that of hashes of strings.
        "set": dict.fromkeys,
    }
    kinds = {kind.__name__: _Transports(namespace, kind) for kind in (StreamTransport, DatagramTransport)}
    found: dict[str, Any] = view(own, **kinds)
    return found


#: The names that mean something else in a borrowed method.
_CHANGED = {"socket", "set", StreamTransport.__name__, DatagramTransport.__name__}


def _names_of(code: types.CodeType) -> set[str]:
    """Return the names that a function looks up."""
    inner = (_names_of(const) for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*inner)


def _borrowed(name: str, make_socket: Callable[..., Any]) -> Any:
    """Return a method of stock asyncio's loop, with sockets in memory below it: most are as they are."""
    stock = getattr(StockLoop, name)
    if not _CHANGED & _names_of(stock.__code__):
        return stock
    namespace = _namespace_for(stock.__module__, make_socket)
    method = types.FunctionType(stock.__code__, namespace, name, stock.__defaults__, stock.__closure__)
    method.__kwdefaults__ = stock.__kwdefaults__
    method.__doc__ = stock.__doc__
    return method


def _adopting(name: str, make_socket: Callable[..., Any]) -> Any:
    """Return a borrowed method that is given a socket of the program's: it stands for one in memory from then on."""
    stock = _borrowed(name, make_socket)

    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        address = kwargs.get("address", args[-1] if len(args) > 1 else None) if name == "sock_sendto" else None
        for arg in (*args, *kwargs.values()):
            if issubclass(type(arg), socket.socket):  # and no mock that claims to be one
                self._hand_in(arg, address)
        return await stock(self, *args, **kwargs)

    async def sock_connect(self: Any, sock: Any, address: Any) -> Any:
        if issubclass(type(sock), socket.socket):  # as above
            self._hand_in(sock, address)
        try:
            return await stock(self, sock, address)
        except OSError as exc:
            self._explain(exc, address)
            raise

    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Most are given no socket, and what stock's method returns is one coroutine less to resume.
        return (stock if kwargs.get("sock") is None else method)(self, *args, **kwargs)

    if sys.version_info >= (3, 12) and name.startswith("create_"):
        return functools.wraps(stock)(inspect.markcoroutinefunction(create))
    return functools.wraps(stock)(sock_connect if name == "sock_connect" else method)


def borrow(make_socket: Callable[..., Any]) -> Callable[[type[_T]], type[_T]]:
    """Give a class of loops the methods of stock asyncio's loop that it is to have.

    `make_socket(loop, ...)` makes a socket in the network of a loop, as `socket.socket(...)` makes a real one.
    """

    def decorate(cls: type[_T]) -> type[_T]:
        for names, method in ((GIVEN_SOCKETS, _adopting), (BORROWED, _borrowed)):
            for name in names:
                setattr(cls, name, method(name, make_socket))
        return cls

    return decorate
