"""Files that grow while they are read, by the command that a user has."""

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


def serials(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline())["serial"] for _ in range(count)]


def stopped(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    process.send_signal(number)
    # Not communicate(), which passes over what readline() has read ahead.
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    return process.wait(PATIENCE), out, err


@pytest.fixture
def capture(captures: Path) -> bytes:
    return (captures / "virsh-domname.pcap").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_messages_come_as_the_file_grows(capture: bytes, tmp_path: Path, number: int) -> None:
    """It begins with no byte at all, breaks off in a packet, and is stopped without complaint."""
    path = tmp_path / "growing.pcap"
    path.touch()
    with decoding(path) as process, path.open("ab", buffering=0) as growing:
        growing.write(capture[:10])
        time.sleep(0.15)  # so that it is looked at in between; nothing depends on it
        growing.write(capture[10:1000])
        assert serials(process, 4) == [0, 0, 1, 1]
        growing.write(capture[1000:])
        assert serials(process, 14) == [2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]
        assert stopped(process, number) == (0, "", "")


def test_a_background_job_can_be_interrupted(capture: bytes, tmp_path: Path) -> None:
    """It inherits that SIGINT is ignored."""
    path = tmp_path / "whole.pcap"
    path.write_bytes(capture)
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    with decoding(path, **ignore) as process:
        assert len(serials(process, 18)) == 18
        assert stopped(process, signal.SIGINT) == (0, "", "")


def test_what_is_incomplete_when_it_is_stopped_is_said(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(capture[:1100])
    with decoding(path) as process:
        assert len(serials(process, 4)) == 4
        status, out, err = stopped(process, signal.SIGINT)
    assert status == 1
    assert "breaks off in a packet" in err
    assert json.loads(out.splitlines()[0])["serial"] == 2


def test_a_pipe_ends_when_its_writer_does(capture: bytes) -> None:
    with decoding("-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.buffer.write(capture)  # type: ignore[attr-defined]
        process.stdin.buffer.flush()  # type: ignore[attr-defined]
        assert len(serials(process, 18)) == 18
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_an_open_pipe_can_be_interrupted(capture: bytes) -> None:
    read, write = os.pipe()
    try:
        with decoding("-", stdin=read) as process:
            os.write(write, capture)
            assert len(serials(process, 18)) == 18
            assert stopped(process, signal.SIGINT) == (0, "", "")
    finally:
        os.close(read)
        os.close(write)


def test_a_file_that_becomes_shorter(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rotated.pcap"
    path.write_bytes(capture)
    with decoding(path) as process:
        assert len(serials(process, 18)) == 18
        os.truncate(path, 24)
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        err = process.stderr.read()
    assert "the file became shorter while it was followed" in err


def test_several_files_cannot_be_followed(captures: Path) -> None:
    done = subprocess.run(
        [COMMAND, "decode", "-f", captures / "tour.pcap", captures / "tour.pcap"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--follow takes one file" in done.stderr
