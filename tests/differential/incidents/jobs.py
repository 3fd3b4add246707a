"""Incidents of a QEMU domain whose monitor does not answer: its process is stopped, so that a call holds
the domain's job and others wait for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import Final

from tests.differential.incidents.scene import Incident, Scene

LOG_FILTERS: Final = "1:rpc 1:util.threadjob 1:qemu.qemu_monitor 3:*"
#: A guest without an operating system: it stays in its firmware.
DOMAIN: Final = """\
<domain type='qemu'>
  <name>web</name>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{folder}/web.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


def _prepare(scene: Scene) -> None:
    configuration = scene.folder / "libvirt" / "qemu.conf"
    configuration.parent.mkdir()
    configuration.write_text('stdio_handler = "file"\n')  # virtlogd is not running
    (scene.folder / "web.xml").write_text(DOMAIN.format(folder=scene.folder))
    with (scene.folder / "web.img").open("wb") as disk:
        disk.truncate(1 << 20)
    for path in (configuration, configuration.parent, scene.folder / "web.img"):
        shutil.chown(path, "nobody")


def _uri(scene: Scene) -> str:
    return f"qemu+tcp://127.0.0.1:{scene.port}/session"


def _start_domain(scene: Scene) -> int:
    """Start the domain, and a block job in it; return the id of its process. The log of all that is dropped:
    it is megabytes of QEMU's capabilities."""
    output = scene.virsh("create", str(scene.folder / "web.xml"), uri=_uri(scene))
    assert "created" in output, output
    pid = int((scene.folder / "libvirt/qemu/run/web.pid").read_text())
    scene.afterwards.callback(os.kill, pid, signal.SIGKILL)
    copy = ("blockcopy", "web", "vda", "--dest", str(scene.folder / "copy.img"), "--format", "raw", "--wait")
    output = scene.virsh(*copy, uri=_uri(scene))
    assert "mirroring" in output, output
    os.truncate(scene.daemon.log, 0)
    return pid


def _client(scene: Scene, *words: str) -> subprocess.Popen[str]:
    """A client whose call has reached its worker."""
    jobs = scene.log.count("now running job remoteDispatchDomain")
    client = scene.client(*words, uri=_uri(scene))
    # The look-up of the domain, and the call.
    scene.wait_for(lambda: scene.log.count("now running job remoteDispatchDomain") >= jobs + 2)
    return client


def _waiting(scene: Scene) -> list[subprocess.Popen[str]]:
    """Clients that wait for the same domain, the first of them for QEMU."""
    commands = ("blockjob web vda --abort", "domblkstat web vda", "suspend web")
    return [_client(scene, *command.split()) for command in commands]


def _state_change_lock(scene: Scene) -> None:
    with scene.stopped(_start_domain(scene)):
        first, *others = _waiting(scene)
        listed = scene.virsh("list", uri=_uri(scene))
        assert "web" in listed, listed
        for client in others:
            output = scene.output(client)
            assert "(held by monitor=remoteDispatchDomainBlockJobAbort)" in output, output
    assert "error" not in scene.output(first)


def _blocked_object(scene: Scene) -> None:
    with scene.stopped(_start_domain(scene)):
        clients = _waiting(scene)
        time.sleep(4)
    for client in clients:
        output = scene.output(client)
        assert "error" not in output, output


def _unfinished_job(scene: Scene) -> None:
    pid = _start_domain(scene)
    os.kill(pid, signal.SIGSTOP)
    # The daemon reads no keepalive messages of a client at its limit.
    client = scene.client("-k1", "-K3", "blockjob", "web", "vda", "--abort", uri=_uri(scene))
    output = scene.output(client)
    assert "keepalive timeout" in output, output


INCIDENTS = (
    Incident(
        "state-change-lock",
        frozenset({"STATE_CHANGE_LOCK", "MONITOR_NO_REPLY", "BLOCKED_OBJECT"}),
        _state_change_lock,
        settings={"log_filters": f'"{LOG_FILTERS}"'},
        prepare=_prepare,
        tools=("qemu-system-x86_64",),
        probes=True,
    ),
    Incident(
        "blocked-object",
        frozenset({"BLOCKED_OBJECT"}),
        _blocked_object,
        settings={"log_filters": f'"{LOG_FILTERS}"'},
        prepare=_prepare,
        tools=("qemu-system-x86_64",),
        probes=True,
    ),
    Incident(
        "unfinished-job",
        frozenset({"UNFINISHED_JOB", "MONITOR_NO_REPLY", "KEEPALIVE_TIMEOUT"}),
        _unfinished_job,
        settings={"log_filters": f'"{LOG_FILTERS}"', "max_client_requests": "1"},
        prepare=_prepare,
        tools=("qemu-system-x86_64",),
        probes=True,
    ),
)
