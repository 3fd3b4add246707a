"""Disagreements with rpcgen's C: a test per row of docs/disagreements.md, and cases of agreement."""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from libvirt_proto import OverLimit, registry
from libvirt_proto.codec.limits import MAX_DEPTH
from libvirt_proto.codec.xdrtype import XdrType
from tests.differential import soak, verdicts
from tests.differential.judge import ACCEPTED, REFUSED, Answer, Judge
from tests.differential.rpcgen import build

needs_c = pytest.mark.system("rpcgen", "gcc")


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def named(name: str) -> XdrType:
    found: XdrType = next(type_ for type_ in soak.all_types() if type_.name == name)
    return found


def both(judge: Judge, name: str, data: bytes) -> tuple[Answer, Any, bytes, set[str]]:
    """C's answer, our value and its encoding, and the explanation of their difference."""
    (answer,) = judge.answers([(name, data)])
    type_ = named(name)
    reading, again = verdicts.judged(type_, data)
    kinds, problem = verdicts.compared(type_, reading, again, answer)
    assert not problem
    return answer, reading, again, kinds


@pytest.mark.parametrize(
    ("name", "data", "value", "theirs"),
    [
        ("remote_nonnull_string", words(3) + b"a\0b\0", "a\0b", words(1) + b"a\0\0\0"),
        ("remote_nonnull_string", words(1) + b"\0\0\0\0", "\0", words(0)),
        ("remote_string", words(1, 5) + b"\xffab\0c\0\0\0", b"\xffab\0c", words(1, 3) + b"\xffab\0"),
    ],
)
@needs_c
def test_nul(judge: Judge, name: str, data: bytes, value: object, theirs: bytes) -> None:
    answer, reading, again, kinds = both(judge, name, data)
    assert answer == (ACCEPTED, len(data), theirs)
    assert (reading.value, reading.next, reading.remarks) == (value, len(data), ())
    assert again == data
    assert kinds == {"nul"}


@needs_c
def test_narrow(judge: Judge) -> None:
    numbers = (0x180, 0x1FF, 0x18000, 0x1FFFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)
    data = words(*numbers)
    answer, reading, again, kinds = both(judge, "numbers", data)
    assert answer == (ACCEPTED, len(data), words(0xFFFFFF80, 0xFF, 0xFFFF8000, 0xFFFF, *numbers[4:]))
    got = reading.value
    assert (got.c, got.uc, got.s, got.us) == (0x180, 0x1FF, 0x18000, 0x1FFFF)
    assert again == data
    assert kinds == {"narrow"}
    # A libvirt field, `unsigned char state`, that C reads without a call.
    data = words(0x101, 0, 0, 0, 0, 0, 0, 0)
    answer, reading, again, kinds = both(judge, "remote_domain_get_info_ret", data)
    assert answer.again[:4] == words(1)
    assert reading.value.state == 0x101
    assert kinds == {"narrow"}


@needs_c
def test_quiet_nan(judge: Judge) -> None:
    data = bytes(40) + words(0xFFA00001) + struct.pack(">Q", 0x7FF0000000000001) + words(0, 2)
    answer, _, again, kinds = both(judge, "numbers", data)
    assert answer == (ACCEPTED, len(data), data)
    assert again == data.replace(words(0xFFA00001), words(0xFFE00001))  # a double keeps all of its bits
    assert kinds == {"quiet-nan"}


@needs_c
def test_inline_bool(root: Path, tmp_path: Path) -> None:
    """For a struct of tests/definitions/rpcgen.x: no type of the other judge has a bool in such a place."""
    for path in (root / "tests" / "definitions").glob("rpcgen*.x"):
        shutil.copyfile(path, tmp_path / path.name)
    path = root / "tests" / "definitions" / "rpcgen.x"
    (type_,) = (module.types["in_line"] for module in registry.load(path).modules())
    data = words(1, 0x10000, 3, 4)
    (answer,) = build([path], ["in_line"], tmp_path).answers([("in_line", data)])
    assert answer == (ACCEPTED, len(data), data)
    reading, again = verdicts.judged(type_, data)
    assert again == words(1, 1, 3, 4)
    assert reading.value.b is True
    assert verdicts.compared(type_, reading, again, answer) == ({"inline-bool"}, "")


@needs_c
def test_depth(judge: Judge) -> None:
    def items(count: int) -> bytes:
        return words(*(7, 1) * (count - 1), 7, 0)

    answer, reading, again, kinds = both(judge, "item", items(MAX_DEPTH))
    assert answer == (ACCEPTED, len(again), again)
    assert (reading.error, again, kinds) == (None, items(MAX_DEPTH), set())
    answer, reading, _, kinds = both(judge, "item", items(MAX_DEPTH + 1))
    assert answer == (ACCEPTED, 8 * (MAX_DEPTH + 1), items(MAX_DEPTH + 1))
    assert isinstance(reading.error, OverLimit)
    assert kinds == {"depth"}


@pytest.mark.parametrize(
    ("name", "data", "remarks"),
    [
        ("answer", words(2, 7), 1),
        ("remote_string", words(0x80000000, 0), 1),
        ("remote_nonnull_string", words(1) + b"a\0\0\1", 1),
        ("three", b"abc\xff", 1),
        ("colour", words(5), 0),
        ("virNetMessageHeader", words(0, 0, 0, 99, 0, 0xFFFFFFFF), 0),
        ("remote_nonnull_string", words(2) + b"\xff\xfe\0\0", 0),
    ],
    ids=["boolean", "optional", "padding", "fixed-padding", "enum", "enums-of-a-header", "not-utf-8"],
)
@needs_c
def test_accepts_what_c_accepts_against_the_rfc(judge: Judge, name: str, data: bytes, remarks: int) -> None:
    """Input that is not canonical or has unknown values: both accept it and encode the same, and we report
    it."""
    answer, reading, again, kinds = both(judge, name, data)
    assert answer == (ACCEPTED, len(data), again)
    assert (reading.error, len(reading.remarks), kinds) == (None, remarks, set())
    assert (again == data) == (remarks == 0)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("painted", words(9, 0)),
        ("answer", b"\0\0\0"),
        ("lengths", words(0xFFFFFFFF)),
        ("lengths", words(0, 0xFFFFFFFF)),
        ("lengths", words(0, 0, 0, 0xFFFFFFFD)),
        ("remote_nonnull_string", words(4194305)),
    ],
    ids=["no-arm", "short", "limit", "length-4g", "bytes-4g", "string-limit"],
)
@needs_c
def test_both_reject_invalid_bytes(judge: Judge, name: str, data: bytes) -> None:
    answer, reading, _, _ = both(judge, name, data)
    assert answer.verdict == REFUSED
    assert reading.error is not None


def test_every_documented_row_has_a_test(root: Path) -> None:
    text = (root / "docs" / "disagreements.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| `(test_\w+)` \|$", text, re.MULTILINE)
    assert [kind for kind, _ in rows] == list(verdicts.KINDS)
    assert [test for _, test in rows] == [f"test_{kind.replace('-', '_')}" for kind in verdicts.KINDS]
    for _, test in rows:
        assert callable(globals()[test])
