"""A capture → the calls of each connection and what followed them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from ..api.capture import observe
from ..errors import Error
from ..events import Captured, Closed
from ..rpc.message import Header, Status, Type, encode_message
from ..rpc.wire import MIN_FRAME, REMOTE_PROGRAM, TYPES_WITH_FDS
from ..session import role, stream_direction
from .answers import NO_DESCRIPTORS, Answer, Await, Send
from .core import key

if TYPE_CHECKING:
    from ..api.capture import Capture
    from ..events import Seen
    from ..registry import Registry

#: Maximum number of recorded messages, and of their bytes.
MAX_MESSAGES: Final = 500_000
MAX_BYTES: Final = 256 * 1024 * 1024
#: Procedures of authentication: clients are told that there is none.
_AUTHENTICATION: Final = frozenset(
    ("auth_list", "auth_sasl_init", "auth_sasl_start", "auth_sasl_step", "auth_polkit")
)

_INCOMPLETE: Final = "its recorded reply is incomplete"
_NO_REPLY: Final = "its reply was not recorded"


class RecordingError(Error):
    """A capture that cannot be replayed; the text is a sentence."""


class Recording(msgspec.Struct, frozen=True):
    """The calls of each connection in order: key, header and what followed.

    `longest` is the length of the longest message of a client. `left_out` counts messages that cannot be
    replayed, by the reason.
    """

    connections: list[list[tuple[bytes, Header, Answer]]]
    longest: int
    left_out: dict[str, int]

    @property
    def calls(self) -> int:
        """Number of calls."""
        return sum(map(len, self.connections))


def record(capture: Capture) -> Recording:
    """Read a capture to its end. Raises RecordingError if it has no calls, or more messages than the limits
    allow."""
    recorder = _Recorder(capture.registry)
    observe(capture, recorder.add)
    for _ in capture.timeline():
        pass
    recording = recorder.finish()
    if not recording.calls:
        raise RecordingError(f"{capture.name}: no call to replay")
    return recording


class _Open(msgspec.Struct):
    """A call whose reply or stream may continue."""

    answer: Answer
    #: Time of its last message, and of the last message that its events follow.
    time_ns: int | None
    event_ns: int | None
    answered: bool = False
    #: Bytes that the client has sent through the stream.
    size: int = 0
    finished: bool = False
    #: Whether the client has sent something since the server's last message.
    sent: bool = False


class _Connection(msgspec.Struct):
    calls: list[tuple[bytes, Header, Answer]] = []
    open: dict[tuple[int, int, int], _Open] = {}
    #: The call with the last reply; events follow it.
    last: _Open | None = None
    #: Events before the first reply.
    early: list[Captured] = []


class _Recorder:
    """Collects what a source yields."""

    def __init__(self, registry: Registry) -> None:
        remote = registry.find(REMOTE_PROGRAM, 1)
        names = remote.by_name if remote else {}
        self._registry = registry
        self._authentication = {names[name].number for name in _AUTHENTICATION if name in names}
        self._connections: dict[int, _Connection] = {}
        self._done: list[list[tuple[bytes, Header, Answer]]] = []
        self._left_out: Counter[str] = Counter()
        self._messages = self._bytes = 0
        self._longest = 0

    def add(self, item: Seen) -> None:
        """Add an item of a source."""
        if isinstance(item, Closed):
            if connection := self._connections.pop(item.connection.id, None):
                self._end(connection, closed=True)
        elif isinstance(item, Captured):
            self._message(item)

    def finish(self) -> Recording:
        """Return the recording; calls that still wait have no answer."""
        for connection in self._connections.values():
            self._end(connection, closed=False)
        calls = [calls for calls in self._done if calls]
        return Recording(calls, self._longest, dict(self._left_out))

    def _end(self, connection: _Connection, *, closed: bool) -> None:
        for call in connection.open.values():
            if closed and not call.answered:
                call.answer.closes, call.answer.refusal = True, None
        if connection.early:
            self._left_out["events without a call"] += len(connection.early)

    def _message(self, captured: Captured) -> None:
        self._messages += 1
        if self._messages > MAX_MESSAGES:
            raise RecordingError(f"there are more than {MAX_MESSAGES:,} messages; record less")
        header = captured.message.header
        part = role(header)
        if part in ("keepalive", "other") or (
            header.prog == REMOTE_PROGRAM and header.proc in self._authentication
        ):
            return
        connection = self._connections.get(captured.connection.id)
        if connection is None:
            connection = self._connections[captured.connection.id] = _Connection([], {}, None, [])
            self._done.append(connection.calls)
        if part == "call":
            self._call(connection, captured)
        elif part == "event":
            self._event(connection, captured)
        elif (call := connection.open.get((header.prog, header.vers, header.serial))) is None:
            self._left_out["messages without their call"] += 1
        elif part == "reply":
            self._reply(connection, call, captured)
        else:
            self._stream(call, captured)

    def _frame(self, captured: Captured) -> bytes | None:
        """Return the bytes of a message; None if some are missing."""
        if captured.message.missing:
            return None
        frame = encode_message(captured.message, registry=self._registry)
        self._bytes += len(frame)
        if self._bytes > MAX_BYTES:
            raise RecordingError(f"the messages have more than {MAX_BYTES >> 20} MiB; record less")
        return frame

    def _call(self, connection: _Connection, captured: Captured) -> None:
        frame = self._frame(captured)
        if frame is None:
            self._left_out["incomplete calls"] += 1
            return
        self._longest = max(self._longest, len(frame))
        header = captured.message.header
        answer = Answer([], [], _NO_REPLY)
        call = _Open(answer, captured.time_ns, captured.time_ns)
        connection.calls.append((key(header, frame[MIN_FRAME:]), header, answer))
        connection.open[header.prog, header.vers, header.serial] = call

    def _reply(self, connection: _Connection, call: _Open, captured: Captured) -> None:
        if call.answered:
            self._left_out["repeated replies"] += 1
            return
        header = captured.message.header
        call.answered = True
        call.answer.refusal = NO_DESCRIPTORS if header.type in TYPES_WITH_FDS else None
        self._send(call, captured)
        procedure = self._registry.procedure(header.prog, header.vers, header.proc)
        opens = procedure is not None and stream_direction(procedure) is not None
        call.answer.open_ended = opens and header.status == Status.VIR_NET_OK
        connection.last = call
        early, connection.early = connection.early, []
        for event in early:
            self._event(connection, event)
        call.event_ns = captured.time_ns

    def _stream(self, call: _Open, captured: Captured) -> None:
        header = captured.message.header
        if captured.direction is None:
            self._left_out["messages of streams without a direction"] += 1
        elif captured.direction == "s2c":
            if call.sent:
                call.answer.steps.append(Await(call.size, call.finished))
                call.sent = False
            self._send(call, captured)
            if header.status != Status.VIR_NET_CONTINUE:
                call.answer.open_ended = False
        else:
            call.sent = True
            self._longest = max(self._longest, captured.message.length)
            if header.status != Status.VIR_NET_CONTINUE:
                call.finished = True
            elif header.type == Type.VIR_NET_STREAM:
                call.size += len(captured.message.data or b"")
            call.time_ns = captured.time_ns

    def _event(self, connection: _Connection, captured: Captured) -> None:
        call = connection.last
        if call is None:
            connection.early.append(captured)
        elif (frame := self._frame(captured)) is None:
            self._left_out["incomplete events"] += 1
        else:
            call.answer.events.append(Send(frame, _seconds(call.event_ns, captured.time_ns), verbatim=True))
            call.event_ns = captured.time_ns

    def _send(self, call: _Open, captured: Captured) -> None:
        frame = self._frame(captured)
        if frame is None:
            call.answer.refusal = _INCOMPLETE
            return
        call.answer.steps.append(Send(frame, _seconds(call.time_ns, captured.time_ns)))
        call.time_ns = captured.time_ns


def _seconds(before: int | None, after: int | None) -> float:
    """Return the time between two messages; 0 without a clock."""
    return 0.0 if before is None or after is None else max(0, after - before) / 1e9
