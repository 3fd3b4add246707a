"""Incidents at the limits of libvirtd.conf."""

from __future__ import annotations

from tests.differential.incidents.scene import Incident, Scene

#: Threads that share one connection, each with a call; the first argument after the URI is their number.
THREADS = """\
import sys, threading, libvirt
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName("test")
threads = [threading.Thread(target=domain.info) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
connection.close()
"""


def _request_limit(scene: Scene, threads: int) -> None:
    scene.delay("virDomainGetInfo", 0.3)
    for uri in (scene.uri, scene.unix_uri):
        said = scene.output(scene.python(THREADS, uri, str(threads), log=True))
        assert said == "", said


def _request_limit_of_one(scene: Scene) -> None:
    """libvirt 9.0.0 gives no warning at a limit of 1."""
    _request_limit(scene, 4)


def _request_limit_of_five(scene: Scene) -> None:
    _request_limit(scene, 12)
    assert scene.log.count("Client hit max requests limit 5") == 2


INCIDENTS = (
    Incident(
        "client-request-limit",
        frozenset({"CLIENT_REQUEST_LIMIT"}),
        _request_limit_of_one,
        settings={"max_client_requests": "1"},
        probes=True,
        delays=True,
    ),
    Incident(
        "client-request-limit-5",
        frozenset({"CLIENT_REQUEST_LIMIT"}),
        _request_limit_of_five,
        settings={"max_client_requests": "5"},
        probes=True,
        delays=True,
    ),
)
