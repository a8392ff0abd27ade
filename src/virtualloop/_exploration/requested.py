"""The one run that the environment asks for.

Owns VIRTUALLOOP_REPLAY, and which test it is for.
"""

from __future__ import annotations

import os
import unittest
from typing import Any

from virtualloop._errors import ReplayError
from virtualloop._exploration.identity import identity_of
from virtualloop._exploration.mistakes import defined_at
from virtualloop._exploration.program import function_of
from virtualloop.schedules import _token

__all__ = ["REPLAY_VARIABLE", "asks_for", "requested_token"]

#: A token, to have explored tests replay that one run.
REPLAY_VARIABLE = "VIRTUALLOOP_REPLAY"


def requested_token(main: Any, token: str | None = None, *, skips: bool) -> str | None:
    """Return the token, this one or that of the environment, if it asks for a run of this test; else None.

    One for the same test with other arguments has this one skipped, or is none where `skips` is false. Raises
    ReplayError for what is no token.
    """
    token = token or os.environ.get(REPLAY_VARIABLE, "").strip()
    if not token:
        return None
    identity = identity_of(main)
    try:
        wanted = _token.decode(token).program
    except ReplayError as exc:
        raise ReplayError(
            f"{REPLAY_VARIABLE} was read for {identity.name}(){defined_at(function_of(main))}, and holds no token: "
            f"{exc}. Copy all of it from a failure's last line, or unset {REPLAY_VARIABLE}."
        ) from None
    own = _token.fingerprint(identity.program, identity.arguments)
    if wanted == own:
        return token
    if skips and _is_of_one_function(wanted, own):
        raise unittest.SkipTest(f"{REPLAY_VARIABLE} holds a run of {identity.name} with other arguments")
    return None


def asks_for(token: str, main: Any) -> bool:
    """Return whether a token is of this test, with these arguments or with others."""
    identity = identity_of(main)
    try:
        wanted = _token.decode(token).program
    except ReplayError:
        return False
    return _is_of_one_function(wanted, _token.fingerprint(identity.program, identity.arguments))


def _is_of_one_function(one: int, other: int) -> bool:
    return one & _token.HALF == other & _token.HALF
