"""Diagnoses of hand-made items, for tests of detectors."""

from __future__ import annotations

from collections.abc import Iterable

from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnosed, Diagnoser
from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.events import Captured, Closed, Connection, ConnectionEvent, Direction, LogLine, Notice
from libvirt_proto.rpc.statements import statement
from tests.support.frames import frame

MS = 10**6
SECOND = 10**9
#: Procedures.
CONNECT_OPEN, CONNECT_CLOSE, AUTH_LIST, GET_INFO, GET_STATE, MIGRATE = 1, 2, 66, 16, 212, 305
SERVER = "192.0.2.1:16509"


class Talk:
    """One connection of a recording; times are in seconds. Each message is numbered by `numbers`."""

    def __init__(
        self,
        id_: int = 1,
        client: str = "192.0.2.7:40000",
        server: str = SERVER,
        *,
        transport: str = "tcp",
        side: str | None = None,
    ) -> None:
        self.connection = Connection(id_, client, server, transport, 1, side)  # type: ignore[arg-type]
        self._serial = 0
        self._n = id_ * 1000

    def _message(self, data: bytes, time: float | None, direction: Direction | None) -> Captured:
        from tests.support.frames import captured

        self._n += 1
        return captured(data, self._n, _ns(time), direction, self.connection)

    def call(self, time: float | None, proc: int = GET_INFO, type_: int = 0) -> Captured:
        """A call with the next serial."""
        data = frame(proc=proc, serial=self._serial, type_=type_)
        self._serial += 1
        return self._message(data, time, "c2s")

    def reply(self, time: float | None, to: Captured, *, failed: bool = False) -> Captured:
        header = to.message.header
        data = frame(proc=header.proc, serial=header.serial, type_=1, status=1 if failed else 0)
        return self._message(data, time, "s2c")

    def answered(self, time: float, proc: int = GET_INFO, seconds: float = 0.001) -> list[Captured]:
        """A call and its reply."""
        call = self.call(time, proc)
        return [call, self.reply(time + seconds, call)]

    def opened(self, time: float = 0) -> list[Captured]:
        """The calls that open a connection, with their replies."""
        return [each for proc in (AUTH_LIST, 60, CONNECT_OPEN) for each in self.answered(time, proc)]

    def closed(self, time: float | None, first: Direction | None = None, *, reset: bool = False) -> Closed:
        return Closed(self.connection, _ns(time), first, reset)

    def event(self, kind: str, time: float | None, thread: str = "1") -> ConnectionEvent:
        return ConnectionEvent(kind, _ns(time), self.connection, (("thread", thread),))


def line(
    text: str, time: float | None = None, *, number: int = 1, program: str = "", thread: str | None = "1"
) -> LogLine:
    """A line of a log, with this text of libvirt."""
    stated = statement(text)
    assert stated is not None, text
    return LogLine(stated.kind, _ns(time), program, "", thread, number, stated.details)


def findings(items: Iterable[Diagnosed | Notice], *rules: str) -> list[Finding]:
    """The findings about a recording, those of some rules or all."""
    diagnoser = Diagnoser(registry.default(), rules=rules or None)
    diagnoser.source("one.pcap")
    for item in items:
        if isinstance(item, Notice):
            diagnoser.notice(item)
        else:
            diagnoser.add(item)
    return diagnoser.finish().findings


def summaries(items: Iterable[Diagnosed | Notice], *rules: str) -> list[str]:
    return [finding.summary for finding in findings(items, *rules)]


def _ns(time: float | None) -> int | None:
    return None if time is None else round(time * SECOND)
