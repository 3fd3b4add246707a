"""Programs that use libvirt's Python binding, as `Scene.python` runs them."""

from __future__ import annotations

_EVENT_LOOP = """\
import sys, threading, time, libvirt
libvirt.registerErrorHandler(lambda context, error: None, None)
libvirt.virEventRegisterDefaultImpl()
def run_events():
    while True:
        libvirt.virEventRunDefaultImpl()
threading.Thread(target=run_events, daemon=True).start()
connection = libvirt.open(sys.argv[1])
connection.setKeepAlive(5, 5)
"""
_NO_EVENTS = """\
import sys, time, libvirt
libvirt.registerErrorHandler(lambda context, error: None, None)
connection = libvirt.open(sys.argv[1])
"""

#: Threads that share one connection, each with a call. Arguments: the URI, the number of threads.
PARALLEL_CALLS = (
    _EVENT_LOOP
    + """\
domain = connection.lookupByName("test")
def call():
    try:
        domain.info()
    except libvirt.libvirtError as error:
        print(error)
threads = [threading.Thread(target=call) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
connection.close()
"""
)

#: A client that makes a call some seconds after a file exists. Arguments: the URI, the file, the seconds.
CALL_AT_START = (
    _NO_EVENTS
    + """\
import os
domain = connection.lookupByName("test")
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
time.sleep(float(sys.argv[3]))
domain.info()
connection.close()
"""
)

#: A client that keeps its connection open. Arguments: the URI, the seconds.
IDLE = (
    _EVENT_LOOP
    + """\
connection.listAllDomains()
time.sleep(float(sys.argv[2]))
connection.close()
"""
)

#: A client that makes calls, and connects again when its connection ends. Arguments: the URI, the seconds.
RECONNECTING = """\
import sys, time, libvirt
libvirt.registerErrorHandler(lambda context, error: None, None)
end = time.monotonic() + float(sys.argv[2])
domain = None
while time.monotonic() < end:
    try:
        domain = domain or libvirt.open(sys.argv[1]).lookupByName("test")
        domain.info()
    except libvirt.libvirtError as error:
        print(error)
        domain = None
    time.sleep(0.3)
"""

_TWO_CALLS = """\
domain = connection.lookupByName("test")
domain.info()
time.sleep(float(sys.argv[2]))
try:
    domain.info()
except libvirt.libvirtError as error:
    print(error)
"""
#: A client that makes two calls. Arguments: the URI, the seconds between them.
TWO_CALLS = _EVENT_LOOP + _TWO_CALLS
#: The same without event loop and keepalive, as simple scripts and web front ends are.
TWO_CALLS_WITHOUT_EVENTS = _NO_EVENTS + _TWO_CALLS

#: A client that waits for events of domains and pools. Arguments: the URI, the seconds.
WAITING = (
    _EVENT_LOOP
    + """\
connection.setKeepAlive(1, 5)
def seen(*arguments):
    pass
connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, seen, None)
connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, seen, None)
connection.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, seen, None)
time.sleep(float(sys.argv[2]))
connection.close()
"""
)

#: A graphical manager: it lists all objects, reads their XML, waits for events, and shows statistics once a
#: second. Arguments: the URI, the number of seconds.
MANAGER = (
    _EVENT_LOOP
    + """\
connection.getCapabilities(), connection.getLibVersion(), connection.getVersion(), connection.getInfo()
def seen(*arguments):
    pass
for event in ("LIFECYCLE", "REBOOT", "AGENT_LIFECYCLE", "DEVICE_ADDED", "DEVICE_REMOVED"):
    number = getattr(libvirt, "VIR_DOMAIN_EVENT_ID_" + event)
    connection.domainEventRegisterAny(None, number, seen, None)
connection.networkEventRegisterAny(None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, seen, None)
connection.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, seen, None)
for domain in connection.listAllDomains():
    domain.XMLDesc(), domain.state(), domain.autostart(), domain.isPersistent()
for network in connection.listAllNetworks():
    network.XMLDesc(), network.autostart()
for pool in connection.listAllStoragePools():
    pool.XMLDesc(), pool.info()
    for volume in pool.listAllVolumes() if pool.isActive() else ():
        volume.XMLDesc()
connection.listAllDevices()
for _ in range(int(sys.argv[2])):
    connection.getAllDomainStats()
    connection.getFreeMemory()
    time.sleep(1)
connection.close()
"""
)

#: A client that defines and starts domains, and asks for the XML of each in turn. Arguments: the URI, the
#: number of rounds, the seconds between calls, the domains' names.
ROUNDS = (
    _EVENT_LOOP
    + """\
XML = "<domain type='test'><name>%s</name><memory>65536</memory><os><type>hvm</type></os></domain>"
domains = [connection.createXML(XML % name) for name in sys.argv[4:]]
for _ in range(int(sys.argv[2])):
    for domain in domains:
        domain.XMLDesc()
        time.sleep(float(sys.argv[3]))
connection.close()
"""
)
