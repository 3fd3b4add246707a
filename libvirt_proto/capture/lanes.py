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
    from .pcap.file import Face
    from .stream import Reader

#: Times that the native core can count from, in ns; a damaged pcapng file may have others.
_MAX_TIME: Final = 1 << 62
_DIRECTIONS: Final = {"c2s": 0, "s2c": 1}


class Presenting(Protocol):
    """What presents the lines."""

    @property
    def scanner(self) -> Scanner | None:
        """The native core; None until it is worth it."""

    def learn(self, captured: Captured) -> None:
        """Learn the kind of a message that Python has read."""

    def hide(self, captured: Captured) -> None:
        """Learn that messages of this kind are not shown."""

    @property
    def start_ns(self) -> int | None:
        """Where the clock of the lines starts."""

    def connection(self, connection: Connection) -> bytes | Connection:
        """Return what the native core needs of a connection: its text in lines."""


class NoLanes:
    """No lanes: Python reads everything."""

    def attach(self, tcp: TcpReassembler, decoder: SegmentDecoder) -> None:
        """Set what reads packets."""

    def open(self, segments: Iterable[Segment]) -> None:
        """Open the lanes of the connections of segments, where both directions are in order."""

    def close(self, segments: Iterable[Segment]) -> None:
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
        #: Keys of open lanes.
        self._open: set[bytes] = set()

    @property
    def exchanges(self) -> int:
        """Number of exchanges so far."""
        return 0

    def attach(self, tcp: TcpReassembler, decoder: SegmentDecoder) -> None:
        """Set what reads the other packets."""
        self._tcp, self._decoder = tcp, decoder

    def packets(
        self, buffer: bytes, pos: int, blocks: bool, big: bool, limit: int, faces: tuple[Face, ...]
    ) -> tuple[int, Lines | None]:
        """Read packets of open lanes: see pcap.file.Skim."""
        start_ns = self._presenting.start_ns or 0
        if not self._open or abs(start_ns) >= _MAX_TIME:
            return pos, None
        assert self._presenting.scanner is not None
        pos, data, messages, shown, failures, packets, time_ns, data_ns = self._presenting.scanner.scan(
            buffer,
            pos,
            blocks,
            big,
            limit,
            faces,
            self.reader.count,
            self._decoder.packets,
            start_ns,
            self.exchanges,
        )
        self._decoder.packets += packets
        return pos, Lines(data, messages, shown, failures, time_ns, data_ns) if packets else None

    def open(self, segments: Iterable[Segment]) -> None:
        """Open the lanes of the connections of segments, where both directions are in order."""
        scanner = self._presenting.scanner
        for segment in segments if scanner is not None else ():
            for key in (segment[2], reverse(segment[2])):
                half = self._tcp.half(key)
                if half is None or not half.plain or half.connection is None or half.next < 0:
                    continue
                connection = half.connection
                if key in self._open or not self.reader.is_aligned(connection.id, half.direction):
                    continue
                text = self._presenting.connection(connection)
                if scanner is not None and scanner.open(key, half.next, _DIRECTIONS[half.direction], text):
                    self._open.add(key)

    def close(self, segments: Iterable[Segment]) -> None:
        """Take back the lanes of the connections of segments."""
        for segment in segments:
            if segment[2] not in self._open and self._tcp.is_full:
                self.close_all()  # another connection may be forgotten for a new one
            for key in (segment[2], reverse(segment[2])):
                self._close(key)

    def close_all(self) -> None:
        """Take back all lanes."""
        for key in [*self._open]:
            self._close(key)

    def _close(self, key: bytes) -> None:
        if key not in self._open:
            return
        self._open.remove(key)
        assert self._presenting.scanner is not None
        taken, half = self._presenting.scanner.take(key), self._tcp.half(key)
        if taken is None or half is None or half.connection is None:
            raise AssertionError("a lane without a connection")
        half.next, pending, packet = taken
        self.reader.take_back(half.connection.id, half.direction, pending, packet)
