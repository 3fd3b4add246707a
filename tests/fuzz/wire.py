"""Fuzz targets for the wire format: one message, a stream of frames, a JSON line."""

from __future__ import annotations

from struct import Struct

from libvirt_proto import ProtocolError, registry
from libvirt_proto.events import Captured, Connection, Direction
from libvirt_proto.jsonlines.presenter import JsonLinesPresenter
from libvirt_proto.jsonlines.reader import Parser
from libvirt_proto.rpc.frame import Frame, FrameDecoder
from libvirt_proto.rpc.message import Message, decode_message, encode_message, payload_of
from libvirt_proto.rpc.wire import MAX_FDS, MIN_FRAME
from tests.support.oracles import line_or_error, value_or_error

from .taker import Taker

_WORD = Struct(">I")
_DIRECTIONS: tuple[Direction | None, ...] = (None, "c2s", "s2c")
_CONNECTION = Connection(1, "127.0.0.1:40508", "127.0.0.1:16509")
# Everything is loaded while imports are instrumented.
for _module in registry.default().modules():
    assert _module.types is not None
_PRESENT = JsonLinesPresenter(registry.default())
_PARSE = Parser(registry.default())


def message(data: bytes) -> None:
    """The first byte: the direction, whether the length word is included, and the number of bytes missing at
    the end. Then a frame without or with its length word.

    Any bytes give a Message or a ProtocolError with a place. A Message encodes to the same bytes, directly
    and through its JSON line, and the fast and the exact decoder of the payload's type agree.
    """
    how = data[0] if data else 0
    direction = _DIRECTIONS[how % 3]
    whole = data[1:] if how & 64 else _WORD.pack(len(data) - 1 + 4) + data[1:]
    missing = min(how >> 2 & 15, len(whole)) if how & 128 else 0
    seen = whole[: len(whole) - missing]
    try:
        found = decode_message(seen, direction=direction, missing=missing)
    except ProtocolError as error:
        assert str(error)
        assert error.offset is not None
        assert 0 <= error.offset <= max(len(whole), MIN_FRAME)
        assert error.as_dict()["code"] == error.code
        return
    assert found.length == len(whole)
    assert found.missing == missing
    _payload(found, seen, direction)
    if missing:
        _PRESENT(Captured(1, 0, _CONNECTION, direction, found))
        return
    assert encode_message(found) == whole
    parsed = _PARSE(_PRESENT(Captured(1, 0, _CONNECTION, direction, found)))
    assert parsed is not None
    assert parsed.frame == whole


def _payload(found: Message, seen: bytes, direction: str | None) -> None:
    error = found.error
    if error is not None:
        assert str(error)
        assert error.offset is not None
        assert MIN_FRAME <= error.offset <= len(seen)
    start = MIN_FRAME + (0 if found.fds is None else 4)
    if found.fds is None and error is not None and error.path == "fds":
        return
    type_, typed = payload_of(
        found.header, len(seen) > start or found.missing > 0, direction, registry.default()
    )
    if typed and type_ is not None:
        value_or_error(type_, seen[start:])


def frames(data: bytes) -> None:
    """The first bytes: a limit, whether the stream is a unix socket's, the sizes of pieces. Then the stream.

    However it is cut, the frames equal those of a simple loop over the whole, and together with the pending
    bytes they are the whole stream; after an error it continues at the given position.
    """
    taker = Taker(data)
    how = taker.number(1)
    skip = taker.below(64)
    limit = (MIN_FRAME, 64, 4096, 33554436)[how & 3]
    fd_bytes = bool(how & 4)
    sizes = [taker.below(48) + 1 for _ in range(how >> 4)] or [1 << 20]
    stream = taker.rest()

    expected, error_at, end = _walk(stream, 0, limit, fd_bytes)
    decoder = FrameDecoder(max_frame=limit, fd_bytes=fd_bytes)
    found, pos, turn = list[Frame](), 0, 0
    while pos < len(stream):
        size = sizes[turn % len(sizes)]
        found += decoder.feed(stream[pos : pos + size])
        pos, turn = pos + size, turn + 1
    assert found == expected
    assert (None if decoder.error is None else decoder.error.offset) == error_at
    assert decoder.offset == end
    assert decoder.pending == stream[end:]
    if error_at is None:
        return
    more, error_at, end = _walk(stream, min(end + skip, len(stream)), limit, fd_bytes)
    assert decoder.resume(skip) == more
    assert (None if decoder.error is None else decoder.error.offset) == error_at
    assert decoder.offset + len(decoder.pending) == len(stream)


def _walk(stream: bytes, pos: int, limit: int, fd_bytes: bool) -> tuple[list[Frame], int | None, int]:
    """The frames from `pos` on, the position of an invalid length word, and the end position."""
    found = []
    while len(stream) - pos >= 4:
        (length,) = _WORD.unpack_from(stream, pos)
        if not MIN_FRAME <= length <= limit:
            return found, pos, pos
        if len(stream) - pos < length:
            break
        data = stream[pos : pos + length]
        found.append(Frame(pos, data))
        pos += length
        kind, count = data[16:20], data[28:32]
        if fd_bytes and kind in (b"\0\0\0\4", b"\0\0\0\5") and len(count) == 4:
            number = int.from_bytes(count, "big")
            pos = min(pos + (number if number <= MAX_FDS else 0), len(stream))
    return found, None, pos


def line(data: bytes) -> None:
    """A JSON line is a message that encodes to the accompanying frame, or an error with a message."""
    line_or_error(data)
