"""What is said of connections, names and descriptors that there are in memory only, or not there.

Owns the words: whoever meant a real server is told that this loop connects to none, and how to name it; whoever hands
the descriptor of a socket to the system, that it is none, and what to call instead.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable
from traceback import walk_tb
from typing import Any

from virtualloop._words import listed

__all__ = ["NOBODY_THERE", "explained_result", "in_words", "meant_a_real_server", "nobody_there", "unknown_name"]

#: What a connection fails with where nobody is.
NOBODY_THERE = frozenset({errno.ECONNREFUSED, errno.ENETUNREACH, errno.ENOENT})

#: How the sentences below begin.
_IN_MEMORY = ("Connections of a VirtualLoop are in memory", "Names are looked up in this loop's network in memory")


#: What is said where a system call knows no descriptor of that number.
NO_DESCRIPTOR = (
    "If that is the fileno() of a socket: sockets of a VirtualLoop are in memory, and it is a number that only the "
    "loop knows. Instead of os.sendfile() or os.write(), await loop.sendfile(transport, file), "
    "loop.sock_sendfile(sock, file) or loop.sock_sendall(sock, data). A connection that is to be real is named, "
    "network=Network(outside=[...])."
)
#: Where sockets in memory say of themselves that they are closed.
_NETWORK = "virtualloop.network."


def explained_result(future: asyncio.Future[Any]) -> Any:
    """Return the result of a future; of a bad descriptor, also in a group, say that it may be of a socket in memory."""
    __tracebackhide__ = True  # pytest shows the program's frames, not ours
    try:
        return future.result()
    except (OSError, BaseExceptionGroup) as exc:
        _explain_descriptors(exc)
        raise


def _explain_descriptors(exc: BaseException) -> None:
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            _explain_descriptors(each)
    elif isinstance(exc, OSError) and exc.errno == errno.EBADF and exc.__traceback__ is not None:
        *_, (frame, _) = walk_tb(exc.__traceback__)
        known = NO_DESCRIPTOR in getattr(exc, "__notes__", ())
        if not known and not str(frame.f_globals.get("__name__")).startswith(_NETWORK):
            exc.add_note(NO_DESCRIPTOR)


def meant_a_real_server(exc: BaseException | None) -> bool:
    """Return whether an exception, or one that led to it, says one of the sentences below."""
    seen = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        if any(note.startswith(_IN_MEMORY) for note in getattr(exc, "__notes__", ())):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def in_words(address: Any) -> str:
    """Return a socket address as people write it, and as `Network(outside=...)` takes it."""
    if isinstance(address, bytes):
        return address.decode(errors="replace")
    if not isinstance(address, tuple) or len(address) < 2:
        return str(address)
    return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"


def nobody_there(address: str, *, is_served: bool) -> str:
    """Return what to say of a connection to an address where nothing listens."""
    who = "; a real server of this process does, in another thread" if is_served else ""
    return (
        f"{_IN_MEMORY[0]}: nothing listens at {address} on this loop{who}. To connect to a "
        f"real server, name it: network=Network(outside=[{address!r}]), which VirtualLoop, explore and explored take."
    )


def unknown_name(name: Any, known: Iterable[str]) -> str:
    """Return what to say of a name that no host has."""
    return (
        f"{_IN_MEMORY[1]}, which knows {listed(map(repr, known))}, and not "
        f"{name!r}. Add it, network=Network(hosts=[...]), or name the real server, "
        "network=Network(outside=['host:port']), which VirtualLoop, explore and explored take."
    )
