"""The native core and Python give the same of any capture: lines, messages, notices and exit status."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import libvirt_proto
from libvirt_proto import native, native_kinds, session
from libvirt_proto.capture import lanes
from libvirt_proto.capture.pcap import tcp
from libvirt_proto.capture.pcap.recorder import Recorder
from libvirt_proto.cli import main as cli
from libvirt_proto.diagnose import both_ends, disconnects
from libvirt_proto.events import Chunk, Connection, Side
from libvirt_proto.figures import limit_usage
from libvirt_proto.figures.collector import Measure
from libvirt_proto.presenters import native_lines
from tests.support import packets
from tests.support.examples import examples

pytestmark = pytest.mark.native

CAPTURES = Path(__file__).resolve().parent.parent / "captures"


@pytest.fixture(autouse=True, scope="module")
def _at_once() -> Iterator[None]:
    """Use the native core from the first message on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_kinds, "WORTH", (0, 0))
        yield


def records(name: str) -> list[bytes]:
    """The packets of a capture."""
    data = (CAPTURES / name).read_bytes()
    found, at = [], 24
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        found.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return found


TOUR = records("tour.pcap")[:600]
OTHERS = records("virsh-domname.pcap") + records("stream-events-keepalive.pcap")[:120]


def segments(packet: bytes, rng: Random) -> list[bytes]:
    """A packet's TCP payload in pieces of any size, each in its own packet."""
    ip = 14
    head = ip + (packet[ip] & 15) * 4
    first = head + (packet[head + 12] >> 4) * 4
    total = struct.unpack_from(">H", packet, ip + 2)[0]
    data = packet[first : ip + total]
    (seq,) = struct.unpack_from(">I", packet, head + 4)
    found, at = [], 0
    while at < len(data):
        size = rng.choice((1, 3, 28, 200, 1448))
        piece = data[at : at + size]
        new = bytearray(packet[:first] + piece)
        struct.pack_into(">H", new, ip + 2, first - ip + len(piece))
        struct.pack_into(">I", new, head + 4, (seq + at) & 0xFFFFFFFF)
        found.append(bytes(new))
        at += size
    return found or [packet]


def damaged(source: list[bytes], rng: Random, kinds: frozenset[str]) -> list[bytes]:
    """Packets with some changes of these kinds."""
    found: list[bytes] = []
    for packet in source:
        pieces = segments(packet, rng) if "cut up" in kinds and rng.random() < 0.3 else [packet]
        for piece in pieces:
            if "lost" in kinds and rng.random() < 0.02:
                continue
            if "flipped" in kinds and rng.random() < 0.03:
                changed = bytearray(piece)
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
                piece = bytes(changed)
            if "shortened" in kinds and rng.random() < 0.02:
                piece = piece[: rng.randrange(14, len(piece) + 1)]
            found.append(piece)
            if "repeated" in kinds and rng.random() < 0.03:
                found.append(piece)
            if "late" in kinds and len(found) > 2 and rng.random() < 0.05:
                found[-1], found[-2] = found[-2], found[-1]
    return found


def pcap(source: list[bytes], rng: Random, pauses: float = 0) -> bytes:
    """A capture in one of the formats, with times that are not always in order, or far apart."""
    times = [(1_700_000_000_000 + at * 7) * 1_000_000 for at in range(len(source))]
    if rng.random() < 0.2:
        rng.shuffle(times)
    if rng.random() < pauses:
        at = 0
        for place in range(len(times)):
            at += rng.choice((1, 1, 1, 1, 1, 40, 150, 1200, 6000)) if rng.random() < 0.2 else 1
            times[place] += at * 1_000_000
    order, nano = rng.choice("<>"), rng.random() < 0.5
    if rng.random() < 0.5:
        magic = 0xA1B23C4D if nano else 0xA1B2C3D4
        head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
        unit = 1 if nano else 1000
        return head + b"".join(
            struct.pack(order + "IIII", ns // 10**9, ns % 10**9 // unit, len(each), len(each)) + each
            for ns, each in zip(times, source, strict=True)
        )
    options = packets.option(9, b"\x09", order) if nano else b""
    blocks = [packets.section(order), packets.interface(order, options=options)]
    for ns, each in zip(times, source, strict=True):
        blocks.append(packets.enhanced(each, ns if nano else ns // 1000, order))
        if rng.random() < 0.02:
            blocks.append(packets.block(0x0BAD, bytes(8), order))
    return b"".join(blocks)


def both(patch: pytest.MonkeyPatch, file: Path, command: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """Standard output, standard error and status of a command, by Python and by the native core."""
    found = []
    for pure in ("1", "0"):
        patch.setenv(native.PURE, pure)
        result = CliRunner().invoke(cli.main, [*command, str(file)])
        found.append((result.stdout, result.stderr, result.exit_code))
    return found


KINDS = st.frozensets(st.sampled_from(["cut up", "lost", "flipped", "shortened", "repeated", "late"]))
COMMANDS = [
    ("decode", "--format", "jsonl"),
    ("decode", "--format", "monitor"),
    ("decode", "--format", "monitor", "--procedure", "domain_*"),
    ("decode", "--format", "jsonl", "--errors-only"),
    ("decode", "--exchanges", "--format", "jsonl"),
    ("decode", "--exchanges", "--format", "monitor"),
    ("decode", "--format", "monitor", "--object", "test"),
    ("stats", "--format", "json"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_same_output(command: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "capture"
    with pytest.MonkeyPatch.context() as patch:

        @settings(max_examples=examples(40), deadline=None)
        @given(KINDS, st.integers(0, 2**32))
        def holds(kinds: frozenset[str], seed: int) -> None:
            rng = Random(seed)
            file.write_bytes(pcap(damaged(rng.choice((TOUR, OTHERS)), rng, kinds), rng))
            python, core = both(patch, file, command)
            assert core == python

        holds()


def test_same_output_of_many_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the reassembler remembers, and than there are lanes; some are closed, some are forgotten."""
    monkeypatch.setattr(tcp, "MAX_OPEN", 40)
    monkeypatch.setattr(tcp, "MAX_SILENT", 20)
    monkeypatch.setattr(lanes, "MAX_LANES", 64)
    rng, file = Random(5), tmp_path / "capture"
    call = struct.pack(">IIIiiIi", 28, 0x20008086, 1, 66, 0, 0, 0)
    reply = struct.pack(">IIIiiIiI", 32, 0x20008086, 1, 66, 1, 0, 0, 0)
    for _ in range(examples(20)):
        source: list[bytes] = []
        talks: list[packets.Talk] = []
        for number in range(200):
            talk = packets.Talk(client=("10.0.0.1", 1024 + number))
            source += talk.handshake()
            if rng.random() < 0.1:  # half-closed before any data
                source += list(talk.close())[:1]
            talks = [*talks[-60:], talk]
            for _ in range(rng.randrange(12)):
                talk = rng.choice(talks)
                direction, frame = rng.choice((("c2s", call), ("s2c", reply)))
                cut = rng.randrange(len(frame) + 1)
                source += [talk.packet(direction, frame[:cut]), talk.packet(direction, frame[cut:])]
            if rng.random() < 0.3:
                source += talks.pop(rng.randrange(len(talks))).close()
        file.write_bytes(pcap(source, rng))
        for command in (("decode", "--format", "monitor"), ("decode", "--format", "jsonl")):
            python, core = both(monkeypatch, file, command)
            assert core == python


#: Procedures: domain_get_info, domain_lookup_by_uuid, connect_get_hostname, domain_screenshot (a stream),
#: domain_define_xml, domain_lookup_by_id, and one without a definition.
PROCEDURES = (16, 24, 59, 211, 11, 22, 9999)
EXCHANGES = [
    ("decode", "--exchanges", "--format", "jsonl"),
    ("decode", "--exchanges", "--format", "monitor"),
    ("decode", "--exchanges", "--format", "monitor", "--color", "always"),
    ("decode", "--exchanges", "--format", "monitor", "--time", "delta"),
    ("decode", "--exchanges", "--format", "jsonl", "--errors-only"),
    ("decode", "--exchanges", "--format", "monitor", "--procedure", "domain_*"),
    ("decode", "--exchanges", "--format", "monitor", "--slower-than", "20ms"),
    ("decode", "--exchanges", "--format", "jsonl", "--errors-only", "--context", "2"),
    ("decode", "--exchanges", "--format", "monitor", "--acl"),
]


def domain(rng: Random) -> bytes:
    """A remote_nonnull_domain, sometimes with an unusual name."""
    names = (b"vm1", b"vm1", b"vm1", b"", b'a"b', b"\xc3\xa9", b"\xff", b"x" * 81, b"tab\t")
    name = rng.choice(names)
    padded = struct.pack(">I", len(name)) + name + bytes(-len(name) % 4)
    return padded + bytes(range(16)) + struct.pack(">i", -1)


def payload(proc: int, type_: int, status: int, rng: Random) -> bytes:
    """A payload of one of PROCEDURES, which is sometimes malformed."""
    if rng.random() < 0.005:
        return rng.randbytes(4 * rng.randrange(4))
    if type_ == 1 and status == 1:
        text = rng.choice((b"no domain", b'a"b', b"\xff"))
        error = (
            struct.pack(">iiiI", rng.choice((42, 1, 9999)), 10, 1, len(text)) + text + bytes(-len(text) % 4)
        )
        return error + bytes(4 * 8)
    if type_ == 0:
        xml = b"<domain><name>vm</name></domain>"
        texts = {16: domain(rng), 24: bytes(range(16)), 11: struct.pack(">I", len(xml)) + xml, 22: bytes(4)}
        return domain(rng) + bytes(8) if proc == 211 else texts.get(proc, b"")
    texts = {
        16: bytes(32),
        25: domain(rng),
        59: b"\0\0\0\4host",
        211: b"\0\0\0\0",
        11: domain(rng),
        22: domain(rng),
    }
    return texts.get(proc, b"")


def conversations(rng: Random) -> list[bytes]:
    """Packets of connections with calls of any serial, pipelined or not, streams, and late or missing
    replies."""
    talks = [packets.Talk(client=("192.0.2.7", 40000 + at)) for at in range(rng.randrange(1, 5))]
    found = [packet for talk in talks for packet in talk.handshake()]
    serials = dict.fromkeys(range(len(talks)), 0)
    waiting: list[tuple[int, int, int]] = []
    usual, odd = rng.random() < 0.7, rng.choice((0.1, 1, 1))
    for _ in range(rng.randrange(20, 400)):
        at = rng.randrange(len(talks))
        of_talk = [each for each in waiting if each[0] == at]
        proc, serial, rare = rng.choice(PROCEDURES[: rng.randrange(1, 8)]), serials[at], rng.random() / odd
        if of_talk and (usual or rng.random() < 0.6) and rng.random() < 0.7:
            each = rng.choice(of_talk[: rng.randrange(1, 4)])
            if rare > 0.03:
                waiting.remove(each)
            direction, type_, status, (_, proc, serial) = "s2c", 1, int(rng.random() < 0.1), each
        elif rare < 0.04:
            direction, type_, status = rng.choice(("s2c", "c2s")), 3, rng.choice((0, 1, 2, 2, 2))
            serial = rng.randrange(serial + 2)
        elif rare < 0.06:
            direction, type_, status, serial = "s2c", 1, 0, rng.randrange(serial + 3)
        elif rare < 0.08:
            direction, type_, status, serial = rng.choice(("s2c", "c2s")), 0, 0, rng.randrange(serial + 1)
        else:
            direction, type_, status = "c2s", 0, 0
            serials[at] += 1
            waiting.append((at, proc, serial))
        body = rng.randbytes(40) if type_ == 3 and status == 2 else payload(proc, type_, status, rng)
        if type_ == 3 and status == 1:
            body = b"" if direction == "c2s" else payload(proc, 1, 1, rng)
        frame = packets.message(body, proc=proc, type=type_, status=status, serial=serial)
        if rng.random() < 0.05 * odd:  # two messages in a packet
            frame += packets.message(b"", proc=59, serial=serials[at])
            frame = frame if direction == "c2s" else frame + frame
        if rng.random() < 0.01 * odd:
            found += talks[at].close()
            talks[at] = packets.Talk(client=("192.0.2.7", 41000 + len(found)))
            found += talks[at].handshake()
        found.append(talks[at].packet(direction, frame))
    return found


@pytest.mark.parametrize("command", EXCHANGES, ids=" ".join)
def test_same_exchanges(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls and replies in any order are paired alike. (Simple examples have few exchanges.)"""
    file = tmp_path / "capture"
    damages = ("cut up", "lost", "flipped", "shortened", "repeated", "late")
    for seed in range(examples(120)):
        rng = Random(f"{seed}/{command}")
        kinds = frozenset(rng.sample(damages, rng.choice((0, 0, 1, 2))))
        file.write_bytes(pcap(damaged(conversations(rng), rng, kinds), rng))
        with pytest.MonkeyPatch.context() as bounds:
            for name, value in (("MAX_CONNECTIONS", 2), ("MAX_CLOSED", 4)) if seed % 4 == 3 else ():
                bounds.setattr(session, name, value)
            python, core = both(monkeypatch, file, command)
        assert core == python, seed


FIGURES = [
    ("stats", "--format", "json", "--top", "3"),
    ("stats", "--format", "json", "--top", "0"),
    ("diagnose", "--format", "json"),
]


def short_conversations(rng: Random) -> list[bytes]:
    """Packets of connections whose calls are mostly answered at once, among pipelined calls, streams and
    errors."""
    talks = [packets.Talk(client=("192.0.2.7", 40000 + at)) for at in range(rng.choice((1, 1, 2, 4)))]
    found = [packet for talk in talks for packet in talk.handshake()]
    serial = 0
    odd = rng.choice((0.05, 0.2, 1))
    for _ in range(rng.randrange(20, 200)):
        talk = rng.choice(talks)
        proc = rng.choice(PROCEDURES if rng.random() < odd else (16, 59, 22))
        serial = serial + 1 if rng.random() < 1 - 0.05 * odd else rng.randrange(serial + 2)
        status = int(rng.random() < 0.1 * odd)
        call = packets.message(payload(proc, 0, 0, rng), proc=proc, serial=serial)
        reply = packets.message(
            payload(proc, 1, status, rng), proc=proc, type=1, status=status, serial=serial
        )
        found.append(talk.packet("c2s", call))
        if rng.random() < 0.05 * odd:
            later = rng.choice(talks)
            found.append(later.packet("c2s", packets.message(b"", proc=59, serial=serial + 1)))
        if rng.random() < 1 - 0.03 * odd:
            found.append(talk.packet("s2c", reply + reply * (rng.random() < 0.03 * odd)))
        if rng.random() < 0.02 * odd:
            data = packets.message(rng.randbytes(40), proc=211, type=3, status=2, serial=serial)
            found.append(talk.packet(rng.choice(("s2c", "c2s")), data))
        if rng.random() < 0.02 * odd:
            event = packets.message(b"", prog=0x6B656570, proc=rng.choice((1, 2)), type=2, serial=0)
            found.append(talk.packet(rng.choice(("s2c", "c2s")), event))
    return found


@pytest.mark.parametrize("command", FIGURES, ids=" ".join)
def test_same_figures(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and findings are the same, whoever counts routine exchanges."""
    file = tmp_path / "capture"
    damages = ("cut up", "lost", "flipped", "shortened", "repeated", "late")
    for seed in range(examples(120)):
        rng = Random(f"{seed}/{command}")
        kinds = frozenset(rng.sample(damages, rng.choice((0, 0, 0, 1, 2))))
        source = rng.choice((conversations, short_conversations, short_conversations))(rng)
        file.write_bytes(pcap(damaged(source, rng, kinds), rng, pauses=0.5))
        with pytest.MonkeyPatch.context() as bounds:
            if seed % 4:  # the messages of short connections are looked at
                bounds.setattr(disconnects, "_SHORT_CALLS", seed % 4)
            if seed % 4 == 3:
                bounds.setattr(session, "MAX_CONNECTIONS", 2)
                bounds.setattr(session, "MAX_CLOSED", 4)
                bounds.setattr(session, "MAX_OPEN", 3)
                bounds.setattr(both_ends, "_MAX_CALLS", 5)
                bounds.setattr(limit_usage, "_MAX_KNOWN", 1000)
            python, core = both(monkeypatch, file, command)
        assert core == python, seed


def test_share_of_routine_exchanges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures get only the first exchanges of each kind as messages."""
    talk = packets.Talk()
    start = talk.handshake()
    pairs = []
    for serial in range(3000):
        pairs.append(talk.packet("c2s", packets.message(proc=59, serial=serial)))
        pairs.append(talk.packet("s2c", packets.message(b"\0\0\0\4host", proc=59, type=1, serial=serial)))
    file = tmp_path / "clean.pcap"
    file.write_bytes(packets.pcap([*start, *pairs]))
    added = []
    add = Measure.add
    monkeypatch.setattr(Measure, "add", lambda *args: (added.append(1), add(*args)))
    with libvirt_proto.open(file) as capture:
        assert capture.statistics().totals.exchanges == 3000
    assert 1 <= len(added) <= 100


@pytest.mark.parametrize("format_", ["jsonl", "monitor"])
def test_share_of_exchanges(tmp_path: Path, format_: str) -> None:
    """Python presents only the first exchanges of each kind, also of pipelined calls and next to an open
    stream."""
    talk = packets.Talk()
    found = talk.handshake()

    def add(direction: str, body: bytes, **fields: int) -> None:
        found.append(talk.packet(direction, packets.message(body, **fields)))

    rng = Random(1)
    add("c2s", b"\0\0\0\3vm1\0" + bytes(20) + bytes(8), proc=211, serial=5)
    add("s2c", b"\0\0\0\0", proc=211, type=1, serial=5)
    add("s2c", b"data" * 50, proc=211, type=3, status=2, serial=5)
    for serial in range(10, 3000, 3):
        for at in range(3):
            add("c2s", b"", proc=59, serial=serial + at)
        for at in rng.sample(range(3), 3):
            add("s2c", b"\0\0\0\4host", proc=59, type=1, serial=serial + at)
    add("s2c", b"\0\0\0\4host", proc=59, type=1, serial=70_000)
    for serial in range(3000, 4000):
        add("c2s", b"", proc=59, serial=serial)
        if serial > 3000:
            add("s2c", b"\0\0\0\4host", proc=59, type=1, serial=serial - 1)
    file = tmp_path / "many.pcap"
    file.write_bytes(packets.pcap(found))
    presented = []
    with pytest.MonkeyPatch.context() as patch:
        learn = native_lines.NativeExchanges.learn_exchange
        patch.setattr(
            native_lines.NativeExchanges,
            "learn_exchange",
            lambda *args: (presented.append(1), learn(*args)),
        )
        python, core = both(patch, file, ("decode", "--exchanges", "--format", format_))
    assert core == python
    assert len(core[0].splitlines()) > 1990
    assert 1 <= len(presented) <= 20


def test_too_many_open_exchanges(tmp_path: Path) -> None:
    """The oldest are given up in the same order, whoever has them."""
    rng, found = Random(3), []
    talks = [packets.Talk(client=("192.0.2.7", 20_000 + at)) for at in range(180)]
    found = [packet for talk in talks for packet in talk.handshake()]
    for serial in range(60):
        for talk in rng.sample(talks, len(talks)):
            proc = rng.choice((59, 59, 211))
            body = b"\0\0\0\3vm1\0" + bytes(20) + bytes(8) if proc == 211 else b""
            call = packets.message(body, proc=proc, serial=serial)
            found.append(talk.packet("c2s", call))
            if rng.random() < 0.2:
                body = b"\0\0\0\0" if proc == 211 else b"\0\0\0\4host"
                reply = packets.message(body, proc=proc, type=1, serial=serial)
                found.append(talk.packet("s2c", reply))
    file = tmp_path / "many.pcap"
    file.write_bytes(packets.pcap(found))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "MAX_OPEN", session._MAX_LENT + 200)
        python, core = both(patch, file, ("decode", "--exchanges", "--format", "jsonl"))
    assert core == python
    assert core[0].count('"outcome":"given-up"') > 100


def test_same_messages(tmp_path: Path) -> None:
    """Messages of the Python API are equal, with their classes."""
    file = tmp_path / "capture"
    with pytest.MonkeyPatch.context() as patch:

        @settings(max_examples=examples(40), deadline=None)
        @given(KINDS, st.integers(0, 2**32))
        def holds(kinds: frozenset[str], seed: int) -> None:
            rng = Random(seed)
            file.write_bytes(pcap(damaged(TOUR, rng, kinds), rng))
            found = []
            for pure in ("1", "0"):
                patch.setenv(native.PURE, pure)
                with libvirt_proto.open(file) as capture:
                    messages = [each.captured for each in capture]
                    found.append((messages, capture.notices, capture.failures, capture.malformed))
            assert repr(found[0]) == repr(found[1])  # errors are equal only to themselves

        holds()


def test_share_of_a_clean_capture(tmp_path: Path) -> None:
    """The native core reads 99.9 % of the messages of a capture without streams and damage."""
    talk = packets.Talk()
    start = talk.handshake()
    call, reply = packets.message(proc=59), packets.message(b"\0\0\0\4host", proc=59, type=1)
    pairs = [talk.packet(*each) for _ in range(5000) for each in (("c2s", call), ("s2c", reply))]
    file = tmp_path / "clean.pcap"
    file.write_bytes(packets.pcap([*start, *pairs]))
    learned = []
    with pytest.MonkeyPatch.context() as patch:
        add = native_kinds.Learning.add
        patch.setattr(native_kinds.Learning, "add", lambda *args: (learned.append(1), add(*args)))
        with libvirt_proto.open(file) as capture:
            assert sum(1 for _ in capture) == 10_000
    assert 1 <= len(learned) <= 10


@pytest.mark.parametrize("format_", ["jsonl", "monitor", None])
def test_stream_data_is_read_natively(tmp_path: Path, format_: str | None) -> None:
    """A download in small packets, and its end; both ways give the same."""
    talk = packets.Talk()
    data = b"".join(
        packets.message(bytes(range(250)) * 2, proc=211, type=3, status=2, serial=7) for _ in range(50)
    )
    data += packets.message(proc=211, type=3, status=2, serial=7)
    data += packets.message(proc=211, type=3, status=0, serial=7)
    start, learned = talk.handshake(), []
    pieces = [talk.packet("s2c", data[at : at + 88]) for at in range(0, len(data), 88)]
    file = tmp_path / "stream.pcap"
    file.write_bytes(packets.pcap([*start, *pieces]))
    with pytest.MonkeyPatch.context() as patch:
        if format_ is not None:
            python, core = both(patch, file, ("decode", "--format", format_))
            assert core == python
        patch.setenv(native.PURE, "1")
        with libvirt_proto.open(file) as capture:
            expected = [each.captured for each in capture]
        add = native_kinds.Learning.add
        patch.setattr(native_kinds.Learning, "add", lambda *args: (learned.append(1), add(*args)))
        patch.setenv(native.PURE, "0")
        with libvirt_proto.open(file) as capture:
            assert [each.captured for each in capture] == expected
    assert len(expected) == 52
    assert 1 <= len(learned) <= 3


def captured(file: Path, patch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Messages, notices and beginning of a capture in the Python API, by Python and by the native core."""
    found = []
    for pure in ("1", "0"):
        patch.setenv(native.PURE, pure)
        with libvirt_proto.open(file) as capture:
            messages = [repr(each.captured) for each in capture]
            found.append((messages, capture.notices, capture.start_ns))
    return found


def calls(talk: packets.Talk, count: int) -> list[bytes]:
    """Packets of calls and replies in step."""
    call, reply = packets.message(proc=59), packets.message(b"\0\0\0\4host", proc=59, type=1)
    return [talk.packet(*each) for _ in range(count) for each in (("c2s", call), ("s2c", reply))]


def test_notices_have_the_time_of_the_last_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes read acknowledgements after data that Python has read."""
    talk, other, file = packets.Talk(), packets.Talk(client=("192.0.2.8", 999)), tmp_path / "acks.pcap"
    part = packets.message(proc=59)[:8]
    start = [*talk.handshake(), *calls(talk, 6), *other.handshake(), talk.packet("c2s", part)]
    file.write_bytes(packets.pcap([*start, other.packet("c2s", part), *[talk.packet("s2c")] * 3]))
    python, core = captured(file, monkeypatch)
    assert core == python
    assert python[1]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_same_output_of_a_recording(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With connections that a client, a daemon or neither recorded, one of them later than the others."""
    file, rng = tmp_path / "record.pcapng", Random(9)
    call = struct.pack(">IIIiiIi", 28, 0x20008086, 1, 59, 0, 0, 0)
    reply = struct.pack(">IIIiiIiI4s", 36, 0x20008086, 1, 59, 1, 0, 0, 4, b"host")
    sides: list[Side | None] = [None, "client", "server", "client"]
    open_ = [Connection(n, f"c{n}@x", "server", "probe", side=side) for n, side in enumerate(sides)]
    with file.open("wb") as out:
        recorder = Recorder(out)
        for number in range(400):
            connection = rng.choice(open_[: 3 if number < 300 else 4])
            recorder.add(Chunk(connection, "c2s", number * 1000, call))
            recorder.add(Chunk(connection, "s2c", number * 1000 + 500, reply))
    python, core = both(monkeypatch, file, command)
    assert core == python


@pytest.mark.parametrize("without", [4, 5, 9])
def test_clock_begins_with_the_first_time(
    without: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first packets have no times: Simple Packet Blocks."""
    talk, file = packets.Talk(), tmp_path / "simple.pcapng"
    source = [*talk.handshake(), *calls(talk, 6)]
    times = [1_700_000_000_000_000 + at * 7000 for at in range(len(source))]
    blocks = [packets.simple(each) for each in source[:without]]
    blocks += map(packets.enhanced, source[without:], times[without:])
    file.write_bytes(b"".join([packets.section(), packets.interface(), *blocks]))
    for command in COMMANDS:
        python, core = both(monkeypatch, file, command)
        assert core == python
    python, core = captured(file, monkeypatch)
    assert core == python
