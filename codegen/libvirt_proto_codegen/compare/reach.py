"""The procedures that a change reaches, through all types that contain the changed one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from libvirt_proto.codec.types import Named

from ..schema_index import SchemaIndex


@dataclass(frozen=True, slots=True)
class Payload:
    """A procedure's `args`, `ret` or `msg` on both sides. `program` and `procedure` are the new side's short
    names;
    `place` sorts by program and number."""

    place: tuple[int, int, int]
    program: str
    procedure: str
    part: str
    old: Named
    new: Named


class Reach:
    """Finds the payloads that contain a type on both sides."""

    def __init__(self, old: SchemaIndex, new: SchemaIndex, payloads: Sequence[Payload]) -> None:
        self._old = old
        self._new = new
        self._by_new: dict[Named, list[Payload]] = defaultdict(list)
        for payload in payloads:
            self._by_new[payload.new].append(payload)

    def of(self, old: Named, new: Named) -> tuple[Payload, ...]:
        """Return the payloads whose old type contains `old` and whose new type contains `new`."""
        roots = self._old.containers(old)
        return in_order(
            payload
            for root in self._new.containers(new)
            for payload in self._by_new.get(root, ())
            if payload.old in roots
        )


def in_order(payloads: Iterable[Payload]) -> tuple[Payload, ...]:
    """Return each payload once, by program and number."""
    return tuple(sorted(set(payloads), key=lambda payload: payload.place))
