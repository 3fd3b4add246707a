"""Statistics and exchanges, compared with tshark on the same captures and with a real libvirtd."""

from __future__ import annotations

import json
import subprocess
import zlib
from base64 import b64decode
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.differential import ours, tshark
from tests.differential.libvirtd import Libvirtd
from tests.differential.tshark import Found

PORT = 16509
CALL, REPLY, EVENT = 0, 1, 2
KEEPALIVE = 0x6B656570
CAPTURES = ("virsh-domname.pcap", "tour.pcap", "stream-events-keepalive.pcap")

needs_tshark = pytest.mark.system("tshark")
every_capture = pytest.mark.parametrize("name", CAPTURES)


def number(message: Found, field: str) -> int:
    return message.header[field][0]


@pytest.fixture(scope="module")
def both(captures: Path) -> Any:
    """Our statistics and tshark's messages of a capture, read once."""
    if not tshark.has_dissector():
        pytest.skip("system test: tshark has no libvirt dissector (libvirt-wireshark)")
    known: dict[str, tuple[Any, list[Found]]] = {}

    def read(name: str) -> tuple[Any, list[Found]]:
        if name not in known:
            statistics = json.loads(ours.run("stats", "--top", "99999", captures / name).stdout)
            known[name] = statistics, tshark.messages(captures / name)
        return known[name]

    return read


@needs_tshark
@every_capture
def test_every_procedure_figure_matches_tshark(both: Any, name: str) -> None:
    found, messages = both(name)
    wanted: dict[int, dict[str, Any]] = {}
    latencies: defaultdict[int, list[int]] = defaultdict(list)
    waiting: dict[tuple[int, int], int] = {}
    for message in messages:
        if number(message, "type") == EVENT:
            continue
        procedure = number(message, "procedure")
        row = wanted.setdefault(procedure, {"calls": 0, "errors": 0, "bytes_c2s": 0, "bytes_s2c": 0})
        row["bytes_c2s" if message.to_port == PORT else "bytes_s2c"] += number(message, "length")
        exchange = (message.stream, number(message, "serial"))
        if number(message, "type") == CALL:
            row["calls"] += 1
            waiting[exchange] = message.time_ns
        elif number(message, "type") == REPLY:
            row["errors"] += number(message, "status") == 1
            latencies[procedure].append(message.time_ns - waiting.pop(exchange))
    assert waiting == {}
    assert len(wanted) == len(found["procedures"]) > {"tour.pcap": 100}.get(name, 5)
    for row in found["procedures"]:
        figures = wanted[row["proc"]]
        assert {figure: row[figure] for figure in figures} == figures
        assert (row["unanswered"], row["without_call"]) == (0, 0)
        ordered = sorted(latencies[row["proc"]])
        rank = {percent: -(-percent * len(ordered) // 100) - 1 for percent in (50, 90, 99)}
        assert row["latency"] == {
            "count": len(ordered),
            "total_ns": sum(ordered),
            "min_ns": ordered[0],
            "mean_ns": round(sum(ordered) / len(ordered)),
            "p50_ns": ordered[rank[50]],
            "p90_ns": ordered[rank[90]],
            "p99_ns": ordered[rank[99]],
            "max_ns": ordered[-1],
        }
    slowest = sorted((taken for all_ in latencies.values() for taken in all_), reverse=True)
    assert [slow["latency_ns"] for slow in found["slowest"]] == slowest


@needs_tshark
@every_capture
def test_totals_and_connections_match_tshark(both: Any, name: str) -> None:
    found, messages = both(name)
    totals = found["totals"]
    assert totals["messages"] == len(messages)
    assert totals["bytes"] == sum(number(message, "length") for message in messages)
    assert (totals["start_ns"], totals["end_ns"]) == (messages[0].time_ns, messages[-1].time_ns)
    events = [message for message in messages if number(message, "type") == EVENT]
    keepalive = [message for message in events if number(message, "program") == KEEPALIVE]
    assert totals["events"] == len(events) - len(keepalive)
    assert totals["pings"] == sum(number(message, "procedure") == 1 for message in keepalive)
    assert totals["pongs"] == sum(number(message, "procedure") == 2 for message in keepalive)
    streams: defaultdict[int, list[Found]] = defaultdict(list)
    for message in messages:
        streams[message.stream].append(message)
    for connection, each in zip(found["connections"], streams.values(), strict=True):
        assert connection["messages"] == len(each)
        assert connection["duration_ns"] == each[-1].time_ns - each[0].time_ns
        assert connection["calls"] == sum(number(message, "type") == CALL for message in each)
        assert connection["bytes_c2s"] == sum(number(m, "length") for m in each if m.to_port == PORT)
        assert (connection["auth"]["method"], connection["auth"]["result"]) == ("none", "ok")
        assert connection["opened"]["uri"] == "test:///default"
        assert connection["closed"]


def is_png(data: bytes) -> bool:
    """Check the signature, the chunks' checksums, the end marker and the compressed pixels."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, kinds, pixels = 8, [], b""
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + size : at + 12 + size])
        kinds.append(kind)
        pixels += body if kind == b"IDAT" else b""
        at += size + 12
    assert (kinds[0], kinds[-1], at) == (b"IHDR", b"IEND", len(data))
    return len(zlib.decompress(pixels)) > 0


def downloaded(lines: list[dict[str, Any]]) -> bytes:
    """The data that the server sent over a stream."""
    return b"".join(b64decode(line["data"] or "") for line in lines if line["dir"] == "s2c")


def test_screenshot_stream_matches_sent_image(captures: Path) -> None:
    """Every byte of a stream is present; Wireshark's dissector drops 28 of each message."""
    options = ("--procedure", "domain_screenshot", "--type", "stream")
    assert is_png(downloaded(ours.decode(captures / "stream-events-keepalive.pcap", *options)))


@pytest.mark.system("libvirtd", "virsh", "tcpdump")
def test_screenshot_of_real_libvirtd(libvirtd: Libvirtd, tmp_path: Path) -> None:
    capture, picture = tmp_path / "screenshot.pcap", tmp_path / "picture.png"
    with libvirtd.recorded(capture):
        libvirtd.virsh("screenshot", "test", str(picture))
    options = ("--port", str(libvirtd.port), "--procedure", "domain_screenshot")
    data = downloaded(ours.decode(capture, *options, "--type", "stream"))
    assert data == picture.read_bytes()
    (line,) = ours.decode(capture, *options, "--exchanges")
    assert (line["outcome"], line["stream"]["end"]) == ("ok", "finished")
    assert (line["stream"]["bytes_s2c"], line["stream"]["bytes_c2s"]) == (len(data), 0)
    assert line["reply"]["payload"] == {"mime": "image/png"}


PYTHON = "/usr/bin/python3"
ABORTS = """
import libvirt, sys
domain = libvirt.open(sys.argv[1]).lookupByName("test")
for end in ("abort", "finish", "abort"):
    stream = domain.connect().newStream()
    domain.screenshot(stream, 0)
    assert len(stream.recv(1000)) == 1000
    getattr(stream, end)()
"""


@pytest.mark.system("libvirtd", "tcpdump", PYTHON)
def test_streams_aborted_by_client(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """The daemon confirms the abort, and its last data may cross it. The client is libvirt's Python binding,
    run by the system's Python."""
    if subprocess.run([PYTHON, "-c", "import libvirt"], capture_output=True).returncode:
        pytest.skip("system test: python3-libvirt not installed")
    capture = tmp_path / "aborts.pcap"
    with libvirtd.recorded(capture):
        uri = f"test+tcp://127.0.0.1:{libvirtd.port}/default"
        subprocess.run([PYTHON, "-c", ABORTS, uri], check=True, timeout=60)
    options = ("--port", str(libvirtd.port), "--procedure", "domain_screenshot")
    lines = ours.decode(capture, *options, "--exchanges")
    assert [line["stream"]["end"] for line in lines] == ["aborted", "finished", "aborted"]
    assert sum(line["messages"] for line in lines) == len(ours.decode(capture, *options))


@pytest.mark.system("libvirtd", "virsh", "tcpdump")
def test_every_call_of_real_client_has_a_reply(libvirtd: Libvirtd, tmp_path: Path) -> None:
    capture = tmp_path / "virsh.pcap"
    with libvirtd.recorded(capture):
        libvirtd.virsh("list", "--all")
        libvirtd.virsh("domid", "nosuch", fails=True)
        libvirtd.virsh("pool-list")
    lines = ours.decode(capture, "--port", str(libvirtd.port), "--exchanges")
    assert {line["outcome"] for line in lines} == {"ok", "error"}
    assert [line["procedure"] for line in lines if line["outcome"] == "error"] == ["domain_lookup_by_name"]
    assert all(line["latency_ns"] > 0 for line in lines)
    by_connection: dict[str, list[int]] = {}
    for line in lines:
        by_connection.setdefault(line["conn"], []).append(line["serial"])
    assert len(by_connection) == 3
    for serials in by_connection.values():
        assert serials == list(range(len(serials)))
