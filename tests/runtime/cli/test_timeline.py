"""`decode --exchanges --format chrome-trace`: the document as a whole, and the options that it supports."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.differential import ours
from tests.support.trace_events import Trace, read

TIMELINE = ("decode", "--exchanges", "--format", "chrome-trace")
CAPTURES = [
    "virsh-domname.pcap",
    "tour.pcap",
    "stream-events-keepalive.pcap",
    "strace-yy-unix-dominfo.txt",
    "strace-plain-unix-list.txt",
    "strace-yy-virt-admin.txt",
    "libvirtd-rpc-info.log",
]
#: Seconds; only a fault exceeds them.
PATIENCE = 60


def timeline(*words: str | Path, status: int = 0) -> Trace:
    return read(ours.run(*TIMELINE, *words, status=status).stdout.encode())


def calls(trace: Trace) -> list[dict[str, Any]]:
    return [event for event in trace.of("X") if event["name"] != "stream"]


@pytest.mark.parametrize("name", CAPTURES)
def test_exchanges_are_those_of_json_lines(captures: Path, name: str) -> None:
    done = ours.run("decode", "--exchanges", "--format", "jsonl", captures / name)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    trace = timeline(captures / name)
    found = calls(trace)
    assert len(found) == len(lines)
    for event, line in zip(found, lines, strict=True):
        for key in ("n", "outcome", "serial", "latency_ns", "overtaken", "bytes_c2s", "bytes_s2c", "object"):
            assert event["args"].get(key) == line[key], key
        assert event["name"] == f"{line['program']}.{line['procedure']}"
        assert trace.processes[event["pid"]] == f"{line['conn']} ({name})"
        parts = [line["call"], line["reply"], *([line["stream"]["error"]] if line["stream"] else [])]
        numbers = [part["n"] for part in parts if part]
        if numbers:
            assert event["args"]["messages"] == numbers
        assert int(trace.about["start_ns"]) + event["ts"] == line["time_ns"]
    streams = [line["stream"] for line in lines if line["stream"]]
    assert len(trace.of("X")) - len(found) == len(streams)


def test_events_are_those_of_json_lines(captures: Path) -> None:
    for name in ("stream-events-keepalive.pcap", "libvirtd-rpc-info.log"):
        done = ours.run("decode", "--format", "jsonl", captures / name)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        expected = [
            line["time_ns"]
            for line in lines
            if "event" in line or line["type"] == "message" or line["program"] == "keepalive"
        ]
        trace = timeline(captures / name)
        assert [int(trace.about["start_ns"]) + event["ts"] for event in trace.of("i")] == expected
        assert expected


def test_several_files_and_merge(captures: Path, tmp_path: Path) -> None:
    one, two = captures / "virsh-domname.pcap", captures / "tour.pcap"
    both = timeline(one, two)
    assert len(both.of("X")) == len(timeline(one).of("X")) + len(timeline(two).of("X"))
    copy = tmp_path / "copy.pcap"
    copy.write_bytes(one.read_bytes())
    assert len(timeline("--merge", one, one).of("X")) == len(timeline(one).of("X"))
    merged = timeline("--merge", one, copy)
    assert len(merged.of("X")) == 2 * len(timeline(one).of("X"))
    assert len(merged.of("s")) == len(timeline(one).of("X"))


def test_acl_and_errors(captures: Path) -> None:
    (event,) = calls(timeline("--acl", "--procedure", "domain_lookup_by_id", captures / "virsh-domname.pcap"))
    assert event["args"]["access"]["acl"] == ["domain:getattr"]
    failed = calls(timeline("--errors-only", captures / "tour.pcap"))
    assert failed
    assert {event["cname"] for event in failed} == {"terrible"}
    assert all(event["args"]["error"].startswith("VIR_ERR_") for event in failed)


def test_redaction_applies(captures: Path) -> None:
    plain, blanked = (
        timeline(*options, "--procedure", "domain_*", captures / "tour.pcap")
        for options in ((), ("--redact=all",))
    )
    assert blanked.about["redacted"] == "all"
    assert any(event["args"].get("object", {}).get("name") == "test" for event in plain.of("X"))
    assert not any(event["args"].get("object", {}).get("name") == "test" for event in blanked.of("X"))


def test_input_without_clock_is_an_error(captures: Path) -> None:
    done = ours.run(*TIMELINE, captures / "hand-made-messages.hex", status=1)
    assert read(done.stdout.encode()).of("X") == []
    assert "[not-in-timeline]" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["decode", "--format", "chrome-trace"], "add --exchanges"),
        ([*TIMELINE, "--time", "delta"], "requires --time relative or absolute, got delta"),
        ([*TIMELINE, "--time", "none"], "requires --time relative or absolute, got none"),
        ([*TIMELINE, "--jobs", "2"], "--format chrome-trace requires --jobs 1"),
        ([*TIMELINE, "--type", "call"], "--type selects messages"),
    ],
)
def test_refuses_options_by_name(captures: Path, words: list[str], said: str) -> None:
    file = captures / "virsh-domname.pcap"
    done = ours.run(*words, file, file, status=2)
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("follow", [True, False])
def test_interrupted_document_is_complete(
    captures: Path, tmp_path: Path, number: signal.Signals, follow: bool
) -> None:
    """Followed, or read from a pipe that stays open: a call without a reply is in it, too."""
    capture = captures / "virsh-domname.pcap"
    last = ours.decode(capture)[-1]
    assert last["type"] == "reply"
    data = packets_before(last["frame"], capture.read_bytes())
    growing, shown = tmp_path / "growing.pcap", tmp_path / "trace.json"
    growing.write_bytes(data)
    words = [ours.COMMAND, *TIMELINE, "-o", shown, *(["--follow", growing] if follow else ["-"])]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(data)
        process.stdin.flush()
        end = time.monotonic() + PATIENCE
        while not (shown.exists() and shown.read_bytes().count(b'"ph":"X"') == 8):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        process.wait(PATIENCE)
    assert [event["cat"] for event in read(shown.read_bytes()).of("X")] == ["ok"] * 8 + ["pending"]


def packets_before(number: int, data: bytes) -> bytes:
    """The beginning of a capture, without a packet and all that follow."""
    pos = 24
    for _ in range(number - 1):
        (size,) = struct.unpack_from("<I", data, pos + 8)
        pos += 16 + size
    return data[:pos]


def test_lost_reader_ends_it(captures: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [ours.COMMAND, *TIMELINE, captures / "tour.pcap"]
    with open(writing, "wb") as pipe:
        done = subprocess.run(words, stdout=pipe, stderr=subprocess.PIPE, timeout=PATIENCE)
    assert b"Traceback" not in done.stderr
    assert b"internal error" not in done.stderr
