"""tshark reads recordings without warnings, with correct checksums, and with the original's messages."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from libvirt_proto import registry
from libvirt_proto.capture.pcap.recorder import Recorder, recorded
from libvirt_proto.events import Chunk, Connection, Item
from tests.differential import ours, tshark
from tests.support.frames import frame
from tests.support.markers import few_frames
from tests.support.markers import found as markers_found

pytestmark = pytest.mark.system("tshark")

CHECKS = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]


def run(capture: Path, *options: str) -> str:
    command = ["tshark", "-r", str(capture), *CHECKS, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "appears to" not in done.stderr
    return done.stdout


def grave(capture: Path) -> list[str]:
    """tshark's expert messages of the two worst grades."""
    said = run(capture, "-q", "-z", "expert,warn")
    return re.findall(r"^ +\d+ .*", said, re.MULTILINE)


def record(path: Path, items: list[Item]) -> Path:
    with path.open("wb") as file:
        assert list(recorded(items, Recorder(file))) == items
    return path


@pytest.mark.parametrize("name", ["tour.pcap", "stream-events-keepalive.pcap"])
def test_messages_of_recorded_capture(captures: Path, tmp_path: Path, name: str) -> None:
    if not tshark.has_dissector():
        pytest.skip("tshark has no libvirt dissector")
    target = tmp_path / "record.pcapng"
    ours.run("decode", "-w", target, captures / name)
    assert grave(target) == []
    found, expected = tshark.messages(target), tshark.messages(captures / name)
    assert [(one.time_ns, one.to_port, one.header) for one in found] == [
        (one.time_ns, one.to_port, one.header) for one in expected
    ]
    assert len(found) > 100


def test_headers_of_recorded_log(captures: Path, tmp_path: Path) -> None:
    """The log has no payloads: each message is a truncated packet with the time of its line."""
    if not tshark.has_dissector():
        pytest.skip("tshark has no libvirt dissector")
    source, target = captures / "libvirtd-rpc-info.log", tmp_path / "record.pcapng"
    ours.run("decode", "-w", target, source)
    said = [json.loads(line) for line in ours.run("decode", source).stdout.splitlines()]
    again = [json.loads(line) for line in ours.run("decode", target, status=1).stdout.splitlines()]
    names = ("time_ns", "dir", "length", "prog", "vers", "proc", "type", "status", "serial")
    expected = [tuple(line[name] for name in names) for line in said if "event" not in line]
    assert [tuple(line[name] for name in names) for line in again] == expected
    assert [(one.time_ns, one.header["procedure"][0]) for one in tshark.messages(target)] == [
        (line["time_ns"], line["proc"]) for line in said if "event" not in line
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("192.0.2.7:40000", "192.0.2.1:16509", "tcp"),
        ("[2001:db8::7]:40000", "[2001:db8::1]:16509", "tcp"),
        ("192.0.2.7:40000", "192.0.2.1:16514", "tls"),
        ("virsh", "/run/libvirt/libvirt-sock", "unix"),
    ],
)
def test_recorded_conversation(tmp_path: Path, names: tuple[str, str, str]) -> None:
    """With messages that span several packets, and odd lengths."""
    connections = [Connection(n, *names) for n in (1, 2)]
    sizes = [0, 4, 1000, 65_001, 300_001]
    items: list[Item] = []
    for connection in connections:
        for n, size in enumerate(sizes):
            call, reply = (frame(bytes(size), type_=3, status=2, serial=n) for _ in range(2))
            items.append(Chunk(connection, "c2s", 10**18 + n, call))
            items.append(Chunk(connection, "s2c", 10**18 + n, reply))
        items += [Chunk(connection, way, 10**18 + 9, b"", end=True) for way in ("c2s", "s2c")]
    path = record(tmp_path / "x.pcapng", items)
    assert grave(path) == []
    lengths = run(path, "-Y", "libvirt", "-T", "fields", "-e", "libvirt.length").replace(",", "\n").split()
    assert lengths == [str(size + 28) for size in sizes for _ in range(2)] * 2
    assert run(path, "-T", "fields", "-e", "tcp.stream").split()[-1] == "1"
    comments = run(path, "-T", "fields", "-e", "frame.comment").split("\n")
    kept = names[2] == "tcp"
    assert comments[0] == ("" if kept else "{} → {} ({})".format(*names))


def test_truncated_messages_are_shown_up_to_the_cut(tmp_path: Path) -> None:
    connection = Connection(1, "a", "b", "unix")
    call = frame(bytes(100), proc=66)
    items: list[Item] = [
        Chunk(connection, "c2s", 1, call[:28], cut=100),
        Chunk(connection, "c2s", 2, call),
        Chunk(connection, "c2s", 3, b"", lost=70_000),
        Chunk(connection, "c2s", 4, call),
        Chunk(connection, "c2s", 5, call, lost=-1),
    ]
    path = record(tmp_path / "x.pcapng", items)
    assert "Malformed" not in run(path, "-V")
    procedures = run(path, "-Y", "libvirt", "-T", "fields", "-e", "libvirt.procedure").split()
    assert procedures == ["66"] * 4


@pytest.mark.parametrize("option", ["--redact", "--redact=all"])
@pytest.mark.parametrize("name", ["tour.pcap", "stream-events-keepalive.pcap"])
def test_redacted_capture(captures: Path, tmp_path: Path, name: str, option: str) -> None:
    if not tshark.has_dissector():
        pytest.skip("tshark has no libvirt dissector")
    target = tmp_path / "record.pcapng"
    ours.run("decode", option, "-w", target, captures / name)
    assert grave(target) == []
    found, expected = tshark.messages(target), tshark.messages(captures / name)
    assert [(one.time_ns, one.to_port, one.header) for one in found] == [
        (one.time_ns, one.to_port, one.header) for one in expected
    ]


def test_tshark_finds_no_secret_in_a_redacted_capture(tmp_path: Path) -> None:
    source, target = tmp_path / "secrets.pcapng", tmp_path / "record.pcapng"
    connection = Connection(1, "192.0.2.7:40000", "192.0.2.1:16509")
    frames = few_frames(registry.default())
    record(source, [Chunk(connection, way, n, data) for n, (way, data) in enumerate(frames)])
    ours.run("decode", "--redact", "-w", target, source)
    assert markers_found(run(source, "-V", "-x"))
    assert markers_found(run(target, "-V", "-x")) == []
