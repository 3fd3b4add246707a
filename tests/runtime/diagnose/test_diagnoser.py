"""The pass over recordings: any items give a diagnosis, and several files give one."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.diagnose import diagnoser as pass_
from libvirt_proto.diagnose.diagnoser import DETECTORS, Diagnosed, Diagnoser
from libvirt_proto.diagnose.findings import Diagnosis
from libvirt_proto.diagnose.rules import RULES
from libvirt_proto.events import Captured, Closed, Connection, ConnectionEvent, LogLine
from libvirt_proto.rpc.statements import statement
from tests.property.test_session import anything
from tests.support.frames import CONNECTION, captured, frame

SECOND = 10**9
KEEPALIVE = 0x6B656570


def diagnose(*items: Diagnosed, file: str = "one.pcap") -> Diagnosis:
    diagnoser = Diagnoser(registry.default())
    diagnoser.source(file)
    for item in items:
        diagnoser.add(item)
    return diagnoser.finish()


def pings(count: int, connection: Connection = CONNECTION, start: int = 5) -> list[Captured]:
    """A call, and then pings of the client every five seconds."""
    data = frame(prog=KEEPALIVE, proc=1, type_=2)
    first = captured(frame(proc=23, serial=3), 1, 0, "c2s", connection)
    return [
        first,
        *(captured(data, 2 + at, (start + 5 * at) * SECOND, "c2s", connection) for at in range(count)),
    ]


def closed(first: str, connection: Connection = CONNECTION) -> Closed:
    return Closed(connection, 30 * SECOND, first)  # type: ignore[arg-type]


def rules(diagnosis: Diagnosis) -> set[str]:
    return {finding.rule for finding in diagnosis.findings}


def test_evidence_names_the_messages_and_the_command() -> None:
    found = diagnose(*pings(5), closed("c2s"))
    finding = next(each for each in found.findings if each.rule == "KEEPALIVE_TIMEOUT")
    evidence = finding.evidence[0]
    assert evidence.messages == (2, 3, 4, 5, 6)
    assert (evidence.start_ns, evidence.end_ns) == (5 * SECOND, 25 * SECOND)
    assert evidence.command == "libvirt-proto decode --message 2-6 one.pcap"


@pytest.mark.parametrize("file", ["-f.pcap", "a b.pcap"])
def test_command_quotes_the_file(file: str) -> None:
    found = diagnose(*pings(5), closed("c2s"), file=file)
    (command,) = {each.command for each in found.findings[0].evidence[:1]}
    assert command is not None
    assert command.endswith(" ./-f.pcap" if file == "-f.pcap" else " 'a b.pcap'")


def test_live_source_has_no_commands() -> None:
    diagnoser = Diagnoser(registry.default(), decode=None)
    diagnoser.source("trace")
    for item in (*pings(5), closed("c2s")):
        diagnoser.add(item)
    found = diagnoser.finish().findings
    assert found
    assert {each.command for finding in found for each in finding.evidence} == {None}


def test_only_wanted_rules() -> None:
    diagnoser = Diagnoser(registry.default(), rules={"POLLING"})
    diagnoser.source("one.pcap")
    for item in (*pings(5), closed("c2s")):
        diagnoser.add(item)
    found = diagnoser.finish()
    assert found.findings == []
    assert [check.rule for check in found.checked] == ["POLLING"]


def test_states_what_could_not_be_checked() -> None:
    without_times = diagnose(captured(frame(), 1, None))
    missing = {check.rule: check.missing for check in without_times.checked}
    assert missing["SLOW_CALLS"] == "needs messages with times"
    assert missing["UNFINISHED_JOB"] == "needs a log of the daemon"
    assert missing["KEEPALIVE_TIMEOUT"] is None
    assert {check.missing for check in diagnose().checked} == {"the input is empty"}


def test_every_rule_belongs_to_one_detector() -> None:
    owners = [rule for detector in DETECTORS for rule in detector.rules]
    assert sorted(owners) == sorted(RULES)


def line(text: str, number: int, time_ns: int | None = None) -> LogLine:
    stated = statement(text)
    assert stated is not None
    return LogLine(stated.kind, time_ns, "libvirtd", "1", "2", number, stated.details)


def test_capture_and_log_give_one_finding() -> None:
    diagnoser = Diagnoser(registry.default())
    diagnoser.source("network.pcap")
    for item in (*pings(5), closed("c2s")):
        diagnoser.add(item)
    diagnoser.source("daemon.log")
    diagnoser.add(line("internal error: connection closed due to keepalive timeout", 7, 31 * SECOND))
    found = [each for each in diagnoser.finish().findings if each.rule == "KEEPALIVE_TIMEOUT"]
    assert len(found) == 1
    assert {each.file for each in found[0].evidence} == {"network.pcap", "daemon.log"}
    assert found[0].certainty == "certain"


EVENTS = st.builds(
    ConnectionEvent,
    st.sampled_from(
        ["keepalive_timeout", "server_client_dispose", "client_dispose", "server_client_auth_deny"]
    ),
    st.none() | st.integers(-(2**70), 2**70),
    st.sampled_from([None, CONNECTION]),
    st.lists(st.tuples(st.sampled_from(["countToDeath", "client"]), st.text(max_size=5))).map(tuple),
)
LINES = st.builds(
    LogLine,
    st.sampled_from(["job-begin", "job-end", "request-limit", "lock-timeout", "clients-dropped", "started"]),
    st.none() | st.integers(-(2**70), 2**70),
    st.just("libvirtd"),
    st.just("1"),
    st.none(),
    st.integers(1, 100),
    st.just({}),
)


@given(anything(), st.lists(EVENTS | LINES, max_size=10), st.randoms())
@settings(deadline=None)
def test_any_items_give_a_diagnosis(items: list[Diagnosed], others: list[Diagnosed], order: Random) -> None:
    """Any messages, events and lines, at any times: each finding has evidence, and is valid JSON."""
    mixed = [*items, *others]
    order.shuffle(mixed)
    found = diagnose(*mixed)
    for finding in found.findings:
        assert finding.rule in RULES
        assert finding.evidence
        assert finding.summary.endswith(".")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Diagnosis) == found


def test_state_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections beyond the limit replace the oldest."""
    monkeypatch.setattr(pass_, "MAX_PEERS", 10)
    names = [Connection(id_, f"10.0.0.1:{id_}", "10.0.0.2:16509") for id_ in range(1, 100)]
    found = diagnose(*(captured(frame(), id_.id, id_.id, "c2s", id_) for id_ in names))
    assert found.connections == 99
