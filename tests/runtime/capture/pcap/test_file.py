"""pcap and pcapng: every form gives the same packets; damage gives errors with a message."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import pytest

from libvirt_proto.blocks import BLOCK_SIZE, Read
from libvirt_proto.capture.pcap import file as module
from libvirt_proto.capture.pcap.file import NOT_A_PACKET, Ahead, DamagedCaptureError, Packet
from libvirt_proto.events import Lines
from tests.support import packets

PACKETS = [b"first packet", b"", b"third " * 100]
START = 1_700_000_000 * 10**9


def _each(batches: Iterator[list[Packet] | Lines]) -> Iterator[Packet]:
    return (packet for batch in batches if isinstance(batch, list) for packet in batch)


def read_pcap(read: Read, head: bytes = b"") -> Iterator[Packet]:
    """Read packet by packet."""
    return _each(module.read_pcap(read, head))


def read_pcapng(read: Read, head: bytes = b"") -> Iterator[Packet]:
    return _each(module.read_pcapng(read, head))


def taken(found: list[Packet]) -> list[bytes]:
    return [buffer[start:end] for _, _, buffer, start, end, _ in found]


def trickle(data: bytes, size: int):  # type: ignore[no-untyped-def]
    """A file that returns at most `size` bytes at a time."""
    file = io.BytesIO(data)
    return lambda wanted: file.read(min(wanted, size))


class Nothing:
    """A skim that leaves every packet."""

    def packets(self, ahead: Ahead) -> tuple[int, None, int]:
        return ahead.pos, None, 2


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
@pytest.mark.parametrize("step", [1, 7, 1 << 30])
@pytest.mark.parametrize("head", [0, 30])
def test_packets_stay_when_memory_is_used_again(form: str, step: int, head: int) -> None:
    """Also packets that are larger than a block, and those between them."""
    contents = [*PACKETS, bytes(3 * BLOCK_SIZE), b"small", b"y" * BLOCK_SIZE, b"last"]
    if step < 7:
        contents = contents[:3]
    if form == "pcap":
        data, read = packets.pcap(contents, snaplen=1 << 24), module.read_pcap
    else:
        blocks = (packets.enhanced(each, START // 1000) for each in contents)
        data, read = packets.section() + packets.interface() + b"".join(blocks), module.read_pcapng
    piece = trickle(data[head:], step)

    def read_into(view: memoryview) -> int:
        found = piece(len(view))
        view[: len(found)] = found
        return len(found)

    assert taken(list(_each(read(piece, data[:head], Nothing(), read_into)))) == contents


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_reads_pcap_in_both_byte_orders_and_resolutions(order: str, nanoseconds: bool, step: int) -> None:
    data = packets.pcap(PACKETS, order=order, nanoseconds=nanoseconds, linktype=113)
    found = list(read_pcap(trickle(data, step)))
    assert taken(found) == PACKETS
    extra = 1 if nanoseconds else 0
    assert [packet[0] for packet in found] == [START + number * 1_000_000 + extra for number in range(3)]
    assert {packet[1] for packet in found} == {113}


def test_accepts_header_that_was_already_read() -> None:
    data = packets.pcap(PACKETS)
    assert taken(list(read_pcap(io.BytesIO(data[30:]).read, data[:30]))) == PACKETS


def test_packet_cut_by_the_snapshot_length_keeps_its_original_length() -> None:
    found = list(read_pcap(io.BytesIO(packets.pcap(PACKETS, snaplen=5)).read))
    assert taken(found) == [b"first", b"", b"third"]
    assert [packet[5] for packet in found] == [12, 0, 600]


def test_link_type_excludes_frame_check_sequence_bits() -> None:
    assert next(read_pcap(io.BytesIO(packets.pcap(PACKETS, linktype=0x54000001)).read))[1] == 1


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (10, "is truncated in the file header: needs 24 bytes, 10 available, at byte 0 of the file"),
        (
            24 + 16 + 12 + 5,
            "is truncated in a packet header: needs 16 bytes, 5 available, at byte 52 of the file",
        ),
        (24 + 16 + 3, "is truncated in a packet: needs 28 bytes, 19 available, at byte 24 of the file"),
    ],
)
def test_truncated_pcap(size: int, words: str) -> None:
    found: list[Packet] = []
    with pytest.raises(DamagedCaptureError, match=words) as caught:
        found.extend(read_pcap(io.BytesIO(packets.pcap(PACKETS)[:size]).read))
    assert caught.value.code == "truncated-file"


def test_packets_before_the_damage_are_kept() -> None:
    data = packets.pcap(PACKETS)[:-1]
    reader = read_pcap(io.BytesIO(data).read)
    assert taken([next(reader), next(reader)]) == PACKETS[:2]
    with pytest.raises(DamagedCaptureError):
        next(reader)


def test_rejects_implausible_packet_length() -> None:
    data = packets.pcap([]) + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 0x7FFFFFFF)
    with pytest.raises(DamagedCaptureError, match="a packet of 2147483647 bytes") as caught:
        list(read_pcap(io.BytesIO(data).read))
    assert caught.value.code == "corrupt-file"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("step", [3, 1 << 20])
def test_reads_pcapng_blocks_options_and_sections(order: str, step: int) -> None:
    other = ">" if order == "<" else "<"
    comment = packets.option(1, b"a comment", order)
    nano = packets.option(9, b"\x09", order) + packets.option(0, b"", order)
    data = (
        packets.section(order)
        + packets.interface(order, linktype=1, options=comment)
        + packets.interface(order, linktype=101, options=comment + nano)
        + packets.block(0x77, b"a block that nobody knows", order)
        + packets.enhanced(b"micro", START // 1000 + 1, order)
        + packets.enhanced(b"nano", START + 2, order, number=1)
        + packets.obsolete(b"old", START // 1000 + 3, order)
        + packets.simple(b"simple", order)
        + packets.section(other)
        + packets.interface(other, linktype=276)
        + packets.enhanced(b"other", START // 1000 + 4, other)
    )
    found = list(read_pcapng(trickle(data, step)))
    assert taken(found) == [b"micro", b"nano", b"old", b"simple", b"other"]
    assert [packet[0] for packet in found] == [START + 1000, START + 2, START + 3000, None, START + 4000]
    assert [packet[1] for packet in found] == [1, 101, 1, 1, 276]


@pytest.mark.parametrize("kind", [9, 0x204, 0xBAD, 0x40000BAD])
def test_blocks_that_wireshark_numbers_keep_their_place(kind: int) -> None:
    data = (
        packets.section()
        + packets.interface()
        + packets.block(kind, b"MESSAGE=started\n")
        + packets.enhanced(b"one", START // 1000)
        + packets.block(0x77, b"not numbered")
        + packets.enhanced(b"two", START // 1000)
    )
    found = list(read_pcapng(io.BytesIO(data).read))
    assert [packet[1] for packet in found] == [NOT_A_PACKET, 1, 1]


@pytest.mark.parametrize(
    ("resolution", "ticks", "time_ns"),
    [
        (0, 5, 5_000_000_000),
        (3, 5001, 5_001_000_000),
        (12, 5_000_000_001_999, 5_000_000_001),
        (0x80 | 10, 1024 + 512, 1_500_000_000),
        (0x80, 7, 7_000_000_000),
    ],
)
def test_time_resolution(resolution: int, ticks: int, time_ns: int) -> None:
    options = packets.option(9, bytes([resolution]))
    data = packets.section() + packets.interface(options=options) + packets.enhanced(b"x", ticks)
    assert next(read_pcapng(io.BytesIO(data).read))[0] == time_ns


def test_time_offset_is_in_seconds_and_signed() -> None:
    options = packets.option(14, struct.pack("<q", -3))
    data = packets.section() + packets.interface(options=options) + packets.enhanced(b"x", 10_000_000)
    assert next(read_pcapng(io.BytesIO(data).read))[0] == 7_000_000_000


def test_simple_packet_is_cut_by_its_interface() -> None:
    data = packets.section() + packets.interface(snaplen=4) + packets.simple(b"abcd", original=90)
    *_, buffer, start, end, original = next(read_pcapng(io.BytesIO(data).read))
    assert (buffer[start:end], original) == (b"abcd", 90)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packets.block(6, bytes(20)), "no section header here"),
        (packets.section()[:8] + b"\x00" * 20, "unknown byte order"),
        (packets.section() + packets.enhanced(b"x", 1), "undefined interface 0"),
        (packets.section() + struct.pack("<III", 6, 13, 0), "invalid length 13"),
        (packets.section() + struct.pack("<III", 6, 12, 12), "invalid length 12"),
        (packets.section() + struct.pack("<III", 6, 0xFFFFFFFC, 0), "invalid length 4294967292"),
        (packets.section() + struct.pack("<IIII", 5, 16, 0, 20), "two different lengths"),
        (
            packets.section()
            + packets.interface()
            + packets.block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99)),
            "99 bytes in a block with room for 0",
        ),
    ],
)
def test_corrupt_pcapng(data: bytes, words: str) -> None:
    with pytest.raises(DamagedCaptureError, match=words) as caught:
        list(read_pcapng(io.BytesIO(data).read))
    assert caught.value.code == "corrupt-file"


def test_truncated_pcapng() -> None:
    data = packets.section() + packets.interface() + packets.enhanced(b"abcd", 1) * 2
    reader = read_pcapng(io.BytesIO(data[:-3]).read)
    assert taken([next(reader)]) == [b"abcd"]
    with pytest.raises(DamagedCaptureError, match="in a block: needs 36 bytes, 33 available") as caught:
        next(reader)
    assert caught.value.code == "truncated-file"


def test_what_is_called_pcap_and_is_not() -> None:
    with pytest.raises(DamagedCaptureError, match="is not pcap: it begins with 01ffffff") as caught:
        list(read_pcap(io.BytesIO(b"\x01\xff\xff\xff" + bytes(40)).read))
    assert caught.value.code == "corrupt-file"
