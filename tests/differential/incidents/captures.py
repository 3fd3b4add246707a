"""Captures that do not show all, and rare orders of messages."""

from __future__ import annotations

import time
from typing import Final

from tests.differential.incidents.clients import WAITING
from tests.differential.incidents.direct import Direct
from tests.differential.incidents.scene import Incident, Scene
from tests.support.frames import word

#: Four threads of one connection, each with a call every 20 ms, for some seconds.
STEADY: Final = """\
import sys, threading, time, libvirt
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName("test")
end = time.monotonic() + float(sys.argv[2])
def call():
    while time.monotonic() < end:
        domain.info()
        time.sleep(0.02)
threads = [threading.Thread(target=call) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
connection.close()
"""
#: A client that causes events without end.
BUSY: Final = """\
import sys, libvirt
domain = libvirt.open(sys.argv[1]).lookupByName("test")
while True:
    domain.suspend()
    domain.resume()
"""
ATTEMPTS, CYCLES = 60, 250


def _lossy(scene: Scene) -> None:
    """tcpdump is stopped for a while, and the kernel drops packets when its small buffer is full."""
    with scene.recorded(buffer=512) as recorder:
        client = scene.python(STEADY, scene.uri, "1.5")
        scene.wait_for(lambda: scene.log.count("running job remoteDispatchDomainGetInfo") > 80)
        with scene.stopped(recorder):
            time.sleep(0.4)
        assert scene.output(client) == ""
    assert scene.daemon.dropped > 0


def _late(scene: Scene) -> None:
    """A client registers for events before the capture begins."""
    waiting = scene.python(WAITING, scene.uri, "4")
    scene.wait_for(lambda: "ConnectDomainEventCallbackRegisterAny with ret=0" in scene.log)
    with scene.recorded():
        for command in ("suspend", "resume"):
            scene.virsh(command, "test")
        assert scene.output(waiting) == ""


def _unregistered_event(scene: Scene) -> None:
    """A client registers for events and deregisters until the daemon sends one after it confirmed that."""
    scene.python(BUSY, scene.unix_uri)
    for _ in range(ATTEMPTS):
        with scene.recorded(), Direct(scene.port) as client:
            client.open()
            for _ in range(CYCLES):
                client.events.clear()
                callback = client.call("connect_domain_event_callback_register_any", word(0) * 2)
                if any(event[:4] != callback for event in client.events):
                    return
                client.call("connect_domain_event_callback_deregister_any", callback)
    raise AssertionError(f"no event after a deregistration in {ATTEMPTS * CYCLES} cycles")


INCIDENTS = (
    Incident("lossy-capture", frozenset({"REPLY_NOT_CAPTURED"}), _lossy, recorded=False),
    Incident("late-capture", frozenset(), _late, recorded=False),
    Incident(
        "unregistered-event",
        frozenset({"UNREGISTERED_EVENT"}),
        _unregistered_event,
        settings={"log_filters": '"3:*"'},
        recorded=False,
    ),
)
