"""From files to Chunks: every format, compressed or not, from a file or a pipe."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from libvirt_proto.capture.sources import open_source, read_source
from libvirt_proto.errors import SourceError
from libvirt_proto.events import Chunk, LogLine, Notice
from tests.support import packets
from tests.support.packets import ACK, SYN, Talk, message

CALL, REPLY = message(b"call", serial=1), message(b"reply", serial=1, type=1)


def open_bytes(data: bytes) -> list[Chunk | Notice]:
    return list(read_source(io.BytesIO(data), "bytes"))


def content(items: list[Chunk | Notice], direction: str | None = None) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Chunk) and item.direction == direction)


def conversation(server: tuple[str, int] = packets.SERVER) -> list[bytes]:
    talk = Talk(server=server)
    return [*talk.handshake(), talk.packet("c2s", CALL), talk.packet("s2c", REPLY), *talk.close()]


def capture(**options: object) -> bytes:
    return packets.pcap(conversation(), **options)  # type: ignore[arg-type]


def pcapng() -> bytes:
    blocks = (packets.enhanced(packet, number) for number, packet in enumerate(conversation()))
    return packets.section() + packets.interface() + b"".join(blocks)


@pytest.mark.parametrize("data", [capture(), capture(order=">", nanoseconds=True), pcapng()])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_reads_captures(data: bytes, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "no suffix"
    path.write_bytes(pack(data))
    items = list(open_source(str(path)))
    assert content(items, "c2s") == CALL
    assert content(items, "s2c") == REPLY
    assert not any(isinstance(item, Notice) for item in items)


def test_reads_raw_stream() -> None:
    data = CALL + REPLY * 20_000
    items = open_bytes(data)
    assert content(items) == data
    assert all(isinstance(item, Chunk) and item.time_ns is None and item.lost == 0 for item in items)
    assert [item.end for item in items if isinstance(item, Chunk)][-1] is True
    assert {str(item.connection) for item in items} == {"1"}


@pytest.mark.parametrize(
    "text",
    [
        CALL.hex(),
        CALL.hex(" "),
        CALL.hex(" ", 4).upper() + "\r\n",
        CALL.hex(":"),
        "# a comment\n   " + CALL[:9].hex(" ") + "   # and another\n" + CALL[9:].hex(" ", 2) + "\n\n\n",
        ", ".join(f"0x{byte:02x}" for byte in CALL),
        "".join(f"\\x{byte:02x}" for byte in CALL),
        "\n".join(f"{at:08x}: {CALL[at : at + 16].hex(' ', -2):<40} ab cd 0123" for at in range(0, 32, 16)),
        "\n".join(f"\t0x{at:04x}:  {CALL[at : at + 16].hex(' ', -2):<40}  ab" for at in range(0, 32, 16)),
        "\n".join(f"{at:08x}  {CALL[at : at + 16].hex(' ')}  |ab cd #..|" for at in range(0, 32, 16))
        + "\n00000020",
        "\n".join(f"{at:06x} {CALL[at : at + 16].hex(' ')}" for at in range(0, 32, 16)) + "\n000020\n",
        "\n".join(f"{at:07o} {CALL[at : at + 16].hex(' ')}" for at in range(0, 32, 16)) + "\n0000040\n",
        "\n".join(f"{at:04x}  {CALL[at : at + 16].hex(' ')}   ab.cd..." for at in range(0, 32, 16)),
    ],
)
def test_reads_hex_in_many_forms(text: str) -> None:
    assert len(CALL) == 32
    assert content(open_bytes(text.encode())) == CALL


def test_each_group_of_hex_is_a_separate_message() -> None:
    text = f"{CALL.hex()}\n\n# the reply\n{REPLY.hex()}\n{CALL.hex()}\n \n"
    chunks = [item for item in open_bytes(text.encode()) if isinstance(item, Chunk)]
    assert [(chunk.data, chunk.end) for chunk in chunks] == [(CALL, True), (REPLY + CALL, True)]


def test_expands_repeated_lines_of_dump() -> None:
    data = message(bytes(100))
    text = "\n".join([f"{at:08x}  {data[at : at + 16].hex(' ')}" for at in (0, 16, 32)] + ["*", "00000080"])
    assert content(open_bytes(text.encode())) == data


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("00 00 0", "line 3: '00000' is an odd number of digits"),
        ("hello", "line 3: 'hello' is not hex"),
        ("caf\u00e9", "is not hex"),
        ("zz" * 100, "'" + "z" * 40 + "…' is not hex"),
    ],
)
def test_rejects_line_that_is_not_hex(line: str, words: str) -> None:
    """The group ends there; the next one is read."""
    text = f"{CALL.hex()}\n\n{line}\n{REPLY.hex()}\n\n{REPLY.hex()}"
    items = open_bytes(text.encode())
    (notice,) = (item for item in items if isinstance(item, Notice))
    assert notice.code == "bad-hex"
    assert words in notice.text
    assert content(items) == CALL + REPLY


@pytest.mark.parametrize(
    "second",
    [
        "00000020: 0000",
        "0000000f: 0000",
        "00000000: 0000",
        "no offset",
        "*\n00000011: 00",
        "*\nffffffffffff: 00",
    ],
)
def test_rejects_offsets_out_of_order(second: str) -> None:
    items = open_bytes(f"00000000: {CALL[:16].hex(' ', 2)}\n{second}\n".encode())
    assert [item.code for item in items if isinstance(item, Notice)] == ["bad-hex"]
    assert content(items) == CALL[:16]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"GET / HTTP/1.0\r\n\r\n", "looks like HTTP"),
        (b"\x16\x03\x01\x02\x00\x01" + bytes(50), "looks like TLS"),
        (
            b"\x7fELF" + bytes(500),
            "unrecognised format; supported: pcap and pcapng captures, strace",
        ),
        (b"snoop\0\0\0" + capture(), "is a capture in snoop format; convert it first: editcap"),
        (b"\x28\xb5\x2f\xfd" + bytes(40), "compressed with zstd; unpack it first"),
        (gzip.compress(b"hello, world", mtime=0), "unrecognised format"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(gzip.compress(capture(), mtime=0), mtime=0), "unrecognised format"),
        (gzip.compress(capture(), mtime=0)[:12], "the compressed file is truncated"),
        (b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 40, "the compressed file is damaged"),
        (b"\xfd7zXZ\x00" + b"\xff" * 40, "the compressed file is damaged"),
        (b"BZh9" + b"\xff" * 40, "the compressed file is damaged"),
    ],
)
def test_rejects_unknown_input(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=r"^bytes: ") as caught:
        open_bytes(data)
    assert words in str(caught.value)


LIBVIRT_LINE = b"2026-11-22 21:45:08.121+0000: 19725: info : libvirt version: 9.0.0\n"


@pytest.mark.parametrize("line", [LIBVIRT_LINE, b"Nov 22 21:45:08 host libvirtd[123]: " + LIBVIRT_LINE])
@pytest.mark.parametrize("before", [b"", b"the end of a document\n", b"prose\n" * 50_000])
def test_text_with_libvirt_lines_is_a_log(before: bytes, line: bytes) -> None:
    stated, notice = open_bytes(before + line)
    assert isinstance(stated, LogLine)
    assert stated.kind == "started"
    assert isinstance(notice, Notice)
    assert notice.code == "no-rpc-lines"


@pytest.mark.parametrize(
    "data",
    [
        b"hello, world\n",
        b"# only a comment\n",
        b"0",
        b"2026-11-22 21:45:08.121 INFO nova.compute [-] hello",
        b"Nov 22 21:45:08 host sshd[123]: hello",
        b"int main(void)\n{\n    return read(4, buffer, 4);\n}\n",
        b"See read(2) and write(2).\n",
        b"prose\n" * 50_000,
    ],
)
def test_verdict_on_other_text_comes_at_its_end(data: bytes) -> None:
    items = read_source(io.BytesIO(data), "bytes")
    with pytest.raises(SourceError, match="bytes: unrecognised format; supported: "):
        next(items)


def test_reports_unreadable_files(tmp_path: Path) -> None:
    for path, words in (
        (str(tmp_path / "none"), "no such file"),
        (str(tmp_path), "expected a file, got a folder"),
        ("a\0b", "expected a file name"),
        (str(tmp_path / ("x" * 300)), "file name too long"),
    ):
        with pytest.raises(SourceError) as caught:
            open_source(path)
        assert str(caught.value).startswith(path + ": ")
        assert words in str(caught.value)


def test_accepts_explicit_format() -> None:
    items = list(read_source(io.BytesIO(b"anything"), "bytes", format="raw"))
    assert content(items) == b"anything"


@pytest.mark.parametrize("name", ["tour.pcap", "virsh-domname.pcap"])
@pytest.mark.parametrize("cut", [1, 100, 1000])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_truncated_captures(
    captures: Path, tmp_path: Path, name: str, cut: int, pack: Callable[[bytes], bytes]
) -> None:
    """Everything before the end, and one Notice with the numbers."""
    data = (captures / name).read_bytes()
    whole = open_bytes(data)
    items = open_bytes(pack(data[:-cut]))
    *chunks, notice = items
    assert isinstance(notice, Notice)
    assert (notice.code, notice.severity) == ("truncated-file", "error")
    assert (
        f"at byte {len(data) - cut - int(notice.text.split(' available')[0].split()[-1])} of the file"
        in notice.text
    )
    for direction in ("c2s", "s2c"):
        got = content(chunks, direction)
        assert content(whole, direction).startswith(got)
    assert sum(len(item.data) for item in chunks if isinstance(item, Chunk)) > 0


def test_truncated_compressed_capture(captures: Path) -> None:
    data = (captures / "tour.pcap").read_bytes()
    items = open_bytes(gzip.compress(data, mtime=0)[:-5000])
    assert [(item.code, item.text) for item in items if isinstance(item, Notice)] == [
        ("truncated-file", "reading stopped: the compressed file is truncated")
    ]
    got = content(items, "s2c")
    assert len(got) > 500_000
    assert content(open_bytes(data), "s2c").startswith(got)


def test_other_ports(tmp_path: Path) -> None:
    path = tmp_path / "ports.pcap"
    libvirt = conversation(server=("192.0.2.1", 5001))
    web = Talk(server=("192.0.2.1", 80))
    shop = Talk(server=("192.0.2.1", 8080))
    path.write_bytes(
        packets.pcap(
            [
                *web.handshake(),
                web.packet("c2s", b"GET / HTTP/1.0\r\nHost: example\r\n\r\n"),
                *web.close(),
                *shop.handshake(),
                *libvirt,
                shop.packet("c2s", b"GET / HTTP/1.0\r\n\r\n"),
            ]
        )
    )
    items = list(open_source(str(path)))
    assert {item.connection.server for item in items if isinstance(item, Chunk)} == {"192.0.2.1:5001"}
    assert content(items, "c2s") == CALL
    ports = frozenset((8080,))
    items = list(open_source(str(path), ports=ports))
    assert [item.connection.server for item in items if isinstance(item, Chunk)][-1] == "192.0.2.1:8080"


def test_reports_unusable_packets() -> None:
    call = packets.tcp(1, CALL)
    data = packets.pcap(
        [packets.ethernet(packets.ipv4(call, fragment=0x2000)), packets.ethernet(b"\x45" * 9)]
    )
    notices = [item for item in open_bytes(data) if isinstance(item, Notice)]
    assert [(notice.code, notice.severity) for notice in notices] == [
        ("ip-fragments", "error"),
        ("malformed-packets", "note"),
    ]
    (notice,) = open_bytes(packets.pcap([b"x"], linktype=147))
    assert isinstance(notice, Notice)
    assert (notice.code, notice.text) == (
        "unknown-link-type",
        "packets of unsupported link type 147 are skipped",
    )


def test_reports_progress(captures: Path) -> None:
    path = captures / "tour.pcap"
    steps: list[tuple[int, int | None]] = []
    for _ in open_source(str(path), progress=lambda done, total: steps.append((done, total))):
        pass
    size = path.stat().st_size
    assert len(steps) > 3
    assert steps == sorted(steps)  # type: ignore[type-var]
    assert steps[-1] == (size, size)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    reader, writer = os.pipe()
    with open(reader) as file, open(writer, "wb", buffering=0) as out:
        monkeypatch.setattr(sys, "stdin", file)
        yield out


@pytest.mark.parametrize(("data", "directions"), [(capture(), 2), (pcapng(), 2), (CALL + REPLY, 1)])
def test_standard_input_is_read_as_it_arrives(stdin: io.FileIO, data: bytes, directions: int) -> None:
    at = data.index(CALL) + len(CALL) + 12
    stdin.write(data[:at])
    items = open_source("-")
    first = next(items)
    assert isinstance(first, Chunk)
    assert CALL in first.data
    # The rest is written only now.
    stdin.write(data[at:])
    stdin.close()
    rest = list(items)
    sent = CALL + REPLY if directions == 1 else REPLY
    assert (first.data + content(rest))[: len(sent)] == sent or content(rest, "s2c") == REPLY


def test_reads_standard_input_byte_by_byte(stdin: io.FileIO) -> None:
    import threading

    def write() -> None:
        for byte in capture():
            stdin.write(bytes([byte]))
        stdin.close()

    writer = threading.Thread(target=write)
    writer.start()
    items = list(open_source("-"))
    writer.join()
    assert content(items, "s2c") == REPLY


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceError, match="standard input: is closed"):
        open_source("-")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_reports_capture_without_libvirt_connections(count: int) -> None:
    """Without packets; with a half-open connection; with another program's."""
    shop = Talk(server=("10.0.0.2", 8080))
    packets_ = [shop.packet("c2s", flags=SYN), shop.packet("c2s", b"GET / HTTP/1.0\r\n\r\n")][:count]
    (notice,) = open_bytes(packets.pcap(packets_))
    assert isinstance(notice, Notice)
    assert (notice.code, notice.severity) == ("no-libvirt", "note")


def test_unreadable_capture_has_one_error() -> None:
    items = open_bytes(packets.pcap([Talk().packet("c2s", flags=SYN)])[:-1])
    assert [item.code for item in items if isinstance(item, Notice)] == ["truncated-file"]


def test_refused_connections_end() -> None:
    talk = Talk()
    refused = packets.pcap([talk.packet("c2s", flags=SYN), talk.packet("s2c", flags=4 | ACK)])
    assert [item.end for item in open_bytes(refused) if isinstance(item, Chunk)] == [True, True]
