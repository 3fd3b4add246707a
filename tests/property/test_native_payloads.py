"""The native core and Python give the same of any payload: objects, JSON, bytes and acceptance."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from libvirt_proto import registry
from libvirt_proto.registry import Registry
from libvirt_proto_codegen.releases import folders
from tests.support.examples import stride
from tests.support.natives import Comparison, refused

pytestmark = pytest.mark.native

DEFINITIONS = Path(__file__).resolve().parent.parent / "definitions"
#: Damaged payloads of all types of the newest release.
MUTATED = 200_000
#: Share of canonical payloads that may be left to Python.
MAX_REFUSED = 0.001
#: Damaged payloads of each value.
MUTANTS = 12


def _compared(registry_: Registry, values: int, mutants: int, seed: str) -> Counter[str]:
    comparison = Comparison(registry_)
    for type_, row in comparison.types:
        comparison.values(type_, row, Random(f"{seed}/{type_.name}"), values, mutants)
    return comparison.counts


def test_payloads_of_newest_release_are_equal_both_ways() -> None:
    types = sum(len(module.type_names) for module in registry.default().modules())
    values = -(-MUTATED // (types * MUTANTS))
    counts = _compared(registry.default(), values, MUTANTS, "newest")
    assert counts["mutated"] >= MUTATED
    assert counts["mutated accepted"] > MUTATED // 10
    assert counts["mutated refused"] > MUTATED // 10
    assert refused(counts) <= MAX_REFUSED, counts


@pytest.mark.parametrize("release", [folders()[0], folders()[len(folders()) // 2]])
def test_payloads_of_old_release_are_equal_both_ways(release: str) -> None:
    counts = _compared(registry.release(release), 12 // stride() + 2, 2, release)
    assert counts["canonical"] > 1000
    assert refused(counts) <= MAX_REFUSED, counts


@pytest.mark.parametrize("name", ["numbers.x", "everything.x", "judged.x", "names.x"])
def test_payloads_of_custom_definitions_are_equal_both_ways(name: str) -> None:
    counts = _compared(registry.load(DEFINITIONS / name), 100, 4, name)
    assert counts["canonical"] > 100
    # A `float` that is not a number is left to Python, whose version decides about its bits.
    assert refused(counts) <= (0.02 if "float" in (DEFINITIONS / name).read_text() else MAX_REFUSED), counts


class Text(str):
    """A subclass, which Python writes."""


class Number(int):
    """A subclass, which Python writes."""


@pytest.fixture(scope="module")
def remote() -> Comparison:
    return Comparison(registry.default())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("remote_nonnull_domain", (Text("a"), bytes(16), 1)),
        ("remote_nonnull_domain", (bytearray(b"a"), bytes(16), 1)),
        ("remote_nonnull_domain", ("\ud800", bytes(16), 1)),
        ("remote_nonnull_domain", ("a" * 4194305, bytes(16), 1)),
        ("remote_nonnull_domain", ("a", bytes(15), 1)),
        ("remote_nonnull_domain", ("a", bytearray(16), 1)),
        ("remote_nonnull_domain", ("a", "0123456789abcdef", 1)),
        ("remote_nonnull_domain", ("a", bytes(16), True)),
        ("remote_nonnull_domain", ("a", bytes(16), Number(1))),
        ("remote_nonnull_domain", ("a", bytes(16), 2**31)),
        ("remote_nonnull_domain", ("a", bytes(16), -(2**31) - 1)),
        ("remote_nonnull_domain", ("a", bytes(16), 2**100)),
        ("remote_nonnull_domain", ("a", bytes(16), 1.0)),
        ("remote_nonnull_domain", ("a", bytes(16), None)),
        ("remote_node_get_cpu_stats", ("a", -1)),
        ("remote_node_get_cpu_stats", ("a", 2**64)),
        ("remote_connect_list_all_domains_ret", ((), 1)),
        ("remote_connect_list_all_domains_ret", ([None], 1)),
        ("remote_connect_list_all_domains_ret", (None, 1)),
        ("remote_typed_param_value", (1, None)),
        ("remote_typed_param_value", (8, 1)),
        ("remote_typed_param_value", (5, 1)),
        ("remote_typed_param_value", ("1", 1)),
    ],
)
def test_unusual_value_is_left_to_python(remote: Comparison, name: str, fields: tuple[object, ...]) -> None:
    (type_, row), *_ = [each for each in remote.types if each[0].name == name]
    assert type_.python_class is not None
    assert remote.plan.encode(row, type_.python_class(*fields)) is None
    (_, other), *_ = [each for each in remote.types if each[0].name == "remote_nonnull_network"]
    assert remote.plan.encode(other, type_.python_class(*fields)) is None


def test_deep_value_is_left_to_python() -> None:
    comparison = Comparison(registry.load(DEFINITIONS / "numbers.x"))
    (type_, row), *_ = [each for each in comparison.types if each[0].name == "chain"]
    value = None
    for weight in range(99):
        value = type_.python_class(weight, value)  # type: ignore[misc]
        data = type_.to_bytes(value)
        assert comparison.plan.check(row, data) in (None, len(data))
        assert comparison.plan.encode(row, value) in (None, data)
    assert comparison.plan.check(row, data) is None
    assert comparison.plan.decode(row, data) is None
    assert comparison.plan.encode(row, value) is None
