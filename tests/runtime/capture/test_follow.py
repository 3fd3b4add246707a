"""Files that grow while they are read, with the command as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from libvirt_proto.capture.follow import _numbered
from tests.differential.ours import COMMAND

PATIENCE = 20.0  # seconds


@contextmanager
def decoding(*arguments: str | Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [COMMAND, "decode", "--format", "jsonl", "--follow", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_open(process: subprocess.Popen[str], path: Path) -> None:
    """Wait until a process has opened a file."""
    folder = Path(f"/proc/{process.pid}/fd")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if any(os.path.realpath(each) == str(path) for each in folder.iterdir()):
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} was not opened")


def serials(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline())["serial"] for _ in range(count)]


def stopped(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    process.send_signal(number)
    # Not communicate(), which skips what readline() has read ahead.
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    return process.wait(PATIENCE), out, err


@pytest.fixture
def capture(captures: Path) -> bytes:
    return (captures / "virsh-domname.pcap").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_messages_appear_as_the_file_grows(capture: bytes, tmp_path: Path, number: int) -> None:
    """The file starts empty, stops inside a packet, and ends without a problem."""
    path = tmp_path / "growing.pcap"
    path.touch()
    with decoding(path) as process, path.open("ab", buffering=0) as growing:
        growing.write(capture[:10])
        time.sleep(0.15)  # so that the file is polled in between; nothing depends on it
        growing.write(capture[10:1000])
        assert serials(process, 4) == [0, 0, 1, 1]
        growing.write(capture[1000:])
        assert serials(process, 14) == [2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]
        assert stopped(process, number) == (0, "", "")


def test_background_job_can_be_interrupted(capture: bytes, tmp_path: Path) -> None:
    """It inherits an ignored SIGINT."""
    path = tmp_path / "whole.pcap"
    path.write_bytes(capture)
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    with decoding(path, **ignore) as process:
        assert len(serials(process, 18)) == 18
        assert stopped(process, signal.SIGINT) == (0, "", "")


def test_stopping_reports_incomplete_message(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(capture[:1100])
    with decoding(path) as process:
        assert len(serials(process, 4)) == 4
        status, out, err = stopped(process, signal.SIGINT)
    assert status == 1
    assert "is truncated in a packet" in err
    assert json.loads(out.splitlines()[0])["serial"] == 2


def test_pipe_ends_with_its_writer(capture: bytes) -> None:
    with decoding("-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.buffer.write(capture)  # type: ignore[attr-defined]
        process.stdin.buffer.flush()  # type: ignore[attr-defined]
        assert len(serials(process, 18)) == 18
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_open_pipe_can_be_interrupted(capture: bytes) -> None:
    read, write = os.pipe()
    try:
        with decoding("-", stdin=read) as process:
            os.write(write, capture)
            assert len(serials(process, 18)) == 18
            assert stopped(process, signal.SIGINT) == (0, "", "")
    finally:
        os.close(read)
        os.close(write)


REPLACED = "note: the file was replaced (rotated): reading continues in the new one [file-replaced]\n"
TRUNCATED = (
    "note: the file was truncated: reading continues at its beginning; bytes added just before may be"
    " missing [file-truncated]\n"
)


def whole(path: Path) -> str:
    """The output of decode for a file that is not followed."""
    done = subprocess.run([COMMAND, "decode", "--format", "jsonl", path], capture_output=True, text=True)
    return done.stdout


def read(process: subprocess.Popen[str], count: int) -> str:
    assert process.stdout is not None
    return "".join(process.stdout.readline() for _ in range(count))


@pytest.mark.parametrize("kind", ["pcap", "pcapng", "log", "strace"])
@pytest.mark.parametrize("how", ["renamed", "truncated", "vanished"])
def test_rotated_file_is_followed(captures: Path, tmp_path: Path, kind: str, how: str) -> None:
    """Connections continue: the output equals that of one file."""
    path, parts = tmp_path / "file", tmp_path / "parts"
    if kind == "pcapng":
        command = [COMMAND, "decode", "-w", parts, captures / "virsh-domname.pcap"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    else:
        names = {"pcap": "virsh-domname.pcap", "log": "libvirtd-rpc-info.log"}
        parts.write_bytes((captures / names.get(kind, "strace-yy-unix-dominfo.txt")).read_bytes())
    first, second = SPLITTERS[kind](parts.read_bytes())
    expected = whole(parts)
    path.write_bytes(first)
    count = whole(path).count("\n")
    assert 0 < count < expected.count("\n")
    with decoding(path) as process:
        out = read(process, count)
        if how == "truncated":
            os.truncate(path, 0)
            time.sleep(0.3)  # a longer file looks as if it had only grown
            path.write_bytes(second)
        else:
            path.rename(tmp_path / "file.1")
            if how == "vanished":
                time.sleep(0.3)
            path.write_bytes(second)
        out += read(process, expected.count("\n") - count)
        status, rest, err = stopped(process, signal.SIGTERM)
    assert (status, rest) == (0, "")
    assert err == f"{path}: {TRUNCATED if how == 'truncated' else REPLACED}"
    assert parsed(out) == parsed(expected)


def parsed(lines: str) -> list[object]:
    return [json.loads(line) for line in lines.splitlines()]


def split_pcap(data: bytes) -> tuple[bytes, bytes]:
    """Each with a header, as tcpdump writes them; split inside a connection."""
    at = 24
    while at < len(data) // 2:
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    return data[:at], data[:24] + data[at:]


def split_pcapng(data: bytes) -> tuple[bytes, bytes]:
    at, head = 0, 0
    while at < len(data) // 2:
        kind = int.from_bytes(data[at : at + 4], "little")
        at += int.from_bytes(data[at + 4 : at + 8], "little")
        head = at if kind in (1, 0x0A0D0D0A) else head
    return data[:at], data[:head] + data[at:]


def split_lines(data: bytes) -> tuple[bytes, bytes]:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[: len(lines) // 2]), b"".join(lines[len(lines) // 2 :])


SPLITTERS = {"pcap": split_pcap, "pcapng": split_pcapng, "log": split_lines, "strace": split_lines}


def test_old_file_is_read_to_its_end(captures: Path, tmp_path: Path) -> None:
    """A daemon writes to the renamed file until it opens the new one, which is empty until then."""
    path, expected = tmp_path / "log", whole(captures / "libvirtd-rpc-info.log")
    first, second = split_lines((captures / "libvirtd-rpc-info.log").read_bytes())
    path.write_bytes(first[:-100])
    with decoding(path) as process, path.open("ab", buffering=0) as old:
        out = read(process, 1)
        path.rename(tmp_path / "log.1")
        path.touch()
        time.sleep(0.3)
        old.write(first[-100:])
        time.sleep(0.3)
        path.write_bytes(second)
        out += read(process, expected.count("\n") - 1)
        assert stopped(process, signal.SIGTERM) == (0, "", f"{path}: {REPLACED}")
    assert out == expected


def test_truncated_line_does_not_continue_in_next_file(captures: Path, tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = (captures / "libvirtd-rpc-info.log").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:30])
    count = whole(path).count("\n")
    with decoding(path) as process:
        read(process, count)
        path.rename(tmp_path / "log.1")
        path.write_bytes(lines[-1])
        assert read(process, 1)
        assert stopped(process, signal.SIGTERM)[2] == f"{path}: {REPLACED}"


def test_reports_truncated_capture_before_next_file(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    first, second = split_pcap(capture)
    path.write_bytes(first + second[24:50])
    with decoding(path) as process:
        count = len(whole(path).splitlines())
        read(process, count)
        path.rename(tmp_path / "old.pcap")
        path.write_bytes(second)
        read(process, 18 - count)
        status, _, err = stopped(process, signal.SIGTERM)
    assert status == 1
    broken, replaced = err.splitlines(keepends=True)
    assert "[truncated-file]" in broken
    assert replaced == f"{path}: {REPLACED}"


def test_follows_parts_of_tcpdump(capture: bytes, tmp_path: Path) -> None:
    """tcpdump -C writes file, file1, file2; an older file with such a name is not the next one."""
    path = tmp_path / "it.pcap"
    (tmp_path / "it.pcap2").write_bytes(capture)
    os.utime(tmp_path / "it.pcap2", (0, 0))
    first, rest = split_pcap(capture)
    second, third = split_pcap(rest)
    path.write_bytes(first)
    with decoding(path) as process:
        out = read(process, whole(path).count("\n"))
        (tmp_path / "it.pcap1").write_bytes(second)
        time.sleep(0.3)
        (tmp_path / "it.pcap2").write_bytes(third)
        out += read(process, 18 - out.count("\n"))
        status, _, err = stopped(process, signal.SIGTERM)
    assert status == 0
    for number, line in enumerate(err.splitlines(), 1):
        said = f"{path}: note: the capture continues in {path}{number} (tcpdump -C): reading continues there"
        assert line == f"{said} [file-replaced]"
    assert err.count("\n") == 2
    (tmp_path / "whole.pcap").write_bytes(capture)
    assert out == whole(tmp_path / "whole.pcap")


@pytest.mark.parametrize(
    ("path", "following"),
    [
        ("x.pcap", "x.pcap1"),
        ("x.pcap1", "x.pcap2"),
        ("x.pcap9", "x.pcap10"),
        ("x.pcap09", "x.pcap10"),
        ("a.b/x2", "a.b/x21"),
        ("trace1", "trace11"),
    ],
)
def test_names_of_tcpdump_parts(path: str, following: str) -> None:
    assert _numbered(path) == following


def test_unreadable_replacement_ends_following(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "gone"
    path.write_bytes(capture)
    with decoding(path) as process:
        read(process, 18)
        path.unlink()
        path.symlink_to(path)
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        assert "reading stopped" in process.stderr.read()


def test_statistics_include_rotated_files(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "it.pcap"
    first, second = split_pcap(capture)
    path.write_bytes(first)
    command = [COMMAND, "stats", "--follow", "--format", "json", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        wait_until_open(process, path)
        path.rename(tmp_path / "old.pcap")
        path.write_bytes(second)
        assert process.stderr.readline() == f"{path}: {REPLACED}"
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE)
    figures = json.loads(out)
    assert (process.returncode, figures["totals"]["notices"]) == (0, {"file-replaced": 1})


def test_fifo_without_a_writer_can_be_interrupted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with decoding(tmp_path / "fifo") as process:
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) in (1, 143)


def test_several_files_cannot_be_followed(captures: Path) -> None:
    done = subprocess.run(
        [COMMAND, "decode", "-f", captures / "tour.pcap", captures / "tour.pcap"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--follow requires exactly one file" in done.stderr
