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

#: A client that keeps its connection open. Arguments: the URI, the seconds.
IDLE = (
    _EVENT_LOOP
    + """\
connection.listAllDomains()
time.sleep(float(sys.argv[2]))
connection.close()
"""
)
