"""Messages: what (type, status) and the procedure make of a payload."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_proto import (
    BadValue,
    FrameError,
    Header,
    Message,
    OverLimit,
    ProtocolError,
    Truncated,
    decode_message,
    encode_message,
    registry,
)
from libvirt_proto.layout import Partial
from libvirt_proto.message import MessageDecoder

CALL, REPLY, EVENT, STREAM, CALL_WITH_FDS, REPLY_WITH_FDS, STREAM_HOLE = range(7)
OK, ERROR, CONTINUE = range(3)
REMOTE = 0x20008086

DOMAIN = bytes.fromhex("00000004 74657374 000102030405060708090a0b0c0d0e0f 00000003")
#: int code, domain; "no"; level; dom, str1, str2, str3 absent; int1, int2; net absent.
ERROR_PAYLOAD = bytes.fromhex(
    "0000002a 0000000a 00000001 00000002 6e6f0000 00000002"
    "00000000 00000000 00000000 00000000 ffffffff 00000000 00000000"
)


def frame(
    type_: int, status: int, payload: bytes = b"", proc: int = 16, prog: int = REMOTE, vers: int = 1
) -> bytes:
    words = (28 + len(payload), prog, vers, proc, type_, 7, status)
    return b"".join(word.to_bytes(4) for word in words) + payload


def back(message: Message) -> bytes:
    """Encoded from the values alone."""
    return encode_message(msgspec.structs.replace(message, raw=None))


#: (what, frame, payload_type, data, spare); procedure 16 is DOMAIN_GET_INFO, 209 STORAGE_VOL_DOWNLOAD.
CASES: list[tuple[str, bytes, str | None, bytes | None, bytes]] = [
    ("call", frame(CALL, OK, DOMAIN), "remote_domain_get_info_args", None, b""),
    (
        "call with spare bytes",
        frame(CALL, OK, DOMAIN + b"more"),
        "remote_domain_get_info_args",
        None,
        b"more",
    ),
    ("call without arguments", frame(CALL, OK, proc=66), None, None, b""),
    ("spare bytes where nothing is due", frame(CALL, OK, b"1234", proc=66), None, None, b"1234"),
    ("reply", frame(REPLY, OK, bytes(32)), "remote_domain_get_info_ret", None, b""),
    ("reply of an error", frame(REPLY, ERROR, ERROR_PAYLOAD), "virNetMessageError", None, b""),
    (
        "error of a program nobody knows",
        frame(REPLY, ERROR, ERROR_PAYLOAD, prog=5),
        "virNetMessageError",
        None,
        b"",
    ),
    ("stream data", frame(STREAM, CONTINUE, b"12345", proc=209), None, b"12345", b""),
    ("end of a stream", frame(STREAM, CONTINUE, proc=209), None, b"", b""),
    ("finish", frame(STREAM, OK, proc=209), None, None, b""),
    ("abort", frame(STREAM, ERROR, proc=209), None, None, b""),
    ("stream's error", frame(STREAM, ERROR, ERROR_PAYLOAD, proc=209), "virNetMessageError", None, b""),
    ("hole", frame(STREAM_HOLE, CONTINUE, bytes(12), proc=209), "virNetStreamHole", None, b""),
    ("unknown procedure", frame(CALL, OK, b"12345678", proc=9999), None, b"12345678", b""),
    ("unknown procedure, empty", frame(CALL, OK, proc=9999), None, None, b""),
    ("unknown program", frame(CALL, OK, b"1234", prog=0x12345678), None, b"1234", b""),
    ("unknown version", frame(CALL, OK, b"1234", vers=2), None, b"1234", b""),
    ("unknown type", frame(9, OK, b"1234"), None, b"1234", b""),
    ("unknown status", frame(CALL, 9, b"1234"), None, b"1234", b""),
    ("keepalive", frame(EVENT, OK, prog=0x6B656570, proc=1), None, None, b""),
]


@pytest.mark.parametrize(
    ("data", "payload_type", "bytes_", "spare"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_payloads(data: bytes, payload_type: str | None, bytes_: bytes | None, spare: bytes) -> None:
    message = decode_message(data)
    assert message.length == len(data)
    assert (message.payload_type, message.data, message.spare) == (payload_type, bytes_, spare)
    assert (message.payload is None) == (payload_type is None)
    assert (message.error, message.raw, message.remarks, message.fds) == (None, None, (), None)
    assert back(message) == data
    for cut in range(len(data)):
        with pytest.raises(ProtocolError):
            decode_message(data[:cut])


def test_the_header_and_a_payload_by_hand() -> None:
    message = decode_message(frame(CALL, OK, DOMAIN))
    assert [int(word) for word in msgspec.structs.astuple(message.header)] == [REMOTE, 1, 16, CALL, 7, OK]
    dom = message.payload.dom
    assert (dom.name, dom.uuid, dom.id) == ("test", bytes(range(16)), 3)
    error = decode_message(frame(REPLY, ERROR, ERROR_PAYLOAD)).payload
    assert (error.code, error.domain, error.message, error.level, error.int1) == (42, 10, "no", 2, -1)


def test_an_abort_is_empty_from_a_client_and_an_error_from_a_server() -> None:
    data = frame(STREAM, ERROR, ERROR_PAYLOAD, proc=209)
    assert decode_message(data, direction="c2s").spare == ERROR_PAYLOAD
    assert decode_message(data, direction="s2c").payload.message == "no"
    empty = decode_message(frame(STREAM, ERROR, proc=209), direction="s2c")
    assert isinstance(empty.error, Truncated)


@pytest.mark.parametrize("type_", [CALL_WITH_FDS, REPLY_WITH_FDS])
def test_descriptor_counts(type_: int) -> None:
    payload = DOMAIN if type_ == CALL_WITH_FDS else bytes(32)
    data = frame(type_, OK, (2).to_bytes(4) + payload)
    message = decode_message(data)
    assert message.fds == 2
    assert message.payload_type == f"remote_domain_get_info_{'args' if type_ == CALL_WITH_FDS else 'ret'}"
    assert back(message) == data
    many = decode_message(frame(type_, OK, (33).to_bytes(4) + payload))
    assert isinstance(many.error, OverLimit)
    assert (many.error.path, many.error.offset, many.error.limit) == ("fds", 28, 32)
    assert encode_message(many) == frame(type_, OK, (33).to_bytes(4) + payload)
    none = decode_message(frame(type_, OK, b"12"))
    assert isinstance(none.error, Truncated)
    assert encode_message(none) == frame(type_, OK, b"12")


def test_a_payload_that_breaks_off_keeps_its_good_part() -> None:
    data = frame(CALL, OK, DOMAIN[:-7])
    message = decode_message(data)
    assert isinstance(message.error, Truncated)
    assert (message.error.offset, message.error.path) == (36, "dom.uuid")
    assert (message.error.needed, message.error.available) == (16, 13)
    assert message.payload == Partial(
        "remote_domain_get_info_args", {"dom": Partial("remote_nonnull_domain", {"name": "test"})}
    )
    assert encode_message(message) == data


@pytest.mark.parametrize(
    ("payload", "remark"),
    [
        (
            bytes.fromhex("00000003 616263ff") + DOMAIN[8:],
            "at byte 35, dom.name: padding ff is not zero",
        ),
    ],
)
def test_what_is_not_canonical_is_kept_and_said(payload: bytes, remark: str) -> None:
    data = frame(CALL, OK, payload)
    message = decode_message(data)
    assert (message.remarks, message.error, message.raw) == ((remark,), None, payload)
    assert message.payload.dom.name == "abc"
    assert encode_message(message) == data
    assert back(message) == frame(CALL, OK, payload.replace(b"\xff", b"\0"))


def test_an_odd_boolean_of_optional_data() -> None:
    payload = ERROR_PAYLOAD.replace(bytes.fromhex("0000000100000002"), bytes.fromhex("0000000500000002"), 1)
    message = decode_message(frame(REPLY, ERROR, payload))
    assert message.payload.message == "no"
    assert message.remarks == ("at byte 36, message: boolean 5 is neither 0 nor 1",)
    assert encode_message(message) == frame(REPLY, ERROR, payload)


@pytest.mark.parametrize("length", [0, 27, 33554437])
def test_length_words(length: int) -> None:
    with pytest.raises(FrameError):
        decode_message(length.to_bytes(4) + bytes(24))


def test_frames_that_are_longer_or_shorter_than_they_say() -> None:
    with pytest.raises(BadValue) as longer:
        decode_message(frame(CALL, OK, proc=66) + b"x")
    assert longer.value.offset == 28
    with pytest.raises(Truncated) as shorter:
        decode_message(frame(CALL, OK, DOMAIN)[:-1])
    assert (shorter.value.needed, shorter.value.available) == (56, 55)


def test_what_cannot_be_encoded() -> None:
    message = decode_message(frame(CALL, OK, DOMAIN))
    dom = msgspec.structs.replace(message.payload.dom, uuid=b"short")
    wrong = msgspec.structs.replace(message, payload=type(message.payload)(dom))
    with pytest.raises(BadValue) as error:
        encode_message(wrong)
    assert error.value.path == "dom.uuid"
    with pytest.raises(OverLimit, match="descriptor count"):
        encode_message(Message(message.header, 0, fds=33))
    with pytest.raises(OverLimit, match="length word"):
        encode_message(Message(message.header, 0, data=bytes(33554432)))


@given(st.binary(min_size=0, max_size=60))
def test_any_bytes_give_a_message_or_a_protocol_error(data: bytes) -> None:
    try:
        message = decode_message(data)
    except ProtocolError:
        return
    assert encode_message(message) == data


@settings(deadline=None)
@given(
    st.sampled_from(registry.program("remote").procedures),
    st.integers(0, 7),
    st.integers(0, 3),
    st.binary(max_size=80),
    st.sampled_from([None, "c2s", "s2c"]),
)
def test_any_payload_gives_a_message_that_encodes_to_the_same_bytes(
    procedure: Any, type_: int, status: int, payload: bytes, direction: str | None
) -> None:
    data = frame(type_, status, payload, proc=procedure.number)
    message = decode_message(data, direction=direction)
    assert encode_message(message) == data
    assert isinstance(message.header, Header)


# Messages of which the end was not seen: domain_get_info's call (proc 16) with a domain's 28 bytes.


@pytest.mark.parametrize("seen", range(28, 56))
def test_a_message_that_was_not_seen_whole(seen: int) -> None:
    whole = frame(CALL, OK, DOMAIN)
    message = decode_message(whole[:seen], missing=len(whole) - seen)
    assert (message.length, message.missing, message.header.proc) == (len(whole), len(whole) - seen, 16)
    assert message.payload_type == "remote_domain_get_info_args"
    assert not message.malformed
    assert message.raw == (None if seen == 28 else whole[28:seen])
    if seen >= 36:  # the name and its length
        assert isinstance(message.payload, Partial)
        assert message.payload.fields["dom"].fields["name"] == "test"
    with pytest.raises(BadValue, match=f"{len(whole) - seen} bytes of the message were never seen"):
        encode_message(message)


@pytest.mark.parametrize(("missing", "error"), [(0, Truncated), (27, Truncated), (29, BadValue)])
def test_missing_bytes_must_fit_the_length_word(missing: int, error: type[ProtocolError]) -> None:
    with pytest.raises(error):
        decode_message(frame(CALL, OK, DOMAIN)[:28], missing=missing)


def test_what_is_wrong_in_the_part_that_was_seen_is_malformed() -> None:
    """A name of 2^32 - 1 bytes is over its limit, whatever follows."""
    whole = frame(CALL, OK, b"\xff\xff\xff\xff" + bytes(24))
    message = decode_message(whole[:40], missing=len(whole) - 40)
    assert message.malformed


@pytest.mark.parametrize(
    ("type_", "status", "seen", "shown"),
    [
        (STREAM, CONTINUE, b"abc", {"data": b"abc"}),
        (STREAM, CONTINUE, b"", {"data": None}),
        (REPLY, ERROR, b"", {"payload_type": "virNetMessageError", "payload": None}),
        (STREAM, ERROR, b"", {"payload_type": "virNetMessageError"}),
        (CALL_WITH_FDS, OK, b"", {"fds": None, "error": None, "payload_type": "remote_domain_get_info_args"}),
        (CALL_WITH_FDS, OK, b"\0\0\0\2", {"fds": 2, "payload": None}),
    ],
)
def test_kinds_of_messages_that_were_not_seen_whole(
    type_: int, status: int, seen: bytes, shown: dict[str, Any]
) -> None:
    head = frame(type_, status, seen + bytes(60))[: 28 + len(seen)]
    message = decode_message(head, missing=60)
    assert {name: getattr(message, name) for name in shown} == shown


def _variants(data: bytes) -> list[tuple[bytes, str | None, int]]:
    """A frame whole, cut off in every way, damaged, longer, and as a frame of other kinds."""
    found: list[tuple[bytes, str | None, int]] = []
    for direction in (None, "c2s", "s2c"):
        found += [(data[:size], direction, len(data) - size) for size in range(28, len(data) + 1)]
        longer = (len(data) + 4).to_bytes(4) + data[4:]
        found += [(longer + b"more", direction, 0), (longer, direction, 4)]
        found += [(data[:at] + b"\xff" + data[at + 1 :], direction, 0) for at in range(28, len(data), 3)]
    return found


def test_what_was_seen_before_changes_nothing() -> None:
    """A decoder that has seen many messages, in any order, says what a new one says."""
    frames = [
        frame(type_, status, payload, proc)
        for type_ in range(8)
        for status in range(4)
        for payload in (b"", DOMAIN, ERROR_PAYLOAD, bytes(4), bytes(16))
        for proc in (16, 66, 209, 9999)
    ]
    used = MessageDecoder()
    cases = [variant for data in frames for variant in _variants(data)]
    for order in (cases, cases[::-1]):
        for data, direction, missing in order[:: max(1, len(cases) // 3000)]:
            new = MessageDecoder()(data, direction=direction, missing=missing)
            assert repr(used(data, direction=direction, missing=missing)) == repr(new)


def test_kinds_without_end_take_no_memory_without_end() -> None:
    decode = MessageDecoder()
    for proc in range(20_000):
        decode(frame(CALL, OK, b"", proc))
    assert len(decode._known) <= 4096
    assert decode(frame(CALL, OK, DOMAIN)).payload_type == "remote_domain_get_info_args"
