"""Fuzz targets for the readers and for TCP reassembly."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from libvirt_proto.capture.detect import SNIFF_SIZE, enveloped
from libvirt_proto.capture.pcap.packet import SegmentDecoder
from libvirt_proto.capture.pcap.tcp import TcpReassembler
from libvirt_proto.capture.sources import FileFormat, read_source
from libvirt_proto.events import Chunk, Item
from libvirt_proto.rpc.wire import MIN_FRAME
from tests.support.oracles import items, readable
from tests.support.packets import ACK, FIN, Talk

from .taker import Taker


@dataclass(frozen=True)
class Reader:
    """The first byte: the sizes of the pieces in which the file is read. Then the file.

    Reading gives Items and messages in bounded work, and the same in pieces.
    """

    format: FileFormat | None

    def __call__(self, data: bytes) -> None:
        size, content = data[0] if data else 0, data[1:]
        readable(content, self.format)
        if self.format is not None and not _in_envelope(content, self.format, size + 1):
            file = _Slow(content, size + 1)
            assert _joined(read_source(file, "bytes", format=self.format)) == _joined(
                items(content, self.format) or ()
            )


def _in_envelope(content: bytes, format: FileFormat, size: int) -> bool:
    """Return True if a beginning shows an envelope; a slow pipe shows less of it, and is not waited for."""
    first = -(-MIN_FRAME // size) * size
    return any(enveloped(head, format) for head in (content[:SNIFF_SIZE], content[:first]))


class _Slow(io.BytesIO):
    """A pipe that returns a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(self._size if size is None or size < 0 else min(size, self._size))

    read = read1


def _joined(found: Iterable[Item]) -> list[Item]:
    """Consecutive Chunks without anything in between, joined."""
    out: list[Item] = []
    for item in found:
        last = out[-1] if out else None
        if (
            isinstance(item, Chunk)
            and isinstance(last, Chunk)
            and (item.connection, item.direction, item.time_ns)
            == (last.connection, last.direction, last.time_ns)
            and not (item.lost or last.cut or last.end)
        ):
            out[-1] = msgspec.structs.replace(last, data=last.data + item.data, end=item.end, cut=item.cut)
        else:
            out.append(item)
    return out


#: Maximum number of bytes per direction.
_STREAM = 1000


@dataclass
class _Side:
    """A direction: the offset of its first byte, its length, and the bytes that were sent."""

    name: str
    isn: int
    size: int
    sent: set[int] = field(default_factory=set)
    ended: bool = False

    def content(self, start: int, end: int) -> bytes:
        """The bytes at these offsets; each identifies its offset and direction."""
        key = 101 if self.name == "c2s" else 7
        return bytes((at * 31 + (at >> 8) * 17 + key) & 0xFF for at in range(start, end))


def segments(data: bytes) -> None:
    """The first byte: arbitrary segments, or pieces of two streams that do not contradict each other, in any
    order and repeated. Then the segments.

    Arbitrary segments give Chunks, none of them after an end. Of the two streams, every returned byte is at
    its place; and unless a byte is acknowledged before it is sent, no sent byte is missing.
    """
    taker = Taker(data)
    if taker.number(1) & 1:
        _any(taker)
    else:
        _two_streams(taker)


def _any(taker: Taker) -> None:
    talk, packets = Talk(), []
    wide = taker.number(1)
    while taker and len(packets) < 200:
        flags = taker.number(1)
        seq, ack = (taker.number(4 if wide & bit else 1) for bit in (1, 2))
        direction = "c2s" if flags & 32 else "s2c"
        packets.append(
            talk.packet(direction, taker.take(taker.below(24)), flags=flags & 31, seq=seq, ack=ack)
        )
    _ends_once(_reassemble(packets))


def _two_streams(taker: Taker) -> None:
    sides = [_Side(name, taker.number(4), 1 + taker.number(2) % _STREAM) for name in ("c2s", "s2c")]
    talk = Talk(seqs={side.name: side.isn for side in sides})
    packets, early = talk.handshake(), False
    while taker and len(packets) < 200:
        kind = taker.number(1)
        side, other = sides[:: 1 if kind & 1 else -1]
        start = taker.number(2) % side.size
        end = min(side.size, start + taker.number(1))
        ack = taker.number(2) % other.size if kind & 2 else 0
        early = early or not other.sent.issuperset(range(ack))
        flags = ACK
        if kind & 4:  # the end of the stream, and perhaps its last bytes
            start, end, flags = max(0, side.size - (kind >> 3)), side.size, ACK | FIN
            side.ended = True
        side.sent.update(range(start, end))
        packets.append(
            talk.packet(
                side.name,
                side.content(start, end),
                flags=flags,
                seq=(side.isn + 1 + start) & 0xFFFFFFFF,
                ack=(other.isn + 1 + ack) & 0xFFFFFFFF,
            )
        )
    chunks = _reassemble(packets)
    _ends_once(chunks)
    for side in sides:
        _in_place(side, [chunk for chunk in chunks if chunk.direction == side.name], complete=not early)


def _in_place(side: _Side, chunks: list[Chunk], *, complete: bool) -> None:
    at, given = 0, set[int]()
    for chunk in chunks:
        assert chunk.lost >= 0
        at += chunk.lost
        assert chunk.data == side.content(at, at + len(chunk.data))
        given.update(range(at, at + len(chunk.data)))
        at += len(chunk.data)
    assert at <= side.size
    assert given <= side.sent
    if complete:
        assert given == side.sent
        assert at == (side.size if side.ended else max(side.sent, default=-1) + 1)


def _reassemble(packets: list[bytes]) -> list[Chunk]:
    tcp, decoder = TcpReassembler(), SegmentDecoder()
    segments = decoder.segments((n, 1, each, 0, len(each), len(each)) for n, each in enumerate(packets))
    assert len(segments) == len(packets)
    tcp.feed(segments)
    tcp.finish(len(packets))
    return tcp.out


def _ends_once(chunks: list[Chunk]) -> None:
    """Check that no Chunk is empty and that nothing follows the end of a direction."""
    ended = set[tuple[int, str | None]]()
    for chunk in chunks:
        assert chunk.lost >= -1
        assert chunk.data or chunk.lost or chunk.end
        which = chunk.connection.id, chunk.direction
        assert which not in ended
        if chunk.end:
            ended.add(which)
