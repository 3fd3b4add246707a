"""Incidents of streams and events."""

from __future__ import annotations

import os
import shutil
from typing import Final

from tests.differential.incidents import qemu
from tests.differential.incidents.scene import Incident, Scene

CAPACITY: Final = 8 << 20  # bytes of a volume
POOL: Final = "<pool type='dir'><name>images</name><target><path>{}</path></target></pool>"
_MAIN: Final = """\
import sys, time, libvirt
libvirt.registerErrorHandler(lambda context, error: None, None)
connection = libvirt.open(sys.argv[1])
"""
_STREAM: Final = (
    _MAIN
    + """\
volume = connection.storagePoolLookupByName("images").storageVolLookupByName("disk")
stream = connection.newStream()
"""
)
#: A download whose client pauses, and then reads the rest.
STALLED: Final = (
    _STREAM
    + """\
volume.download(stream, 0, 0)
stream.recv(1000)
time.sleep(5)
while stream.recv(262120):
    pass
stream.finish()
"""
)
#: A download that its client ends early.
ABORTED: Final = (
    _STREAM
    + """\
volume.download(stream, 0, 0)
stream.recv(1000)
stream.abort()
"""
)
#: An upload of more than its client announced.
FAILED: Final = (
    _STREAM
    + """\
volume.upload(stream, 0, 10)
stream.send(b"a" * 20)
try:
    stream.finish()
except libvirt.libvirtError as error:
    print(error)
"""
)
#: A console, with a pause at the end of the firmware's output.
CONSOLE: Final = (
    _MAIN
    + """\
domain = connection.lookupByName("web")
stream = connection.newStream()
domain.openConsole(None, stream, 0)
domain.resume()
output = b""
while b"No bootable device" not in output:
    output += stream.recv(1024)
time.sleep(5)
stream.send(b"\\r")
stream.finish()
"""
)
#: A client that waits for events of the test driver's domain, until it gets none for a second.
WATCH: Final = """\
import sys, time, libvirt
libvirt.virEventRegisterDefaultImpl()
connection = libvirt.open(sys.argv[1])
last = [time.monotonic() + 5]
def seen(connection, domain, event, detail, opaque):
    last[0] = time.monotonic()
connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, seen, None)
libvirt.virEventAddTimeout(200, lambda timer, opaque: None, None)
while time.monotonic() < last[0] + 1:
    libvirt.virEventRunDefaultImpl()
"""
#: A client that starts and stops the domain; its further argument is how often.
RESTART: Final = (
    _MAIN
    + """\
domain = connection.lookupByName("test")
for _ in range(int(sys.argv[2])):
    domain.destroy()
    domain.create()
"""
)


def _create_volume(scene: Scene, allocation: int) -> None:
    """Create a storage pool with a volume."""
    folder = scene.folder / "images"
    folder.mkdir()
    shutil.chown(folder, "nobody")
    (scene.folder / "pool.xml").write_text(POOL.format(folder))
    volume = f"vol-create-as images disk {CAPACITY} --allocation {allocation}"
    output = scene.virsh(f"pool-create {scene.folder}/pool.xml; {volume}", uri=qemu.uri(scene))
    assert "Vol disk created" in output, output


def _stream(scene: Scene, code: str, expected: str = "") -> None:
    _create_volume(scene, CAPACITY)
    output = scene.output(scene.python(code, qemu.uri(scene)))
    assert output.strip() == expected, output


def _sparse(scene: Scene) -> None:
    _create_volume(scene, 0)
    with (scene.folder / "images" / "disk").open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"data" * 16384)
    command = ("vol-download", "disk", str(scene.folder / "copy"), "images", "--sparse")
    output = scene.virsh(*command, uri=qemu.uri(scene))
    assert output.strip() == "", output
    assert (scene.folder / "copy").read_bytes() == (scene.folder / "images" / "disk").read_bytes()


def _console(scene: Scene) -> None:
    qemu.start(scene, "--paused")
    os.truncate(scene.daemon.log, 0)  # megabytes of QEMU's capabilities
    output = scene.output(scene.python(CONSOLE, qemu.uri(scene)))
    assert output == "", output


def _event_flood(scene: Scene) -> None:
    watching = scene.python(WATCH, scene.uri)
    scene.wait_for(lambda: " proc=316 type=1 " in scene.log)
    output = scene.output(scene.python(RESTART, scene.uri, "200")) + scene.output(watching)
    assert output == "", output


INCIDENTS = (
    Incident(
        "event-flood",
        frozenset({"EVENT_FLOOD"}),
        _event_flood,
        settings={"log_filters": '"2:rpc 3:*"'},
    ),
    Incident("stream-stalled", frozenset({"STREAM_STALLED"}), lambda scene: _stream(scene, STALLED)),
    Incident(
        "stream-aborted", frozenset({"STREAM_FAILED"}), lambda scene: _stream(scene, ABORTED), probes=True
    ),
    Incident(
        "stream-failed",
        frozenset({"STREAM_FAILED"}),
        lambda scene: _stream(scene, FAILED, "cannot write to stream: No space left on device"),
        probes=True,
    ),
    Incident("sparse-stream", frozenset(), _sparse, probes=True),
    Incident(
        "console-session",
        frozenset(),
        _console,
        prepare=qemu.prepare,
        tools=(qemu.EMULATOR,),
        probes=True,
    ),
)
