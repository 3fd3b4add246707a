"""JSON back to values: accepted input, and the message of each error."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest

from libvirt_proto import ProtocolError
from libvirt_proto.jsonlines.decode import from_plain
from libvirt_proto.jsonlines.encode import to_plain
from tests.support.handmade import (
    UUID,
    Colour,
    Domain,
    Everything,
    Flag,
    Link,
    Param,
    ParamValue,
    Shape,
    everything,
    type_named,
)

Int, UnsignedInt, UnsignedHyper = "int_value", "unsigned_int_value", "unsigned_hyper_value"
Bool, Double, Quadruple = "bool_value", "double_value", "quadruple_value"
Uuid, Bytes, Text = "remote_uuid", "bytes_value", "text"
Numbers, Maybe, Paint = "ints", "maybe_int", "colour"

TAKEN: list[tuple[Any, str, Any]] = [
    (Int, "-5", -5),
    (UnsignedHyper, "18446744073709551615", 2**64 - 1),
    (Bool, "true", True),
    (Double, "0.5", 0.5),
    (Double, "3", 3.0),
    (Double, '"Infinity"', math.inf),
    (Double, '"-Infinity"', -math.inf),
    (Quadruple, f'"{"0f" * 16}"', b"\x0f" * 16),
    (Bytes, '""', b""),
    (Bytes, '"00aB"', b"\x00\xab"),
    (Uuid, '"6695eb01-f6a4-8304-79aa-97f2502e193f"', UUID),
    (Uuid, '"6695EB01F6A4830479AA97F2502E193F"', UUID),
    (Text, '"höchst"', "höchst"),
    (Text, '{"base64": "/wA="}', b"\xff\x00"),
    (Text, '{"base64": "dGVzdA=="}', "test"),
    (Paint, '"GREEN"', Colour.GREEN),
    (Paint, "5", Colour.GREEN),
    (Paint, "77", 77),
    (Numbers, "[1, 2]", [1, 2]),
    (Maybe, "null", None),
    (Maybe, "3", 3),
    (ParamValue, '{"type": 2, "ui": 7}', ParamValue(2, 7)),
    (ParamValue, '{"type": 2, "type_name": "VIR_TYPED_PARAM_UINT", "ui": 7}', ParamValue(2, 7)),
    (Shape, '{"c": "RED"}', Shape(Colour.RED, None)),
    (Shape, '{"c": 9, "o": "ff"}', Shape(9, b"\xff")),
    (Flag, '{"on": false}', Flag(False, None)),
    (Link, '{"value": 1, "next": {"value": 2, "next": null}}', Link(1, Link(2, None))),
    (Param, '{"value": {"i": 1, "type": 1}, "field": "x", "field_name": null}', Param("x", ParamValue(1, 1))),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "text", "value"), TAKEN)
def test_taken(hint: Any, text: str, value: Any) -> None:
    read = from_plain(type_named(hint), json.loads(text))
    assert read == value
    assert type(read) is type(value)


REFUSED: list[tuple[Any, str, str]] = [
    (Int, "2147483648", "expected an integer from -2147483648 to 2147483647, got 2147483648"),
    (Int, "5.0", "expected an integer, got 5.0"),
    (Int, "true", "expected an integer, got true"),
    (Int, '"5"', 'expected an integer, got "5"'),
    (Int, "null", "expected an integer, got null"),
    (UnsignedInt, "-1", "expected an integer from 0 to 4294967295, got -1"),
    (UnsignedHyper, "18446744073709551616",
     "expected an integer from 0 to 18446744073709551615, got 18446744073709551616"),
    (Bool, "1", "expected true or false, got 1"),
    (Double, '"inf"', 'expected a number, "NaN", "Infinity" or "-Infinity", got "inf"'),
    (Double, "true", 'expected a number, "NaN", "Infinity" or "-Infinity", got true'),
    (Double, '"NaN(0x0000000000000000)"', "expected the bits of a NaN, got 0x0000000000000000"),
    (Double, "1" + "0" * 400,
     "expected a number within the range of a float, got 1000000000000000000000000000000000000000…"),
    (Bytes, '"abc"', 'expected hex (a string with two digits per byte), got "abc"'),
    (Bytes, "[1]", "expected hex (a string with two digits per byte), got [1]"),
    (Uuid, '"6695eb01"', 'expected a uuid (8-4-4-4-12 hex digits), got "6695eb01"'),
    (Text, "5", 'expected a string or {"base64": "…"}, got 5'),
    (Text, '{"base64": "?"}', 'base64: expected base64 (a string), got "?"'),
    (Text, '{"base64": "", "x": 1}', 'expected a string or {"base64": "…"}, got {"base64": "", "x": 1}'),
    (Paint, '"PINK"', 'expected a number or one of RED, GREEN, BLUE, got "PINK"'),
    (Numbers, '{"0": 1}', 'expected an array, got {"0": 1}'),
    (Numbers, "[1, 2, []]", "[2]: expected an integer, got []"),
    (Domain, "[]", "expected an object (nonnull_domain), got []"),
    (Domain, f'{{"name": "x", "uuid": "{"0" * 32}"}}', "id: is missing (nonnull_domain)"),
    (Domain, f'{{"name": "x", "uuid": "{"0" * 32}", "id": 1, "ids": 1}}',
     "ids: unknown field: nonnull_domain has name, uuid, id"),
    (Domain, f'{{"name": "x", "uuid": "{"0" * 32}", "id": 1, "x_name": 1}}',
     "x_name: unknown field: nonnull_domain has name, uuid, id"),
    (ParamValue, '{"ui": 7}', "type: is missing (typed_param_value)"),
    (ParamValue, '{"type": 9, "ui": 7}',
     "type: expected a label of typed_param_value (1, 2, 3, 4, 5, 6, 7), got 9"),
    (ParamValue, '{"type": 1, "ui": 7}',
     "ui: unknown field: typed_param_value with type 1 has type, i"),
    (ParamValue, '{"type": 1}', "i: is missing (typed_param_value with type 1)"),
    (ParamValue, '{"type": [], "i": 1}', "type: expected an integer, got []"),
    (Shape, '{"c": "RED", "p": null}', 'p: unknown field: shape with c "RED" has c'),
    (Link, '{"value": 1, "next": {"value": "", "next": null}}', 'next.value: expected an integer, got ""'),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "text", "said"), REFUSED)
def test_refused(hint: Any, text: str, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        from_plain(type_named(hint), json.loads(text))
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        ({"params": [{"field": "a", "value": {"type": t, "i": 1}} for t in (1, "")]}, "params[1].value.type"),
        ({"s": {"c": "GREEN", "p": {"from": 1, "y": "2"}}}, "s.p.y"),
        ({"model": [1, 2, 3, 2**31]}, "model[3]"),
        ({"dom": {"name": "", "uuid": "", "id": 1}}, "dom.uuid"),
    ],
)  # fmt: skip
def test_the_path_of_an_error(edit: dict[str, Any], path: str) -> None:
    type_ = type_named(Everything)
    with pytest.raises(ProtocolError) as caught:
        from_plain(type_, to_plain(type_, everything()) | edit)
    assert (caught.value.path, caught.value.offset) == (path, None)


@pytest.mark.parametrize(
    "bits", [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001, 0x7FF0000000000001]
)
def test_every_nan_keeps_its_bits(bits: int) -> None:
    """x86 makes NaNs with the sign set; JSON has the name of one NaN only, so the others show their bits."""
    data = bits.to_bytes(8, "big")
    type_ = type_named(Double)
    text = to_plain(type_, struct.unpack(">d", data)[0])
    assert text == ("NaN" if bits == 0x7FF8000000000000 else f"NaN(0x{bits:016x})")
    assert struct.pack(">d", from_plain(type_, text)) == data


def test_json_that_is_nested_too_deeply() -> None:
    data: Any = None
    for _ in range(5000):
        data = {"value": 1, "next": data}
    with pytest.raises(ProtocolError, match="nested too deeply"):
        from_plain(type_named(Link), data)
