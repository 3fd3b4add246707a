"""The ends of connections: network addresses, sockets, and what a recording made of them."""

from __future__ import annotations

import re
from typing import Final

from ..events import Connection

#: Logs and probes add the object to the server: `@0x55ab3d39c0f0`.
_ADDRESS: Final = re.compile(
    r"(?:(?P<v4>[\d.]{7,15})|\[(?P<v6>[^\]]{2,60})\]):(?P<port>\d{1,5})(?:@.{1,120})?"
)
#: `trace -w` writes connections that have no addresses as TCP from these ports to this end
#: (capture/pcap/recorder.py).
_RECORDED_SERVER: Final = "127.0.0.1:16509"
_FIRST_PORT: Final = 49_152
_RO_SOCKET: Final = re.compile(r"-sock-ro\b")


def over_tcp(connection: Connection) -> bool:
    """Return whether a connection is known to be a TCP connection."""
    ends = _ADDRESS.fullmatch(connection.client), _ADDRESS.fullmatch(connection.server)
    if connection.transport == "unix" or None in ends:
        return False
    client = ends[0]
    assert client is not None
    local = (client["v4"] or "").startswith("127.")
    return not (connection.server == _RECORDED_SERVER and local and int(client["port"]) >= _FIRST_PORT)


def read_only_socket(connection: Connection) -> bool:
    """Return whether a connection is to a socket for read-only clients, such as libvirt-sock-ro."""
    return _RO_SOCKET.search(connection.server) is not None


def client_host(connection: Connection) -> str:
    """Return the address of the client without its port; "" for a local or unknown one."""
    client = _ADDRESS.fullmatch(connection.client)
    return (client["v4"] or client["v6"]) if client is not None and over_tcp(connection) else ""
