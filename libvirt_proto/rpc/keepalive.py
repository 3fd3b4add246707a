"""Messages of the keepalive program (src/rpc/virkeepalive.c)."""

from __future__ import annotations

from typing import Final

from .message import Header, Message, Status, Type, encode_message
from .wire import KEEPALIVE_PROGRAM

_VERSION: Final = 1
_PING, _PONG = 1, 2


def _frame(procedure: int) -> bytes:
    header = Header(KEEPALIVE_PROGRAM, _VERSION, procedure, Type.VIR_NET_MESSAGE, 0, Status.VIR_NET_OK)
    return encode_message(Message(header, 0))


PING: Final = _frame(_PING)
PONG: Final = _frame(_PONG)


def is_ping(header: Header) -> bool:
    """Return whether a message of the keepalive program has to be answered with PONG."""
    return header.proc == _PING
