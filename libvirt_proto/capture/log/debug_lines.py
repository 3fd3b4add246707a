"""Debug lines that contain the header of a message, which also has a record of its own.

    2013-09-16 20:39:03.273+0000: 14093: debug : virNetServerProgramDispatch:276 : \
prog=536903814 ver=1 type=0 status=0 serial=8 proc=183

A log may lack the record: libvirt before 0.9.7 had none, filters leave it out, and people quote a few lines.
Sources: virnetserverprogram.c, virnetclientprogram.c, virnetclient.c; before 0.9.2 also daemon/dispatch.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

#: The lines, each with the kind of its message; None if its type decides.
_LINES: Final[tuple[tuple[str, str | None], ...]] = (
    ("prog={prog} ver={vers} type={type} status={status} serial={serial} proc={proc}", None),
    (
        "prog={prog} ver={vers} proc={proc} type={type} serial={serial} msg=POINTER rerr=POINTER",
        "server_client_msg_tx_queue",
    ),
    (
        "Outgoing message prog={prog} version={vers} serial={serial} proc={proc} type={type}"
        " length={len} dispatch=POINTER",
        "client_msg_tx_queue",
    ),
    (
        "program={prog} version={vers} serial={serial} proc={proc} type={type} length={len} dispatch=POINTER",
        "client_msg_tx_queue",
    ),
    (
        "Incoming message prog {prog} vers {vers} proc {proc} type {type} status {status} serial {serial}",
        "client_msg_rx",
    ),
)
_POINTER: Final = r"(?:0x[0-9a-f]{1,16}|\(nil\))"
_PATTERNS: Final = tuple(
    (
        re.compile(
            r"(?<![\w=])"
            + re.sub(r"\{(\w+)\}", r"(?P<\1>-?[0-9]{1,20})", line).replace("POINTER", _POINTER)
            + "(?![0-9]|x[0-9a-f])"
        ),
        kind,
    )
    for line, kind in _LINES
)
#: Each line without blanks and with all numbers as 0.
_SHAPES: Final = tuple(re.sub(r"\{\w+\}|POINTER", "0", line).replace(" ", "") for line, _ in _LINES)
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|\(nil\)|-?[0-9]+")
_BEGINNING: Final = re.compile(r"(?<![\w=])(?:prog(?:ram)?=|Outgoing message|Incoming message)")
#: A line that is long enough for any of them.
_MAX_SIZE: Final = 300
#: Types of messages that only a client or only a server sends, with a status that is always 0.
_CALLS: Final = ("0", "4")
_EVENT: Final = "2"


class DebugLine(NamedTuple):
    """The header of a message, as text by name; `len` is among them if the line has it."""

    kind: str
    words: dict[str, str]
    start: int
    end: int


def debug_lines(text: str, start: int, end: int) -> Iterator[DebugLine]:
    """Yield the debug lines in a text, in order."""
    for begun in _BEGINNING.finditer(text, start, end):
        for pattern, kind in _PATTERNS:
            if (match := pattern.match(text, begun.start(), end)) and (found := _debug_line(match, kind)):
                yield found
                break


def begins(text: str) -> int | None:
    """Return where a debug line begins that the end of a text may have cut; None if there is none."""
    for begun in _BEGINNING.finditer(text, max(0, len(text) - _MAX_SIZE)):
        if any(shape.startswith(_shape(text[begun.start() :])) for shape in _SHAPES):
            return begun.start()
    return None


def may_contain(compact: str) -> bool:
    """Return whether a text without blanks may contain a complete debug line."""
    shape = _shape(compact)
    return any(each in shape for each in _SHAPES)


def _shape(text: str) -> str:
    return _NUMBER.sub("0", text).replace(" ", "")


def _debug_line(match: re.Match[str], kind: str | None) -> DebugLine | None:
    words = match.groupdict()
    if "status" not in words:
        if kind == "server_client_msg_tx_queue":
            words["status"] = "1"  # virNetServerProgramSendError
        elif words["type"] in _CALLS:
            words["status"] = "0"
        else:
            return None  # a part of a stream may have any status
    if kind is None:
        by_client = "virNetClient" in match.string[max(0, match.start() - _MAX_SIZE) : match.start()]
        kind = "client_msg_rx" if by_client or words["type"] == _EVENT else "server_client_msg_rx"
    return DebugLine(kind, words, match.start(), match.end())
