"""Every type of every program: value → its JSON → the same value and the same bytes; and any JSON
gives a value that can be encoded as JSON again, or an error with its path."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from libvirt_proto import ProtocolError, registry
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.jsonlines.decode import from_plain
from libvirt_proto.jsonlines.encode import to_plain
from libvirt_proto.jsonlines.presenter import JsonLinesPresenter
from libvirt_proto.jsonlines.reader import Parser
from tests.support.examples import examples
from tests.support.frames import REMOTE, captured, frame
from tests.support.handmade import type_named
from tests.support.oracles import line_or_error
from tests.support.values import seeded_values, typed_values, values

QUICK = settings(suppress_health_check=list(HealthCheck))
MODULES = registry.default().modules()
EVERYTHING = type_named("everything")
TYPES = [type_ for module in MODULES for type_ in module.types.values()]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_value_to_json_to_value_for_every_type(module: registry.Module) -> None:
    for type_ in module.types.values():
        for value in seeded_values(type_):
            _round_trip(type_, value)


@settings(QUICK, max_examples=examples(2000))
@given(typed_values(TYPES))
def test_value_to_json_to_value_for_any_type(typed: tuple[XdrType, Any]) -> None:
    _round_trip(*typed)


def _round_trip(type_: XdrType, value: Any) -> None:
    text = msgspec.json.encode(to_plain(type_, value))
    back = from_plain(type_, msgspec.json.decode(text))
    assert back == value
    named = msgspec.json.encode(to_plain(type_, value, named=True))
    assert from_plain(type_, msgspec.json.decode(named)) == value
    assert type_.to_bytes(back) == type_.to_bytes(value)


@settings(QUICK, max_examples=examples(400))
@given(values(EVERYTHING))
def test_every_kind_of_node(value: object) -> None:
    assert from_plain(EVERYTHING, json.loads(json.dumps(to_plain(EVERYTHING, value)))) == value


@settings(QUICK, max_examples=examples(400))
@given(typed_values(TYPES), st.data())
def test_any_json_in_place_of_a_value(typed: tuple[XdrType, Any], data: st.DataObject) -> None:
    """One place of a right value is replaced by something else."""
    type_, right = typed
    tree = to_plain(type_, right)
    edited, path = _edit(tree, data)
    try:
        value = from_plain(type_, edited)
    except ProtocolError as raised:
        error = raised
    else:
        assert from_plain(type_, to_plain(type_, value)) == value
        return
    assert error.offset is None
    # In a union, another discriminant makes the arm wrong: the error is next to the edit.
    assert error.path.startswith(path.rpartition(".")[0])


def _edit(tree: Any, data: st.DataObject) -> tuple[Any, str]:
    """The tree with one place changed, and the path to it."""
    if isinstance(tree, dict) and tree and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(tree)))
        part, path = _edit(tree[key], data)
        return {**tree, key: part}, f"{key}{'' if path[:1] in ('', '[') else '.'}{path}"
    if isinstance(tree, list) and tree and data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(tree) - 1))
        part, path = _edit(tree[index], data)
        return [
            *tree[:index],
            part,
            *tree[index + 1 :],
        ], f"[{index}]{'' if path[:1] in ('', '[') else '.'}{path}"
    return data.draw(ANY), ""


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=3), parts, max_size=3),
    max_leaves=5,
)


@settings(QUICK, max_examples=examples(400))
@given(
    payload=st.binary(max_size=80),
    proc=st.integers(-3, 500),
    type_=st.integers(-1, 8),
    status=st.integers(-1, 4),
    direction=st.sampled_from(["c2s", "s2c", None]),
    prog=st.sampled_from([REMOTE, 0x06900690, 0x6B656570, 5]),
)
@example(payload=b"", proc=1, type_=4, status=0, direction=None, prog=REMOTE)
@example(payload=bytes(3), proc=1, type_=5, status=1, direction="s2c", prog=REMOTE)
@example(payload=b"", proc=1, type_=3, status=1, direction="s2c", prog=REMOTE)
@example(payload=b"abcd", proc=1, type_=3, status=1, direction="c2s", prog=REMOTE)
@example(payload=bytes(4), proc=1, type_=0, status=0, direction=None, prog=5)
def test_any_message_to_its_line_and_back(
    payload: bytes, proc: int, type_: int, status: int, direction: Any, prog: int
) -> None:
    """Whatever a frame holds, its line gives the same bytes."""
    data = frame(payload, prog=prog, proc=proc, type_=type_, status=status)
    line = JsonLinesPresenter(registry.default())(captured(data, direction=direction))
    parsed = Parser(registry.default())(line)
    assert parsed is not None
    assert parsed.frame == data


@settings(QUICK, max_examples=examples(300))
@given(
    st.dictionaries(
        st.sampled_from(
            [*json.loads(JsonLinesPresenter(registry.default())(captured(frame()))), "raw", "missing"]
        ),
        ANY | st.sampled_from(["remote", "auth_list", "call", 1, 0]),
    )
)
def test_any_line_gives_a_message_or_an_error(fields: dict[str, Any]) -> None:
    line_or_error(json.dumps(fields).encode())


@settings(QUICK, max_examples=examples(300))
@given(st.binary())
def test_any_bytes_as_a_line(text: bytes) -> None:
    line_or_error(text)
