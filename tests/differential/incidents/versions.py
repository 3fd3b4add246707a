"""Incidents of clients and daemons of different releases."""

from __future__ import annotations

import subprocess

from tests.differential.incidents.direct import Direct
from tests.differential.incidents.scene import Incident, Scene
from tests.differential.installation import newest
from tests.support.frames import word

ADMIN = 0x06900690


def _older_daemon(scene: Scene) -> None:
    with Direct(scene.port) as client:
        client.open()
        domain = client.lookup(b"test")
        for procedure, payload in (
            ("domain_graphics_reload", word(0) * 2),
            ("domain_set_autostart_once", word(1)),
        ):
            reply = client.call(procedure, domain + payload)
            assert b"unknown procedure: " in reply, reply


def _older_daemon_events(scene: Scene) -> None:
    with Direct(scene.port) as client:
        client.open()
        for event in (26, 27, 28):
            reply = client.call("connect_domain_event_callback_register_any", word(event) + word(0))
            assert (b"unsupported event ID" in reply) == (event > 26), reply


def _newer_virsh(scene: Scene) -> None:
    """virsh of the newest release below the roots."""
    for command in ("autostart --once test", "nodedev-list", "event --all --timeout 1", "dominfo test"):
        words = newest().command("virsh", "-c", scene.uri, *command.split())
        subprocess.run(words, capture_output=True, timeout=60)
    assert "unknown procedure: 450" in scene.log


def _newer_daemon(scene: Scene) -> None:
    """A session of an older client, in which nothing goes wrong."""
    for command in (
        "list --all",
        "dominfo test",
        "domstats",
        "net-list",
        "pool-list",
        "event --all --timeout 2",
    ):
        output = scene.virsh(*command.split())
        assert "error" not in output, output


def _unknown_program(scene: Scene) -> None:
    """The administration tool, connected to the wrong socket, and a client through TCP."""
    admin = ["virt-admin", "-c", f"libvirtd:///session?socket={scene.daemon.socket}", "srv-list"]
    done = subprocess.run(admin, capture_output=True, text=True)
    assert "Cannot find program 110102160 version 1" in done.stderr, done.stderr
    with Direct(scene.port) as client:
        client.open()
        reply = client.call("connect_open", word(0), prog=ADMIN)
        assert b"Cannot find program 110102160 version 1" in reply, reply


INCIDENTS = (
    Incident("older-daemon", frozenset({"VERSION_SKEW"}), _older_daemon, probes=True),
    Incident("older-daemon-events", frozenset({"VERSION_SKEW"}), _older_daemon_events, probes=True),
    Incident("older-daemon-virsh", frozenset({"VERSION_SKEW"}), _newer_virsh, probes=True, roots=True),
    Incident(
        "unknown-program", frozenset({"VERSION_SKEW"}), _unknown_program, tools=("virt-admin",), probes=True
    ),
    Incident("newer-daemon", frozenset(), _newer_daemon, probes=True, roots=True, newer=True),
)
