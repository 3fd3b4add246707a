"""The parts of a connection that a recording keeps besides its packets: names, transport, the traced side.

The side is the interface of the packets. The rest is the comment of the first packet, where Wireshark shows
it. `recorder` writes both, and `file` reads them back.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ...events import Connection, Side

#: Side → name and description of the interface of its packets. The names mark recordings of this package.
INTERFACES: Final[dict[Side | None, tuple[str, str]]] = {
    None: ("libvirt", "Connections of libvirt"),
    "client": ("libvirt-client", "Messages that clients sent and received"),
    "server": ("libvirt-daemon", "Messages that daemons sent and received"),
}
SIDES: Final = {name.encode(): side for side, (name, _) in INTERFACES.items()}

#: Maximum size of a comment in bytes; a longer one is written without its end, and not read back.
MAX_COMMENT: Final = 1024

_ARROW: Final = " → "
_UNKNOWN: Final = "?"


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
    ends, _, rest = text.rpartition(" (")
    names = ["" if name == _UNKNOWN else name for name in ends.split(_ARROW, 2)]
    transport = rest.removesuffix(")")
    if len(names) != 2 or not any(names) or transport == rest or not transport.isidentifier():
        return None
    return Origin(names[0], names[1], transport, side)
