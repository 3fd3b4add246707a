"""Candidate types for bytes of an unknown type, best first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import msgspec

from ..codec.xdrtype import XdrType
from ..errors import ProtocolError
from ..registry import Registry
from .evidence import Weight, background, weigh
from .wire_formats import WireFormat, WireFormats

#: The maximum number of bytes to try types on: each of the many types takes time.
MAX_BYTES: Final = 65_536
#: How much less likely a type is that no message carries by itself; and one of any program but the largest,
#: of which most messages are.
_INNER: Final = 8.0
_OTHER: Final = 2.0
#: The minimum evidence (in bits) for a type that leaves bytes over.
_PREFIX: Final = 15.0


class Payload(msgspec.Struct, frozen=True):
    """Types with the same wire format that can decode the bytes.

    `types` are names in the .x, those of payloads first. `used` bytes are the value, `left` come after it.
    `bits` is the evidence, `weight` its basis; `value` is of the first type, `type`.
    """

    types: tuple[str, ...]
    used: int
    left: int
    bits: float
    weight: Weight
    type: XdrType
    value: Any


class Payloads:
    """Ranks the types of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def rank(self, data: bytes) -> list[Payload]:
        """Rank the types that can decode the bytes from the first one on: types that use all bytes, best
        first, then those that leave some over. Only canonical XDR counts.

        Raises ValueError for more than MAX_BYTES.
        """
        if len(data) > MAX_BYTES:
            raise ValueError(f"{len(data)} bytes are more than {MAX_BYTES}")
        before = background(data)
        found = [each for types in self._layouts for each in self._read(types, data, before)]
        return sorted(found, key=lambda each: (each.left > 0, -each.bits, each.types))

    def _read(self, types: list[XdrType], data: bytes, before: list[float]) -> Iterator[Payload]:
        """The types of one layout that can be read; bounds may keep some of them out."""
        taken: list[XdrType] = []
        value, used = None, 0
        for type_ in types:
            try:
                read, end = type_.decode(data, 0)
            except (ProtocolError, RecursionError):
                continue
            if not taken:
                value, used = read, end
            taken.append(type_)
        if not taken or used == 0:
            return
        first, left = taken[0], len(data) - used
        weight = weigh(first, value)
        bits = before[used // 4] - weight.bits - self._costs.get(first.name, _INNER)
        if left == 0 or bits >= _PREFIX:
            names = tuple(type_.name for type_ in taken)
            yield Payload(names, used, left, bits, weight, first, value)

    @cached_property
    def _costs(self) -> dict[str, float]:
        """Costs in bits of the types that messages carry as payloads: higher for less likely types."""
        programs = sorted(self._registry.programs(), key=lambda program: len(program.procedures))
        hole = self._registry.stream_hole
        costs = {type_.name: _OTHER for type_ in (self._registry.error, hole) if type_ is not None}
        for program in programs:
            cost = 0.0 if program is programs[-1] else _OTHER
            for procedure in program.procedures:
                payloads = (procedure.args, procedure.ret, procedure.msg)
                costs.update((type_.name, cost) for type_ in payloads if type_ is not None)
        return costs

    @cached_property
    def _layouts(self) -> list[list[XdrType]]:
        """All types, those that are the same on the wire together; payloads first."""
        formats = WireFormats(MAX_BYTES)
        layouts: dict[WireFormat, dict[str, XdrType]] = {}
        for module in self._registry.modules():
            for type_ in module.types.values():
                layouts.setdefault(formats.of(type_), {}).setdefault(type_.name, type_)
        return [
            sorted(types.values(), key=lambda type_: (self._costs.get(type_.name, _INNER), type_.name))
            for types in layouts.values()
        ]
