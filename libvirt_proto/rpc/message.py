"""Messages: a header, and a payload that (type, status) and the procedure decide.

virnetprotocol.x says which payload belongs to which type and status, in its comment "RPC wire
format"; where that comment and libvirt's code disagree (the descriptor count is four bytes), the
code is meant.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from struct import Struct
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from ..codec.limits import MAX_FDS, MAX_FRAME, MIN_FRAME
from ..codec.xdrtype import Decoder, XdrType
from ..errors import BadValue, FrameError, OverLimit, ProtocolError, Truncated
from ..generated import virnetprotocol as net
from ..registry import Registry, default
from .frame import TYPES_WITH_FDS

Header = net.VirNetMessageHeader
Type = net.VirNetMessageType
Status = net.VirNetMessageStatus

_WORD = Struct(">I")
#: The length word, and a header as virNetMessageHeader has it.
_START = Struct(">IIIiiIi")
_HEAD: Final = _START.size
#: What the payload is: a type of the procedure, or one that is the same for all.
_KINDS: dict[tuple[int, int], Literal["args", "ret", "msg", "error", "abort", "hole", "data", "nothing"]] = {
    (Type.VIR_NET_CALL, Status.VIR_NET_OK): "args",
    (Type.VIR_NET_CALL_WITH_FDS, Status.VIR_NET_OK): "args",
    (Type.VIR_NET_REPLY, Status.VIR_NET_OK): "ret",
    (Type.VIR_NET_REPLY_WITH_FDS, Status.VIR_NET_OK): "ret",
    (Type.VIR_NET_REPLY, Status.VIR_NET_ERROR): "error",
    (Type.VIR_NET_REPLY_WITH_FDS, Status.VIR_NET_ERROR): "error",
    (Type.VIR_NET_MESSAGE, Status.VIR_NET_OK): "msg",
    (Type.VIR_NET_STREAM, Status.VIR_NET_CONTINUE): "data",
    (Type.VIR_NET_STREAM, Status.VIR_NET_OK): "nothing",
    (Type.VIR_NET_STREAM, Status.VIR_NET_ERROR): "abort",
    (Type.VIR_NET_STREAM_HOLE, Status.VIR_NET_CONTINUE): "hole",
    (Type.VIR_NET_STREAM_HOLE, Status.VIR_NET_OK): "nothing",
    (Type.VIR_NET_STREAM_HOLE, Status.VIR_NET_ERROR): "abort",
}
#: Those in which nothing but the payload stands behind the header, of a type that the header alone says.
_SETTLED: Final = frozenset(
    key
    for key, kind in _KINDS.items()
    if kind in ("args", "ret", "msg", "error") and key[0] not in TYPES_WITH_FDS
)
#: So many kinds of messages are remembered; libvirt has some 1,400, a hostile peer any number.
_MAX_KNOWN: Final = 4096


class Message(msgspec.Struct, frozen=True, gc=False):
    """A decoded frame.

    `length` is the length word (it counts itself). `fds` is the descriptor count of the two
    WITH_FDS types, None for the others. `payload_type` is the .x's name of the payload's type, None
    for no payload. `payload` is its value (a Partial where it broke off). `data` holds bytes that
    have no type: stream data, or a payload that no definition covers. `spare` are bytes behind a
    complete payload. `raw` is the payload as it was received, kept only where encoding `payload`
    would not give it back (it broke off; padding that is not zero, booleans other than 0 and 1),
    and `remarks` says what is not canonical. `error` says what is wrong with the payload. `missing` is
    how many bytes at the end of the frame nobody has seen: lost, or left out by the source; where
    nothing of the payload was seen, `payload` is None and `payload_type` says what it would have been.
    """

    header: Header
    length: int
    fds: int | None = None
    payload_type: str | None = None
    payload: Any = None
    data: bytes | None = None
    spare: bytes = b""
    raw: bytes | None = None
    remarks: tuple[str, ...] = ()
    error: ProtocolError | None = None
    missing: int = 0

    @property
    def malformed(self) -> bool:
        """Whether something is wrong with what the peer wrote, not only with what was seen of it."""
        return self.error is not None and not (self.missing and isinstance(self.error, Truncated))


def decode_message(
    data: bytes, direction: str | None = None, missing: int = 0, *, registry: Registry | None = None
) -> Message:
    """Decode one whole frame: length word, header, payload.

    `registry` is where types come from, by default the newest release. For the rest, and for what is
    raised, see MessageDecoder, which is quicker for many.
    """
    return _decoder(registry).decode(data, direction, missing)


class MessageDecoder:
    """Decodes whole frames: length word, header, payload. Types come from `registry`, by default the newest
    release."""

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry or default()
        #: Program, version, procedure, type, status → what `_decode` found out about such messages: how the
        #: payload is decoded and its type is called, each None for no payload.
        self._known: dict[
            tuple[int, int, int, int, int], tuple[Type | int, Status | int, Decoder | None, str | None]
        ] = {}

    def decode(self, data: bytes, direction: str | None = None, missing: int = 0) -> Message:
        """The message of a frame.

        `direction` (`c2s` or `s2c`) is not needed; it settles what an aborted stream carries (nothing
        from a client, an error from the server), which is otherwise told by whether anything is there.
        `missing` is how many bytes of the frame's end are not in `data`, for one that was not seen whole.

        Raises FrameError for a length word that no message can have, Truncated for fewer bytes than it
        says and BadValue for more. A payload that breaks off raises nothing: see Message.error.
        """
        if not missing and MIN_FRAME <= len(data) <= MAX_FRAME:
            length, prog, vers, proc, type_, serial, status = _START.unpack_from(data)
            known = self._known.get((prog, vers, proc, type_, status))
            if known is not None and length == len(data):  # nearly every message
                type_, status, payload, name = known
                try:
                    value, end = payload(data, _HEAD) if payload is not None else (None, _HEAD)
                except (struct.error, ProtocolError, RecursionError):
                    end = None  # not canonical, or broken
                if end == length:
                    return Message(Header(prog, vers, proc, type_, serial, status), length, None, name, value)
        return self._decode(data, direction, missing)

    def _decode(self, data: bytes, direction: str | None, missing: int) -> Message:
        size = len(data)
        if size < MIN_FRAME:
            raise Truncated(MIN_FRAME, size, offset=0)
        (length,) = _WORD.unpack_from(data)
        if not MIN_FRAME <= length <= MAX_FRAME:
            raise FrameError(length, MAX_FRAME, offset=0)
        if length != size + missing:
            if length > size + missing:
                raise Truncated(length, size + missing, offset=0)
            raise BadValue(f"{size + missing - length} bytes are left over", offset=length)
        header, pos = net.decode_virNetMessageHeader(data, 4)
        fds = None
        if header.type in TYPES_WITH_FDS and (pos < size or not missing):
            try:
                fds, pos = _descriptor_count(data, pos)
            except ProtocolError as error:
                return Message(header, length, raw=data[pos:], error=error.kept(), missing=missing)
        type_, typed = payload_of(header, pos < size or missing > 0, direction, self._registry)
        if typed and (header.type, header.status) in _SETTLED and len(self._known) < _MAX_KNOWN:
            key = (header.prog, header.vers, header.proc, header.type, header.status)
            payload = (type_.decode, type_.name) if type_ else (None, None)
            self._known[key] = (header.type, header.status, *payload)
        if missing:
            return _incomplete(Message(header, length, fds, missing=missing), data, pos, type_, typed)
        if not typed:
            return Message(header, length, fds, data=data[pos:])
        if type_ is None:
            return Message(header, length, fds, spare=data[pos:])
        reading = type_.read(data, pos)
        spare = b"" if reading.error else data[reading.next :]
        raw = data[pos : size - len(spare)] if reading.error or reading.remarks else None
        # Positionally: this is where every message with a payload comes out.
        return Message(
            header, length, fds, type_.name, reading.value, None, spare, raw, reading.remarks, reading.error
        )


@lru_cache(4)
def _decoder(registry: Registry | None) -> MessageDecoder:
    return MessageDecoder(registry)


def _incomplete(message: Message, data: bytes, pos: int, type_: XdrType | None, typed: bool) -> Message:
    """A message of whose payload only data[pos:] was seen."""
    seen, name = data[pos:], None if type_ is None else type_.name
    if not seen:
        return replace(message, payload_type=name)
    if type_ is None:
        return replace(message, **{"spare" if typed else "data": seen})
    reading = type_.read(data, pos)
    return replace(
        message,
        payload_type=name,
        payload=reading.value,
        spare=b"" if reading.error else data[reading.next :],
        raw=seen if reading.error or reading.remarks else None,
        remarks=reading.remarks,
        error=reading.error,
    )


def encode_message(message: Message, *, registry: Registry | None = None) -> bytes:
    """The frame of a message, with a right length word; the inverse of decode_message.

    `raw` is written as it is where there is one: make it None after changing the payload. Raises
    ProtocolError with the path to a value that does not fit its type, OverLimit for a frame or a
    descriptor count that is too large, and UnknownName for a payload_type that the registry lacks.
    """
    if message.missing:
        raise BadValue(f"{message.missing} bytes of the message were never seen")
    parts = [net.TYPES["virNetMessageHeader"].to_bytes(message.header)]
    if message.fds is not None:
        if not 0 <= message.fds <= MAX_FDS:
            raise OverLimit(MAX_FDS, message.fds, "descriptor count")
        parts.append(_WORD.pack(message.fds))
    if message.raw is not None:
        parts.append(message.raw)
    elif message.data is not None:
        parts.append(message.data)
    elif message.payload_type is not None:
        registry = registry or default()
        type_, _ = payload_of(message.header, True, None, registry)
        if type_ is None or type_.name != message.payload_type:
            type_ = registry.type(message.payload_type)
        parts.append(type_.to_bytes(message.payload))
    parts.append(message.spare)
    body = b"".join(parts)
    length = 4 + len(body)
    if length > MAX_FRAME:
        raise OverLimit(MAX_FRAME, length, "length word")
    return _WORD.pack(length) + body


def payload_kind(header: Header) -> Literal["args", "ret", "msg"] | None:
    """Which of a procedure's types the payload is; None for one that is not of the procedure."""
    kind = _KINDS.get((header.type, header.status))
    return kind if kind == "args" or kind == "ret" or kind == "msg" else None


def payload_of(
    header: Header, filled: bool, direction: str | None, registry: Registry
) -> tuple[XdrType | None, bool]:
    """The payload's type, None for no payload; and False for bytes that no definition covers.

    `filled` says whether there are any bytes, `direction` is as for decode_message.
    """
    kind = _KINDS.get((header.type, header.status))
    if kind in ("args", "ret", "msg"):
        procedure = registry.procedure(header.prog, header.vers, header.proc)
        return (getattr(procedure, kind), True) if procedure else (None, not filled)
    match kind:
        case "nothing":
            return None, True
        case "error":
            return registry.error, True
        case "abort" if direction == "c2s" or (direction is None and not filled):
            return None, True
        case "abort":
            return registry.error, True
        case "hole" if registry.stream_hole:
            return registry.stream_hole, True
        case "data":
            return None, False
        case _:
            return None, not filled


def _descriptor_count(data: bytes, pos: int) -> tuple[int, int]:
    """The count behind the header of a message that comes with descriptors."""
    if len(data) - pos < _WORD.size:
        raise Truncated(_WORD.size, len(data) - pos, offset=pos, path="fds")
    (count,) = _WORD.unpack_from(data, pos)
    if count > MAX_FDS:
        raise OverLimit(MAX_FDS, count, "descriptor count", offset=pos, path="fds")
    return count, pos + _WORD.size
