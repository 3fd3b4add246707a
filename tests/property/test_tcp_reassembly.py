"""A stream that is cut, shuffled, repeated and overlapped gives the same bytes; missing bytes are counted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.pcap.file import Packet, read_pcap
from libvirt_proto.capture.pcap.packet import SegmentDecoder
from libvirt_proto.capture.pcap.tcp import TcpReassembler
from libvirt_proto.events import Chunk
from tests.support.packets import ACK, FIN, SYN, Talk


def reassemble(packets: list[bytes]) -> list[Chunk]:
    tcp, decoder = TcpReassembler(), SegmentDecoder()
    segments = decoder.segments((n, 1, each, 0, len(each), len(each)) for n, each in enumerate(packets))
    assert len(segments) == len(packets)
    tcp.feed(segments)
    tcp.finish(len(packets))
    return tcp.out


def content(chunks: list[Chunk], direction: str, size: int) -> list[int | None]:
    """The bytes of a direction, None for each lost one."""
    out: list[int | None] = []
    for chunk in chunks:
        if chunk.direction == direction:
            assert chunk.lost >= 0
            out += [None] * chunk.lost
            out += chunk.data
    assert len(out) <= size
    return out


@st.composite
def cuts(draw: st.DrawFn, size: int) -> list[tuple[int, int]]:
    """Ranges that cover 0 … size, some of them twice, in any order."""
    edges = sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=12))})
    ranges = list(pairwise(edges))
    extra = st.tuples(st.integers(0, size), st.integers(0, 40)).map(
        lambda pair: (pair[0], min(size, sum(pair)))
    )
    ranges += draw(st.lists(extra, max_size=6))
    return draw(st.permutations(ranges))


ISN = st.one_of(st.integers(0, 0xFFFFFFFF), st.integers(0xFFFFFF00, 0xFFFFFFFF))
STREAM = st.binary(max_size=200)


@given(st.data(), STREAM, STREAM, ISN, ISN)
def test_any_order_gives_equal_bytes(data: st.DataObject, call: bytes, reply: bytes, a: int, b: int) -> None:
    talk = Talk(seqs={"c2s": a, "s2c": b})
    shake = talk.handshake()
    packets = []
    for direction, other, stream in (("c2s", "s2c", call), ("s2c", "c2s", reply)):
        base, ack = talk.seqs[direction], talk.seqs[other]
        parts = data.draw(cuts(len(stream)))
        # Nothing is acknowledged: data in flight may still arrive.
        packets += [
            talk.packet(direction, stream[start:end], seq=base + start, ack=ack) for start, end in parts
        ]
        packets.append(talk.packet(direction, seq=base + len(stream), flags=FIN | ACK, ack=ack))
    order = data.draw(st.permutations(range(len(packets))))
    chunks = reassemble(shake + [packets[number] for number in order])
    assert content(chunks, "c2s", len(call)) == list(call)
    assert content(chunks, "s2c", len(reply)) == list(reply)
    assert sum(chunk.end for chunk in chunks) == 2
    assert {chunk.connection.id for chunk in chunks} == {1}


@given(st.data(), st.binary(min_size=1, max_size=200), ISN, st.booleans())
def test_holes_are_counted_and_data_is_kept(
    data: st.DataObject, stream: bytes, isn: int, ended: bool
) -> None:
    talk = Talk(seqs={"c2s": isn, "s2c": 1})
    shake = talk.handshake()
    base = talk.seqs["c2s"]
    ranges = data.draw(cuts(len(stream)))
    kept = data.draw(st.lists(st.sampled_from(ranges), unique=True)) if ranges else []
    packets = [talk.packet("c2s", stream[start:end], seq=base + start) for start, end in kept]
    if ended:
        packets.append(talk.packet("c2s", seq=base + len(stream), flags=FIN | ACK))
    expected: list[int | None] = [None] * len(stream)
    for start, end in kept:
        expected[start:end] = stream[start:end]
    if not ended:
        while expected and expected[-1] is None:
            expected.pop()
    assert content(reassemble(shake + packets), "c2s", len(stream)) == expected


@given(st.data(), st.binary(min_size=1, max_size=120))
def test_overlapping_bytes_that_differ_keep_the_first(data: st.DataObject, stream: bytes) -> None:
    """Each position has the value of the first segment that covered it."""
    talk = Talk()
    shake = talk.handshake()
    base = talk.seqs["c2s"]
    ranges = data.draw(cuts(len(stream)))
    expected: list[int | None] = [None] * len(stream)
    packets = []
    for number, (start, end) in enumerate(ranges):
        packets.append(talk.packet("c2s", bytes([number]) * (end - start), seq=base + start))
        for at in range(start, end):
            expected[at] = number if expected[at] is None else expected[at]
    assert content(reassemble(shake + packets), "c2s", len(stream)) == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["c2s", "s2c"]),
            st.integers(0, 0xFFFFFFFF) | st.integers(0, 60),
            st.integers(0, 0xFFFFFFFF) | st.integers(0, 60),
            st.integers(0, 31),
            st.binary(max_size=20),
        ),
        max_size=40,
    )
)
def test_any_segments_give_chunks(segments: list[tuple[str, int, int, int, bytes]]) -> None:
    talk = Talk()
    chunks = reassemble(
        [
            talk.packet(direction, data, seq=seq, ack=ack, flags=flags)
            for direction, seq, ack, flags, data in segments
        ]
    )
    for chunk in chunks:
        assert chunk.lost >= -1
        assert chunk.data or chunk.lost or chunk.end
    ends = [(chunk.connection.id, chunk.direction) for chunk in chunks if chunk.end]
    assert len(ends) == len(set(ends))
    ended: set[tuple[int, str | None]] = set()
    for chunk in chunks:
        assert (chunk.connection.id, chunk.direction) not in ended
        if chunk.end:
            ended.add((chunk.connection.id, chunk.direction))


def test_syn_is_part_of_the_builder() -> None:
    """The builder above sets the SYN's sequence number correctly (RFC 9293 §3.4)."""
    talk = Talk(seqs={"c2s": 5, "s2c": 9})
    assert SYN == 2
    talk.handshake()
    assert talk.seqs == {"c2s": 6, "s2c": 10}


@pytest.mark.parametrize("seed", range(5))
def test_slightly_reordered_packets(captures: Path, seed: int) -> None:
    """In both directions: an acknowledgement may precede its data."""
    with (captures / "tour.pcap").open("rb") as file:
        packets = [packet for batch in read_pcap(file.read) for packet in batch]
    random = Random(seed)
    places = sorted(range(len(packets)), key=lambda place: place + random.uniform(0, 3))
    expected, found = streams(packets), streams([packets[place] for place in places])
    assert found == expected


def streams(packets: list[Packet]) -> dict[tuple[int, str | None], bytes]:
    """The bytes of each direction, none of which may be lost."""
    tcp, decoder = TcpReassembler(), SegmentDecoder()
    segments = decoder.segments(packets)
    assert len(segments) == len(packets)
    tcp.feed(segments)
    tcp.finish(None)
    assert not any(chunk.lost for chunk in tcp.out)
    found: dict[tuple[int, str | None], bytes] = {}
    for chunk in tcp.out:
        key = chunk.connection.id, chunk.direction
        found[key] = found.get(key, b"") + chunk.data
    return found
