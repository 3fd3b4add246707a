"""Messages: a header, and a payload that (type, status) and the procedure decide."""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import ProtocolError


class Header(msgspec.Struct, frozen=True, gc=False):
    """virNetMessageHeader. `type` and `status` are plain numbers, so that unknown ones fit."""

    prog: int
    vers: int
    proc: int
    type: int
    serial: int
    status: int


class Message(msgspec.Struct, frozen=True):
    """A decoded frame.

    `length` is the length word (it counts itself). `fds` is the descriptor count of the two
    WITH_FDS types, None for the others. `payload_type` is the .x's name of the payload's type, None
    for no payload. `payload` is its value (a Partial where it broke off). `data` holds bytes that
    have no type: stream data, or a payload that no definition covers. `spare` are bytes behind a
    complete payload. `raw` is the payload as it was received, kept only where encoding `payload`
    would give other bytes (padding that is not zero, booleans other than 0 and 1), and `remarks`
    says why. `error` says what is wrong with the payload.
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
