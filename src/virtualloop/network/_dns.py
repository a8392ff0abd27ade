"""Which name is which address: look-ups without the outside world.

Owns getaddrinfo() and getnameinfo() over the names it is given, and what an address looks like. Asks no resolver and
reads no file, so the answers are the same on every machine; unknown names fail as they do in reality. Only which number
a network interface has, as in "fe80::1%eth0", the machine says, as it says it to the program.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
from collections.abc import Callable
from typing import Any

__all__ = [
    "ANY",
    "LOOPBACK",
    "check_port",
    "error",
    "family_of",
    "is_loopback",
    "literal",
    "look_up",
    "needs_scope",
    "no_route",
    "port_of",
    "reverse",
    "scope_of",
    "unmapped",
]

#: The services that a program may name in place of a port.
SERVICES = {
    "echo": 7, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "http": 80, "pop3": 110, "ntp": 123,
    "imap2": 143, "ldap": 389, "https": 443, "submission": 587, "ldaps": 636, "imaps": 993, "pop3s": 995,
    "socks": 1080, "mysql": 3306, "postgresql": 5432, "amqp": 5672, "redis": 6379, "http-alt": 8080,
}  # fmt: skip

#: In the order in which Linux answers for a socket type of 0.
KINDS = ((socket.SOCK_STREAM, socket.IPPROTO_TCP), (socket.SOCK_DGRAM, socket.IPPROTO_UDP), (socket.SOCK_RAW, 0))

# Not every system has a code of its own for that.
_EAI_ADDRFAMILY = getattr(socket, "EAI_ADDRFAMILY", socket.EAI_FAMILY)

ANY: dict[int, str] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104  # nothing is bound but in memory
LOOPBACK: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def error(code: int, note: str = "") -> OSError:
    """Return the OSError, of the subclass that belongs to it, for an error code."""
    return OSError(code, _text_of(code) + note)


_text_of = functools.cache(os.strerror)


@functools.lru_cache
def literal(host: str) -> tuple[int, str] | None:
    """Return the family and the usual spelling of an address that is written out, or None for what is a name."""
    for family, written in ((socket.AF_INET, host), (socket.AF_INET6, host.partition("%")[0])):
        try:
            return family, socket.inet_ntop(family, socket.inet_pton(family, written))
        except (OSError, ValueError):
            continue
    return None


def unmapped(address: str) -> str:
    """Return the address of IPv4 that one of IPv6 stands for, as in "::ffff:127.0.0.1"; any other one as it is."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def family_of(address: str) -> int:
    """Return the family that an address, written out, belongs to."""
    return int(socket.AF_INET6 if ":" in address else socket.AF_INET)


def is_loopback(address: str) -> bool:
    """Return whether the address never leaves the host."""
    return address.startswith("127.") or address == "::1"


@functools.lru_cache
def needs_scope(address: str) -> bool:
    """Return whether an address, written out, means another one on each network interface: one of its link alone."""
    if ":" not in address:
        return False
    first, second = socket.inet_pton(socket.AF_INET6, address)[:2]
    return (first == 0xFE and second & 0xC0 == 0x80) or (first == 0xFF and second & 0xF in (1, 2))


def scope_of(host: str) -> int:
    """Return the number of the network interface that an address is written with, as in "fe80::1%eth0", or 0.

    Raises gaierror for one that there is not.
    """
    address, percent, zone = host.partition("%")
    if not percent:
        return 0
    if needs_scope(address):
        with contextlib.suppress(OSError):
            return socket.if_nametoindex(zone)
    if zone.isascii() and zone.isdecimal() and int(zone) < 1 << 32:
        return int(zone)
    raise _unknown_name()


def look_up(
    addresses: Callable[[str], list[tuple[int, str]] | None],
    host: str | bytes | None,
    port: str | bytes | int | None,
    family: int = 0,
    kind: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[tuple[Any, ...]]:
    """Do what socket.getaddrinfo() does. `addresses` gives those of a name, or None for one that nobody knows."""
    number = port_of(port, flags)
    scope = 0
    if isinstance(host, bytes):
        host = host.decode("idna")
    if host is None:
        if port is None:
            raise _unknown_name()
        either = ANY if flags & socket.AI_PASSIVE else LOOPBACK
        found: list[tuple[int, str]] | None = list(either.items())
    elif not isinstance(host, str):
        raise TypeError("getaddrinfo() argument 1 must be string or None")
    else:
        written = literal(host)
        if written is not None:
            found = [written]
            scope = scope_of(host)
        else:
            found = None if flags & socket.AI_NUMERICHOST else addresses(host.rstrip(".").lower())
    if found is None:
        raise _unknown_name()
    if family == socket.AF_INET6 and flags & socket.AI_V4MAPPED and not any(each == family for each, _ in found):
        found = [(int(family), f"::ffff:{address}") for _, address in found]
    if family and not any(each == family for each, _ in found):
        raise socket.gaierror(_EAI_ADDRFAMILY, "Address family for hostname not supported")
    name = host if host is not None and flags & socket.AI_CANONNAME else ""
    return [
        (
            socket.AddressFamily(each),
            socket.SocketKind(kind_),
            proto_,
            name,
            (address, number) if each == socket.AF_INET else (address, number, 0, scope),
        )
        for each, address in found
        if family in (0, each)
        for kind_, proto_ in KINDS
        if kind in (0, kind_) and proto in (0, proto_)
    ]


def reverse(names: Callable[[str], str | None], sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
    """Do what socket.getnameinfo() does. `names` gives the name of an address, or None."""
    if not isinstance(sockaddr, tuple):
        raise TypeError("getnameinfo() argument 1 must be a tuple")
    if not 2 <= len(sockaddr) <= 4:
        raise TypeError("getnameinfo(): illegal sockaddr argument")
    host, port = sockaddr[:2]
    written = literal(host)
    if written is None:
        raise _unknown_name()
    scope_of(host)  # which has to be one, though what counts is the other
    name = None if flags & socket.NI_NUMERICHOST else names(written[1])
    if name is None:
        if flags & socket.NI_NAMEREQD:
            raise _unknown_name()
        name = _with_scope(written[1], sockaddr[3] if len(sockaddr) > 3 else 0)
    service = None
    if not flags & socket.NI_NUMERICSERV:
        service = next((service for service, number in SERVICES.items() if number == port), None)
    return name, service or str(port)


def _with_scope(address: str, scope: int) -> str:
    """Return an address as it is written with the number of a network interface."""
    if not scope:
        return address
    zone = str(scope)
    if needs_scope(address):
        with contextlib.suppress(OSError):
            zone = socket.if_indextoname(scope)
    return f"{address}%{zone}"


def port_of(port: str | bytes | int | None, flags: int = 0) -> int:
    """Return the number of a port or service. Raises gaierror for a service that nobody knows."""
    if port is None:
        return 0
    if isinstance(port, int):
        if port < 0:
            raise _unknown_service()
        return port & 0xFFFF  # as the C library does
    text = port.decode() if isinstance(port, bytes) else port
    if not isinstance(text, str):
        raise OSError("Int or String expected")
    if text.isdigit():
        return int(text) & 0xFFFF
    if flags & socket.AI_NUMERICSERV:
        raise _unknown_name()
    if text in SERVICES:
        return SERVICES[text]
    raise _unknown_service()


def check_port(port: object, method: str) -> int:
    """Return the port of a socket address. Raises what sockets raise for one that cannot be."""
    if not isinstance(port, int):
        raise TypeError(f"'{type(port).__name__}' object cannot be interpreted as an integer")
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"{method}(): port must be 0-65535.")
    return port


def no_route() -> OSError:
    """Return what a connection to an address that no host has fails with."""
    return error(errno.ENETUNREACH)


def _unknown_name() -> socket.gaierror:
    return socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _unknown_service() -> socket.gaierror:
    return socket.gaierror(socket.EAI_SERVICE, "Servname not supported for ai_socktype")
