"""Blank secrets in messages, events and notices, before anything shows or records them.

Everything keeps its length. Bytes that cannot be decoded cannot be searched, and are blanked as a whole:
stream data, payloads without a definition and spare bytes become zeros. A malformed payload becomes 0xff,
which remains malformed. An incomplete message keeps only its header; the rest counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, Literal

from msgspec.structs import replace

from ..capture.stream import messages, messages_and_rest
from ..codec.secretfields import kind
from ..codec.types import part_names
from ..errors import BadValue, ProtocolError
from ..events import Captured, Chunk, ConnectionEvent, Item, LogLine, Notice, NoticeCode, ProbeEvent, Seen
from ..generated import virnetprotocol as net
from ..rpc.message import Message, MessageDecoder, Status, encode_message
from ..rpc.wire import MIN_FRAME, WORD, WORD_SIZE
from .text import blank, redact_qmp, redact_text
from .values import Values

if TYPE_CHECKING:
    from ..capture.pcap.recorder import Recorder
    from ..codec.xdrtype import XdrType
    from ..registry import Registry

#: The parts that are blanked: secrets, or everything but headers, names and lengths.
What = Literal["secrets", "all"]

#: Fills malformed payloads: no length, count or discriminant has this value.
_MALFORMED: Final = b"\xff"
#: Notices whose texts contain only numbers and names of files and connections.
_PLAIN_NOTICES: Final = frozenset(
    (
        NoticeCode.BYTE_ORDER,
        NoticeCode.CUT_PACKETS,
        NoticeCode.CUT_STRINGS,
        NoticeCode.CLOCK_DIFFERENCE,
        NoticeCode.DEBUG_LINES,
        NoticeCode.DESCRIPTORS_LOST,
        NoticeCode.DROPPED_BYTES,
        NoticeCode.INCOMPLETE_MESSAGE,
        NoticeCode.IP_FRAGMENTS,
        NoticeCode.LOST_BYTES,
        NoticeCode.LOST_EVENTS,
        NoticeCode.MALFORMED_PACKETS,
        NoticeCode.MID_CONNECTION,
        NoticeCode.NO_CLOCK_DIFFERENCE,
        NoticeCode.NO_LIBVIRT,
        NoticeCode.NO_MESSAGE,
        NoticeCode.NO_PAYLOADS,
        NoticeCode.NO_RPC_LINES,
        NoticeCode.NO_TIMES,
        NoticeCode.NO_ZONE,
        NoticeCode.NOT_ACCEPTED,
        NoticeCode.NOT_CONNECTED,
        NoticeCode.NOTHING_IN_COMMON,
        NoticeCode.RESYNCHRONISED,
        NoticeCode.TRUNCATED_FILE,
        NoticeCode.UNKNOWN_LINK_TYPE,
    )
)
#: Arguments of the monitor's probes that contain its traffic.
_MONITOR_TEXTS: Final = frozenset(("msg", "reply", "event"))
#: Details of a LogLine that may quote anything, and those that name an object or a peer.
_REASONS: Final = frozenset(("reason",))
_FREE_TEXT: Final = _REASONS | {"domain", "client", "server", "identity"}
_LINE: Final = re.compile(r"line [0-9]+(?=:)")
_LOOKS_LIKE: Final = re.compile(r"looks like .*(?=; )", re.DOTALL)


class Redactor:
    """Decodes messages with the types of `registry`, and redacts them."""

    def __init__(self, registry: Registry, what: What = "secrets") -> None:
        self._registry = registry
        self._decode = MessageDecoder(registry).decode
        self.what: Final = what
        self._values = Values(everything=what == "all")
        self._text = blank if what == "all" else redact_text
        self._secret_types: dict[str, bool] = {}

    def decode(self, data: bytes, direction: str | None = None, missing: int = 0) -> Message:
        """Decode as MessageDecoder.decode does, and redact."""
        return self.message(self._decode(data, direction, missing))

    def message(self, message: Message) -> Message:
        """Redact a message. Redacting it again changes nothing."""
        if message.missing:
            return self._head(message)
        if message.error is not None:
            raw = _MALFORMED * len(message.raw or b"")
            error = _without_figures(message.error)
            return replace(message, payload=None, data=None, raw=raw, remarks=(), error=error)
        if message.data is not None:
            return replace(message, data=bytes(len(message.data)))
        payload = message.payload
        if payload is not None and message.payload_type is not None:
            redact = self._values.of(self._registry.type(message.payload_type))
            if redact is not None:
                self._values.quoting = message.header.status == Status.VIR_NET_ERROR and self._quotes(message)
                payload = redact(payload)
        if payload is message.payload and not message.spare and message.raw is None:
            return message
        spare = bytes(len(message.spare))
        return replace(message, payload=payload, spare=spare, raw=None, remarks=())

    def event(self, event: ConnectionEvent) -> ConnectionEvent:
        """Redact an event; its details are text."""
        return replace(event, details=tuple((name, self._text(text)) for name, text in event.details))

    def line(self, line: LogLine) -> LogLine:
        """Redact a line of a log: its free text; without names, too, if everything is blanked."""
        free = _FREE_TEXT if self.what == "all" else _REASONS
        details = {name: self._text(text) if name in free else text for name, text in line.details.items()}
        return replace(line, details=details)

    def seen_bytes(self, message: Message) -> bytes:
        """Return the frame of a redacted message, as far as it was seen."""
        if not message.missing:
            return encode_message(message, registry=self._registry)
        if message.missing < 0:
            return b""
        head = WORD.pack(message.length) + net.TYPES["virNetMessageHeader"].to_bytes(message.header)
        return head if message.fds is None else head + WORD.pack(message.fds)

    @staticmethod
    def _head(message: Message) -> Message:
        """Keep only the header of an incomplete message."""
        seen = MIN_FRAME + (WORD_SIZE if message.fds is not None else 0)
        return Message(
            message.header,
            message.length,
            message.fds,
            message.payload_type,
            missing=message.missing if message.missing < 0 else message.length - seen,
        )

    def _quotes(self, message: Message) -> bool:
        """Return whether an error may quote a secret, because the call that it answers has one."""
        header = message.header
        procedure = self._registry.procedure(header.prog, header.vers, header.proc)
        types = (procedure.args, procedure.ret) if procedure else ()
        return any(self._is_secret(type_) for type_ in types if type_ is not None)

    def _is_secret(self, type_: XdrType) -> bool:
        if type_.name not in self._secret_types:
            self._secret_types[type_.name] = any(
                kind(f"{type_.name}.{name}") == "secret" for name in part_names(type_.node)
            )
        return self._secret_types[type_.name]


def redacted_messages(
    items: Iterable[Item],
    redactor: Redactor,
    *,
    programs: frozenset[int],
    recorder: Recorder | None = None,
    live: bool = False,
) -> Iterator[Seen]:
    """Yield as stream.messages, redacted. `recorder` gets the redacted messages and zeros for all other
    bytes, flushed immediately with `live`."""
    if recorder is None:
        for seen in messages(items, redactor.decode, programs=programs):
            yield _redacted(seen, redactor)
        return
    recorder.restart()
    for item in messages_and_rest(items, redactor.decode, programs=programs):
        if isinstance(item, Chunk):
            recorder.add(item)
        elif isinstance(item, Captured):
            data = redactor.seen_bytes(item.message)
            recorder.add(Chunk(item.connection, item.direction, item.time_ns, data))
        if live:
            recorder.flush()
        if not isinstance(item, Chunk):
            yield _redacted(item, redactor)


def redacted_notice(notice: Notice) -> Notice:
    """Redact a notice: its text is left out if it may quote the input."""
    if notice.code in _PLAIN_NOTICES:
        return notice
    if notice.code == NoticeCode.UNREADABLE:
        return replace(notice, text=_LOOKS_LIKE.sub("is not libvirt", notice.text))
    line = _LINE.match(notice.text)
    where = f"{line[0]}: " if line else ""
    return replace(notice, text=f"{where}the text is left out, since it may quote the input (--redact)")


def redacted_probe_event(event: ProbeEvent, what: What) -> ProbeEvent:
    """Redact the event of a probe; truncated text of the monitor is blanked as a whole."""
    change = blank if event.cut or what == "all" else redact_qmp
    texts = {
        name: change(text)
        for name, text in event.arguments.items()
        if isinstance(text, str) and name in _MONITOR_TEXTS
    }
    return replace(event, arguments=event.arguments | texts)


def _redacted(seen: Seen, redactor: Redactor) -> Seen:
    if isinstance(seen, Notice):
        return redacted_notice(seen)
    if isinstance(seen, ProbeEvent):
        return redacted_probe_event(seen, redactor.what)
    if isinstance(seen, LogLine):
        return redactor.line(seen)
    return redactor.event(seen) if isinstance(seen, ConnectionEvent) else seen


def _without_figures(error: ProtocolError) -> ProtocolError:
    """Return the place and code of an error, without the bytes that it quotes."""
    return BadValue(f"malformed ({error.code}); its bytes are blanked", offset=error.offset, path=error.path)
