"""The message logs of a real libvirtd and its client, compared with tcpdump's capture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.differential import ours
from tests.differential.libvirtd import Libvirtd

pytestmark = [pytest.mark.releases, pytest.mark.system("libvirtd", "virsh", "tcpdump")]

COMMANDS = (
    ("list", "--all"),
    ("dumpxml", "test"),
    ("schedinfo", "test"),
    ("vol-list", "default-pool"),
    ("screenshot", "test", "/dev/null"),
)
HEADER = ("dir", "length", "prog", "vers", "proc", "type", "status", "serial")

Headers = list[tuple[Any, ...]]


class Session(NamedTuple):
    """The headers of each connection, by the addresses of its ends."""

    capture: dict[str, Headers]
    daemon: dict[str, Headers]
    client: dict[str, Headers]
    events: list[dict[str, Any]]


@pytest.fixture(scope="module")
def session(libvirtd: Libvirtd, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("log")
    capture, log, daemon = folder / "virsh.pcap", folder / "client.log", folder / "daemon.log"
    before = libvirtd.log.stat().st_size
    with libvirtd.recorded(capture):
        for command in COMMANDS:
            libvirtd.virsh(*command, LIBVIRT_LOG_FILTERS="2:rpc", LIBVIRT_LOG_OUTPUTS=f"2:file:{log}")
        libvirtd.virsh("domid", "nosuch", fails=True)
    # Another test's client may have had the same port earlier.
    daemon.write_bytes(libvirtd.log.read_bytes()[before:])
    events = [line for line in ours.decode(daemon) if "event" in line]
    recorded = headers(capture, "--port", str(libvirtd.port))
    return Session(recorded, headers(daemon), headers(log), events)


def headers(file: Path, *options: str) -> dict[str, Headers]:
    found: dict[str, Headers] = {}
    for line in ours.decode(file, *options):
        if "event" not in line:
            ends = [end.partition("@")[0] for end in line["conn"].split("-")]
            found.setdefault("-".join(ends), []).append(tuple(line[name] for name in HEADER))
    return found


def apart(headers: Headers) -> tuple[Headers, Headers]:
    """Each direction separately: a daemon's threads log what they send while another logs what arrives."""
    c2s = [header for header in headers if header[0] == "c2s"]
    return c2s, [header for header in headers if header[0] == "s2c"]


def test_daemon_log_has_every_header_of_capture(session: Session) -> None:
    assert len(session.capture) == len(COMMANDS) + 1
    for name, recorded in session.capture.items():
        assert apart(session.daemon[name]) == apart(recorded)


def test_client_log_has_every_header_of_capture(session: Session) -> None:
    assert len(session.client) == len(COMMANDS)
    for name, logged in session.client.items():
        assert apart(logged) == apart(session.capture[name])


def test_every_connection_has_events(session: Session) -> None:
    kinds = [
        event["event"]
        for event in session.events
        if event["conn"] and event["conn"].partition("@")[0] in session.capture
    ]
    for kind in ("server_client_new", "keepalive_new", "keepalive_start"):
        assert kinds.count(kind) == len(session.capture)
