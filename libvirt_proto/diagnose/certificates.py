"""CERTIFICATE_REFUSED: TLS that failed because of a certificate.

The reasons are in the log of the side that refused, and in the daemon's event tls_context_session_deny
(virnettlscontext.c). A capture shows only that an encrypted connection ended; the other side sees "Unable to
read TLS confirmation" or a failed handshake.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from ..bounded import BoundedDict
from ..events import ConnectionEvent, LogLine, Side
from ..rpc.reported import LibvirtError
from ..session import Exchange
from ..text import amount
from .detector import MAX_NUMBERS, Recording
from .errors import ErrorDetector, Failure, Group, described, reporter
from .findings import Evidence, Finding
from .peers import Peer

#: Different reasons that are kept.
_MAX_GROUPS: Final = 32
#: Sessions whose certificates did not pass, and whose ends are awaited.
_MAX_SESSIONS: Final = 1024
_REFUSALS: Final = ("tls_context_session_deny", "tls_context_session_fail")
#: Different names that are kept.
_MAX_NAMES: Final = 32
#: Characters of a name that would be more than itself in a list of patterns in quotes.
_PATTERN: Final = frozenset('*?[]\\"')
_NOT_ALLOWED: Final = "not on the list of allowed clients (tls_allowed_dn_list)"
#: virErrorNumber: INTERNAL_ERROR, SYSTEM_ERROR, RPC, AUTH_FAILED.
_CODES: Final = frozenset((1, 38, 39, 45))
#: Texts that follow any refusal; a more specific one states the reason.
_VERIFY: Final = "Failed to verify peer's certificate"
_HANDSHAKE: Final = "TLS handshake failed"
_GENERIC: Final = (_VERIFY, _HANDSHAKE, "Unable to read TLS confirmation")
#: Errors of GnuTLS that a certificate causes: the alert of a peer, or a failed check.
_ABOUT_CERTIFICATE: Final = re.compile("alert|certificate", re.IGNORECASE)


class Certificates(ErrorDetector):
    """Refusals in logs, in events of a daemon, and in errors of calls that connect to another daemon."""

    rules = ("CERTIFICATE_REFUSED",)
    kinds = frozenset(("tls-failed", "tls-name-refused", "handshake-failed"))

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._groups: BoundedDict[str, Group] = BoundedDict(_MAX_GROUPS)
        #: Refusals by the address of their session, with the number of exchanges before.
        self._open: BoundedDict[str, tuple[ConnectionEvent, int]] = BoundedDict(_MAX_SESSIONS)
        self._events: list[ConnectionEvent] = []
        self._counts: Counter[Side | None] = Counter()
        self._names: BoundedDict[str, None] = BoundedDict(_MAX_NAMES)

    def explains(self, _line: LogLine, _exchange: Exchange) -> bool:
        """TLS precedes all calls."""
        return False

    def concerns(self, error: LibvirtError, _exchange: Exchange) -> bool:
        """Return whether a daemon could not connect to another one."""
        return error.code in _CODES and self.stated(error) is not None

    def event(self, _peer: Peer | None, event: ConnectionEvent) -> None:
        """Note certificates that did not pass their check, and the end of their sessions."""
        if event.kind in _REFUSALS:
            self._open.put(dict(event.details).get("sess", ""), (event, self.recording.exchanges))
        elif event.kind == "tls_session_dispose" and self._open:
            self._refused(dict(event.details).get("sess", ""))

    def _refused(self, session: str) -> None:
        """Count a refusal, unless calls followed: the check can be ignored (tls_no_verify_certificate)."""
        event, before = self._open.pop(session, (None, 0))
        if event is None or before != self.recording.exchanges:
            return
        self._counts[event.side] += 1
        if len(self._events) < MAX_NUMBERS:
            self._events.append(event)
        name = dict(event.details).get("dname")
        if name and event.kind == "tls_context_session_deny":
            self._names.put(name, None)

    def failed(self, failure: Failure) -> None:
        """Group refusals by their reasons. A warning without the error that follows a refusal was ignored."""
        checked = any("checked" in line.details for line in failure.lines)
        if checked and not any(_VERIFY in line.details.get("reason", "") for line in failure.lines):
            return
        reason = _reason(failure)
        if reason.startswith(_HANDSHAKE) and not _ABOUT_CERTIFICATE.search(reason):
            return  # a connection that was lost, or without TLS on one side
        if reason not in self._groups:
            self._groups.put(reason, Group(failure))
        self._groups[reason].add(failure)

    def findings(self) -> Iterator[Finding]:
        """Report each reason; what follows any refusal only without another reason."""
        self.end()
        for session in [*self._open]:
            self._refused(session)
        specific = {reason: group for reason, group in self._groups.items() if not _is_generic(reason)}
        for reason, group in (specific or self._groups).items():
            yield self._of(reason, group)
        if self._events and not specific:
            yield self._of_events()

    def _of(self, reason: str, group: Group) -> Finding:
        count = amount(group.count, "time")
        text = f"{amount(group.count, 'refusal')} with this reason"
        if group.first.error is not None:
            text = f"{amount(group.count, 'failed call')}: {described(group.first.error)}"
        evidence = [*group.evidence(self.recording, text)]
        names = [*self._names]
        refused = reason == _NOT_ALLOWED
        if refused and names:
            evidence.append(self._named())
        often = "" if group.count == 1 else f" {count}"
        if refused:
            name = f", {names[0]}," if len(names) == 1 else f"s, {' and '.join(names[:2])}," if names else ""
            verb = "are" if len(names) > 1 else "is"
            summary = (
                f"The daemon refused a client's certificate{often}: its name{name} {verb} not in"
                " tls_allowed_dn_list."
            )
        elif _is_generic(reason):
            summary = (
                f"A TLS connection failed{often}, usually because the other side refused the certificate:"
                f" {reason}."
            )
        else:
            who = reporter(self.recording)
            summary = (
                f"{who} refused a client{often} because it sent no certificate."
                if "No certificate" in reason
                else f"{who} refused a certificate{often}: {_sentence(reason)}."
            )
        return self.finding(
            "CERTIFICATE_REFUSED",
            summary,
            evidence,
            certainty="likely" if _is_generic(reason) else "certain",
            advice=_advice(reason, names),
        )

    def _of_events(self) -> Finding:
        names = [*self._names]
        count = max(self._counts.values())
        often = "" if count == 1 else f" {amount(count, 'time')}"
        sides = {each.side for each in self._events}
        who = "The client" if sides == {"client"} else "The daemon" if "client" not in sides else "One side"
        if names:
            summary = f"{who} refused a certificate{often}, of {' and '.join(names[:2])}."
        else:
            summary = f"{who} refused a certificate{often}: it did not pass its check."
        return self.finding(
            "CERTIFICATE_REFUSED",
            summary,
            [self._named()],
            certainty="likely",
            advice=_advice(_NOT_ALLOWED if names else "", names),
        )

    def _named(self) -> Evidence:
        """Return the events of a daemon as evidence."""
        times = [event.time_ns for event in self._events if event.time_ns is not None]
        names = ", ".join([*self._names][:3])
        count = max(self._counts.values())
        return Evidence(
            f"events report {amount(count, 'refusal')}" + (f" of {names}" if names else ""),
            self.recording.file,
            count,
            start_ns=min(times, default=None),
            end_ns=max(times, default=None),
        )


def _reason(failure: Failure) -> str:
    """Return the most specific reason."""
    texts = [_NOT_ALLOWED for line in failure.lines if line.kind == "tls-name-refused"]
    texts += [line.details["reason"] for line in failure.lines if "reason" in line.details]
    if failure.error is not None and (found := failure.statement) is not None:
        texts.append(_NOT_ALLOWED if found.kind == "tls-name-refused" else found.details.get("reason", ""))
    texts = [text.removeprefix("authentication failed: ") for text in texts]
    specific = [text for text in texts if not _is_generic(text)]
    return next(iter(specific or texts), "")


def _sentence(reason: str) -> str:
    """Return a reason without what precedes it, as a part of a sentence."""
    for prefix in ("Unable to verify TLS peer: ", "Certificate failed validation: "):
        reason = reason.removeprefix(prefix)
    return (reason[:1].lower() + reason[1:]).removesuffix(".")


def _is_generic(reason: str) -> bool:
    return reason.startswith(_GENERIC)


def _advice(reason: str, names: list[str]) -> tuple[str, ...]:
    """Return what helps against a refusal."""
    if reason == _NOT_ALLOWED:
        # The peer chose its name, and entries of the list are patterns (virtlscontext.c).
        is_plain = bool(names) and _PATTERN.isdisjoint(names[0])
        quoted = f'"{names[0]}"' if is_plain else "the name that virt-pki-query-dn clientcert.pem prints"
        return (
            f"if this client may connect, add {quoted} to tls_allowed_dn_list in"
            " /etc/libvirt/libvirtd.conf, and restart the daemon",
        )
    if "expired" in reason or "not yet active" in reason:
        return (
            "issue a new certificate (certtool --generate-certificate), and check the clocks of both hosts",
            "check all files of a host: virt-pki-validate",
        )
    if "issuer" in reason or "not trusted" in reason or "against CA" in reason:
        return (
            "use the same certificate authority on both sides: compare /etc/pki/CA/cacert.pem of the two"
            " hosts",
            "check all files of a host: virt-pki-validate",
        )
    if "No certificate" in reason:
        return (
            "give the client a certificate: /etc/pki/libvirt/clientcert.pem and private/clientkey.pem, or"
            " ?pkipath=FOLDER in the URI",
        )
    if "hostname" in reason:
        return (
            "connect by a name that is in the server's certificate (certtool -i --infile servercert.pem), or"
            " issue one with this name",
        )
    return (
        "read the reason in the log of the other side: journalctl -u libvirtd -g -i certificate",
        "check the files of both hosts: virt-pki-validate",
    )
