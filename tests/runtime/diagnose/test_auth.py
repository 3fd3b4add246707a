"""AUTH_REFUSED, AUTH_WAITING and SASL_WITHOUT_TLS."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.auth import WAITING_NS
from libvirt_proto.events import Captured, Connection, LogLine
from tests.support.failures import MS, SECOND, call, connection, event, finding, findings, line, rules
from tests.support.frames import text, word

UNIX = Connection(9, "", "/run/libvirt/libvirt-sock", "unix")
NO_AGENT = (
    b"authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'"
)
FAILED = (45, b"authentication failed: authentication failed")


def start(mechanism: bytes, on: Connection, **kwargs: object) -> list[Captured]:
    """auth_sasl_start."""
    args = text(mechanism) + word(1) + word(0)
    ret = word(0) + word(0) + word(0)
    return call("auth_sasl_start", args, ret, on=on, **kwargs)  # type: ignore[arg-type]


def polkit(on: Connection = UNIX, **kwargs: object) -> list[Captured]:
    """auth_polkit."""
    return call("auth_polkit", b"", word(1), on=on, **kwargs)  # type: ignore[arg-type]


# AUTH_REFUSED


def test_polkit_without_an_agent() -> None:
    found = finding("AUTH_REFUSED", polkit(error=(94, NO_AGENT)))
    assert "polkit authentication of the connection" in found.summary
    assert "no polkit agent available" in found.summary
    assert "error 94 (VIR_ERR_AUTH_UNAVAILABLE)" in found.evidence[0].text
    assert found.evidence[0].command == "libvirt-proto decode --exchanges --message 2 one.pcap"
    assert "group libvirt" in found.advice[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ((79, b"authentication cancelled: user cancelled authentication process"), "user cancelled"),
        ((45, b"authentication failed: access denied by policy"), "access denied by policy"),
    ],
)
def test_reason_of_polkit_is_named(error: tuple[int, bytes], words: str) -> None:
    found = finding("AUTH_REFUSED", polkit(error=error))
    assert words in found.summary
    assert "polkit rule" in found.advice[0] or "rules.d" in found.advice[0]


def test_refusal_after_seconds_means_that_somebody_was_asked() -> None:
    denied = 45, b"authentication failed: access denied by policy"
    slow = finding("AUTH_REFUSED", polkit(error=denied, takes=5 * SECOND))
    assert "after 5.00 s: access denied by policy (it asked somebody" in slow.summary
    assert "AUTH_WAITING" in rules(polkit(error=denied, takes=5 * SECOND))
    assert "asked" not in finding("AUTH_REFUSED", polkit(error=denied)).summary


def test_equal_refusals_are_one_finding() -> None:
    items = [polkit(connection(n), error=(94, NO_AGENT), serial=n) for n in range(1, 5)]
    found = finding("AUTH_REFUSED", *items)
    assert "4 connections from 192.0.2.1" in found.summary
    assert found.evidence[0].count == 4


def test_accepted_afterwards_is_a_warning() -> None:
    wrong = start(b"GSSAPI", connection(1), error=FAILED)
    right = call("auth_sasl_step", word(1) + word(0), word(1) * 2 + word(0), on=connection(2), at=SECOND)
    found = finding("AUTH_REFUSED", wrong, right)
    assert found.severity == "warning"
    assert "accepted a later one" in found.summary


def test_accepted_before_remains_an_error() -> None:
    right = call("auth_sasl_step", word(1) + word(0), word(1) * 2 + word(0), on=connection(2))
    wrong = start(b"GSSAPI", connection(1), error=FAILED, at=SECOND)
    assert finding("AUTH_REFUSED", right, wrong).severity == "error"


def test_another_client_does_not_count_as_accepted() -> None:
    wrong = start(b"GSSAPI", connection(1), error=FAILED)
    step = word(1) + word(0), word(1) * 2 + word(0)
    right = call("auth_sasl_step", *step, on=connection(2, "192.0.2.77"), at=SECOND)
    assert finding("AUTH_REFUSED", wrong, right).severity == "error"


def test_call_before_authentication() -> None:
    found = finding("AUTH_REFUSED", call("domain_get_info", error=(45, b"authentication required")))
    assert found.summary == "A client called domain_get_info before it had authenticated."


SASL_LINES = (
    "authentication failed: Failed to start SASL negotiation: -13 (SASL(-13): authentication failure: x)",
    "authentication failed: authentication failed",
)


def test_log_names_the_reason_of_sasl() -> None:
    on = connection(1, side="server")
    lines = [line(each, number, 0) for number, each in enumerate(SASL_LINES, 10)]
    found = finding("AUTH_REFUSED", lines, start(b"X", on, error=FAILED, headers=True))
    assert "password or ticket is wrong" in found.summary
    assert [each.lines for each in found.evidence] == [(), (10, 11)]
    assert found.certainty == "certain"


def test_client_log_has_the_error_after_the_reply() -> None:
    on = connection(1, side="client")
    reply = start(b"X", on, error=FAILED, headers=True)
    found = finding("AUTH_REFUSED", reply, line(SASL_LINES[1], 12, 2 * MS))
    assert [each.lines for each in found.evidence] == [(), (12,)]


def test_log_without_messages() -> None:
    first, second = line(NO_AGENT.decode(), 3, 0), line(NO_AGENT.decode(), 9, SECOND)
    found = finding("AUTH_REFUSED", first, second)
    assert "2 connections" in found.summary
    assert found.evidence[0].lines == (3, 9)


def test_name_that_is_not_allowed() -> None:
    lines = [
        line("SASL client identity 'fred' not allowed by ACL", 1, 0),
        line("Client's username is not on the list: authentication failed: no", 2, 0),
    ]
    on = connection(1, side="server")
    denied = event("server_client_auth_deny", on, client="0x1", auth="1", identity="fred")
    found = finding("AUTH_REFUSED", lines, denied, start(b"X", on, error=FAILED, headers=True))
    assert "'fred' not allowed" in found.summary
    assert any("sasl_allowed_username_list" in each for each in found.advice)


@pytest.mark.parametrize(
    ("text", "summary", "advice"),
    [
        (
            "authentication failed: unsupported authentication type 2",
            "The daemon requires authentication by polkit, which this client does not support.",
            "built with it",
        ),
        (
            "authentication failed: No authentication callback available",
            "The client could not authenticate: No authentication callback available.",
            "virConnectOpenAuth",
        ),
        (
            "authentication failed: no agent is available to authenticate",
            "The daemon refused the authentication of a connection: no agent is available to authenticate.",
            "group libvirt",
        ),
        (
            "authentication failed: Failed to start SASL negotiation: -20 (SASL(-13): user not found: x)",
            "The daemon refused the SASL authentication of a connection: the user is unknown.",
            "sasldblistusers2",
        ),
    ],
)
def test_texts_of_bug_reports(text: str, summary: str, advice: str) -> None:
    found = finding("AUTH_REFUSED", line(text, 1, program="virsh"))
    assert found.summary == summary
    assert advice in found.advice[0]


def test_redacted_texts_are_no_reasons() -> None:
    refused = start(b"X" * 10, connection(1), error=(45, b"x" * 20))
    assert rules(refused) == {"AUTH_REFUSED"}
    found = finding("AUTH_REFUSED", refused)
    assert "xx" not in found.summary
    assert found.evidence[0].text == "1 refusal: error 45 (VIR_ERR_AUTH_FAILED): authentication failed"


@pytest.mark.parametrize("detail", ["auth", "authtype"])
def test_event_of_a_daemon_alone(detail: str) -> None:
    """In a log, and by its probe."""
    found = finding("AUTH_REFUSED", event("server_client_auth_fail", connection(1), **{detail: "2"}))
    assert found.summary == "The daemon refused the polkit authentication of a connection."


def test_refused_permission_is_not_an_authentication() -> None:
    """The access driver asks polkit, too."""
    action = "org.libvirt.api.domain.start"
    lines = [
        line(f"authentication unavailable: no polkit agent available to authenticate action '{action}'", 1),
        line("access denied: 'QEMU' denied access", 2),
    ]
    failed = call(
        "domain_create", error=(88, b"access denied"), on=connection(1, side="server"), headers=True
    )
    assert rules(lines, failed) == {"ACCESS_DENIED"}
    policy = [line("authentication failed: access denied by policy", 1), lines[1]]
    assert rules(policy, failed) == {"ACCESS_DENIED"}


def test_lines_of_other_programs_are_ignored() -> None:
    sshd = LogLine("auth-failed", 0, "", "812", None, 3, {"how": "failed"})
    assert findings(sshd) == []


def test_normal_authentication_has_no_finding() -> None:
    listed = call("auth_list", b"", word(1) + word(2), on=UNIX)
    assert findings(listed, polkit(serial=2, at=2 * MS)) == []
    assert findings(start(b"GSSAPI", connection(1))) == []


# AUTH_WAITING


@pytest.mark.parametrize(("takes", "waiting"), [(WAITING_NS - 1, False), (WAITING_NS, True)])
def test_waiting_begins_at_a_second(takes: int, waiting: bool) -> None:
    assert ("AUTH_WAITING" in rules(polkit(takes=takes))) == waiting


def test_waiting_names_the_time_and_the_method() -> None:
    found = finding("AUTH_WAITING", polkit(takes=4 * SECOND))
    assert "waited 4.00 s for polkit" in found.summary
    assert found.severity == "warning"


def test_authentication_without_a_reply() -> None:
    later = call("connect_get_type", on=connection(3), serial=7, at=9 * SECOND)
    found = finding("AUTH_WAITING", polkit(takes=None), later)
    assert "waited 9.00 s for polkit, and 1 call had no reply" in found.summary


# SASL_WITHOUT_TLS


@pytest.mark.parametrize(
    ("mechanism", "severity"),
    [(b"DIGEST-MD5", "warning"), (b"PLAIN", "error"), (b"SCRAM-SHA-256", "warning"), (b"GSSAPI", None)],
)
def test_mechanism_on_tcp(mechanism: bytes, severity: str | None) -> None:
    found = [each for each in findings(start(mechanism, connection(1))) if each.rule == "SASL_WITHOUT_TLS"]
    assert [each.severity for each in found] == ([severity] if severity else [])


@pytest.mark.parametrize(
    "on",
    [
        UNIX,
        Connection(1, "192.0.2.1:40001", "192.0.2.2:16514", "tls"),
        Connection(1, "127.0.0.1:49152", "127.0.0.1:16509"),  # a unix socket that `trace -w` recorded
    ],
)
def test_encrypted_or_local_connection_needs_no_tls(on: Connection) -> None:
    assert "SASL_WITHOUT_TLS" not in rules(start(b"PLAIN", on))


def test_readable_calls_after_sasl_were_not_sent_over_plain_tcp() -> None:
    after = call("connect_get_type", b"", text(b"QEMU"), on=connection(1), serial=2, at=SECOND)
    assert "SASL_WITHOUT_TLS" not in rules(start(b"DIGEST-MD5", connection(1)), after)


def test_traces_do_not_show_which_connection_has_tls() -> None:
    on = connection(1, side="server")
    assert "SASL_WITHOUT_TLS" in rules(start(b"PLAIN", on))
    assert "SASL_WITHOUT_TLS" not in rules(event("tls_session_new", None, sess="0x1"), start(b"PLAIN", on))


def test_no_mechanism() -> None:
    init = call("auth_sasl_init", error=FAILED, on=connection(1))
    found = finding("SASL_WITHOUT_TLS", init)
    assert (found.certainty, found.severity) == ("likely", "error")
    assert "AUTH_REFUSED" not in rules(init)
    old = line("internal error: cannot list SASL mechanisms -4 (SASL(-4): no mechanism available: x)", 3)
    assert rules(old) == {"SASL_WITHOUT_TLS"}
    stated = line("internal error: no SASL mechanisms are available", 4)
    on = connection(1, side="server")
    assert (
        finding(
            "SASL_WITHOUT_TLS", stated, call("auth_sasl_init", error=FAILED, on=on, headers=True)
        ).certainty
        == "certain"
    )


def test_no_mechanism_with_tls_is_a_refusal() -> None:
    on = Connection(1, "192.0.2.1:40001", "192.0.2.2:16514", "tls")
    assert rules(call("auth_sasl_init", error=FAILED, on=on)) == {"AUTH_REFUSED"}


def test_weak_mechanism() -> None:
    found = finding("SASL_WITHOUT_TLS", line("negotiated SSF 0 was not strong enough", 4))
    assert "does not encrypt" in found.summary
