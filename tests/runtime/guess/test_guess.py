"""Bytes without context: captured data is recognised, random bytes are not, and doubt is reported."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libvirt_proto import decode_message, registry
from libvirt_proto.capture.sources import open_source
from libvirt_proto.capture.stream import messages
from libvirt_proto.guess.evidence import background, weigh
from libvirt_proto.guess.payloads import MAX_BYTES, Payload, Payloads
from libvirt_proto.guess.search import KEPT, Run, Search
from libvirt_proto.guess.words import ambiguity, message, reasons, strength
from libvirt_proto.rpc.message import Message
from libvirt_proto.rpc.names import Names
from tests.support.examples import examples
from tests.support.frames import error_payload, frame, text, word
from tests.support.handmade import UUID, Colour, Flag, Point, Shape, everything, type_named
from tests.support.values import values

CAPTURES = ["tour.pcap", "stream-events-keepalive.pcap", "virsh-domname.pcap"]
QUICK = settings(suppress_health_check=list(HealthCheck))
DEFAULT = registry.default()
PAYLOADS, SEARCH, NAMES = Payloads(DEFAULT), Search(DEFAULT), Names(DEFAULT)
TYPES = [type_ for module in DEFAULT.modules() for type_ in module.types.values()]
DOMAIN = text(b"test") + UUID + word(1)
LOOKUP = frame(text(b"test"), proc=23, serial=7)
REPLY = frame(DOMAIN, proc=23, serial=7, type_=1)


def frames(capture: Path) -> list[tuple[bytes, Message]]:
    found: list[tuple[bytes, Message]] = []

    def decode(data: bytes, *more: object) -> Message:
        found.append((data, decode_message(data, *more)))  # type: ignore[arg-type]
        return found[-1][1]

    list(messages(open_source(str(capture)), decode, programs=DEFAULT.numbers))
    return found


def runs(data: bytes) -> list[Run]:
    return list(SEARCH.runs(data))


def best(data: bytes) -> Payload:
    return PAYLOADS.rank(data)[0]


# Payloads


def test_the_payloads_of_captures(captures: Path) -> None:
    """Among the distinct payloads the right type is in the first guess in three of four cases, in the first
    three in nine of ten, and always somewhere."""
    bodies = {
        (message_.payload_type, data[28:])
        for name in CAPTURES
        for data, message_ in frames(captures / name)
        if message_.payload is not None
    }
    ranks = Counter(
        next(
            rank
            for rank, guess in enumerate(PAYLOADS.rank(body), 1)
            if type_ in guess.types and guess.left == 0
        )
        for type_, body in bodies
    )
    assert len(bodies) > 700
    assert ranks[1] / len(bodies) > 0.75
    assert (ranks[1] + ranks[2] + ranks[3]) / len(bodies) > 0.9


@pytest.mark.parametrize(
    ("data", "type_", "bits"),
    [
        (DOMAIN, "remote_domain_lookup_by_name_ret", 15),
        (error_payload(42, 12, b"Domain not found"), "virNetMessageError", 30),
        (word(1) + text(b"weight") + word(2) + word(50), "remote_domain_get_scheduler_parameters_ret", 30),
        (DOMAIN + word(1) + text(b"weight") + word(2) + word(77),
         "remote_domain_set_scheduler_parameters_args", 30),
        (word(1) + DOMAIN + word(1), "remote_connect_list_all_domains_ret", 15),
        (text(b"x" * 5000), "remote_domain_get_xml_desc_ret", 100),
    ],
)  # fmt: skip
def test_payloads_that_say_much(data: bytes, type_: str, bits: float) -> None:
    guess = best(data)
    assert type_ in guess.types
    assert guess.left == 0
    assert guess.bits > bits


def test_types_that_leave_bytes_over_come_behind() -> None:
    guesses = PAYLOADS.rank(DOMAIN)
    assert [guess.left > 0 for guess in guesses] == sorted(guess.left > 0 for guess in guesses)
    prefix = next(guess for guess in guesses if "remote_network_create_args" in guess.types)
    assert (prefix.used, prefix.left) == (24, 4)
    assert next(reasons(prefix)) == "24 bytes used, 4 left over"


def test_numbers_alone_say_nothing() -> None:
    for data in (word(1), word(7) + word(1), bytes(16)):
        assert strength(best(data).bits) == "none"
        assert (
            ambiguity(PAYLOADS.rank(data))
            == "these bytes are weak evidence: many other bytes could look like this"
        )
    assert PAYLOADS.rank(b"") == []
    assert PAYLOADS.rank(b"abc") == []


@settings(QUICK, max_examples=examples(200))
@given(st.integers(0, 2**64), st.integers(1, 300))
def test_random_bytes_are_nothing_much(seed: int, size: int) -> None:
    data = random.Random(seed).randbytes(size)
    assert runs(data) == []
    assert all(strength(guess.bits) != "strong" for guess in PAYLOADS.rank(data))


@settings(QUICK, max_examples=examples(300))
@given(st.data())
def test_a_guess_is_what_the_bytes_are(data: st.DataObject) -> None:
    """The right type is among the guesses, and every type of each guess gives the same bytes again."""
    type_ = data.draw(st.sampled_from(TYPES))
    encoded = type_.to_bytes(data.draw(values(type_)))
    guesses = PAYLOADS.rank(encoded)
    assert not encoded or any(type_.name in guess.types and guess.left == 0 for guess in guesses)
    for guess in guesses[:20]:
        assert guess.used + guess.left == len(encoded)
        for name in guess.types[:20]:
            other = DEFAULT.type(name)
            assert other.to_bytes(other.from_bytes(encoded[: guess.used])) == encoded[: guess.used]


def test_too_many_bytes() -> None:
    PAYLOADS.rank(bytes(MAX_BYTES))
    with pytest.raises(ValueError, match="65540 bytes are more than 65536"):
        PAYLOADS.rank(bytes(MAX_BYTES + 4))


# Evidence


def test_the_background() -> None:
    assert background(b"") == [0]
    sums = background(bytes(4) + word(5) + word(-1) + word(1000) + b"text" + b"\xde\xad\xbe\xef" + b"xx")
    steps = [after - before for before, after in pairwise(sums)]
    assert len(steps) == 6
    assert steps == sorted(steps)
    assert steps[1] == steps[2]


def test_what_speaks_for_a_value() -> None:
    weight = weigh(type_named("everything"), everything())
    assert (weight.texts, weight.text_count) == (["höchst", "test", "cpu_shares"], 5)
    assert (weight.uuids, weight.uuid_count) == ([UUID], 1)
    assert (weight.names, weight.name_count) == (["GREEN"], 1)
    assert weight.arms == 3
    assert weight.booleans == 3


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (text(b"name"), text(b"\x01\x02\x03\x04")),
        (text(b"name"), text(b"\xff\xfe\xfd\xfc")),
        (DOMAIN, text(b"test") + bytes(16) + word(1)),
    ],
)
def test_what_speaks_against_it(better: bytes, worse: bytes) -> None:
    """Control characters, bytes that are not text, a uuid of zeros."""
    type_ = best(better).types[0]
    other = next((guess for guess in PAYLOADS.rank(worse) if type_ in guess.types), None)
    assert other is not None
    assert best(better).bits > other.bits + 10


# Messages


def test_every_frame_of_a_capture(captures: Path) -> None:
    for name in CAPTURES:
        for data, message_ in frames(captures / name):
            [run] = runs(data)
            assert (run.offset, run.size, run.count) == (0, len(data), 1)
            assert run.messages[0].message == message_
            assert strength(run.bits) == "strong"


def test_a_run_of_messages(captures: Path) -> None:
    every = [data for data, _ in frames(captures / "tour.pcap")]
    before, between = b"\x00\x01 before", bytes(100)
    first, second = runs(before + b"".join(every[:30]) + between + b"".join(every[30:]))
    assert (first.offset, first.count, len(first.messages)) == (len(before), 30, KEPT)
    assert (second.count, second.size) == (len(every) - 30, sum(map(len, every[30:])))
    assert first.bits > first.messages[0].bits * 20


def words(data: bytes) -> list[str]:
    return [message(found, NAMES) for run in runs(data) for found in run.messages]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LOOKUP, "remote.domain_lookup_by_name call ok, serial 7, 36 bytes, complete, with"
                 " remote_domain_lookup_by_name_args"),
        (frame(), "remote.auth_list call ok, serial 0, 28 bytes, complete"),
        (frame(proc=9998), "remote.9998 call ok, serial 0, 28 bytes, complete"),
        (REPLY[:40], "remote.domain_lookup_by_name reply ok, serial 7, 56 bytes, of which 40 are available,"
                     " with remote_domain_lookup_by_name_ret"),
        (REPLY[:28], "remote.domain_lookup_by_name reply ok, serial 7, 56 bytes, of which 28 are available,"
                     " with remote_domain_lookup_by_name_ret"),
        (LOOKUP[4:28], "remote.domain_lookup_by_name call ok, serial 7, a header without its length word, but"
                       " its payload is malformed: name: needs 4 bytes, 0 left"),
        (LOOKUP[4:], "remote.domain_lookup_by_name call ok, serial 7, a header without its length word, with"
                     " remote_domain_lookup_by_name_args"),
        (frame(b"1234"), "remote.auth_list call ok, serial 0, 32 bytes, complete, 4 bytes after it"),
        (frame(word(9) + text(b"x"), proc=23), "remote.domain_lookup_by_name call ok, serial 0, 40 bytes,"
         " complete, but its payload is malformed: name: needs 12 bytes, 8 left"),
    ],
)  # fmt: skip
def test_messages_in_words(data: bytes, said: str) -> None:
    assert words(data) == [said]
    assert words(b"\xff" * 7 + data) == [said], "not at a word's boundary"


def test_what_looks_like_a_length_word_and_is_none() -> None:
    """With it the message would have 16 MiB, but it is complete without it."""
    [run] = runs(word(0x01010101) + LOOKUP[4:])
    assert (run.offset, run.size, run.messages[0].headless) == (4, 32, True)


def test_what_is_no_header() -> None:
    for data in (frame(type_=7), frame(status=3), frame(proc=0), frame(vers=2), frame(prog=5), LOOKUP[:27]):
        assert runs(data) == []


def test_a_header_without_length_ends_where_the_next_message_begins() -> None:
    first, second = runs(LOOKUP[4:] + REPLY)
    assert (first.size, second.offset, second.size) == (32, 32, 56)
    first, second = runs(frame(bytes(8))[4:28] + LOOKUP[4:])
    assert (first.size, second.offset, second.size) == (24, 24, 32)


def test_lengths_that_lie() -> None:
    """Each header claims all that follows, and its payload, an array of integers, is longer than that."""
    head = word(33554432) + frame(proc=37, type_=1)[4:]
    data = head * 20_000 + LOOKUP
    found = runs(data)
    assert found[-1].messages[-1].message.payload_type == "remote_domain_lookup_by_name_args"
    assert sum(run.count for run in found) == 20_001


@settings(QUICK, max_examples=examples(200))
@given(
    st.lists(
        st.sampled_from([LOOKUP, REPLY, LOOKUP[4:], REPLY[:40], b"\x20\x00\x80\x86", bytes(4)])
        | st.binary(max_size=40)
    )
)
def test_any_bytes(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    for run in runs(data):
        assert run.size > 0
        assert run.offset >= 0
        assert run.offset + run.size <= len(data)
        ends = [found.offset + found.size for found in run.messages]
        assert [found.offset for found in run.messages] == [run.offset, *ends[:-1]]
    if all(piece in (LOOKUP, REPLY) for piece in pieces):
        assert sum(run.count for run in runs(data)) == len(pieces)


# Words


def test_reasons() -> None:
    assert list(reasons(best(DOMAIN))) == [
        "all 28 bytes used",
        'text "test"',
        "uuid 6695eb01-f6a4-8304-79aa-97f2502e193f",
        "1 valid length or count",
        "1 arbitrary integer",
    ]
    assert list(reasons(best(word(1) + text(b"a" * 41) + word(2) + word(50)))) == [
        "all 60 bytes used",
        'text "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…"',
        "1 discriminant with an arm",
        "2 valid lengths and counts",
        "3 zero bytes of padding",
        "1 arbitrary integer",
    ]


def test_text_from_the_wire_is_made_safe() -> None:
    name = "remote_nonnull_string"
    guess = next(each for each in PAYLOADS.rank(text(b"vm \x1b[31m")) if name in each.types)
    assert 'text "vm \\x1b[31m"' in list(reasons(guess))


def test_doubt() -> None:
    assert ambiguity(PAYLOADS.rank(DOMAIN)) == "the bytes cannot distinguish 49 types, of one layout"
    pin = PAYLOADS.rank(DOMAIN + word(1) + text(b"\x01\x80"))
    assert (pin[0].types, ambiguity(pin)) == (("remote_domain_pin_vcpu_args",), None)


def test_an_older_release() -> None:
    old = registry.release("0.9.7")
    assert any("remote_get_lib_version_ret" in guess.types for guess in Payloads(old).rank(bytes(8)))
    [run] = Search(old).runs(LOOKUP)
    assert run.count == 1
    assert partial(message, names=Names(old))(run.messages[0]).startswith("remote.domain_lookup_by_name call")


def test_a_payload_of_a_union_s_default_arm_and_of_zero() -> None:
    """A default arm costs more bits than a label; a float of zero costs fewer than any other."""
    shape, flag = type_named("shape"), type_named("flag")
    assert weigh(shape, Shape(Colour.GREEN, Point(1, 2))).arms == weigh(shape, Shape(7, b"")).arms == 1
    assert weigh(shape, Shape(7, b"")).bits > weigh(shape, Shape(Colour.RED, None)).bits
    assert weigh(flag, Flag(False, None)).bits < weigh(flag, Flag(True, Colour.RED)).bits
    double = type_named("double_value")
    assert weigh(double, 0.0).bits < weigh(double, 0.5).bits < weigh(double, 1e300).bits
