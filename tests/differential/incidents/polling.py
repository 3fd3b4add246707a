"""Incidents of clients that make more calls than they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.differential.incidents.scene import Incident, Scene

DOMAIN: Final = """\
<domain type='test'>
  <name>vm{number}</name>
  <memory>1048576</memory>
  <vcpu>2</vcpu>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><source file='/vm{number}.img'/><target dev='vda' bus='virtio'/></disk>
  </devices>
</domain>
"""
_MAIN: Final = """\
import sys, time, libvirt
connection = libvirt.open(sys.argv[1])
"""
#: Six statistics of each domain, ten times.
POLL: Final = (
    _MAIN
    + """\
domains = connection.listAllDomains()
for _ in range(10):
    for domain in domains:
        domain.info()
        domain.memoryStats()
        domain.blockStats("vda")
        domain.blockInfo("vda")
        domain.vcpus()
        domain.getCPUStats(True)
    time.sleep(0.5)
"""
)
#: One call for each domain, once.
PER_DOMAIN: Final = (
    _MAIN
    + """\
for domain in connection.listAllDomains():
    domain.info()
"""
)
#: The same domains are looked up for each call.
LOOK_UPS: Final = (
    _MAIN
    + """\
for _ in range(20):
    for name in ("vm1", "vm2"):
        connection.lookupByName(name).isActive()
"""
)
#: What POLL could do: one call for all, ten times.
BULK: Final = (
    _MAIN
    + """\
for _ in range(10):
    connection.getAllDomainStats()
    time.sleep(0.5)
"""
)


def _run(code: str, domains: int) -> Callable[[Scene], None]:
    """Have a client run, with a test driver that has a number of domains."""

    def run(scene: Scene) -> None:
        path = scene.folder / "node.xml"
        path.write_text(
            "<node>\n" + "".join(DOMAIN.format(number=n + 1) for n in range(domains)) + "</node>\n"
        )
        output = scene.output(scene.python(code, f"test+tcp://127.0.0.1:{scene.port}{path}"))
        assert output == "", output

    return run


INCIDENTS = (
    Incident("polling-client", frozenset({"CALL_PER_OBJECT"}), _run(POLL, 3), probes=True),
    Incident("call-per-domain", frozenset({"CALL_PER_OBJECT"}), _run(PER_DOMAIN, 40), probes=True),
    Incident("repeated-lookups", frozenset({"REPEATED_LOOKUP"}), _run(LOOK_UPS, 3), probes=True),
    Incident("bulk-statistics", frozenset(), _run(BULK, 5), probes=True),
)
