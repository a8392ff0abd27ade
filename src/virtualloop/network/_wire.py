"""One direction of a connection.

Owns the bytes between two sockets, in their order, and how many of them there may be. Knows nothing of addresses and of
how long the way is: that is the link's.

What is sent is on its way, then waits to be read. Both together are at most `capacity` bytes: a sender that gets ahead
of the reader by more has to wait, however fast it writes. What is on its way comes in in the order in which it was
sent: the timer of each piece says only "the next one", so a timer that is held changes nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virtualloop.network._endpoint import Endpoint
    from virtualloop.network._links import Link

__all__ = ["BUFFER", "END", "HELLO", "RESET", "RecordedWire", "Wire"]

#: How many bytes each end of a connection buffers unless told otherwise by SO_SNDBUF or SO_RCVBUF. Together they are
#: what a stock transport reads at once, so a reader that keeps up never makes a writer stop twice for one read.
BUFFER = 128 * 1024


class Mark:
    """What is sent beside bytes."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: The first on its way: a connection asks to be accepted.
HELLO = Mark("HELLO")
#: Nothing more comes.
END = Mark("END")
#: The other end is gone.
RESET = Mark("RESET")


class Wire:
    """What `source` sends to `target`, over `link`; without one, straight away."""

    __slots__ = ("_chunks", "_flight", "_flying", "capacity", "ended", "last_tick", "link", "size", "source", "stuck",
                 "target")  # fmt: skip

    def __init__(self, source: Endpoint, target: Endpoint, link: Link | None) -> None:
        self.source = source
        self.target = target
        self.link = link
        self._chunks: deque[bytes] = deque()
        #: Bytes that wait to be read.
        self.size = 0
        self.capacity = source.buffer_for_sending + target.buffer_for_receiving
        #: Whether all that will ever come has.
        self.ended = False
        self._flight: deque[bytes | Mark] = deque()
        self._flying = 0
        #: When the last piece that is on its way comes in.
        self.last_tick = 0
        #: How many pieces should have come in, and could not.
        self.stuck = 0

    def __str__(self) -> str:
        return f"{self.source.label}->{self.target.label}"

    @property
    def room(self) -> int:
        """How many more bytes may be sent now."""
        return self.capacity - self.size - self._flying

    def put(self, item: bytes | Mark) -> None:
        """Send bytes, for which there is room, or a mark."""
        link = self.link
        if link is None or (link.is_perfect and not self._flight):
            target = self.target
            if type(item) is bytes and not target.closed:
                # What _arrive() does, in line.
                self._chunks.append(item)
                self.size += len(item)
                if target._reader is not None:
                    target._reader.notify()
            else:
                self._arrive(item)
            return
        size = len(item) if type(item) is bytes else 0
        tick = link.arrival(self, size)  # It may raise.
        self._flight.append(item)
        self._flying += size
        link.set_timer(tick, self.deliver)

    def take(self, most: int) -> bytes:
        """Take out up to `most` of the bytes that wait to be read."""
        chunks = self._chunks
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
        self._chunks.appendleft(data)
        self.size += len(data)

    def deliver(self) -> None:
        """Let the next piece come in, if the way is free; a piece that cannot stays, and is counted."""
        if not self._flight:
            return
        link = self.link
        assert link is not None
        if not link.is_open():
            self.stuck += 1
            link.hold(self)
            return
        item = self._flight.popleft()
        if type(item) is bytes:
            self._flying -= len(item)
        self._arrive(item)

    def cut(self) -> None:
        """Lose all that is on its way."""
        self._flight.clear()
        self._flying = 0
        self.stuck = 0

    def _arrive(self, item: bytes | Mark) -> None:
        target = self.target
        if item is RESET:
            target.reset_by_peer()
        elif target.closed:
            # Nobody is there any more, and says so.
            if item is not END and target.out is not None:
                target.out.put(RESET)
        elif item is HELLO:
            target.ask_to_be_accepted()
        elif item is END:
            self.ended = True
            target.notify_reader()
        else:
            assert type(item) is bytes
            self._chunks.append(item)
            self.size += len(item)
            target.notify_reader()


class RecordedWire(Wire):
    """The same where the run is recorded: what is sent belongs to the step that sends it."""

    __slots__ = ()

    def put(self, item: bytes | Mark) -> None:
        """Send bytes or a mark."""
        recorder = self.source.medium.loop._recorder
        if type(item) is bytes and recorder is not None:
            recorder.send(self.target.label, len(item))
        super().put(item)
