"""A QEMU domain with a channel for a guest agent, but no agent, and one without a channel."""

from __future__ import annotations

import shutil
from typing import Final

from tests.differential.incidents import qemu
from tests.differential.incidents.scene import Incident, Scene

_CHANNEL: Final = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
#: Calls of a backup and of a monitoring agent.
_CALLS: Final = ("domfsfreeze", "domfsinfo", "domtime", "guestinfo")


def _prepare(scene: Scene) -> None:
    qemu.prepare(scene)
    web = scene.folder / "web.xml"
    text = web.read_text()
    (scene.folder / "db.xml").write_text(text.replace("web", "db"))
    web.write_text(text.replace("<memballoon", f"{_CHANNEL}<memballoon"))
    shutil.copy(scene.folder / "web.img", scene.folder / "db.img")
    shutil.chown(scene.folder / "db.img", "nobody")


def _agent_not_connected(scene: Scene) -> None:
    qemu.start(scene)
    qemu.start(scene, name="db")
    scene.daemon.log.write_text("")  # megabytes of QEMU's capabilities
    for call in _CALLS:
        output = scene.virsh(call, "web", uri=qemu.uri(scene))
        assert "Guest agent is not responding: QEMU guest agent is not connected" in output, output
    output = scene.virsh("domfsinfo", "db", uri=qemu.uri(scene))
    assert "QEMU guest agent is not configured" in output, output


INCIDENTS = (
    Incident(
        "agent-not-connected",
        frozenset({"AGENT_NO_REPLY"}),
        _agent_not_connected,
        prepare=_prepare,
        tools=(qemu.EMULATOR,),
        probes=True,
    ),
)
