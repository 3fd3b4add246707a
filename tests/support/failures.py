"""Calls that fail, and lines of logs about them, as sources return them; and their diagnosis."""

from __future__ import annotations

from collections.abc import Iterable

from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnosed, Diagnoser
from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.events import Captured, Connection, ConnectionEvent, LogLine, Notice
from libvirt_proto.rpc.statements import statement

from .frames import CONNECTION, REMOTE, captured, error_payload, frame

SECOND = 10**9
MS = 10**6
#: virErrorNumber.
RPC_ERROR = 39


def connection(number: int, client: str = "192.0.2.1", **kwargs: object) -> Connection:
    """A TCP connection from a client."""
    return Connection(number, f"{client}:{40000 + number}", "192.0.2.2:16509", **kwargs)  # type: ignore[arg-type]


def procedure(name: str, prog: int = REMOTE) -> int:
    """The number of a procedure."""
    return registry.default().program(prog).by_name[name].number


def call(
    proc: int | str,
    args: bytes = b"",
    ret: bytes = b"",
    *,
    error: tuple[int, bytes] | None = None,
    on: Connection = CONNECTION,
    serial: int = 1,
    at: int = 0,
    takes: int | None = MS,
    prog: int = REMOTE,
    headers: bool = False,
) -> list[Captured]:
    """A call and its reply, or none if it `takes` None. `error` is a code and a text. Of a log, only the
    `headers` are known."""
    number = procedure(proc, prog) if isinstance(proc, str) else proc
    request = frame(args, prog=prog, proc=number, serial=serial)
    out = [_captured(request, 2 * serial - 1, at, "c2s", on, headers)]
    if takes is not None:
        payload = ret if error is None else error_payload(error[0], 7, error[1])
        reply = frame(payload, prog=prog, proc=number, type_=1, serial=serial, status=int(error is not None))
        out.append(_captured(reply, 2 * serial, at + takes, "s2c", on, headers))
    return out


def _captured(data: bytes, n: int, at: int, direction: str, on: Connection, headers: bool) -> Captured:
    whole = len(data)
    seen = data[:28] if headers else data
    return captured(seen, n, at, direction, on, missing=whole - len(seen))  # type: ignore[arg-type]


def line(
    text: str, number: int = 1, at: int | None = 0, *, thread: str | None = "7", program: str = "libvirtd"
) -> LogLine:
    """A line of a log that states something."""
    stated = statement(text)
    assert stated is not None, text
    return LogLine(stated.kind, at, program, "7", thread, number, stated.details)


def event(kind: str, on: Connection | None = CONNECTION, at: int = 0, **details: str) -> ConnectionEvent:
    """An event that a daemon reports."""
    return ConnectionEvent(kind, at, on, tuple(details.items()))


def findings(*items: Diagnosed | Notice | Iterable[Diagnosed], file: str = "one.pcap") -> list[Finding]:
    """The findings of a recording."""
    diagnoser = Diagnoser(registry.default())
    diagnoser.source(file)
    for item in items:
        for each in item if isinstance(item, list) else [item]:
            if isinstance(each, Notice):
                diagnoser.notice(each)
            else:
                diagnoser.add(each)
    return diagnoser.finish().findings


def finding(rule: str, *items: Diagnosed | Notice | Iterable[Diagnosed]) -> Finding:
    """The only finding of a rule."""
    (found,) = (each for each in findings(*items) if each.rule == rule)
    return found


def rules(*items: Diagnosed | Notice | Iterable[Diagnosed]) -> set[str]:
    """The rules that find something."""
    return {each.rule for each in findings(*items)}
