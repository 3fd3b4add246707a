"""Conversations of clients and daemons, as a source returns them: calls, replies, events and streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnosed, Diagnoser
from libvirt_proto.diagnose.findings import Diagnosis, Finding
from libvirt_proto.events import Captured, Closed, Connection, Direction, Side

from .frames import REMOTE, captured, error_payload, frame, text, word

SECOND = 10**9
MS = 10**6


def connection(number: int, side: Side | None = None) -> Connection:
    """A TCP connection of a client of its own."""
    return Connection(number, f"192.0.2.1:{40000 + number}", "192.0.2.2:16509", side=side)


def domain(name: str, number: int = 0) -> bytes:
    """A remote_nonnull_domain: name, UUID, id."""
    return text(name.encode()) + UUID(int=sum(name.encode()) + (number << 32)).bytes + word(-1)


def procedure(name: str, prog: int = REMOTE) -> int:
    """The number of a procedure."""
    return registry.default().program(prog).by_name[name].number


class Talk:
    """The messages of connections in order of time; numbers and serials count up. Times are in ns."""

    def __init__(self) -> None:
        self.items: list[tuple[int, Captured | Closed]] = []
        self._serials: dict[int, int] = {}

    def send(
        self,
        time_ns: int,
        direction: Direction,
        data: bytes,
        conn: int | Connection = 1,
    ) -> None:
        """Add a message."""
        on = connection(conn) if isinstance(conn, int) else conn
        self.items.append((time_ns, captured(data, 1, time_ns, direction, on)))

    def call(
        self,
        name: str,
        args: bytes = b"",
        ret: bytes = b"",
        *,
        at: int,
        takes: int | None = MS,
        conn: int | Connection = 1,
        error: bytes | None = None,
        prog: int = REMOTE,
    ) -> int:
        """Add a call, and its reply unless it `takes` None; return its serial. `error` is the text of an
        error reply."""
        number = conn if isinstance(conn, int) else conn.id
        serial = self._serials[number] = self._serials.get(number, 0) + 1
        proc = procedure(name, prog)
        self.send(at, "c2s", frame(args, prog=prog, proc=proc, serial=serial), conn)
        if takes is not None:
            payload = ret if error is None else error_payload(1, 10, error)
            status = 0 if error is None else 1
            reply = frame(payload, prog=prog, proc=proc, type_=1, serial=serial, status=status)
            self.send(at + takes, "s2c", reply, conn)
        return serial

    def event(
        self, name: str, payload: bytes, *, at: int, conn: int | Connection = 1, prog: int = REMOTE
    ) -> None:
        """Add an event."""
        self.send(at, "s2c", frame(payload, prog=prog, proc=procedure(name, prog), type_=2), conn)

    def close(self, conn: int | Connection = 1, *, at: int, first: Direction | None = "c2s") -> None:
        """End a connection."""
        on = connection(conn) if isinstance(conn, int) else conn
        self.items.append((at, Closed(on, at, first)))

    def __iter__(self) -> Iterator[Captured | Closed]:
        number = 0
        for _, item in sorted(self.items, key=lambda each: each[0]):
            if isinstance(item, Closed):
                yield item
                continue
            number += 1
            yield Captured(number, item.time_ns, item.connection, item.direction, item.message)


def diagnosis(*recordings: Iterable[Diagnosed]) -> Diagnosis:
    """Return the diagnosis of recordings `one.pcap`, `two.pcap`, …"""
    diagnoser = Diagnoser(registry.default())
    for name, items in zip(("one.pcap", "two.pcap", "three.pcap"), recordings, strict=False):
        diagnoser.source(name)
        for item in items:
            diagnoser.add(item)
    return diagnoser.finish()


def found(rule: str, *recordings: Iterable[Diagnosed]) -> list[Finding]:
    """Return the findings of a rule."""
    return [each for each in diagnosis(*recordings).findings if each.rule == rule]
