"""The traced probes by subject, with the names and meanings of their arguments in libvirt.

The kind of an event is the name of its probe; RPC probes have the prefix `rpc_`, which libvirt's log leaves
out. Source: libvirt_probes.d, libvirt_qemu_probes.d and the PROBE macros.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from ..objects import MESSAGES

PROVIDER: Final = "libvirt"

#: The subject of a trace: messages, the event loop, or the monitors of virtual machines.
Subject = Literal["rpc", "events", "qemu-monitor"]

#: The address of an object; a number of 32 significant bits, signed or unsigned; short text in memory; or
#: text of any length, a line of the monitor.
Meaning = Literal["object", "signed", "unsigned", "text", "line"]
_MEANINGS: Final[dict[str, Meaning]] = {
    **dict.fromkeys(("client", "sock", "ka", "ctxt", "sess"), "object"),
    **dict.fromkeys(("localAddr", "remoteAddr", "identity", "cacert", "cacrl", "cert", "key"), "text"),
    **dict.fromkeys(("dname", "hostname"), "text"),
    **dict.fromkeys(("fd", "errfd", "pid", "interval", "coundToDeath"), "signed"),
    **dict.fromkeys(("proc", "type", "status"), "signed"),
    **dict.fromkeys(("cb", "opaque", "ff", "mon"), "object"),
    **dict.fromkeys(("watch", "events", "timer", "frequency", "nfds", "timeout"), "signed"),
    **dict.fromkeys(("msg", "reply", "event"), "line"),
}

_MESSAGE: Final = "client len prog vers proc type status serial"
_RPC: Final = {
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
#: Before libvirt 6.1 the event loop was libvirt's own; since then it is GLib's.
_EVENTS: Final = {
    "event_glib_add_handle": "watch fd events cb opaque ff",
    "event_glib_update_handle": "watch events",
    "event_glib_dispatch_handle": "watch events cb opaque",
    "event_glib_remove_handle": "watch",
    "event_glib_add_timeout": "timer frequency cb opaque ff",
    "event_glib_update_timeout": "timer frequency",
    "event_glib_dispatch_timeout": "timer cb opaque",
    "event_glib_remove_timeout": "timer",
    "event_poll_add_handle": "watch fd events cb opaque ff",
    "event_poll_update_handle": "watch events",
    "event_poll_dispatch_handle": "watch events",
    "event_poll_remove_handle": "watch",
    "event_poll_purge_handle": "watch",
    "event_poll_add_timeout": "timer frequency cb opaque ff",
    "event_poll_update_timeout": "timer frequency",
    "event_poll_dispatch_timeout": "timer",
    "event_poll_remove_timeout": "timer",
    "event_poll_purge_timeout": "timer",
    "event_poll_run": "nfds timeout",
}
_QEMU_MONITOR: Final = {
    "qemu_monitor_send_msg": "mon msg fd",
    "qemu_monitor_recv_reply": "mon reply",
    "qemu_monitor_recv_event": "mon event",
}
_ARGUMENTS: Final[dict[Subject, dict[str, str]]] = {
    "rpc": _RPC,
    "events": _EVENTS,
    "qemu-monitor": _QEMU_MONITOR,
}


class Argument(NamedTuple):
    """An argument of a probe."""

    name: str
    meaning: Meaning


#: Arguments of the probe, by kind of event.
PROBES: Final = {
    kind: tuple(Argument(name, _MEANINGS.get(name, "unsigned")) for name in names.split())
    for kinds in _ARGUMENTS.values()
    for kind, names in kinds.items()
}
#: Subject and kind of events, by name of the probe.
KINDS: Final[dict[str, tuple[Subject, str]]] = {
    f"rpc_{kind}" if subject == "rpc" else kind: (subject, kind)
    for subject, kinds in _ARGUMENTS.items()
    for kind in kinds
}
