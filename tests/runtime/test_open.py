"""`libvirt_proto.open`: captures as Python values, compared with what the command line writes."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import libvirt_proto
from libvirt_proto import (
    CapturedMessage,
    CaptureError,
    ConnectionEvent,
    Filter,
    LibvirtError,
    ProtocolError,
    SourceError,
    Status,
    Type,
    registry,
)
from libvirt_proto.api import capture as module
from libvirt_proto.cli.main import main as cli
from libvirt_proto.events import Captured, Notice
from tests.support.frames import error_payload, frame

CAPTURES = [
    "hand-made-messages.hex",
    "libvirtd-rpc-info.log",
    "strace-plain-unix-list.txt",
    "strace-yy-unix-dominfo.txt",
    "strace-yy-virt-admin.txt",
    "stream-events-keepalive.pcap",
    "tour.pcap",
    "virsh-domname.pcap",
]


def test_these_are_all_captures(captures: Path) -> None:
    assert sorted(path.name for path in captures.iterdir()) == CAPTURES


def _advanced() -> io.BytesIO:
    """A file of which a byte has been read."""
    file = io.BytesIO(b"xy")
    file.read(1)
    return file


def lines(*arguments: str | Path) -> list[dict[str, Any]]:
    """The objects that a command writes."""
    result = CliRunner().invoke(cli, [*map(str, arguments)])
    return [json.loads(line) for line in result.stdout.splitlines()]


# Messages


@pytest.mark.parametrize("name", CAPTURES)
def test_messages_are_those_of_the_command_line(captures: Path, name: str) -> None:
    written = lines("decode", "--format", "jsonl", captures / name)
    with libvirt_proto.open(captures / name) as capture:
        assert [message.to_dict() for message in capture] == [line for line in written if "n" in line]
        events = [item for item in capture.timeline() if isinstance(item, ConnectionEvent)]
    assert [event.kind for event in events] == [line["event"] for line in written if "event" in line]


@pytest.mark.parametrize("name", CAPTURES)
def test_exchanges_are_those_of_the_command_line(captures: Path, name: str) -> None:
    written = lines("decode", "--format", "jsonl", "--exchanges", captures / name)
    with libvirt_proto.open(captures / name) as capture:
        assert [exchange.to_dict() for exchange in capture.exchanges()] == written


@pytest.mark.parametrize("name", CAPTURES)
def test_statistics_are_those_of_the_command_line(captures: Path, name: str) -> None:
    result = CliRunner().invoke(cli, ["stats", "--format", "json", str(captures / name)])
    with libvirt_proto.open(captures / name) as capture:
        figures = capture.statistics()
        assert capture.notice_counts == figures.totals.notices
        assert len(capture.notices) == sum(figures.totals.notices.values())
        assert sum(1 for _ in capture) == capture.read_messages == figures.totals.messages
    import msgspec

    assert json.loads(msgspec.json.encode(figures)) == json.loads(result.stdout)


def test_a_message_has_names_and_typed_values(captures: Path) -> None:
    with libvirt_proto.open(captures / "virsh-domname.pcap") as capture:
        found = list(capture)
    reply = next(each for each in found if each.procedure == "domain_lookup_by_id" and each.type == 1)
    assert isinstance(reply, CapturedMessage)
    assert (reply.program, reply.procedure, reply.direction) == ("remote", "domain_lookup_by_id", "s2c")
    assert (reply.type, reply.status) == (Type.VIR_NET_REPLY, Status.VIR_NET_OK)
    assert reply.payload.dom.name == "test"
    assert reply.serial == reply.message.header.serial
    assert reply.error is None
    assert reply.problem is None
    assert reply.time is not None
    assert reply.time.tzinfo is UTC
    assert reply.time_ns is not None
    assert reply.time == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=reply.time_ns // 1000)
    assert str(reply.connection).endswith(":16509")
    assert repr(reply) == f"<CapturedMessage {reply.n}: remote.domain_lookup_by_id reply #{reply.serial} s2c>"


def test_messages_of_packets_have_their_numbers(captures: Path) -> None:
    with libvirt_proto.open(captures / "virsh-domname.pcap") as capture:
        assert [message.frame for message in capture][-2:] == [22, 23]
    with libvirt_proto.open(captures / "libvirtd-rpc-info.log") as capture:
        assert {message.frame for message in capture} == {None}


def test_count_error_codes(captures: Path) -> None:
    """The example of README."""
    counts: Counter[str | None] = Counter()
    with libvirt_proto.open(captures / "tour.pcap") as capture:
        for message in capture:
            if message.error is not None:
                counts[message.error.code_name] += 1
        figures = capture.statistics()
    assert counts == {row.code_name: row.count for row in figures.errors}
    assert counts.total() == figures.totals.errors == 340


def test_an_error_of_the_server(captures: Path) -> None:
    with libvirt_proto.open(captures / "tour.pcap") as capture:
        error = next(m.error for m in capture if m.procedure == "domain_lookup_by_name" and m.error)
        failed = next(e for e in capture.exchanges() if e.procedure == "domain_lookup_by_name" and e.error)
    assert error == LibvirtError(
        42, "VIR_ERR_NO_DOMAIN", "Domain not found", 12, "VIR_FROM_TEST", 2, "VIR_ERR_ERROR"
    )
    assert str(error) == "VIR_ERR_NO_DOMAIN: Domain not found"
    assert (failed.error, failed.outcome) == (error, "error")
    assert failed.call is not None
    assert failed.reply is not None
    assert failed.reply.error == error
    assert failed.latency_ns == failed.reply.captured.time_ns - failed.call.captured.time_ns  # type: ignore[operator]
    assert repr(failed).endswith(f"remote.domain_lookup_by_name #{failed.serial} error>")


def test_a_malformed_payload_is_a_problem() -> None:
    broken = frame(error_payload(42, 10, b"x")[:-1], type_=1, status=1)
    with libvirt_proto.open(broken.hex().encode(), name="it") as capture:
        (message,) = capture
        assert capture.malformed == 1
    assert isinstance(message.problem, ProtocolError)
    assert message.to_dict()["error"]["message"] == str(message.problem)
    assert message.error is None
    assert message.payload.fields["code"] == 42


def test_unknown_numbers_have_no_names() -> None:
    data = frame(serial=1) + frame(prog=0x12345678, type_=1, status=1, serial=2)
    with libvirt_proto.open(data.hex().encode()) as capture:
        _, unknown = capture
    assert (unknown.program, unknown.procedure, unknown.time, unknown.time_ns) == (None,) * 4
    assert unknown.error is None


# Inputs


@pytest.mark.parametrize("name", CAPTURES)
def test_paths_files_and_bytes_are_equal(captures: Path, name: str, tmp_path: Path) -> None:
    data = (captures / name).read_bytes()
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(data))
    found = []
    with (captures / name).open("rb") as file:
        for source in (captures / name, str(captures / name), file, data, memoryview(data), packed):
            with libvirt_proto.open(source) as capture:
                found.append([message.to_dict() for message in capture])
        assert not file.closed
    assert found[0]
    assert all(each == found[0] for each in found)


def test_a_file_is_read_from_its_position_in_every_pass(captures: Path) -> None:
    file = io.BytesIO(b"four" + (captures / "virsh-domname.pcap").read_bytes())
    file.seek(4)
    with libvirt_proto.open(file, name="it") as capture:
        assert capture.name == "it"
        count = len(list(capture))
        assert count == len(list(capture)) > 0
        assert sum(each.exchange.messages for each in capture.exchanges()) > 0
    assert not file.closed


def test_a_pipe_is_read_once(captures: Path) -> None:
    read, write = os.pipe()
    data = (captures / "virsh-domname.pcap").read_bytes()
    with os.fdopen(write, "wb") as file:
        file.write(data)
    with os.fdopen(read, "rb") as file, libvirt_proto.open(file) as capture:
        count = len(list(capture))
        assert count > 0
        with pytest.raises(CaptureError, match="can be read only once"):
            iter(capture)
        with pytest.raises(CaptureError, match="can be read only once"):
            capture.exchanges()
        with pytest.raises(CaptureError, match="can be read only once"):
            capture.statistics()


def test_definitions(captures: Path, root: Path, tmp_path: Path) -> None:
    path = captures / "virsh-domname.pcap"

    def first(**options: Any) -> CapturedMessage:
        with libvirt_proto.open(path, **options) as capture:
            return next(m for m in capture if m.message.header.proc == 1)

    assert first().procedure == "connect_open"
    assert first(release="0.9.7").procedure == "open"
    assert first(registry=registry.release("0.9.7")).procedure == "open"
    assert first(defs=root / "protocol-defs" / "0.9.7").procedure == "open"
    with pytest.raises(LookupError, match=r"1\.2\.22"):
        first(release="1.2.22")
    with pytest.raises(ValueError, match="release and defs exclude each other"):
        first(release="0.9.7", defs=tmp_path)


def test_filters_redaction_and_ports(captures: Path) -> None:
    path = captures / "tour.pcap"
    chosen = Filter(registry.default(), procedures=["auth_list"])
    written = lines("decode", "--format", "jsonl", "--redact", "--procedure", "auth_list", path)
    with libvirt_proto.open(path, filter=chosen, redact="secrets", ports=[1]) as capture:
        assert [message.to_dict() for message in capture] == written
        assert (capture.shown, capture.read_messages) == (len(written), 5012)
        assert capture.statistics().totals.messages == len(written)
        assert [exchange.procedure for exchange in capture.exchanges()] == ["auth_list"]
        assert capture.shown == 2
    with pytest.raises(ValueError, match="got 'some'"):
        libvirt_proto.open(path, redact="some")  # type: ignore[arg-type]


def test_a_key_log_needs_tshark(captures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    keys = tmp_path / "keys"
    keys.write_bytes(b"")
    with pytest.raises(SourceError, match="tshark"):
        libvirt_proto.open(captures / "virsh-domname.pcap", keylog=keys)
    with libvirt_proto.open(captures / "hand-made-messages.hex", keylog=keys) as capture:
        assert list(capture)


def test_rejects_a_missing_key_log(captures: Path, tmp_path: Path) -> None:
    """tshark ignores one, and every connection would be reported as encrypted, or nothing at all."""
    for keylog, text in [
        (tmp_path / "none", "no such file"),
        (tmp_path, "expected a file, got a folder"),
        ("a\0b", "expected a file name"),
    ]:
        with pytest.raises(SourceError, match=text):
            libvirt_proto.open(captures / "virsh-domname.pcap", keylog=keylog)


def test_a_capture_shows_its_name(captures: Path) -> None:
    with libvirt_proto.open((captures / "virsh-domname.pcap").read_bytes()) as capture:
        assert repr(capture) == "<Capture 'bytes'>"


@pytest.mark.parametrize("kind", ["programs", "procedures", "types", "connections"])
def test_a_filter_needs_lists(kind: str) -> None:
    """A string is iterable, too: each of its letters would be a pattern."""
    with pytest.raises(TypeError, match=f"{kind}: expected a list of strings, got 'call'"):
        Filter(registry.default(), **{kind: "call"})  # type: ignore[arg-type]


def test_follow_ends_when_it_is_stopped(captures: Path, tmp_path: Path) -> None:
    data = (captures / "virsh-domname.pcap").read_bytes()
    path = tmp_path / "growing.pcap"
    path.write_bytes(data[: len(data) // 2])
    with libvirt_proto.open(path, follow=True) as capture:
        found = []
        for message in capture:
            found.append(message.n)
            if message.n == 1:
                with path.open("ab") as file:
                    file.write(data[len(data) // 2 :])
                threading.Timer(1, capture.stop).start()
        with pytest.raises(CaptureError, match="only once"):
            iter(capture)
    with libvirt_proto.open(path) as whole:
        assert found == [message.n for message in whole]


# Errors


def test_inputs_that_cannot_be_opened(tmp_path: Path) -> None:
    for source, text in [
        (tmp_path / "none", "no such file"),
        (tmp_path, "expected a file, got a folder"),
        (b"", "is empty"),
        (b"PK\3\4" + bytes(100), "zip|known"),
    ]:
        with pytest.raises(SourceError, match=text):
            libvirt_proto.open(source)
    with pytest.raises(SourceError, match="expected a file name"):
        libvirt_proto.open("a\0b")
    with pytest.raises(SourceError, match=r"^it: "):
        libvirt_proto.open(b"PK\3\4" + bytes(100), name="it")


@pytest.mark.parametrize(
    ("source", "options", "error", "text"),
    [
        (io.StringIO("text"), {}, TypeError, r"got a file in text mode: .*\.buffer"),
        (42, {}, TypeError, "got int"),
        (b"x", {"ports": "16520"}, TypeError, "ports: expected integers, got '"),
        (b"x", {"follow": True}, ValueError, "got bytes"),
        ("x", {"follow": True, "keylog": "keys"}, ValueError, "keylog needs a whole capture"),
        (_advanced(), {"keylog": "keys"}, ValueError, "keylog needs a capture from its beginning"),
    ],
)
def test_arguments_that_cannot_be_used(
    source: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        libvirt_proto.open(source, **options)


def test_a_closed_capture_is_not_read(captures: Path) -> None:
    capture = libvirt_proto.open(captures / "virsh-domname.pcap")
    messages = iter(capture)
    next(messages)
    capture.close()
    with pytest.raises(CaptureError, match="the capture is closed"):
        next(messages)
    with pytest.raises(CaptureError, match="the capture is closed"):
        iter(capture)
    capture.close()


def test_a_pass_that_another_one_ended_raises(captures: Path) -> None:
    with libvirt_proto.open(captures / "virsh-domname.pcap") as capture:
        for passes in (capture.__iter__, capture.timeline, capture.exchanges):
            items = passes()
            next(items)
            count = len(list(capture))
            assert count > 2
            with pytest.raises(CaptureError, match="another pass over it has begun"):
                next(items)


def test_a_pass_ends_at_once_among_messages_that_the_native_core_read(captures: Path) -> None:
    """They arrive many at a time."""
    with libvirt_proto.open(captures / "tour.pcap") as capture:
        total = len(list(capture))
        for number, passes in enumerate((capture.__iter__, capture.timeline)):
            items = passes()
            for _ in range(total // 2):
                next(items)
            iter(capture) if number == 0 else capture.close()
            with pytest.raises(CaptureError, match="reading cannot continue"):
                next(items)


def test_a_file_that_is_gone_is_reported_by_the_next_pass(captures: Path, tmp_path: Path) -> None:
    path = tmp_path / "it.pcap"
    path.write_bytes((captures / "virsh-domname.pcap").read_bytes())
    with libvirt_proto.open(path) as capture:
        assert list(capture)
        path.unlink()
        with pytest.raises(SourceError, match="no such file"):
            iter(capture)


def test_an_unread_capture_closes_its_file(captures: Path) -> None:
    """Files that are left open are warnings, which are errors in tests."""
    libvirt_proto.open(captures / "virsh-domname.pcap").close()
    with libvirt_proto.open(captures / "virsh-domname.pcap") as capture:
        iter(capture)


# Notices and interruptions


def test_notices_are_kept_up_to_a_limit(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (captures / "virsh-domname.pcap").read_bytes()
    cut = data[:-3]
    called: list[Notice] = []
    with libvirt_proto.open(cut, on_notice=called.append) as capture:
        list(capture)
        assert capture.notices == called
        assert capture.notice_counts == {"truncated-file": 1}
        list(capture)
        assert len(capture.notices) == 1
        monkeypatch.setattr(module, "MAX_NOTICES", 0)
        list(capture)
        assert (capture.notices, capture.notice_counts.total()) == ([], 1)


def test_exchanges_that_were_open_when_a_pass_was_interrupted(captures: Path) -> None:
    with libvirt_proto.open(captures / "virsh-domname.pcap") as capture:

        def interrupt(captured: Captured) -> None:
            if captured.n == 3:
                raise KeyboardInterrupt

        capture.watch(interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(capture.exchanges())
        pending = [exchange.outcome for exchange in capture.unfinished()]
        assert list(capture.unfinished()) == []
    assert set(pending) <= {"pending"}


def test_importing_the_package_loads_nothing() -> None:
    program = (
        "import sys, libvirt_proto; libvirt_proto.__all__;"
        "print([m for m in sys.modules if m.startswith(('libvirt_proto.', 'msgspec', 'importlib.metadata'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert libvirt_proto.__version__ == version("libvirt-proto")
    assert set(dir(libvirt_proto)) >= {"open", "Capture", "__version__"}
    for name in libvirt_proto.__all__:
        assert getattr(libvirt_proto, name) is not None
