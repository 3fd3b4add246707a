"""Values as trees of lines."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.codec.values import Partial, PartialText
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.presenters.style import COLOUR, PLAIN
from libvirt_proto.presenters.tree import NO_CUT, Cut, Tree
from libvirt_proto.text import amount, printable, quoted, seconds
from tests.support.handmade import (
    UUID,
    Colour,
    Domain,
    Everything,
    Flag,
    Link,
    Param,
    ParamValue,
    Point,
    Shape,
    everything,
    type_named,
)

Int, Ints, Text, Bytes, Params = "int_value", "ints", "text", "bytes_value", "params"
SMALL = Cut(string=10, opaque=16, array=3)


def draw(hint: Any, value: Any, cut: Cut = NO_CUT) -> list[str]:
    type_ = hint if isinstance(hint, XdrType) else type_named(hint)
    return list(Tree(PLAIN, cut).lines(type_, value))


CASES: list[tuple[Any, Any, list[str]]] = [
    (Int, -1, ["-1"]),
    (Text, 'say "hi"\\', ['"say \\"hi\\"\\\\"']),
    (Text, "", ['""']),
    (Text, "one line\n", ['"one line\\n"']),
    (Text, "<a>\n  b\n", ["│ <a>", "│   b"]),
    (Text, "x" * 13, ['"xxxxxxxxxx" … 3 more bytes']),
    (Text, "ü" * 12, ['"üüüüüüüüüü" … 4 more bytes']),
    (Text, "<abcd>\n<efgh>\n", ["│ <abcd>", "│ … 7 more bytes"]),
    (Text, "abcdefghijk\nl", ["│ abcdefghij", "│ … 3 more bytes"]),
    (Text, b"\xffab", ["not UTF-8, 3 bytes", "0000  ff 61 62                                          .ab"]),
    (Bytes, b"", ['""']),
    (Bytes, bytes(range(6)), ["0001 02030405"]),
    (Bytes, b"A" * 33, [
        "33 bytes",
        "0000  41 41 41 41 41 41 41 41  41 41 41 41 41 41 41 41  AAAAAAAAAAAAAAAA",
        "… 17 more bytes",
    ]),
    (Ints, [], ["[]"]),
    (Ints, [1, -2, 3], ["[1, -2, 3]"]),
    (Ints, [1, 2, 3, 4], ["[0] 1", "[1] 2", "[2] 3", "… 1 more element"]),
    ("six_chars", [120, 56, 54, 0, 0, 0], ['"x86"']),
    ("three_chars", [27, 0, 0], ['"\\x1b"']),
    ("three_chars", [65, 0, 66], ["[65, 0, 66]"]),
    ("two_chars", [300, 0], ["[300, 0]"]),
    (Point, Point(1, 2), ["from: 1", "y:    2"]),
    (Domain, Domain("t", UUID, -1), ['name: "t"', "uuid: 6695eb01-f6a4-8304-79aa-97f2502e193f", "id:   -1"]),
    (Shape, Shape(Colour.RED, None), ["c: RED (0)"]),
    (Shape, Shape(Colour.GREEN, Point(1, 2)), ["c: GREEN (5)", "p:", "  from: 1", "  y:    2"]),
    (Shape, Shape(9, b"\x07"), ["c: 9", "o: 07"]),
    (Flag, Flag(False, None), ["on: false"]),
    (Link, Link(1, Link(2, None)), ["value: 1", "next:", "  value: 2", "  next:  null"]),
    (Params, [Param("a", ParamValue(4, 10)), Param("b\x1b", ParamValue(7, "x"))], [
        "[0] a = 10 (ullong)", '[1] b\\x1b = "x" (string)',
    ]),
    (Params, [Param("a", ParamValue(5, 0.5))], ["[0] a = 0.5 (double)"]),
    (Domain, Partial("nonnull_domain", {"name": "x"}), ['name: "x"']),
    (Domain, Partial("nonnull_domain", {}), ["…"]),
    (Domain, Partial("nonnull_domain", {"name": PartialText("x", 1)}), ['name: "x" … 1 byte missing']),
    (Domain, Partial("nonnull_domain", {"name": PartialText("a\nb", 12)}), [
        "name:", "  │ a", "  │ b", "  │ … 12 bytes missing",
    ]),
    (Shape, Partial("shape", {"c": 5, "p": Partial("point", {"from": 3})}),
     ["c: GREEN (5)", "p:", "  from: 3"]),
    (Params, [Param("a", ParamValue(1, 3)), Partial("typed_param", {"field": "b"})], [
        "[0] a = 3 (int)", '[1] field: "b"',
    ]),
    (Params, [Partial("typed_param", {"field": "b", "value": Partial("typed_param_value", {"type": 1})})], [
        '[0] field: "b"', "    value:", "      type: 1",
    ]),
    ("domains", [Domain("t", UUID, 1)], [
        '[0] name: "t"', "    uuid: 6695eb01-f6a4-8304-79aa-97f2502e193f", "    id:   1",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "value", "lines"), CASES, ids=lambda case: str(case)[:40])
def test_each_kind_is_drawn(hint: Any, value: Any, lines: list[str]) -> None:
    assert draw(hint, value, SMALL) == lines


def test_full_cuts_nothing() -> None:
    assert draw(Text, "x" * 100_000) == ['"' + "x" * 100_000 + '"']
    assert len(draw(Bytes, bytes(160_000))) == 1 + 10_000
    assert len(draw(Ints, list(range(1000)))) == 1000


def test_a_whole_struct() -> None:
    assert draw(Everything, everything(), SMALL) == [
        "flag:  true",
        "f:     0.5",
        "d:     -2.25",
        "q:     000102030405060708090a0b0c0d0e0f",
        "fixed: 00abff",
        'rest:  ""',
        'text:  "höchst"',
        "maybe: null",
        "c:     GREEN (5)",
        'model: "x86"',
        "big:   [18446744073709551615, 0]",
        "dom:",
        '  name: "test"',
        "  uuid: 6695eb01-f6a4-8304-79aa-97f2502e193f",
        "  id:   -1",
        "params:",
        "  [0] cpu_shares = 1024 (ullong)",
        '  [1] name = "x" (string)',
        "s:",
        "  c: GREEN (5)",
        "  p:",
        "    from: 1",
        "    y:    -9223372036854775808",
    ]


def remote(*names: str) -> list[Any]:
    """Types of the remote protocol."""
    return [registry.default().type(f"remote_{name}") for name in names]


def test_numbers_are_named() -> None:
    """Also where a name depends on another number, and bits without a name are shown as such."""
    state, arguments, domain = remote("domain_get_state_ret", "domain_get_xml_desc_args", "nonnull_domain")
    migrated = ["state:  1 VIR_DOMAIN_RUNNING", "reason: 2 VIR_DOMAIN_RUNNING_MIGRATED"]
    assert draw(state, state.python_class(1, 2)) == migrated
    assert draw(state, state.python_class(1, -2)) == [migrated[0], "reason: -2"]
    assert draw(state, state.python_class(9, 2)) == ["state:  9", "reason: 2"]
    for flags, shown in [
        (0, "0"),
        (3, "3 VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE"),
        (65, "65 VIR_DOMAIN_XML_SECURE | 0x40"),
        (64, "64"),
    ]:
        assert (
            draw(arguments, arguments.python_class(domain.python_class("test", UUID, 1), flags))[-1]
            == f"flags: {shown}"
        )


def test_names_of_what_broke_off() -> None:
    [state] = remote("domain_get_state_ret")
    broken = Partial("remote_domain_get_state_ret", {"state": 1})
    assert draw(state, broken) == ["state: 1 VIR_DOMAIN_RUNNING"]


HOSTILE = st.text(
    st.sampled_from('a\x00\x07\x08\x1b\x7f\x9b\n\r\t\u2028\u202e\u2066\ufeff\u200b"\\[]0;m\U000e0001')
)


def harmless(line: str) -> bool:
    """No character that a terminal acts on: the categories Cc, Cf, Cs, Co, Cn, Zl and Zp."""
    return all(
        unicodedata.category(c)[0] != "C" and unicodedata.category(c) not in ("Zl", "Zp") for c in line
    )


@given(HOSTILE, st.binary())
def test_nothing_from_the_wire_reaches_a_terminal_raw(text: str, data: bytes) -> None:
    value = everything(
        text=text,
        maybe=data,
        rest=data,
        dom=Domain(data, UUID, 0),
        params=[Param(text, ParamValue(7, text)), Param(data, ParamValue(7, data))],
        model=[b - 128 for b in data[:4].ljust(4, b"\0")],
        s=Shape(9, data),
    )
    for cut in (SMALL, NO_CUT):
        assert all(harmless(line) for line in draw(Everything, value, cut))


@given(HOSTILE)
def test_colour_adds_only_its_own_sequences(text: str) -> None:
    type_, value = type_named(Everything), everything(text=text, params=[Param(text, ParamValue(7, text))])
    coloured = list(Tree(COLOUR, NO_CUT).lines(type_, value))
    own = [code for code in (COLOUR.field, COLOUR.quiet, COLOUR.text, COLOUR.warn, COLOUR.off) if code]
    stripped = []
    for line in coloured:
        for code in own:
            line = line.replace(code, "")
        stripped.append(line)
    assert stripped == draw(Everything, value)


@given(HOSTILE)
def test_quoted_text_can_be_told_from_what_follows(text: str) -> None:
    inner = quoted(text)[1:-1]
    assert '"' not in inner.replace("\\\\", "").replace('\\"', "")


@given(st.text())
def test_printable_text_stays(text: str) -> None:
    assert harmless(printable(text))
    if all(c.isprintable() for c in text):
        assert printable(text) == text


def test_times_are_those_of_rpc_monitor() -> None:
    assert seconds(0, 0, 3) == "  0.000"
    assert seconds(2_632_999_999, 0, 3) == "  2.632"
    assert seconds(12_345_678_900_000, 1, 3) == "12345.678"
    assert seconds(10**18 + 1_000_000, 10**18, 3) == "  0.001"
    assert seconds(None, 0, 3) == seconds(5, None, 3) == "      -"
    assert seconds(2_632_999_999, 0, 6) == "  2.632999"


def test_amounts() -> None:
    assert [amount(n, "byte") for n in (0, 1, 3412)] == ["0 bytes", "1 byte", "3,412 bytes"]
