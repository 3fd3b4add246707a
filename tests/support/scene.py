"""Made-up traffic of several connections, for tests of `diagnose`: times are in ms."""

from __future__ import annotations

from collections.abc import Iterable

from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnosed, Diagnoser
from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.events import Closed, Connection, Direction, LogLine
from libvirt_proto.rpc.statements import statement
from tests.support.frames import captured, frame, text

MS = 1_000_000
KEEPALIVE = 0x6B656570
_PING, _PONG = 1, 2
#: Procedures of the remote program: of low and of high priority.
GET_INFO, GET_XML, ATTACH = 16, 14, 8
OPEN, CLOSE, LIST = 1, 2, 273


class Scene:
    """Collects items in any order; `items` are in the order of their times."""

    def __init__(self) -> None:
        self._items: list[tuple[float, Diagnosed]] = []
        self._connections: list[Connection] = []

    def connect(self, server: str = "10.0.0.1:16509") -> Connection:
        """Return another connection."""
        id_ = len(self._connections) + 1
        connection = Connection(id_, f"10.0.0.2:{40_000 + id_}", server)
        self._connections.append(connection)
        return connection

    def call(
        self,
        connection: Connection,
        start: float,
        end: float | None,
        serial: int,
        *,
        proc: int = GET_INFO,
        payload: bytes = b"",
        prog: int = 0x20008086,
    ) -> None:
        """Add a call and, if there is an end, its reply."""
        self._add(start, connection, "c2s", frame(payload, prog=prog, proc=proc, serial=serial))
        if end is not None:
            self._add(end, connection, "s2c", frame(prog=prog, proc=proc, serial=serial, type_=1))

    def ping(self, connection: Connection, time: float, sender: Direction = "s2c") -> None:
        """Add a ping."""
        self._add(time, connection, sender, frame(prog=KEEPALIVE, proc=_PING, type_=2))

    def pong(self, connection: Connection, time: float, sender: Direction = "c2s") -> None:
        """Add the answer to a ping."""
        self._add(time, connection, sender, frame(prog=KEEPALIVE, proc=_PONG, type_=2))

    def close(self, connection: Connection, time: float, first: Direction | None = "c2s") -> None:
        """Add the end of a connection."""
        self._items.append((time, Closed(connection, round(time * MS), first)))

    def _add(self, time: float, connection: Connection, direction: Direction, data: bytes) -> None:
        item = captured(data, len(self._items) + 1, round(time * MS), direction, connection)
        self._items.append((time, item))

    def items(self) -> list[Diagnosed]:
        """Return the items in order."""
        return [item for _, item in sorted(self._items, key=lambda each: each[0])]

    def findings(self, rule: str) -> list[Finding]:
        """Return the findings of a rule."""
        return findings(rule, self.items())


def domain(number: int) -> bytes:
    """A remote_nonnull_domain: name, UUID, id."""
    return text(b"vm%d" % number) + bytes([number] * 16) + bytes(4)


def findings(rule: str, items: Iterable[Diagnosed]) -> list[Finding]:
    """Return the findings of a rule in a recording."""
    diagnoser = Diagnoser(registry.default(), rules={rule})
    diagnoser.source("one.pcap")
    for item in items:
        diagnoser.add(item)
    return diagnoser.finish().findings


def line(stated_text: str, number: int, seconds: float | None = None, program: str = "") -> LogLine:
    """A line of a log that states something."""
    stated = statement(stated_text)
    assert stated is not None
    time_ns = None if seconds is None else round(seconds * 1000) * MS
    return LogLine(stated.kind, time_ns, program, "", None, number, stated.details)
