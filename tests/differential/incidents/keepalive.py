"""Incidents that end with a keepalive timeout."""

from __future__ import annotations

from tests.differential.incidents.clients import PARALLEL_CALLS
from tests.differential.incidents.scene import Incident, Scene

#: A ping per second; the connection is closed 4 s after the last message.
DAEMON = {"keepalive_interval": "1", "keepalive_count": "3"}
RUNNING = "is now running job remoteDispatchDomainGetInfo"
REGISTERED = "finished job remoteDispatchConnectDomainEventCallbackRegisterAny"
TIMED_OUT = "connection closed due to keepalive timeout"


def _daemon_stopped(scene: Scene) -> None:
    """Two clients wait for replies while the daemon is stopped."""
    scene.delay("virDomainGetInfo", 3)
    words = ("-k", "1", "-K", "3", "dominfo", "test")
    clients = [scene.client(*words, uri=uri, log=True) for uri in (scene.uri, scene.unix_uri)]
    scene.wait_for(lambda: scene.log.count(RUNNING) == 2)
    with scene.stopped():
        for client in clients:
            said = scene.output(client)
            assert "due to keepalive timeout" in said, said


def _client_stopped(scene: Scene) -> None:
    """Two clients are stopped: one waits for events, the other for a reply."""
    scene.delay("virDomainGetInfo", 5)
    waiting = scene.client("event", "--all", "--loop", uri=scene.unix_uri)
    calling = scene.client("dominfo", "test")
    scene.wait_for(lambda: RUNNING in scene.log and REGISTERED in scene.log)
    with scene.stopped(waiting.pid), scene.stopped(calling.pid):
        scene.wait_for(lambda: scene.log.count(TIMED_OUT) == 2)
    # They answer the pings that they find on the closed connection: SIGPIPE may end them without a message.
    for client in (calling, waiting):
        said = scene.output(client)
        assert client.returncode != 0, said


def _slow_call(scene: Scene) -> None:
    """At a limit of 1 the daemon does not read a client's replies to its pings during a call."""
    scene.delay("virDomainGetInfo", 6)
    clients = [scene.client("dominfo", "test", uri=uri, log=True) for uri in (scene.uri, scene.unix_uri)]
    for client in clients:
        said = scene.output(client)
        assert "due to end of file" in said, said
    assert scene.log.count(TIMED_OUT) == 2


def _saturated_client(scene: Scene) -> None:
    """The daemon runs five calls of a client, and reads neither the sixth nor replies to its pings."""
    scene.delay("virDomainGetInfo", 6)
    clients = [scene.python(PARALLEL_CALLS, uri, "8", log=True) for uri in (scene.uri, scene.unix_uri)]
    for client in clients:
        said = scene.output(client)
        assert said.count("Cannot recv data") + said.count("End of file") == 8, said
    assert scene.log.count(TIMED_OUT) == 2


INCIDENTS = (
    Incident(
        "keepalive-daemon-stopped",
        frozenset({"KEEPALIVE_TIMEOUT"}),
        _daemon_stopped,
        probes=True,
        delays=True,
    ),
    Incident(
        "keepalive-client-stopped",
        frozenset({"KEEPALIVE_TIMEOUT"}),
        _client_stopped,
        settings=DAEMON,
        probes=True,
        delays=True,
    ),
    Incident(
        "keepalive-slow-call",
        frozenset({"KEEPALIVE_TIMEOUT"}),
        _slow_call,
        settings=DAEMON | {"max_client_requests": "1"},
        probes=True,
        delays=True,
    ),
    Incident(
        "keepalive-saturated-client",
        frozenset({"KEEPALIVE_TIMEOUT", "CLIENT_REQUEST_LIMIT"}),
        _saturated_client,
        settings=DAEMON,
        probes=True,
        delays=True,
    ),
)
