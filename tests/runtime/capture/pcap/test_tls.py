"""tshark's output for TLS connections as Chunks, and errors without tshark."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.pcap import tls
from libvirt_proto.capture.pcap.tls import _Decrypted, _numbered, _without_tls
from libvirt_proto.capture.sources import read_source
from libvirt_proto.errors import SourceError
from libvirt_proto.events import Chunk, Connection, Item, Notice
from libvirt_proto.rpc.wire import MIN_FRAME
from tests.support import packets
from tests.support.packets import Talk, message

CALL, REPLY = message(b"call", serial=1), message(b"reply", serial=1, type=1)


def line(
    data: bytes = b"",
    *,
    reply: bool = False,
    stream: str = "0",
    fin: str = "0",
    reset: str = "0",
    handshake: str = "",
    lengths: str = "",
    types: str = "",
    ipv6: bool = False,
    pieces: int = 1,
    name: str = "",
) -> str:
    """A line in the format that `_command` requests from tshark."""
    addresses = ["2001:db8::7", "2001:db8::1"] if ipv6 else ["192.0.2.7", "192.0.2.1"]
    ends = [(address, port) for address, port in zip(addresses, ("40000", "16514"), strict=True)]
    fields = ["17", "1795383910.120000001", stream]
    for address, port in reversed(ends) if reply else ends:
        fields += ["", address, port] if ipv6 else [address, "", port]
    step = -(-len(data) // pieces) or 1
    hex_ = ",".join(data[at : at + step].hex() for at in range(0, len(data), step))
    records = ",".join(["23"] * len(hex_.split(","))) if data else ""
    return "\t".join([*fields, fin, reset, handshake, lengths or records, types or records, hex_, name])


HELLO = line(handshake="1", lengths="200", types="22")


def read(*lines: str) -> list[Item]:
    return list(_Decrypted().read(io.BytesIO("".join(f"{each}\n" for each in lines).encode())))


def content(items: list[Item], direction: str) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Chunk) and item.direction == direction)


@pytest.mark.parametrize("ipv6", [False, True])
def test_decrypted_connection(ipv6: bool) -> None:
    hello = line(handshake="1", lengths="200", types="22", ipv6=ipv6)
    items = read(
        hello,
        line(b"\x01", reply=True, ipv6=ipv6),
        line(CALL, pieces=3, ipv6=ipv6),
        line(REPLY, reply=True, ipv6=ipv6),
        line(fin="1", ipv6=ipv6),
        line(fin="True", reply=True, ipv6=ipv6),
    )
    assert (content(items, "c2s"), content(items, "s2c")) == (CALL, REPLY)
    names = {(item.connection.client, item.connection.server) for item in items if item.connection}
    expected = (
        ("[2001:db8::7]:40000", "[2001:db8::1]:16514") if ipv6 else ("192.0.2.7:40000", "192.0.2.1:16514")
    )
    assert names == {expected}
    assert {item.connection.transport for item in items if item.connection} == {"tls"}
    assert {item.time_ns for item in items} == {1_795_383_910_120_000_001}
    chunks = [item for item in items if isinstance(item, Chunk)]
    assert [chunk.end for chunk in chunks] == [False, False, True, True]
    assert [chunk.packet for chunk in chunks if chunk.data] == [17, 17]


def test_authentication_byte_may_precede_a_message() -> None:
    assert content(read(HELLO, line(b"\x01" + REPLY, reply=True)), "s2c") == REPLY
    assert content(read(HELLO, line(REPLY, reply=True), line(b"\x01", reply=True)), "s2c") == REPLY + b"\x01"


@pytest.mark.parametrize(
    ("lengths", "types"), [("50", ""), ("6,90,50", "20"), ("50,50", "23"), ("50,50", "23,23")]
)
def test_records_without_keys(lengths: str, types: str) -> None:
    """TLS 1.3 records without a type, and TLS 1.2 records with a type but without data."""
    sealed = line(lengths=lengths, types=types)
    (notice,) = read(HELLO, sealed, sealed, line(lengths="9", reply=True))
    assert isinstance(notice, Notice)
    assert (notice.code, notice.severity, notice.direction) == ("encrypted", "note", None)
    assert notice.text == "TLS: encrypted; tshark cannot decrypt it with this key log"
    *_, lost, again = read(HELLO, line(CALL), sealed, line(CALL), sealed, line(lengths="9", reply=True))
    assert isinstance(lost, Notice)
    assert isinstance(again, Notice)
    assert [(each.code, each.severity, each.direction) for each in (lost, again)] == [
        ("lost-bytes", "error", "c2s"),
        ("lost-bytes", "error", "s2c"),
    ]


def test_server_name() -> None:
    hello = line(handshake="1", lengths="200", types="22", name="host.example")
    (notice,) = read(hello, line(lengths="9"))
    assert isinstance(notice, Notice)
    assert notice.text.startswith("TLS (server name host.example): encrypted;")


def test_connection_without_handshake() -> None:
    assert read(line(CALL), line(fin="1"), "", "a\tb", HELLO.replace("40000", "x\ty")) == []


@given(
    st.lists(st.lists(st.sampled_from(("", "1", "23,23", "0001", "xyz", "True", "1.5", ":")), max_size=16))
)
def test_any_tshark_output_is_read(lines: list[list[str]]) -> None:
    for item in read(*("\t".join(fields) for fields in lines), *("\t".join(each[:15]) for each in lines)):
        assert isinstance(item, Chunk | Notice)


def test_endless_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_MAX_LINE", 100)
    (notice,) = read("1" * 1_000_000)
    assert isinstance(notice, Notice)
    assert (notice.code, notice.text) == (
        "tshark-failed",
        "in tshark's output, the line is longer than 100 bytes",
    )


def test_plain_reader_skips_decrypted_connections() -> None:
    """Connections whose client starts with TLS; only their losses are reported."""
    plain, sealed, later = (Connection(n, f"c{n}", "s") for n in (1, 2, 3))
    hello = b"\x16\x03\x01\x00\xc8\x01"
    kept = [
        Chunk(plain, "c2s", 1, CALL),
        Chunk(later, "c2s", 2, b"\x17\x03\x03", lost=-1),
        Notice("cut-packets", "some"),
    ]
    left_out = [
        Chunk(sealed, "c2s", 1, hello),
        Chunk(sealed, "s2c", 2, hello),
        Chunk(sealed, "s2c", 3, b"", end=True),
    ]
    assert list(_without_tls([*left_out, *kept])) == kept
    (notice,) = _without_tls([*left_out[:2], Chunk(sealed, "s2c", 3, b"x", lost=5)])
    assert isinstance(notice, Notice)
    assert (notice.code, notice.severity, notice.direction) == ("lost-bytes", "error", "s2c")
    assert "(c2-s)" in notice.text


def test_connections_are_renumbered() -> None:
    items = [Chunk(Connection(number, "", ""), "c2s", 1, b"") for number in (7, -1, 7, 3)]
    assert [item.connection.id for item in _numbered(items) if item.connection] == [1, 2, 1, 3]


def tls_capture() -> bytes:
    talk = Talk()
    return packets.pcap([*talk.handshake(), talk.packet("c2s", CALL), *talk.close()])


def test_reports_missing_tshark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match=r"^it: a key log .* tshark, .* not installed .*apt install tshark"):
        read_source(io.BytesIO(tls_capture()), "it", keylog="keys")
    # Files that are not captures do not need it.
    assert content(list(read_source(io.BytesIO(CALL), "it", keylog="keys")), None) == CALL  # type: ignore[arg-type]


@pytest.mark.system("tshark")
def test_capture_without_tls(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("")
    items = list(read_source(io.BytesIO(tls_capture()), "it", keylog=str(keys)))
    assert content(items, "c2s") == CALL
    assert not any(isinstance(item, Notice) for item in items)
    # Closing early leaves no process running.
    some = read_source(io.BytesIO(tls_capture()), "it", keylog=str(keys))
    first = next(some)
    assert isinstance(first, Chunk)
    assert len(first.data) >= MIN_FRAME
    some.close()  # type: ignore[attr-defined]
