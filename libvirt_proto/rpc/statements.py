"""Errors and remarks of libvirt in words: what a text in a log or in a reply states about a connection, a
worker thread, a domain's lock, a limit or a refusal.

The texts are in English, and those of old and new releases. Sources: virnetserverclient.c,
virkeepalive.c, virnetserver.c, virnetsocket.c, virnetclient.c, virnetserverprogram.c, virnetclientprogram.c,
virnetmessage.c, virnettlscontext.c, virnetsaslcontext.c, virpolkit.c, virthreadjob.c, virdomainjob.c (older:
qemu_domain.c, qemu_domainjob.c), qemu_agent.c, gendispatch.pl and virerror.c. systemd and the kernel state
the end of a daemon. A text from a peer or a user is limited in size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Statement(NamedTuple):
    """The statement of a text: a kind of `LogLine`, and its details."""

    kind: str
    details: dict[str, str]


#: Kind → a part of each such line, and the form of the text.
_FORMS: Final[dict[str, tuple[bytes, str]]] = {
    "request-limit": (b"max requests limit", r"Client hit max requests limit (?P<limit>\d{1,10})"),
    "keepalive-silence": (
        b"keepalive messages in",
        r"No response from client (?P<client>\S{1,40}) after (?P<count>\d{1,10}) keepalive messages in"
        r" (?P<seconds>\d{1,10}) seconds",
    ),
    "keepalive-timeout": (
        b"keepalive timeout",
        r"(?:connection closed|Disconnected from \S{1,200}) due to keepalive timeout",
    ),
    "clients-dropped": (
        b"Too many active clients",
        r"Too many active clients \((?P<limit>\d{1,10})\), dropping connection"
        r"(?: from (?P<client>\S{1,120}))?",
    ),
    "clients-limit": (
        b"client-related limits",
        r"client-related limits.{0,120}?(?:nclients=(?P<clients>[1-9]\d{0,9}) nclients_max=(?P=clients)\b"
        r"|nclients_unauth=(?P<anonymous>[1-9]\d{0,9}) nclients_unauth_max=(?P=anonymous)\b)",
    ),
    "services-suspended": (b"Temporarily suspending", r"Temporarily suspending services"),
    "lock-timeout": (
        b"state change lock",
        r"(?:cannot |^\W*)acquire state change lock"
        r"(?: \(held by (?:monitor=(?P<monitor>\w{1,80}))? ?(?:agent=(?P<agent>\w{1,80}))?"
        r"(?P<holder>\w{1,80})?\))?(?: due to (?P<limit>max_queued) limit)?",
    ),
    # The forms since 0.9.2: owners are numbers of threads; since 1.2.13 they have names and times.
    "job-refused": (
        b"Cannot start job",
        r"Cannot start job \((?P<job>[^)]{0,80})\)(?: in API (?P<api>[^ ]{1,80}))?"
        r" for domain (?P<domain>.{1,120}?);"
        r" current job is \((?P<current>[^)]{0,80})\)"
        r" owned by \((?P<owners>(?>(?:[^()]|\([^()]{0,40}\)){1,400}))\)"
        r"(?: for \((?P<times>[0-9s, ]{1,60})\))?",
    ),
    "job-begin": (
        b"is now running job",
        r"Thread (?P<thread>\d{1,20})(?: \((?P<name>[^)]{0,40})\))? is now running job (?P<job>\w{1,80})",
    ),
    "job-end": (
        b" finished job ",
        r"Thread (?P<thread>\d{1,20})(?: \((?P<name>[^)]{0,40})\))? finished job (?P<job>\w{1,80})"
        r" with ret=(?P<ret>-?\d{1,10})",
    ),
    "job-wanted": (
        b"current job=",
        r"Starting (?:async )?job: .{1,200}?\(vm=0x[0-9a-f]{1,16} name=(?P<domain>.{1,120}?), current job=",
    ),
    "monitor-entered": (
        b"Entering monitor",
        r"Entering monitor \(mon=(?P<monitor>0x[0-9a-f]{1,16}) vm=0x[0-9a-f]{1,16}"
        r" name=(?P<domain>.{1,120})\)",
    ),
    "receive-failed": (b"Cannot recv data", r"Cannot recv data: (?P<reason>.{1,120})"),
    "send-failed": (b"Cannot write data", r"Cannot write data: (?P<reason>.{1,120})"),
    "end-of-file": (
        b"End of file while reading data",
        r"End of file while reading data: (?P<reason>.{1,120})",
    ),
    "socket-closed": (b"client socket is closed", r"client socket is closed"),
    "connect-failed": (
        b"connect ",
        r"(?:unable to connect to server at|[Ff]ailed to connect socket to) '(?P<server>[^']{1,120})':"
        r" (?P<reason>.{1,120})",
    ),
    "disconnected": (
        b"Disconnected from",
        r"Disconnected from (?P<server>\S{1,200}) due to (?P<reason>end of file|I/O error)",
    ),
    "operation-timeout": (b"Timed out during operation", r"Timed out during operation: (?P<reason>.{1,160})"),
    # Error 86, and 112 since 11.2.0; other codes before 0.10.0, and for a domain without a channel.
    "agent-silent": (
        b"uest agent ",
        r"(?:(?:Guest agent is not responding|guest agent command timed out): )?"
        r"(?P<reason>QEMU guest agent is not (?:connected|configured|available due to an error)"
        r"|Guest agent not available for now|Guest agent disappeared while executing command"
        r"|guest agent didn't respond to \w{1,20} within '?(?P<seconds>\d{1,10})'? seconds)"
        r"|Guest agent is not responding|guest agent command timed out",
    ),
    "tls-failed": (
        b"ertificate",
        r"(?P<checked>Certificate check failed )?"
        r"(?P<reason>(?:authentication failed: )?(?:Failed to verify peer's certificate"
        r"|Unable to verify (?:TLS peer|(?:client|server) certificate)|Certificate failed validation"
        r"|Our own certificate|Only x509 certificates are supported"
        r"|(?:The (?:(?:CA|client|server) )?)?[Cc]ertificate (?:\S{1,200} )?(?:has |hasn't |is not yet"
        r"|owner does not match|uses an insecure|purpose does not allow|basic constraints|is missing))"
        r".{0,200})",
    ),
    "tls-name-refused": (
        b"tls_allowed_dn_list",
        r"(?:(?P<checked>Certificate check failed ).{0,80})?not on the list of allowed clients"
        r" \(tls_allowed_dn_list\)",
    ),
    "handshake-failed": (
        b"TLS ",
        r"(?P<reason>(?:TLS handshake failed|Unable to verify TLS peer|Unable to read TLS confirmation)"
        r".{0,200})",
    ),
    "sasl-refused": (
        b"SASL",
        r"(?P<reason>no SASL mechanisms are available|cannot list SASL mechanisms"
        r"|SASL mechanism \S{1,40} not supported by server"
        r"|SASL client identity '(?P<identity>[^']{0,120})' not allowed by ACL)",
    ),
    "sasl-weak": (b"SSF ", r"(?P<reason>negotiat(?:ed|ion) SSF (?P<ssf>\d{1,10}) was not strong enough)"),
    "auth-failed": (
        b"uthentication ",
        r"[Aa]uthentication (?P<how>failed|unavailable|cancelled|required)"
        r"(?:: (?P<reason>(?:no polkit agent available to authenticate action '(?P<action>[\w.-]{1,120})'"
        r"|.{1,200})))?",
    ),
    "read-only": (
        b"read only access",
        r"read only access prevents (?P<function>\w{1,80})"
        r"|operation (?P<older>\w{1,80}) forbidden for read only access",
    ),
    "access-denied": (
        b"denied",
        r"access denied(?:: (?P<reason>.{1,160}))?"
        r"|[Pp]olicy ?kit denied action (?P<action>[\w.-]{1,120})",
    ),
    "unknown-procedure": (b"unknown procedure", r"unknown procedure: (?P<number>-?\d{1,20})"),
    "unknown-program": (
        b"Cannot find program",
        r"Cannot find program (?P<program>-?\d{1,20}) version (?P<version>-?\d{1,20})",
    ),
    "unexpected-event": (
        b"No event expected",
        r"No event expected with procedure 0x(?P<procedure>[0-9a-f]{1,8})",
    ),
    "unsupported-event": (b"unsupported event ID", r"unsupported event ID (?P<number>-?\d{1,20})"),
    "unsupported-flags": (
        b"unsupported flags",
        r"unsupported flags:? \(0x(?P<flags>[0-9a-f]{1,16})\)(?: in function (?P<function>\w{1,80}))?",
    ),
    "over-limit": (
        b"oo many ",
        r"[Tt]oo many (?P<what>[\w ()]{1,60}?)(?: to send| in \w{1,20})?:? '?(?P<count>\d{1,20})'?"
        r"(?: for limit| >|, expected) '?(?P<limit>\d{1,20})",
    ),
    "not-encoded": (b"encode message", r"Unable to (?:re-)?encode message (?P<what>payload|header|length)"),
    "not-decoded": (b"decode message", r"Unable to decode message (?P<what>payload|header|length)"),
    "wrong-length": (
        b" bytes received from ",
        r"packet (?P<size>-?\d{1,10}) bytes received from \w{1,20} too (?P<fault>large|small)"
        r"(?:, want (?P<limit>\d{1,10}))?",
    ),
    # Of systemd and the kernel, about a daemon.
    "daemon-exited": (
        b"ain process exited",
        r"(?P<daemon>libvirtd|virt[a-z]{2,16}d)\.service: [Mm]ain process exited,"
        r" code=(?P<code>\w{1,20}), status=(?P<status>\d{1,3}(?:/[\w-]{1,20})?)",
    ),
    "daemon-crashed": (
        b"]: segfault at ",
        r"\b(?P<daemon>libvirtd|virt[a-z]{2,16}d|(?:prio-)?rpc-[a-z-]{1,16})\[\d{1,10}\]: segfault at",
    ),
    "daemon-out-of-memory": (
        b"Out of memory: Kill",
        r"Out of memory: Kill(?:ed)? process \d{1,10},? \((?P<daemon>libvirtd|virt[a-z]{2,16}d)\)",
    ),
    "started": (b"libvirt version: ", r"libvirt version: (?P<version>\d{1,3}\.\d{1,3}\.\d{1,3})"),
}
#: A part of each line with a statement.
TOKENS: Final = tuple(token for token, _ in _FORMS.values())
_ANY: Final = re.compile(b"|".join(re.escape(token) for token in TOKENS))
#: The first one that matches a text describes it best.
_PATTERNS: Final = [(kind, token.decode(), re.compile(form)) for kind, (token, form) in _FORMS.items()]
_NAME: Final = r"(libvirtd|virt[a-z]{2,16}d|virsh|virt-[a-z-]{2,24})"
#: A program of libvirt before a text, as in the journal, and in syslog (RFC 5424).
_PROGRAM: Final = re.compile(
    rf"\b{_NAME}(?:(?:\[\d{{1,10}}\])?: | (?:\d{{1,10}}|-) \S{{1,32}} [-\[])",
)
_IS_NAME: Final = re.compile(_NAME)
#: Fields of structured logs with the name of a program.
_FIELDS: Final = ("SYSLOG_IDENTIFIER", "_COMM", "identifier", "ident", "program", "appname", "app_name")


def may_state(line: bytes) -> bool:
    """Return whether a line has a part of a statement."""
    return _ANY.search(line) is not None


def statement(text: str) -> Statement | None:
    """Return what a text states; None for any other text."""
    for kind, token, pattern in _PATTERNS:
        if token in text and (found := pattern.search(text)):
            details = {name: value.strip() for name, value in found.groupdict().items() if value}
            return Statement(kind, details)
    return None


def fuller(what: Statement | None, more: Statement | None) -> Statement | None:
    """Return what a line states together with others, `more`, if these add something to what it states
    alone."""
    if what is None or more is None:
        return what or more
    return more if more.kind == what.kind and len(more.details) > len(what.details) else what


def program(text: str, fields: Mapping[str, object] = MappingProxyType({})) -> str:
    """Return the program of libvirt that a line names before its text, or in its fields; "" for none."""
    for name in _FIELDS:
        value = fields.get(name)
        if isinstance(value, str) and _IS_NAME.fullmatch(value):
            return value
    match = _PROGRAM.search(text)
    return match[1] if match else ""
