"""POLLING, CALL_PER_OBJECT, REPEATED_LOOKUP: calls that a client does not need."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from libvirt_proto import registry
from libvirt_proto.diagnose.bulk_calls import BULK, EVENTS, NAME_LISTS
from libvirt_proto.diagnose.chatter import Chatter
from libvirt_proto.diagnose.detector import Recording
from libvirt_proto.diagnose.diagnoser import Diagnoser
from tests.support.conversations import MS, SECOND, Talk, connection, diagnosis, domain, found
from tests.support.frames import REMOTE, text, word

STATISTICS = (
    ("domain_get_info", b""),
    ("domain_get_state", word(0)),
    ("domain_block_stats", text(b"vda")),
    ("domain_interface_stats", text(b"vnet0")),
    ("domain_memory_stats", word(10) + word(0)),
    ("domain_get_vcpus", word(1) + word(1)),
)


def chatty(*recordings: Talk) -> list[tuple[str, str]]:
    rules = set(Chatter.rules)
    return [(each.rule, each.summary) for each in diagnosis(*recordings).findings if each.rule in rules]


def agent(rounds: int, domains: int, *, every: int = SECOND, conn: int = 1) -> Talk:
    """A monitoring agent that asks for six statistics of each domain."""
    talk = Talk()
    for turn in range(rounds):
        at = turn * every + conn * 100 * MS
        for number in range(domains):
            for name, args in STATISTICS:
                talk.call(name, domain(f"vm{number}") + args, at=at, conn=conn)
                at += 2 * MS
    return talk


def polled(name: str, args: bytes, count: int, interval: int, *, jitter: tuple[int, ...] = (0,)) -> Talk:
    talk, at = Talk(), 0
    for turn in range(count):
        talk.call(name, args, at=at)
        at += interval + jitter[turn % len(jitter)]
    return talk


def test_monitoring_agent_is_told_the_bulk_call() -> None:
    """The public case: six statistics of each domain, every second."""
    ((rule, summary),) = chatty(agent(30, 5))
    assert rule == "CALL_PER_OBJECT"
    assert summary.startswith(
        "The client of connection 192.0.2.1:40001-192.0.2.2:16509 asked for the statistics of 5 domains one"
        " by one: 900 calls of domain_get_info, domain_get_state,"
    )
    assert summary.endswith("connect_get_all_domain_stats returns them in 30 calls.")
    (finding,) = found("CALL_PER_OBJECT", agent(30, 5))
    assert finding.evidence[0].count == 150
    assert finding.evidence[0].text.startswith("150 calls of domain_get_info for 5 objects")
    assert "virConnectGetAllDomainStats (conn.getAllDomainStats() in Python)" in finding.advice[0]
    assert "it saves 870 round trips and up to 870 ms of waiting" in finding.advice[0]


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(agent(1, 3), id="ten statistics of three domains once"),
        pytest.param(agent(1, 19), id="all domains once"),
        pytest.param(agent(8, 1, every=2 * SECOND), id="one domain"),
        pytest.param(agent(2, 4), id="twice"),
    ],
)
def test_few_calls_need_no_bulk_call(talk: Talk) -> None:
    assert chatty(talk) == []


def test_all_domains_once_are_many_calls() -> None:
    """A script that connects, asks for everything and leaves."""
    ((rule, summary),) = chatty(agent(1, 50))
    assert rule == "CALL_PER_OBJECT"
    assert "300 calls" in summary
    assert summary.endswith("returns them in 1 call.")


def test_clients_of_the_same_kind_are_one_finding() -> None:
    talk = agent(30, 5)
    for conn in (2, 3):
        talk.items += agent(30, 5, conn=conn).items
    ((rule, summary),) = chatty(talk)
    assert rule == "CALL_PER_OBJECT"
    assert summary.startswith("3 clients asked for the statistics of 5 domains one by one: 2,700 calls")


def test_both_ends_of_a_connection_are_one_client() -> None:
    talk = Talk()
    for item in agent(30, 5).items:
        for end, side in ((1, "client"), (2, "server")):
            talk.items.append((item[0], replace(item[1], connection=connection(end, side))))
    ((_, summary),) = chatty(talk)
    assert "900 calls" in summary


def listed_by_ids(rounds: int, names: tuple[str, ...]) -> Talk:
    """The old way to list domains: ids, and a look-up of each."""
    talk = Talk()
    for turn in range(rounds):
        at = turn * 5 * SECOND
        ids = word(len(names)) + b"".join(map(word, range(len(names))))
        talk.call("connect_list_domains", word(100), ids, at=at)
        for number, name in enumerate(names):
            at += 2 * MS
            talk.call("domain_lookup_by_id", word(number), domain(name), at=at)
    return talk


def test_lookups_after_a_list_of_ids_need_a_list_of_domains() -> None:
    ((rule, summary),) = chatty(listed_by_ids(10, tuple(f"vm{number}" for number in range(8))))
    assert rule == "CALL_PER_OBJECT"
    assert "asked for the handles of 8 domains one by one" in summary
    assert "connect_list_all_domains" in summary


def looked_up(count: int, names: tuple[str, ...], *, others: int = 1, error: bytes | None = None) -> Talk:
    talk = Talk()
    for turn in range(count):
        at = turn * 100 * MS
        name = names[turn % len(names)]
        talk.call("domain_lookup_by_name", text(name.encode()), domain(name), at=at, error=error)
        for other in range(others):
            talk.call("domain_get_xml_desc", domain(name) + word(0), text(b"<domain/>"), at=at + other * MS)
    return talk


def test_repeated_lookups() -> None:
    findings = found("REPEATED_LOOKUP", looked_up(60, ("web", "mail")))
    assert len(findings) == 1
    assert findings[0].summary.endswith("again and again: web (30 times) and mail (30 times).")
    assert findings[0].evidence[0].count == 60
    assert "saves 58 round trips" in findings[0].advice[0]


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(looked_up(39, ("web",)), id="few"),
        pytest.param(looked_up(60, tuple(f"vm{number}" for number in range(10))), id="different objects"),
        pytest.param(looked_up(60, ("web",), others=4), id="rare among the calls"),
        pytest.param(looked_up(60, ("web",), error=b"no domain"), id="failing: nothing to keep"),
    ],
)
def test_needed_lookups(talk: Talk) -> None:
    assert found("REPEATED_LOOKUP", talk) == []


def test_state_is_polled() -> None:
    (finding,) = found("POLLING", polled("domain_get_state", domain("web") + word(0), 60, SECOND))
    assert finding.summary.endswith(
        "polled domain_get_state: 60 calls in 59.0 s, one round every 1.00 s (100% of the calls of the"
        " connection)."
    )
    assert "VIR_DOMAIN_EVENT_ID_LIFECYCLE (virConnectDomainEventRegisterAny)" in finding.advice[0]
    assert finding.severity == "note"


def test_test_of_the_connection_is_polled() -> None:
    (finding,) = found("POLLING", polled("connect_get_lib_version", b"", 60, SECOND))
    assert "virConnectIsAlive" in finding.advice[0]


def test_result_without_an_event_is_polled_quickly() -> None:
    talk = polled("domain_get_blkio_parameters", domain("web") + word(0) * 2, 100, 100 * MS)
    (finding,) = found("POLLING", talk)
    assert finding.advice == (
        "poll less often than every 100 ms: no event announces what domain_get_blkio_parameters returns",
    )


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(polled("domain_get_state", domain("a") + word(0), 60, 3 * SECOND), id="slow enough"),
        pytest.param(polled("domain_get_state", domain("a") + word(0), 19, SECOND), id="few"),
        pytest.param(polled("domain_get_state", domain("a") + word(0), 60, 50 * MS), id="short"),
        pytest.param(polled("domain_get_state", domain("a") + word(0), 9999, 2 * MS), id="without a pause"),
        pytest.param(
            polled("domain_get_state", domain("a") + word(0), 60, 0, jitter=(50 * MS, SECOND, 9 * SECOND)),
            id="not steady",
        ),
        pytest.param(
            polled("connect_get_all_domain_stats", word(0) * 3, 60, SECOND), id="a manager's refresh"
        ),
        pytest.param(polled("connect_list_all_domains", word(1) * 2, 60, SECOND), id="a manager's list"),
        pytest.param(polled("domain_get_job_info", domain("a"), 60, 500 * MS), id="virsh migrate --verbose"),
        pytest.param(polled("domain_send_key", domain("a") + word(0) * 4, 60, SECOND), id="no question"),
    ],
)
def test_no_polling(talk: Talk) -> None:
    assert found("POLLING", talk) == []


def test_hostile_names_and_connections_are_bounded() -> None:
    recording = Recording("one.pcap", registry.default(), None)
    assert recording.file == "one.pcap"
    talk = Talk()
    for number in range(6_000):
        talk.call("domain_get_info", domain(f"{number}" * 100), at=number, conn=number % 5_000)
    diagnoser = Diagnoser(registry.default(), rules=Chatter.rules)
    diagnoser.source("one.pcap")
    for item in talk:
        diagnoser.add(item)
    (detector,) = diagnoser._pass._detectors  # type: ignore[union-attr]  # the state is what is tested
    assert isinstance(detector, Chatter)
    assert len(detector._clients) <= 4_096
    assert sum(len(each.uses) for each in detector._clients.values()) == detector._use_count <= 8_192
    assert diagnoser.finish().findings == []


def test_tables_name_procedures() -> None:
    known = registry.default().program(REMOTE).by_name
    for name in (*BULK, *EVENTS, *NAME_LISTS, *(bulk.procedure for bulk in BULK.values())):
        assert name in known
