"""Incidents at the limits of libvirtd.conf."""

from __future__ import annotations

import socket
import time

from tests.differential.incidents.clients import CALL_AT_START, IDLE, PARALLEL_CALLS
from tests.differential.incidents.scene import Incident, Scene

#: Two workers for all calls, and one for those of high priority.
WORKERS = {"min_workers": "2", "max_workers": "2", "prio_workers": "1"}


def _request_limit(scene: Scene, threads: int) -> None:
    scene.delay("virDomainGetInfo", 0.3)
    for uri in (scene.uri, scene.unix_uri):
        said = scene.output(scene.python(PARALLEL_CALLS, uri, str(threads), log=True))
        assert said == "", said


def _request_limit_of_one(scene: Scene) -> None:
    """libvirt 9.0.0 gives no warning at a limit of 1."""
    _request_limit(scene, 4)


def _request_limit_of_five(scene: Scene) -> None:
    _request_limit(scene, 12)
    assert scene.log.count("Client hit max requests limit 5") == 2


def _workers_exhausted(scene: Scene) -> None:
    """Calls of five clients wait for two workers. A sixth client makes only calls of high priority."""
    scene.delay("virDomainGetInfo", 1.2)
    start = scene.folder / "start"
    # One after the other: the daemon may serve calls of the same moment in any order.
    clients = [scene.python(CALL_AT_START, scene.uri, str(start), str(n / 10), log=True) for n in range(5)]
    scene.wait_for(lambda: scene.log.count("finished job remoteDispatchDomainLookupByName") == 5)
    start.touch()
    scene.wait_for(lambda: scene.log.count(" proc=16 type=0 ") == 5)  # domain_get_info
    for _ in range(3):
        said = scene.virsh("list", log=True)
        assert "running" in said, said
        assert any(client.poll() is None for client in clients)
    for client in clients:
        assert scene.output(client) == ""


def _too_many_clients(scene: Scene) -> None:
    """Ten clients connect at once, for half a second each."""
    clients = [scene.python(IDLE, scene.uri, "0.5", log=True) for _ in range(10)]
    for client in clients:
        assert scene.output(client) == ""
    assert "Temporarily suspending services" in scene.log


def _too_many_anonymous_clients(scene: Scene) -> None:
    """Two connections never authenticate. virsh waits until they end, although its socket needs no
    authentication."""
    address = ("127.0.0.1", scene.port)
    with socket.create_connection(address), socket.create_connection(address):
        scene.wait_for(lambda: "Temporarily suspending services" in scene.log)
        client = scene.client("list", uri=scene.unix_uri, log=True)
        time.sleep(2)
        assert client.poll() is None
    assert "running" in scene.output(client)


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
    Incident(
        "workers-exhausted",
        frozenset({"WORKERS_EXHAUSTED"}),
        _workers_exhausted,
        settings=WORKERS,
        probes=True,
        delays=True,
    ),
    Incident(
        "too-many-clients",
        frozenset({"TOO_MANY_CLIENTS"}),
        _too_many_clients,
        settings={"max_clients": "3", "max_anonymous_clients": "3"},
        probes=True,
    ),
    Incident(
        "too-many-anonymous-clients",
        frozenset({"TOO_MANY_CLIENTS"}),
        _too_many_anonymous_clients,
        settings={"max_anonymous_clients": "2", "auth_tcp": '"sasl"'},
        probes=True,
    ),
)
