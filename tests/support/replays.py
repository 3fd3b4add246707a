"""Recordings of conversations for replay, and what raw clients do."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable
from typing import NamedTuple

from libvirt_proto.capture.pcap.recorder import Recorder
from libvirt_proto.events import Chunk, Connection, Direction

SECOND = 10**9


class Said(NamedTuple):
    """Bytes of one side of a connection, at a time in seconds."""

    direction: Direction
    data: bytes
    at: float = 0.0
    connection: int = 1


def client(data: bytes, at: float = 0.0, connection: int = 1) -> Said:
    return Said("c2s", data, at, connection)


def server(data: bytes, at: float = 0.0, connection: int = 1) -> Said:
    return Said("s2c", data, at, connection)


def pcapng(said: Iterable[Said], *, closed: bool = True) -> bytes:
    """A capture of the conversation; with `closed`, both sides end each connection."""
    file = io.BytesIO()
    recorder = Recorder(file)
    said = list(said)
    connections = {
        each.connection: Connection(
            each.connection, f"192.0.2.1:{40000 + each.connection}", "192.0.2.2:16509"
        )
        for each in said
    }
    last = int(max(each.at for each in said) * SECOND)
    for each in said:
        connection = connections[each.connection]
        recorder.add(Chunk(connection, each.direction, int(each.at * SECOND), each.data))
    for connection in connections.values() if closed else ():
        recorder.add(Chunk(connection, "c2s", last, b"", end=True))
        recorder.add(Chunk(connection, "s2c", last, b"", end=True))
    return file.getvalue()


def receive(one: socket.socket) -> bytes:
    """The next frame; b"" at the end of the connection."""
    head = one.recv(4, socket.MSG_WAITALL)
    return head and head + one.recv(int.from_bytes(head) - 4, socket.MSG_WAITALL)


def ask(one: socket.socket, call: bytes) -> bytes:
    """The next frame after a call."""
    one.sendall(call)
    return receive(one)
