"""tshark sees the same bytes, and other forms of a capture give the same Chunks."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from libvirt_proto.capture.sources import open_source
from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Captured, Chunk, Closed, Notice
from libvirt_proto.rpc.message import decode_message
from tests.support import packets

CAPTURES = ["tour.pcap", "stream-events-keepalive.pcap", "virsh-domname.pcap"]
PROGRAMS = frozenset((0x20008086, 0x20008087, 0x06900690, 0x6B656570))


def run(*command: str | Path) -> str:
    return subprocess.run(
        [str(word) for word in command],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout


def fields(path: Path, display_filter: str, *names: str) -> list[list[str]]:
    words = [word for name in names for word in ("-e", name)]
    output = run("tshark", "-r", path, "-Y", display_filter, "-T", "fields", *words)
    return [line.split("\t") for line in output.splitlines()]


def streams(items: list[Chunk | Notice]) -> dict[tuple[str, str], bytes]:
    """(source, destination) → bytes."""
    found: dict[tuple[str, str], bytes] = defaultdict(bytes)
    for item in items:
        assert isinstance(item, Chunk), item
        ends = (item.connection.client, item.connection.server)
        if item.data:
            found[ends if item.direction == "c2s" else ends[::-1]] += item.data
    return dict(found)


@pytest.mark.system("tshark")
@pytest.mark.parametrize("name", CAPTURES)
def test_bytes_of_each_direction(captures: Path, name: str) -> None:
    names = ("ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "tcp.payload")
    expected: dict[tuple[str, str], bytes] = defaultdict(bytes)
    rows = fields(captures / name, "tcp.len > 0 && !tcp.analysis.retransmission", *names)
    for source, sport, destination, dport, payload in rows:
        expected[f"{source}:{sport}", f"{destination}:{dport}"] += bytes.fromhex(payload.replace(":", ""))
    assert streams(list(open_source(str(captures / name)))) == expected


@pytest.mark.system("tshark")
@pytest.mark.parametrize("name", CAPTURES)
def test_headers_times_and_packets_of_each_message(captures: Path, name: str) -> None:
    header = ("libvirt.length", "libvirt.procedure", "libvirt.serial", "libvirt.type", "libvirt.status")
    expected = []
    for number, time, stream, *columns in fields(
        captures / name, "libvirt", "frame.number", "frame.time_epoch", "tcp.stream", *header
    ):
        seconds, fraction = time.split(".")
        time_ns = int(seconds) * 10**9 + int(fraction[:9].ljust(9, "0"))
        # A frame with several messages has its fields separated by commas.
        rows = zip(*(column.split(",") for column in columns), strict=True)
        expected += [
            (int(number), time_ns, int(stream) + 1, *(int(value, 0) for value in row)) for row in rows
        ]
    found = []
    for item in messages(open_source(str(captures / name)), decode_message, programs=PROGRAMS):
        if isinstance(item, Closed):
            continue
        assert isinstance(item, Captured), item
        message, one = item.message, item.message.header
        found.append(
            (
                item.packet,
                item.time_ns,
                item.connection.id,
                message.length,
                one.proc,
                one.serial,
                one.type,
                one.status,
            )
        )
    assert found == expected


FORMS = {
    "pcapng": ["editcap", "-F", "pcapng"],
    "nanoseconds": ["editcap", "-F", "nsecpcap"],
    "modified pcapng with a comment": ["editcap", "-F", "pcapng", "--capture-comment", "a comment"],
}


@pytest.mark.system("editcap")
@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_a_capture(captures: Path, tmp_path: Path, form: str) -> None:
    source, target = captures / "tour.pcap", tmp_path / "other"
    run(*FORMS[form], source, target)
    assert target.read_bytes()[:24] != source.read_bytes()[:24]
    assert list(open_source(str(target))) == list(open_source(str(source)))


@pytest.mark.system("editcap", "mergecap")
def test_two_captures_merged(captures: Path, tmp_path: Path) -> None:
    """Each half separately, and both combined by mergecap (pcapng, two interfaces)."""
    source = captures / "stream-events-keepalive.pcap"
    halves = [tmp_path / "first", tmp_path / "second"]
    run("editcap", "-r", source, halves[0], "1-100")
    run("editcap", source, halves[1], "1-100")
    run("mergecap", "-I", "none", "-w", tmp_path / "merged", *halves[::-1])
    assert list(open_source(str(tmp_path / "merged"))) == list(open_source(str(source)))


@pytest.mark.system("tshark", "editcap")
def test_packet_numbers_of_messages_in_many_packets(captures: Path, tmp_path: Path) -> None:
    """Other traffic in between, and messages across segments: the packet that completes a message counts."""
    flow = packets.Talk()
    call = packets.message(proc=66, serial=1)
    sent = [*flow.handshake(), flow.packet("c2s", call[:10]), packets.ethernet(b"", 0x0806)]
    sent += [flow.packet("c2s", call[10:] + call[:4]), flow.packet("s2c", b""), flow.packet("c2s", call[4:])]
    (tmp_path / "x.pcap").write_bytes(packets.pcap(sent))
    run("editcap", "-F", "pcapng", tmp_path / "x.pcap", tmp_path / "x.pcapng")
    for file in ("x.pcap", "x.pcapng"):
        shown = [int(number) for [number] in fields(tmp_path / file, "libvirt", "frame.number")]
        found = messages(open_source(str(tmp_path / file)), decode_message, programs=PROGRAMS)
        assert [item.packet for item in found if isinstance(item, Captured)] == shown == [6, 8]


@pytest.mark.system("editcap")
def test_snapshot_length(captures: Path, tmp_path: Path) -> None:
    """Every captured byte is returned, every missing byte is counted."""
    source, target = captures / "virsh-domname.pcap", tmp_path / "cut"
    run("editcap", "-s", "90", source, target)
    whole = streams(list(open_source(str(source))))
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    notices = []
    for item in open_source(str(target)):
        if isinstance(item, Notice):
            notices.append(item.code)
            continue
        ends = (item.connection.client, item.connection.server)
        total = totals[ends if item.direction == "c2s" else ends[::-1]]
        total[0] += len(item.data)
        total[1] += item.cut
    assert notices == ["cut-packets"]
    assert {ends: sum(total) for ends, total in totals.items()} == {
        ends: len(data) for ends, data in whole.items()
    }
    assert sum(total[1] for total in totals.values()) > 0


@pytest.mark.system("editcap")
def test_truncated_messages_keep_their_times(captures: Path, tmp_path: Path) -> None:
    """A message is complete with its truncated packet, not with the next one."""
    source, target = captures / "virsh-domname.pcap", tmp_path / "cut"
    run("editcap", "-s", "96", source, target)
    whole, cut = (
        [
            (item.time_ns, item.direction, item.message.header, item.message.length)
            for item in messages(open_source(str(path)), decode_message, programs=PROGRAMS)
            if isinstance(item, Captured)
        ]
        for path in (source, target)
    )
    assert len(cut) == 18
    assert cut == whole
