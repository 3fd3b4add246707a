"""Packets of pcap and pcapng files.

Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng (and its appendix for the obsolete Packet Block).
Files are read in large blocks. A packet is a range of its block, so that nothing is copied before its payload
is known.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from struct import Struct
from typing import Final, NamedTuple, Protocol

from ...blocks import BLOCK_SIZE, Read
from ...events import Lines, NoticeCode, Side
from .origin import MAX_COMMENT, SIDES, Origin, origin

#: (time in ns since the epoch or None, link type, buffer, start, end, original length): the packet's bytes
#: are buffer[start:end]; the original length is its length before it was cut.
Packet = tuple[int | None, int, bytes, int, int, int]
#: The link type of pcapng blocks that Wireshark numbers as packets, although they are none.
NOT_A_PACKET: Final = -1

#: The maximum packet size of libpcap and Wireshark, unless the file declares a larger one.
MAX_PACKET: Final = 262_144
MAX_SNAPLEN: Final = 16 << 20
#: A longer pcapng block is considered damaged.
MAX_BLOCK: Final = 64 << 20
MAX_INTERFACES: Final = 65_536

#: First four bytes → byte order and nanoseconds per unit of the second time word.
PCAP_MAGIC: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDER_MAGIC: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}


#: (link type, ns per tick or 0 for a fraction, offset in ns) of an interface.
Face = tuple[int, int, int]


class Ahead(NamedTuple):
    """Packets of a capture that are in memory, from a position on: `blocks` is True for pcapng, `big` for
    big-endian numbers, `limit` the maximum size of a packet in bytes."""

    buffer: bytes | memoryview
    pos: int
    blocks: bool
    big: bool
    limit: int
    faces: tuple[Face, ...]


class Skim(Protocol):
    """Reads packets ahead of their reader, as far as they are usual."""

    def packets(self, ahead: Ahead) -> tuple[int, Lines | None, int]:
        """Return the position of the first packet that is left, what the others give, and the number of
        packets to read before the next call."""


class DamagedCaptureError(Exception):
    """A file that is truncated or contradicts its format; everything before the damage was yielded.

    `code` is `truncated-file` or `corrupt-file`, `offset` the position in the file.
    """

    def __init__(self, code: NoticeCode, offset: int, problem: str) -> None:
        super().__init__(f"the capture {problem}, at byte {offset} of the file")
        self.code = code
        self.offset = offset


def _truncated(offset: int, what: str, needed: int, available: int) -> DamagedCaptureError:
    return DamagedCaptureError(
        NoticeCode.TRUNCATED_FILE,
        offset,
        f"is truncated in {what}: needs {needed} bytes, {available} available",
    )


def _corrupt(offset: int, problem: str) -> DamagedCaptureError:
    return DamagedCaptureError(NoticeCode.CORRUPT_FILE, offset, problem)


#: Fills a buffer as far as bytes are there, and returns their number, 0 at the end.
ReadInto = Callable[[memoryview], int]


class _Window:
    """The part of the file in memory: `buffer` begins at byte `base` of the file."""

    def __init__(self, read: Read, head: bytes) -> None:
        self._read = read
        self.buffer: bytes | memoryview = head
        self.base = 0

    def fill(self, pos: int, needed: int) -> int:
        """Drop the bytes before `pos`, and read until `needed` bytes are there or the file ends.

        Return the number of available bytes; the buffer then begins at `pos`.
        """
        pieces = [self.buffer[pos:]]
        size = len(pieces[0])
        while size < needed:
            block = self._read(max(BLOCK_SIZE, needed - size))
            if not block:
                break
            pieces.append(block)
            size += len(block)
        self.base += pos
        self.buffer = b"".join(pieces)
        return size


class _ReusedWindow(_Window):
    """The same in memory that is used again, which halves the time of reading. `buffer` changes with each
    block: what stays has to be copied."""

    def __init__(self, read_into: ReadInto, head: bytes) -> None:
        self._read_into = read_into
        self._memory = memoryview(bytearray())
        self.buffer = head
        self.base = 0

    def fill(self, pos: int, needed: int) -> int:
        rest, memory = self.buffer[pos:], self._memory
        size = len(rest)
        room = max(BLOCK_SIZE, needed, size)
        if len(memory) != room:
            memory = memoryview(bytearray(room))
        memory[:size] = rest
        while size < needed:
            count = self._read_into(memory[size:])
            if not count:
                break
            size += count
        self._memory, self.buffer = memory, memory[:size]
        self.base += pos
        return size


def _window(read: Read, head: bytes, read_into: ReadInto | None) -> _Window:
    return _Window(read, head) if read_into is None else _ReusedWindow(read_into, head)


def read_pcap(
    read: Read, head: bytes = b"", skim: Skim | None = None, read_into: ReadInto | None = None
) -> Iterator[list[Packet] | Lines]:
    """Yield the packets of a pcap file, in batches as they were read, or a few between those that `skim`
    reads. `head` is the part already read. With `skim`, `read_into` reads, too.

    Raises DamagedCaptureError after the last readable packet.
    """
    window = _window(read, head, read_into)
    size = window.fill(0, 24)
    if size < 24:
        raise _truncated(0, "the file header", 24, size)
    magic = bytes(window.buffer[:4])
    if magic not in PCAP_MAGIC:  # the user chose the format
        raise _corrupt(0, f"is not pcap: it begins with {magic.hex()}")
    order, scale = PCAP_MAGIC[magic]
    snaplen, network = Struct(order + "II").unpack_from(window.buffer, 16)
    linktype = network & 0xFFFF  # the upper bits are the length of a frame check sequence
    limit = max(MAX_PACKET, min(snaplen, MAX_SNAPLEN))
    big, faces = order == ">", ((linktype, scale, 0),)
    header = Struct(order + "IIII").unpack_from
    pos, count = 24, 0
    while True:
        buffer, size, needed, captured = window.buffer, len(window.buffer), 16, 0
        lasting = buffer if isinstance(buffer, bytes) else None
        packets: list[Packet] = []
        add = packets.append
        while size - pos >= 16:
            if skim is not None and len(packets) >= count:
                yield packets
                packets = []
                add = packets.append
                pos, count = yield from _skimmed(skim, Ahead(buffer, pos, False, big, limit, faces))
                if size - pos < 16:
                    break
            seconds, fraction, captured, original = header(buffer, pos)
            start = pos + 16
            end = start + captured
            if end > size or captured > limit:
                needed = 16 + captured
                break
            time_ns, pos = seconds * 1_000_000_000 + fraction * scale, end
            if lasting is None:
                add((time_ns, linktype, bytes(buffer[start:end]), 0, captured, original))
            else:
                add((time_ns, linktype, lasting, start, end, original))
        yield packets
        if captured > limit:
            raise _corrupt(window.base + pos, f"has a packet of {captured} bytes, over the limit of {limit}")
        available = window.fill(pos, needed)
        pos = 0
        if available < needed:
            if available:
                what = "a packet header" if available < 16 else "a packet"
                raise _truncated(window.base, what, needed, available)
            return


def _skimmed(skim: Skim, ahead: Ahead) -> Generator[Lines, None, tuple[int, int]]:
    """Yield what `skim` reads, in several steps, and return the position after it, and the number of packets
    to read then."""
    while True:
        pos, lines, count = skim.packets(ahead)
        if lines is not None:
            yield lines
        if lines is None or count:
            return pos, count
        ahead = ahead._replace(pos=pos)


class _Interface(NamedTuple):
    """One interface of a section: ns = ticks * multiplier // divisor + offset. `recorded` marks those of our
    recordings; `side` is that of its connections."""

    linktype: int
    snaplen: int
    multiplier: int
    divisor: int
    offset: int
    recorded: bool
    side: Side | None


#: Interfaces of a section that are skimmed, and the offset of their times in ns.
MAX_FACES: Final = 64
_MAX_OFFSET: Final = 1 << 62


class _Section:
    """A section: its byte order (`<` or `>`) and its interfaces."""

    def __init__(self, order: str) -> None:
        self._block = Struct(order + "II").unpack_from
        self.word = Struct(order + "I").unpack_from
        self.option = Struct(order + "HH").unpack_from
        self.description = Struct(order + "HxxI").unpack_from
        self.enhanced = Struct(order + "IIIII").unpack_from
        self.obsolete = Struct(order + "HxxIIII").unpack_from
        self.signed = Struct(order + "q").unpack_from
        self.interfaces: list[_Interface] = []
        self.faces: tuple[Face, ...] = ()
        #: The connection that begins with the packet taken last; the reader resets it.
        self.origin: Origin | None = None
        self.big = order == ">"

    def _describe(self, buffer: bytes, start: int, end: int) -> None:
        if len(self.interfaces) == MAX_INTERFACES:
            raise ValueError(f"has more than {MAX_INTERFACES} interfaces")
        linktype, snaplen = self.description(buffer, start)
        multiplier, divisor, offset, name = 1000, 1, 0, b""
        for code, pos, length in self._options(buffer, start + 8, end):
            if code == _IF_NAME:
                name = buffer[pos : pos + length]
            elif code == _IF_TSRESOL and length == 1:
                exponent = buffer[pos] & 0x7F
                ticks = 1 << exponent if buffer[pos] & 0x80 else 10**exponent
                multiplier, divisor = 1_000_000_000, ticks
            elif code == _IF_TSOFFSET and length == 8:  # in seconds
                offset = self.signed(buffer, pos)[0] * 1_000_000_000
        times = multiplier, divisor, offset
        self.interfaces.append(_Interface(linktype, snaplen, *times, name in SIDES, SIDES.get(name)))
        unit = 0 if multiplier % divisor or abs(offset) >= _MAX_OFFSET else multiplier // divisor
        if len(self.faces) < MAX_FACES:
            self.faces += ((linktype, unit, offset if unit else 0),)

    def _options(self, buffer: bytes, pos: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield code, position and length of each option."""
        while end - pos >= 4:
            code, length = self.option(buffer, pos)
            pos += 4
            if code == 0 or length > end - pos:
                return
            yield code, pos, length
            pos += (length + 3) & ~3

    def block(self, buffer: bytes | memoryview, pos: int) -> tuple[int, int]:
        """Return type and length of a block. Raises ValueError."""
        kind, length = self._block(buffer, pos)
        if length % 4 or not 12 + _SMALLEST_BODY.get(kind, 0) <= length <= MAX_BLOCK:
            raise ValueError(f"has a block of invalid length {length}")
        return kind, length

    def take(self, kind: int, length: int, buffer: bytes, start: int, end: int) -> Packet | None:
        """Process a block with its body at buffer[start:end], and return its packet if it has one. Raises
        ValueError with the problem as its text."""
        if self.word(buffer, end)[0] != length:
            raise ValueError("has a block with two different lengths")
        if kind == 1:
            self._describe(buffer, start, end)
        if kind in _PACKET_BLOCKS:
            return self._packet(kind, buffer, start, end)
        return (None, NOT_A_PACKET, b"", 0, 0, 0) if kind in _RECORD_BLOCKS else None

    def _packet(self, kind: int, buffer: bytes, start: int, end: int) -> Packet:
        time: int | None
        if kind == 3:  # Simple Packet Block: no time, interface 0, length from the snapshot length
            number, time, data = 0, None, start + 4
            (original,) = self.word(buffer, start)
            captured = min(original, end - data)
            if self.interfaces and self.interfaces[0].snaplen:
                captured = min(captured, self.interfaces[0].snaplen)
        else:
            unpack = self.enhanced if kind == 6 else self.obsolete
            number, high, low, captured, original = unpack(buffer, start)
            time, data = high << 32 | low, start + 20
        if number >= len(self.interfaces):
            raise ValueError(f"has a packet of undefined interface {number}")
        if captured > end - data:
            raise ValueError(f"has a packet of {captured} bytes in a block with room for {end - data}")
        linktype, _, multiplier, divisor, offset, recorded, side = self.interfaces[number]
        if time is not None:
            time = time * multiplier // divisor + offset
        stop = data + captured
        if recorded and kind == 6:
            for code, pos, size in self._options(buffer, stop + (-captured & 3), end):
                if code == _COMMENT and size <= MAX_COMMENT:
                    self.origin = origin(buffer[pos : pos + size].decode("utf-8", "replace"), side)
                    break
        return time, linktype, buffer, data, stop, original


def _section_at(buffer: bytes | memoryview, pos: int, current: _Section | None) -> _Section:
    """Return the section of the block at a position: a new one if it is a section header."""
    if buffer[pos : pos + 4] == PCAPNG_MAGIC:
        order = _BYTE_ORDER_MAGIC.get(bytes(buffer[pos + 8 : pos + 12]))
        current = None if order is None else _Section(order)
    if current is None:
        raise ValueError("has no section header here, or one of unknown byte order")
    return current


#: Options: a comment; name, time resolution and time offset of an interface.
_COMMENT: Final = 1
_IF_NAME: Final = 2
_IF_TSRESOL: Final = 9
_IF_TSOFFSET: Final = 14
#: Minimum body size of the blocks that are read: interface description, packet (obsolete), simple packet,
#: enhanced packet.
_SMALLEST_BODY: Final = {1: 8, 2: 20, 3: 4, 6: 20}
_PACKET_BLOCKS: Final = frozenset((2, 3, 6))
#: Blocks that Wireshark numbers, too: systemd journal entries, sysdig events, custom blocks.
_RECORD_BLOCKS: Final = frozenset((9, 0x204, 0xBAD, 0x40000BAD))


def read_pcapng(
    read: Read, head: bytes = b"", skim: Skim | None = None, read_into: ReadInto | None = None
) -> Iterator[list[Packet] | Lines | Origin]:
    """Yield the packets of a pcapng file with any number of sections and interfaces, in batches as they were
    read, or a few between those that `skim` reads. An Origin precedes the batch that begins with the packet
    that has it. Other options and blocks are skipped. `head` is the part already read. With `skim`,
    `read_into` reads, too.

    Raises DamagedCaptureError after the last readable packet.
    """
    window = _window(read, head, read_into)
    section: _Section | None = None
    pos, needed, count = 0, 12, 0
    packets: list[Packet] = []
    while True:
        available = len(window.buffer) - pos
        is_next = skim is not None and len(packets) >= count
        if available < needed or (is_next and packets):
            yield packets
            packets = []
        if available < needed:
            available = window.fill(pos, needed)
            pos = 0
            if available < needed:
                if available:
                    raise _truncated(window.base, "a block", needed, available)
                return
        buffer = window.buffer
        if skim is not None and is_next and section is not None:
            ahead = Ahead(buffer, pos, True, section.big, MAX_BLOCK, section.faces)
            after, count = yield from _skimmed(skim, ahead)
            if after != pos:
                pos, needed = after, 12
                continue
        try:
            section = _section_at(buffer, pos, section)
            kind, length = section.block(buffer, pos)
            if length > available:
                needed = length
                continue
            block = buffer if isinstance(buffer, bytes) else bytes(buffer[pos : pos + length])
            start = pos if block is buffer else 0
            packet = section.take(kind, length, block, start + 8, start + length - 4)
        except ValueError as error:
            yield packets
            raise _corrupt(window.base + pos, str(error)) from None
        if packet is not None:
            if section.origin is not None:
                yield packets
                yield section.origin
                packets, section.origin = [], None
            packets.append(packet)
        pos += length
        needed = 12
