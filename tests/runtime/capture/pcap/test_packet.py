"""From packets of every link layer to TCP segments."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from libvirt_proto.capture.pcap.file import NOT_A_PACKET
from libvirt_proto.capture.pcap.packet import SegmentDecoder, endpoints, ports, reverse
from tests.support import packets

DATA = b"some payload"
SEGMENT = packets.tcp(7, DATA, ack=9, flags=packets.ACK | packets.PSH)
V4 = packets.ipv4(SEGMENT)
V6 = packets.ipv6(SEGMENT)


TIME = 1_234


def one(decoder: SegmentDecoder, linktype: int, packet: bytes) -> tuple[Any, ...] | None:
    """The segment of a packet, without its time; None if there is none."""
    return segment(linktype, packet, decoder=decoder, surroundings=((b"", b""),))


def segment(
    linktype: int,
    packet: bytes,
    original: int | None = None,
    decoder: SegmentDecoder | None = None,
    surroundings: tuple[tuple[bytes, bytes], ...] = ((b"", b""), (b"\xff" * 33, b"\xff" * 99)),
) -> Any:
    """As `one`, for a packet in the middle of a buffer, whose other bytes must not matter."""
    decoder = decoder or SegmentDecoder()
    size = len(packet) if original is None else original
    results = [
        [
            each[1:]
            for each in decoder.segments(
                [(TIME, linktype, before + packet + after, len(before), len(before) + len(packet), size)]
            )
        ]
        for before, after in surroundings
    ]
    assert all(result == results[0] for result in results)
    if not results[0]:
        return None
    ((time_ns, *found),) = results[0]
    assert time_ns == TIME
    return tuple(found)


LINKS = {
    "ethernet": (1, packets.ethernet(V4), packets.ethernet(V6, 0x86DD)),
    "vlan": (1, packets.ethernet(V4, tags=((0x8100, 5),)), packets.ethernet(V6, 0x86DD, tags=((0x8100, 5),))),
    "qinq": (
        1,
        packets.ethernet(V4, tags=((0x88A8, 5), (0x8100, 6))),
        packets.ethernet(V6, 0x86DD, tags=((0x9100, 5), (0x8100, 6))),
    ),
    "sll": (113, packets.sll(V4), packets.sll(V6, 0x86DD)),
    "sll2": (276, packets.sll2(V4), packets.sll2(V6, 0x86DD)),
    "raw 101": (101, V4, V6),
    "raw 12": (12, V4, V6),
    "raw 14": (14, V4, V6),
    "ipv4, ipv6": (228, V4, V6),
    "ipv6, ipv4": (229, V4, V6),
    "loopback, little": (0, packets.loopback(V4), packets.loopback(V6, 30)),
    "loopback, big": (0, packets.loopback(V4, order=">"), packets.loopback(V6, 24, order=">")),
    "openbsd loopback": (108, packets.loopback(V4, order=">"), packets.loopback(V6, 24, order=">")),
}


@pytest.mark.parametrize("name", LINKS)
def test_link_layers(name: str) -> None:
    linktype, four, six = LINKS[name]
    for packet, client in ((four, "192.0.2.7:40000"), (six, "[2001:db8::7]:40000")):
        key, seq, ack, flags, data, missing = segment(linktype, packet)
        assert (seq, ack, flags, data, missing) == (7, 9, packets.ACK | packets.PSH, DATA, 0)
        assert endpoints(key)[0] == client
        assert ports(key) == (40000, 16509)
        assert endpoints(reverse(key)) == endpoints(key)[::-1]


@pytest.mark.parametrize("padding", [b"", bytes(1), bytes(46)])
def test_padding_after_ip_is_not_payload(padding: bytes) -> None:
    assert segment(1, packets.ethernet(V4 + padding))[4] == DATA
    assert segment(1, packets.ethernet(V6 + padding, 0x86DD))[4] == DATA
    empty = packets.ethernet(packets.ipv4(packets.tcp(1)) + bytes(6))
    assert segment(1, empty)[4:] == (b"", 0)


def test_options_of_ip_and_tcp() -> None:
    tcp = packets.tcp(7, DATA, options=bytes(12))
    assert segment(1, packets.ethernet(packets.ipv4(tcp, options=bytes(8))))[4] == DATA
    assert segment(1, packets.ethernet(packets.ipv4(tcp)))[4] == DATA


def test_zero_length_extends_to_the_end() -> None:
    """A packet that the network card will segment has no length yet."""
    assert segment(1, packets.ethernet(packets.ipv4(SEGMENT, total=0)))[4] == DATA
    assert segment(1, packets.ethernet(packets.ipv6(SEGMENT, length=0), 0x86DD))[4] == DATA


@pytest.mark.parametrize("kept", range(len(DATA) + 1))
def test_truncated_by_the_capture(kept: int) -> None:
    for kind, packet in ((0x0800, V4), (0x86DD, V6)):
        whole = packets.ethernet(packet, kind)
        cut = whole[: len(whole) - len(DATA) + kept]
        decoder = SegmentDecoder()
        assert segment(1, cut, len(whole), decoder)[4:] == (DATA[:kept], len(DATA) - kept)
        assert decoder.cut == (2 if kept < len(DATA) else 0)


def test_truncated_in_tcp_options() -> None:
    whole = packets.ethernet(packets.ipv4(packets.tcp(7, DATA, options=bytes(12))))
    assert segment(1, whole[: 14 + 20 + 20 + 4], len(whole))[4:] == (b"", len(DATA))


EXTENSIONS = {
    "hop by hop": (0, bytes([6, 0]) + bytes(6)),
    "routing": (43, bytes([6, 1]) + bytes(14)),
    "destination": (60, bytes([6, 0]) + bytes(6)),
    "authentication": (51, bytes([6, 4]) + bytes(22)),
    "atomic fragment": (44, bytes([6, 0, 0, 0]) + bytes(4)),
    "two": (0, bytes([60, 0]) + bytes(6) + bytes([6, 0]) + bytes(6)),
}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_ipv6_extension_headers(name: str) -> None:
    number, header = EXTENSIONS[name]
    packet = packets.ipv6(header + SEGMENT, next_header=number)
    assert segment(101, packet)[4] == DATA


def test_fragments_are_counted() -> None:
    first, later = packets.ipv4(SEGMENT, fragment=0x2000), packets.ipv4(SEGMENT, fragment=0x0010)
    decoder = SegmentDecoder()
    assert one(decoder, 101, first) is not None
    assert one(decoder, 101, later) is None
    assert decoder.fragments == 2
    six = [
        packets.ipv6(struct.pack(">BBHI", 6, 0, bits, 1) + SEGMENT, next_header=44)
        for bits in (0x0001, 0x0101)
    ]
    assert one(decoder, 101, six[0]) is not None
    assert one(decoder, 101, six[1]) is None
    assert decoder.fragments == 4


def test_dont_fragment_is_not_a_fragment() -> None:
    decoder = SegmentDecoder()
    assert segment(1, packets.ethernet(packets.ipv4(SEGMENT, fragment=0x4000)), decoder=decoder)[4] == DATA
    assert decoder.fragments == 0


@pytest.mark.parametrize(
    ("linktype", "packet"),
    [
        (1, packets.ethernet(b"\x00" * 28, 0x0806)),
        (1, packets.ethernet(packets.ipv4(b"\x00" * 20, protocol=17))),
        (1, packets.ethernet(packets.ipv6(b"\x00" * 20, next_header=17), 0x86DD)),
        (0, packets.loopback(b"\x10" * 20)),
    ],
)
def test_other_protocols_are_counted(linktype: int, packet: bytes) -> None:
    decoder = SegmentDecoder()
    assert segment(linktype, packet, decoder=decoder) is None
    assert (decoder.not_tcp, decoder.malformed) == (2, 0)


def test_unknown_link_type() -> None:
    decoder = SegmentDecoder()
    assert segment(147, b"\x45" * 60, decoder=decoder) is None
    assert decoder.unknown_links == {147}


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        packets.ethernet(b""),
        packets.ethernet(V4[:19]),
        packets.ethernet(V4[:39]),
        packets.ethernet(V6[:39], 0x86DD),
        packets.ethernet(b"\x44" + V4[1:]),
        packets.ethernet(packets.ipv4(SEGMENT, total=19)),
        packets.ethernet(packets.ipv4(SEGMENT, total=39)),
        packets.ethernet(packets.ipv4(SEGMENT[:12] + b"\x40" + SEGMENT[13:])),
        packets.ethernet(packets.ipv4(SEGMENT[:12] + b"\xf0" + SEGMENT[13:])),
        bytes(12) + b"\x81\x00\x00\x05" * 9,
        packets.ethernet(V4, tags=((0x8100, 1),) * 9),
    ],
)
def test_malformed_packets_are_counted(packet: bytes) -> None:
    decoder = SegmentDecoder()
    assert segment(1, packet, decoder=decoder) is None
    assert decoder.malformed == 2


def test_every_packet_is_numbered() -> None:
    """Also packets without TCP, and those that only have a number."""
    decoder = SegmentDecoder()
    whole, other = packets.ethernet(V4), packets.ethernet(b"", 0x0806)
    batches = [[(1, whole), (1, other), (1, whole)], [(NOT_A_PACKET, b""), (1, whole)]]
    found = [
        decoder.segments((TIME, link, data, 0, len(data), len(data)) for link, data in batch)
        for batch in batches
    ]
    assert [[each[0] for each in segments] for segments in found] == [[1, 3], [5]]
    assert decoder.packets == 5
    assert not decoder.unknown_links


def test_truncated_extension_header() -> None:
    decoder = SegmentDecoder()
    packet = packets.ethernet(packets.ipv6(bytes(7), next_header=60), 0x86DD)
    assert one(decoder, 1, packet) is None
    assert decoder.malformed == 1


def test_number_of_link_types_is_limited() -> None:
    decoder = SegmentDecoder()
    for linktype in range(1000, 1200):
        assert one(decoder, linktype, bytes(60)) is None
    assert decoder.unknown_links == set(range(1000, 1064))
