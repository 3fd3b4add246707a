"""The native core and anything that is not a plan, a packet, or an argument."""

from __future__ import annotations

import struct
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_proto import native
from tests.fuzz import natives
from tests.support.examples import examples

core = native.core()
pytestmark = pytest.mark.native

NONE = 0xFFFFFFFF
UINT, FIXED_ARRAY, OPTIONAL, STRUCT, UNION = 2, 13, 15, 16, 17


def plan(
    rows: list[tuple[int, ...]], pool: tuple[int, ...] = (), text: bytes = b"", resolver: Any = None
) -> Any:
    """A plan of rows (kind, limit, count, entries, arms, default), and a pool after them."""
    assert core is not None
    words = (1, len(rows), 0, 0, *(word for row in rows for word in row), *pool)
    return core.Plan(struct.pack(f"<{len(words)}I", *words), text, *([resolver] if resolver else []))


@settings(max_examples=examples(4000))
@given(st.binary(max_size=300))
def test_any_words_are_a_plan_or_an_error(data: bytes) -> None:
    natives.plan(data)


@settings(max_examples=examples(4000))
@given(st.binary(max_size=400))
def test_any_calls_of_scanner_return_or_raise(data: bytes) -> None:
    natives.scanner(data)


def test_changed_words_are_a_plan_or_an_error() -> None:
    rng = Random(16)
    good, _ = natives.base()
    count = len(good.words) // 4
    for _ in range(examples(20000)):
        changes = b"".join(
            struct.pack(">HI", rng.randrange(count), rng.choice((0, 1, 2, 13, 16, 17, 255, count, NONE)))
            for _ in range(rng.randrange(1, 8))
        )
        natives.plan(bytes([rng.randrange(4), len(changes) // 6]) + changes + rng.randbytes(4) + bytes(36))


def test_changed_calls_of_scanner_return_or_raise() -> None:
    rng = Random(16)
    seeds = natives.scanner_seeds()
    for _ in range(examples(8000)):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(6)):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 3, 4, 7, 59, 255))
        natives.scanner(bytes(data))


@pytest.mark.parametrize("repeats", [2, 1000, NONE])
@pytest.mark.parametrize("size", [0, 64, 4096])
def test_arrays_of_nothing_end(repeats: int, size: int) -> None:
    """Elements of no size, and arrays of each other."""
    pool = 4 + 6 * 4
    found = plan(
        [
            (FIXED_ARRAY, repeats, 1, 0, 0, NONE),
            (FIXED_ARRAY, repeats, 0, 0, 0, NONE),
            (FIXED_ARRAY, repeats, 3, 0, 0, NONE),
            (STRUCT, 0, 0, pool, 0, NONE),
        ],
        resolver=lambda row: tuple,
    )
    for row in range(4):
        for read in (found.check, found.json, found.decode):
            read(row, bytes(size))
    empty: list[Any] = []
    empty.extend([empty] * 2)
    assert found.encode(0, empty) is None
    assert found.encode(2, [()] * 3) is None


def test_struct_of_itself_ends() -> None:
    pool = 4 + 6
    entries = (0, 0, 0, 0) * 256
    found = plan([(STRUCT, 0, 256, pool, 0, NONE)], entries, resolver=lambda row: list)
    assert found.check(0, bytes(4096)) is None
    assert found.json(0, bytes(4096)) is None
    assert found.decode(0, bytes(4096)) is None


def test_tables_that_overlap_are_checked_in_linear_time() -> None:
    """Each of many rows has the whole pool as its table."""
    count = 30_000
    pool = 4 + 6 * count
    arms = (0,) * (8 * count)
    with pytest.raises(ValueError, match="not valid"):
        plan([(UNION, 2 * count - 1, 0, pool, pool, NONE)] * count, arms)


@pytest.mark.parametrize(
    ("at", "length"), [(0, 4), (4, 0), (2, 2), (NONE, NONE), (NONE, 0), (0, NONE), (1, NONE)]
)
def test_texts_out_of_range_are_refused(at: int, length: int) -> None:
    pool = 4 + 2 * 6
    with pytest.raises(ValueError, match="not valid"):
        plan([(STRUCT, 0, 1, pool, 0, NONE), (UINT, NONE, 0, 0, 0, NONE)], (1, at, length, 0), b"abc")


@pytest.mark.parametrize("kind", [0, 5, 6, 9, 12, 14, OPTIONAL, STRUCT, UNION])
def test_discriminant_is_an_integer(kind: int) -> None:
    pool = 4 + 2 * 6
    with pytest.raises(ValueError, match="not valid"):
        plan([(UNION, 0, 0, pool, pool, 0), (kind, 0, 0, pool, pool, NONE)], (1, 0, 0, 0))


def test_error_of_resolver_is_raised() -> None:
    good, _ = natives.base()
    assert core is not None

    def resolve(row: int) -> Any:
        raise natives.Refusal

    found = core.Plan(good.words, good.text, resolve)
    row = good.rows()["chain"]
    assert found.check(row, bytes(12)) == 12
    with pytest.raises(natives.Refusal):
        found.decode(row, bytes(12))
    with pytest.raises(natives.Refusal):
        found.encode(row, ())


def test_resolver_that_calls_back_gets_one_class() -> None:
    """The first class stays: values may be built with it at that moment."""
    good, _ = natives.base()
    assert core is not None
    row = good.rows()["chain"]
    seen = []

    def resolve(row: int) -> Any:
        if len(seen) < 3:
            seen.append(row)
            assert found.decode(row, bytes(12)) is not None
        return type("Chain", (), {"__init__": lambda self, *fields: None})

    found = core.Plan(good.words, good.text, resolve)
    (first, _), (second, _) = found.decode(row, bytes(12)), found.decode(row, bytes(12))
    assert len(seen) == 3
    assert type(first) is type(second)


def test_scanner_needs_three_classes_or_none() -> None:
    good, _ = natives.base()
    assert core is not None
    found = core.Plan(good.words, good.text)
    for classes in ({"header": int}, {"captured": int}, {"captured": int, "message": int}):
        with pytest.raises(TypeError):
            core.Scanner(found, 0, **classes)


def test_seeds_of_fuzz_targets_hold() -> None:
    from tests.fuzz.targets import TARGETS

    for name in ("plan", "scanner"):
        seeds = list(islice(TARGETS[name].seeds(), 200))
        assert len(seeds) > 3
        for seed in seeds:
            TARGETS[name].check(seed)
