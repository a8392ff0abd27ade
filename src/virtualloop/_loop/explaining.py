"""What is said of connections and names that the network in memory does not know.

Owns the words: whoever meant a real server is told that this loop connects to none, and how to name it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from virtualloop._words import listed

__all__ = ["NOBODY_THERE", "in_words", "meant_a_real_server", "nobody_there", "unknown_name"]

#: What a connection fails with where nobody is.
NOBODY_THERE = frozenset({errno.ECONNREFUSED, errno.ENETUNREACH, errno.ENOENT})

#: How the sentences below begin.
_IN_MEMORY = ("Connections of a VirtualLoop are in memory", "Names are looked up in this loop's network in memory")


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
