"""Normal traffic, in which nothing must be found."""

from __future__ import annotations

import random
import time

from tests.differential.incidents.clients import IDLE, MANAGER, WAITING
from tests.differential.incidents.scene import Incident, Scene

DOMAIN = "<domain type='test'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os></domain>"
VOLUME = 300_000  # bytes: several messages of a stream


def _quiet_day(scene: Scene) -> None:
    """Two clients wait for events, which a third causes now and then; keepalive pings in between."""
    waiting = [scene.python(WAITING, uri, "7") for uri in (scene.uri, scene.unix_uri)]
    time.sleep(2)
    scene.virsh("suspend", "test", uri=scene.unix_uri)
    time.sleep(1.5)
    scene.virsh("resume", "test")
    scene.virsh("pool-destroy", "default-pool")
    scene.virsh("pool-start", "default-pool", uri=scene.unix_uri)
    for client in waiting:
        assert scene.output(client) == ""


def _manager_session(scene: Scene) -> None:
    """A graphical manager with five domains, and its user's actions."""
    # The test driver forgets its objects with its last connection.
    idle = scene.python(IDLE, scene.uri, "8")
    scene.wait_for(lambda: "finished job remoteDispatchConnectListAllDomains" in scene.log)
    for name in ("web", "mail", "database", "build"):
        (scene.folder / "domain.xml").write_text(DOMAIN.format(name=name))
        said = scene.virsh("define", str(scene.folder / "domain.xml"))
        assert "defined from" in said, said
    client = scene.python(MANAGER, scene.uri, "6")
    time.sleep(2)
    said = scene.virsh("start", "web")
    assert "started" in said, said
    for each in (client, idle):
        said = scene.output(each)
        assert said == "", said


def _backup_session(scene: Scene) -> None:
    """A volume is created, written and read by streams."""
    data = random.Random(1).randbytes(1000) * (VOLUME // 1000)
    (scene.folder / "upload").write_bytes(data)
    pool = scene.folder / "pool"
    uri = f"storage+tcp://127.0.0.1:{scene.port}/session"
    for words in (
        ("pool-create-as", "backups", "dir", "--target", str(pool), "--build"),
        ("vol-create-as", "backups", "disk", str(VOLUME)),
        ("vol-upload", "--pool", "backups", "disk", str(scene.folder / "upload")),
        ("vol-download", "--pool", "backups", "disk", str(scene.folder / "download")),
        ("vol-delete", "--pool", "backups", "disk"),
        ("pool-destroy", "backups"),
    ):
        said = scene.virsh(*words, uri=uri)
        assert "error" not in said, said
    assert (scene.folder / "download").read_bytes() == data


def _admin_session(scene: Scene) -> None:
    """An administrator looks at the daemon's clients and limits, and changes one."""
    client = scene.python(WAITING, scene.unix_uri, "2")
    time.sleep(0.5)
    for words in (
        ("server-list",),
        ("server-threadpool-info", "libvirtd"),
        ("server-clients-info", "libvirtd"),
        ("client-list", "libvirtd"),
        ("server-clients-set", "libvirtd", "--max-unauth-clients", "100"),
        ("daemon-log-filters",),
    ):
        said = scene.admin(*words)
        assert "error" not in said, said
    assert scene.output(client) == ""


INCIDENTS = (
    Incident("quiet-day", frozenset(), _quiet_day, settings={"keepalive_interval": "1"}, probes=True),
    Incident("manager-session", frozenset(), _manager_session, probes=True),
    Incident("backup-session", frozenset(), _backup_session, probes=True),
    Incident("admin-session", frozenset(), _admin_session, tools=("virt-admin",), probes=True),
)
