"""Messages: a header, and a payload that depends on (type, status) and the procedure.

The comment "RPC wire format" in virnetprotocol.x assigns payloads to types and statuses. Where that comment
and libvirt's code disagree (the descriptor count is four bytes), this module follows the code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec.structs import replace

from ..errors import BadValue, FrameError, OverLimit, ProtocolError, Truncated
from ..generated import virnetprotocol as net
from ..native_types import NativePayloads
from ..registry import ERROR_PLACE, Registry, default
from .wire import MAX_FDS, MAX_FRAME, MIN_FRAME, START, TYPES_WITH_FDS, WORD, WORD_SIZE

if TYPE_CHECKING:
    from ..codec.xdrtype import XdrType

Header = net.VirNetMessageHeader
Type = net.VirNetMessageType
Status = net.VirNetMessageStatus

#: The kind of payload: a type of the procedure, or a fixed one.
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
#: Combinations in which only the payload follows the header, with a type that the header alone determines.
_SETTLED: Final = frozenset(
    key
    for key, kind in _KINDS.items()
    if kind in ("args", "ret", "msg", "error", "nothing") and key[0] not in TYPES_WITH_FDS
)
#: Messages after which the native core is asked for.
_ASKED: Final = 1000
#: A decoder, which may leave a payload to the exact one by returning None.
_Read = Callable[[bytes, int], tuple[Any, int] | None]
#: Maximum number of remembered kinds of messages; libvirt has about 1,400, a hostile peer any number.
_MAX_KNOWN: Final = 4096


class Message(msgspec.Struct, frozen=True, gc=False):
    """A decoded frame.

    `length` is the length word (it counts itself). `fds` is the descriptor count of the two WITH_FDS types,
    None for the others. `payload_type` is the .x name of the payload's type, None without a payload.
    `payload` is its value (a Partial if it is truncated). `data` is bytes without a type: stream data, or a
    payload without a definition. `spare` is the bytes after a complete payload.

    `raw` is the payload as received, only if encoding `payload` would not reproduce it (it is truncated, or
    has non-zero padding or booleans other than 0 and 1), and `remarks` lists what is not canonical. `error`
    is the problem of the payload. `missing` is the number of bytes at the end of the frame that were lost, or
    left out by the source; if the whole payload is missing, `payload` is None and `payload_type` its expected
    type. If the source shows only a header and no length, `missing` is -1 (an unknown number) and `length` 0.
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
        """True if the peer sent a malformed payload, as opposed to one that is merely incomplete here."""
        return self.error is not None and not (self.missing and isinstance(self.error, Truncated))


def decode_message(
    data: bytes, direction: str | None = None, missing: int = 0, *, registry: Registry | None = None
) -> Message:
    """Decode one complete frame: length word, header, payload.

    Types come from `registry`, by default the newest release. See MessageDecoder for the other parameters and
    errors; it is faster for many messages.
    """
    return _decoder(registry).decode(data, direction, missing)


class MessageDecoder:
    """Decodes complete frames: length word, header, payload. Types come from `registry`, by default the
    newest release."""

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry or default()
        self._native = NativePayloads(self._registry)
        #: Messages until the native core is asked for; then it reads most payloads.
        self._left = _ASKED
        #: Program, version, procedure, type, status → the decoder and the name of the payload's type, each
        #: None without a payload.
        self._known: dict[
            tuple[int, int, int, int, int], tuple[Type | int, Status | int, _Read | None, str | None]
        ] = {}

    def decode(self, data: bytes, direction: str | None = None, missing: int = 0) -> Message:
        """Decode a frame.

        `direction` (`c2s` or `s2c`) is optional; it determines the payload of an aborted stream (none from a
        client, an error from the server), which otherwise depends on whether there are any bytes. `missing`
        is the number of bytes at the end of the frame that `data` lacks; -1 means that `data` is the header
        of a message of unknown length, so that its length word means nothing.

        Raises FrameError for an invalid length word, Truncated if `data` is shorter than the length word, and
        BadValue if it is longer. A truncated payload raises nothing: see Message.error.
        """
        if not missing and MIN_FRAME <= len(data) <= MAX_FRAME:
            length, prog, vers, proc, type_, serial, status = START.unpack_from(data)
            known = self._known.get((prog, vers, proc, type_, status))
            if known is not None and length == len(data):  # nearly every message
                type_, status, payload, name = known
                try:
                    found = payload(data, MIN_FRAME) if payload is not None else (None, MIN_FRAME)
                except (ProtocolError, RecursionError):
                    found = None  # not canonical, or malformed
                self._left -= 1
                if not self._left:
                    self._ask()
                if found is not None and found[1] == length:
                    value, _ = found
                    return Message(Header(prog, vers, proc, type_, serial, status), length, None, name, value)
        return self._decode(data, direction, missing)

    def _ask(self) -> None:
        """Use the native core if it is worth it: kinds of messages are then learned again."""
        if self._native.is_worth_it(_ASKED):
            self._known.clear()
        elif self._native.is_possible:
            self._left = _ASKED

    def _decode(self, data: bytes, direction: str | None, missing: int) -> Message:
        size = len(data)
        if size < MIN_FRAME:
            raise Truncated(MIN_FRAME, size, offset=0)
        length = 0 if missing < 0 else _length(data, size + missing)
        header, pos = net.decode_virNetMessageHeader(data, WORD_SIZE)
        fds = None
        if header.type in TYPES_WITH_FDS and (pos < size or not missing):
            try:
                fds, pos = _descriptor_count(data, pos)
            except ProtocolError as error:
                return Message(header, length, raw=data[pos:], error=error.kept(), missing=missing)
        type_, typed = payload_of(header, pos < size or missing != 0, direction, self._registry)
        if typed and (header.type, header.status) in _SETTLED and len(self._known) < _MAX_KNOWN:
            key = (header.prog, header.vers, header.proc, header.type, header.status)
            payload = (self._native.decoder(type_) or type_.decode, type_.name) if type_ else (None, None)
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
        # Positional arguments, since every message with a payload is built here.
        return Message(
            header, length, fds, type_.name, reading.value, None, spare, raw, reading.remarks, reading.error
        )


@lru_cache(4)
def _native(registry: Registry) -> NativePayloads:
    return NativePayloads(registry)


@lru_cache(4)
def _decoder(registry: Registry | None) -> MessageDecoder:
    return MessageDecoder(registry)


def _incomplete(message: Message, data: bytes, pos: int, type_: XdrType | None, typed: bool) -> Message:
    """Build a message of whose payload only data[pos:] is there."""
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
    """Encode a message as a frame with the correct length word; the inverse of decode_message.

    `raw` is written as it is where there is one: make it None after changing the payload. Raises
    ProtocolError with the path to a value that does not fit its type, OverLimit for a frame or a
    descriptor count that is too large, and UnknownName for a payload_type that the registry lacks.
    """
    if message.missing:
        count = "an unknown number of" if message.missing < 0 else message.missing
        raise BadValue(f"{count} bytes of the message are missing")
    parts = [_encoded(net.TYPES["virNetMessageHeader"], message.header, default())]
    if message.fds is not None:
        if not 0 <= message.fds <= MAX_FDS:
            raise OverLimit(MAX_FDS, message.fds, "descriptor count")
        parts.append(WORD.pack(message.fds))
    if message.raw is not None:
        parts.append(message.raw)
    elif message.data is not None:
        parts.append(message.data)
    elif message.payload_type is not None:
        registry = registry or default()
        type_, _ = payload_of(message.header, True, None, registry)
        if type_ is None or type_.name != message.payload_type:
            type_ = registry.type(message.payload_type)
        parts.append(_encoded(type_, message.payload, registry))
    parts.append(message.spare)
    body = b"".join(parts)
    length = WORD_SIZE + len(body)
    if length > MAX_FRAME:
        raise OverLimit(MAX_FRAME, length, "length word")
    return WORD.pack(length) + body


def _encoded(type_: XdrType, value: Any, registry: Registry) -> bytes:
    """Return the XDR of a value, by the native core if it can."""
    written = _native(registry).encode(type_, value)
    return type_.to_bytes(value) if written is None else written


def payload_kind(header: Header) -> Literal["args", "ret", "msg"] | None:
    """Return the role of the payload's type in the procedure; None for a type that is not the procedure's."""
    kind = _KINDS.get((header.type, header.status))
    return kind if kind == "args" or kind == "ret" or kind == "msg" else None


def payload_of(
    header: Header, filled: bool, direction: str | None, registry: Registry
) -> tuple[XdrType | None, bool]:
    """Return the type of the payload, None without a payload, and False for bytes without a definition.

    `filled` is whether there are any bytes, `direction` is the same as in decode_message.
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


def settled_place(header: Header, registry: Registry) -> tuple[bool, str | None]:
    """Return whether the header alone determines what follows it, and the location of the type of that
    (`remote.remote_auth_list_ret`: module and type), None for nothing. Loads no type."""
    if (header.type, header.status) not in _SETTLED:
        return False, None
    kind = _KINDS[header.type, header.status]
    if kind == "nothing":
        return True, None
    if kind == "error":
        return True, ERROR_PLACE
    procedure = registry.procedure(header.prog, header.vers, header.proc)
    return (False, None) if procedure is None else (True, getattr(procedure, f"{kind}_place"))


def _length(data: bytes, size: int) -> int:
    """Return the length word of a frame of `size` bytes."""
    length: int = WORD.unpack_from(data)[0]
    if not MIN_FRAME <= length <= MAX_FRAME:
        raise FrameError(length, MAX_FRAME, offset=0)
    if length > size:
        raise Truncated(length, size, offset=0)
    if length < size:
        raise BadValue(f"{size - length} bytes are left over", offset=length)
    return length


def _descriptor_count(data: bytes, pos: int) -> tuple[int, int]:
    """Read the descriptor count after the header of a message with descriptors."""
    if len(data) - pos < WORD_SIZE:
        raise Truncated(WORD_SIZE, len(data) - pos, offset=pos, path="fds")
    (count,) = WORD.unpack_from(data, pos)
    if count > MAX_FDS:
        raise OverLimit(MAX_FDS, count, "descriptor count", offset=pos, path="fds")
    return count, pos + WORD_SIZE
