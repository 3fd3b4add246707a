"""A real libvirtd and virsh over TLS: a key log gives the same messages as plain TCP."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from tests.differential import ours, wireshark
from tests.differential.certificates import CONFIGURATION
from tests.differential.installation import MACHINE
from tests.differential.libvirtd import Libvirtd, free_port, started
from tests.support import packets

pytestmark = pytest.mark.system("libvirtd", "virsh", "tcpdump", "tshark", "certtool")

COMMANDS = (
    ("list", "--all"),
    ("capabilities",),
    ("dumpxml", "test"),
    ("screenshot", "test", "/dev/null"),
)
#: virsh's GnuTLS priorities.
PRIORITIES = {"1.3": "NORMAL", "1.2": "NORMAL:-VERS-ALL:+VERS-TLS1.2"}
SAID = ("dir", "length", "prog", "proc", "type", "status", "serial", "payload_type", "payload", "data")

Said = list[list[tuple[Any, ...]]]


class Session(NamedTuple):
    plain: Path
    expected: Said
    capture: Path
    keys: Path
    port: str


@pytest.fixture(scope="module", params=PRIORITIES)
def session(
    request: pytest.FixtureRequest, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Session:
    """The same commands over plain TCP and over TLS, with the same daemon."""
    if os.geteuid() != 0:
        pytest.skip("tcpdump needs root")
    port = free_port()
    tls = PRIORITIES[request.param]
    uri = f"test+tls://localhost:{port}/default?pkipath={certificates}&tls_priority={tls}"
    folder = tmp_path_factory.mktemp("tls")
    with started(CONFIGURATION.format(port=port, folder=certificates)) as daemon:
        # The daemon may send a reply before or after data of a stream. The order of both recordings is equal
        # in nearly every attempt.
        for attempt in range(5):
            plain, capture, keys = (folder / f"{attempt}{name}" for name in (".pcap", "-tls.pcap", "-keys"))
            with daemon.recorded(plain):
                for command in COMMANDS:
                    daemon.virsh(*command)
            with Libvirtd(port, daemon.log).recorded(capture):
                for command in COMMANDS:
                    daemon.virsh(*command, uri=uri, SSLKEYLOGFILE=str(keys))
            found = Session(plain, said(ours.decode(plain)), capture, keys, str(port))
            if decrypted(found, capture) == found.expected:
                break
    assert keys.read_text().startswith("CLIENT_RANDOM" if request.param == "1.2" else "CLIENT_HANDSHAKE_")
    return found


def said(lines: list[dict[str, Any]]) -> Said:
    """The messages of each connection, in order."""
    connections: dict[str, list[tuple[Any, ...]]] = {}
    for line in lines:
        assert line["time_ns"] is not None
        connections.setdefault(line["conn"], []).append(tuple(str(line[name]) for name in SAID))
    return list(connections.values())


def options(session: Session, keys: Path | None = None) -> tuple[str, ...]:
    return ("decode", "--format", "jsonl", "--port", session.port, "--keylog", str(keys or session.keys))


def decrypted(session: Session, capture: Path) -> Said:
    return said(ours.decode(capture, *options(session)[3:]))


def test_decodes_equal_messages_over_tls_and_tcp(session: Session) -> None:
    assert len(session.expected) == len(COMMANDS)
    assert decrypted(session, session.capture) == session.expected


def test_decodes_plain_connections_in_same_capture(session: Session, tmp_path: Path) -> None:
    both = tmp_path / "both.pcap"
    both.write_bytes(session.plain.read_bytes() + session.capture.read_bytes()[24:])
    lines = ours.decode(both, *options(session)[3:])
    assert said(lines) == session.expected * 2
    assert [line["time_ns"] for line in lines] == sorted(line["time_ns"] for line in lines)
    # Connections are numbered in order of appearance.
    second = ours.decode(both, *options(session)[3:], "--conn", str(len(COMMANDS) + 2))
    assert said(second) == [session.expected[1]]


def test_records_decrypted_messages(session: Session, tmp_path: Path) -> None:
    """The recording is a capture of plain TCP, which needs neither keys nor tshark."""
    kept = tmp_path / "kept.pcapng"
    ours.run(*options(session), "-w", kept, session.capture)
    assert said(ours.decode(kept)) == session.expected


def test_dissector_in_wireshark_reads_decrypted_records(session: Session) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        keys = folder / "keys"
        keys.write_bytes(session.keys.read_bytes())
        keys.chmod(0o644)
        found = wireshark.tshark(MACHINE, folder).messages(
            session.capture, "-o", f"tls.keylog_file:{keys}", "-o", "virrpc.ports:"
        )
    # TLS may give two records of one packet, so streams are compared without their order.
    serials = sorted((int(each.fields["serial"].show), each.fields["procedure"].show) for each in found)
    assert serials == sorted(
        (line["serial"], line["procedure"]) for line in ours.decode(session.capture, *options(session)[3:])
    )


def test_decrypts_compressed_standard_input(session: Session, tmp_path: Path) -> None:
    packed = tmp_path / "capture.gz"
    packed.write_bytes(gzip.compress(session.capture.read_bytes(), mtime=0))
    assert decrypted(session, packed) == session.expected
    whole = ours.run(*options(session), session.capture)
    with session.capture.open("rb") as file:
        redirected = subprocess.run([ours.COMMAND, *options(session), "-"], stdin=file, capture_output=True)
    piped = subprocess.run(
        [ours.COMMAND, *options(session), "-"], input=session.capture.read_bytes(), capture_output=True
    )
    assert redirected.stdout.decode() == piped.stdout.decode() == whole.stdout


def frames(capture: Path) -> Iterator[tuple[bytes, bytes]]:
    """The 16 bytes before each packet, and the packet."""
    data, pos = capture.read_bytes(), 24
    while pos < len(data):
        size = int.from_bytes(data[pos + 8 : pos + 12], "little")
        yield data[pos : pos + 16], data[pos + 16 : pos + 16 + size]
        pos += 16 + size


def segments(capture: Path, size: int) -> Iterator[list[bytes]]:
    """The packets of a capture, with each packet's data split into segments of this size."""
    for head, packet in frames(capture):
        assert packet[12:15] == b"\x08\x00\x45"  # IPv4 without options on Ethernet
        begin = 34 + (packet[46] >> 4) * 4
        (sequence,) = struct.unpack(">I", packet[38:42])
        data = packet[begin : 14 + int.from_bytes(packet[16:18])]
        pieces = []
        for at in range(0, len(data), size) or (0,):
            header = packet[34:38] + struct.pack(">I", (sequence + at) & 0xFFFFFFFF) + packet[42:begin]
            ip = packet[14:16] + struct.pack(">H", begin - 14 + len(data[at : at + size])) + packet[18:34]
            whole = packet[:14] + ip + header + data[at : at + size]
            pieces.append(head[:8] + struct.pack("<II", len(whole), len(whole)) + whole)
        yield pieces


def test_records_across_reordered_segments(session: Session, tmp_path: Path) -> None:
    other = tmp_path / "other.pcap"
    pieces = (packet[::-1] * 2 for packet in segments(session.capture, 700))
    other.write_bytes(packets.pcap([]).ljust(24)[:24] + b"".join(b"".join(packet) for packet in pieces))
    assert decrypted(session, other) == session.expected


def directions(messages: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    c2s, s2c = ([message for message in messages if message[0] == name] for name in ("c2s", "s2c"))
    return c2s, s2c


def test_lost_bytes(session: Session, tmp_path: Path) -> None:
    """Earlier messages and other connections are decoded."""
    last = [packet for packet in frames(session.capture) if len(packet[1]) > 10_000][-1]
    lossy = tmp_path / "lossy.pcap"
    lossy.write_bytes(session.capture.read_bytes().replace(b"".join(last), b""))
    done = ours.run(*options(session), lossy, status=1)
    assert "error: TLS (" in done.stderr
    assert "bytes are lost; what follows cannot be decrypted [lost-bytes]" in done.stderr
    *others, last_said = said([json.loads(line) for line in done.stdout.splitlines()])
    assert others == session.expected[:-1]
    c2s, s2c = directions(last_said)
    all_c2s, all_s2c = directions(session.expected[-1])
    assert c2s == all_c2s
    *whole, broken = s2c  # a message of several records, some of which are lost
    assert whole == all_s2c[: len(whole)]
    assert broken[:7] == all_s2c[len(whole)][:7]
    assert len(s2c) < len(all_s2c)


def test_reports_each_connection_without_keys(session: Session, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong keys"
    wrong.write_text("# none\n")
    for arguments, words in (
        (("decode", "--port", session.port), "encrypted; with a key log (--keylog FILE) tshark can"),
        (options(session, wrong), "encrypted; tshark cannot decrypt it with this key log"),
    ):
        done = ours.run(*arguments, session.capture)
        assert done.stdout == ""
        assert done.stderr.count(f"note: TLS: {words}") == len(COMMANDS) == done.stderr.count("[encrypted]")


def test_truncated_capture(session: Session, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(session.capture.read_bytes()[:-30])
    done = ours.run(*options(session), cut, status=1)
    assert "[truncated-file]" in done.stderr
    assert "tshark could not decrypt all of it: tshark: The file" in done.stderr
    assert done.stdout.count("\n") == sum(map(len, session.expected))
