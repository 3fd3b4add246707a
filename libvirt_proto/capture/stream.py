"""Chunks to messages: one FrameDecoder per direction, and recovery where it cannot continue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from ..events import Captured, Chunk, Closed, Direction, Item, Lines, Notice, NoticeCode, Seen
from ..rpc.foreign import first_bytes, identify
from ..rpc.frame import Frame, FrameDecoder
from ..rpc.message import Message
from ..rpc.plausible import plausible_header
from ..rpc.wire import LENGTH_HEAD, MAX_FRAME, MIN_FRAME, REMOTE_PROGRAM, TYPE_STATUS, WORD, WORD_SIZE

if TYPE_CHECKING:
    from .lanes import Lanes

_word, _length_head, _type_status = WORD.unpack_from, LENGTH_HEAD.unpack_from, TYPE_STATUS.unpack_from
#: A program number and version 1, as in a header.
_HEAD = slice(4, 12)

#: REMOTE_PROC_AUTH_SASL_START and _STEP: a security layer may begin after their last reply.
_SASL: Final = frozenset((68, 69))
_REPLY, _OK = 1, 0
#: Number of bytes of a stream used to identify its protocol.
_NAME_BYTES: Final = 4096
#: Pending bytes that a lane may begin with: they are copied for each unusual packet.
MAX_HANDED: Final = 16_384
#: Number of bytes fed at a time where bytes may be out of step.
_PIECE: Final = 4096

Severity = Literal["note", "error"]


class Decode(Protocol):
    """The signature of `libvirt_proto.rpc.message.decode_message`."""

    def __call__(self, data: bytes, direction: Direction | None = None, missing: int = 0) -> Message:
        """Decode one frame, or one that lacks `missing` bytes at its end (-1: an unknown number)."""


class _Programs:
    """The known programs, in the forms needed for searching."""

    def __init__(self, programs: frozenset[int]) -> None:
        self.numbers = programs
        self.heads = frozenset(number.to_bytes(4, "big") + b"\x00\x00\x00\x01" for number in programs)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        """A program number and version, compiled where bytes are out of step."""
        return re.compile(b"|".join(map(re.escape, sorted(self.heads))) or b"(?!)")

    def possible(self, data: bytes) -> bool:
        """Return whether a header can belong to a message of a connection in step: it has a known program, or
        else a valid type and status. (Random bytes pass once in 2^60.)"""
        if data[_HEAD] in self.heads:
            return True
        kind, status = _type_status(data)
        return bool(0 <= kind <= 6 and 0 <= status <= 2)

    def find(self, data: bytes | bytearray, start: int) -> tuple[int, bool]:
        """Find the next plausible message: return its position and True, or the position from which to search
        again when there are more bytes, and False."""
        for match in self._pattern.finditer(data, start + _HEAD.start):
            at = match.start() - _HEAD.start
            if len(data) - at < MIN_FRAME:
                return at, False
            if plausible_header(bytes(data[at : at + MIN_FRAME]), 0, self.numbers) and self._confirmed(
                data, at
            ):
                return at, True
        return max(start, len(data) - _HEAD.stop + 1), False

    def _confirmed(self, data: bytes | bytearray, at: int) -> bool:
        """Return whether the bytes after a found message are plausible, too, as far as they are there."""
        (length,) = _word(data, at)
        following = bytes(data[at + length : at + length + MIN_FRAME])
        return len(following) < MIN_FRAME or self.possible(following)


class _Protocol(Enum):
    """The protocol of a connection, as far as it is known."""

    #: No message was found yet.
    UNKNOWN = auto()
    LIBVIRT = auto()
    #: libvirt messages, after a SASL exchange: a security layer may begin with any byte.
    LIBVIRT_AFTER_SASL = auto()
    #: Another protocol, or encrypted: the connection is passed over.
    PASSED_OVER = auto()

    @property
    def is_libvirt(self) -> bool:
        """True if a message was found."""
        return self is _Protocol.LIBVIRT or self is _Protocol.LIBVIRT_AFTER_SASL


class _State(Enum):
    """The state of one direction.

    In FRESH, IN_STEP and ALIGNED, bytes go to the frame decoder. Damage leads to SKIPPING where the end of
    the damaged message is known, else to SEARCHING; both lead back to IN_STEP.
    """

    #: Nothing was received yet.
    FRESH = auto()
    #: In step: frames follow each other. The next byte may be in the middle of one.
    IN_STEP = auto()
    #: In step, of a libvirt connection, and the next byte begins a frame.
    ALIGNED = auto()
    #: `skip` bytes of a damaged message are still to come.
    SKIPPING = auto()
    #: Out of step: the next message is searched for.
    SEARCHING = auto()
    #: The same, because the capture begins in the middle of the connection.
    SEARCHING_START = auto()
    #: The connection is passed over (`_Protocol.PASSED_OVER`).
    PASSED_OVER = auto()
    ENDED = auto()
    #: Ended, without having received anything.
    ENDED_FRESH = auto()


_READY: Final = (_State.FRESH, _State.IN_STEP, _State.ALIGNED)
_SEARCHING: Final = (_State.SEARCHING, _State.SEARCHING_START)
_ENDED: Final = (_State.ENDED, _State.ENDED_FRESH)


class _Conversation:
    """State that both directions of a connection share."""

    def __init__(self) -> None:
        self.streams: dict[Direction | None, _Stream] = {}
        self.protocol = _Protocol.UNKNOWN
        #: Whether the notice `mid-connection` was given.
        self.mid_noted = False
        #: The direction that was closed first and when, whether it was reset, and how many were closed.
        self.closed_first: Direction | None = None
        self.first_ns: int | None = None
        self.reset = False
        self.closings = 0
        #: When the last direction was closed.
        self.closed_ns: int | None = None


class _Stream:
    """One direction of a connection."""

    def __init__(self, chunk: Chunk, conversation: _Conversation) -> None:
        self.connection = chunk.connection
        self.direction = chunk.direction
        self.conversation = conversation
        passed_over = conversation.protocol is _Protocol.PASSED_OVER
        self.state = _State.PASSED_OVER if passed_over else _State.FRESH
        self.decoder = FrameDecoder()
        #: Number of bytes fed to the decoder, and the position of the last header checked.
        self.fed = 0
        self.checked = -1
        #: SEARCHING: the bytes that may begin a message. Else empty.
        self.search = b""
        #: SKIPPING: number of bytes still to come of a damaged message. Else 0.
        self.skip = 0
        #: Number of bytes passed over since the last message.
        self.passed = 0
        #: Number of the packet with the last bytes.
        self.packet: int | None = None
        #: The first bytes, if they belong to no known protocol.
        self.unnamed = b""

    def restart(self, state: _State, skip: int = 0) -> None:
        """Continue in `state`, with a new decoder."""
        self.decoder = FrameDecoder()
        self.fed, self.checked = 0, -1
        self.search, self.skip = b"", skip
        self.state = state

    def align(self) -> None:
        """Tell ALIGNED from IN_STEP; leave any other state."""
        if self.state in _READY:
            aligned = self.conversation.protocol.is_libvirt and not self.pending
            self.state = _State.ALIGNED if aligned else _State.IN_STEP

    @property
    def searching(self) -> bool:
        """True if the direction is out of step."""
        return self.state in _SEARCHING

    def feed(self, data: bytes) -> list[Frame]:
        self.fed += len(data)
        return self.decoder.feed(data)

    @property
    def pending(self) -> int:
        """Number of bytes that wait for the rest of their message."""
        return self.fed - self.decoder.offset

    def expected(self) -> int | None:
        """Return the length of the pending message; None if fewer than four bytes of it are there."""
        in_step = not self.searching and self.pending >= 4
        return int(_word(self.decoder.pending)[0]) if in_step else None

    def notice(
        self,
        code: NoticeCode,
        text: str,
        time_ns: int | None,
        severity: Severity = "error",
        count: int | None = None,
    ) -> Notice:
        return Notice(code, text, self.connection, self.direction, time_ns, severity, count=count)


def messages(
    items: Iterable[Item], decode: Decode, *, programs: frozenset[int], lanes: Lanes | None = None
) -> Iterator[Seen]:
    """Yield the messages of a source, with Notices between them: the source's own, and those below.

    `programs` are the numbers of known programs, which distinguish a header from other bytes. Notices:
    `lost-bytes`, `mid-connection` (a note: the capture began after the connection), `incomplete-message`,
    `bad-frame` (bytes that are not a message where one should begin), `resynchronised` (with the number of
    bytes skipped), `no-message` (with the number of bytes at the end without a message), `not-libvirt` and
    `encrypted` (once per connection, the rest of which is skipped).
    """
    reader = Reader(decode, _Programs(programs))
    if lanes is not None:
        lanes.reader = reader
    return cast(Iterator[Seen], reader.read(items))  # yields Chunks only with rest=True


def messages_and_rest(
    items: Iterable[Item], decode: Decode, *, programs: frozenset[int]
) -> Iterator[Seen | Chunk]:
    """Yield the items of `messages`, with Chunks between them for the rest of each direction: zeros for bytes
    outside messages, lost or cut bytes, and ends. Together they are as long as the source."""
    return Reader(decode, _Programs(programs), rest=True).read(items)


class Reader:
    """The state of `messages`: the directions of all connections, and the number of messages so far."""

    def __init__(self, decode: Decode, programs: _Programs, *, rest: bool = False) -> None:
        self._decode = decode
        self._programs = programs
        #: Whether to yield Chunks of bytes outside messages, too.
        self._rest_wanted = rest
        self._conversations: dict[int, _Conversation] = {}
        self._streams: dict[tuple[int, Direction | None], _Stream] = {}
        self.count = 0

    def read(self, items: Iterable[Item]) -> Iterator[Seen | Chunk]:
        """Yield the items. This is the fast path: a direction in step, bytes in order, known programs."""
        heads, streams, decode = self._programs.heads, self._streams, self._decode
        aligned, ready = _State.ALIGNED, _READY
        time_ns = None
        for item in items:
            if not isinstance(item, Chunk):
                if isinstance(item, Lines):
                    self.count += item.messages
                    time_ns = time_ns if item.data_ns is None else item.data_ns
                yield item
                continue
            connection, direction, time_ns = item.connection, item.direction, item.time_ns
            stream = streams.get((connection.id, direction))
            if stream is None or stream.state not in ready or item.lost or item.cut or item.end:
                yield from self._chunk(stream or self._new(item), item)
                continue
            data = item.data
            if stream.state is aligned and len(data) >= MIN_FRAME:
                length, head = _length_head(data)
                if length == len(data) and head in heads:  # one complete message, as in most segments
                    message = decode(data, direction)
                    if message.header.proc in _SASL:
                        self._authenticated(stream, message)
                    self.count += 1
                    yield Captured(self.count, time_ns, connection, direction, message, (), item.packet)
                    continue
            stream.packet = item.packet
            frames = stream.feed(data)
            good = 0
            for frame in frames:
                if frame.data[_HEAD] not in heads and not self._programs.possible(frame.data):
                    break
                yield self._captured(stream, frame.data, time_ns)
                good += 1
            stream.align()
            if good < len(frames) or not (stream.state is aligned or self._in_step(stream)):
                rest = self._rest(stream, frames[good:])
                yield from self._trouble(stream, rest, time_ns)
                yield from self._walk(stream, rest, time_ns)
        for stream in list(streams.values()):
            yield from self._end(stream, time_ns, closed=False)

    def _new(self, chunk: Chunk) -> _Stream:
        conversation = self._conversations.setdefault(chunk.connection.id, _Conversation())
        stream = _Stream(chunk, conversation)
        conversation.streams[chunk.direction] = stream
        self._streams[chunk.connection.id, chunk.direction] = stream
        return stream

    def _in_step(self, stream: _Stream) -> bool:
        """Return whether the pending bytes can begin a message; checked once per message."""
        decoder = stream.decoder
        if decoder.error:
            return False
        if stream.pending < MIN_FRAME or stream.checked == decoder.offset:
            return True
        stream.checked = decoder.offset
        return self._programs.possible(decoder.pending)

    @staticmethod
    def _rest(stream: _Stream, frames: list[Frame]) -> bytes:
        """Return the bytes from a frame on, including the pending ones."""
        return b"".join([*(frame.data for frame in frames), stream.decoder.pending])

    def _captured(self, stream: _Stream, frame: bytes, time_ns: int | None, *, missing: int = 0) -> Captured:
        message = self._decode(frame, stream.direction, missing)
        if not stream.conversation.protocol.is_libvirt:
            stream.conversation.protocol = _Protocol.LIBVIRT
        self._authenticated(stream, message)
        self.count += 1
        return Captured(self.count, time_ns, stream.connection, stream.direction, message, (), stream.packet)

    @staticmethod
    def _authenticated(stream: _Stream, message: Message) -> None:
        """Note that the connection may be encrypted after this message."""
        header = message.header
        replied = (header.prog, header.type, header.status) == (REMOTE_PROGRAM, _REPLY, _OK)
        if replied and header.proc in _SASL:
            stream.conversation.protocol = _Protocol.LIBVIRT_AFTER_SASL

    def _blank(
        self,
        stream: _Stream,
        time_ns: int | None,
        size: int = 0,
        *,
        lost: int = 0,
        cut: int = 0,
        end: bool = False,
    ) -> Iterator[Chunk]:
        """Yield a Chunk for bytes outside messages, if wanted."""
        if self._rest_wanted and (size or lost or cut or end):
            conversation = stream.conversation
            reset = end and conversation.reset and conversation.closed_first == stream.direction
            yield Chunk(
                stream.connection, stream.direction, time_ns, bytes(size), lost, end, cut, reset=reset
            )

    # Lanes: directions that the native core reads

    def pending(self, connection: int, direction: Direction) -> bytes | None:
        """Return the bytes that begin the next message of a direction in step. None for another one, for a
        connection with SASL, and for more than MAX_HANDED bytes."""
        stream = self._streams.get((connection, direction))
        if stream is None or stream.conversation.protocol is not _Protocol.LIBVIRT:
            return None
        if stream.state is _State.ALIGNED:
            return b""
        handed = stream.state is _State.IN_STEP and stream.pending <= MAX_HANDED and not stream.decoder.error
        return stream.decoder.pending if handed else None

    def hand_over(self, connection: int, direction: Direction) -> None:
        """Forget the pending bytes of a direction, which is read elsewhere until `take_back`."""
        stream = self._streams[connection, direction]
        if stream.pending:
            stream.restart(_State.ALIGNED)

    def take_back(self, connection: int, direction: Direction, pending: bytes, packet: int) -> None:
        """Continue a direction in step after bytes that were read elsewhere; `pending` begin a message, and
        `packet` is the last packet with bytes."""
        stream = self._streams[connection, direction]
        stream.packet = packet or stream.packet
        if pending:
            stream.restart(_State.IN_STEP)
            stream.feed(pending)

    # The slow path

    def _chunk(self, stream: _Stream, chunk: Chunk) -> Iterator[Seen | Chunk]:
        """Process a Chunk with lost or cut bytes, at an end, or of a direction that is not in step."""
        data, time_ns = chunk.data, chunk.time_ns
        if data:
            stream.packet = chunk.packet
        if stream.state is _State.PASSED_OVER:
            yield from self._blank(stream, time_ns, len(data), lost=chunk.lost, cut=chunk.cut)
        else:
            if chunk.lost:
                yield from self._lost(stream, chunk)
            if stream.skip:
                step = min(stream.skip, len(data))
                data = data[step:]
                yield from self._blank(stream, time_ns, step)
                stream.skip -= step
                if not stream.skip:
                    stream.state = _State.IN_STEP
                    stream.align()
            if chunk.cut < 0:
                yield from self._header(stream, data, time_ns)
            elif data:
                yield from self._walk(stream, data, time_ns)
            if chunk.cut > 0:
                yield from self._cut(stream, chunk.cut, time_ns)
        if chunk.end:
            conversation = stream.conversation
            if conversation.closed_first is None:
                conversation.closed_first, conversation.first_ns = chunk.direction, time_ns
                conversation.reset = chunk.reset
            yield from self._end(stream, time_ns, closed=True)

    def _lost(self, stream: _Stream, chunk: Chunk) -> Iterator[Captured | Notice | Chunk]:
        """Report missing bytes, and continue after the message they belong to if its length is known, else
        with a search."""
        conversation, lost = stream.conversation, chunk.lost
        if lost < 0 and stream.state is _State.FRESH:
            if not conversation.mid_noted:
                conversation.mid_noted = True
                text = "the capture begins in the middle of the connection"
                yield stream.notice(NoticeCode.MID_CONNECTION, text, chunk.time_ns, "note")
            name = None if conversation.protocol.is_libvirt else identify(chunk.data)
            if name:
                yield from self._other(stream, name, chunk.time_ns)
            else:
                stream.restart(_State.SEARCHING_START)
            yield from self._blank(stream, chunk.time_ns, lost=lost)
            return
        text = f"{_bytes(lost)} lost" if lost > 0 else "an unknown number of bytes is lost"
        length, pending = stream.expected(), stream.pending
        if length is not None:
            text += f"; a message of {length} bytes remains incomplete"
        elif pending:
            text += f"; the {_bytes(pending, verb=False)} before them are not a complete message"
        count = lost if lost > 0 else None
        yield stream.notice(NoticeCode.LOST_BYTES, text, chunk.time_ns, count=count)
        yield from self._incomplete(stream, chunk.time_ns)
        yield from self._blank(stream, chunk.time_ns, lost=lost)
        self._step_over(stream, lost)

    def _header(
        self, stream: _Stream, data: bytes, time_ns: int | None
    ) -> Iterator[Captured | Notice | Chunk]:
        """Process the header of a message whose length the source does not show."""
        if self._programs.possible(data):
            yield self._captured(stream, data, time_ns, missing=-1)
            if stream.state is _State.FRESH:
                stream.state = _State.IN_STEP
            stream.align()
        else:
            yield stream.notice(NoticeCode.BAD_FRAME, "expected a message, got header", time_ns)
        yield from self._blank(stream, time_ns, cut=-1)

    def _cut(self, stream: _Stream, cut: int, time_ns: int | None) -> Iterator[Captured | Notice | Chunk]:
        """Process bytes that the source does not show and has reported: continue after them if a message ends
        there."""
        if stream.state is _State.PASSED_OVER:
            yield from self._blank(stream, time_ns, cut=cut)
            return
        length = stream.expected()
        hidden = cut - (stream.skip if length is None else length - stream.pending)
        if hidden > 0 and not stream.searching:
            text = f"{_bytes(hidden)} not shown by the source"
            yield stream.notice(NoticeCode.LOST_BYTES, text, time_ns, count=hidden)
        elif length is not None and stream.pending < MIN_FRAME:
            text = f"the header of a message of {length} bytes is not shown by the source"
            yield stream.notice(NoticeCode.LOST_BYTES, text, time_ns)
        yield from self._incomplete(stream, time_ns)
        yield from self._blank(stream, time_ns, cut=cut)
        self._step_over(stream, cut)

    def _incomplete(self, stream: _Stream, time_ns: int | None) -> Iterator[Captured | Chunk]:
        """Yield the pending message, if its header is there. The bytes that `decode` leaves out of it are
        cut."""
        length, pending = stream.expected(), stream.pending
        if length is not None and pending >= MIN_FRAME:
            captured = self._captured(stream, stream.decoder.pending, time_ns, missing=length - pending)
            yield captured
            seen = captured.message.length - captured.message.missing
            yield from self._blank(stream, time_ns, cut=pending - seen)
        else:
            held = len(stream.search) if stream.searching else pending
            yield from self._blank(stream, time_ns, held)

    @staticmethod
    def _step_over(stream: _Stream, count: int) -> None:
        """Continue after `count` missing bytes (-1: an unknown number): in step if they end within or with
        the pending or skipped message, else with a search."""
        length = stream.expected()
        rest = stream.skip if length is None else length - stream.pending
        if 0 < count <= rest:
            left = rest - count
            stream.restart(_State.SKIPPING if left else _State.IN_STEP, left)
        else:
            stream.passed += len(stream.search)
            stream.restart(stream.state if stream.searching else _State.SEARCHING)

    def _walk(self, stream: _Stream, data: bytes, time_ns: int | None) -> Iterator[Captured | Notice | Chunk]:
        """Process bytes in small pieces, and search where they are out of step."""
        pos = 0
        if stream.search:
            data, stream.search = stream.search + data, b""
        while pos < len(data) and stream.state is not _State.PASSED_OVER:
            if stream.searching:
                at, found = self._programs.find(data, pos)
                stream.passed += at - pos
                yield from self._blank(stream, time_ns, at - pos)
                pos = at
                if not found:
                    stream.search = data[at:]
                    if stream.unnamed and not stream.conversation.protocol.is_libvirt:
                        yield from self._unnamed(stream, time_ns)
                    return
                if stream.passed:
                    text = f"{_bytes(stream.passed)} skipped before the next message"
                    from_start = stream.state is _State.SEARCHING_START
                    yield stream.notice(
                        NoticeCode.RESYNCHRONISED, text, time_ns, "note" if from_start else "error"
                    )
                stream.unnamed, stream.passed = b"", 0
                stream.restart(_State.IN_STEP)
            frames = stream.feed(data[pos : pos + _PIECE])
            pos = min(pos + _PIECE, len(data))
            good = 0
            while good < len(frames) and self._programs.possible(frames[good].data):
                yield self._captured(stream, frames[good].data, time_ns)
                good += 1
            stream.align()
            if good < len(frames) or not self._in_step(stream):
                rest = self._rest(stream, frames[good:])
                yield from self._trouble(stream, rest, time_ns)
                if len(rest) > pos:  # it began in an earlier Chunk
                    data, pos = rest + data[pos:], 0
                else:
                    pos -= len(rest)
        yield from self._blank(stream, time_ns, len(data) - pos)  # of a connection that is passed over

    def _trouble(self, stream: _Stream, rest: bytes, time_ns: int | None) -> Iterator[Notice | Chunk]:
        """Handle `rest`, which is not a message where one should begin: identify its protocol, or search in
        it."""
        protocol = stream.conversation.protocol
        if protocol is _Protocol.LIBVIRT_AFTER_SASL:
            text = "from here on the connection is encrypted (SASL security layer)"
            yield from self._pass(stream, NoticeCode.ENCRYPTED, text, time_ns, "SASL")
            return
        if protocol is _Protocol.UNKNOWN:
            name = identify(rest[:_NAME_BYTES])
            if name:
                yield from self._other(stream, name, time_ns)
                return
            stream.unnamed = rest[:_NAME_BYTES]
        else:
            length = int(_word(rest)[0])
            what = "header" if MIN_FRAME <= length <= MAX_FRAME else f"length word {length}"
            yield stream.notice(NoticeCode.BAD_FRAME, f"expected a message, got {what}", time_ns)
        stream.restart(_State.SEARCHING)

    def _other(self, stream: _Stream, name: str, time_ns: int | None) -> Iterator[Notice | Chunk]:
        """Pass over a connection with another protocol, or with TLS, which may contain libvirt."""
        if name.startswith("TLS"):
            text = f"{name}: encrypted; with a key log (--keylog FILE) tshark can decrypt it in a capture"
            yield from self._pass(stream, NoticeCode.ENCRYPTED, text, time_ns, "TLS")
        else:
            text = f"this is {name}, not libvirt"
            yield from self._pass(stream, NoticeCode.NOT_LIBVIRT, text, time_ns, name.partition(" (")[0])

    def _unnamed(self, stream: _Stream, time_ns: int | None) -> Iterator[Notice | Chunk]:
        """Pass over a connection that began with an unknown protocol, or one that only its first word shows,
        and contains no message."""
        from ..rpc.wronglength import explain  # slow to load, for its regular expressions

        start = explain(int.from_bytes(stream.unnamed[:WORD_SIZE]), ())
        if start.kind == "foreign" and len(stream.unnamed) >= WORD_SIZE:
            yield from self._pass(
                stream, NoticeCode.NOT_LIBVIRT, f"this is {start.text}", time_ns, start.protocol or "unknown"
            )
            return
        text = (
            "this is neither libvirt nor another known protocol (it begins with"
            f" {first_bytes(stream.unnamed)})"
        )
        yield from self._pass(stream, NoticeCode.NOT_LIBVIRT, text, time_ns, "unknown")

    def _pass(
        self, stream: _Stream, code: NoticeCode, text: str, time_ns: int | None, protocol: str
    ) -> Iterator[Notice | Chunk]:
        """Report the protocol of the connection, and pass over the rest of it."""
        # On a network, other protocols are expected; a file of such bytes is a mistake.
        raw = stream.connection.transport == "raw"
        severity: Severity = "error" if raw else "note"
        data = stream.unnamed if raw else b""
        yield Notice(code, text, stream.connection, stream.direction, time_ns, severity, data, protocol)
        stream.conversation.protocol = _Protocol.PASSED_OVER
        for each in stream.conversation.streams.values():
            if each.state in _ENDED:
                continue
            # The caller continues with the pending bytes of this one.
            held = len(each.search) if each.search else 0 if each is stream else each.pending
            yield from self._blank(each, time_ns, held)
            each.restart(_State.PASSED_OVER)

    def _end(self, stream: _Stream, time_ns: int | None, *, closed: bool) -> Iterator[Seen | Chunk]:
        """End a direction, because it was closed or the input ends, and report what remains of it."""
        conversation = stream.conversation
        if stream.searching:
            left = stream.passed + len(stream.search)
            if left:
                yield stream.notice(
                    NoticeCode.NO_MESSAGE, f"no message in the last {_bytes(left, verb=False)}", time_ns
                )
            yield from self._blank(stream, time_ns, len(stream.search))
        elif stream.pending:
            needed = stream.expected() or MIN_FRAME
            text = f"the last message is incomplete: it needs {needed} bytes, {stream.pending} available"
            yield stream.notice(NoticeCode.INCOMPLETE_MESSAGE, text, time_ns)
            yield from self._incomplete(stream, time_ns)
        yield from self._blank(stream, time_ns, end=closed)
        if closed:  # at the end of the input, the other side may not have closed its direction
            conversation.closings += 1
            conversation.closed_ns = time_ns
        self._streams.pop((stream.connection.id, stream.direction), None)
        stream.state = _State.ENDED_FRESH if stream.state is _State.FRESH else _State.ENDED
        both = len(conversation.streams) > 1 or stream.direction is None
        if both and all(each.state in _ENDED for each in conversation.streams.values()):
            del self._conversations[stream.connection.id]
            if conversation.closings and stream.direction:  # without one it is one of several pieces of hex
                yield self._closed(stream)
            unused = all(each.state is _State.ENDED_FRESH for each in conversation.streams.values())
            if unused and stream.direction:
                text = "the connection was opened and closed without data"
                yield Notice(
                    NoticeCode.NOT_LIBVIRT, text, stream.connection, None, time_ns, "note", protocol=""
                )

    @staticmethod
    def _closed(stream: _Stream) -> Closed:
        """Return the end of a connection. A source that reports both ends at once does not show which was
        first, unless it was a reset."""
        conversation = stream.conversation
        closed_ns = conversation.closed_ns
        at_once = conversation.closings > 1 and closed_ns is not None and closed_ns == conversation.first_ns
        unknown = (at_once and not conversation.reset) or stream.connection.side is not None
        first = None if unknown else conversation.closed_first
        return Closed(stream.connection, closed_ns, first, conversation.reset)


def _bytes(count: int, *, verb: bool = True) -> str:
    """`1,448 bytes are`, or without the verb `1,448 bytes`."""
    noun, is_ = ("byte", "is") if count == 1 else ("bytes", "are")
    return f"{count:,} {noun} {is_}" if verb else f"{count:,} {noun}"
