"""LIMIT_EXCEEDED: which limit, by name and value, and the release that raised it."""

from __future__ import annotations

import pytest

from libvirt_proto.events import Captured, Closed, Connection, Direction, Notice, NoticeCode
from tests.support.failures import RPC_ERROR, SECOND, call, connection, finding, findings, line, rules
from tests.support.frames import CONNECTION, captured, frame, text, word

#: REMOTE_STRING_MAX, and its value before 1.0.6.
STRING, OLD_STRING = 4_194_304, 1_048_576
NOT_DECODED = RPC_ERROR, b"Unable to decode message payload"
NOT_ENCODED = RPC_ERROR, b"Unable to encode message payload"
DOMAIN = text(b"web") + bytes(range(16)) + word(3)


def define(size: int, error: tuple[int, bytes] | None = NOT_DECODED, **kwargs: object) -> list[Captured]:
    """domain_define_xml with a description of this size."""
    return call("domain_define_xml", text(b"x" * size), DOMAIN, error=error, **kwargs)  # type: ignore[arg-type]


def closed(on: Connection = CONNECTION, first: Direction | None = "s2c") -> Closed:
    return Closed(on, 2 * SECOND, first)


def test_string_over_its_limit() -> None:
    found = finding("LIMIT_EXCEEDED", define(STRING + 1))
    assert found.summary == (
        "The daemon refused the call of domain_define_xml: its xml has 4,194,305 bytes, and REMOTE_STRING_MAX"
        " allows 4,194,304 (since libvirt 1.0.6)."
    )
    assert found.certainty == "certain"
    assert found.evidence[0].messages == (2,)


def test_string_at_its_limit_that_is_accepted_has_no_finding() -> None:
    assert findings(define(STRING, None)) == []


def test_string_within_the_limit_is_refused_by_an_older_daemon() -> None:
    found = finding("LIMIT_EXCEEDED", define(OLD_STRING + 1))
    assert "before libvirt 1.0.6, REMOTE_STRING_MAX allowed 1,048,576: the daemon is older" in found.summary
    assert found.certainty == "likely"
    assert found.advice == ("upgrade the older side to libvirt 1.0.6 or later",)


def test_small_arguments_that_cannot_be_decoded_are_not_too_long() -> None:
    assert findings(define(100)) == []
    assert findings(define(100, on=connection(1, side="server"), headers=True)) == []


LIST = b"internal error: Too many storage_vols '16385' for limit '16384'"


def test_list_over_its_limit() -> None:
    pool = text(b"images") + bytes(16)
    found = finding(
        "LIMIT_EXCEEDED",
        call("storage_pool_list_all_volumes", pool + word(1) + word(0), error=(1, LIST)),
    )
    assert "it has 16,385 storage vols, and REMOTE_STORAGE_VOL_LIST_MAX allows 16,384" in found.summary
    assert "error 1 (VIR_ERR_INTERNAL_ERROR)" in found.evidence[0].text


def test_former_limit_of_a_list() -> None:
    """The number in the error is the limit of an older daemon."""
    error = RPC_ERROR, b"Too many domains '2000' for limit '1024'"
    found = finding("LIMIT_EXCEEDED", call("connect_list_all_domains", word(1) + word(0), error=error))
    assert "REMOTE_DOMAIN_LIST_MAX allows 1,024" in found.summary
    assert "older than libvirt 0.9.13, which raised it to 16,384" in found.summary


@pytest.mark.parametrize(
    ("words", "count", "limit"),
    [
        ("Too many domains '17000' for limit '16384'", "17,000", "16,384"),
        ("too many remote undefineds: 5000 > 1024,", "5,000", "1,024"),
        ("too many parameters '1025' for limit '1024'", "1,025", "1,024"),
        ("Too many FDs to send 40, expected 32 maximum", "40", "32"),
        ("Received too many FDs 40, expected 32 maximum", "40", "32"),
        ("Too many IOThreads in info: 20000 for limit 16384", "20,000", "16,384"),
    ],
)
def test_words_of_logs(words: str, count: str, limit: str) -> None:
    found = finding("LIMIT_EXCEEDED", line(words, 3))
    assert f"it has {count} " in found.summary
    assert f"allows {limit}" in found.summary


def test_reply_that_cannot_be_encoded() -> None:
    found = finding("LIMIT_EXCEEDED", call("domain_get_xml_desc", DOMAIN + word(0), error=NOT_ENCODED))
    assert found.summary == (
        "The daemon could not send its reply to domain_get_xml_desc: the xml is over REMOTE_STRING_MAX"
        " (4,194,304 bytes)."
    )


def test_reply_over_a_limit() -> None:
    reply = call("domain_get_xml_desc", DOMAIN + word(0), text(b"x" * (STRING + 1)))
    found = finding("LIMIT_EXCEEDED", reply)
    assert "The client refused the reply to domain_get_xml_desc: its xml has 4,194,305 bytes" in found.summary


def lookup(size: int) -> list[Captured]:
    """domain_lookup_by_name without a reply."""
    return call("domain_lookup_by_name", text(b"x" * size), takes=None)


def test_error_that_repeats_its_argument() -> None:
    found = finding("LIMIT_EXCEEDED", lookup(STRING), closed())
    assert "closed the connection without a reply to domain_lookup_by_name" in found.summary
    assert "its name has 4,194,304 bytes" in found.summary
    assert found.certainty == "likely"


def test_side_that_closed_is_unknown_in_a_recorded_trace() -> None:
    on = Connection(1, "127.0.0.1:49152", "127.0.0.1:16509")
    waiting = call("domain_lookup_by_name", text(b"x" * STRING), takes=None, on=on)
    assert finding("LIMIT_EXCEEDED", waiting, closed(on, "c2s")).certainty == "possible"


@pytest.mark.parametrize(("size", "first"), [(STRING - 2000, "s2c"), (100, "s2c"), (STRING, "c2s")], ids=str)
def test_other_lost_connections_have_no_limit(size: int, first: Direction) -> None:
    assert "LIMIT_EXCEEDED" not in rules(lookup(size), closed(first=first))


def test_too_many_descriptors_end_the_connection() -> None:
    many = captured(frame(word(40), proc=1, type_=4, serial=1), 1, 0)
    found = finding("LIMIT_EXCEEDED", [many], closed())
    assert "its message has 40 descriptors, and VIR_NET_MESSAGE_NUM_FDS_MAX allows 32" in found.summary
    assert found.evidence[0].messages == (1,)


def bad_frame(word_: int, direction: Direction = "c2s", on: Connection = CONNECTION) -> Notice:
    text_ = f"expected a message, got length word {word_}"
    return Notice(NoticeCode.BAD_FRAME, text_, on, direction, SECOND)


def test_message_that_is_too_large() -> None:
    before = call("connect_get_type", b"", text(b"QEMU"))
    found = finding("LIMIT_EXCEEDED", before, bad_frame(33_554_437), closed())
    assert found.summary == (
        "The client announced a message of 33,554,433 bytes, and VIR_NET_MESSAGE_MAX allows 33,554,432"
        " (since libvirt 3.4.0): the daemon closed the connection."
    )
    assert found.evidence[0].messages == (2,)


@pytest.mark.parametrize(
    ("word_", "first"),
    [(0x47455420, "s2c"), (0x16030100, "s2c"), (33_554_437, "c2s"), (20, "s2c")],
    ids=["HTTP", "TLS", "closed-by-sender", "too-small"],
)
def test_other_bytes_are_not_a_message_that_is_too_large(word_: int, first: Direction) -> None:
    before = call("connect_get_type", b"", text(b"QEMU"))
    assert "LIMIT_EXCEEDED" not in rules(before, bad_frame(word_), closed(first=first))


def test_lost_bytes_explain_a_wrong_length() -> None:
    before = call("connect_get_type", b"", text(b"QEMU"))
    lost = Notice(NoticeCode.LOST_BYTES, "100 bytes are lost", CONNECTION, "c2s", SECOND)
    assert "LIMIT_EXCEEDED" not in rules(before, lost, bad_frame(33_554_437), closed())


def test_frame_in_the_log_of_an_older_daemon() -> None:
    words = "packet 17000000 bytes received from server too large, want 16777216"
    found = finding("LIMIT_EXCEEDED", line(words, 8))
    assert "17,000,000 bytes" in found.summary
    assert "older than libvirt 3.4.0, which raised it to 33,554,432" in found.summary


@pytest.mark.parametrize(
    "size",
    [0x47455420 - 4, 0x16030100 - 4, 369295617, 218762502, 536903810],
    ids=["HTTP", "TLS", "TLS-2", "port-scan", "program-number"],
)
def test_other_protocol_in_the_log_exceeds_no_limit(size: int) -> None:
    found = findings(line(f"packet {size} bytes received from server too large, want 33554432"))
    assert "LIMIT_EXCEEDED" not in {each.rule for each in found}


def test_log_without_the_call() -> None:
    found = finding("LIMIT_EXCEEDED", line("Unable to encode message payload", 5, program="virsh"))
    assert "could not send a message: a value in it was over its limit" in found.summary
    assert findings(line("Unable to decode message payload", 5)) == []


def test_log_with_the_call() -> None:
    on = connection(1, side="server")
    stated = line("Unable to decode message payload", 5)
    found = finding("LIMIT_EXCEEDED", stated, define(STRING + 1, on=on, headers=True))
    assert "it has 4,194,340 bytes" in found.summary
    assert [each.lines for each in found.evidence] == [(), (5,)]
