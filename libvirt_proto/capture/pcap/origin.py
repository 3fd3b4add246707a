"""What a recording keeps of a connection besides its packets: names, transport, and the side that saw it.

The side is the interface of the packets. The rest is the comment of the first packet, where Wireshark shows
it. `recorder` writes both, and `file` reads them back.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ...events import Connection, Side

#: Side → name and description of the interface of its packets. The names mark recordings of this package.
INTERFACES: Final[dict[Side | None, tuple[str, str]]] = {
    None: ("libvirt", "Connections of libvirt"),
    "client": ("libvirt-client", "Messages that clients sent and received"),
    "server": ("libvirt-daemon", "Messages that daemons sent and received"),
}
SIDES: Final = {name.encode(): side for side, (name, _) in INTERFACES.items()}

_ARROW: Final = " → "
_UNKNOWN: Final = "?"
_COMMENT: Final = re.compile(rf"(.+?){_ARROW}(.+) \((\w{{1,16}})\)", re.DOTALL)


class Origin(NamedTuple):
    """The connection that begins with the next packet, as the source of a recording named it."""

    client: str
    server: str
    transport: str
    side: Side | None


def comment(connection: Connection) -> str:
    """Return the comment for a connection."""
    ends = (connection.client or _UNKNOWN, connection.server or _UNKNOWN)
    return f"{_ARROW.join(ends)} ({connection.transport})"


def origin(text: str, side: Side | None) -> Origin | None:
    """Parse a comment. None for other text, an ambiguous one, and a connection without names."""
    match = _COMMENT.fullmatch(text)
    if match is None or text.count(_ARROW) > 1:
        return None
    client, server = ("" if name == _UNKNOWN else name for name in match.group(1, 2))
    return Origin(client, server, match[3], side) if client or server else None
