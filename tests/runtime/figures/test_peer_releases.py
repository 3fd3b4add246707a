"""The releases of peers: by procedures, limits and fields in their messages, and by what they state."""

from __future__ import annotations

from pathlib import Path

import pytest

import libvirt_proto
from libvirt_proto import registry
from libvirt_proto.codec.identification import Identification, Range
from libvirt_proto.events import Captured, Connection, Direction
from libvirt_proto.figures.peer_releases import PeerReleases
from tests.support.frames import CONNECTION, captured, error_payload, frame, text, word
from tests.support.work import assert_linear, grown

DOMAIN = text(b"vm") + bytes(16) + word(1)
BACKUP = frame(DOMAIN + text(b"<a/>") + word(0) + word(0), proc=421)
OTHER = Connection(2, "127.0.0.1:1", "127.0.0.1:16509")


def sent(data: bytes, direction: Direction = "c2s", connection: Connection = CONNECTION) -> Captured:
    return captured(data, direction=direction, connection=connection)


def found(*messages: Captured) -> Identification:
    releases = PeerReleases(registry.default())
    for message in messages:
        releases.add(message)
    return releases.identification()


def peers(*messages: Captured) -> list[tuple[str, Range]]:
    rows = found(*messages).evidence
    return [(each.what, each.ranges[0]) for each in rows if each.what in ("client", "server")]


def reply(payload: bytes = b"", *, proc: int, prog: int = 0x20008086, status: int = 0) -> Captured:
    return sent(frame(payload, prog=prog, proc=proc, type_=1, status=status), "s2c")


def test_client_knows_what_it_calls() -> None:
    identified = found(sent(BACKUP))
    assert identified.ranges == (Range("6.0.0"),)
    assert [(each.what, str(each.ranges[0])) for each in identified.evidence] == [
        ("client", "6.0.0 or later"),
        ("remote.domain_backup_begin", "6.0.0 or later"),
    ]


def test_server_knows_what_it_answers() -> None:
    failed = reply(error_payload(38, 10, b"no"), proc=421, status=1)
    assert peers(sent(BACKUP), failed) == [("client", Range("6.0.0")), ("server", Range())]
    assert peers(sent(BACKUP), reply(proc=421)) == [("client", Range("6.0.0")), ("server", Range("6.0.0"))]


def test_server_is_older_than_an_unknown_procedure() -> None:
    unknown = reply(error_payload(39, 7, b"unknown procedure: 421"), proc=421, status=1)
    known = reply(word(0), proc=273)  # connect_list_all_domains
    assert peers(known, unknown) == [("server", Range("0.9.13", None, "6.0.0"))]
    quoted = reply(error_payload(1, 10, b"unknown procedure: 421"), proc=66, status=1)
    assert peers(quoted) == [("server", Range())]


@pytest.mark.parametrize(("prog", "proc"), [(0x20008086, 157), (0x06900690, 3)])
def test_server_states_its_release(prog: int, proc: int) -> None:
    version = reply((12_009_000).to_bytes(8, "big"), prog=prog, proc=proc)
    assert peers(reply(proc=421), version) == [("server", Range("12.9.0", "12.9.0"))]


def test_events_and_message_types() -> None:
    """domain_event_memory_failure is 423; holes in streams came in 3.4.0."""
    event = sent(frame(word(1) + DOMAIN + word(0) * 3, proc=423, type_=2), "s2c")
    assert peers(event) == [("server", Range("6.9.0"))]
    hole = sent(frame(bytes(12), proc=209, type_=6), "s2c")
    assert peers(hole) == [("server", Range("3.4.0"))]


@pytest.mark.parametrize(
    ("size", "first"), [(65536, None), (65537, "0.9.13"), (1048576, "0.9.13"), (1048577, "1.0.6")]
)
def test_limits_of_strings(size: int, first: str | None) -> None:
    """REMOTE_STRING_MAX: 64 KiB, 1 MiB since 0.9.13, 4 MiB since 1.0.6. (A message has a limit, too.)"""
    assert peers(sent(frame(text(b"x" * size), proc=23))) == [("client", Range(first))]


def test_limits_of_messages() -> None:
    """VIR_NET_MESSAGE_MAX was raised to 32 MiB in 3.4.0."""
    data = sent(frame(bytes(16_777_216), proc=208, type_=3, status=2))
    assert peers(data) == [("client", Range("3.4.0"))]
    reason = found(data).evidence[0].why
    assert "VIR_NET_MESSAGE_MAX was raised from 16777216 to 33554432" in reason


def test_field_of_a_union() -> None:
    """VIR_TYPED_PARAM_STRING was added in 0.9.8."""
    string = text(b"field") + word(7) + text(b"value")
    number = text(b"field") + word(1) + word(5)
    parameters = [frame(DOMAIN + word(1) + each + word(0), proc=197) for each in (number, string)]
    assert peers(sent(parameters[0])) == [("client", Range())]
    assert peers(sent(parameters[1])) == [("client", Range("0.9.8"))]


def test_names_of_the_public_api() -> None:
    """The client of this registration knows VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE, of 6.9.0."""
    register = sent(frame(word(25) + word(0), proc=316))
    assert peers(register) == [("client", Range("6.9.0"))]
    assert peers(sent(frame(word(0) + word(0), proc=316))) == [("client", Range("1.2.2"))]


def test_first_names_of_an_enum_bound_no_release() -> None:
    """virVcpuHostCpuState, of 6.10.0, names -1, which the CPU of an offline vCPU was before."""
    vcpus = frame(word(1) + word(0) + word(1) + bytes(8) + word(-1) + word(0), proc=20, type_=1)
    assert peers(sent(vcpus, "s2c")) == [("server", Range())]


def test_peers_of_connections_are_apart() -> None:
    older = sent(frame(word(0) + word(1), proc=273), connection=OTHER)
    assert peers(older, sent(BACKUP)) == [("client", Range("6.0.0")), ("client", Range("0.9.13"))]
    (both,) = [
        each for each in found(sent(BACKUP), sent(BACKUP, connection=OTHER)).evidence if each.what == "client"
    ]
    assert both.why.endswith(f"2 connections: {CONNECTION}, {OTHER}")


def test_number_beyond_the_newest_release() -> None:
    newest = registry.default().release
    evidence = found(reply(proc=9999)).evidence
    assert evidence[1].what == "remote 9999"
    assert evidence[1].why.startswith(f"libvirt {newest} does not have it; ")


def test_nothing_was_seen() -> None:
    assert found() == Identification("capture", (), ())
    keepalive = sent(frame(prog=0x6B656570, proc=1, type_=2), "s2c")
    assert found(keepalive) == Identification("capture", (), ())


def test_capture_of_9_0_0(captures: Path) -> None:
    """The server of this capture was libvirt 9.0.0, which it states."""
    releases = PeerReleases(registry.default())
    with libvirt_proto.open(captures / "tour.pcap") as capture:
        for item in capture.timeline():
            if isinstance(item, Captured):
                releases.add(item)
    evidence = releases.identification().evidence
    assert (evidence[0].what, evidence[0].ranges) == ("server", (Range("9.0.0", "9.0.0"),))
    assert evidence[1].ranges == (Range("5.7.0"),)


def test_many_connections_take_linear_work() -> None:
    def act(size: int) -> object:
        messages = [sent(BACKUP, connection=Connection(n, f"c{n}", "s")) for n in range(size)]
        return lambda: found(*messages)

    assert_linear(*grown(act, 100))  # type: ignore[arg-type]
