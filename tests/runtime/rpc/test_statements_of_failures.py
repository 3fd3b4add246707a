"""Texts of errors about limits, releases, authentication and certificates."""

from __future__ import annotations

import pytest

from libvirt_proto.rpc.statements import may_state, statement

#: The text as in a log or a reply, its kind, and the details that matter.
STATEMENTS = [
    # virnettlscontext.c, of several releases
    ("authentication failed: Failed to verify peer's certificate", "tls-failed", {}),
    ("Unable to verify TLS peer: No certificate was found.", "tls-failed", {}),
    ("Certificate failed validation: The certificate hasn't got a known issuer.", "tls-failed", {}),
    ("The CA certificate /etc/pki/CA/cacert.pem is not yet active", "tls-failed", {}),
    ("Certificate [session] owner does not match the hostname web", "tls-failed", {}),
    ("Our own certificate /a.pem failed validation against /b.pem: expired", "tls-failed", {}),
    (
        "Client's Distinguished Name is not on the list of allowed clients (tls_allowed_dn_list).  Use",
        "tls-name-refused",
        {},
    ),
    (
        "authentication failed: TLS handshake failed Error in the certificate.",
        "handshake-failed",
        {"reason": "TLS handshake failed Error in the certificate."},
    ),
    ("Unable to read TLS confirmation: Input/output error", "handshake-failed", {}),
    # virnetsaslcontext.c, remote_daemon_dispatch.c
    ("internal error: no SASL mechanisms are available", "sasl-refused", {}),
    ("SASL client identity 'fred' not allowed by ACL", "sasl-refused", {"identity": "fred"}),
    ("negotiated SSF 0 was not strong enough", "sasl-weak", {"ssf": "0"}),
    ("authentication failed: authentication failed", "auth-failed", {"how": "failed"}),
    # virpolkit.c
    ("authentication cancelled: user cancelled authentication process", "auth-failed", {"how": "cancelled"}),
    (
        "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.x'",
        "auth-failed",
        {"how": "unavailable", "action": "org.libvirt.x"},
    ),
    # libvirt-domain.c and others; the second until 1.2
    (
        "operation forbidden: read only access prevents virDomainSave",
        "read-only",
        {"function": "virDomainSave"},
    ),
    ("operation virDomainSave forbidden for read only access", "read-only", {"older": "virDomainSave"}),
    ("access denied: 'QEMU' denied access", "access-denied", {"reason": "'QEMU' denied access"}),
    # qemu_domain.c, qemu_agent.c; the last until 0.9.13
    (
        "Guest agent is not responding: QEMU guest agent is not connected",
        "agent-silent",
        {"reason": "QEMU guest agent is not connected"},
    ),
    (
        "Guest agent is not responding: guest agent didn't respond to synchronization within '5' seconds",
        "agent-silent",
        {"seconds": "5"},
    ),
    ("Guest agent is not responding: L'agent n'est pas disponible", "agent-silent", {}),
    ("guest agent command timed out", "agent-silent", {}),
    (
        "internal error Guest agent not available for now",
        "agent-silent",
        {"reason": "Guest agent not available for now"},
    ),
    # virnetserverprogram.c, virnetclientprogram.c
    ("unknown procedure: 450", "unknown-procedure", {"number": "450"}),
    ("Cannot find program 110102160 version 1", "unknown-program", {"program": "110102160", "version": "1"}),
    ("No event expected with procedure 0x1b2", "unexpected-event", {"procedure": "1b2"}),
    ("internal error: unsupported event ID 27", "unsupported-event", {"number": "27"}),
    ("unsupported flags (0x80) in function qemuDomainSave", "unsupported-flags", {"flags": "80"}),
    # gendispatch.pl, virnetmessage.c
    ("Too many domains '17000' for limit '16384'", "over-limit", {"count": "17000", "limit": "16384"}),
    ("too many remote undefineds: 5000 > 1024,", "over-limit", {"count": "5000", "limit": "1024"}),
    ("Too many FDs to send 40, expected 32 maximum", "over-limit", {"what": "FDs", "limit": "32"}),
    (
        "packet 33554433 bytes received from server too large, want 33554432",
        "wrong-length",
        {"size": "33554433", "limit": "33554432"},
    ),
    ("Unable to encode message payload", "not-encoded", {"what": "payload"}),
    ("Unable to decode message payload", "not-decoded", {"what": "payload"}),
]


@pytest.mark.parametrize(("text", "kind", "details"), STATEMENTS)
def test_text_states(text: str, kind: str, details: dict[str, str]) -> None:
    found = statement(f"2026-11-30 20:03:04.506+0000: 13867: error : function:209 : {text}")
    assert found is not None
    assert found.kind == kind
    assert details.items() <= found.details.items()
    assert may_state(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "Unable to open /dev/kvm: Permission denied",
        "Certificate /etc/pki/libvirt/clientcert.pem usage does not permit digital signature",
        "Setting external SSF 256",
        "Too many levels of symbolic links",
    ],
)
def test_other_text_states_nothing(text: str) -> None:
    assert statement(text) is None
