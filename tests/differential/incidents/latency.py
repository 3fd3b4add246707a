"""Incidents in which calls are slow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from tests.differential.incidents.clients import ROUNDS
from tests.differential.incidents.scene import Incident, Scene

NAMES = ("web", "mail", "database")
RUNNING = "is now running job remoteDispatchDomainGetXMLDesc"
LATENCY = 0.15  # seconds in each direction


def _slow_calls(scene: Scene) -> None:
    """Now and then a call takes 0.7 s, whichever domain it is about."""
    client = scene.python(ROUNDS, scene.uri, "20", "0.05", *NAMES, log=True)
    for calls in (8, 24, 43):
        scene.wait_for(lambda calls=calls: scene.log.count(RUNNING) >= calls)
        scene.delay("virDomainGetXMLDesc", 0.7)
        scene.wait_for(lambda calls=calls: scene.log.count(RUNNING) > calls)
        scene.delay("virDomainGetXMLDesc", 0)
    assert scene.output(client) == ""


def _slow_object(scene: Scene) -> None:
    """Calls about one domain take 0.3 s."""
    scene.delay("virDomainGetXMLDesc", 0.3, "database")
    client = scene.python(ROUNDS, scene.uri, "10", "0.05", *NAMES, log=True)
    assert scene.output(client) == ""


def _daemon_stalled(scene: Scene) -> None:
    """The daemon is stopped for 2 s, while three clients make calls."""
    uris = (scene.uri, scene.uri, scene.unix_uri)
    clients = [scene.python(ROUNDS, uri, "40", "0.1", f"{NAMES[i]}") for i, uri in enumerate(uris)]
    scene.wait_for(lambda: scene.log.count(RUNNING) > 20)
    with scene.stopped():
        time.sleep(2)
    for client in clients:
        assert scene.output(client) == ""


def _slow_network(scene: Scene) -> None:
    """Each call takes 0.3 s on its way through a relay, and a few milliseconds in the daemon."""
    with _slow_relay(scene.port) as port:
        uri = f"test+tcp://127.0.0.1:{port}/default"
        client = scene.python(ROUNDS, uri, "5", "0", *NAMES, log=True)
        assert scene.output(client) == ""


@contextmanager
def _slow_relay(port: int) -> Iterator[int]:
    """Relay one connection to a port with a delay in each direction; give the port of the relay."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def relay() -> None:
            client, _ = server.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as daemon:
                threads = [
                    threading.Thread(target=_delayed, args=ends)
                    for ends in ((client, daemon), (daemon, client))
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

        thread = threading.Thread(target=relay)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def _delayed(source: socket.socket, sink: socket.socket) -> None:
    """Copy data to another socket, each piece after the latency, until the end of the data."""
    pieces: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def send() -> None:
        while True:
            due, data = pieces.get()
            time.sleep(max(0, due - time.monotonic()))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)

    sender = threading.Thread(target=send)
    sender.start()
    data = b"-"
    while data:
        data = source.recv(65536)
        pieces.put((time.monotonic() + LATENCY, data))
    sender.join()


INCIDENTS = (
    Incident("slow-calls", frozenset({"SLOW_CALLS"}), _slow_calls, probes=True, delays=True),
    Incident("slow-object", frozenset({"SLOW_OBJECT"}), _slow_object, probes=True, delays=True),
    Incident("daemon-stalled", frozenset({"DAEMON_STALLED"}), _daemon_stalled, probes=True),
    Incident("slow-network", frozenset({"TIME_OUTSIDE_DAEMON"}), _slow_network, probes=True),
)
