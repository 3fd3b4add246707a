"""JSON objects in a text, in all layouts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.jsonlines.objects import ObjectSplitter

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=5)
LAYOUTS = {
    "lines": lambda each: "\n".join(map(json.dumps, each)),
    "pretty": lambda each: "\n".join(json.dumps(one, indent=4) for one in each),
    "no indent": lambda each: "\n".join(json.dumps(one, indent=0) for one in each),
    "concatenated": lambda each: "".join(map(json.dumps, each)),
    "concatenated with blanks": lambda each: " ".join(map(json.dumps, each)),
    "pretty, concatenated": lambda each: "".join(json.dumps(one, indent=1) for one in each),
    "array": json.dumps,
    "pretty array": lambda each: json.dumps(each, indent=2),
    "array of lines": lambda each: "[\n" + ",\n".join(map(json.dumps, each)) + "\n]",
    "lines of Windows": lambda each: "\ufeff" + "\r\n".join(json.dumps(one, indent=2) for one in each),
}


def split(text: str, limit: int = 1 << 20) -> list[tuple[int, bytes]]:
    splitter = ObjectSplitter(limit)
    lines = enumerate(text.encode().split(b"\n"), 1)
    return [*(piece for number, line in lines for piece in splitter.feed(number, line)), *splitter.end()]


@pytest.mark.parametrize("layout", LAYOUTS)
@given(objects=OBJECTS)
def test_finds_objects_in_every_layout(layout: str, objects: list[dict[str, Any]]) -> None:
    text: str = LAYOUTS[layout](objects)  # type: ignore[no-untyped-call]
    assert [json.loads(piece) for _, piece in split(text)] == objects


@given(st.text(alphabet='{}[]",\\ \na1:'))
def test_drops_nothing_but_layout(text: str) -> None:
    kept = b"".join(piece for _, piece in split(text))
    for character in '{}"\\a1:':
        assert kept.count(character.encode()) == text.count(character)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ('{"a":1}\n\n{"b":2}', [(1, b'{"a":1}'), (3, b'{"b":2}')]),
        ('{\n"a":1\n}\n{"b":2}', [(1, b'{\n"a":1\n}'), (4, b'{"b":2}')]),
        ("nonsense", [(1, b"nonsense")]),
        ('x {"a":1} y', [(1, b"x"), (1, b'{"a":1}'), (1, b"y")]),
        ('{"a":"}{"}', [(1, b'{"a":"}{"}')]),
        ('{"a":"\\"}{"}', [(1, b'{"a":"\\"}{"}')]),
        ("[[[", [(1, b"[[[")]),
        ("}", [(1, b"}")]),
        # A message ends the object before it, which has no end.
        ('{\n"a": {\n{"type":"call","serial":1}', [(1, b'{\n"a": {'), (3, b'{"type":"call","serial":1}')]),
        # An object in an array is not a message.
        ('{"a": [\n{"b":1}\n]}', [(1, b'{"a": [\n{"b":1}\n]}')]),
        ('{"a":', [(1, b'{"a":')]),
    ],
)
def test_pieces_and_their_lines(text: str, pieces: list[tuple[int, bytes]]) -> None:
    assert split(text) == pieces


def test_size_of_an_object_is_limited() -> None:
    pieces = split("{\n" + "\n".join(f'"key{number}": 1,' for number in range(1000)), limit=1000)
    assert max(len(piece) for _, piece in pieces) < 1100
    assert sum(len(piece) for _, piece in pieces) > 10_000
