"""A recorded run as one short word, to be pasted into a test, a shell or an issue.

Owns the format and nothing else: what the numbers mean is the business of `schedules`. A token holds every question up
to the last answer that is not 0, so that a program that has changed is found out at the first question that differs;
equal questions in a row are counted, and the whole is compressed, so that a run of hundreds of questions with a few
deviations stays within a line. With them it holds the terms of the run: what its calendar and its dice begin with.

A token comes from a file, a variable of the environment or somebody's mail: each of its words is checked before it is
used, and none makes this process take more memory or time than the limits below.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from virtualloop._errors import ReplayError

__all__ = ["HALF", "NUMBERS", "Token", "decode", "encode"]

#: The format. Another one gets another number, so that an old token is refused by name and not misread.
PREFIX = "v1."
#: Half of a fingerprint.
HALF = 0xFFFF

#: Questions that a token holds at most. A run of a minute asks a million; a token that says a billion is a mistake, or
#: somebody's joke.
MAX_CHOICES = 10_000_000
#: Bytes that a token is unpacked to at most: as many questions as that in runs of three, at the usual twelve each.
MAX_BYTES = 40_000_000
#: Digits of a number: more than any run needs, and too few to be slow.
MAX_DIGITS = 18
#: How many numbers there are that the dice of a run may follow from.
NUMBERS = 1 << 64
#: So much of a bad token is shown.
SHOWN = 60

_NUMBER = rf"[0-9]{{1,{MAX_DIGITS}}}"
_PACKED = re.compile(r"[A-Za-z0-9_-]+")
#: The words that a token begins with, and one run of equal questions.
_HEAD = re.compile(rf"(fifo|timing|io|tasks) ({_NUMBER})(\+?) ([0-9a-f]{{1,8}}) ([0-9]{{1,3}}\.[0-9]{{1,3}})")
#: When its calendar began, in seconds since 1970 and microseconds; and what its dice follow from.
_EPOCH = re.compile(r" @(-?[0-9a-f]{1,10})(?:\.([0-9]{1,6}))?")
_DICE = re.compile(r" #([0-9a-f]{1,16})")
_RUN = re.compile(rf" ([A-Za-z][\w-]{{0,39}}):({_NUMBER}):({_NUMBER}):({_NUMBER})", re.ASCII)

_START_OF_UNIX = datetime(1970, 1, 1, tzinfo=UTC)


class Token(NamedTuple):
    """What a token says: `choices` are (answer, n, kind); `lateness` is in ticks; `program` tells whose run it is.

    `replies` says whether replies could be later than the timeouts that wait for them. `epoch` is when the calendar of
    the run began, `number` what its dice follow from; None for one that had the real ones.
    """

    choices: list[tuple[int, int, str]]
    order: str
    lateness: int
    program: int
    python: str
    replies: bool = False
    epoch: datetime | None = None
    number: int | None = None


def encode(
    choices: Sequence[tuple[int, int, str]],
    *,
    order: str,
    lateness: int,
    program: str,
    arguments: str = "",
    replies: bool = False,
    epoch: datetime | None = None,
    number: int | None = None,
) -> str:
    """Return the token of a run; what follows its last deviation is left out. `number` is in `range(NUMBERS)`."""
    end = max((i for i, (answer, _, _) in enumerate(choices, 1) if answer), default=0)
    words = [
        order,
        f"{lateness}{'+' if replies else ''}",
        f"{fingerprint(program, arguments):x}",
        python_version(),
        *([] if epoch is None else [_moment(epoch)]),
        *([] if number is None else [f"#{number:x}"]),
        *_runs(choices[:end]),
    ]
    packed = zlib.compress(" ".join(words).encode(), 9)
    return PREFIX + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(token: str) -> Token:
    """Return what a token says. Raises ReplayError for what is none, or not whole."""
    token = token.strip()
    if not token.startswith(PREFIX):
        raise ReplayError(f"a token of this version begins with {PREFIX!r}, got {_shown(token)}")
    text = _unpacked(token.removeprefix(PREFIX))
    head = None if text is None else _HEAD.match(text)
    if text is None or head is None:
        raise ReplayError(f"the token is not whole, or mistyped; copy it again: {_shown(token)}")
    order, lateness, replies, program, python = head.groups()
    choices: list[tuple[int, int, str]] = []
    position = head.end()
    epoch = number = None
    if begins := _EPOCH.match(text, position):
        position = begins.end()
        try:
            epoch = _START_OF_UNIX + timedelta(seconds=int(begins[1], 16), microseconds=int(begins[2] or 0))
        except OverflowError:
            raise ReplayError(f"the token holds what is no date, {_shown(begins[0])}: {_shown(token)}") from None
    if dice := _DICE.match(text, position):
        position = dice.end()
        number = int(dice[1], 16)
    while position < len(text):
        run = _RUN.match(text, position)
        if run is None:
            raise ReplayError(f"the token holds what is no choice, {_shown(text[position:])}: {_shown(token)}")
        n, answer, count = map(int, run.group(2, 3, 4))
        if not 0 <= answer < n:
            raise ReplayError(f"the token holds a choice of {answer} out of {n}: {_shown(token)}")
        if len(choices) + count > MAX_CHOICES:
            raise ReplayError(f"the token holds more than {MAX_CHOICES:,} choices: {_shown(token)}")
        choices += [(answer, n, sys.intern(run[1]))] * count
        position = run.end()
    return Token(choices, order, int(lateness), int(program, 16), python, bool(replies), epoch, number)


def _unpacked(packed: str) -> str | None:
    """Return what was packed into a token, or None if that cannot be."""
    if len(packed) > MAX_BYTES or not _PACKED.fullmatch(packed):
        return None
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), MAX_BYTES)
    except (binascii.Error, zlib.error):
        return None
    # Cut off, longer than any token is, or with something behind its end.
    if not stream.eof or stream.unused_data or not text.isascii():
        return None
    return text.decode("ascii")


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...")


def fingerprint(program: str, arguments: str = "") -> int:
    """Return a number that tells programs apart, well enough to see that a token is another one's.

    Its lower half is that of the program alone, so that a token is known for one of the same with other arguments.
    """
    number = zlib.crc32(program.encode()) & HALF
    return number | (zlib.crc32(arguments.encode()) & HALF) << HALF.bit_length() if arguments else number


def python_version() -> str:
    """Return the version that a run depends on: the minor one."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _moment(epoch: datetime) -> str:
    seconds, microseconds = divmod((epoch - _START_OF_UNIX) // timedelta(microseconds=1), 1_000_000)
    return f"@{seconds:x}{f'.{microseconds}' if microseconds else ''}"


def _runs(choices: Iterable[tuple[int, int, str]]) -> Iterable[str]:
    for (answer, n, kind), group in groupby(choices):
        yield f"{kind}:{n}:{answer}:{sum(1 for _ in group)}"
