"""The functions that redact values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from libvirt_proto import registry
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


def test_secret_of_a_struct_type_is_blanked_as_a_whole(tmp_path: Path) -> None:
    """Wherever else its types are used, and whichever is met first; lengths and discriminants stay."""
    (tmp_path / "a.x").write_text("""
        union choice switch (int kind) { case 1: string text<9>; default: void; };
        struct inner { string name<9>; int number; opaque more<>; choice chosen<>; inner *next; };
        struct plain_args { inner value; };
        struct remote_secret_set_value_args { inner value; unsigned int flags; };
    """)
    types = registry.load(tmp_path)
    inner, choice = types.type("inner").python_class, types.type("choice").python_class

    def value(name: str, number: int, more: bytes, text: str) -> Any:
        last = inner(name, number, more, [choice(1, text)], None)
        return inner(name, number, more, [choice(1, text), choice(2, None)], last)

    secret, plain = types.type("remote_secret_set_value_args"), types.type("plain_args")
    for order in ((secret, plain), (plain, secret)):
        values = Values(everything=False)
        for type_ in order:
            values.of(type_)
        redact, other = values.of(secret), values.of(plain)
        assert redact is not None
        before = secret.python_class(value("vm1", 7, b"ab", "text"), 3)
        assert redact(before) == secret.python_class(value("xxx", 0, bytes(2), "xxxx"), 3)
        unchanged = plain.python_class(value("vm1", 7, b"\0\0", "text"))
        assert (other(unchanged) if other else unchanged) == unchanged
