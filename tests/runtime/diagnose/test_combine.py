"""Findings of several recordings become one list."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from libvirt_proto.diagnose.combine import CAUSES, EXPLAINS, combined
from libvirt_proto.diagnose.findings import Certainty, Evidence, Finding, Severity
from libvirt_proto.diagnose.rules import RULES

SECOND = 10**9


def finding(
    rule: str,
    file: str = "a.pcap",
    start: int | None = 0,
    *,
    conn: str | None = None,
    subject: str = "",
    severity: Severity | None = None,
    certainty: Certainty = "likely",
    messages: tuple[int, ...] = (),
) -> Finding:
    time = None if start is None else start * SECOND
    evidence = Evidence(f"seen by {rule}", file, conn=conn, start_ns=time, messages=messages)
    return Finding(
        rule,
        severity or RULES[rule].severity,
        certainty,
        f"{rule} in {file}.",
        subject,
        (evidence,),
        (f"do {file}",),
    )


def names(findings: list[Finding]) -> list[str]:
    return [each.rule for each in findings]


def test_same_finding_of_two_files_is_one() -> None:
    (found,) = combined(
        [
            finding("KEEPALIVE_TIMEOUT"),
            finding("KEEPALIVE_TIMEOUT", "b.log", 2, certainty="certain"),
        ]
    )
    assert found.summary == "KEEPALIVE_TIMEOUT in b.log."
    assert {each.file for each in found.evidence} == {"a.pcap", "b.log"}
    assert found.advice == ("do b.log",)  # of the more certain one


@pytest.mark.parametrize(
    "other",
    [
        finding("KEEPALIVE_TIMEOUT", "b.log", 60),
        finding("KEEPALIVE_TIMEOUT", "a.pcap", 0),
        finding("KEEPALIVE_TIMEOUT", "b.log", 0, subject="vm2"),
    ],
    ids=["much later", "the same file", "another subject"],
)
def test_other_findings_stay_apart(other: Finding) -> None:
    assert len(combined([finding("KEEPALIVE_TIMEOUT", subject="vm1"), other])) == 2


def test_times_may_be_unknown() -> None:
    assert len(combined([finding("KEEPALIVE_TIMEOUT"), finding("KEEPALIVE_TIMEOUT", "b.log", None)])) == 1


def test_consequence_becomes_evidence() -> None:
    (found,) = combined([finding("CONNECTION_LOST", conn="1"), finding("KEEPALIVE_TIMEOUT", conn="1")])
    assert found.rule == "KEEPALIVE_TIMEOUT"
    assert [each.text for each in found.evidence] == ["seen by KEEPALIVE_TIMEOUT", "seen by CONNECTION_LOST"]


def test_consequence_of_two_causes_is_shown_once() -> None:
    found = combined(
        [finding(rule, conn="1") for rule in ("CONNECTION_LOST", "KEEPALIVE_TIMEOUT", "UNFINISHED_JOB")]
    )
    texts = [each.text for finding in found for each in finding.evidence]
    assert names(found) == ["UNFINISHED_JOB", "KEEPALIVE_TIMEOUT"]
    assert texts == ["seen by UNFINISHED_JOB", "seen by KEEPALIVE_TIMEOUT", "seen by CONNECTION_LOST"]


@pytest.mark.parametrize(("messages", "count"), [((3,), 1), ((3, 4), 2)])
def test_consequence_with_the_same_messages_adds_nothing(messages: tuple[int, ...], count: int) -> None:
    lost = finding("CONNECTION_LOST", conn="1", messages=messages)
    (found,) = combined([lost, finding("KEEPALIVE_TIMEOUT", conn="1", messages=(2, 3))])
    assert len(found.evidence) == count


def test_advice_that_differs_in_a_name_is_given_once() -> None:
    steps = ("look: at DOMAIN", "wait"), ("look: at web", "restart it")
    one, two = (
        replace(finding("KEEPALIVE_TIMEOUT", file), advice=advice)
        for file, advice in zip(("a.pcap", "b.log"), steps, strict=True)
    )
    (found,) = combined([one, two])
    assert found.advice == ("look: at web", "restart it", "wait")


@pytest.mark.parametrize("other", [{"conn": "2"}, {"conn": "1", "start": 60}])
def test_finding_about_something_else_is_no_consequence(other: dict[str, object]) -> None:
    found = combined([finding("CONNECTION_LOST", **other), finding("KEEPALIVE_TIMEOUT", conn="1")])  # type: ignore[arg-type]
    assert len(found) == 2


def test_cause_is_as_severe_as_its_effect_and_comes_first() -> None:
    found = combined([finding("KEEPALIVE_TIMEOUT"), finding("CLIENT_REQUEST_LIMIT")])
    assert names(found) == ["CLIENT_REQUEST_LIMIT", "KEEPALIVE_TIMEOUT"]
    assert found[0].severity == "error"


def test_most_severe_comes_first() -> None:
    found = combined([finding("POLLING"), finding("SLOW_CALLS"), finding("READ_ONLY")])
    assert [each.severity for each in found] == ["error", "warning", "note"]


@pytest.mark.parametrize("table", [CAUSES, EXPLAINS], ids=["causes", "explains"])
def test_tables_name_rules_and_have_no_cycles(table: dict[str, frozenset[str]]) -> None:
    def follow(rule: str, before: tuple[str, ...]) -> None:
        assert rule in RULES
        assert rule not in before
        for effect in table.get(rule, ()):
            follow(effect, (*before, rule))

    for rule in table:
        follow(rule, ())


def test_advice_of_equally_certain_findings_is_joined() -> None:
    (found,) = combined([finding("KEEPALIVE_TIMEOUT"), finding("KEEPALIVE_TIMEOUT", "b.log")])
    assert found.advice == ("do a.pcap", "do b.log")
