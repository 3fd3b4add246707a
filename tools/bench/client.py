"""A libvirtd client that repeats about a hundred libvirt API calls.

It needs a Python with libvirt's binding (Debian: python3-libvirt), not necessarily the project's:

    /usr/bin/python3 client.py test+tcp://127.0.0.1:16509/default 200000

It exits after that many messages (calls and replies) were sent and received.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import libvirt

VOLUME = "<volume><name>bench-{}</name><capacity>1048576</capacity></volume>"
#: Average number of messages per question: the binding queries features, and some questions are several
#: calls.
_EACH = 2.7
METADATA = "<bench xmlns='urn:example'/>"


def on_host(conn: Any) -> Iterator[Callable[[], Any]]:
    """Yield questions about the host."""
    yield from (conn.getHostname, conn.getCapabilities, conn.getInfo, conn.getVersion, conn.getLibVersion)
    yield from (conn.isSecure, conn.getSysinfo, conn.getFreeMemory, conn.listAllInterfaces)
    yield from (conn.listAllDevices, conn.listAllSecrets, conn.listAllNWFilters, conn.listAllNWFilterBindings)
    yield from (conn.getAllDomainStats, conn.listAllNetworks, conn.listAllStoragePools, conn.listAllDomains)
    yield from (conn.getSecurityModel, conn.getMemoryParameters, conn.getDomainCapabilities)
    yield lambda: conn.getMaxVcpus("test")
    yield lambda: conn.getCPUModelNames("x86_64")
    yield lambda: conn.getFreePages([4], 0, 2)
    yield lambda: conn.getCellsFreeMemory(0, 2)
    yield lambda: conn.lookupByName("no such domain")
    for cpu in (-1, 0):
        yield lambda cpu=cpu: conn.getCPUStats(cpu)
        yield lambda cpu=cpu: conn.getMemoryStats(cpu)
    for _ in range(3):
        yield conn.getCPUMap


def on_domain(conn: Any, domain: Any) -> Iterator[Callable[[], Any]]:
    """Yield questions about a domain, and changes that leave it as it was."""
    uuid, name = domain.UUID(), domain.name()
    yield lambda: conn.lookupByID(1)
    yield lambda: conn.lookupByUUID(uuid)
    yield lambda: conn.lookupByName(name)
    for _ in range(2):
        yield from (domain.info, domain.schedulerType, domain.blkioParameters, domain.memoryParameters)
        yield from (domain.numaParameters, domain.diskErrors)
        yield lambda: domain.getCPUStats(True)
    yield from (domain.XMLDesc, domain.state, domain.vcpus, domain.memoryStats, domain.schedulerParameters)
    yield from (domain.maxMemory, domain.isActive, domain.autostart, domain.OSType, domain.maxVcpus)
    yield from (domain.jobInfo, domain.guestInfo, domain.fsInfo, domain.snapshotNum, domain.listAllSnapshots)
    yield from (domain.listAllCheckpoints, domain.vcpuPinInfo, domain.emulatorPinInfo, domain.controlInfo)
    yield from (
        domain.securityLabel,
        domain.getTime,
        domain.ioThreadInfo,
        domain.perfEvents,
        domain.isUpdated,
    )
    yield from (domain.isPersistent, domain.hasManagedSaveImage, domain.suspend, domain.resume)
    yield lambda: domain.blockStats("vda")
    yield lambda: domain.blockInfo("vda")
    yield lambda: domain.blockJobInfo("vda")
    yield lambda: domain.interfaceStats("52:54:00:00:00:01")
    yield lambda: domain.interfaceAddresses(0)
    yield lambda: domain.setMemoryStatsPeriod(1)
    yield lambda: domain.vcpusFlags(0)
    yield lambda: domain.pinVcpu(0, (True,))
    yield lambda: domain.sendKey(0, 50, [30, 31, 32], 3)
    yield lambda: domain.setMetadata(2, METADATA, "bench", "urn:example", 0)
    yield lambda: domain.metadata(2, "urn:example")
    yield lambda: screenshot(conn, domain)


def screenshot(conn: Any, domain: Any) -> None:
    """Download a screenshot: a stream of a few messages."""
    stream = conn.newStream()
    domain.screenshot(stream, 0, 0)
    stream.recvAll(lambda *_: None, None)
    stream.finish()


def on_storage(pool: Any) -> Iterator[Callable[[], Any]]:
    """Yield questions about a storage pool, and about a volume, which is created and deleted."""
    yield from (pool.info, pool.XMLDesc, pool.listAllVolumes, pool.isPersistent, pool.autostart)
    yield pool.numOfVolumes

    def volume() -> None:
        made = pool.createXML(VOLUME.format(id(pool)))
        for question in (made.info, made.path, made.XMLDesc, made.delete):
            question()

    yield volume


def on_network(network: Any) -> Iterator[Callable[[], Any]]:
    """Yield questions about a network."""
    yield from (network.XMLDesc, network.isActive, network.bridgeName, network.autostart, network.DHCPLeases)


def main(uri: str, wanted: int) -> None:
    libvirt.registerErrorHandler(lambda *_: None, None)
    conn = libvirt.open(uri)
    questions = [
        *on_host(conn),
        *on_domain(conn, conn.lookupByID(1)),
        *(each for pool in conn.listAllStoragePools() for each in on_storage(pool)),
        *(each for network in conn.listAllNetworks() for each in on_network(network)),
    ]
    sent = 0.0
    while sent < wanted:
        for question in questions:
            with suppress(libvirt.libvirtError):  # an error is a reply as well
                question()
            sent += _EACH
    conn.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
