"""Redaction of any messages and any text: lengths and headers stay, and redacting again changes nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.capture.stream import messages, messages_and_rest
from libvirt_proto.codec.secretfields import kind
from libvirt_proto.codec.values import XdrStruct, XdrUnion
from libvirt_proto.events import Captured, Chunk, Connection, Direction, Item
from libvirt_proto.redact.redactor import Redactor, What
from libvirt_proto.redact.text import redact_qmp, redact_text, redact_xml
from libvirt_proto.rpc.message import Header, Message, MessageDecoder, encode_message
from tests.support.examples import examples
from tests.support.markers import B64, MARKER, QMP, TEXT, XML, found
from tests.support.values import values

DEFAULT = registry.default()
PLAIN = MessageDecoder(DEFAULT)
WHAT: tuple[What, What] = ("secrets", "all")
REDACTORS = {what: Redactor(DEFAULT, what) for what in WHAT}
PAYLOADS = [
    (program, procedure, number, type_)
    for program in DEFAULT.programs()
    for procedure in program.procedures
    for number, type_ in enumerate((procedure.args, procedure.ret, procedure.msg))
    if type_ is not None
]


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A message of any procedure, or an error."""
    # Indexes, because hypothesis hashes what it samples from, which for types takes seconds.
    program, procedure, number, type_ = PAYLOADS[draw(st.sampled_from(range(len(PAYLOADS))))]
    status = 0
    if number == 1 and draw(st.booleans()):
        type_, status = DEFAULT.error, 1
    header = Header(program.number, 1, procedure.number, number, draw(st.integers(0, 9)), status)
    payload = draw(values(type_))
    return encode_message(Message(header, 0, None, type_.name, payload), registry=DEFAULT)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Such a message with some bytes of its payload changed, or with more or less of them."""
    data = bytearray(draw(frames()))
    for _ in range(draw(st.integers(0, 4))):
        if len(data) > 28:
            data[draw(st.integers(28, len(data) - 1))] = draw(st.integers(0, 255))
    data += draw(st.binary(max_size=9))
    data = data[: max(28, len(data) - draw(st.integers(0, 12)))]
    data[:4] = len(data).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("what", WHAT)
@settings(max_examples=examples(30))
@given(data=frames() | damaged(), direction=st.sampled_from(["c2s", "s2c", None]))
def test_length_header_and_idempotence(what: What, data: bytes, direction: Direction | None) -> None:
    redactor = REDACTORS[what]
    plain, message = PLAIN.decode(data, direction), redactor.decode(data, direction)
    out = redactor.seen_bytes(message)
    assert len(out) == len(data)
    assert (message.header, message.length, message.fds) == (plain.header, plain.length, plain.fds)
    assert (message.payload_type, message.malformed) == (plain.payload_type, plain.malformed)
    again = redactor.decode(out, direction)
    assert redactor.seen_bytes(again) == out
    assert again.malformed == message.malformed
    if not message.malformed:
        assert again == message == PLAIN.decode(out, direction)


@settings(max_examples=examples(30))
@given(data=frames(), seen=st.integers(28, 400))
def test_cut_messages_keep_their_header_alone(data: bytes, seen: int) -> None:
    if seen >= len(data):
        return
    message = REDACTORS["secrets"].decode(data[:seen], "c2s", len(data) - seen)
    assert REDACTORS["secrets"].seen_bytes(message) == data[: len(data) - message.missing]
    assert len(data) - message.missing in (28, 32)
    assert (message.payload, message.raw, message.spare, message.data) == (None, None, b"", None)


def changed(was: Any, now: Any, path: str) -> list[tuple[str, Any, Any]]:
    """The fields (`struct.field`) that differ, with both values.

    The value of a typed parameter is left out if its name is not UTF-8: it may be a secret.
    """
    if isinstance(was, XdrStruct | XdrUnion):
        assert type(now) is type(was)
        if was.xdr_name.endswith("_typed_param") and isinstance(was.field, bytes):
            return changed(was.field, now.field, f"{was.xdr_name}.field")
        return [
            each
            for name, attribute in zip(was.__struct_encode_fields__, was.__struct_fields__, strict=True)
            for each in changed(getattr(was, attribute), getattr(now, attribute), f"{was.xdr_name}.{name}")
        ]
    if isinstance(was, list):
        assert len(now) == len(was)
        return [each for one, other in zip(was, now, strict=True) for each in changed(one, other, path)]
    return [] if was == now else [(path, was, now)]


@settings(max_examples=examples(30))
@given(data=frames())
def test_only_secret_fields_change(data: bytes) -> None:
    """And strings that cannot be searched: drawn ones are short, and have no words that look secret."""
    plain, message = PLAIN.decode(data), REDACTORS["secrets"].decode(data)
    for field, was, now in changed(plain.payload, message.payload, ""):
        unsearchable = isinstance(now, str) and (isinstance(was, bytes) or not was.isprintable())
        assert unsearchable or kind(field) in ("secret", "xml", "qmp", "error")


TEXTS = st.one_of(
    st.text(),
    st.sampled_from([*XML, *QMP, *TEXT]),
    st.lists(
        st.sampled_from(
            [
                "<",
                ">",
                "/",
                "'",
                '"',
                "=",
                "a",
                "password",
                "<a>",
                "</a>",
                "<!--",
                "-->",
                "<![CDATA[",
                "]]>",
                "{",
                "}",
                "[",
                "]",
                ":",
                ",",
                "\\",
                "&",
                ";",
                "secret",
                "name",
                "://",
                "u:p@h",
                "1",
                "-",
                "é",
                "\n",
                "\\u0061",
            ]
        )
    ).map("".join),
)


@pytest.mark.parametrize("change", [redact_text, redact_xml, redact_qmp])
@given(text=TEXTS)
def test_text_keeps_its_length_and_stays(change: Any, text: str) -> None:
    done = change(text)
    assert len(done.encode()) == len(text.encode())
    assert change(done) == done


JUNK = (" ", "<", '"', "'", "\\", "\0", "]]>", "}", "<!--")


def spoilt(text: str) -> Iterator[str]:
    """The beginnings of a text, and the text with junk in each place except those that announce its marker:
    the words before it, and a URI's user and password."""
    yield from (text[:end] for end in range(len(text)))
    before = text[: max(text.rfind(MARKER), text.rfind(B64))]
    announcing = [*re.finditer(r"[\w\\&#;-]+", before), *re.finditer(r"\w+://[^@]*@", text)]
    kept = {at for each in announcing for at in range(each.start(), each.end() + 1)}
    for at in range(len(text) + 1):
        if at not in kept:
            yield from (text[:at] + junk + text[at:] for junk in JUNK)


@pytest.mark.parametrize(("redact", "texts"), [(redact_xml, XML), (redact_qmp, QMP)])
def test_spoilt_text_keeps_no_marker_after_its_word(
    redact: Callable[[str], str], texts: Sequence[str]
) -> None:
    """Wherever a document is cut or spoilt: a listed field keeps no marker that came after its word."""
    for text in texts:
        if text[0] in "<{[":
            for each in filter(found, spoilt(text)):
                assert not found(redact(each)), each


# Streams


@st.composite
def conversations(draw: st.DrawFn) -> list[Item]:
    """Chunks of connections with messages, garbage, losses and cuts in any order."""
    generator = random.Random(draw(st.integers(0, 2**32)))
    pieces = st.one_of(
        frames(),
        damaged(),
        st.sampled_from([MARKER.encode() * 3, b"\x16\x03\x01" + bytes(20), b"GET / HTTP/1.1\r\n", bytes(9)]),
    )
    items: list[Item] = []
    for number in range(1, draw(st.integers(1, 2)) + 1):
        connection = Connection(number, f"192.0.2.7:{number}", "192.0.2.1:16509")
        for direction in ("c2s", "s2c"):
            data = b"".join(draw(st.lists(pieces, max_size=5)))
            while data:
                size = generator.choice([1, 5, 28, 60, 400, len(data)])
                lost, cut = generator.choice([(0, 0)] * 8 + [(3, 0), (-1, 0), (0, 7), (40, 0), (0, 100)])
                chunk, data = data[:size], data[size:]
                items.append(Chunk(connection, direction, len(items), chunk, lost, cut=cut))  # type: ignore[arg-type]
            if generator.random() < 0.5:
                items.append(Chunk(connection, direction, len(items), b"", end=True))  # type: ignore[arg-type]
    generator.shuffle(items)
    return items


def lengths(items: list[Any]) -> dict[tuple[int, Any], tuple[int, int, int]]:
    """Per direction: known bytes, seen or not, unknown losses, ends."""
    total: dict[tuple[int, Any], tuple[int, int, int]] = {}
    for item in items:
        if isinstance(item, Captured):
            size, unknown, end = item.message.length - item.message.missing, 0, 0
        elif isinstance(item, Chunk):
            size, unknown, end = len(item.data) + max(item.lost, 0) + item.cut, item.lost < 0, item.end
        else:
            continue
        key = item.connection.id, item.direction
        before = total.get(key, (0, 0, 0))
        total[key] = before[0] + size, before[1] + unknown, before[2] + end
    return {key: value for key, value in total.items() if any(value)}


def test_an_ended_direction_is_not_counted_twice() -> None:
    """Found by the test below: the other direction turned out not to be libvirt after the end of this one."""
    connection = Connection(1, "192.0.2.7:1", "192.0.2.1:16509")
    items: list[Item] = [
        Chunk(connection, "s2c", 2, MARKER.encode() * 3, lost=-1),
        Chunk(connection, "s2c", 3, b"", end=True),
        Chunk(connection, "c2s", 4, b"GET / HTTP/1.1\r\n\r\n" + bytes(32)),
    ]
    assert lengths(list(messages_and_rest(items, PLAIN.decode, programs=DEFAULT.numbers))) == lengths(items)


@settings(max_examples=examples(30))
@given(items=conversations())
def test_messages_and_rest_are_as_long_as_the_source(items: list[Item]) -> None:
    redactor = REDACTORS["secrets"]
    for decode in (PLAIN.decode, redactor.decode):
        given_items = list(messages_and_rest(items, decode, programs=DEFAULT.numbers))
        assert lengths(given_items) == lengths(items)
        rest = [item for item in given_items if isinstance(item, Chunk)]
        assert not any(any(chunk.data) for chunk in rest)
        without = [item for item in given_items if not isinstance(item, Chunk)]
        plain = list(messages(items, decode, programs=DEFAULT.numbers))
        assert list(map(repr, without)) == list(map(repr, plain))
