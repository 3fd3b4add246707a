"""AGENT_NO_REPLY: guest agents that did not answer, or are not there."""

from __future__ import annotations

import pytest

from libvirt_proto.events import Captured, Connection, LogLine
from tests.support.failures import MS, call, connection, finding, findings, line, rules
from tests.support.frames import text, word

RULE = "AGENT_NO_REPLY"
SILENT = "Guest agent is not responding: Guest agent not available for now"
NOT_CONNECTED = "Guest agent is not responding: QEMU guest agent is not connected"
#: (code, text) → the summary
REASONS = [
    ((86, NOT_CONNECTED), "No guest agent is connected in domain web, so domain_get_fsinfo failed."),
    ((86, SILENT), "The guest agent of domain web did not answer, so domain_get_fsinfo failed."),
    (
        (86, "Guest agent is not responding: Guest agent disappeared while executing command"),
        "The guest agent of domain web disconnected during a command, so domain_get_fsinfo failed.",
    ),
    (
        (86, "Guest agent is not responding: QEMU guest agent is not available due to an error"),
        "The connection to the guest agent of domain web failed, so domain_get_fsinfo failed.",
    ),
    (
        (74, "argument unsupported: QEMU guest agent is not configured"),
        "The XML of domain web has no channel for a guest agent, so domain_get_fsinfo failed.",
    ),
    (
        (112, "guest agent command timed out: guest agent didn't respond to command within '7' seconds"),
        "The guest agent of domain web did not answer within 7 s, so domain_get_fsinfo failed.",
    ),
    ((112, ""), "The guest agent of domain web did not answer, so domain_get_fsinfo failed."),
]


def failed(
    error: tuple[int, str],
    name: str = "domain_get_fsinfo",
    *,
    domain: str = "web",
    serial: int = 1,
    on: Connection | None = None,
    headers: bool = False,
) -> list[Captured]:
    args = text(domain.encode()) + bytes(range(16)) + word(3) + word(0)
    code = error[0], error[1].encode()
    return call(name, args, error=code, serial=serial, on=on or connection(1), headers=headers, at=serial)


@pytest.mark.parametrize(("error", "summary"), REASONS)
def test_reasons(error: tuple[int, str], summary: str) -> None:
    assert finding(RULE, failed(error)).summary == summary


@pytest.mark.parametrize(
    "error",
    [
        (1, "internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': disabled"),
        (87, "guest agent replied with wrong id to guest-sync command"),
        (74, "argument unsupported: other"),
        (42, "Domain not found"),
    ],
)
def test_agents_that_answered_and_other_errors_have_no_finding(error: tuple[int, str]) -> None:
    assert RULE not in rules(failed(error))


def test_calls_with_one_reason_are_one_finding() -> None:
    items = [failed((86, NOT_CONNECTED), domain=f"vm{n}", serial=n + 1) for n in range(5)]
    found = finding(RULE, *items)
    assert (
        found.summary
        == "No guest agent is connected in 5 domains (vm0, vm1, vm2 and 2 more), so 5 calls failed."
    )
    assert found.evidence[0].count == 5
    assert "virsh dumpxml DOMAIN" in found.advice[1]


def test_reasons_are_findings_of_their_own() -> None:
    not_configured = 74, "argument unsupported: QEMU guest agent is not configured"
    items = failed((86, NOT_CONNECTED)), failed(not_configured, domain="db", serial=2)
    assert [each.subject for each in findings(*items)] == ["not connected", "not configured"]


def test_log_with_jobs_names_call_and_domain() -> None:
    jobs = [
        LogLine(
            "job-begin", 0, "libvirtd", "7", "8", 1, {"thread": "8", "job": "remoteDispatchDomainGetTime"}
        ),
        LogLine("job-wanted", MS, "libvirtd", "7", "8", 2, {"domain": "web 1"}),
    ]
    found = finding(RULE, jobs, line(SILENT, 3, 2 * MS, thread="8"))
    assert found.summary == "The guest agent of domain web 1 did not answer, so domain_get_time failed."
    assert found.evidence[0].lines == (3,)
    assert "--timeout 5 'web 1'" in found.advice[0]


def test_reply_and_line_of_a_log_are_one_failure() -> None:
    reply = failed((86, SILENT), on=connection(1, side="server"), headers=True)
    found = finding(RULE, line(SILENT, 5), reply)
    assert found.summary == "The guest agent of a domain did not answer, so domain_get_fsinfo failed."
    assert [each.count for each in found.evidence] == [1, 1]


def test_agent_precedes_the_lock_that_its_call_holds() -> None:
    lock = (
        "Timed out during operation: cannot acquire state change lock"
        " (held by agent=remoteDispatchDomainShutdown)"
    )
    found = findings(line(SILENT, 1), line(lock, 2, 30_000 * MS))
    assert [each.rule for each in found] == [RULE, "STATE_CHANGE_LOCK"]
