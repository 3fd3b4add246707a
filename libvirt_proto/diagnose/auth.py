"""AUTH_REFUSED, AUTH_WAITING and SASL_WITHOUT_TLS.

A client asks for the methods (auth_list), and then calls auth_polkit, or auth_sasl_init, auth_sasl_start and
auth_sasl_step. On TCP without TLS a daemon offers only mechanisms of SASL that encrypt, and refuses those
with less than 56 bits (remoteSASLFinish in remote_daemon_dispatch.c). Reasons that polkit gives are in
virpolkit.c, those of SASL only in the daemon's log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ..bounded import BoundedDict
from ..events import Captured, Connection, ConnectionEvent, Side
from ..routine import RoutineExchanges
from ..rpc.message import Header
from ..rpc.reported import LibvirtError
from ..rpc.wire import REMOTE_PROGRAM
from ..session import Exchange
from ..text import amount, duration, wire_text
from .detector import Recording, Sample
from .ends import client_host, over_tcp, read_only_socket
from .errors import ErrorDetector, Failure, Group, blanked, capitalised, described, named
from .findings import Evidence, Finding, Severity
from .peers import MAX_PEERS, Peer

#: virErrorNumber.
_FAILED: Final = 45
_CANCELLED: Final = 79
_UNAVAILABLE: Final = 94
#: Procedures of the remote program.
_SASL_INIT: Final = 67
_SASL_START: Final = 68
_SASL: Final = frozenset((_SASL_INIT, _SASL_START, 69))
_POLKIT: Final = 70
_PROCEDURES: Final = _SASL | {_POLKIT}
#: An answer without a person, or over a slow network, takes less.
WAITING_NS: Final = 10**9
#: Kinds of refusals, and mechanisms, that are kept.
_MAX_GROUPS: Final = 64
#: What libvirt writes for each refusal, whatever its reason.
_GENERIC: Final = "authentication failed"
#: remote_auth_type, as in the events of a daemon.
_METHODS: Final = {"1": "SASL", "2": "polkit"}
#: A side lacks the package with a mechanism of SASL.
_NOT_AVAILABLE: Final = "the mechanism is not available"
_PACKAGE: Final = (
    "install the package with the mechanism of mech_list in /etc/sasl2/libvirt.conf (libsasl2-modules-… or"
    " cyrus-sasl-…) on both sides"
)
#: Results of the SASL library (sasl.h), in the log of a daemon.
_SASL_RESULT: Final = re.compile(r"SASL negotiation: (-\d{1,4})")
_SASL_RESULTS: Final = {
    "-4": _NOT_AVAILABLE,
    "-13": "the password or ticket is wrong",
    "-14": "the user is not authorised",
    "-15": "the mechanism is too weak",
    "-20": "the user is unknown",
}
#: Errors about the list of mechanisms, of new and old releases.
_NO_MECHANISM: Final = re.compile("no SASL mechanisms|cannot list SASL mechanisms")
#: Errors of a client itself, and the numbers of remote_auth_type in one of them.
_OF_CLIENT: Final = re.compile(
    r"unsupported authentication type (?P<type>\d+)|No authentication callback|Failed to collect auth"
    r"|Failed to make auth|requested authentication type|SASL mechanism \S+ not supported by server"
)
#: polkit's answer if a rule denies an action, and if nobody gives the right password.
_BY_POLICY: Final = "access denied by policy"
#: Mechanisms that encrypt, and that libvirt recommends for TCP (libvirtd.sasl).
_STRONG: Final = ("GSSAPI", "GS2-", "GSS-SPNEGO")
#: Mechanisms that send the password itself.
_CLEAR: Final = frozenset(("PLAIN", "LOGIN"))
_TLS_ADVICE: Final = (
    "use TLS (qemu+tls://, listen_tls = 1 in /etc/libvirt/libvirtd.conf) or SSH (qemu+ssh://)",
    "or keep TCP with a mechanism that encrypts: mech_list: gssapi in /etc/sasl2/libvirt.conf, and a keytab",
)


class Authentication(ErrorDetector):
    """Authentications that were refused, that took long, or that reveal passwords."""

    rules = ("AUTH_REFUSED", "AUTH_WAITING", "SASL_WITHOUT_TLS")
    kinds = frozenset(("auth-failed", "access-denied", "sasl-refused", "sasl-weak"))

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        #: By method and reason.
        self._refused: BoundedDict[tuple[str, str], Group] = BoundedDict(_MAX_GROUPS)
        self._accepted: BoundedDict[tuple[str, str], int | None] = BoundedDict(_MAX_GROUPS)
        self._waited: BoundedDict[str, list[Exchange]] = BoundedDict(2)
        self._no_mechanism: Group | None = None
        self._weak: Group | None = None
        #: The mechanism of each connection over TCP, with the call that names it.
        self._mechanisms: BoundedDict[int, tuple[str, Captured]] = BoundedDict(MAX_PEERS)
        #: What a daemon reported: connections that it refused, and the names that it did not know.
        self._events: BoundedDict[int, ConnectionEvent] = BoundedDict(MAX_PEERS)
        self._identities: BoundedDict[str, None] = BoundedDict(_MAX_GROUPS)
        self._explained: BoundedDict[int, None] = BoundedDict(MAX_PEERS)
        self._tls = False

    # Hooks

    def wants(self, _header: Header) -> bool:
        """Return True: a call after an authentication shows that it has no security layer."""
        return True

    def takes(self, header: Header) -> bool:
        """Return whether a procedure does not authenticate."""
        return header.prog != REMOTE_PROGRAM or header.proc not in _PROCEDURES

    def ready(self, _peer: Peer, _exchanges: RoutineExchanges) -> bool:
        """Return whether no call follows an authentication."""
        return not self._mechanisms

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Look at calls that authenticate, and at the first ones after these."""
        super().exchange(peer, exchange)
        header = exchange.header
        if header.prog != REMOTE_PROGRAM or header.proc not in _PROCEDURES:
            if self._mechanisms and peer.connection.side is None and exchange.reply is not None:
                # Without its security layer, this was not TCP on the wire: TLS that is decrypted.
                self._mechanisms.pop(peer.connection.id, None)
            return
        call = exchange.call
        if header.proc == _SASL_START and call is not None and over_tcp(peer.connection):
            mechanism = getattr(call.message.payload, "mech", None)
            name = wire_text(mechanism or "").upper()
            if not blanked(name) and peer.connection.transport != "tls":
                self._mechanisms.put(peer.connection.id, (name, call))
        self._time(exchange)
        if exchange.outcome == "ok" and exchange.reply is not None:
            payload = exchange.reply.message.payload
            # A log has no payloads: the reply to auth_polkit is final.
            if getattr(payload, "complete", header.proc == _POLKIT):
                self._accepted.put((_method(header.proc), client_host(peer.connection)), exchange.last_ns)

    def event(self, peer: Peer | None, event: ConnectionEvent) -> None:
        """Note the refusals that a daemon reports, and sessions of TLS."""
        if event.kind in ("server_client_auth_deny", "server_client_auth_fail") and peer is not None:
            self._events.put(peer.connection.id, event)
            identity = dict(event.details).get("identity")
            if identity and identity not in ("(null)", "<null>"):
                self._identities.put(identity, None)
        elif event.kind == "server_client_auth_allow" and peer is not None:
            if (method := _method_in(event)) is not None:
                self._accepted.put((method, client_host(peer.connection)), event.time_ns)
        elif event.kind == "tls_session_new":
            self._tls = True

    def concerns(self, error: LibvirtError, _exchange: Exchange) -> bool:
        """Return whether an authentication was refused, other than by a certificate."""
        text = error.message or ""
        return error.code in (_FAILED, _CANCELLED, _UNAVAILABLE) and not (
            "certificate" in text or "TLS" in text or "org.libvirt.api." in text
        )

    def failed(self, failure: Failure) -> None:
        """Group refusals by method and reason."""
        if any(
            line.kind == "access-denied" or line.details.get("action", "").startswith("org.libvirt.api.")
            for line in failure.lines
        ):
            return  # the access control of a call
        method = ""
        if failure.exchange is not None:
            header = failure.exchange.header
            if header.prog != REMOTE_PROGRAM or header.proc not in _PROCEDURES:
                method = self.recording.procedure(header)
            else:
                method = _method(header.proc)
        assert failure.peer is None or failure.exchange is not None
        if failure.peer is not None:
            self._explained.put(failure.peer.connection.id, None)
        if self._lacks_mechanism(failure):
            self._no_mechanism = self._no_mechanism or Group(failure)
            self._no_mechanism.add(failure)
            return
        weak = [line for line in failure.lines if line.kind == "sasl-weak"]
        if weak:
            self._weak = self._weak or Group(failure)
            self._weak.add(failure)
            return
        reason = self._reason(failure)
        key = method or _method_of(failure), reason
        if key not in self._refused:
            self._refused.put(key, Group(failure))
        self._refused[key].add(failure)

    def findings(self) -> Iterator[Finding]:
        """Report refusals by their reasons, then waiting, then SASL without TLS."""
        self.end()
        for (method, reason), group in self._refused.items():
            yield self._of_refused(method, reason, group)
        unexplained = [event for key, event in self._events.items() if key not in self._explained]
        if unexplained and not (self._refused or self._no_mechanism or self._weak):
            yield self._of_events(unexplained)
        for method, exchanges in self._waited.items():
            yield self._of_waiting(method, exchanges)
        yield from self._without_tls()

    # Refusals

    def _lacks_mechanism(self, failure: Failure) -> bool:
        """Return whether a daemon had no mechanism to offer: the only common reason why auth_sasl_init
        fails."""
        if any(_NO_MECHANISM.match(line.details.get("reason", "")) for line in failure.lines):
            return True
        return (
            failure.exchange is not None
            and failure.exchange.header.prog == REMOTE_PROGRAM
            and failure.exchange.header.proc == _SASL_INIT
        )

    def _reason(self, failure: Failure) -> str:
        """Return why an authentication was refused, in the most specific words."""
        texts = [line.details.get("reason", "") for line in failure.lines]
        hows = [line.details["how"] for line in failure.lines if "how" in line.details]
        if failure.error is not None:
            words = {_CANCELLED: "cancelled", _UNAVAILABLE: "unavailable"}
            hows.append(words.get(failure.error.code, "failed"))
            _, _, text = (failure.text or "").partition(": ")
            texts.append(text or failure.text or "")
        generic = (_GENERIC, "authentication required")
        specific = [text for text in texts if text not in generic and not blanked(text)]
        if specific:
            result = _SASL_RESULT.search(specific[0])
            return _SASL_RESULTS.get(result[1], specific[0]) if result is not None else specific[0]
        if "authentication required" in texts or "required" in hows:
            return "authentication required"
        return "" if "failed" in hows or not hows else hows[0]

    def _of_refused(self, method: str, reason: str, group: Group) -> Finding:
        host = {client_host(each) for each in group.connections.values()} - {""}
        source = f" from {next(iter(host))}" if len(host) == 1 else ""
        later = self._accepted_later(method, group)
        severity: Severity | None = "warning" if later else None
        of_client = _OF_CLIENT.match(reason)
        lacks = _METHODS.get(of_client["type"] or "") if of_client is not None else None
        what = {"polkit": "polkit authentication", "SASL": "SASL authentication"}.get(
            method, "authentication"
        )
        if reason == "authentication required":
            called = f" {method}" if method else ""
            summary = f"A client called{called or ' a procedure'} before it had authenticated."
        elif method and method not in ("polkit", "SASL"):
            summary = f"{method} failed because an authentication was refused: {reason or _GENERIC}."
        elif lacks is not None:
            summary = f"The daemon requires authentication by {lacks}, which this client does not support."
        elif of_client is not None:
            summary = f"The client could not authenticate: {reason}."
        else:
            whom = self._whom(group)
            because = f": {reason}" if reason else self._unstated(method)
            latency = group.first.exchange.latency_ns if group.first.exchange is not None else None
            asked = latency is not None and latency >= WAITING_NS
            after = f" after {duration(latency)}" if latency is not None and asked else ""
            after += ", and accepted a later one" if later else ""
            if asked and reason == _BY_POLICY:
                because += " (it asked somebody, who gave no right password)"
            summary = f"The daemon refused the {what} of {whom}{source}{after}{because}."
        failure = group.first
        text = amount(group.count, "refusal")
        if failure.error is not None:
            text += f": {described(failure.error)}"
        evidence = [*group.evidence(self.recording, text)]
        if self._identities and method in ("SASL", ""):
            names = ", ".join([*self._identities][:3])
            evidence.append(Evidence(f"the daemon reported these user names: {names}", self.recording.file))
        return self.finding(
            "AUTH_REFUSED",
            summary,
            evidence,
            subject=method if method in ("polkit", "SASL") else "",
            severity=severity,
            advice=_refused_advice(method, reason, group),
        )

    def _whom(self, group: Group) -> str:
        count = len(group.connections) or group.count
        if count > 1:
            return amount(count, "connection")
        connection = group.connection
        return f"the connection {connection}" if connection is not None else "a connection"

    def _unstated(self, method: str) -> str:
        """Return the usual reasons of a refusal that states none."""
        if method == "SASL":
            return ": a wrong user name, password or ticket, or a name that is not allowed"
        return ""

    def _accepted_later(self, method: str, group: Group) -> bool:
        """Return whether the same client authenticated after it was refused."""
        for connection in group.connections.values():
            key = method, client_host(connection)
            if key in self._accepted:
                when, last = self._accepted[key], group.sample.end_ns
                return when is None or last is None or when > last
        return False

    def _of_events(self, events: list[ConnectionEvent]) -> Finding:
        """Report refusals of which only the daemon's events are known."""
        method = _method_in(events[0]) or ""
        text = amount(len(events), "refusal")
        names = [*self._identities][:3]
        text += f" of {', '.join(names)}" if names else ""
        times = [event.time_ns for event in events if event.time_ns is not None]
        evidence = Evidence(
            f"the daemon reported {text}",
            self.recording.file,
            len(events),
            start_ns=min(times, default=None),
            end_ns=max(times, default=None),
        )
        whom = amount(len(events), "connection") if len(events) > 1 else "a connection"
        summary = f"The daemon refused the {f'{method} ' if method else ''}authentication of {whom}."
        return self.finding(
            "AUTH_REFUSED", summary, [evidence], subject=method, advice=_refused_advice(method, "", None)
        )

    # Waiting

    def _time(self, exchange: Exchange) -> None:
        """Note an authentication that took seconds, or still waits."""
        waited = _waited(exchange, self.recording.end_ns)
        if waited is not None and waited >= WAITING_NS and exchange.call is not None:
            method = _method(exchange.header.proc)
            if method not in self._waited:
                self._waited.put(method, [])
            if len(self._waited[method]) < MAX_PEERS:
                self._waited[method].append(exchange)

    def _of_waiting(self, method: str, exchanges: list[Exchange]) -> Finding:
        longest = max(_waited(each, self.recording.end_ns) or 0 for each in exchanges)
        count = len(exchanges)
        connections = {each.connection.id: each.connection for each in exchanges}
        open_ = sum(each.reply is None for each in exchanges)
        still = f", and {amount(open_, 'call')} had no reply" if open_ else ""
        how = "" if count == 1 else "up to "
        what = "a person or a rule" if method == "polkit" else "a password, a ticket or a slow service"
        sample = Sample(each.reply or each.call for each in exchanges)
        evidence = self.recording.messages(
            f"{amount(count, 'call')} that waited {how}{duration(longest)}", sample, exchanges=True
        )
        advice = (
            (
                "see what polkit waits for: a dialog on the user's screen, or a slow rule in"
                " /etc/polkit-1/rules.d (journalctl -u polkit)",
                "for unattended clients, allow org.libvirt.unix.manage in a polkit rule, or add the user to"
                " the"
                ' group of unix_sock_group with auth_unix_rw = "none"',
            )
            if method == "polkit"
            else (
                "see what SASL waits for: a Kerberos or LDAP server, or DNS (journalctl -u libvirtd,"
                " saslauthd)",
            )
        )
        return self.finding(
            "AUTH_WAITING",
            f"{capitalised(named(connections.values()))} waited {how}{duration(longest)} for"
            f" {method}{still}: {what} had to answer"
            " first.",
            [evidence],
            subject=method,
            advice=advice,
        )

    # SASL without TLS

    def _without_tls(self) -> Iterator[Finding]:
        if self._no_mechanism is not None:
            yield self._of_no_mechanism(self._no_mechanism)
        if self._weak is not None:
            yield self.finding(
                "SASL_WITHOUT_TLS",
                "The daemon refused an authentication on TCP without TLS because its SASL mechanism does not"
                " encrypt the connection.",
                [*self._weak.evidence(self.recording, amount(self._weak.count, "refusal"))],
                subject="SASL",
                severity="error",
                advice=_TLS_ADVICE,
            )
        used: dict[str, dict[Side | None, list[Captured]]] = {}
        for mechanism, call in self._mechanisms.values():
            side = call.connection.side
            # Logs and probes do not show which connections have TLS.
            if not mechanism.startswith(_STRONG) and not (side is not None and self._tls):
                used.setdefault(mechanism, {}).setdefault(side, []).append(call)
        for mechanism, sides in [*used.items()][:_MAX_GROUPS]:
            yield self._of_mechanism(mechanism, max(sides.values(), key=len))

    def _of_no_mechanism(self, group: Group) -> Finding:
        connections = group.connections.values()
        secure = any(each.transport in ("tls", "unix") for each in connections)
        failure = group.first
        stated = any(line.kind == "sasl-refused" for line in group.lines)
        text = amount(group.count, "connection") + " without a mechanism"
        if failure.error is not None:
            text += f": {described(failure.error)}"
        evidence = [*group.evidence(self.recording, text)]
        if secure:
            return self.finding(
                "AUTH_REFUSED",
                "The daemon refused SASL because none of its mechanisms is available.",
                evidence,
                subject="SASL",
                certainty="certain" if stated else "likely",
                advice=(_PACKAGE,),
            )
        return self.finding(
            "SASL_WITHOUT_TLS",
            "The daemon has no SASL mechanism for TCP without TLS: there it offers only mechanisms that"
            " encrypt"
            " the connection, and none of them is set up.",
            evidence,
            subject="SASL",
            certainty="certain" if stated and all(map(over_tcp, connections)) and not self._tls else "likely",
            severity="error",
            advice=(*_TLS_ADVICE, _PACKAGE),
        )

    def _of_mechanism(self, mechanism: str, calls: list[Captured]) -> Finding:
        connections: dict[int, Connection] = {call.connection.id: call.connection for call in calls}
        start = f"{capitalised(named(connections.values()))} used SASL with {mechanism} over TCP without TLS"
        severity: Severity | None = None
        if mechanism in _CLEAR:
            why, severity = ": anyone on the path can read the password", "error"
        elif mechanism == "DIGEST-MD5":
            why = ": it is broken, and obsolete since 2011 (RFC 6331)"
        else:
            why = ": it does not encrypt the connection"
        return self.finding(
            "SASL_WITHOUT_TLS",
            f"{start}{why}.",
            [self.recording.messages(f"{amount(len(calls), 'start')} of {mechanism}", calls)],
            subject="SASL",
            severity=severity,
            advice=_TLS_ADVICE,
        )


def _method_in(event: ConnectionEvent) -> str | None:
    """Return the method that an event of a daemon names, in its log (`auth`) or by its probe."""
    details = dict(event.details)
    return _METHODS.get(details.get("auth") or details.get("authtype") or "")


def _method_of(failure: Failure) -> str:
    """Return the method that the words of a log are about; "" if unknown."""
    texts = [line.details.get("reason", "") for line in failure.lines]
    if any("SASL" in text for text in texts):
        return "SASL"
    if any("polkit" in text or "policy" in text or text.startswith("user cancelled") for text in texts):
        return "polkit"
    return ""


def _method(procedure: int) -> str:
    return "polkit" if procedure == _POLKIT else "SASL"


def _waited(exchange: Exchange, end_ns: int | None) -> int | None:
    """Return how long a call waited for its reply, or waits already."""
    if exchange.reply is not None:
        return exchange.latency_ns
    start = None if exchange.call is None else exchange.call.time_ns
    return None if start is None or end_ns is None else end_ns - start


def _refused_advice(method: str, reason: str, group: Group | None) -> tuple[str, ...]:
    """Return what helps against a refusal."""
    client = _OF_CLIENT.match(reason)
    if client is not None and client["type"]:
        return (
            "use a client that is built with it (virsh of the distribution), or another transport, such as"
            " qemu+ssh:// as a user that needs no authentication",
        )
    if client is not None:
        return (
            "give the client credentials: virConnectOpenAuth instead of virConnectOpen, or a file with them"
            " (LIBVIRT_AUTH_FILE, /etc/libvirt/auth.conf)",
        )
    if "no polkit agent" in reason or "no agent" in reason or (method == "polkit" and "agent" in reason):
        return (
            "add the user to the group libvirt (usermod -aG libvirt USER), and log in again: the usual polkit"
            " rule allows org.libvirt.unix.manage to that group",
            "or run an agent in the session: pkttyagent --process $$",
            "or connect to the user's own daemon: qemu:///session",
        )
    if method == "polkit" or "policy" in reason or "polkit" in reason or "user cancelled" in reason:
        monitor = group is not None and any(map(read_only_socket, group.connections.values()))
        action = "org.libvirt.unix.monitor" if monitor else "org.libvirt.unix.manage"
        return (
            f"allow {action} for the user in a rule in /etc/polkit-1/rules.d; pkcheck --action-id {action}"
            " --process PID tests it",
        )
    if reason == _NOT_AVAILABLE:
        return (_PACKAGE,)
    if reason == "authentication required":
        return ("call auth_list first, and authenticate as it requires, before any other call",)
    if method == "SASL" or "SASL" in reason:
        unstated = (
            "read the reason in the daemon's log, which has it at any level: journalctl -u libvirtd -g SASL"
        )
        return (
            *(() if reason else (unstated,)),
            "check the user and the realm: sasldblistusers2 -f /etc/libvirt/passwd.db (or klist for"
            " Kerberos)",
            "check sasl_allowed_username_list in /etc/libvirt/libvirtd.conf",
        )
    return ("read the reason in the daemon's log: journalctl -u libvirtd -g authentication",)
