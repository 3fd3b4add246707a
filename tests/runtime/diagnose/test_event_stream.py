"""EVENT_FLOOD, UNREGISTERED_EVENT: events that come too fast, or that nobody asked for."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.event_stream import EventStream
from libvirt_proto.events import Closed
from tests.support.conversations import MS, SECOND, Talk, connection, diagnosis, domain, found
from tests.support.frames import text, word

LIFECYCLE = "domain_event_callback_lifecycle"


def rules(*talks: Talk) -> list[str]:
    return [each.rule for each in diagnosis(*talks).findings if each.rule in EventStream.rules]


def lifecycle(id_: int, name: str = "web") -> bytes:
    return word(id_) + domain(name) + word(4) + word(0)


def flood(rate: int, seconds: int, *, names: tuple[str, ...] = ("web",), conn: int = 1) -> Talk:
    talk = Talk()
    for number in range(rate * seconds):
        name = names[number % len(names)]
        talk.event(LIFECYCLE, lifecycle(0, name), at=number * SECOND // rate, conn=conn)
    return talk


def test_flood() -> None:
    (finding,) = found("EVENT_FLOOD", flood(150, 4))
    assert finding.summary == (
        "The client of connection 192.0.2.1:40001-192.0.2.2:16509 received 150 events a second for 4 seconds,"
        " mostly domain_event_callback_lifecycle, nearly all about web."
    )
    assert finding.evidence[0].text.startswith("up to 150 events a second, and 300 in two seconds: ")
    assert finding.evidence[0].messages[0] == 51


def test_flood_of_several_objects_to_several_clients() -> None:
    talk = flood(150, 4, names=("a", "b"))
    talk.items += flood(150, 4, names=("a", "b"), conn=2).items
    (finding,) = found("EVENT_FLOOD", talk)
    assert finding.summary.startswith("2 clients received 150 events a second")
    assert "nearly all about" not in finding.summary


@pytest.mark.parametrize(
    ("talk", "expected"),
    [
        pytest.param(flood(99, 20), [], id="slower"),
        pytest.param(flood(140, 2), [], id="shorter"),
        pytest.param(flood(300, 1), ["EVENT_FLOOD"], id="burst"),
    ],
)
def test_thresholds(talk: Talk, expected: list[str]) -> None:
    assert rules(talk) == expected


def registered(*ids: int, opened: bool = True) -> Talk:
    talk = Talk()
    if opened:
        talk.call("connect_open", word(0) + word(0), at=0)
    for number, id_ in enumerate(ids):
        args = word(0) + word(0)
        talk.call("connect_domain_event_callback_register_any", args, word(id_), at=SECOND + number * MS)
    return talk


def test_event_of_unknown_callback() -> None:
    talk = registered(0, 1)
    talk.event(LIFECYCLE, lifecycle(7), at=5 * SECOND)
    (finding,) = found("UNREGISTERED_EVENT", talk)
    assert finding.summary.endswith(
        "received 1 event that it had not registered for: domain_event_callback_lifecycle with callback 7."
    )
    assert finding.evidence[0].text.endswith("registered: 0, 1")
    assert finding.severity == "note"


def test_event_after_the_cancellation() -> None:
    talk = registered(0, 1)
    talk.call("connect_domain_event_callback_deregister_any", word(0), at=2 * SECOND)
    talk.event(LIFECYCLE, lifecycle(0), at=3 * SECOND)
    talk.event(LIFECYCLE, lifecycle(1), at=3 * SECOND)
    (finding,) = found("UNREGISTERED_EVENT", talk)
    assert finding.summary.endswith(
        "received 1 event whose callback the daemon had cancelled: domain_event_callback_lifecycle with"
        " callback 0."
    )
    talk.call("connect_domain_event_callback_register_any", word(0) + word(0), word(0), at=4 * SECOND)
    talk.event(LIFECYCLE, lifecycle(0), at=5 * SECOND)
    (finding,) = found("UNREGISTERED_EVENT", talk)
    assert finding.evidence[0].count == 1


def test_kinds_of_objects_have_callbacks_of_their_own() -> None:
    talk = registered(0)
    event = word(0) + text(b"default") + bytes(16) + word(0) + word(0)
    talk.event("network_event_lifecycle", event, at=5 * SECOND)
    assert rules(talk) == ["UNREGISTERED_EVENT"]
    talk.call("connect_network_event_register_any", word(0) + word(0), word(0), at=2 * SECOND)
    assert rules(talk) == []


def expected_events() -> dict[str, Talk]:
    known = registered(0)
    known.event(LIFECYCLE, lifecycle(0), at=5 * SECOND)
    late = registered()
    late.event(LIFECYCLE, lifecycle(3), at=SECOND // 2)
    late.call("connect_domain_event_callback_register_any", word(0) + word(0), word(3), at=SECOND // 3)
    cancelled = registered(0)
    cancelled.call("connect_domain_event_callback_deregister_any", word(0), at=2 * SECOND, takes=2 * MS)
    cancelled.event(LIFECYCLE, lifecycle(0), at=2 * SECOND + MS)
    begins_later = registered(0, opened=False)
    begins_later.event(LIFECYCLE, lifecycle(7), at=5 * SECOND)
    old = registered()
    old.call("connect_domain_event_register", b"", word(1), at=SECOND)
    old.event("domain_event_lifecycle", lifecycle(0)[4:], at=5 * SECOND)
    unanswered = registered()
    unanswered.call("connect_domain_event_callback_register_any", word(0) + word(0), at=SECOND, takes=None)
    unanswered.event(LIFECYCLE, lifecycle(0), at=5 * SECOND)
    return {
        "registered": known,
        "before the reply": late,
        "before the cancellation is confirmed": cancelled,
        "capture begins later": begins_later,
        "without callback": old,
        "registration without a reply": unanswered,
    }


@pytest.mark.parametrize("name", expected_events())
def test_expected_events(name: str) -> None:
    assert rules(expected_events()[name]) == []


def test_closed_connections_are_forgotten() -> None:
    talk = registered(0, 1)
    talk.event(LIFECYCLE, lifecycle(7), at=5 * SECOND)
    talk.items.append((6 * SECOND, Closed(connection(1), 6 * SECOND, "c2s")))
    assert rules(talk) == ["UNREGISTERED_EVENT"]
