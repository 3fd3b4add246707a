"""Lanes: directions of connections in step, whose packets the native core reads and presents.

A lane belongs to one side at a time. Python opens it for the scanner after a packet that it has processed
completely, and takes it back, with pending bytes, before it processes another packet of the same connection:
one that the scanner left because it is unusual. So whatever Python sees of a connection is what it would see
without lanes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from ..events import Captured, Connection, Lines
from .pcap.packet import Segment, SegmentDecoder, reverse
from .pcap.tcp import TcpReassembler

if TYPE_CHECKING:
    from ..native import Scanner
    from ..rpc.message import MessageDecoder
    from .pcap.file import Ahead
    from .stream import Reader

#: Times that the native core can count from, in ns; a damaged pcapng file may have others.
_MAX_TIME: Final = 1 << 62
_DIRECTIONS: Final = {"c2s": 0, "s2c": 1}
#: Bytes that are worth a lane: opening one and taking it back costs as much as Python's work on them.
_WORTH: Final = 4096
#: The maximum number of packets without a lane that Python reads at once.
_MAX_STRAYS: Final = 256
#: Lanes that the core has room for.
MAX_LANES: Final = 8192


class Presenting(Protocol):
    """A presenter of lines."""

    @property
    def scanner(self) -> Scanner | None:
        """The native core; None until it is worth it."""

    def decoder(self) -> MessageDecoder:
        """Return the decoder of the messages that Python reads."""

    def learn(self, captured: Captured) -> None:
        """Learn the kind of a message that Python has read."""

    def hide(self, captured: Captured) -> None:
        """Learn that messages of this kind are not shown."""

    @property
    def start_ns(self) -> int | None:
        """The time at which the clock of the lines starts, in ns."""

    def connection(self, connection: Connection) -> bytes | Connection:
        """Return what the native core needs of a connection: its text in lines."""


class NoLanes:
    """No lanes: Python reads everything."""

    def attach(self, tcp: TcpReassembler, decoder: SegmentDecoder) -> None:
        """Set what reads packets."""

    def open(self, segments: Iterable[Segment]) -> None:
        """Open the lanes of the connections of segments, where both directions are in order."""

    def close(self, segments: list[Segment]) -> None:
        """Take back the lanes of the connections of segments."""

    def close_all(self) -> None:
        """Take back all lanes."""


class Lanes(NoLanes):
    """The lanes of one pass over a packet capture. `presenting` gives the texts of lines."""

    def __init__(self, presenting: Presenting) -> None:
        self.reader: Reader
        self._presenting = presenting
        self._tcp: TcpReassembler
        self._decoder: SegmentDecoder
        #: Open lanes: keys, and sequence numbers where they began.
        self._open: dict[bytes, int] = {}
        #: Number of packets without a lane to read at once, and its value after lanes were opened: it grows
        #: where packets open none, and where they are not worth it.
        self._strays = self._new = 1

    def decoder(self) -> MessageDecoder:
        """Return the decoder of the messages that Python reads."""
        return self._presenting.decoder()

    @property
    def exchanges(self) -> int:
        """Number of exchanges so far."""
        return 0

    def attach(self, tcp: TcpReassembler, decoder: SegmentDecoder) -> None:
        """Set what reads the other packets."""
        self._tcp, self._decoder = tcp, decoder

    def packets(self, ahead: Ahead) -> tuple[int, Lines | None, int]:
        """Read packets of open lanes: see pcap.file.Skim."""
        start_ns = self._presenting.start_ns or 0
        if not self._open or abs(start_ns) >= _MAX_TIME:
            return ahead.pos, None, self._strays
        assert self._presenting.scanner is not None
        pos, data, messages, shown, failures, packets, time_ns, data_ns, strays = (
            self._presenting.scanner.scan(
                *ahead,
                self.reader.count,
                self._decoder.packets,
                start_ns,
                self._strays,
                self.exchanges,
            )
        )
        self._decoder.packets += packets
        lines = Lines(data, messages, shown, failures, time_ns, data_ns) if packets else None
        return pos, lines, strays

    def open(self, segments: Iterable[Segment]) -> None:
        """Open the lanes of the connections of segments, where both directions are in order."""
        scanner = self._presenting.scanner
        if scanner is None:
            return
        before = len(self._open)
        for key in _keys(segments):
            if before < MAX_LANES and key not in self._open and not self._opened(scanner, key):
                break
        # The connection of a packet without a lane may be new, or never have one.
        opened = len(self._open) > before
        self._strays = self._new if opened else min(2 * self._strays, _MAX_STRAYS)

    def _opened(self, scanner: Scanner, key: bytes) -> bool:
        """Open a lane if its direction is in order. Return False if the table is full."""
        half = self._tcp.half(key)
        if half is None or not half.plain or half.connection is None or half.next < 0:
            return True
        connection, direction = half.connection, half.direction
        if connection.side is not None:  # the core's lines do not show sides
            return True
        pending = self.reader.pending(connection.id, direction)
        if pending is None:
            return True
        text = self._presenting.connection(connection)
        if not scanner.open(key, half.next, _DIRECTIONS[direction], text, pending):
            return False
        self._open[key] = half.next
        self.reader.hand_over(connection.id, direction)
        return True

    def close(self, segments: list[Segment]) -> None:
        """Take back the lanes of the connections of segments, and of those that new ones may replace."""
        if not self._open:
            return
        for key in (*self._tcp.replaceable(len(segments)), *_keys(segments)):
            if key in self._open:
                self._close(key)

    def close_all(self) -> None:
        """Take back all lanes."""
        for key in [*self._open]:
            self._close(key)

    def _close(self, key: bytes) -> None:
        began = self._open.pop(key)
        assert self._presenting.scanner is not None
        taken, half = self._presenting.scanner.take(key), self._tcp.half(key)
        if taken is None or half is None or half.connection is None:
            raise AssertionError("a lane without a connection")
        half.next, pending, packet = taken
        worth = (half.next - began) & 0xFFFFFFFF >= _WORTH
        self._new = 1 if worth else min(2 * self._new, _MAX_STRAYS)
        self.reader.take_back(half.connection.id, half.direction, pending, packet)


def _keys(segments: Iterable[Segment]) -> dict[bytes, None]:
    """Return the keys of both directions of the connections of segments, each once."""
    keys = dict.fromkeys(segment[2] for segment in segments)
    for key in [*keys]:
        keys[reverse(key)] = None
    return keys
