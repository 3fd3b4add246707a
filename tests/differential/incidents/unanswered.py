"""Calls without a reply, on connections that stay open."""

from __future__ import annotations

import time

from tests.differential.incidents.connections import RUNNING
from tests.differential.incidents.scene import Incident, Scene


def _still_waiting(scene: Scene) -> None:
    """A call does not end before the recording does; another client is answered."""
    scene.delay("virDomainGetInfo", 60)
    scene.client("-k", "0", "dominfo", "test")
    scene.wait_for(lambda: RUNNING in scene.log)
    time.sleep(12)
    assert "running" in scene.virsh("list")


INCIDENTS = (Incident("still-waiting", frozenset({"STILL_WAITING"}), _still_waiting, delays=True),)
