"""Traces of event loops and the QEMU monitor: of a real libvirt, and of a program with the same probes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.differential import ours
from tests.differential.installation import MACHINE, Installation
from tests.differential.libvirtd import Libvirtd
from tests.differential.test_trace import SYSTEM_PYTHON
from tests.differential.test_trace_program import talk
from tests.differential.tracing import trace
from tests.support.probes import OTHERS, program

pytestmark = [pytest.mark.usefixtures("tracing")]

DRIVER = "libvirt_driver_qemu.so"
MONITOR = "0x7f5dc4004a90"
#: A client with custom handles and timeouts, which reports its actions and its events.
LOOP = """\
import os, sys, libvirt
libvirt.virEventRegisterDefaultImpl()
sys.stdin.readline()
came = set()

def handle(watch, fd, events, opaque):
    os.read(fd, 1)
    print(">", "handle", watch, events)
    came.add("handle")

def timeout(timer, opaque):
    print(">", "timeout", timer)
    came.add("timeout")

reader, writer = os.pipe()
watch = libvirt.virEventAddHandle(reader, libvirt.VIR_EVENT_HANDLE_READABLE, handle, None)
print("+", "handle", watch, reader, 1)
timer = libvirt.virEventAddTimeout(-1, timeout, None)
print("+", "timeout", timer, -1)
libvirt.virEventUpdateTimeout(timer, 5)
print("*", "timeout", timer, 5)
os.write(writer, b"x")
while len(came) < 2:
    libvirt.virEventRunDefaultImpl()
libvirt.virEventUpdateHandle(watch, 0)
print("*", "handle", watch, 0)
libvirt.virEventRemoveHandle(watch)
print("-", "handle", watch)
libvirt.virEventRemoveTimeout(timer)
print("-", "timeout", timer)
"""


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("others"), name="others-program", text=OTHERS)


def traced(
    what: str, binary: Path, folder: Path, *said: tuple[str, int, bytes], options: tuple[str, ...] = ()
) -> str:
    """The trace's events that correspond to the program's reports."""
    output = folder / "out"
    with trace(what, "--library", binary, "--comm", binary.name[:15], *options, "-o", output) as tracer:
        talk(binary, *said)
        status, err = tracer.end()
    assert (status, err) == (0, f"── {len(said)} events, no problems\n")
    return output.read_text()


@pytest.mark.system("libvirtd")
def test_client_event_loop_matches_its_reports(tmp_path: Path) -> None:
    if subprocess.run([SYSTEM_PYTHON, "-c", "import libvirt"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("libvirt's Python binding is not installed")
    output = tmp_path / "out"
    with subprocess.Popen(
        [SYSTEM_PYTHON, "-c", LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        options = (
            "--library",
            MACHINE.library,
            "--pid",
            str(client.pid),
            "--format",
            "monitor",
            "-o",
            output,
        )
        with trace("events", *options) as tracer:
            said, _ = client.communicate("\n", timeout=60)
            assert tracer.end()[0] == 0
    assert client.returncode == 0
    shown = output.read_text().splitlines()
    assert [line.split(maxsplit=2)[2] for line in shown] == said.splitlines()
    assert {line.split()[1] for line in shown} == {str(client.pid)}
    assert {line[0] for line in said.splitlines()} == {"+", "*", ">", "-"}


@pytest.mark.releases
@pytest.mark.system("libvirtd", "virsh", "tcpdump")
def test_daemon_event_loop_is_consistent(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """Events belong to handles that were added or existed before; removed ones have none."""
    output = tmp_path / "out"
    with trace("events", "--pid", str(libvirtd.pid), "--format", "jsonl", "-o", output) as tracer:
        for _ in range(3):
            libvirtd.virsh("list")
        assert tracer.end()[0] == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["time_ns"] for line in lines] == sorted(line["time_ns"] for line in lines)
    assert {line["pid"] for line in lines} == {libvirtd.pid}
    added: set[tuple[str, int]] = set()
    before: set[tuple[str, int]] = set()
    removed: set[tuple[str, int]] = set()
    for line in lines:
        action, what = line["event"].removeprefix("event_glib_").split("_")
        one = (what, line["watch" if what == "handle" else "timer"])
        if action == "add":
            assert one not in added | before | removed
            added.add(one)
            continue
        assert one not in removed
        if one not in added:
            before.add(one)
            # Numbers are assigned in order.
            assert all(one[1] < number for kind, number in added if kind == what)
        if action == "remove":
            removed.add(one)
    assert sum(what == "handle" for what, _ in added) == 3
    assert {line["fd"] for line in lines if line["event"] == "event_glib_add_handle"}.isdisjoint(
        {-1, 0, 1, 2}
    )
    dispatched = {line["watch"] for line in lines if line["event"] == "event_glib_dispatch_handle"}
    assert {number for what, number in added if what == "handle"} <= dispatched


@pytest.mark.system("gcc")
def test_event_loop_of_old_releases(others: Path, tmp_path: Path) -> None:
    said = [("h", 5, b""), ("p", 7, b""), ("t", 3, b""), ("~", -1, b"")]
    shown = traced("events", others, tmp_path, *said, options=("--format", "monitor"))
    assert [line.split(maxsplit=2)[2] for line in shown.splitlines()] == [
        "+ handle 7 5 1",
        "! handle 7",
        "> timeout 3",
        "~ 3 -1",
    ]


@pytest.mark.system("gcc")
def test_monitor_messages(others: Path, tmp_path: Path) -> None:
    """Lines match the script's, without any byte after their end."""
    said = [
        ("s", -1, b'{"execute":"stop","id":"libvirt-19"}\r\n'),
        ("s", 7, b'{"execute":"getfd"}\r\n'),
        ("r", 0, b'{"return": {}, "id": "libvirt-19"}'),
        ("e", 0, b'{"event": "STOP", "x": "\x1b[31m\xe2\x80\xae"}'),
        ("n", 0, b""),
    ]
    shown = traced("qemu-monitor", others, tmp_path, *said, options=("--format", "monitor"))
    assert [line.split(maxsplit=1)[1] for line in shown.splitlines()] == [
        f'> {MONITOR} {{"execute":"stop","id":"libvirt-19"}}',
        f'> {MONITOR} {{"execute":"getfd"}} fd=7',
        f'< {MONITOR} {{"return": {{}}, "id": "libvirt-19"}}',
        f'! {MONITOR} {{"event": "STOP", "x": "\\x1b[31m\\u{{202e}}"}}',
        f"> {MONITOR} ",
    ]


@pytest.mark.system("gcc")
@pytest.mark.parametrize(("method", "fits"), [("bpf", 65_534), ("tracefs", 3023)])
def test_monitor_lines_of_any_length(others: Path, tmp_path: Path, method: str, fits: int) -> None:
    """3,023 bytes and the terminating zero byte fit an event of tracefs; longer lines lose only their end."""
    lengths = [0, 1, 7, 8, 126, 127, 128, 511, 512, 513, 2559, 2560, 3022, 3023, 3024, 4094, 4095, 4096]
    lengths += [60_000, 65_534, 65_535, 65_536, 65_537]
    texts = [
        json.dumps({"a": "x" * (length - 9)}).encode() if length > 10 else b"x" * length for length in lengths
    ]
    assert [len(text) for text in texts] == lengths
    shown = traced(
        "qemu-monitor",
        others,
        tmp_path,
        *(("r", 0, text) for text in texts),
        options=("--format", "jsonl", "--method", method),
    )
    lines: list[dict[str, Any]] = [json.loads(line) for line in shown.splitlines()]
    for text, line in zip(texts, lines, strict=True):
        assert line["cut"] == (len(text) > fits)
        if len(text) <= 10 or line["cut"]:
            assert (line["json"], line["text"]) == (None, text[: fits + 1].decode())
        else:
            assert (line["json"], line["text"]) == (json.loads(text), None)


@pytest.mark.releases
@pytest.mark.system("libvirtd")
def test_monitor_of_real_driver(installation: Installation) -> None:
    driver = installation.binaries.get(DRIVER)
    if driver is None:
        pytest.skip("libvirt's driver of QEMU is not installed")
    names = {"qemu_monitor_send_msg", "qemu_monitor_recv_reply", "qemu_monitor_recv_event"}
    done = ours.run("trace", "qemu-monitor", "--library", driver, "--probes")
    assert done.stderr == ""
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == names
    # The kernel accepts them.
    with trace("qemu-monitor", "--library", driver) as tracer:
        assert tracer.end() == (0, "── 0 events, no problems\n")


def test_reports_file_without_monitor_probes() -> None:
    done = ours.run("trace", "qemu-monitor", "--library", "/bin/true", status=1)
    assert "no QEMU monitor probes found" in done.stderr
    assert "libvirt_driver_qemu.so" in done.stderr
