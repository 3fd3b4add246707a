"""A program of a user, checked by mypy and pyright against the types of the package; it also runs."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime
from typing import Literal

import libvirt_proto
from libvirt_proto import FrameDecoder, decode_message, encode_message, registry
from libvirt_proto.generated import remote


def error_codes(path: str) -> Counter[str]:
    """The errors in a capture, by name."""
    codes: Counter[str] = Counter()
    with libvirt_proto.open(path) as capture:
        for message in capture:
            error: libvirt_proto.LibvirtError | None = message.error
            if error is not None:
                codes[error.code_name or str(error.code)] += 1
    return codes


def summary(data: bytes) -> list[str]:
    """Lines about a capture."""
    lines: list[str] = []
    with libvirt_proto.open(data, redact="secrets", name="it", ports=[16510]) as capture:
        for message in capture:
            time: datetime | None = message.time
            time_ns: int | None = message.time_ns
            direction: Literal["c2s", "s2c"] | None = message.direction
            program: str | None = message.program
            problem: libvirt_proto.ProtocolError | None = message.problem
            header: libvirt_proto.Header = message.message.header
            fields: dict[str, object] = message.to_dict()
            if (
                message.type == libvirt_proto.Type.VIR_NET_CALL
                and message.status == libvirt_proto.Status.VIR_NET_OK
            ):
                lines.append(
                    f"{time} {time_ns} {message.connection} {direction} {program} {message.procedure}"
                )
            assert message.serial == header.serial == fields["serial"]
            assert problem is None or problem.offset is not None
        for exchange in capture.exchanges():
            latency: int | None = exchange.latency_ns
            if latency is not None and exchange.outcome == "ok":
                lines.append(f"{exchange.procedure} {latency}")
        figures: libvirt_proto.Statistics = capture.statistics(top=3)
        lines += [f"{row.procedure} {row.calls}" for row in figures.procedures]
        notices: list[libvirt_proto.Notice] = capture.notices
        lines += [notice.text for notice in notices]
    return lines


def round_trip(frame: bytes) -> bytes:
    """A frame, decoded and encoded."""
    (first,) = FrameDecoder().feed(frame)
    message: libvirt_proto.Message = decode_message(first.data)
    return encode_message(message)


async def cpus(uri: str) -> int:
    """The number of a domain's CPUs."""
    async with libvirt_proto.connect(uri) as connection:
        found = await connection.remote.domain_lookup_by_name(name="test")
        info = await connection.remote.domain_get_info(dom=found.dom)
        return info.nrVirtCpu


def hostname(uri: str) -> str | bytes:
    """The name of a daemon's host."""
    with libvirt_proto.connect_sync(uri) as connection:
        return connection.remote.connect_get_hostname().hostname


def main() -> None:
    """Use what is public."""
    path = sys.argv[1]
    print(error_codes(path).total())
    with open(path, "rb") as file:
        print(len(summary(file.read())) > 0)
    domain = remote.RemoteNonnullDomain("test", bytes(16), 1)
    name: str | bytes = domain.name
    number: int = registry.program("remote").procedure("auth_list").number
    print(name, number, libvirt_proto.__version__.count("."))
    try:
        registry.program("remot")
    except libvirt_proto.UnknownName as error:
        suggestions: tuple[str, ...] = error.suggestions
        print(suggestions)
    try:
        libvirt_proto.open(b"")
    except libvirt_proto.Error as error:
        print(error)
    print(round_trip(bytes.fromhex("0000001c200080860000000100000042" + "00" * 12)).hex()[:8])


main()
