"""Every type of every program of every bundled release: value ↔ bytes, and any bytes."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.codec import interpreter
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.registry import Registry
from libvirt_proto_codegen.releases import folders
from tests.support.examples import examples
from tests.support.oracles import value_or_error
from tests.support.values import seeded_values, typed_values

RELEASES = folders()
QUICK = settings(suppress_health_check=list(HealthCheck))


@cache
def _registry(release: str) -> Registry:
    return registry.release(release)


@cache
def _types(release: str) -> list[XdrType]:
    return [type_ for module in _registry(release).modules() for type_ in module.types.values()]


def _by_name(release: str) -> dict[tuple[str, str], XdrType]:
    return {
        (module.name, name): type_
        for module in _registry(release).modules()
        for name, type_ in module.types.items()
    }


@pytest.mark.parametrize("module", [module.name for module in _registry(RELEASES[-1]).modules()])
def test_every_type_round_trips(module: str) -> None:
    for type_ in _registry(RELEASES[-1]).module(module).types.values():
        for value in seeded_values(type_):
            _round_trip(type_, value)


@pytest.mark.parametrize("release", RELEASES[:-1])
def test_every_other_type_of_an_older_release_round_trips(release: str) -> None:
    newest = {name: type_.text for name, type_ in _by_name(RELEASES[-1]).items()}
    others = [type_ for name, type_ in _by_name(release).items() if newest.get(name) != type_.text]
    assert others
    for type_ in others:
        for value in seeded_values(type_):
            _round_trip(type_, value)


@settings(QUICK, max_examples=examples(2000))
@given(typed_values(_types(RELEASES[-1])))
def test_any_type_round_trips(typed: tuple[XdrType, Any]) -> None:
    _round_trip(*typed)


def _round_trip(type_: XdrType, value: Any) -> None:
    data = type_.to_bytes(value)
    assert type_.from_bytes(data) == value
    assert type_.to_bytes(type_.from_bytes(data)) == data
    assert interpreter.write(type_.types, type_.reference, value) == data
    reading = interpreter.read(type_.types, type_.reference, data)
    assert (reading.value, reading.next, reading.error) == (value, len(data), None)
    assert type_.min_size <= len(data)
    assert type_.max_size is None or len(data) <= type_.max_size


@pytest.mark.parametrize("release", RELEASES)
def test_any_bytes_decode_or_raise(release: str) -> None:
    types = _types(release)

    @settings(QUICK, max_examples=examples(1500))
    @given(st.sampled_from(types), st.lists(_words(), max_size=24).map(b"".join))
    def holds(type_: XdrType, data: bytes) -> None:
        value_or_error(type_, data)

    holds()


@pytest.mark.parametrize("release", RELEASES)
def test_damaged_bytes_decode_or_raise(release: str) -> None:
    @settings(QUICK, max_examples=examples(800))
    @given(typed_values(_types(release)), st.data())
    def holds(typed: tuple[XdrType, Any], data: st.DataObject) -> None:
        type_, value = typed
        encoded = bytearray(type_.to_bytes(value))
        for _ in range(data.draw(st.integers(0, 3))):
            if encoded:
                encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(encoded)))
        value_or_error(type_, bytes(encoded[: cut or None]))

    holds()


def _words() -> st.SearchStrategy[bytes]:
    """Four bytes: small numbers, which lead deep into a type, before others."""
    return st.integers(0, 9).map(struct.Struct(">I").pack) | st.binary(min_size=4, max_size=4)
