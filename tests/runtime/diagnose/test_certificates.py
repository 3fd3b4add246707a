"""CERTIFICATE_REFUSED."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.certificates import _advice
from libvirt_proto.events import LogLine
from tests.support.failures import MS, SECOND, call, connection, event, finding, findings, line
from tests.support.frames import text

NOT_ALLOWED = (
    "Client's Distinguished Name is not on the list of allowed clients"
    " (tls_allowed_dn_list).  Use 'virt-pki-query-dn clientcert.pem' to view the Distinguished Name field"
)
VERIFY = "authentication failed: Failed to verify peer's certificate"


def refusal(text: str, number: int, at: int) -> list[LogLine]:
    """The lines of one refusal: an error, a warning, and the error that follows any."""
    warning = line(f"Certificate check failed {text}", number + 1, at)
    return [line(text, number, at), warning, line(VERIFY, number + 2, at)]


def test_name_that_is_not_allowed() -> None:
    deny = event("tls_context_session_deny", None, ctxt="0x1", sess="0x2", dname="CN=web,O=Example")
    found = finding("CERTIFICATE_REFUSED", deny, refusal(NOT_ALLOWED, 5, 0), refusal(NOT_ALLOWED, 9, SECOND))
    assert found.summary == (
        "The daemon refused a client's certificate 2 times: its name, CN=web,O=Example, is not in"
        " tls_allowed_dn_list."
    )
    assert found.advice == (
        'if this client may connect, add "CN=web,O=Example" to tls_allowed_dn_list in'
        " /etc/libvirt/libvirtd.conf, and restart the daemon",
    )


def test_event_without_lines() -> None:
    deny = event("tls_context_session_deny", None, ctxt="0x1", sess="0x2", dname="CN=web")
    found = finding("CERTIFICATE_REFUSED", deny)
    assert found.summary == "The daemon refused a certificate, of CN=web."
    fail = event("tls_context_session_fail", None, ctxt="0x1", sess="0x2")
    end = event("tls_session_dispose", None, at=MS, sess="0x2")
    assert finding("CERTIFICATE_REFUSED", fail, end, fail, end).summary == (
        "The daemon refused a certificate 2 times: it did not pass its check."
    )


def test_check_that_is_ignored() -> None:
    """tls_no_verify_certificate = 1, or ?no_verify=1."""
    error, warning, _ = refusal(NOT_ALLOWED, 1, 0)
    assert findings(error, warning) == []
    fail = event("tls_context_session_fail", None, ctxt="0x1", sess="0x2")
    assert findings(fail, call("connect_get_type", b"", text(b"QEMU"))) == []
    end = event("tls_session_dispose", None, at=SECOND, sess="0x2")
    assert findings(fail, call("connect_get_type", b"", text(b"QEMU")), end) == []


@pytest.mark.parametrize(
    ("reason", "words", "advice"),
    [
        (
            "Certificate failed validation: The certificate hasn't got a known issuer.",
            "refused a certificate: the certificate hasn't got a known issuer.",
            "same certificate authority",
        ),
        ("Unable to verify TLS peer: No certificate was found.", "it sent no certificate", "clientcert.pem"),
        (
            "The server certificate /etc/pki/libvirt/servercert.pem has expired",
            "servercert.pem has expired",
            "issue a new certificate",
        ),
        (
            "Certificate [session] owner does not match the hostname web.example",
            "does not match the hostname web.example",
            "by a name that is in the server's certificate",
        ),
    ],
)
def test_reason_is_named(reason: str, words: str, advice: str) -> None:
    found = finding("CERTIFICATE_REFUSED", refusal(reason, 1, 0))
    assert words in found.summary
    assert advice in found.advice[0]
    assert found.certainty == "certain"


def test_side_that_was_refused_sees_no_reason() -> None:
    found = finding(
        "CERTIFICATE_REFUSED",
        line("Unable to read TLS confirmation: Input/output error", 1, program="virsh"),
    )
    assert found.certainty == "likely"
    assert "log of the other side" in found.advice[0]


@pytest.mark.parametrize("name", ["*", "CN=w?b", "CN=[a-z]", 'CN=web", "*'])
def test_name_of_a_peer_is_never_advised_as_a_pattern(name: str) -> None:
    advice = _advice("not on the list of allowed clients (tls_allowed_dn_list)", [name])
    assert name not in advice[0]
    assert "virt-pki-query-dn" in advice[0]


def test_another_daemon_refuses_a_migration() -> None:
    failed = call("domain_migrate_perform3_params", error=(45, VERIFY.encode()), on=connection(1), takes=MS)
    assert "failed call" in finding("CERTIFICATE_REFUSED", failed).evidence[0].text


@pytest.mark.parametrize(
    "text",
    [
        "TLS handshake failed An unexpected TLS packet was received.",
        "TLS handshake failed Error in the pull function.",
    ],
)
def test_handshake_that_failed_otherwise_is_not_about_a_certificate(text: str) -> None:
    assert "CERTIFICATE_REFUSED" not in {each.rule for each in findings(line(text))}


def test_alert_of_a_peer_is_about_a_certificate() -> None:
    text = "TLS handshake failed A TLS fatal alert has been received."
    assert finding("CERTIFICATE_REFUSED", line(text)).certainty == "likely"
