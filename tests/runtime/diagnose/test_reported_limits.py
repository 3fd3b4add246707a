"""Lines as people paste them in bug reports about limits and keepalive: the first sentence has the cause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libvirt_proto import open as open_capture
from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnoser
from libvirt_proto.diagnose.findings import Finding

LIMIT = (
    "Client hit max requests limit {}. This may result in keep-alive timeouts. Consider tuning the"
    " max_client_requests server parameter"
)
TIMEOUT = "internal error: connection closed due to keepalive timeout"
DROPPED = "Too many active clients (20), dropping connection from 127.0.0.1;56884"


def found(path: Path, text: str) -> list[Finding]:
    path.write_text(text)
    diagnoser = Diagnoser(
        registry.default(), rules={"CLIENT_REQUEST_LIMIT", "KEEPALIVE_TIMEOUT", "TOO_MANY_CLIENTS"}
    )
    diagnoser.source(path.name)
    with open_capture(path) as capture:
        capture.examine(diagnoser)
    return diagnoser.finish().findings


def entry(program: str, seconds: int, text: str) -> str:
    fields = {
        "__REALTIME_TIMESTAMP": str((1_772_442_843 + seconds) * 10**6),
        "SYSLOG_IDENTIFIER": program,
        "_PID": "812",
        "MESSAGE": text,
    }
    return json.dumps(fields)


INSTALLER = {
    "file": (
        "2026-03-02 10:13:40.001+0000: 11: info : libvirt version: 10.0.0, package: 2ubuntu8.4\n"
        "2026-03-02 10:14:03.112+0000: 11: warning : virNetServerClientDispatchRead:1275 :"
        f" {LIMIT.format(5)}\n"
        f"2026-03-02 10:14:28.115+0000: 11: error : virKeepAliveTimerInternal:137 : {TIMEOUT}\n"
    ),
    "syslog": (
        f"Mar  2 10:14:03 node1 libvirtd[11]: {LIMIT.format(5)}\n"
        f"Mar  2 10:14:28 node1 libvirtd[11]: {TIMEOUT}\n"
    ),
    "journal as JSON": (entry("libvirtd", 0, LIMIT.format(5)) + "\n" + entry("libvirtd", 25, TIMEOUT) + "\n"),
}


@pytest.mark.parametrize("text", INSTALLER.values(), ids=INSTALLER)
def test_installer_with_more_than_five_calls_in_flight(tmp_path: Path, text: str) -> None:
    """Parallel creation of domains fails with "Cannot recv data: Input/output error"."""
    limit, timeout = found(tmp_path / "libvirtd.log", text)
    assert (limit.rule, limit.severity) == ("CLIENT_REQUEST_LIMIT", "error")
    assert "stopped reading from a client with 5 calls in flight, as many as it serves at a time" in (
        limit.summary
    )
    assert "a connection was closed by a keepalive timeout" in limit.summary
    assert limit.advice[0].startswith("set max_client_requests = 20 in /etc/libvirt/libvirtd.conf")
    assert timeout.rule == "KEEPALIVE_TIMEOUT"


DESKTOP = {
    "journal": (
        f"Mar 02 10:14:03 desk virtlogd[812]: {LIMIT.format(1)}\n"
        f"Mar 02 10:14:31 desk virtqemud[1033]: {TIMEOUT}\n"
    ),
    "short": f"virtlogd: {LIMIT.format(1)}\nvirtqemud: {TIMEOUT}\n",
    "RFC 5424": (
        f"<28>1 2026-03-02T10:14:03.112+01:00 desk virtlogd 812 - - {LIMIT.format(1)}\n"
        f"<27>1 2026-03-02T10:14:31.112+01:00 desk virtqemud 1033 - - {TIMEOUT}\n"
    ),
    "journal as JSON": (
        entry("virtlogd", 0, LIMIT.format(1)) + "\n" + entry("virtqemud", 28, TIMEOUT) + "\n"
    ),
}


@pytest.mark.parametrize("text", DESKTOP.values(), ids=DESKTOP)
def test_desktop_whose_domains_freeze(tmp_path: Path, text: str) -> None:
    limit, timeout = found(tmp_path / "journal.txt", text)
    assert (limit.rule, limit.severity) == ("CLIENT_REQUEST_LIMIT", "error")
    assert limit.summary.startswith("virtlogd stopped reading from a client with one call in flight")
    assert limit.advice[0].startswith("find the slow call of virtlogd")
    assert timeout.summary.startswith("virtqemud closed a connection because the peer did not answer")


WEB_MANAGER = {
    "file": f"2013-05-11 06:43:58.567+0000: 1793: error : virNetServerAddClient:265 : {DROPPED}\n",
    "syslog": f"May 11 06:43:58 host libvirtd[1793]: {DROPPED}\n",
    "syslog with libvirt's head": (
        "May 11 06:43:58 host libvirtd: 06:43:58.567: 1793: error : virNetServerDispatchNewClient:265 :"
        f" {DROPPED}\n"
    ),
    "prose": f"I get this on the host:\n\n> libvirtd: {DROPPED}\n",
}


@pytest.mark.parametrize("text", WEB_MANAGER.values(), ids=WEB_MANAGER)
def test_web_manager_that_closes_no_connection(tmp_path: Path, text: str) -> None:
    (finding,) = found(tmp_path / "libvirtd.log", text)
    assert finding.rule == "TOO_MANY_CLIENTS"
    assert finding.summary.endswith(
        "dropped the connection from 127.0.0.1;56884 because it had 20 clients, the most that it accepts"
        " (max_clients)."
    )
