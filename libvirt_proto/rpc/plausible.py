"""A test of bytes: a plausible libvirt message or not."""

from __future__ import annotations

from .wire import MAX_FRAME, MAX_PROCEDURE, MAX_STATUS, MAX_TYPE, MIN_FRAME, START

_start = START.unpack_from


def plausible_header(data: bytes, offset: int = 0, programs: frozenset[int] | None = None) -> bool:
    """Return whether data[offset:] begins with a length word and header that libvirt could send.

    This needs a valid length, version 1, a valid type and status, a small procedure number, and one of
    `programs` (None: any program). False if the data is too short.
    """
    if len(data) - offset < MIN_FRAME:
        return False
    length, program, version, procedure, kind, _, status = _start(data, offset)
    return (
        MIN_FRAME <= length <= MAX_FRAME
        and version == 1
        and 0 <= kind <= MAX_TYPE
        and 0 <= status <= MAX_STATUS
        and 0 < procedure <= MAX_PROCEDURE
        and (programs is None or program in programs)
    )
