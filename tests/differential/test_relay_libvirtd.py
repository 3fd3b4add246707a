"""The relay between real clients and a real libvirtd: it is transparent and sees everything."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.differential import ours, tshark
from tests.differential.libvirtd import Libvirtd
from tests.support.frames import frame, text, word
from tests.support.relays import PATIENCE, connect, relay

pytestmark = pytest.mark.system("libvirtd", "virsh", "tcpdump")

COMMANDS = [
    ("list", "--all"),
    ("domuuid", "test"),
    ("dumpxml", "test"),
    ("capabilities",),
    ("net-list", "--all"),
    ("schedinfo", "test"),
    ("vol-list", "default-pool"),
]
FAILS = ("domid", "nosuch")


def end(kind: str, libvirtd: Libvirtd) -> str:
    return f"unix:{libvirtd.socket}" if kind == "unix" else f"tcp:127.0.0.1:{libvirtd.port}"


def front(kind: str, tmp_path: Path) -> str:
    return f"unix:{tmp_path}/front" if kind == "unix" else "tcp:127.0.0.1:0"


def uri(address: str) -> str:
    kind, _, place = address.partition(":")
    return f"test+unix:///default?socket={place}" if kind == "unix" else f"test+tcp://{place}/default"


def printed(libvirtd: Libvirtd, at: str) -> list[str]:
    said = [libvirtd.virsh(*command, uri=at) for command in COMMANDS]
    return [*said, libvirtd.virsh(*FAILS, uri=at, fails=True)]


@pytest.mark.releases
@pytest.mark.parametrize("kinds", ["unix-unix", "tcp-tcp", "unix-tcp", "tcp-unix"])
def test_virsh_output_is_unchanged(libvirtd: Libvirtd, tmp_path: Path, kinds: str) -> None:
    listen, connect_to = kinds.split("-")
    expected = printed(libvirtd, uri(end(connect_to, libvirtd)))
    options = ["--format", "jsonl", "-o", tmp_path / "out"]
    with relay(front(listen, tmp_path), end(connect_to, libvirtd), *options) as running:
        assert printed(libvirtd, uri(running.address)) == expected
        status, _, err = running.end()
    lines = read(tmp_path / "out")
    errors = sum(line["status"] == "error" for line in lines)
    assert errors > 0
    assert (status, err.count(f", {errors} server error{'s' if errors > 1 else ''}\n")) == (0, 1)
    calls = Counter(line["conn"] for line in lines if line["type"] == "call")
    assert all(line["error"] is None for line in lines)
    if listen == "tcp":
        assert len(calls) == len(expected)
    assert {line["procedure"] for line in lines} > {"auth_list", "domain_get_xml_desc", "connect_close"}


@pytest.mark.releases
def test_messages_match_tcpdump(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """Also recorded: all three are equal except for the client's address."""
    capture, record, output = (tmp_path / name for name in ("tcpdump", "record", "out"))
    options = ["--format", "jsonl", "-o", output, "-w", record]
    with (
        libvirtd.recorded(capture),
        relay(front("unix", tmp_path), end("tcp", libvirtd), *options) as running,
    ):
        printed(libvirtd, uri(running.address))
        assert running.end()[0] == 0
    captured = ours.decode(capture, "--port", str(libvirtd.port))
    shown = read(output)
    assert len(shown) > 100
    assert [what(line) for line in shown] == [what(line) for line in captured]
    again = ours.decode(record)
    assert [(what(line), line["time_ns"]) for line in again] == [
        (what(line), line["time_ns"]) for line in shown
    ]


@pytest.mark.releases
def test_figures_match_capture(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """`--stats` compared with `stats` of the tcpdump capture (test_stats.py compares that with tshark)."""
    capture, output = tmp_path / "tcpdump", tmp_path / "out"
    options = ["--stats", "--format", "jsonl", "-o", output]
    with (
        libvirtd.recorded(capture),
        relay(front("unix", tmp_path), end("tcp", libvirtd), *options) as running,
    ):
        printed(libvirtd, uri(running.address))
        assert running.end()[0] == 0
    found = json.loads(output.read_text())
    done = ours.run("stats", "--format", "json", "--port", str(libvirtd.port), capture)
    expected = json.loads(done.stdout)
    assert counts(found) == counts(expected)
    assert found["totals"]["messages"] == expected["totals"]["messages"] > 100


@pytest.mark.system("tshark")
def test_recording_has_every_message_for_tshark(libvirtd: Libvirtd, tmp_path: Path) -> None:
    if not tshark.has_dissector():
        pytest.skip("tshark has no libvirt dissector")
    record, output = tmp_path / "record", tmp_path / "out"
    options = ["--format", "jsonl", "-o", output, "-w", record]
    with relay(front("unix", tmp_path), end("unix", libvirtd), *options) as running:
        printed(libvirtd, uri(running.address))
        assert running.end()[0] == 0
    found = [
        (one.time_ns, one.header["serial"][0], one.header["length"][0]) for one in tshark.messages(record)
    ]
    assert found == [(line["time_ns"], line["serial"], line["length"]) for line in read(output)]


#: auth_list, connect_open("test:///default", 0), connect_get_capabilities, connect_list_domains and
#: connect_close.
TALK = [
    frame(proc=66, serial=0),
    frame(word(1) + text(b"test:///default") + word(0), proc=1, serial=1),
    frame(proc=7, serial=2),
    frame(word(16), proc=37, serial=3),
    frame(proc=2, serial=4),
]


def talk(one: socket.socket, call: bytes) -> bytes:
    one.sendall(call)
    head = one.recv(4, socket.MSG_WAITALL)
    (length,) = struct.unpack(">I", head)
    return head + one.recv(length - 4, socket.MSG_WAITALL)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_200_concurrent_clients_lose_no_byte(libvirtd: Libvirtd, tmp_path: Path, kind: str) -> None:
    """All are connected at the same time, together with a few virsh."""
    count, virshes = 200, 6
    with connect(end(kind, libvirtd)) as one:
        expected = [talk(one, call) for call in TALK]
    assert len(expected[2]) > 1000
    output, record = tmp_path / "out", tmp_path / "record"
    options = ["--format", "jsonl", "-o", output, "-w", record]
    with relay(front(kind, tmp_path), end(kind, libvirtd), *options) as running:
        together = threading.Barrier(count)

        def client(number: int) -> list[bytes]:
            with connect(running.address) as one:
                replies = [talk(one, TALK[0])]
                together.wait(PATIENCE)
                return replies + [talk(one, call) for call in TALK[1:]]

        with ThreadPoolExecutor(count + virshes) as pool:
            talks = [pool.submit(client, number) for number in range(count)]
            lists = [
                pool.submit(libvirtd.virsh, "list", "--all", uri=uri(running.address)) for _ in range(virshes)
            ]
            replies = [one.result() for one in talks]
            assert len({one.result() for one in lists}) == 1
        status, _, err = running.end()
    assert replies == [expected] * count
    assert (status, err.count(", no problems\n")) == (0, 1)
    shown = read(output)
    by_serial = Counter(
        (line["dir"], line["serial"], line["length"]) for line in shown if line["program"] == "remote"
    )
    for serial, (call, reply) in enumerate(zip(TALK, expected, strict=True)):  # virsh may report this as well
        assert by_serial["c2s", serial, len(call)] >= count
        assert by_serial["s2c", serial, len(reply)] >= count
    assert [what(line) for line in ours.decode(record)] == [what(line) for line in shown]
    if kind == "tcp":
        assert len({line["conn"] for line in shown}) == count + virshes


def counts(figures: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Per procedure, the figures that do not depend on the clock."""
    keys = ("calls", "errors", "unanswered", "bytes_c2s", "bytes_s2c")
    return {each["procedure"]: tuple(each[key] for key in keys) for each in figures["procedures"]}


def read(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def what(line: dict[str, Any]) -> dict[str, Any]:
    """Everything except time and peer."""
    return {key: value for key, value in line.items() if key not in ("time_ns", "conn", "frame")}
