"""What strace shows of virsh and of libvirtd, and what tcpdump recorded of the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.differential import ours
from tests.differential.libvirtd import PATIENCE, Libvirtd

pytestmark = pytest.mark.system("libvirtd", "virsh", "strace", "tcpdump")

TRACE = "trace=%network,read,write,readv,writev,close,dup,dup2,dup3,fcntl,clone,clone3,fork,vfork,execve"
WHOLE = ("-s", "1048576")
#: Options of strace, by what a trace made with them is good for.
OPTIONS = {
    "the one in README": ("-f", "-yy", "-ttt", "-xx", "-e", TRACE, *WHOLE),
    "no names, no times, C's escapes, all calls": ("-f", *WHOLE),
    "one thread": ("-ttt", "-x", *WHOLE),
    "inodes, times of the day, durations": ("-f", "-y", "-tt", "-T", "-v", *WHOLE),
    "relative times, numbers, addresses": ("-f", "-yy", "-r", "-n", "-i", "-Y", *WHOLE),
}
COMMANDS = "list --all; dumpxml test; domid nosuch; vol-list default-pool; schedinfo test; capabilities"

Lines = list[dict[str, Any]]


def what(lines: Lines) -> list[dict[str, Any]]:
    """All that is said of the messages, but for who recorded them when."""
    return [{key: line[key] for key in line if key not in ("n", "time_ns", "conn")} for line in lines]


def by_connection(lines: Lines) -> list[Lines]:
    found: dict[str, Lines] = {}
    for line in lines:
        found.setdefault(line["conn"], []).append(line)
    return list(found.values())


def virsh(libvirtd: Libvirtd, *before: str, uri: str = "", status: int = 1) -> None:
    """A session of several commands, one of which fails."""
    uri = uri or f"test+tcp://127.0.0.1:{libvirtd.port}/default"
    done = subprocess.run(
        [*before, "virsh", "-q", "-c", uri, COMMANDS], capture_output=True, text=True, timeout=60
    )
    assert "nosuch" in done.stderr
    assert done.returncode in (0, status), done.stderr


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_a_client(libvirtd: Libvirtd, tmp_path: Path, options: tuple[str, ...]) -> None:
    capture, trace = tmp_path / "virsh.pcap", tmp_path / "strace.txt"
    with libvirtd.recorded(capture):
        virsh(libvirtd, "strace", *options, "-o", str(trace))
    port = ("--port", str(libvirtd.port))
    recorded, traced = ours.decode(capture, *port), ours.decode(trace, *port)
    assert len(recorded) > 20
    assert what(traced) == what(recorded)
    (name,) = {line["conn"] for line in recorded}
    assert {line["conn"] for line in traced} <= {name, f"?-127.0.0.1:{libvirtd.port}"}
