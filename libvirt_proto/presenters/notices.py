"""Notices as lines for standard error."""

from __future__ import annotations

from ..events import Notice
from ..text import printable
from .style import PLAIN, Palette

_DIRECTIONS = {"c2s": "from the client", "s2c": "from the server"}


def line(notice: Notice, source: str, palette: Palette = PLAIN) -> str:
    """Return `tour.pcap: error: 1,448 bytes are missing [lost-bytes] (127.0.0.1:40508-127.0.0.1:16509, from
    the client)`; `source` is the name of the input."""
    shade = palette.bad if notice.severity == "error" else palette.warn
    where = [str(notice.connection)] if notice.connection is not None else []
    if notice.direction is not None:
        where.append(_DIRECTIONS[notice.direction])
    place = f" ({printable(', '.join(where))})" if where else ""
    return (
        f"{printable(source)}: {shade}{notice.severity}:{palette.off} {printable(notice.text)}"
        f" {palette.quiet}[{notice.code}]{place}{palette.off}"
    )
