"""Incidents of a QEMU domain whose monitor does not answer: its process is stopped, so that a call holds
the domain's job and others wait for it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Final

from tests.differential.incidents import qemu
from tests.differential.incidents.scene import Incident, Scene

LOG_FILTERS: Final = "1:rpc 1:util.threadjob 1:qemu.qemu_monitor 3:*"


def _start_domain(scene: Scene) -> int:
    """Start the domain, and a block job in it; return the id of its process. The log of all that is dropped:
    it is megabytes of QEMU's capabilities."""
    pid = qemu.start(scene)
    copy = ("blockcopy", "web", "vda", "--dest", str(scene.folder / "copy.img"), "--format", "raw", "--wait")
    output = scene.virsh(*copy, uri=qemu.uri(scene))
    assert "mirroring" in output, output
    os.truncate(scene.daemon.log, 0)
    return pid


def _client(scene: Scene, *words: str) -> subprocess.Popen[str]:
    """A client whose call has reached its worker."""
    jobs = scene.log.count("now running job remoteDispatchDomain")
    client = scene.client(*words, uri=qemu.uri(scene))
    # The look-up of the domain, and the call.
    scene.wait_for(lambda: scene.log.count("now running job remoteDispatchDomain") >= jobs + 2)
    return client


def _waiting(scene: Scene) -> list[subprocess.Popen[str]]:
    """Clients that wait for the same domain, the first of them for QEMU."""
    commands = ("blockjob web vda --abort", "domblkstat web vda", "suspend web")
    return [_client(scene, *command.split()) for command in commands]


def _state_change_lock(scene: Scene) -> None:
    """The call that has the lock is still waiting at the end."""
    os.kill(_start_domain(scene), signal.SIGSTOP)
    _, *others = _waiting(scene)
    listed = scene.virsh("list", uri=qemu.uri(scene))
    assert "web" in listed, listed
    for client in others:
        output = scene.output(client)
        assert "(held by monitor=remoteDispatchDomainBlockJobAbort)" in output, output


def _statistics_lock(scene: Scene) -> None:
    """Two monitoring agents ask for the same statistics."""
    with scene.stopped(_start_domain(scene)):
        first = _client(scene, "domblkstat", "web", "vda")
        output = scene.output(_client(scene, "domblkstat", "web", "vda"))
        assert "(held by monitor=remoteDispatchDomainBlockStatsFlags)" in output, output
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
    client = scene.client("-k1", "-K3", "blockjob", "web", "vda", "--abort", uri=qemu.uri(scene))
    output = scene.output(client)
    assert "keepalive timeout" in output, output


INCIDENTS = (
    Incident(
        "state-change-lock",
        frozenset({"STATE_CHANGE_LOCK", "MONITOR_NO_REPLY", "UNFINISHED_JOB"}),
        _state_change_lock,
        settings={"log_filters": f'"{LOG_FILTERS}"'},
        prepare=qemu.prepare,
        tools=(qemu.EMULATOR,),
        probes=True,
    ),
    Incident(
        "state-change-lock-statistics",
        frozenset({"STATE_CHANGE_LOCK"}),
        _statistics_lock,
        settings={"log_filters": f'"{LOG_FILTERS}"'},
        prepare=qemu.prepare,
        tools=(qemu.EMULATOR,),
        probes=True,
    ),
    Incident(
        "blocked-object",
        frozenset({"BLOCKED_OBJECT"}),
        _blocked_object,
        settings={"log_filters": f'"{LOG_FILTERS}"'},
        prepare=qemu.prepare,
        tools=(qemu.EMULATOR,),
        probes=True,
    ),
    Incident(
        "unfinished-job",
        frozenset({"UNFINISHED_JOB", "MONITOR_NO_REPLY", "KEEPALIVE_TIMEOUT"}),
        _unfinished_job,
        settings={"log_filters": f'"{LOG_FILTERS}"', "max_client_requests": "1"},
        prepare=qemu.prepare,
        tools=(qemu.EMULATOR,),
        probes=True,
    ),
    Incident(
        "newer-state-change-lock",
        frozenset({"STATE_CHANGE_LOCK"}),
        _statistics_lock,
        settings={"log_filters": f'"{LOG_FILTERS}"'},
        prepare=qemu.prepare,
        probes=True,
        roots=True,
        newer=True,
    ),
)
