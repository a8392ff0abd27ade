"""A recorded run as one short word, to be pasted into a test, a shell or an issue.

Owns the format and nothing else: what the numbers mean is the business of `schedules`. A token holds every question up
to the last answer that is not 0, so that a program that has changed is found out at the first question that differs;
equal questions in a row are counted, and the whole is compressed, so that a run of hundreds of questions with a few
deviations stays within a line.
"""

from __future__ import annotations

import base64
import binascii
import sys
import zlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

__all__ = ["Token", "decode", "encode"]

#: The format. Another one gets another number, so that an old token is refused by name and not misread.
PREFIX = "v1."


class Token(NamedTuple):
    """What a token says: `choices` are (answer, n, kind); `lateness` is in ticks; `program` tells whose run it is."""

    choices: list[tuple[int, int, str]]
    order: str
    lateness: int
    program: int
    python: str


def encode(choices: Sequence[tuple[int, int, str]], *, order: str, lateness: int, program: str) -> str:
    """Return the token of a run; what follows its last deviation is left out."""
    end = max((i for i, (answer, _, _) in enumerate(choices, 1) if answer), default=0)
    words = [order, str(lateness), f"{fingerprint(program):x}", python_version(), *_runs(choices[:end])]
    packed = zlib.compress(" ".join(words).encode(), 9)
    return PREFIX + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(token: str) -> Token:
    """Return what a token says. Raises ValueError for what is none, or not whole."""
    token = token.strip()
    if not token.startswith(PREFIX):
        raise ValueError(f"a token of this version begins with {PREFIX!r}, got {token!r}")
    packed = token.removeprefix(PREFIX)
    try:
        text = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))).decode()
    except (binascii.Error, zlib.error, ValueError):
        raise ValueError(f"the token is not whole, or mistyped; copy it again: {token!r}") from None
    order, lateness, program, python, *runs = text.split(" ")
    choices: list[tuple[int, int, str]] = []
    for run in runs:
        kind, n, answer, count = run.split(":")
        choices += [(int(answer), int(n), kind)] * int(count)
    return Token(choices, order, int(lateness), int(program, 16), python)


def fingerprint(program: str) -> int:
    """Return a number that tells programs apart, well enough to see that a token is another one's."""
    return zlib.crc32(program.encode()) & 0xFFFF


def python_version() -> str:
    """Return the version that a run depends on: the minor one."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _runs(choices: Iterable[tuple[int, int, str]]) -> Iterable[str]:
    for (answer, n, kind), group in groupby(choices):
        yield f"{kind}:{n}:{answer}:{sum(1 for _ in group)}"
