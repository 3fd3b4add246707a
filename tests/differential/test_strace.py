"""strace's traces of virsh and libvirtd, compared with tcpdump's capture of the same session."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.differential import ours
from tests.differential.libvirtd import PATIENCE, Libvirtd

pytestmark = [pytest.mark.releases, pytest.mark.system("libvirtd", "virsh", "strace", "tcpdump")]

TRACE = "trace=%network,read,write,readv,writev,close"
CLONES = "dup,dup2,dup3,fcntl,clone,clone3,fork,vfork,execve"
WHOLE = ("-s", "33554436")
#: strace options, by the information that they give.
OPTIONS = {
    "the one in README": ("-f", "-ttt", "-yy", *WHOLE, "-e", TRACE),
    "hexadecimal, nothing but what is needed without names": ("-f", "-xx", "-e", f"{TRACE},{CLONES}", *WHOLE),
    "no names, no times, C's escapes, all calls": ("-f", *WHOLE),
    "one thread": ("-ttt", "-x", *WHOLE),
    "inodes, times of the day, durations": ("-f", "-y", "-tt", "-T", "-v", *WHOLE),
    "relative times, numbers, addresses": ("-f", "-yy", "-r", "-n", "-i", "-Y", *WHOLE),
}
COMMANDS = "list --all; dumpxml test; domid nosuch; vol-list default-pool; schedinfo test; capabilities"

Lines = list[dict[str, Any]]


def what(lines: Lines) -> list[dict[str, Any]]:
    """The contents of the messages, without time and source."""
    return [
        {key: line[key] for key in line if key not in ("n", "time_ns", "conn", "frame")} for line in lines
    ]


def by_connection(lines: Lines) -> list[Lines]:
    found: dict[str, Lines] = {}
    for line in lines:
        found.setdefault(line["conn"], []).append(line)
    return list(found.values())


def virsh(libvirtd: Libvirtd, *before: str, uri: str = "", status: int = 1) -> None:
    """A session of several commands, one of which fails."""
    uri = uri or f"test+tcp://127.0.0.1:{libvirtd.port}/default"
    done = subprocess.run(
        [*before, *libvirtd.installation.command("virsh", "-q", "-c", uri, COMMANDS)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "nosuch" in done.stderr
    assert done.returncode in (0, status), done.stderr


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_trace_of_client(libvirtd: Libvirtd, tmp_path: Path, options: tuple[str, ...]) -> None:
    capture, trace = tmp_path / "virsh.pcap", tmp_path / "strace.txt"
    with libvirtd.recorded(capture):
        virsh(libvirtd, "strace", *options, "-o", str(trace))
    port = ("--port", str(libvirtd.port))
    recorded, traced = ours.decode(capture, *port), ours.decode(trace, *port)
    assert len(recorded) > 20
    assert what(traced) == what(recorded)
    (name,) = {line["conn"] for line in recorded}
    assert {line["conn"] for line in traced} == {name}
    if "-ttt" in options:  # a call begins before its packets are sent
        pairs = [(ours["time_ns"], theirs["time_ns"]) for ours, theirs in zip(traced, recorded, strict=True)]
        sent = [pair for pair, line in zip(pairs, traced, strict=True) if line["dir"] == "c2s"]
        assert all(ours <= theirs for ours, theirs in sent)


def test_trace_of_client_on_terminal(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """Without -o, virsh's output is in between, and lines have a process id only while there are several
    processes."""
    capture, trace = tmp_path / "virsh.pcap", tmp_path / "strace.txt"
    uri = f"test+tcp://127.0.0.1:{libvirtd.port}/default"
    with libvirtd.recorded(capture), trace.open("wb") as file:
        virsh = libvirtd.installation.command("virsh", "-q", "-c", uri, COMMANDS)
        command = ["strace", "-f", *WHOLE, *virsh]
        subprocess.run(command, stdout=file, stderr=file, timeout=60)
    port = ("--port", str(libvirtd.port))
    assert what(ours.decode(trace, *port)) == what(ours.decode(capture, *port))


def test_truncated_strings(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """Every header and message length is present; one notice suggests a fix."""
    capture, trace = tmp_path / "virsh.pcap", tmp_path / "strace.txt"
    with libvirtd.recorded(capture):
        virsh(libvirtd, "strace", "-f", "-s", "40", "-o", str(trace))
    port = ("--port", str(libvirtd.port))
    done = ours.run("decode", "--format", "jsonl", *port, trace, status=1)
    assert done.stderr.count("[cut-strings]") == 1
    assert "-s 33554436" in done.stderr
    header = ("dir", "length", "prog", "vers", "proc", "type", "status", "serial")
    traced = [[line[key] for key in header] for line in map(json.loads, done.stdout.splitlines())]
    assert traced == [[line[key] for key in header] for line in ours.decode(capture, *port)]


@contextmanager
def attached(libvirtd: Libvirtd, trace: Path, *options: str) -> Iterator[None]:
    """Attach strace to the daemon during the block."""
    pid = (libvirtd.folder / "pid").read_text().strip()
    with subprocess.Popen(
        ["strace", "-f", *options, "-o", str(trace), "-p", pid], stderr=subprocess.PIPE, text=True
    ) as strace:
        try:
            assert strace.stderr is not None
            assert "attached" in strace.stderr.readline()
            yield
            libvirtd.virsh("version")  # earlier events have been written when this is over
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate(timeout=PATIENCE)


def apart(lines: Lines) -> tuple[Lines, Lines]:
    """Each direction separately: a daemon sends a reply while it receives the next call."""
    messages = what(lines)
    return tuple([line for line in messages if line["dir"] == way] for way in ("c2s", "s2c"))  # type: ignore[return-value]


@pytest.mark.parametrize("options", [("-ttt", "-yy", *WHOLE, "-e", TRACE), WHOLE], ids=["README", "bare"])
def test_trace_of_daemon(libvirtd: Libvirtd, tmp_path: Path, options: tuple[str, ...]) -> None:
    """strace is attached to the daemon: no earlier descriptors are known, and no thread was seen to start."""
    capture, trace = tmp_path / "virsh.pcap", tmp_path / "strace.txt"
    with libvirtd.recorded(capture), attached(libvirtd, trace, *options):
        virsh(libvirtd)
        libvirtd.virsh("list", "--all")
    port = ("--port", str(libvirtd.port))
    recorded = by_connection(ours.decode(capture, *port))
    traced = by_connection(ours.decode(trace, *port))
    assert len(recorded) == 3
    assert [lines[0]["conn"] for lines in traced] == [lines[0]["conn"] for lines in recorded]
    for one, other in zip(traced, recorded, strict=True):
        assert apart(one) == apart(other)


def test_unix_socket_with_descriptors(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """Both sides of a session are traced. The bytes that accompany file descriptors are not part of any
    message."""
    client, daemon, domain = tmp_path / "client.txt", tmp_path / "daemon.txt", tmp_path / "domain.xml"
    domain.write_text(
        "<domain type='test'><name>new</name><memory>1</memory><os><type>hvm</type></os></domain>"
    )
    uri = f"test+unix:///default?socket={libvirtd.socket}"
    commands = f"create {domain} --pass-fds 0,1,2; list; dumpxml test"
    with attached(libvirtd, daemon, "-yy", *WHOLE):
        strace = ["strace", "-f", "-yy", *WHOLE, "-o", str(client)]
        virsh = libvirtd.installation.command("virsh", "-q", "-c", uri, commands)
        subprocess.run([*strace, *virsh], capture_output=True, timeout=60)
    ours_, theirs = by_connection(ours.decode(client))[0], by_connection(ours.decode(daemon))[0]
    assert apart(ours_) == apart(theirs)
    assert ours_[0]["conn"].endswith(f"-{libvirtd.socket}")
    assert ours_[0]["conn"].startswith("unix:pid ")
    assert theirs[0]["conn"] == f"unix-{libvirtd.socket}"
    (call,) = (line for line in ours_ if line["type"] == "call_with_fds")
    assert (call["procedure"], call["fds"]) == ("domain_create_xml_with_files", 3)
    assert "cmsg_data" in client.read_text()
    (reply,) = (
        line for line in ours_ if (line["procedure"], line["type"]) == ("domain_get_xml_desc", "reply")
    )
    assert reply["payload"]["xml"].startswith("<domain")
