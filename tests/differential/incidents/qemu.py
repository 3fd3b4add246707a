"""A real QEMU domain, without hardware acceleration and without an operating system."""

from __future__ import annotations

import os
import shutil
import signal
from typing import Final

from tests.differential.incidents.scene import Scene

EMULATOR: Final = "qemu-system-x86_64"
#: It stays in its firmware, which writes to the serial console.
DOMAIN: Final = """\
<domain type='qemu'>
  <name>web</name>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type><bios useserial='yes'/></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{folder}/web.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='pty'/>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


def prepare(scene: Scene) -> None:
    """Configure the daemon, and write the domain's XML and disk."""
    configuration = scene.folder / "libvirt" / "qemu.conf"
    configuration.parent.mkdir()
    configuration.write_text('stdio_handler = "file"\n')  # virtlogd is not running
    (scene.folder / "web.xml").write_text(DOMAIN.format(folder=scene.folder))
    with (scene.folder / "web.img").open("wb") as disk:
        disk.truncate(1 << 20)
    for path in (configuration, configuration.parent, scene.folder / "web.img"):
        shutil.chown(path, "nobody")


def uri(scene: Scene) -> str:
    """The driver of QEMU through TCP."""
    return f"qemu+tcp://127.0.0.1:{scene.port}/session"


def start(scene: Scene, *options: str, name: str = "web") -> int:
    """Start a domain until the recordings are written, and return the id of its process."""
    output = scene.virsh("create", str(scene.folder / f"{name}.xml"), *options, uri=uri(scene))
    assert "created" in output, output
    pid = int((scene.folder / f"libvirt/qemu/run/{name}.pid").read_text())
    scene.afterwards.callback(os.kill, pid, signal.SIGKILL)
    return pid
