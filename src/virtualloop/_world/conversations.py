"""Conversations with servers outside of this process, and how long the clock stands for their answers.

Owns one account for each socket that talks to the outside: it was asked something, and something was heard. Knows no
socket and no loop.

Nobody can see when an answer is complete, or whether there will be one. So the clock stands from the moment at which
something was sent until the other side has been quiet for a while after the last byte. Where nothing comes for longer
than the patience, real time sets the pace (see `pace`), and in the end there is a warning, and time goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from virtualloop._world.originals import real_time
from virtualloop._world.pace import Pace

__all__ = ["Conversation", "Conversations", "Nobody"]

#: How long the other side has to have been quiet, in real seconds, before the clock may move: longer than a server on
#: the same machine pauses within an answer, and short enough not to be noticed.
QUIET = 0.05


class Conversation:
    """What is known of one socket; `ended` is called when it is closed."""

    def __init__(self, name: str, patience: float, ended: Callable[[Conversation], None]) -> None:
        self.name = name
        self._pace = Pace(patience)
        self._ended = ended
        #: Whether something was sent and the other side has not been quiet since; and when it was heard last.
        self.is_open = False
        self.heard_at: float | None = None

    def asked(self) -> None:
        """Something was sent, or a connection was asked for."""
        self.is_open = True
        self.heard_at = None
        self._pace.restart()

    def heard(self) -> None:
        """Something has arrived."""
        self.heard_at = real_time.monotonic()

    def closed(self) -> None:
        """The socket was closed."""
        self.is_open = False
        self._ended(self)

    def holds(self, passed: float, ahead: float | None) -> bool:
        """Return whether to wait for the other side, `passed` real seconds after the last look; see `Pace.holds`."""
        if not self.is_open:
            return False
        if self.heard_at is not None:
            self.is_open = real_time.monotonic() - self.heard_at < QUIET
            return self.is_open
        what = f"without an answer from {self.name}, which is named in Network(outside=...)"
        holds = self._pace.holds_or_tells(passed, ahead, what)
        self.is_open = not self._pace.is_given_up
        return holds


class Nobody:
    """The account of a conversation that nobody need wait for: both ends are this loop's."""

    def asked(self) -> None:
        """Something was sent."""

    def heard(self) -> None:
        """Something has arrived."""

    def closed(self) -> None:
        """The socket was closed."""


class Conversations:
    """The conversations of one loop. `patience` is in real seconds."""

    def __init__(self, *, patience: float) -> None:
        self._patience = patience
        self._all: list[Conversation] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def begin(self, name: str, ended: Callable[[], None]) -> Conversation:
        """Return the account of one more socket, which talks to `name`; `ended()` is called after its end."""

        def forget(conversation: Conversation) -> None:
            if conversation in self._all:
                self._all.remove(conversation)
                ended()

        conversation = Conversation(name, self._patience, forget)
        self._all.append(conversation)
        return conversation

    def poll(self) -> None:
        """Nothing comes from here: what arrives is read from descriptors."""

    def has_come(self) -> bool:
        """Return False, for the same reason."""
        return False

    def holds(self, passed: float, ahead: float | None) -> bool:
        """Return whether an answer is waited for."""
        # Each is asked: they keep accounts.
        return True in [conversation.holds(passed, ahead) for conversation in self._all]
