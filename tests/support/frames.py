"""Hand-made frames, and Captured values of them, for tests of presenters."""

from __future__ import annotations

from pathlib import Path

from libvirt_proto.events import Captured, Connection, Direction
from libvirt_proto.rpc.message import Message, decode_message

REMOTE = 0x20008086
CONNECTION = Connection(1, "127.0.0.1:40508", "127.0.0.1:16509")


def word(number: int) -> bytes:
    """Four bytes, big-endian."""
    return (number & 0xFFFFFFFF).to_bytes(4, "big")


def text(value: bytes) -> bytes:
    """An XDR string."""
    return word(len(value)) + value + bytes(-len(value) % 4)


def frame(
    payload: bytes = b"",
    *,
    prog: int = REMOTE,
    vers: int = 1,
    proc: int = 66,
    type_: int = 0,
    serial: int = 0,
    status: int = 0,
) -> bytes:
    """Length word, header, payload."""
    header = b"".join(map(word, (prog, vers, proc, type_, serial, status)))
    return word(4 + len(header) + len(payload)) + header + payload


def error_payload(code: int, domain: int, message: bytes, level: int = 2) -> bytes:
    """virNetMessageError: code, domain, *message, level, *dom, *str1, *str2, *str3, int1, int2, *net."""
    parts = (word(code), word(domain), word(1), text(message), word(level), word(0))
    return b"".join(parts) + word(1) + text(message) + word(0) * 2 + word(-1) * 2 + word(0)


def captured(
    data: bytes | Message,
    n: int = 1,
    time_ns: int | None = 0,
    direction: Direction | None = "c2s",
    connection: Connection = CONNECTION,
    *,
    missing: int = 0,
) -> Captured:
    """A message as a source returns it."""
    if not isinstance(data, Message):
        data = decode_message(data, direction=direction, missing=missing)
    return Captured(n, time_ns, connection, direction, data)


def hand_made(captures: Path) -> list[Captured]:
    """The messages of hand-made-messages.hex (without the last, invalid one), 1.5 s apart, from the client,
    the server and an unknown side in turn."""
    lines = (captures / "hand-made-messages.hex").read_text().splitlines()
    frames = [bytes.fromhex(line) for line in lines if line and not line.startswith("#")][:-1]
    directions: tuple[Direction | None, ...] = ("c2s", "s2c", None)
    start = 1_700_000_000_000_000_000
    return [
        captured(data, i + 1, start + i * 1_500_000_000, directions[i % 3]) for i, data in enumerate(frames)
    ]
