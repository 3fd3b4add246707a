"""Explanations of wrong length words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.rpc.wronglength import WrongLength, explain, explain_error, verdict

PROGRAMS = registry.default().programs()


def of(data: bytes) -> WrongLength:
    return explain(int.from_bytes(data), PROGRAMS)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\r\n\r\n", '"\\r\\n\\r\\n" (0x0d0a0d0a): two line ends, not libvirt (a port scan)'),
        (b"HELP", '"HELP" (0x48454c50): a text command, not libvirt (a port scan)'),
        (b"GET ", '"GET " (0x47455420): an HTTP request (GET), not libvirt'),
        (b"OPTI", '"OPTI" (0x4f505449): an HTTP, RTSP or SIP request (OPTIONS), not libvirt'),
        (b"HTTP", '"HTTP" (0x48545450): HTTP (a response), not libvirt'),
        (b"PRI ", '"PRI " (0x50524920): HTTP/2, not libvirt'),
        (b"SSH-", '"SSH-" (0x5353482d): SSH, not libvirt'),
        (b"RFB ", '"RFB " (0x52464220): VNC (RFB), not libvirt'),
        (b"\x80\x00\x00\x28", "0x80000028: an ONC RPC record mark of 40 bytes (RFC 5531), not libvirt"),
        (b"\x16\x03\x01\x02", "0x16030102: a TLS record, not libvirt"),
        (b"\x80\x2e\x01\x03", "0x802e0103: an SSL 2.0 hello, not libvirt"),
        (b"\x03\x00\x00\x2a", "0x0300002a: RDP (TPKT), not libvirt"),
        (b"\x30\x84\x00\x00", "0x30840000: LDAP, not libvirt"),
        (b"\x30\x0c\x02\x01", "0x300c0201: LDAP, not libvirt"),
        (b"\xff\xfb\x1f\xff", "0xfffb1fff: Telnet, not libvirt"),
    ],
)
def test_names_other_protocols(data: bytes, text: str) -> None:
    found = of(data)
    assert (found.kind, found.data, str(found)) == ("foreign", data, text)


@pytest.mark.parametrize(
    ("data", "programs"),
    [
        ("20008086", "the program number of remote"),
        ("20008087", "the program number of qemu"),
        ("6b656570", "the program number of keepalive"),  # also the text "keep"
        ("1c200080", "bytes of the program number of qemu or remote"),
        ("80860000", "bytes of the program number of remote"),
        ("53931900", "bytes of the program number of log_manager"),
    ],
)
def test_names_bytes_of_a_header(data: str, programs: str) -> None:
    found = of(bytes.fromhex(data))
    assert (found.kind, found.text) == ("step", f"{programs}: the stream is out of step")


@pytest.mark.parametrize(
    ("word", "kind", "text"),
    [
        (28, "message", "a message of 28 bytes"),
        (33554436, "message", "a message of 33,554,436 bytes"),
        (33554437, "unknown", "no known protocol: the stream is encrypted, or out of step"),
        (27, "unknown", "less than the 28 bytes of length word and header"),
        (0, "unknown", "less than the 28 bytes of length word and header"),
        (0x61626364, "text", "text, not libvirt"),
        (0x1C000000, "unknown", "28 in little-endian order: a faulty client"),
        (0x9F3C77AE, "unknown", "no known protocol: the stream is encrypted, or out of step"),
    ],
)
def test_other_words(word: int, kind: str, text: str) -> None:
    found = explain(word, PROGRAMS)
    assert (found.kind, found.text) == (kind, text)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        # A log in a public report: libvirt subtracts the length word, and prints a signed number.
        ("packet 218762502 bytes received from server too large, want 33554432", 0x0D0A0D0A),
        ("packet -2147483612 bytes received from server too large, want 335544", 0x80000028),
        ("packet 536903810 bytes received from server too large", 0x20008086),
        ("… : packet 1195725852 bytes received from server too large, want 3355443", 0x47455420),
        ("packet 3 bytes received from server too small, want 4", 3),
    ],
)
def test_reads_libvirts_error(error: str, word: int) -> None:
    found = explain_error(error, PROGRAMS)
    assert found is not None
    assert found.word == word


@pytest.mark.parametrize(
    "text", ["", "packet 12 bytes", "packet many bytes received from server too large", "packet sniffing"]
)
def test_other_texts_are_no_error_of_a_length(text: str) -> None:
    assert explain_error(text, PROGRAMS) is None


def test_several_protocols_are_a_port_scan() -> None:
    assert verdict([of(b"GET "), of(b"HELP")]) == "several protocols on one port: a port scan"
    assert verdict([of(b"GET "), of(b"GET ")]) is None
    assert verdict([of(b"GET "), explain(0x20008086, PROGRAMS)]) is None
    assert verdict([]) is None


@given(st.integers(-(2**70), 2**70))
def test_explains_any_number_by_its_low_32_bits(number: int) -> None:
    found = explain(number, PROGRAMS)
    assert found.word == number % 2**32
    assert found == explain(found.word, PROGRAMS)
    assert str(found).isprintable()
