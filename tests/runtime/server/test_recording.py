"""Captures → the calls of each connection and what followed them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import libvirt_proto
from libvirt_proto.api.capture import Capture
from libvirt_proto.events import Captured, Direction
from libvirt_proto.registry import default
from libvirt_proto.server import recording
from libvirt_proto.server.answers import Answer, Await, Send
from libvirt_proto.server.recording import Recording, RecordingError, record
from libvirt_proto.session import role
from tests.support.conversations import procedure
from tests.support.frames import captured, error_payload, frame, text, word
from tests.support.replays import Said, client, pcapng, server

HOSTNAME = procedure("connect_get_hostname")
UPLOAD = procedure("storage_vol_upload")
DOWNLOAD = procedure("storage_vol_download")
EVENT = procedure("domain_event_callback_lifecycle")
GRAPHICS = procedure("domain_open_graphics_fd")
NAME = text(b"host")


def recorded(*said: Said, closed: bool = True) -> Recording:
    with libvirt_proto.open(pcapng(said, closed=closed)) as capture:
        return record(capture)


def answers(found: Recording) -> list[Answer]:
    return [answer for calls in found.connections for _, _, answer in calls]


def test_reply_is_kept_byte_by_byte_with_its_latency() -> None:
    # Spare bytes and a padding that is not zero: no encoder writes them.
    reply = frame(word(5) + b"hosts\1\2\3" + b"spare!!!", proc=HOSTNAME, type_=1, serial=4)
    found = recorded(client(frame(proc=HOSTNAME, serial=4)), server(reply, at=1.5))
    assert answers(found) == [Answer([Send(reply, 1.5)])]
    [[(key, header, _)]] = found.connections
    assert (key, header.proc) == (frame(proc=HOSTNAME)[4:16] + bytes(12), HOSTNAME)


def test_stream_waits_for_what_the_client_sent() -> None:
    stream = {"proc": UPLOAD, "serial": 2, "type_": 3}
    reply = frame(proc=UPLOAD, type_=1, serial=2)
    end = frame(**stream)
    found = recorded(
        client(frame(b"args", proc=UPLOAD, serial=2)),
        server(reply),
        client(frame(b"12345", **stream, status=2)),
        client(frame(b"678", **stream, status=2)),
        client(frame(**stream)),
        server(end, at=2),
    )
    assert answers(found) == [Answer([Send(reply), Await(8, finish=True), Send(end, 2.0)])]
    assert found.longest == 33


@pytest.mark.parametrize("ended", [False, True])
def test_stream_without_a_recorded_end_is_open_ended(ended: bool) -> None:
    said = [
        client(frame(b"args", proc=DOWNLOAD)),
        server(frame(proc=DOWNLOAD, type_=1)),
        server(frame(b"x", proc=DOWNLOAD, type_=3, status=2)),
    ]
    if ended:
        said.append(server(frame(error_payload(1, 1, b"x"), proc=DOWNLOAD, type_=3, status=1)))
    [answer] = answers(recorded(*said))
    assert answer.open_ended is not ended


def test_events_follow_the_reply_before_them() -> None:
    event = frame(b"", proc=EVENT, type_=2, serial=1)
    found = recorded(
        server(event),
        client(frame(proc=HOSTNAME)),
        server(frame(NAME, proc=HOSTNAME, type_=1), at=1),
        server(event, at=3),
        client(frame(proc=HOSTNAME, serial=1), at=4),
        server(frame(NAME, proc=HOSTNAME, type_=1, serial=1), at=4),
        server(event, at=4),
    )
    delays = [[event.delay for event in answer.events] for answer in answers(found)]
    assert delays == [[0.0, 2.0], [0.0]]
    assert found.left_out == {}


def test_authentication_is_left_out() -> None:
    sasl = [procedure(name) for name in ("auth_list", "auth_sasl_init", "auth_sasl_start", "auth_sasl_step")]
    said: list[Said] = []
    for serial, proc in enumerate((*sasl, HOSTNAME)):
        said += [client(frame(proc=proc, serial=serial)), server(frame(proc=proc, type_=1, serial=serial))]
    found = recorded(*said)
    assert [header.proc for calls in found.connections for _, header, _ in calls] == [HOSTNAME]


def test_descriptors_are_refused() -> None:
    found = recorded(
        client(frame(b"args", proc=GRAPHICS)), server(frame(word(1) + b"ret!", proc=GRAPHICS, type_=5))
    )
    assert [answer.refusal for answer in answers(found)] == ["descriptors cannot be replayed"]


@pytest.mark.parametrize("closed", [False, True])
def test_call_without_a_reply(closed: bool) -> None:
    """The daemon closed the connection, or the recording ended before the reply."""
    [answer] = answers(recorded(client(frame(proc=HOSTNAME)), closed=closed))
    assert (answer.closes, answer.refusal) == (
        (True, None) if closed else (False, "its reply was not recorded")
    )


def test_parts_of_messages_are_not_replayed(captures: Path) -> None:
    """A log has headers only: no calls with arguments, and no payloads of replies."""
    with libvirt_proto.open(captures / "libvirtd-rpc-info.log") as capture:
        found = record(capture)
    assert found.left_out["incomplete calls"] > 0
    assert {len(key) for calls in found.connections for key, _, _ in calls} == {24}
    sent = [step for answer in answers(found) for step in answer.steps]
    assert {len(step.frame) for step in sent if isinstance(step, Send)} == {28}
    assert "its recorded reply is incomplete" in {answer.refusal for answer in answers(found)}


def test_capture_without_calls_is_an_error() -> None:
    with pytest.raises(RecordingError, match="no call to replay"):
        recorded(server(frame(NAME, proc=HOSTNAME, type_=1)))


def test_reply_without_its_call_is_counted() -> None:
    found = recorded(
        server(frame(NAME, proc=HOSTNAME, type_=1, serial=9)),
        client(frame(proc=HOSTNAME)),
        server(frame(NAME, proc=HOSTNAME, type_=1)),
        server(frame(NAME, proc=HOSTNAME, type_=1)),
    )
    assert found.left_out == {"messages without their call": 1, "repeated replies": 1}


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [("MAX_BYTES", 40, "more than 0 MiB"), ("MAX_MESSAGES", 1, "more than 1 messages")],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, limit: str, value: int, words: str) -> None:
    monkeypatch.setattr(recording, limit, value)
    said: Sequence[Said] = [client(frame(proc=HOSTNAME)), server(frame(NAME, proc=HOSTNAME, type_=1))]
    with pytest.raises(RecordingError, match=words):
        recorded(*said)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["c2s", "s2c"]),
            st.sampled_from([HOSTNAME, UPLOAD, DOWNLOAD, GRAPHICS, EVENT, 9999, -1]),
            st.integers(0, 7),
            st.integers(0, 3),
            st.integers(0, 2),
            st.binary(max_size=40),
        ),
        max_size=12,
    )
)
def test_any_messages_can_be_recorded(said: list[tuple[Direction, int, int, int, int, bytes]]) -> None:
    """Messages sent later are part of the capture, byte by byte."""
    frames = [
        (direction, frame(data, proc=proc, type_=type_, status=status, serial=serial))
        for direction, proc, type_, status, serial, data in said
    ]
    items = [captured(data, direction=direction) for direction, data in frames]
    try:
        found = record(Capture("any", lambda _: iter(items), default()))
    except RecordingError:
        assert found_no_call(items)
        return
    sent = [step for answer in answers(found) for step in (*answer.steps, *answer.events)]
    assert {step.frame for step in sent if isinstance(step, Send)} <= {data for _, data in frames}


def found_no_call(items: list[Captured]) -> bool:
    return not any(role(item.message.header) == "call" for item in items)
