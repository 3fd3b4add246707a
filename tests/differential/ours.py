"""libvirt-proto as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from libvirt_proto import decode_message, encode_message

COMMAND = Path(sys.executable).with_name("libvirt-proto")


def run(*arguments: str | Path, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run a command, and check its exit status unless that is None."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=120)
    assert status is None or done.returncode == status, done.stderr
    return done


def decode(capture: Path, *options: str) -> list[dict[str, Any]]:
    """The lines of a capture that has no problems."""
    done = run("decode", "--format", "jsonl", *options, capture)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def split(stream: bytes) -> Iterator[bytes]:
    """The frames of one direction of a connection, split by their length words."""
    at = 0
    while at < len(stream):
        length = int.from_bytes(stream[at : at + 4])
        assert length >= 28
        yield stream[at : at + length]
        at += length
    assert at == len(stream)


def check_round_trip(frame: bytes) -> None:
    """Check that a frame is decoded to its last byte and encoded to the same bytes."""
    message = decode_message(frame)
    assert message.error is None
    assert message.spare == b""
    assert message.raw is None
    assert encode_message(message) == frame
