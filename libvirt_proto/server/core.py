"""The server's side of a connection, sans-IO: bytes and descriptors in, calls and messages of streams out,
frames to send (src/rpc/virnetserverclient.c).

Payloads are bytes in both directions: frames are sent as they were recorded, only with another serial.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ..errors import BadValue, ProtocolError
from ..generated.virnetprotocol import VirNetMessageError
from ..rpc.assembly import Assembler
from ..rpc.keepalive import PONG, is_ping
from ..rpc.message import Header, Message, Status, Type, encode_message
from ..rpc.wire import CALL_TYPES, HEADER, KEEPALIVE_PROGRAM, MIN_FRAME, WORD, WORD_SIZE

if TYPE_CHECKING:
    from ..definitions.program import Procedure, Program

#: VIR_ERR_RPC of virErrorNumber, VIR_FROM_RPC of virErrorDomain, VIR_ERR_ERROR of virErrorLevel.
RPC_ERROR: Final = 39
_FROM_RPC: Final = 7
_LEVEL: Final = 2
_SERIAL_AT: Final = 20
_STREAM_TYPES: Final = frozenset((Type.VIR_NET_STREAM, Type.VIR_NET_STREAM_HOLE))


class Call(msgspec.Struct, frozen=True):
    """A call. `payload` follows the header; `fds` are descriptors that the receiver has to close."""

    header: Header
    payload: bytes
    fds: tuple[int, ...] = ()

    @property
    def key(self) -> bytes:
        """Program, version, procedure and payload: what distinguishes calls."""
        return key(self.header, self.payload)


class StreamMessage(msgspec.Struct, frozen=True):
    """A message of a stream from the client; `size` is the number of bytes of its data."""

    header: Header
    size: int


Received = Call | StreamMessage


class ServerCore:
    """The state of a client's connection.

    `unix` is True for unix sockets, `max_frame` the maximum length word. Pings are answered. After bytes that
    no client sends, `error` is set, and everything later is ignored: the connection must be closed.
    """

    def __init__(self, *, unix: bool, max_frame: int) -> None:
        self._frames = Assembler(unix=unix, max_frame=max_frame)
        self._output: deque[bytes] = deque()

    @property
    def error(self) -> ProtocolError | None:
        """The violation of the protocol by the client that ended the connection."""
        return self._frames.error

    def receive(self, data: bytes, fds: Sequence[int] = ()) -> list[Received]:
        """Add bytes, and the descriptors that arrived with them; return what they complete."""
        received: list[Received] = []
        try:
            for frame, descriptors in self._frames.feed(data, fds):
                if (found := self._received(frame, descriptors)) is not None:
                    received.append(found)
        except ProtocolError as error:
            self._frames.error = error.kept()
        return received

    def take_stray(self) -> list[int]:
        """Return descriptors that belong to no call; the caller has to close them."""
        return self._frames.take_stray()

    def take_descriptors(self) -> list[int]:
        """Return the descriptors of an incomplete call, at the end of the connection."""
        return self._frames.take_descriptors()

    def _received(self, frame: bytes, fds: tuple[int, ...]) -> Received | None:
        header = Header(*HEADER.unpack_from(frame, WORD_SIZE))
        if header.prog == KEEPALIVE_PROGRAM and header.type == Type.VIR_NET_MESSAGE:
            if is_ping(header):
                self._output.append(PONG)
            return None
        if header.type in CALL_TYPES and header.status == Status.VIR_NET_OK:
            return Call(header, frame[MIN_FRAME:], fds)
        if header.type in _STREAM_TYPES:
            return StreamMessage(header, len(frame) - MIN_FRAME if header.type == Type.VIR_NET_STREAM else 0)
        raise BadValue(
            f"expected a call or a message of a stream, got type {header.type}, status {header.status}"
        )

    def send(self, frame: bytes, serial: int | None = None) -> None:
        """Send a frame, with another serial unless it is None."""
        if serial is not None:
            frame = frame[:_SERIAL_AT] + WORD.pack(serial) + frame[_SERIAL_AT + WORD_SIZE :]
        self._output.append(frame)

    def take_output(self) -> list[bytes]:
        """Return the frames to send, in order, and forget them."""
        output = list(self._output)
        self._output.clear()
        return output


def key(header: Header, payload: bytes) -> bytes:
    """Return what distinguishes calls: program, version, procedure and payload."""
    return HEADER.pack(header.prog, header.vers, header.proc, 0, 0, 0) + payload


def reply_header(program: Program, procedure: Procedure) -> Header:
    """Return the header of a reply; `ServerCore.send` sets its serial."""
    numbers = program.number, program.version, procedure.number
    return Header(*numbers, Type.VIR_NET_REPLY, 0, Status.VIR_NET_OK)


def error_frame(
    call: Header, text: str, *, code: int = RPC_ERROR, domain: int = _FROM_RPC, stream: bool = False
) -> bytes:
    """Return the error that ends a call, or its stream."""
    words = text.encode()
    error = VirNetMessageError(code, domain, words, _LEVEL, None, words, None, None, 0, 0, None)
    type_ = Type.VIR_NET_STREAM if stream else Type.VIR_NET_REPLY
    header = Header(call.prog, call.vers, call.proc, type_, call.serial, Status.VIR_NET_ERROR)
    return encode_message(Message(header, 0, payload_type="virNetMessageError", payload=error))
