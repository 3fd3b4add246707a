"""Recordings round-trip: bytes, times, losses and ends of each direction of each connection."""

from __future__ import annotations

import io
from collections import defaultdict
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.pcap.origin import comment, origin
from libvirt_proto.capture.pcap.recorder import MAX_MISSING, MAX_OPEN, MAX_SEGMENT, Recorder, recorded
from libvirt_proto.capture.sources import read_source
from libvirt_proto.events import Chunk, Connection, ConnectionEvent, Direction, Item, Notice, Side
from tests.support.frames import frame

#: Client, server, transport. Some are listed repeatedly: connections may share their addresses.
NAMES = [
    ("192.0.2.7:40000", "192.0.2.1:16509", "tcp"),
    ("192.0.2.7:40000", "192.0.2.1:16509", "tcp"),
    ("192.0.2.1:16509", "192.0.2.7:40000", "tcp"),
    ("[2001:db8::7]:40000", "[2001:db8::1]:16510", "tcp"),
    ("192.0.2.7:40000", "192.0.2.1:16514", "tls"),
    ("127.0.0.1:49152", "127.0.0.1:16509", "tcp"),
    ("[::1]:5", "127.0.0.1:16509", "tcp"),
    ("127.0.0.1:0", "127.0.0.1:70000", "tcp"),
    ("192.0.2.1:9", "192.0.2.1:9", "tcp"),
    ("virsh[12]", "/run/libvirt/libvirt-sock", "unix"),
    ("virsh[12]", "/run/libvirt/libvirt-sock", "unix"),
    ("\udcff" * 3000, "\x1b[31m", "thread"),
    ("", "", "raw"),
]
PORTS = frozenset((16509, 16510))

#: A byte with its time, None for a byte that is lost, "?" for an unknown number of them, "end".
Content = list[tuple[int, int] | str | None]


def content(chunks: list[Chunk]) -> Content:
    """One direction, as described in Chunk's docstring."""
    out: Content = []
    for chunk in chunks:
        for missing, data in ((chunk.lost, chunk.data), (chunk.cut, b"")):
            out += ["?"] if not 0 <= missing <= MAX_MISSING else [None] * missing
            out += [(byte, chunk.time_ns or 0) for byte in data]
        if chunk.end:
            out.append("end")
    # An unknown number of bytes next to a known one is unknown.
    stretches = [(gone, list(part)) for gone, part in groupby(out, key=lambda one: one is None or one == "?")]
    return [one for gone, part in stretches for one in (["?"] if gone and "?" in part else part)]


def connections(items: list[Item]) -> list[dict[Direction | None, Content]]:
    """The directions of each connection, in order of appearance."""
    found: dict[int, dict[Direction | None, list[Chunk]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if isinstance(item, Chunk):
            found[item.connection.id][item.direction].append(item)
    return [{name: content(part) for name, part in one.items()} for one in found.values()]


def read_back(items: list[Item]) -> list[Item]:
    file = io.BytesIO()
    recorder = Recorder(file)
    assert list(recorded(items, recorder)) == items
    file.seek(0)
    return list(read_source(file, "recorded", ports=PORTS))


@st.composite
def conversations(draw: st.DrawFn) -> list[Item]:
    """Any connections with any Chunks, interleaved; every Chunk has data or is the last."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))
    open_ = [(Connection(n, *name), way) for n, name in enumerate(names, 1) for way in ways(name)]
    items: list[Item] = []
    times = st.none() | st.integers(0, (1 << 64) - 1)
    losses = st.just(0) | st.integers(-1, 9)
    for _ in range(draw(st.integers(0, 20))):
        if not open_:
            break
        connection, direction = which = draw(st.sampled_from(open_))
        end = draw(st.integers(0, 3)) == 3
        data = draw(st.binary(min_size=not end, max_size=12))
        cut = max(0, draw(losses))
        items.append(Chunk(connection, direction, draw(times), data, draw(losses), end, cut))
        if end:
            open_.remove(which)
    return items


def ways(name: tuple[str, str, str]) -> tuple[Direction | None, ...]:
    return (None,) if name[2] == "raw" else ("c2s", "s2c")


def as_recorded(items: list[Item]) -> list[Item]:
    """The same without unknown directions and times."""
    out: list[Item] = []
    last = 0
    for item in items:
        assert isinstance(item, Chunk)
        last = last if item.time_ns is None else item.time_ns
        rest = (item.data, item.lost, item.end, item.cut)
        out.append(Chunk(item.connection, item.direction or "c2s", last, *rest))
        if item.end and item.direction is None:
            out.append(Chunk(item.connection, "s2c", last, b"", end=True))
    return out


@given(conversations())
def test_recording_round_trips(items: list[Item]) -> None:
    found = read_back(items)
    assert connections(found) == connections(as_recorded(items))
    missing = any(isinstance(item, Chunk) and (item.lost > 0 or item.cut) for item in items)
    notices = ["cut-packets"] if missing else [] if items else ["no-libvirt"]
    assert [item.code for item in found if isinstance(item, Notice)] == notices


@given(st.lists(conversations(), min_size=2, max_size=3))
def test_records_several_sources_in_one_file(sources: list[list[Item]]) -> None:
    file = io.BytesIO()
    recorder = Recorder(file)
    for items in sources:
        list(recorded(items, recorder))
    file.seek(0)
    found = list(read_source(file, "recorded", ports=PORTS))
    expected = [data(one) for items in sources for one in connections(as_recorded(items))]
    assert [data(one) for one in connections(found)] == expected


def data(connection: dict[Direction | None, Content]) -> dict[Direction | None, bytes]:
    """Only the bytes: the next source's connections end those that a source leaves open."""
    ways = {name: [one for one in part if isinstance(one, tuple)] for name, part in connection.items()}
    return {name: bytes(byte for byte, _ in part) for name, part in ways.items() if part}


@given(st.integers(MAX_SEGMENT - 2, 2 * MAX_SEGMENT + 2), st.integers(0, 2 * MAX_SEGMENT), st.booleans())
def test_records_long_data_and_long_losses(size: int, missing: int, six: bool) -> None:
    connection = Connection(1, *NAMES[3 if six else 0])
    body = bytes(range(256)) * (size // 256 + 1)
    items: list[Item] = [
        Chunk(connection, "c2s", 1, b"first", cut=missing),
        Chunk(connection, "c2s", 2, body[:size], lost=missing),
        Chunk(connection, "c2s", 3, b"", end=True),
    ]
    chunks = [item for item in read_back(items) if isinstance(item, Chunk) and item.direction == "c2s"]
    assert b"".join(chunk.data for chunk in chunks) == b"first" + body[:size]
    assert sum(chunk.lost + chunk.cut for chunk in chunks) == 2 * missing


def test_implausible_losses_have_unknown_length() -> None:
    connection = Connection(1, "", "", "unix")
    items: list[Item] = [Chunk(connection, "c2s", 1, b"a", cut=1 << 62), Chunk(connection, "c2s", 2, b"b")]
    file = io.BytesIO()
    list(recorded(items, Recorder(file)))
    assert len(file.getvalue()) < 1000
    assert connections(read_back(items)) == [{"c2s": [(97, 1), "?", (98, 2)]}]


def test_records_losses_at_the_end() -> None:
    connection = Connection(1, "a", "b", "unix")
    items: list[Item] = [
        ConnectionEvent("client_new", 1, connection),
        Chunk(connection, "c2s", 1, b"a"),
        Chunk(connection, "c2s", 1, b"", lost=7),
        Notice("lost-bytes", "7 bytes are lost", connection),
    ]
    chunks = [item for item in read_back(items) if isinstance(item, Chunk)]
    assert [(chunk.data, chunk.lost) for chunk in chunks] == [(b"a", 0), (b"", 7)]


def test_data_after_end_starts_another_connection() -> None:
    """As with groups of a hex text."""
    connection = Connection(1, "", "", "raw")
    items: list[Item] = [Chunk(connection, None, None, body, end=True) for body in (b"one", b"two")]
    assert [data(one) for one in connections(read_back(items))] == [{"c2s": b"one"}, {"c2s": b"two"}]


def test_records_more_connections_than_the_table_holds() -> None:
    items: list[Item] = [
        Chunk(Connection(n, "a", "b", "unix"), "c2s", 1, n.to_bytes(4)) for n in range(1, MAX_OPEN + 9)
    ]
    items.append(Chunk(Connection(1, "a", "b", "unix"), "c2s", 1, b"again"))
    found = connections(read_back(items))
    assert [data(one)["c2s"] for one in found] == [chunk.data for chunk in items if isinstance(chunk, Chunk)]


def test_keeps_names_of_equal_addresses() -> None:
    """Of connections one after the other, and then at the same time."""
    names = NAMES[0]
    items: list[Item] = []
    for number in (1, 2, 3):
        items.append(Chunk(Connection(number, *names), "c2s", 1, b"data"))
        if number == 1:
            items += [Chunk(Connection(1, *names), way, 1, b"", end=True) for way in ways(names)]
    found = [item.connection for item in read_back(items) if isinstance(item, Chunk) and item.data]
    assert [(one.client, one.server, one.transport, one.namesake) for one in found] == [
        (*names, 1),
        (*names, 2),
        (*names, 3),
    ]


@pytest.mark.parametrize(
    ("names", "side"),
    [
        (("client@virsh[12]:0x55bef0a18050", "server", "probe"), "client"),
        (("192.0.2.7:40000", "192.0.2.1:16509@libvirtd[9]:0x55", "probe"), "server"),
        (("client", "server@0x55bef0a18050", "log"), "server"),
        (("virsh[12]", "/run/libvirt/libvirt-sock", "unix"), None),
        (("", "/run/libvirt/libvirt-sock", "unix"), None),
        (("a\nb?", "\x1b[31m (tcp)", "unix"), None),
        (("192.0.2.7:40000", "192.0.2.1:16514", "tls"), None),
    ],
)
def test_keeps_names_and_sides(names: tuple[str, str, str], side: Side | None) -> None:
    """Of two connections: the second begins while the first is open."""
    connections = [Connection(n, *names, namesake=n, side=side) for n in (1, 2)]
    items: list[Item] = [Chunk(each, "c2s", 1, frame()) for each in connections]
    found = [item.connection for item in read_back(items) if isinstance(item, Chunk) and item.data]
    assert found == connections


@pytest.mark.parametrize("client", ["a → b", " → " * 100, "x" * 2000])
def test_names_that_cannot_be_read_back(client: str) -> None:
    items: list[Item] = [Chunk(Connection(1, client, "server", "unix"), "c2s", 1, frame())]
    connection = next(item.connection for item in read_back(items) if isinstance(item, Chunk))
    assert (connection.client, connection.transport) == ("127.0.0.2:49152", "tcp")


@given(st.text(alphabet="→ ()?a1", max_size=30), st.sampled_from(["client", "server", None]))
def test_any_comment(text: str, side: Side | None) -> None:
    """Only a comment of a connection is one, and gives that connection."""
    found = origin(text, side)
    if found is not None:
        client, server, transport, _ = found
        assert comment(Connection(1, client, server, transport)) == text


def test_sides_in_one_recording() -> None:
    """Of interleaved connections; a connection without a side is next to them."""
    sides: list[Side | None] = ["server", None, "client", "server"]
    open_ = [Connection(n, f"client {n}", "server", "probe", side=side) for n, side in enumerate(sides, 1)]
    items: list[Item] = [Chunk(each, "c2s", 1, frame(serial=n)) for n in (1, 2) for each in open_]
    found = [item.connection for item in read_back(items) if isinstance(item, Chunk) and item.data]
    assert found == open_ * 2


def test_records_who_reset_a_connection() -> None:
    connection = Connection(1, *NAMES[0])
    items: list[Item] = [
        Chunk(connection, "c2s", 1, b"a"),
        Chunk(connection, "s2c", 2, b"", end=True, reset=True),
        Chunk(connection, "c2s", 2, b"", end=True),
    ]
    ends = [item for item in read_back(items) if isinstance(item, Chunk) and item.end]
    assert [(end.direction, end.reset) for end in ends] == [("s2c", True), ("c2s", False)]
