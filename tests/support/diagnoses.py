"""Diagnoses of hand-made messages and logs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from libvirt_proto import open as open_capture
from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnosed, Diagnoser
from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.events import Captured, Closed, Connection, Direction
from tests.support.frames import captured, error_payload, frame, text, word

SECOND = 10**9
#: 17:23:37.301 of a day in 2024.
START = 1_710_264_217_301_000_000


def findings(*items: Diagnosed, rules: Iterable[str] | None = None) -> list[Finding]:
    """The findings about items of one recording, in the order of their times."""
    diagnoser = Diagnoser(registry.default(), rules=None if rules is None else set(rules))
    diagnoser.source("test.pcap")
    for item in sorted(items, key=lambda each: each.time_ns or 0):
        diagnoser.add(item)
    return diagnoser.finish().findings


def file_findings(
    *files: Path, rules: Iterable[str] | None = None, ports: Iterable[int] = ()
) -> list[Finding]:
    """The findings about files; `ports` are the daemon's."""
    diagnoser = Diagnoser(registry.default(), rules=None if rules is None else set(rules))
    for file in files:
        diagnoser.source(str(file))
        with open_capture(file, ports=ports) as capture:
            capture.examine(diagnoser)
    return diagnoser.finish().findings


def domain(name: str) -> bytes:
    """A remote_nonnull_domain."""
    return text(name.encode()) + name.encode().ljust(16, b"\0")[:16] + word(-1)


class Client:
    """A connection, and its messages so far. Times are seconds since START."""

    numbers = 0

    def __init__(self, id_: int) -> None:
        self.connection = Connection(id_, f"192.0.2.1:{40000 + id_}", "192.0.2.2:16509")
        self.items: list[Diagnosed] = []
        self._serial = 0

    def call(
        self,
        at: float,
        procedure: str,
        until: float | None = None,
        *,
        on: str = "web",
        error: tuple[int, str] | None = None,
    ) -> Client:
        """Add a call on a domain, and its reply; without `until` it has none."""
        number = registry.program("remote").procedure(procedure).number
        serial, self._serial = self._serial, self._serial + 1
        self._add(at, frame(domain(on), proc=number, serial=serial), "c2s")
        if until is not None:
            payload = b"" if error is None else error_payload(error[0], 10, error[1].encode())
            status = 0 if error is None else 1
            self._add(until, frame(payload, proc=number, type_=1, serial=serial, status=status), "s2c")
        return self

    def close(self, at: float) -> Client:
        """Add the end of the connection."""
        self.items.append(Closed(self.connection, _time(at), "c2s"))
        return self

    def _add(self, at: float, data: bytes, direction: Direction) -> None:
        Client.numbers += 1
        message: Captured = captured(data, Client.numbers, _time(at), direction, self.connection)
        self.items.append(message)


def messages(*clients: Client) -> list[Diagnosed]:
    """The items of all clients."""
    return [item for client in clients for item in client.items]


def _time(at: float) -> int:
    return START + round(at * SECOND)
