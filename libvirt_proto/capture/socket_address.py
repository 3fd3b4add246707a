"""Addresses of sockets as strace writes them."""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple

from .strace_line import text

_PORT: Final = re.compile(rb"sin6?_port=htons\((\d{1,5})\)")
#: `[192.0.2.7:40508->192.0.2.1:16509]`, `[[::1]:40508->[::1]:16509]`; of one that listens, the first part.
_TCP: Final = re.compile(
    rb"<TCP(?:v6)?:\[(?P<local>(?:\[[^\]]*\]|[^\]\[>-])*:\d{1,5})"
    rb"(?:->(?P<remote>(?:\[[^\]]*\]|[^\]\[>-])*:\d{1,5}))?\]>"
)
#: `[41180->42012,"/run/libvirt/libvirt-sock"]`, `[41180,"/run/libvirt/libvirt-sock"]`.
_UNIX: Final = re.compile(rb"<UNIX(?:-STREAM)?:\[(?P<inode>\d{1,20})")
_LIBVIRT_PATH: Final = re.compile(r"libvirt|virt[a-z]*d-(?:admin-)?sock")


class Peer(NamedTuple):
    """One end of a connection: its name, and for TCP its port."""

    name: str
    port: int | None
    transport: str

    def speaks_libvirt(self, ports: frozenset[int]) -> bool:
        """Whether it is where a daemon of libvirt's listens."""
        return self.port in ports if self.port is not None else bool(_LIBVIRT_PATH.search(self.name))


class Named(NamedTuple):
    """What a descriptor's name in angle brackets says: `key` is the same for the same socket; empty for what
    is none."""

    key: bytes
    local: Peer | None
    remote: Peer | None


def named(name: str) -> Peer:
    """An end of a unix socket that has no path."""
    return Peer(name, None, "unix")


def socket_address(arguments: bytes, at: int = 0) -> Peer | None:
    """The address among a call's arguments, None where there is none, or one without a name."""
    path = arguments.find(b"sun_path=", at)
    if path >= 0:
        path += 9
        abstract = arguments.startswith(b"@", path)
        found = text(arguments, path + abstract)
        if found is None:
            return None
        return Peer(("@" if abstract else "") + os.fsdecode(found.data.split(b"\0")[0]), None, "unix")
    port = _PORT.search(arguments, at)
    if port is None:
        return None
    quote = arguments.find(b'"', port.end())
    host = text(arguments, quote) if quote >= 0 else None
    if host is None:
        return None
    name = os.fsdecode(host.data)
    number = int(port[1])
    return Peer(f"[{name}]:{number}" if ":" in name else f"{name}:{number}", number, "tcp")


def of_decoration(decoration: bytes) -> Named:
    """What `-yy` says of a descriptor."""
    tcp = _TCP.match(decoration)
    if tcp:
        local, remote = (None if part is None else _tcp(part) for part in (tcp["local"], tcp["remote"]))
        # A socket has a number before it is connected; only both ends tell it from others.
        return Named(decoration if remote else b"TCP", local, remote)
    unix = _UNIX.match(decoration)
    if unix:
        quote = decoration.find(b'"')
        path = text(decoration, quote) if quote >= 0 else None
        local = None if path is None else Peer(os.fsdecode(path.data), None, "unix")
        return Named(unix["inode"], local, None)
    return Named(b"TCP" if decoration.startswith(b"<TCP") else b"", None, None)


def _tcp(end: bytes) -> Peer:
    name = end.decode("ascii", "backslashreplace")
    return Peer(name, int(name.rpartition(":")[2]), "tcp")
