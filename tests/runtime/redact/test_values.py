"""The functions that redact values."""

from __future__ import annotations

from typing import Any

import pytest

from libvirt_proto.redact.values import Values
from tests.support.doubling import LEVELS, NAMES, counted_visits, doubling_types


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_types_within_types_are_visited_once(
    name: str, everything: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_ = doubling_types()[f"{name}{LEVELS - 1}"]
    visits = counted_visits(monkeypatch)
    assert Values(everything=everything).of(type_) is not None
    assert visits() < 8 * LEVELS


@pytest.mark.parametrize(
    ("everything", "leaf"),
    [
        (False, (5, "y", bytes(2), 1, 0.5, True)),
        (True, (0, "x", bytes(2), 0, 0.0, False)),
    ],
)
def test_types_within_types_are_redacted_at_every_level(everything: bool, leaf: tuple[Any, ...]) -> None:
    types = doubling_types()
    value = types["either0"].python_class(5, "y", b"ab", 1, 0.5, True)
    expected = types["either0"].python_class(*leaf)
    for level in range(1, LEVELS):
        made = types[f"either{level}"].python_class
        value, expected = made(level % 2, value), made(level % 2, expected)
    redact = Values(everything=everything).of(types[f"either{LEVELS - 1}"])
    assert redact is not None
    assert redact(value) == expected
