"""The names of unix sockets.

Owns which socket has which path. On Linux a path is a file, as in reality, which programs wait for, change the mode
of and remove; it has the type of a socket and nothing is behind it. Elsewhere it is only a name.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any, Protocol

from virtualloop._folders import status_of
from virtualloop.network._dns import error
from virtualloop.network._kernel import Bound, HostKernel

__all__ = ["Paths"]

#: The longest path of a unix socket, as Linux has it.
MAX_PATH = 107

# Linux lets anybody make the file of a unix socket without a socket.
_MAKES_FILES = sys.platform == "linux"


class Named(Bound, Protocol):
    """What has to be known of a socket that has a path."""

    number: int

    @property
    def host(self) -> HostKernel: ...


class Paths:
    """The paths of one network."""

    def __init__(self) -> None:
        # Any: the sockets, of which only the above is known here.
        self._bound: dict[Any, Any] = {}

    def bind(self, sock: Named, address: Any) -> str | bytes:
        """Give a path to a socket; return it. Raises what bind() raises."""
        path = _checked(address)
        if not path:
            path = b"\0%05x" % (sock.number & 0xFFFFF)
        if _is_abstract(path):
            path = os.fsencode(path)
            if (sock.host, path) in self._bound:
                raise error(errno.EADDRINUSE)
        elif not _MAKES_FILES:
            if Path(os.fsdecode(path)).exists() or _key(sock, path) in self._bound:
                raise error(errno.EADDRINUSE)
        else:
            try:
                os.mknod(path, stat.S_IFSOCK | 0o777)
            except FileExistsError:
                raise error(errno.EADDRINUSE) from None
        self.add(sock, path)
        return path

    def add(self, sock: Named, path: str | bytes) -> None:
        """Give a path to a socket, whose file is there already."""
        self._bound[_key(sock, path)] = sock

    def remove(self, sock: Named) -> None:
        """Take back a socket's path; the file stays, as in reality."""
        for key in [key for key, each in self._bound.items() if each is sock]:
            del self._bound[key]

    def find(self, sock: Named, path: Any) -> Any:
        """Return the socket that `sock` reaches at a path. Raises what connect() raises where there is none."""
        found = self._bound.get(_key(sock, _checked(path)))
        if not _MAKES_FILES and found is None and not _is_abstract(path):
            raise error(errno.ENOENT)
        if found is None or found.closed or found.host is not sock.host:
            raise error(errno.ECONNREFUSED)
        if found.type != sock.type:
            raise error(errno.EPROTOTYPE)
        return found

    def remove_file(self, path: str | bytes, number: int) -> None:
        """Remove the file of a server that is closed, if it is still the same."""
        file = Path(os.fsdecode(path))
        try:
            if status_of(file).st_ino == number:
                file.unlink()
        except FileNotFoundError:
            return  # Somebody else was faster.


def _is_abstract(path: str | bytes) -> bool:
    return path[:1] in ("\0", b"\0")


def _key(sock: Named, path: str | bytes) -> Any:
    """Return what tells a name from others. Raises FileNotFoundError where it is that of a file and there is none."""
    if _is_abstract(path):
        return sock.host, os.fsencode(path)
    file = Path(os.fsdecode(path))
    if not _MAKES_FILES:
        return file.absolute()
    status = status_of(file)
    return status.st_dev, status.st_ino


def _checked(path: Any) -> str | bytes:
    if not isinstance(path, str | bytes):
        raise TypeError(f"str, bytes or bytearray expected, not {type(path).__name__}")
    if len(os.fsencode(path)) > MAX_PATH:
        raise OSError("AF_UNIX path too long")
    return path
