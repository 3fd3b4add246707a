"""Incidents in which connections end, and many connections."""

from __future__ import annotations

import signal
import subprocess
import time

from tests.differential.incidents.clients import RECONNECTING, TWO_CALLS, TWO_CALLS_WITHOUT_EVENTS
from tests.differential.incidents.scene import Incident, Scene

#: No debug messages except those about jobs.
MESSAGES_AND_JOBS = {"log_filters": '"2:rpc 1:util.threadjob 3:*"'}
RUNNING, FINISHED = (f"{word} job remoteDispatchDomainGetInfo" for word in ("is now running", "finished"))


def _parallel_clients(scene: Scene) -> None:
    """Thirty clients of default settings at once."""
    clients = [scene.client("dominfo", "test") for _ in range(30)]
    for client in clients:
        said = scene.output(client)
        assert "Max memory" in said, said


def _reconnect_storm(scene: Scene) -> None:
    """A shell loop runs virsh 60 times, for more than a second on any machine."""
    for _ in range(60):
        assert "running" in scene.virsh("domstate", "test")
        time.sleep(0.02)


def _daemon_killed(scene: Scene) -> None:
    """The daemon is killed during calls of two clients, and starts again. A third client reconnects."""
    reconnecting = scene.python(RECONNECTING, scene.uri, "4", log=True)
    scene.wait_for(lambda: RUNNING in scene.log)
    scene.delay("virDomainGetInfo", 30)
    clients = [scene.client("dominfo", "test", uri=uri) for uri in (scene.uri, scene.unix_uri)]
    scene.wait_for(lambda: scene.log.count(RUNNING) - scene.log.count(FINISHED) == 3)
    scene.kill()
    (scene.folder / "delays").write_text("")
    for client in clients:
        said = scene.output(client)
        assert "client socket is closed" in said, said
    time.sleep(0.5)
    scene.start()
    said = scene.output(reconnecting)
    assert "unable to connect to server" in said, said


def _daemon_restarted(scene: Scene) -> None:
    """The daemon is restarted while two clients are connected: one waits for events, one makes calls."""
    reconnecting = scene.python(RECONNECTING, scene.uri, "3", log=True)
    waiting = scene.client("event", "--all", "--loop", uri=scene.unix_uri)
    registered = "finished job remoteDispatchConnectDomainEventCallbackRegisterAny"
    scene.wait_for(lambda: RUNNING in scene.log and registered in scene.log)
    scene.restart()
    said = scene.output(reconnecting)
    assert "End of file while reading data: Input/output error" in said, said
    waiting.send_signal(signal.SIGINT)
    said = scene.output(waiting)
    assert "due to end of file" in said, said


def _client_killed(scene: Scene) -> None:
    """Two clients are killed during a call."""
    scene.delay("virDomainGetInfo", 1)
    clients = [scene.client("dominfo", "test", uri=uri) for uri in (scene.uri, scene.unix_uri)]
    scene.wait_for(lambda: scene.log.count(RUNNING) == 2)
    for client in clients:
        client.kill()
    scene.wait_for(lambda: scene.log.count(FINISHED) == 2)
    time.sleep(0.3)


def _idle_dropped(scene: Scene) -> None:
    """Two idle connections are dropped: one by a firewall, without a word to the client; one by a reset."""
    silent = ["OUTPUT", "-o", "lo", "-p", "tcp", "--sport", str(scene.port), "-j", "DROP"]
    clients = []
    for code, rule in ((TWO_CALLS_WITHOUT_EVENTS, silent), (TWO_CALLS, [])):
        clients.append(scene.python(code, scene.uri, "3", log=True))
        scene.wait_for(lambda: scene.log.count(FINISHED) == len(clients))
        if rule:
            subprocess.run(["iptables", "-w", "-I", *rule], check=True)
        try:
            _drop_connections(scene)
        finally:
            if rule:
                subprocess.run(["iptables", "-w", "-D", *rule], check=True)
    said = [scene.output(client).strip() for client in clients]
    expected = ["Cannot recv data: Connection reset by peer", "internal error: client socket is closed"]
    assert said == expected


def _drop_connections(scene: Scene) -> None:
    """Destroy the daemon's ends of its TCP connections, when nothing is left to be acknowledged."""
    time.sleep(0.3)
    ends = ["state", "established", "src", "127.0.0.1", "sport", "=", f":{scene.port}"]
    before = scene.log.count("RPC_SERVER_CLIENT_DISPOSE")
    done = subprocess.run(["ss", "-K", "-H", "-t", "-n", *ends], capture_output=True, text=True)
    assert done.stdout, f"ss -K: nothing ended: {done.stderr}"
    scene.wait_for(lambda: scene.log.count("RPC_SERVER_CLIENT_DISPOSE") > before)


INCIDENTS = (
    Incident("parallel-clients", frozenset(), _parallel_clients, settings=MESSAGES_AND_JOBS, probes=True),
    Incident("reconnect-storm", frozenset({"RECONNECT_STORM"}), _reconnect_storm, settings=MESSAGES_AND_JOBS),
    Incident(
        "daemon-killed",
        frozenset({"DAEMON_RESTARTED"}),
        _daemon_killed,
        probes=True,
        delays=True,
    ),
    Incident(
        "daemon-restarted", frozenset({"DAEMON_RESTARTED"}), _daemon_restarted, probes=True, delays=True
    ),
    Incident("client-killed", frozenset({"CONNECTION_LOST"}), _client_killed, probes=True, delays=True),
    Incident(
        "idle-dropped", frozenset({"DISCONNECTED"}), _idle_dropped, tools=("ss", "iptables"), probes=True
    ),
)
