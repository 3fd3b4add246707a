"""The generator of random values: three sources, one set of features."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.codec.visitor import walk
from libvirt_proto.codec.xdrtype import XdrType
from tests.fuzz.taker import Taker
from tests.support.handmade import Colour, Everything, type_named
from tests.support.values import MAX_LEVELS, NARROW, TooLarge, fuzzed_value, random_value, values

EVERYTHING = type_named("everything")
#: A search that finds a value finds it in each run.
SEARCH = settings(max_examples=100, database=None, derandomize=True)


@cache
def seeded() -> list[Any]:
    rng = Random(12)
    return [random_value(EVERYTHING, rng) for _ in range(1000)]


@cache
def fuzzed() -> list[Any]:
    rng = Random(12)
    return [fuzzed_value(EVERYTHING, Taker(rng.randbytes(400))) for _ in range(1000)]


Holds = Callable[[Any], bool]

FEATURES: list[tuple[str, str, Holds]] = [
    ("a member", "colour", lambda value: value is Colour.BLUE),
    ("a number without a member", "colour", lambda value: not isinstance(value, Colour)),
    ("a string that is not UTF-8", "text", lambda value: isinstance(value, bytes)),
    ("a string that is not ASCII", "text", lambda value: isinstance(value, str) and not value.isascii()),
    ("no optional data", "maybe_int", lambda value: value is None),
    ("optional data", "maybe_int", lambda value: value is not None),
    ("an empty array", "ints", lambda value: not value),
    ("an array at its limit", "two_ints", lambda value: len(value) == 2),
    ("a void arm", "shape", lambda value: value.c == 0),
    ("an arm of its own", "shape", lambda value: value.c == 5),
    ("the default arm", "shape", lambda value: value.c not in (0, 5)),
    ("a large number", "unsigned_hyper_value", lambda value: value > 2**63),
    ("a negative number", "int_value", lambda value: value < -(2**30)),
]


@pytest.mark.parametrize(("type_", "holds"), [row[1:] for row in FEATURES], ids=[row[0] for row in FEATURES])
def test_every_source_draws(type_: str, holds: Holds) -> None:
    named, rng = type_named(type_), Random(3)
    assert any(holds(random_value(named, rng)) for _ in range(500))
    assert any(holds(fuzzed_value(named, Taker(rng.randbytes(40)))) for _ in range(500))
    assert holds(find(values(named), holds, settings=settings(SEARCH, max_examples=2000)))


@pytest.mark.parametrize("drawn", [seeded, fuzzed])
def test_values_are_of_their_type(drawn: Callable[[], list[Any]]) -> None:
    for value in drawn()[:300]:
        assert isinstance(value, Everything)
        data = EVERYTHING.to_bytes(value)
        assert repr(EVERYTHING.from_bytes(data)) == repr(value)


def test_a_failing_value_shrinks_to_the_smallest() -> None:
    found = find(values(EVERYTHING), lambda value: bool(value.params), settings=SEARCH)
    assert len(found.params) == 1
    assert (found.flag, found.text, found.rest, found.big, found.dom, found.model) == (
        False,
        "",
        b"",
        [],
        None,
        [0, 0, 0, 0],
    )
    number = find(values(type_named("int_value")), lambda value: value > 1000, settings=SEARCH)
    assert number == 1001


def test_a_seed_gives_the_same_value() -> None:
    assert random_value(EVERYTHING, Random(5)) == random_value(EVERYTHING, Random(5))
    assert random_value(EVERYTHING, Random(5)) != random_value(EVERYTHING, Random(6))


def test_integers_of_a_seed_fit_their_type_in_c() -> None:
    bits, signed = NARROW["char"]
    assert signed
    numbers = {number for value in seeded() for number in value.model}
    assert numbers >= {-(1 << (bits - 1)), (1 << (bits - 1)) - 1, 0, -1, 1}
    assert all(-(1 << (bits - 1)) <= number < 1 << (bits - 1) for number in numbers)
    assert any(abs(number) > 255 for value in fuzzed() for number in value.model)


def test_no_bytes_at_all_give_the_simplest_value() -> None:
    value = fuzzed_value(EVERYTHING, Taker(b""))
    assert (value.flag, value.text, value.maybe, value.c, value.params) == (False, "", None, Colour.RED, [])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], XdrType]:
    path: Path = tmp_path_factory.mktemp("values") / "own.x"
    path.write_text(
        "struct chain { int n; chain *next; };\n"
        "struct tree { tree more<>; };\n"
        "struct deep { chain a; tree b; };\n"
        "typedef opaque large[65536];\n"
        "typedef hyper many[2000];\n"
        "struct holds { int n; many all; };\n"
    )
    return registry.load(path).type


def levels(type_: XdrType, value: Any) -> int:
    """Count the arrays and optional-data around the innermost part of a value."""
    nodes = walk(type_.types, type_.reference, value)
    return max(path.count("next") + path.count("[]") for path, _, held in nodes if held is not None)


@pytest.mark.parametrize("name", ["chain", "tree", "deep"])
def test_recursion_ends(own: Callable[[str], XdrType], name: str) -> None:
    type_, rng = own(name), Random(1)
    drawn = [random_value(type_, rng) for _ in range(2000)]
    # The bytes ask for more at every turn.
    drawn.append(fuzzed_value(type_, Taker(b"\1" * 5000)))
    assert max(levels(type_, value) for value in drawn) == MAX_LEVELS

    @given(values(type_))
    def holds(value: Any) -> None:
        assert levels(type_, value) <= MAX_LEVELS

    holds()


@pytest.mark.parametrize("name", ["large", "many", "holds"])
def test_a_type_that_is_too_large_for_a_fuzzer(own: Callable[[str], XdrType], name: str) -> None:
    with pytest.raises(TooLarge):
        fuzzed_value(own(name), Taker(b""))
    assert own(name).to_bytes(random_value(own(name), Random(1)))


@given(st.data())
def test_limits_hold(data: st.DataObject) -> None:
    for name, limit in (("two_ints", 2), ("two_params", 2)):
        assert len(data.draw(values(type_named(name)))) <= limit
