"""Clients print the same, served by a real libvirtd and by the replay of its recording."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from libvirt_proto.testing import ReplayServer, replay_server
from tests.differential import ours
from tests.differential.libvirtd import PATIENCE, Libvirtd

pytestmark = pytest.mark.system("libvirtd", "virsh", "tcpdump")

#: Sessions of one connection each; the driver's state ends with them.
SESSIONS = (
    ("list", "--all"),
    ("dumpxml", "test"),
    ("capabilities",),
    ("net-list", "--all"),
    ("vol-list", "default-pool"),
    ("list --all; suspend test; list --all; resume test; list --all",),
    ("schedinfo", "test"),
)
FAILS = ("dominfo", "nosuch")
#: A client in Python: events of its own changes, and an error.
EVENTS = """
import libvirt, sys, threading
libvirt.virEventRegisterDefaultImpl()
libvirt.registerErrorHandler(lambda *_: None, None)
conn = libvirt.open(sys.argv[1])
domain = conn.lookupByName("test")
seen = []
def lifecycle(conn, dom, event, detail, opaque):
    seen.append((dom.name(), event, detail))
conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)
domain.suspend()
domain.resume()
while len(seen) < 2:
    libvirt.virEventRunDefaultImpl()
print(seen, conn.getHostname(), domain.info()[:3])
try:
    conn.lookupByName("nosuch")
except libvirt.libvirtError as error:
    print(error.get_error_code(), error)
"""


def printed(libvirtd: Libvirtd, uri: str = "") -> list[str]:
    said = [libvirtd.virsh(*command, uri=uri) for command in SESSIONS]
    return [*said, libvirtd.virsh(*FAILS, uri=uri, fails=True)]


def python(uri: str) -> str:
    done = subprocess.run(
        ["/usr/bin/python3", "-c", EVENTS, uri], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_virsh_prints_what_it_printed_when_recorded(captures: Path) -> None:
    with replay_server(captures / "virsh-domname.pcap") as server:
        done = virsh(server, "domname", "1")
    assert (done, server.unrecorded) == ("test\n", {})


def virsh(server: ReplayServer, *command: str) -> str:
    done = subprocess.run(
        ["virsh", "-q", "-c", server.uri(), *command],
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.releases
@pytest.mark.parametrize("listen", ["tcp:127.0.0.1:0", "unix:{}/replay.sock"])
@pytest.mark.parametrize("order", ["any", "recorded"])
def test_virsh_sessions(libvirtd: Libvirtd, tmp_path: Path, order: str, listen: str) -> None:
    capture = tmp_path / "x.pcap"
    with libvirtd.recorded(capture):
        expected = printed(libvirtd)
    with replay_server(capture, order=order, listen=listen.format(tmp_path), ports=[libvirtd.port]) as server:
        assert printed(libvirtd, server.uri()) == expected
    assert (server.unrecorded, server.problems) == ({}, [])


@pytest.mark.parametrize("timing", [False, True])
def test_python_client_with_events(libvirtd: Libvirtd, tmp_path: Path, timing: bool) -> None:
    capture = tmp_path / "x.pcap"
    with libvirtd.recorded(capture):
        expected = python(f"test+tcp://127.0.0.1:{libvirtd.port}/default")
    assert "('test', 3, 0), ('test', 4, 0)" in expected
    with replay_server(capture, timing=timing, ports=[libvirtd.port]) as server:
        assert python(server.uri()) == expected
    assert server.unrecorded == {}


def test_download(libvirtd: Libvirtd, tmp_path: Path) -> None:
    capture = tmp_path / "x.pcap"
    with libvirtd.recorded(capture):
        libvirtd.virsh("screenshot", "test", str(tmp_path / "recorded"))
    with replay_server(capture, ports=[libvirtd.port]) as server:
        libvirtd.virsh("screenshot", "test", str(tmp_path / "replayed"), uri=server.uri())
        ours.run(
            *("call", "-c", server.uri(), "--dom", "test", "domain_screenshot", '{"screen": 0, "flags": 0}'),
            *("--download", tmp_path / "ours"),
        )
    recorded = (tmp_path / "recorded").read_bytes()
    assert (tmp_path / "replayed").read_bytes() == (tmp_path / "ours").read_bytes() == recorded
    assert server.unrecorded == {}
