"""Calls without a reply, on connections that stay open."""

from __future__ import annotations

import time

from tests.differential.incidents.connections import RUNNING
from tests.differential.incidents.scene import Incident, Scene

#: Packets of the daemon with 60 bytes of data, the size of domain_get_info's reply, after IP and TCP headers
#: of 52 bytes.
REPLIES = "src port {port} and ip[2:2] = 112"


def _still_waiting(scene: Scene) -> None:
    """A call does not end before the recording does; another client is answered."""
    scene.delay("virDomainGetInfo", 60)
    for uri in (scene.uri, scene.unix_uri):
        scene.client("-k", "0", "dominfo", "test", uri=uri)
    scene.wait_for(lambda: scene.log.count(RUNNING) == 2)
    time.sleep(12)
    for uri in (scene.uri, scene.unix_uri):
        assert "running" in scene.virsh("list", uri=uri)


def _lost_replies(scene: Scene) -> None:
    """The capture lacks the replies of one procedure."""
    said = scene.virsh("dominfo test; domstate test; dominfo test; domstate test")
    assert "Max memory" in said, said


INCIDENTS = (
    Incident(
        "still-waiting",
        frozenset({"STILL_WAITING"}),
        _still_waiting,
        probes=True,
        delays=True,
    ),
    Incident("lost-replies", frozenset({"REPLY_NOT_CAPTURED"}), _lost_replies, left_out=REPLIES),
)
