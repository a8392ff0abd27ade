"""What the system holds back of what was written to a TCP connection.

Owns that one question to Linux. A small segment waits for the acknowledgement of the one before (Nagle's algorithm),
and that waits for up to 40 ms, in real time: so the other end may have nothing to read yet, in the same process as
well. Elsewhere nobody says so, and nothing is held back as far as is known here.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys

if sys.platform == "linux":
    from fcntl import ioctl

__all__ = ["holds_back", "is_connection"]

#: Asks how much was written and not sent.
_UNSENT = 0x894B
#: The size of the head of `struct tcp_info`, and where it says how many segments were not acknowledged.
_HEAD, _UNACKNOWLEDGED = 28, 24


def is_connection(fd: int) -> bool:
    """Return whether a descriptor is that of a TCP connection, as far as the system tells what it holds back of it."""
    return _unsent(fd) is not None


def holds_back(fd: int) -> bool:
    """Return whether something waits to be sent until the other side has acknowledged what was.

    Where all was acknowledged, it waits for the other side to read.
    """
    if not _unsent(fd):
        return False
    sock = socket.socket(fileno=fd)
    try:
        head = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _HEAD)
    except OSError:
        return False  # It is no TCP connection.
    finally:
        sock.detach()
    return len(head) == _HEAD and struct.unpack_from("I", head, _UNACKNOWLEDGED)[0] > 0


def _unsent(fd: int) -> int | None:
    """Return how much was written to a TCP connection and not sent, or None for anything else."""
    if sys.platform != "linux":
        return None
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return None
        unsent: int = struct.unpack("i", ioctl(fd, _UNSENT, bytes(4)))[0]
    except OSError:
        return None  # It is closed, or listens, or is of another kind.
    return unsent
