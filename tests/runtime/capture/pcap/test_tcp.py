"""TCP reassembly, case by case."""

from __future__ import annotations

import pytest

from libvirt_proto.capture.pcap import tcp as module
from libvirt_proto.capture.pcap.packet import SegmentDecoder
from libvirt_proto.capture.pcap.tcp import TcpReassembler
from libvirt_proto.events import Chunk
from tests.support.packets import ACK, FIN, RST, SYN, Talk, message


class Network:
    """Feeds packets to a reassembler; the time is the packet's number."""

    def __init__(self, **options: object) -> None:
        self.tcp = TcpReassembler(**options)  # type: ignore[arg-type]
        self.decoder = SegmentDecoder()
        self.time = 0

    def feed(self, *packets: bytes, original: int = 0) -> list[Chunk]:
        before = len(self.tcp.out)
        for packet in packets:
            self.time += 1
            size = max(original, len(packet))
            segments = self.decoder.segments([(self.time, 1, packet, 0, len(packet), size)])
            assert segments
            self.tcp.feed(segments)
        return self.tcp.out[before:]

    def finish(self) -> list[Chunk]:
        before = len(self.tcp.out)
        self.tcp.finish(self.time)
        return self.tcp.out[before:]


def seen(chunks: list[Chunk]) -> list[tuple[str | None, bytes, int, bool]]:
    return [(chunk.direction, chunk.data, chunk.lost, chunk.end) for chunk in chunks]


@pytest.fixture
def network() -> Network:
    return Network()


def test_from_handshake_to_close(network: Network) -> None:
    talk = Talk()
    assert network.feed(*talk.handshake()) == []
    (call,) = network.feed(talk.packet("c2s", b"call"))
    assert (call.data, call.direction, call.time_ns, call.lost, call.end) == (b"call", "c2s", 4, 0, False)
    assert (call.connection.id, call.connection.client) == (1, "192.0.2.7:40000")
    assert call.connection.server == "192.0.2.1:16509"
    assert seen(network.feed(talk.packet("s2c", b"reply"))) == [("s2c", b"reply", 0, False)]
    assert seen(network.feed(*talk.close())) == [("c2s", b"", 0, True), ("s2c", b"", 0, True)]
    assert network.finish() == []


def test_reordered_segments_have_the_time_of_the_last(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    first, second, third = (talk.packet("c2s", data) for data in (b"one", b"two", b"three"))
    assert network.feed(third, second) == []
    chunks = network.feed(first)
    assert b"".join(chunk.data for chunk in chunks) == b"onetwothree"
    assert {chunk.time_ns for chunk in chunks} == {6}


def test_retransmissions_and_overlap_keep_the_first_bytes(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    at = talk.seqs["c2s"]
    assert seen(network.feed(talk.packet("c2s", b"abcd"))) == [("c2s", b"abcd", 0, False)]
    assert network.feed(talk.packet("c2s", b"ABCD", seq=at)) == []
    assert network.feed(talk.packet("c2s", b"BC", seq=at + 1)) == []
    assert seen(network.feed(talk.packet("c2s", b"CDef", seq=at + 2))) == [("c2s", b"ef", 0, False)]
    # Held bytes were the first, too.
    assert network.feed(talk.packet("c2s", b"ij", seq=at + 8)) == []
    assert seen(network.feed(talk.packet("c2s", b"ghIJkl", seq=at + 6))) == [("c2s", b"ghijkl", 0, False)]


def test_hole_is_lost_when_the_peer_keeps_acknowledging_it(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    network.feed(talk.packet("c2s", b"before"))
    talk.seqs["c2s"] += 1448
    assert network.feed(talk.packet("c2s", b"beyond")) == []
    below = talk.packet("s2c", ack=talk.seqs["c2s"] - 6 - 1448)
    assert network.feed(*[below] * 2 * module.MAX_EARLY_ACKS) == []
    assert network.feed(*[talk.packet("s2c")] * module.MAX_EARLY_ACKS) == []
    assert seen(network.feed(talk.packet("s2c"))) == [("c2s", b"beyond", 1448, False)]


def test_acknowledgement_before_the_data_is_not_a_loss(network: Network) -> None:
    """Packets of two directions may be swapped in a capture."""
    talk = Talk()
    network.feed(*talk.handshake())
    one, two = talk.packet("c2s", b"one"), talk.packet("c2s", b"two")
    assert network.feed(talk.packet("s2c")) == []
    assert seen(network.feed(one, two)) == [("c2s", b"one", 0, False), ("c2s", b"two", 0, False)]
    three, four = talk.packet("c2s", b"three"), talk.packet("c2s", b"four")
    assert network.feed(four, talk.packet("s2c")) == []
    assert seen(network.feed(three)) == [("c2s", b"threefour", 0, False)]


def test_hole_is_lost_at_the_end_of_the_input(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    talk.seqs["c2s"] += 10
    network.feed(talk.packet("c2s", b"one"))
    talk.seqs["c2s"] += 20
    network.feed(talk.packet("c2s", b"two"))
    assert seen(network.finish()) == [("c2s", b"one", 10, False), ("c2s", b"two", 20, False)]


@pytest.mark.parametrize(
    ("size", "count"), [(1, module.MAX_HELD_SEGMENTS), (65000, module.MAX_HELD_BYTES // 65000)]
)
def test_out_of_order_data_is_bounded(network: Network, size: int, count: int) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    talk.seqs["c2s"] += 5
    data = b"x" * size
    for _ in range(count):
        assert network.feed(talk.packet("c2s", data)) == []
        talk.seqs["c2s"] += 1
    chunks = network.feed(talk.packet("c2s", data))
    assert seen(chunks) == [("c2s", data, 5, False)]
    assert {chunk.lost for chunk in network.finish()} == {1}


def test_missing_end_before_a_fin_is_lost(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    talk.seqs["c2s"] += 7
    assert network.feed(talk.packet("c2s", flags=FIN | ACK)) == []
    assert seen(network.feed(talk.packet("s2c"))) == [("c2s", b"", 7, True)]


@pytest.mark.parametrize("start", [0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFF0, 0x7FFFFFFC])
def test_sequence_numbers_wrap_around(network: Network, start: int) -> None:
    talk = Talk(seqs={"c2s": start, "s2c": 0xFFFFFFFF})
    network.feed(*talk.handshake())
    pieces = [talk.packet("c2s", bytes([number]) * 5) for number in range(6)]
    chunks = network.feed(pieces[0], pieces[2], pieces[1], pieces[5], pieces[4], pieces[3])
    assert b"".join(chunk.data for chunk in chunks) == b"".join(bytes([number]) * 5 for number in range(6))
    assert all(chunk.lost == 0 for chunk in chunks)


def test_capture_starts_in_mid_connection(network: Network) -> None:
    talk = Talk()
    assert network.feed(talk.packet("s2c"), talk.packet("c2s")) == []
    chunks = network.feed(
        talk.packet("s2c", b"reply"), talk.packet("c2s", b"call"), talk.packet("s2c", b"more")
    )
    assert seen(chunks) == [
        ("s2c", b"reply", -1, False),
        ("c2s", b"call", -1, False),
        ("s2c", b"more", 0, False),
    ]
    assert chunks[0].connection.server == "192.0.2.1:16509"


@pytest.mark.parametrize(
    ("first", "second", "server"),
    [(50000, 16514, 16514), (1234, 16509, 16509), (16509, 1234, 16509), (7777, 50000, 7777), (900, 800, 900)],
)
def test_server_is_detected_without_syn(first: int, second: int, server: int) -> None:
    """Known ports first (900 was given by the user), then the lower one."""
    for ports in ((first, second), (second, first)):
        network = Network(server_ports=frozenset((16509, 16514, 900)))
        talk = Talk(("192.0.2.1", ports[0]), ("192.0.2.1", ports[1]))
        (chunk,) = network.feed(talk.packet("c2s", b"x"))
        assert chunk.connection.server == f"192.0.2.1:{server}"
        assert chunk.direction == ("s2c" if ports[0] == server else "c2s")


@pytest.mark.parametrize("flags", [SYN, SYN | ACK])
def test_syn_identifies_the_client(network: Network, flags: int) -> None:
    """Even against the ports."""
    talk = Talk(("192.0.2.1", 16509), ("192.0.2.7", 40000))
    network.feed(talk.packet("c2s" if flags == SYN else "s2c", flags=flags))
    (chunk,) = network.feed(talk.packet("c2s", b"x"))
    assert (chunk.connection.client, chunk.direction) == ("192.0.2.1:16509", "c2s")


def test_syn_with_data(network: Network) -> None:
    talk = Talk()
    (chunk,) = network.feed(talk.packet("c2s", b"early", flags=SYN))
    assert (chunk.data, chunk.lost) == (b"early", 0)
    network.feed(talk.packet("s2c", flags=SYN | ACK))
    assert seen(network.feed(talk.packet("c2s", b"later"))) == [("c2s", b"later", 0, False)]


def test_repeated_syn_continues_the_connection(network: Network) -> None:
    talk = Talk()
    shake = talk.handshake()
    network.feed(shake[0], *shake, shake[1])
    chunks = network.feed(talk.packet("c2s", b"x"), shake[0], talk.packet("c2s", b"y"))
    assert [(chunk.connection.id, chunk.lost) for chunk in chunks] == [(1, 0), (1, 0)]


def test_late_syn(network: Network) -> None:
    talk = Talk()
    syn, data = talk.packet("c2s", flags=SYN), talk.packet("c2s", b"x")
    chunks = network.feed(data, syn, talk.packet("c2s", b"y"))
    assert [(chunk.connection.id, chunk.data) for chunk in chunks] == [(1, b"x"), (1, b"y")]


@pytest.mark.parametrize("closed", [False, True])
def test_port_reuse_is_a_new_connection(network: Network, closed: bool) -> None:
    old = Talk()
    network.feed(*old.handshake(), old.packet("c2s", b"old"), *(old.close() if closed else []))
    new = Talk(seqs={"c2s": 500_000_000, "s2c": 600_000_000})
    chunks = network.feed(*new.handshake(), new.packet("c2s", b"new"), new.packet("s2c", b"answer"))
    ends = [] if closed else [("c2s", b"", 0, True), ("s2c", b"", 0, True)]
    assert seen(chunks) == [*ends, ("c2s", b"new", 0, False), ("s2c", b"answer", 0, False)]
    assert [chunk.connection.id for chunk in chunks[len(ends) :]] == [2, 2]


def test_repeated_packets_are_a_new_connection(network: Network) -> None:
    """As in a capture assembled from copies."""
    for number in (1, 2):
        talk = Talk()
        packets = [*talk.handshake(), talk.packet("c2s", b"call"), *talk.close()]
        assert {chunk.connection.id for chunk in network.feed(*packets)} == {number}


def test_late_retransmissions_are_ignored(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    at = talk.seqs["c2s"]
    network.feed(talk.packet("c2s", b"call"), *talk.close())
    assert network.feed(talk.packet("c2s", b"call", seq=at)) == []


@pytest.mark.parametrize("direction", ["c2s", "s2c"])
def test_reset_ends_both_directions(network: Network, direction: str) -> None:
    talk = Talk()
    network.feed(*talk.handshake(), talk.packet("c2s", b"call"))
    talk.seqs["s2c"] += 3
    network.feed(talk.packet("s2c", b"beyond a hole"))
    chunks = network.feed(talk.packet(direction, flags=RST | ACK, ack=0))
    assert sorted(seen(chunks)) == [
        ("c2s", b"", 0, True),
        ("s2c", b"", 0, True),
        ("s2c", b"beyond a hole", 3, False),
    ]
    ends = [chunk.direction for chunk in chunks if chunk.end]
    assert ends[0] == direction  # the side that reset it closed it


def test_reset_outside_the_window_is_ignored(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    assert network.feed(talk.packet("c2s", flags=RST, seq=talk.seqs["c2s"] - 5)) == []
    assert seen(network.feed(talk.packet("c2s", b"still here"))) == [("c2s", b"still here", 0, False)]


def test_refused_connection_ends_without_data(network: Network) -> None:
    talk = Talk()
    chunks = network.feed(talk.packet("c2s", flags=SYN), talk.packet("s2c", flags=RST | ACK, seq=0))
    assert seen(chunks) == [("s2c", b"", 0, True), ("c2s", b"", 0, True)]
    assert [chunk.reset for chunk in chunks] == [True, False]


def test_keepalive_probes_and_window_probes(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake(), talk.packet("c2s", b"call"))
    before = talk.seqs["c2s"] - 1
    assert network.feed(talk.packet("c2s", b"", seq=before), talk.packet("c2s", b"\0", seq=before)) == []
    probe = talk.packet("c2s", b"n", seq=before + 1)
    assert seen(network.feed(probe, probe, talk.packet("c2s", b"next"))) == [
        ("c2s", b"n", 0, False),
        ("c2s", b"ext", 0, False),
    ]


def test_data_with_fin(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    last = talk.packet("c2s", b"last words", flags=FIN | ACK)
    assert seen(network.feed(last)) == [("c2s", b"last words", 0, False), ("c2s", b"", 0, True)]
    assert network.feed(last) == []
    # The other direction continues.
    assert seen(network.feed(talk.packet("s2c", b"answer"))) == [("s2c", b"answer", 0, False)]


def test_fin_before_its_data(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    data, fin = talk.packet("c2s", b"data"), talk.packet("c2s", flags=FIN | ACK)
    assert network.feed(fin) == []
    assert seen(network.feed(data)) == [("c2s", b"data", 0, False), ("c2s", b"", 0, True)]


def test_segments_truncated_by_the_capture(network: Network) -> None:
    talk = Talk()
    network.feed(*talk.handshake())
    whole = talk.packet("c2s", b"0123456789")
    (chunk,) = network.feed(whole[:-4], original=len(whole))
    assert (chunk.data, chunk.lost, chunk.cut) == (b"012345", 0, 4)
    assert seen(network.feed(talk.packet("c2s", b"next"))) == [("c2s", b"next", 0, False)]
    again = talk.packet("c2s", b"89next", seq=talk.seqs["c2s"] - 6)
    assert network.feed(again[:-4], original=len(again)) == []
    assert network.finish() == []


def test_capture_of_headers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only lost bytes, also for a connection that is evicted."""
    monkeypatch.setattr(module, "MAX_SILENT", 1)
    network = Network()
    for port in (1001, 1002):
        talk = Talk(("192.0.2.7", port))
        network.feed(*talk.handshake())
        whole = talk.packet("c2s", b"0123456789")
        network.feed(whole[:-10], original=len(whole))
    assert sum(chunk.lost for chunk in network.tcp.out) == 10
    assert seen(network.finish()) == [("c2s", b"", 10, False)]


@pytest.mark.parametrize("jump", [1 << 30, 1 << 31, -(1 << 30)])
def test_interrupted_capture(network: Network, jump: int) -> None:
    talk = Talk()
    network.feed(*talk.handshake(), talk.packet("c2s", b"before"))
    talk.seqs["c2s"] += jump
    chunks = network.feed(talk.packet("c2s", b"beyond"), talk.packet("c2s", b"next"))
    assert seen(chunks) == [("c2s", b"beyond", -1, False), ("c2s", b"next", 0, False)]


def on_other_port(network: Network, *data: tuple[str, bytes]) -> list[Chunk]:
    talk = Talk(server=("192.0.2.1", 8080))
    return network.feed(
        *talk.handshake(), *(talk.packet(direction, part) for direction, part in data), *talk.close()
    )


def starts_with_zero(data: bytes) -> bool:
    return len(data) == 28 and data[0] == 0


@pytest.mark.parametrize("step", [1, 10, 28, 100])
@pytest.mark.parametrize("direction", ["c2s", "s2c"])
def test_other_ports_are_accepted_by_content(step: int, direction: str) -> None:
    call = message(b"payload")
    other = "s2c" if direction == "c2s" else "c2s"
    pieces = [(direction, call[at : at + step]) for at in range(0, len(call), step)]
    chunks = on_other_port(Network(admit=starts_with_zero), (other, b"not of this kind"), *pieces)
    assert b"".join(chunk.data for chunk in chunks if chunk.direction == direction) == call
    assert b"".join(chunk.data for chunk in chunks if chunk.direction == other) == b"not of this kind"
    assert {chunk.connection.id for chunk in chunks} == {1}


def test_other_content_on_other_ports_is_ignored() -> None:
    network = Network(admit=starts_with_zero)
    assert (
        on_other_port(network, ("c2s", b"GET / HTTP/1.0\r\n\r\n" * 9), ("s2c", b"HTTP/1.0 200 OK" * 9)) == []
    )
    assert on_other_port(network, ("c2s", b"short")) == []
    talk = Talk()
    (chunk,) = network.feed(*talk.handshake(), talk.packet("c2s", b"x"))
    assert chunk.connection.id == 1


def test_undecided_connections_use_bounded_memory() -> None:
    network = Network(admit=starts_with_zero)
    talk = Talk(server=("192.0.2.1", 8080))
    assert network.feed(*talk.handshake(), *(talk.packet("c2s", b"A" * 1400) for _ in range(100))) == []
    assert network.feed(talk.packet("s2c", message())) == []


def test_connections_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_SILENT", "MAX_OPEN", "MAX_DONE"):
        monkeypatch.setattr(module, name, 3)
    network = Network()
    ends = 0
    for number in range(20):
        scan = Talk(("192.0.2.8", 1000 + number))
        network.feed(scan.packet("c2s", flags=SYN))
        talk = Talk(("192.0.2.7", 1000 + number))
        chunks = network.feed(*talk.handshake(), talk.packet("c2s", b"x"))
        ends += sum(chunk.end for chunk in chunks)
        assert sum(len(chunk.data) for chunk in chunks) == 1
    assert ends == 2 * 17
    assert len(network.tcp._halves) <= 2 * 9
