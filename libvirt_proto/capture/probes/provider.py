"""The probes of libvirt's RPC: their arguments, by the names that its log has for them, and what they are.

A probe's name is the kind of its events behind `rpc_`. Source: libvirt_probes.d and the PROBE macros.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from ..objects import MESSAGES

PROVIDER: Final = "libvirt"
_PREFIX: Final = "rpc_"

#: An object's address; a number, 32 bits of which count, with and without a sign; text in memory.
Meaning = Literal["object", "signed", "unsigned", "text"]
_MEANINGS: Final[dict[str, Meaning]] = {
    **dict.fromkeys(("client", "sock", "ka", "ctxt", "sess"), "object"),
    **dict.fromkeys(("localAddr", "remoteAddr", "identity", "cacert", "cacrl", "cert", "key"), "text"),
    **dict.fromkeys(("dname", "hostname"), "text"),
    **dict.fromkeys(("fd", "errfd", "pid", "interval", "coundToDeath"), "signed"),
    **dict.fromkeys(("proc", "type", "status"), "signed"),
}

_MESSAGE: Final = "client len prog vers proc type status serial"
_ARGUMENTS: Final = {
    **dict.fromkeys(MESSAGES, _MESSAGE),
    "socket_new": "sock fd errfd pid localAddr remoteAddr",
    "socket_dispose": "sock",
    "socket_send_fd": "sock fd",
    "socket_recv_fd": "sock fd",
    "client_new": "client sock",
    "client_dispose": "client",
    "server_client_new": "client sock",
    "server_client_dispose": "client",
    "server_client_auth_allow": "client authtype identity",
    "server_client_auth_deny": "client authtype identity",
    "server_client_auth_fail": "client authtype",
    "tls_context_new": "ctxt cacert cacrl cert key sanityCheckCert requireValidCert isServer",
    "tls_context_dispose": "ctxt",
    "tls_context_session_allow": "ctxt sess dname",
    "tls_context_session_deny": "ctxt sess dname",
    "tls_context_session_fail": "ctxt sess",
    "tls_session_new": "sess ctxt hostname isServer",
    "tls_session_dispose": "sess",
    "tls_session_handshake_pass": "sess",
    "tls_session_handshake_fail": "sess",
    "keepalive_new": "ka client",
    "keepalive_dispose": "ka",
    "keepalive_start": "ka client interval count",
    "keepalive_stop": "ka client",
    "keepalive_send": "ka client prog vers proc",
    "keepalive_received": "ka client prog vers proc",
    "keepalive_timeout": "ka client coundToDeath idle",
}


class Argument(NamedTuple):
    """An argument of a probe."""

    name: str
    meaning: Meaning


#: By kind of event: the probe's arguments.
PROBES: Final = {
    kind: tuple(Argument(name, _MEANINGS.get(name, "unsigned")) for name in names.split())
    for kind, names in _ARGUMENTS.items()
}


def kind_of(probe: str) -> str | None:
    """The kind of a probe's events; None for a probe that is not about RPC, or one that is not known."""
    kind = probe.removeprefix(_PREFIX)
    return kind if probe.startswith(_PREFIX) and kind in PROBES else None
