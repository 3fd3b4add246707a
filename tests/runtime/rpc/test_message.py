"""Messages: what (type, status) and the procedure make of a payload."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
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
from libvirt_proto.codec.values import Partial
from libvirt_proto.rpc.message import MessageDecoder, payload_kind
from tests.support.frames import word

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
    with pytest.raises(BadValue, match=f"{len(whole) - seen} bytes of the message are missing"):
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
    """A decoder that has seen many messages, in any order, gives the same results as a new one."""
    frames = [
        frame(type_, status, payload, proc)
        for type_ in range(8)
        for status in range(4)
        for payload in (b"", DOMAIN, ERROR_PAYLOAD, bytes(4), bytes(16))
        for proc in (16, 66, 209, 9999)
    ]
    used = MessageDecoder().decode
    cases = [variant for data in frames for variant in _variants(data)]
    for order in (cases, cases[::-1]):
        for data, direction, missing in order[:: max(1, len(cases) // 3000)]:
            new = MessageDecoder().decode(data, direction, missing)
            assert repr(used(data, direction, missing)) == repr(new)


def test_kinds_without_end_take_no_memory_without_end() -> None:
    decoder = MessageDecoder()
    for proc in range(20_000):
        decoder.decode(frame(CALL, OK, b"", proc))
    assert len(decoder._known) <= 4096
    assert decoder.decode(frame(CALL, OK, DOMAIN)).payload_type == "remote_domain_get_info_args"


class Local:
    """Something in a function that meets an error."""


def breaks_off() -> object:
    return decode_message(frame(CALL, OK, b"\0\0\0\4tes", proc=23))


def lacks_the_descriptor_count() -> object:
    return decode_message(frame(CALL_WITH_FDS, OK, b"\0\0"))


def has_no_value() -> object:
    with pytest.raises(ProtocolError) as caught:
        registry.default().type("remote_domain_lookup_by_name_args").from_bytes(b"\0\0\0\4tes")
    return str(caught.value)


@pytest.mark.parametrize("meet", [breaks_off, lacks_the_descriptor_count, has_no_value])
def test_an_error_that_is_kept_keeps_nothing_else(meet: Callable[[], object]) -> None:
    """The frames of the callers least of all: a million malformed messages took 5 GB."""

    def caller() -> weakref.ref[Local]:
        local, met = Local(), meet()
        assert met
        return weakref.ref(local)

    of_the_caller = caller()
    gc.collect()
    assert of_the_caller() is None


# Mutations that no other test detected (make mutate).

LIFECYCLE = DOMAIN + bytes.fromhex("00000002 00000001")


def test_an_event_of_a_procedure() -> None:
    message = decode_message(frame(EVENT, OK, LIFECYCLE, proc=107))
    assert message.payload_type == "remote_domain_event_lifecycle_msg"
    assert (message.payload.dom.name, message.payload.event, message.payload.detail) == ("test", 2, 1)
    assert message.raw is message.error is message.data is None


@pytest.mark.parametrize(("type_", "status"), [(STREAM, OK), (STREAM_HOLE, OK)])
def test_what_is_behind_the_end_of_a_stream_is_spare(type_: int, status: int) -> None:
    message = decode_message(frame(type_, status, b"1234", proc=209))
    assert (message.payload_type, message.data, message.spare) == (None, None, b"1234")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"", "at byte 28, fds: needs 4 bytes, 0 left"),
        (b"\0\0\0", "at byte 28, fds: needs 4 bytes, 3 left"),
        (b"\0\0\0\x21", "at byte 28, fds: descriptor count 33 is over the limit of 32"),
    ],
)
def test_a_descriptor_count_that_is_none(payload: bytes, error: str) -> None:
    message = decode_message(frame(CALL_WITH_FDS, OK, payload))
    assert str(message.error) == error
    assert (message.fds, message.payload_type, message.raw) == (None, None, payload)
    assert isinstance(message.error, OverLimit | Truncated)
    assert message.error.as_dict()["path"] == "fds"
    if isinstance(message.error, OverLimit):
        assert (message.error.limit, message.error.actual) == (32, 33)


@pytest.mark.parametrize("count", [0, 1, 32])
def test_descriptor_counts_that_are_allowed(count: int) -> None:
    data = frame(CALL_WITH_FDS, OK, count.to_bytes(4, "big") + DOMAIN)
    message = decode_message(data)
    assert (message.fds, message.error, message.payload_type) == (count, None, "remote_domain_get_info_args")
    assert encode_message(message) == data


@pytest.mark.parametrize("count", [-1, 33])
def test_descriptor_counts_that_cannot_be_written(count: int) -> None:
    message = msgspec.structs.replace(decode_message(frame(CALL_WITH_FDS, OK, bytes(4) + DOMAIN)), fds=count)
    with pytest.raises(OverLimit) as caught:
        encode_message(message)
    assert str(caught.value) == f"descriptor count {count} is over the limit of 32"


def test_the_largest_message() -> None:
    message = decode_message(frame(STREAM, CONTINUE, proc=209))
    largest = msgspec.structs.replace(message, data=bytes(33554436 - 28))
    assert encode_message(largest)[:4] == (33554436).to_bytes(4, "big")
    with pytest.raises(OverLimit) as caught:
        encode_message(msgspec.structs.replace(message, data=bytes(33554436 - 27)))
    assert str(caught.value) == "length word 33554437 is over the limit of 33554436"


def test_a_payload_of_another_type_than_the_header_says() -> None:
    """Whoever builds a message may say so: the type's name counts."""
    message = decode_message(frame(CALL, OK, DOMAIN))
    other = registry.default().type("remote_domain_lookup_by_name_args")
    changed = msgspec.structs.replace(
        message, payload_type=other.name, payload=other.from_bytes(bytes.fromhex("00000002 68690000"))
    )
    assert encode_message(changed) == frame(CALL, OK, bytes.fromhex("00000002 68690000"))
    unknown = msgspec.structs.replace(changed, header=msgspec.structs.replace(message.header, proc=9999))
    assert encode_message(unknown)[28:] == bytes.fromhex("00000002 68690000")
    with pytest.raises(KeyError, match="no_such_type"):
        encode_message(msgspec.structs.replace(changed, payload_type="no_such_type"))


def test_an_abort_that_carries_an_error_encodes_again() -> None:
    """Without a direction, its payload decides; the type that it has is not the procedure's."""
    data = frame(STREAM, ERROR, ERROR_PAYLOAD, proc=209)
    message = decode_message(data)
    assert msgspec.structs.replace(message, raw=None).payload_type == "virNetMessageError"
    assert encode_message(message) == data


def seen_of(data: bytes, count: int) -> Message:
    return decode_message(data[:count], missing=len(data) - count)


def test_what_was_seen_of_a_message_without_a_type() -> None:
    unknown = seen_of(frame(CALL, OK, b"12345678", proc=9999), 32)
    assert (unknown.data, unknown.spare, unknown.missing) == (b"1234", b"", 4)
    nothing_due = seen_of(frame(CALL, OK, b"12345678", proc=66), 32)
    assert (nothing_due.data, nothing_due.spare) == (None, b"1234")


def test_what_was_seen_of_a_message_with_a_type() -> None:
    broken = seen_of(frame(CALL, OK, DOMAIN), 40)
    assert isinstance(broken.error, Truncated)
    assert (broken.payload.fields["dom"].fields, broken.raw, broken.spare) == (
        {"name": "test"},
        DOMAIN[:12],
        b"",
    )
    assert not broken.malformed
    # The payload is complete; the missing bytes come after it.
    whole = seen_of(frame(CALL, OK, DOMAIN + b"behind"), 28 + len(DOMAIN) + 2)
    assert (whole.error, whole.raw, whole.remarks, whole.spare) == (None, None, (), b"be")
    assert whole.payload.dom.id == 3
    # Padding that is not zero: a remark, and the bytes themselves.
    payload = bytes.fromhex("00000003 616263ff")
    odd = seen_of(frame(CALL, OK, payload + b"behind", proc=23), 28 + len(payload))
    assert (odd.payload.name, odd.raw, odd.spare) == ("abc", payload, b"")
    assert odd.remarks == ("at byte 35, name: padding ff is not zero",)
    with pytest.raises(BadValue, match="6 bytes of the message are missing"):
        encode_message(odd)


def test_bytes_that_are_left_over_are_no_value() -> None:
    type_ = registry.default().type("remote_domain_lookup_by_id_args")
    with pytest.raises(BadValue) as caught:
        type_.from_bytes(bytes.fromhex("00000001 0000"))
    assert str(caught.value) == "at byte 4: 2 bytes are left over"


@pytest.mark.parametrize(
    ("data", "missing", "error"),
    [
        (bytes(27), 0, "at byte 0: needs 28 bytes, 27 left"),
        (b"", 40, "at byte 0: needs 28 bytes, 0 left"),
        (word(27) + bytes(24), 0, "at byte 0: expected a length word between 28 and 33554436, got 27"),
        (
            word(33554437) + bytes(24),
            0,
            "at byte 0: expected a length word between 28 and 33554436, got 33554437",
        ),
        (word(40) + bytes(24), 0, "at byte 0: needs 40 bytes, 28 left"),
        (word(40) + bytes(24), 5, "at byte 0: needs 40 bytes, 33 left"),
        (word(28) + bytes(28), 0, "at byte 28: 4 bytes are left over"),
        (word(28) + bytes(28), 3, "at byte 28: 7 bytes are left over"),
    ],
)
def test_frames_that_are_none(data: bytes, missing: int, error: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_message(data, missing=missing)
    assert str(caught.value) == error


def test_the_largest_message_comes_back() -> None:
    data = frame(STREAM, CONTINUE, bytes(33554436 - 28), proc=209)
    assert decode_message(data).length == len(data) == 33554436


def test_a_descriptor_count_of_which_a_part_was_seen() -> None:
    message = decode_message(frame(CALL_WITH_FDS, OK, b"\0\0\0\1" + DOMAIN)[:30], missing=30)
    assert str(message.error) == "at byte 28, fds: needs 4 bytes, 2 left"
    assert (message.length, message.missing, message.raw, message.fds) == (60, 30, b"\0\0", None)
    assert not message.malformed


@pytest.mark.parametrize("missing", [0, 1])
def test_a_payload_of_which_nothing_was_seen_is_not_none(missing: int) -> None:
    """An aborted stream carries an error or nothing: the message length decides."""
    data = frame(STREAM, ERROR, bytes(missing), proc=209)
    message = decode_message(data[:28], missing=missing)
    assert message.payload_type == ("virNetMessageError" if missing else None)
    assert (message.payload, message.missing) == (None, missing)


def test_descriptors_beside_bytes_without_a_type() -> None:
    unknown = decode_message(frame(CALL_WITH_FDS, OK, word(2) + b"1234", proc=9999))
    assert (unknown.fds, unknown.data, unknown.spare) == (2, b"1234", b"")
    nothing_due = decode_message(frame(CALL_WITH_FDS, OK, word(2) + b"1234", proc=66))
    assert (nothing_due.fds, nothing_due.data, nothing_due.spare) == (2, None, b"1234")


def test_raw_is_the_payload_and_spare_what_is_behind_it() -> None:
    broken = decode_message(frame(CALL, OK, b"\xff\xff\xff\xff" + b"more", proc=23))
    assert isinstance(broken.error, OverLimit)
    assert (broken.raw, broken.spare) == (b"\xff\xff\xff\xffmore", b"")
    odd = decode_message(frame(CALL, OK, b"\0\0\0\3abc\xff" + b"behind", proc=23))
    assert (odd.raw, odd.spare) == (b"\0\0\0\3abc\xff", b"behind")


class Counting:
    """A registry that counts how often it is asked for a procedure."""

    def __init__(self) -> None:
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        self.asked += name == "procedure"
        return getattr(registry.default(), name)


@pytest.mark.parametrize("data", [frame(CALL, OK, DOMAIN), frame(CALL, OK, proc=66)])
def test_of_a_kind_that_is_known_nothing_is_asked_again(data: bytes) -> None:
    counting: Any = Counting()
    decode = MessageDecoder(counting).decode
    first = decode(data)
    assert counting.asked == 1
    assert repr(decode(data)) == repr(first)
    assert counting.asked == 1
    decode(data[:-4] if len(data) > 28 else data, missing=4 * (len(data) > 28))
    assert counting.asked == 1 + (len(data) > 28)


def test_decoding_asks_the_registry_that_is_given() -> None:
    counting: Any = Counting()
    assert decode_message(frame(CALL, OK, DOMAIN), registry=counting).error is None
    assert counting.asked == 1


def test_which_type_of_a_procedure_a_payload_has() -> None:
    kinds = {
        (type_, status): payload_kind(Header(REMOTE, 1, 16, type_, 7, status))
        for type_ in range(8)
        for status in range(4)
    }
    assert {key: kind for key, kind in kinds.items() if kind is not None} == {
        (CALL, OK): "args",
        (CALL_WITH_FDS, OK): "args",
        (REPLY, OK): "ret",
        (REPLY_WITH_FDS, OK): "ret",
        (EVENT, OK): "msg",
    }
