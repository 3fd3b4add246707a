"""Connections of programs that do not speak libvirt's protocol, or not on this port."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

from tests.differential.incidents.scene import Incident, Scene

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


def _port_scan(scene: Scene) -> None:
    """Connections that end at once, that are reset, and one that stays silent; then a client."""
    for reset in (False, True, False):
        with socket.create_connection(("127.0.0.1", scene.port)) as scanner:
            if reset:
                scanner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    with socket.create_connection(("127.0.0.1", scene.port)):
        time.sleep(1)
    _served(scene)


def _tls_on_plain_port(scene: Scene) -> None:
    uri = f"test+tls://localhost:{scene.port}/default?pkipath={scene.folder}"
    said = scene.virsh("list", uri=uri, log=True)
    assert "TLS handshake failed" in said, said
    _served(scene)


def _plain_on_tls_port(scene: Scene) -> None:
    said = scene.virsh("list", uri=f"test+tcp://127.0.0.1:{scene.tls_port}/default", log=True)
    assert "Cannot recv data" in said or "End of file" in said, said
    _served(scene)


def _http_on_port(scene: Scene) -> None:
    """A monitor asks for a page three times, as it does with web servers."""
    for _ in range(3):
        with closing(HTTPConnection("127.0.0.1", scene.port)) as connection:
            connection.request("GET", "/health")
            with suppress(HTTPException, OSError):
                raise AssertionError(connection.getresponse().read())
    _served(scene)


def _onc_rpc_on_port(scene: Scene) -> None:
    """rpcinfo asks for an NFS server."""
    address = f"127.0.0.1.{scene.port // 256}.{scene.port % 256}"
    words = ["rpcinfo", "-a", address, "-T", "tcp", "100003", "3"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert "Unable to receive" in done.stderr, done
    _served(scene)


def _served(scene: Scene) -> None:
    """Check that others are served."""
    said = scene.virsh("list")
    assert "running" in said, said


INCIDENTS = (
    Incident("port-scan", frozenset({"PORT_SCAN"}), _port_scan, probes=True),
    Incident(
        "tls-on-plain-port",
        frozenset({"WRONG_TLS"}),
        _tls_on_plain_port,
        tools=("certtool",),
        probes=True,
        tls=True,
    ),
    Incident(
        "plain-on-tls-port",
        frozenset({"WRONG_TLS"}),
        _plain_on_tls_port,
        tools=("certtool",),
        probes=True,
        tls=True,
    ),
    Incident("http-on-port", frozenset({"OTHER_PROTOCOL"}), _http_on_port, probes=True),
    Incident(
        "onc-rpc-on-port", frozenset({"OTHER_PROTOCOL"}), _onc_rpc_on_port, tools=("rpcinfo",), probes=True
    ),
)
