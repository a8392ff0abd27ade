"""One direction of a connection.

Owns the bytes between two sockets, in their order, and how many of them there may be. Knows nothing of addresses and of
how long the way is: that is the link's.

What is sent is on its way, then waits to be read. Both together are at most `capacity` bytes: a sender that gets ahead
of the reader by more has to wait, however fast it writes. What is on its way comes in in the order in which it was
sent: the event of each piece says only "the next one", so an event that is held changes nothing.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import Any, Generic, Protocol, TypeVar

from virtualloop._core.recorder import Recorder
from virtualloop.network._link import Link
from virtualloop.network._readiness import Readiness

__all__ = ["BUFFER", "FIN", "RST", "SYN", "End", "RecordedWire", "Wire"]

#: How many bytes each end of a connection buffers unless told otherwise by SO_SNDBUF or SO_RCVBUF. Together they are
#: what a stock transport reads at once, so a reader that keeps up never makes a writer stop twice for one read.
BUFFER = 128 * 1024
#: How long a sender repeats what is not acknowledged before the connection has timed out, in seconds: Linux's fifteen
#: retransmissions.
GIVE_UP = 924.6


class Mark:
    """What is sent beside bytes."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: The first on its way: a connection asks to be accepted.
SYN = Mark("SYN")
#: Nothing more comes.
FIN = Mark("FIN")
#: The other end is gone.
RST = Mark("RST")


class End(Protocol):
    """What a wire asks of the two sockets that it connects."""

    closed: bool
    #: Who waits to read, and to write, if anybody ever did.
    reading: Readiness | None
    writing: Readiness | None
    buffer_for_sending: int
    buffer_for_receiving: int

    @property
    def label(self) -> str:
        """How this end is called in texts."""
        ...

    @property
    def out(self) -> Wire[Any] | None:
        """The wire from this end to the other one."""
        ...

    def ask_to_be_accepted(self) -> None:
        """A connection asks to be accepted."""

    def reset_by_peer(self) -> None:
        """The other end is gone."""

    def fail(self, code: int) -> None:
        """There is no connection any more."""


_EndT = TypeVar("_EndT", bound=End)


class Wire(Generic[_EndT]):
    """What `source` sends to `target`, over `link`; without one, straight away."""

    __slots__ = ("_flight", "_last_tick", "_stuck", "capacity", "chunks", "ended", "flying", "link", "size", "source",
                 "target")  # fmt: skip

    def __init__(self, source: _EndT, target: _EndT, link: Link | None) -> None:
        self.source = source
        self.target = target
        self.link = link
        #: What waits to be read, and how many bytes that is.
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.capacity = source.buffer_for_sending + target.buffer_for_receiving
        #: Whether all that will ever come has.
        self.ended = False
        # What is on its way, if anything ever was.
        self._flight: deque[bytes | Mark] | None = None
        #: How many bytes that is.
        self.flying = 0
        # When the last piece that is on its way arrives.
        self._last_tick = 0
        # How many pieces should have arrived, and could not.
        self._stuck = 0

    def __str__(self) -> str:
        return f"{self.source.label}->{self.target.label}"

    @property
    def room(self) -> int:
        """How many more bytes may be sent now."""
        return self.capacity - self.size - self.flying

    def put_at_once(self, data: bytes) -> bool:
        """Send bytes, if there is room for all of them and nothing between here and there; return whether it was so.

        Most of what is sent is sent here. It is what put(), _arrive() and Readiness.notify() come to.
        """
        link = self.link
        target = self.target
        if (
            not 0 < len(data) <= self.capacity - self.size - self.flying
            or target.closed
            or not (link is None or (link.is_perfect and not self._flight))
        ):
            return False
        self.chunks.append(data)
        self.size += len(data)
        reading = target.reading
        if reading is not None and reading.watcher is not None and not reading.is_posted:
            reading.is_posted = True
            reading.post(reading.event)
        return True

    def put(self, item: bytes | Mark) -> None:
        """Send bytes, for which there is room, or a mark."""
        link = self.link
        if link is None or (link.is_perfect and not self._flight):
            self._arrive(item)
            return
        size = len(item) if type(item) is bytes else 0
        # It may raise. What was sent before arrives before.
        self._last_tick = max(link.piece_arrival(self, size), self._last_tick)
        if self._flight is None:
            self._flight = deque()
        self._flight.append(item)
        self.flying += size
        link.post(self._last_tick, self._deliver)

    def take(self, most: int) -> bytes:
        """Take out up to `most` of the bytes that wait to be read."""
        chunks = self.chunks
        first = chunks.popleft()
        if len(first) > most:
            chunks.appendleft(first[most:])
            first = first[:most]
        elif chunks and len(first) < most:
            parts = [first]
            most -= len(first)
            while chunks and most:
                part = chunks.popleft()
                if len(part) > most:
                    chunks.appendleft(part[most:])
                    part = part[:most]
                most -= len(part)
                parts.append(part)
            first = b"".join(parts)
        self.size -= len(first)
        return first

    def put_back(self, data: bytes) -> None:
        """Undo `take`."""
        self.chunks.appendleft(data)
        self.size += len(data)

    def _deliver(self) -> None:
        """Let the next piece arrive, if the way is free; a piece that cannot stays, and is counted."""
        if not self._flight:
            return
        link = self.link
        assert link is not None
        if not link.is_open():
            self._stuck += 1
            if self._stuck == 1:
                self._send_again(link)
            return
        item = self._flight.popleft()
        if type(item) is bytes:
            self.flying -= len(item)
        self._arrive(item)

    def _send_again(self, link: Link) -> None:
        """A piece could not arrive: it is sent again when the way is free, until its sender gives up."""

        def give_up() -> None:
            if self._stuck:
                self.cut()
                self.source.fail(errno.ETIMEDOUT)

        limit = None if self.source.closed else link.post_after(GIVE_UP, give_up)

        def resume() -> None:
            if limit is not None:
                limit.cancel()
            stuck, self._stuck = self._stuck, 0
            for _ in range(stuck):
                self._last_tick = max(link.arrival(self, 0), self._last_tick)
                link.post(self._last_tick, self._deliver)

        link.when_open(resume)

    def cut(self) -> None:
        """Lose all that is on its way."""
        self._flight = None
        self.flying = 0
        self._stuck = 0

    def _arrive(self, item: bytes | Mark) -> None:
        target = self.target
        if item is RST:
            target.reset_by_peer()
        elif target.closed:
            # Nobody is there any more, and says so.
            if item is not FIN and target.out is not None:
                target.out.put(RST)
        elif item is SYN:
            target.ask_to_be_accepted()
        elif item is FIN:
            self.ended = True
            self._notify_reader()
        else:
            assert type(item) is bytes
            self.chunks.append(item)
            self.size += len(item)
            self._notify_reader()

    def _notify_reader(self) -> None:
        if self.target.reading is not None:
            self.target.reading.notify()


class RecordedWire(Wire[_EndT]):
    """The same where the run is recorded: what is sent belongs to the step that sends it."""

    __slots__ = ("_recorder",)

    def __init__(self, source: _EndT, target: _EndT, link: Link | None, recorder: Recorder) -> None:
        super().__init__(source, target, link)
        self._recorder = recorder

    def put_at_once(self, data: bytes) -> bool:
        """Leave it to put()."""
        return False

    def put(self, item: bytes | Mark) -> None:
        """Send bytes or a mark."""
        if type(item) is bytes:
            self._recorder.send(self.target.label, len(item))
        super().put(item)
