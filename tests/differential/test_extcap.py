"""Live messages of a unix socket in a real tshark: as a capture interface, and from a trace in a pipe.

Other users of the machine may run libvirt, too, so every capture selects its own client.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from libvirt_proto.capture.probes import tracefs
from tests.differential import ours
from tests.differential.libvirtd import Libvirtd
from tests.differential.tracing import PATIENCE, ours_in_tracefs

pytestmark = [
    pytest.mark.system("tshark", "libvirtd", "virsh", "tcpdump"),
    pytest.mark.usefixtures("tracing"),
]

FIELDS = ("frame.interface_name", "ip.src_host", "ip.dst_host", "tcp.len", "frame.len")


class Client(NamedTuple):
    """A virsh under a name that no other process has."""

    name: str
    command: list[str | Path]

    def run(self) -> str:
        done = subprocess.run(self.command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        return done.stdout


@pytest.fixture
def client(libvirtd: Libvirtd, tmp_path: Path) -> Client:
    name = f"wsh{os.getpid()}"
    (tmp_path / name).symlink_to("/usr/bin/virsh")
    uri = f"test+unix:///default?socket={libvirtd.socket}"
    return Client(name, [tmp_path / name, "-q", "-c", uri, "list", "--name"])


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty home folder, in which the interface is installed."""
    hidden = ("XDG_CONFIG_HOME", "WIRESHARK_EXTCAP_DIR", "WIRESHARK_CONFIG_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8"}
    (tmp_path / "home").mkdir()
    command = [ours.COMMAND, "extcap", "--install"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    return environment


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return list(map(int, found))


def wait_for(what: str, condition: object) -> object:
    """Wait until a function returns something true, and return it."""
    assert callable(condition)
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


def is_armed(pid: int) -> bool:
    """Return whether all probes of a capture are set. With BPF, it then maps the ring buffer."""
    with suppress(FileNotFoundError, ProcessLookupError):
        if "anon_inode:bpf-map" in Path(f"/proc/{pid}/maps").read_text():
            return True
    root = tracefs.find()
    assert root is not None
    names = [name for name in ours_in_tracefs() if f"_{pid}_" in name]
    try:
        return any(
            (root / "instances" / name / "events" / name / "enable").read_text() == "1\n" for name in names
        )
    except FileNotFoundError:
        return False


def left(pid: int) -> list[str]:
    return [name for name in ours_in_tracefs() if f"_{pid}_" in name]


@contextmanager
def capturing(
    environment: dict[str, str], *options: str | Path
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A tshark that captures on our interface, once the probes are armed, and the process of the capture."""
    fields = [word for field in FIELDS for word in ("-e", field)]
    command = ["tshark", "-l", "-N", "n", "-i", "libvirt", *options, "-T", "fields", *fields]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:

            def armed() -> int:
                assert process.poll() is None, process.communicate()[1]
                return next((pid for pid in children(process.pid) if is_armed(pid)), 0)

            pid = wait_for("probes", armed)
            assert isinstance(pid, int)
            yield process, pid
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=PATIENCE)


def read_messages(process: subprocess.Popen[str], count: int) -> list[list[str]]:
    """The packets that show that many messages, while tshark runs."""
    assert process.stdout is not None
    found = []
    while sum(row[3] != "0" for row in found) < count:
        line = process.stdout.readline()
        assert line, process.communicate()
        found.append(line.rstrip("\n").split("\t"))
    return found


def test_interface_is_listed(home: dict[str, str]) -> None:
    def said(*words: str) -> str:
        return subprocess.run(
            ["tshark", *words], env=home, capture_output=True, text=True, timeout=PATIENCE, check=True
        ).stdout

    assert "libvirt (libvirt RPC (live))" in said("-D")
    assert "  RAW (Raw IP)\n" in said("-i", "libvirt", "-L")


def test_live_capture_of_a_unix_socket(
    libvirtd: Libvirtd, client: Client, home: dict[str, str], tmp_path: Path
) -> None:
    """Packets appear while it runs; stopping it removes the probes. The capture keeps names and sides."""
    capture = tmp_path / "live.pcapng"
    options = ("-o", f"extcap.libvirt.comm:{client.name}", "-w", capture, "-P")
    with capturing(home, *options) as (tshark, pid):
        assert client.run() == "test\n"
        rows = read_messages(tshark, 10)
        tshark.send_signal(signal.SIGINT)
        _, err = tshark.communicate(timeout=PATIENCE)
        assert (tshark.returncode, "extcap" in err) == (0, False), err
        wait_for("the end of the capture", lambda: not Path(f"/proc/{pid}").exists())
        assert left(pid) == []
    assert {row[0] for row in rows} == {"libvirt-client"}
    names = {name for row in rows for name in row[1:3]}
    assert len(names) == 2
    assert any(name.startswith(f"client@{client.name}[") for name in names)
    lines = ours.decode(capture)
    assert {line["conn"].partition("[")[0] for line in lines} == {f"client@{client.name}"}
    assert [line["procedure"] for line in lines[:3]] == ["auth_list", "auth_list", "connect_supports_feature"]
    assert {line["procedure"] for line in lines} >= {"connect_open", "connect_list_all_domains"}
    shown = ours.run("decode", "--format", "monitor", capture).stdout
    assert shown.count(" C > ") == shown.count(" C < ") == len(lines) // 2


def test_options_of_a_capture(libvirtd: Libvirtd, client: Client, home: dict[str, str]) -> None:
    """The daemon's side, of one process, with short messages."""
    options = ("side:daemon", f"pid:{libvirtd.pid}", "maxmessage:28")
    words = [word for option in options for word in ("-o", f"extcap.libvirt.{option}")]
    with capturing(home, *words) as (tshark, _):
        client.run()
        rows = read_messages(tshark, 10)
    assert {row[0] for row in rows} == {"libvirt-daemon"}
    assert any(f"server@libvirtd[{libvirtd.pid}]" in row[1] for row in rows)
    assert {row[3] for row in rows} > {"0", "28"}


def test_redacted_capture(libvirtd: Libvirtd, client: Client, home: dict[str, str], tmp_path: Path) -> None:
    capture = tmp_path / "live.pcapng"
    options = (f"extcap.libvirt.comm:{client.name}", "extcap.libvirt.redact:all")
    words = [word for option in options for word in ("-o", option)]
    with capturing(home, *words, "-w", capture, "-P") as (tshark, _):
        client.run()
        read_messages(tshark, 10)
        tshark.send_signal(signal.SIGINT)
        tshark.communicate(timeout=PATIENCE)
    assert b"redacted by libvirt-proto --redact=all" in capture.read_bytes()
    assert b"test\0" not in capture.read_bytes()


def test_probes_are_removed_if_wireshark_is_killed(client: Client, home: dict[str, str]) -> None:
    """dumpcap then still reads the FIFO, until there is a packet."""
    with capturing(home, "-o", f"extcap.libvirt.comm:{client.name}") as (tshark, pid):
        others = [child for child in children(tshark.pid) if child != pid]
        tshark.kill()
        try:
            wait_for("the end of the capture", lambda: not left(pid))
        finally:
            for child in others:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)


def test_probes_of_a_killed_capture_are_removed_by_the_next(client: Client, home: dict[str, str]) -> None:
    option = f"extcap.libvirt.comm:{client.name}"
    with capturing(home, "-o", option) as (tshark, killed):
        os.kill(killed, signal.SIGKILL)
        tshark.communicate(timeout=PATIENCE)
    with capturing(home, "-o", option) as (_, pid):
        assert pid != killed
        assert left(killed) == []


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("extcap.libvirt.pid:1 2", "separated by commas, got '1 2'"),
        ("extcap.libvirt.maxmessage:27", "27 is not in the range"),
        ("extcap.libvirt.side:server", "is not one of 'both', 'client', 'daemon'"),
    ],
)
def test_invalid_options_are_reported(option: str, words: str, home: dict[str, str]) -> None:
    """tshark does not check them."""
    command = ["tshark", "-i", "libvirt", "-o", option]
    done = subprocess.run(command, env=home, capture_output=True, text=True, timeout=PATIENCE)
    assert words in done.stderr


@pytest.mark.system("unshare")
def test_remedy_without_root(home: dict[str, str]) -> None:
    """In a user namespace, whose user is not root but may read its files."""
    command = ["unshare", "-U", "tshark", "-i", "libvirt", "-o", "extcap.libvirt.side:daemon"]
    done = subprocess.run(command, env=home, capture_output=True, text=True, timeout=PATIENCE)
    assert "sudo libvirt-proto trace --server-only -w - | wireshark -k -i -" in done.stderr


def test_trace_in_a_pipe(libvirtd: Libvirtd, client: Client) -> None:
    """`trace -w - | tshark -i -`: packets appear at once, and the trace ends with its reader."""
    words = [ours.COMMAND, "trace", "--comm", client.name, "-w", "-"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as trace:
        reader = ["tshark", "-l", "-i", "-", "-T", "ek", "-J", "frame"]
        with subprocess.Popen(
            reader, stdin=trace.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as tshark:
            assert trace.stdout is not None
            assert trace.stderr is not None
            assert tshark.stdout is not None
            trace.stdout.close()
            while trace.stderr.readline() != "begin\n":
                assert trace.poll() is None
            client.run()
            packet = next(line for line in tshark.stdout if "timestamp" in line)
            assert json.loads(packet)["layers"]["frame"]["frame_frame_interface_name"] == "libvirt-client"
            tshark.terminate()
        assert trace.wait(PATIENCE) == 141
        assert left(trace.pid) == []
