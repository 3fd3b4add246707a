"""`top` with a real libvirtd and virsh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.differential.libvirtd import PATIENCE, Libvirtd, started
from tests.differential.tracing import ours_in_tracefs
from tests.support.screens import COMMAND, Terminal

pytestmark = [pytest.mark.system("libvirtd", "virsh"), pytest.mark.usefixtures("tracing")]


def left(pid: int) -> list[str]:
    """The remains of a trace in tracefs."""
    return [name for name in ours_in_tracefs() if f"_{pid}_" in name]


def calls(lines: list[str], procedure: str) -> str:
    """The number of calls of a procedure on a screen."""
    return next((line.split()[1] for line in lines if line.startswith(f"{procedure} ")), "")


def virsh_of(daemon: Libvirtd, folder: Path) -> subprocess.Popen[bytes]:
    """A virsh under a name of its own, which reads commands."""
    name = folder / f"vsh{os.getpid()}"
    name.symlink_to("/usr/bin/virsh")
    return subprocess.Popen(
        [name, "-q", "-c", f"test+unix:///default?socket={daemon.socket}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def test_screen_of_a_live_daemon(tmp_path: Path) -> None:
    with started() as daemon, virsh_of(daemon, tmp_path) as virsh:
        name = Path(virsh.args[0]).name  # type: ignore[index]
        pids = ("--pid", str(daemon.pid), "--pid", str(virsh.pid), "--method", "tracefs")
        assert virsh.stdin is not None
        with Terminal("top", *pids, "--window", "60", "--interval", "0.5", columns=120, lines=40) as terminal:
            terminal.shows("q quit")
            pid = terminal.pid
            assert left(pid)
            virsh.stdin.write(b"domstate test; dominfo missing; nodeinfo\n" * 20)
            virsh.stdin.flush()
            # Each call counts once, although both processes are traced, and its client has a name.
            terminal.until(lambda lines: calls(lines, "node_get_info") == "20", "20 calls")
            terminal.until(lambda lines: any(line.startswith(name) for line in lines), name)
            assert calls(terminal.lines, "domain_get_state") == "20"
            terminal.press("e")
            lines = terminal.shows("errors ▼")
            first = next(i for i, line in enumerate(lines) if line.startswith("procedure")) + 1
            assert lines[first].startswith("domain_lookup_by_name")
            # Nobody answers.
            os.kill(daemon.pid, signal.SIGSTOP)
            try:
                virsh.stdin.write(b"nodeinfo\n")
                virsh.stdin.flush()
                terminal.until(
                    lambda lines: any("1 in flight, oldest 2." in line for line in lines), "the call"
                )
            finally:
                os.kill(daemon.pid, signal.SIGCONT)
            terminal.shows("0 in flight")
            terminal.press("q")
            assert terminal.end() == 0
            assert terminal.attributes == terminal.before
        virsh.stdin.close()
    assert left(pid) == []


def test_json_of_a_live_daemon_agrees_with_what_was_called(tmp_path: Path) -> None:
    with started() as daemon:
        words = ("--pid", str(daemon.pid), "--window", "all", "--interval", "0.5", "--format", "json")
        with subprocess.Popen(
            [COMMAND, "top", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(5):
                daemon.virsh("nodeinfo")
            while True:
                found = json.loads(process.stdout.readline())
                rows = {row["name"]: row for row in found["procedures"]}
                if rows.get("connect_close", {}).get("calls") == 5:
                    break
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
        assert left(process.pid) == []
    assert rows["node_get_info"]["calls"] == 5
    assert rows["connect_open"]["errors"] == 0
    assert [client["name"] for client in found["clients"]] == ["127.0.0.1"]
    assert found["clients"][0]["connections"] == 5


def test_requires_root(tmp_path: Path) -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=nobody", "--clear-groups", COMMAND, "top", "--count", "1"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd="/",
    )
    assert done.returncode == 1
    assert "setting probes requires root: run this command with sudo" in done.stderr
