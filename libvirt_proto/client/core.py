"""The client's side of a connection, sans-IO: bytes and descriptors in, events out, bytes and descriptors to
send (src/rpc/virnetclient.c, src/rpc/virkeepalive.c).

The core owns the serials, and knows which calls wait for a reply and which streams are open. It reads no
clock and opens nothing, so that connections, servers of tests and fuzzers can drive it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..errors import BadValue, Error, ProtocolError
from ..registry import Registry, default
from ..rpc.assembly import Assembler, Outgoing
from ..rpc.keepalive import PING, PONG, is_ping
from ..rpc.message import Header, Message, MessageDecoder, Status, Type, encode_message
from ..rpc.reported import LibvirtError, reported_error
from ..rpc.wire import KEEPALIVE_PROGRAM, MAX_FDS, REPLY_TYPES
from ..session import stream_direction

if TYPE_CHECKING:
    from ..definitions.program import Procedure, Program

#: Bytes of stream data in a message that every release accepts: the limit of libvirt before 1.1.0
#: (VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX).
STREAM_PIECE: Final = 262120
_MAX_SERIAL: Final = 0xFFFFFFFF


class Keepalive(msgspec.Struct, frozen=True):
    """The peer is considered dead after `count` pings without an answer, one per `interval` seconds."""

    interval: float
    count: int


class KeepaliveTimeout(Error):
    """The peer sent nothing in the time of a Keepalive: the connection is considered dead."""


class Returned(msgspec.Struct, frozen=True):
    """A call's reply: `value` is its payload (None without one), `fds` the descriptors that came with it."""

    serial: int
    value: Any
    fds: tuple[int, ...] = ()


class Failed(msgspec.Struct, frozen=True):
    """The error with which the server ended a call or a stream."""

    serial: int
    error: LibvirtError


class Malformed(msgspec.Struct, frozen=True):
    """A reply, or a message of a stream, whose payload cannot be decoded. It ends the call or the stream."""

    serial: int
    error: ProtocolError


class Emitted(msgspec.Struct, frozen=True):
    """An event."""

    program: Program
    procedure: Procedure
    value: Any


class Piece(msgspec.Struct, frozen=True):
    """Data of a stream; empty at the end of the data."""

    serial: int
    data: bytes


class Hole(msgspec.Struct, frozen=True):
    """A hole of `length` bytes in the data of a sparse stream."""

    serial: int
    length: int


class Finished(msgspec.Struct, frozen=True):
    """The server confirmed the end of a stream."""

    serial: int


class Unexpected(msgspec.Struct, frozen=True):
    """A message that belongs to nothing: its call was abandoned, its stream is over, or it is not one that a
    server sends. `fds` are descriptors that the receiver has to close; `message` is None if only descriptors
    arrived."""

    message: Message | None
    fds: tuple[int, ...] = ()


Received = Returned | Failed | Malformed | Emitted | Piece | Hole | Finished | Unexpected


class _Call(msgspec.Struct):
    """A call that waits for its reply, or a stream that it has opened."""

    program: Program
    procedure: Procedure
    #: Whether the caller still wants the reply.
    wanted: bool = True


class ClientCore:
    """The state of a client's connection.

    `unix` is True for unix sockets, which can pass descriptors. After bytes that no server sends, `error` is
    set, and everything later is ignored: the connection must be closed.
    """

    def __init__(
        self, registry: Registry | None = None, *, unix: bool = False, keepalive: Keepalive | None = None
    ) -> None:
        self._registry = registry or default()
        self._unix = unix
        self._frames = Assembler(unix=unix)
        self._decoder = MessageDecoder(self._registry)
        self._serial = 0
        self._calls: dict[int, _Call] = {}
        self._streams: dict[int, _Call] = {}
        self._output: deque[Outgoing] = deque()
        self._keepalive = keepalive
        #: Pings since the last message, and the time of the next one.
        self._pings = 0
        self._next_ping: float | None = None
        self._heard = False

    # Sending

    def call(self, program: Program, procedure: Procedure, args: Any = None, fds: Sequence[int] = ()) -> int:
        """Call a procedure, and return the serial of the call. `args` is a value of `procedure.args`.

        Raises ProtocolError for arguments that do not fit, and for descriptors on a socket that cannot pass
        them; then nothing is sent.
        """
        if fds and not self._unix:
            raise BadValue("descriptors can only be passed over a unix socket")
        if len(fds) > MAX_FDS:
            raise BadValue(f"expected at most {MAX_FDS} descriptors, got {len(fds)}")
        serial = self._serial
        args_type = procedure.args
        if (args is None) != (args_type is None):
            expected = "no arguments" if args_type is None else args_type.name
            raise BadValue(f"expected {expected} for {procedure.name}, got {type(args).__name__}")
        type_ = Type.VIR_NET_CALL_WITH_FDS if fds else Type.VIR_NET_CALL
        header = Header(program.number, program.version, procedure.number, type_, serial, Status.VIR_NET_OK)
        name = None if args_type is None else args_type.name
        self._send(Message(header, 0, len(fds) if fds else None, name, args), tuple(fds))
        self._calls[serial] = _Call(program, procedure)
        self._serial = (serial + 1) & _MAX_SERIAL
        return serial

    def abandon(self, serial: int) -> None:
        """Ignore the reply of a call, whenever it comes."""
        if call := self._calls.get(serial):
            call.wanted = False

    def send_piece(self, serial: int, data: bytes) -> None:
        """Send data of a stream, at most STREAM_PIECE bytes; the end of the data is empty."""
        self._send(self._stream_message(serial, Type.VIR_NET_STREAM, Status.VIR_NET_CONTINUE, data=data))

    def send_hole(self, serial: int, length: int) -> None:
        """Send a hole of a sparse stream, in bytes. Raises BadValue for definitions without holes."""
        type_ = self._registry.stream_hole
        if type_ is None or type_.python_class is None:
            raise BadValue("these definitions have no virNetStreamHole (libvirt 3.4.0)")
        message = self._stream_message(
            serial,
            Type.VIR_NET_STREAM_HOLE,
            Status.VIR_NET_CONTINUE,
            payload_type=type_.name,
            payload=type_.python_class(length, 0),
        )
        self._send(message)

    def finish(self, serial: int) -> None:
        """Ask the server to confirm the end of a stream: Finished or Failed follows."""
        self._send(self._stream_message(serial, Type.VIR_NET_STREAM, Status.VIR_NET_OK))

    def abort(self, serial: int) -> None:
        """Abort a stream; the server's confirmation is ignored."""
        self._send(self._stream_message(serial, Type.VIR_NET_STREAM, Status.VIR_NET_ERROR))
        del self._streams[serial]

    def take_output(self) -> list[Outgoing]:
        """Return the frames to send, in order, and forget them."""
        output = list(self._output)
        self._output.clear()
        return output

    def _stream_message(self, serial: int, type_: Type, status: Status, **payload: Any) -> Message:
        stream = self._streams[serial]
        numbers = stream.program.number, stream.program.version, stream.procedure.number
        return Message(Header(*numbers, type_, serial, status), 0, **payload)

    def _send(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        self._output.append(Outgoing(encode_message(message, registry=self._registry), fds))

    # Receiving

    @property
    def error(self) -> ProtocolError | None:
        """The violation of the protocol by the server that ended the connection."""
        return self._frames.error

    @property
    def waiting(self) -> int:
        """Number of calls that wait for a reply."""
        return len(self._calls)

    def take_descriptors(self) -> list[int]:
        """Return the descriptors that wait for others of their message, at the end of the connection; the
        caller has to close them."""
        return self._frames.take_descriptors()

    def is_open(self, serial: int) -> bool:
        """Return whether a call has opened a stream that has not ended."""
        return serial in self._streams

    def receive(self, data: bytes, fds: Sequence[int] = ()) -> list[Received]:
        """Add bytes, and the descriptors that arrived with them; return what they complete. See `error`."""
        received: list[Received] = []
        try:
            for frame, descriptors in self._frames.feed(data, fds):
                self._heard = True
                message = self._decoder.decode(frame, "s2c")
                if (found := self._received(message, descriptors)) is not None:
                    received.append(found)
        except ProtocolError as error:
            self._frames.error = error.kept()
        if stray := self._frames.take_stray():
            received.append(Unexpected(None, tuple(stray)))
        return received

    def _received(self, message: Message, fds: tuple[int, ...]) -> Received | None:
        header = message.header
        if header.prog == KEEPALIVE_PROGRAM:
            return self._kept_alive(message, fds)
        if header.type in REPLY_TYPES:
            return self._reply(message, fds)
        if header.type == Type.VIR_NET_MESSAGE:
            return self._event(message, fds)
        if header.type in (Type.VIR_NET_STREAM, Type.VIR_NET_STREAM_HOLE):
            return self._stream(message, fds)
        raise BadValue(f"expected a reply, an event or a stream, got a message of type {int(header.type)}")

    def _kept_alive(self, message: Message, fds: tuple[int, ...]) -> Received | None:
        header = message.header
        if is_ping(header):
            self._output.append(Outgoing(PONG))
        return Unexpected(None, fds) if fds else None

    def _reply(self, message: Message, fds: tuple[int, ...]) -> Received:
        header = message.header
        call = self._calls.get(header.serial)
        if call is None:
            raise BadValue(f"expected the reply of a waiting call, got one with serial {header.serial}")
        expected = call.program.number, call.program.version, call.procedure.number
        got = header.prog, header.vers, header.proc
        if got != expected:
            raise BadValue(f"expected a reply of {_numbers(*expected)}, got one of {_numbers(*got)}")
        del self._calls[header.serial]
        opens = header.status == Status.VIR_NET_OK and stream_direction(call.procedure) is not None
        if opens:
            self._streams[header.serial] = call
        if not call.wanted:
            if opens:
                self.abort(header.serial)
            return Unexpected(message, fds)
        return self._result(message, fds)

    def _result(self, message: Message, fds: tuple[int, ...]) -> Received:
        """Return what ends a call, or a stream in an error."""
        serial = message.header.serial
        if message.error is not None:
            return Malformed(serial, message.error)
        if (error := reported_error(message)) is not None:
            return Failed(serial, error)
        if message.header.status != Status.VIR_NET_OK:
            status = int(message.header.status)
            return Malformed(serial, BadValue(f"expected the status of a reply, got {status}"))
        return Returned(serial, message.payload, fds)

    def _event(self, message: Message, fds: tuple[int, ...]) -> Received:
        header = message.header
        program = self._registry.find(header.prog, header.vers)
        procedure = program.by_number.get(header.proc) if program else None
        if program is None or procedure is None or message.error is not None or fds:
            return Unexpected(message, fds)
        return Emitted(program, procedure, message.payload)

    def _stream(self, message: Message, fds: tuple[int, ...]) -> Received:
        serial, status = message.header.serial, message.header.status
        if serial not in self._streams:
            return Unexpected(message, fds)
        if status == Status.VIR_NET_CONTINUE and message.error is None:
            if message.header.type == Type.VIR_NET_STREAM_HOLE:
                return Hole(serial, message.payload.length)
            return Piece(serial, message.data or b"")
        del self._streams[serial]
        if status == Status.VIR_NET_OK:
            return Finished(serial)
        return self._result(message, fds)

    # Keepalive

    def poll(self, now: float) -> float | None:
        """Send a ping if one is due at `now`, in seconds of a clock of the caller's choice; return the time
        of the next call, None if there is none. Raises KeepaliveTimeout."""
        if self._keepalive is None:
            return None
        if self._heard or self._next_ping is None:
            self._heard, self._pings = False, 0
            self._next_ping = now + self._keepalive.interval
        elif now >= self._next_ping:
            if self._pings >= self._keepalive.count:
                seconds = self._keepalive.interval * (self._pings + 1)
                raise KeepaliveTimeout(
                    f"no answer to {self._pings} pings, and nothing else for {seconds:g} seconds"
                )
            self._pings += 1
            self._output.append(Outgoing(PING))
            self._next_ping = now + self._keepalive.interval
        return self._next_ping


def _numbers(program: int, version: int, procedure: int) -> str:
    return f"program {program:#x}, version {version}, procedure {procedure}"
