"""The native core and Python, compared on payloads of any types."""

from __future__ import annotations

import struct
from collections import Counter
from random import Random
from typing import Any

from msgspec import json

from libvirt_proto import ProtocolError, native
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.jsonlines.encode import encoder
from libvirt_proto.native_plan_builder import build
from libvirt_proto.registry import Registry
from tests.differential.drawing import damaged

from .values import random_value


class Comparison:
    """The types of a registry, read and written both ways.

    `counts` has the number of payloads, by kind, and of those that the native core refused; an AssertionError
    reports a difference.
    """

    def __init__(self, registry: Registry) -> None:
        core = native.core()
        assert core is not None
        made = build(registry)
        self.plan: native.Plan = core.Plan(made.words, made.text, made.resolver(registry))
        self.types = [(registry.module(module).types[name], row) for module, name, row in made.types]
        self.counts: Counter[str] = Counter()

    def values(self, type_: XdrType, row: int, rng: Random, count: int, mutants: int) -> None:
        """Compare random values of a type, and damaged bytes of each."""
        for _ in range(count):
            value = random_value(type_, rng)
            data = type_.to_bytes(value)
            self.canonical(type_, row, value, data)
            for _ in range(mutants):
                self.mutated(type_, row, damaged(data, rng))

    def canonical(self, type_: XdrType, row: int, value: Any, data: bytes) -> None:
        """Compare the objects, the JSON and the bytes of a value."""
        self.counts["canonical"] += 1
        found = self._read(type_, row, data)
        if found is None:
            self.counts["canonical refused"] += 1
            return
        assert found == len(data), place(type_, data)
        written = self.plan.encode(row, value)
        self.counts["encode refused"] += written is None
        assert written in (None, data), place(type_, data)

    def mutated(self, type_: XdrType, row: int, data: bytes) -> None:
        """Compare the acceptance of any bytes, and what is read from them."""
        self.counts["mutated"] += 1
        end = self._read(type_, row, data)
        self.counts["mutated accepted" if end is not None else "mutated refused"] += 1

    def _read(self, type_: XdrType, row: int, data: bytes) -> int | None:
        """Return the end of a value that both ways read alike; None if the native core refused it."""
        end = self.plan.check(row, data)
        built = self.plan.decode(row, data)
        text = self.plan.json(row, data)
        if end is None:
            assert built is None, place(type_, data)
            assert text is None, place(type_, data)
            return None
        try:
            value, expected = type_.decode(data, 0)
        except (ProtocolError, struct.error, RecursionError):
            raise AssertionError(f"accepted: {place(type_, data)}") from None
        assert end == expected, place(type_, data)
        if built is None:
            self.counts["objects refused"] += 1
        else:
            assert built[1] == end, place(type_, data)
            assert type(built[0]) is type(value), place(type_, data)
            assert repr(built[0]) == repr(value), place(type_, data)  # with the classes of its parts
            again = self.plan.encode(row, built[0])
            if again not in (None, data[:end]):  # a pointer to a pointer to nothing is written as nothing
                assert again == type_.to_bytes(value), place(type_, data)
        if end != len(data):
            assert text is None, place(type_, data)
        elif text is None:
            self.counts["JSON refused"] += 1
        else:
            plain = encoder(type_.types, True).function(type_.reference)(value)
            assert text == json.encode(plain), place(type_, data)
        return end


def place(type_: XdrType, data: bytes) -> str:
    """Name a case."""
    return f"{type_.name} {data.hex()}"


def refused(counts: Counter[str]) -> float:
    """Return the share of canonical values that Python has to read, to write, or to convert to JSON."""
    kinds = ("canonical refused", "objects refused", "JSON refused", "encode refused")
    return sum(counts[kind] for kind in kinds) / counts["canonical"]
