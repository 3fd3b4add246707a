"""Indexes over a Schema for the lint rules, and the hits that rules return."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from libvirt_proto.codec.types import Named, Node, Structure, TypeDefinition, UnionType, children

from ..findings import Symbol, SymbolKind
from ..schema import Procedure, Schema
from ..schema_index import PARTS, Placed, SchemaIndex
from ..source import Span

#: Maximum size of a message's payload in libvirt since 1.2.0, in bytes: 32 MiB without the header.
_PAYLOAD_MAX: Final = 33554408
#: The constant that overrides it, if the definitions have it.
_PAYLOAD_MAX_NAME: Final = "VIR_NET_MESSAGE_PAYLOAD_MAX"


@dataclass(frozen=True, slots=True)
class Hit:
    """A match of a rule; the caller adds the rule's identifier and category. `holder` is the type that
    contains it, which determines the procedures that it reaches."""

    symbol: Symbol
    span: Span | None
    message: str
    effect: str | None = None
    holder: Named | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """A node where it is declared: a field, an arm, or a typedef itself."""

    symbol: Symbol
    span: Span | None
    holder: Named
    node: Node

    @property
    def name(self) -> str:
        """`remote_domain_get_info_ret.state`, or a typedef's name."""
        return self.symbol.qualified

    def parts(self) -> Iterator[Node]:
        """Yield the node, and the elements of its arrays and optional-data."""
        below: tuple[Node, ...] = (self.node,)
        while below:
            yield from below
            below = children(below[0])


class LintIndex(SchemaIndex):
    """Indexes over a Schema for the lint rules."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        self._reached: dict[Named, tuple[tuple[Placed, Procedure, str], ...]] = {}

    @cached_property
    def dialect_programs(self) -> tuple[tuple[Placed, Named], ...]:
        """The programs by libvirt's conventions, each with the enum of its procedures. The conventions do not
        apply to programs declared by a `program` block."""
        return tuple((placed, enum) for enum, placed in self.procedure_enums.items())

    @cached_property
    def dialect_modules(self) -> frozenset[str]:
        """The modules that define these programs."""
        return frozenset(placed.module.name for placed, _ in self.dialect_programs)

    def procedures(self) -> Iterator[tuple[Placed, Procedure]]:
        """Yield the procedures of programs by libvirt's conventions."""
        for placed, _ in self.dialect_programs:
            for procedure in placed.program.procedures:
                yield placed, procedure

    def declarations(self) -> Iterator[Declared]:
        """Yield every field, arm and typedef."""
        for holder, definition in self.types.items():
            file = self.file(holder.module)
            for kind, name, span, node in _declared(definition):
                owner = holder.name if kind != "type" else None
                yield Declared(Symbol(kind, name, file, owner=owner), span, holder, node)

    def arguments(self, procedure: Procedure) -> tuple[str, ...]:
        """Return the names of a call's arguments."""
        node = self.definition(procedure.args).node if procedure.args else None
        return tuple(field.name for field in node.fields) if isinstance(node, Structure) else ()

    def reached(self, holder: Named) -> tuple[tuple[Placed, Procedure, str], ...]:
        """Return the payloads that contain a type, in the order of programs and numbers: the program, the
        procedure, the name of the payload's type."""
        if holder not in self._reached:
            found = {
                place: said
                for container in self.containers(holder)
                for place, said in self._payloads.get(container, {}).items()
            }
            self._reached[holder] = tuple(found[place] for place in sorted(found))
        return self._reached[holder]

    @cached_property
    def _payloads(self) -> dict[Named, dict[tuple[int, int, int], tuple[Placed, Procedure, str]]]:
        payloads: dict[Named, dict[tuple[int, int, int], tuple[Placed, Procedure, str]]] = {}
        for at, placed in enumerate(self.programs):
            for procedure in placed.program.procedures:
                for number, part in enumerate(PARTS):
                    if payload := getattr(procedure, part):
                        place = at, procedure.number, number
                        payloads.setdefault(payload, {})[place] = placed, procedure, payload.name
        return payloads

    @property
    def payloads(self) -> Iterator[Named]:
        """The types of all payloads."""
        return iter(self._payloads)

    @cached_property
    def payload_max(self) -> int:
        """The maximum size of a message's payload in bytes: the definitions' own, else that of libvirt
        12.9.0."""
        said = [constant.value for (_, name), constant in self.constants.items() if name == _PAYLOAD_MAX_NAME]
        return said[0] if said else _PAYLOAD_MAX


def _declared(definition: TypeDefinition) -> Iterator[tuple[SymbolKind, str, Span | None, Node]]:
    """Yield the fields or arms of a type, or the type itself: kind of symbol, name, place, node."""
    match definition.node:
        case Structure(fields):
            for field in fields:
                yield "field", field.name, field.span, field.node
        case UnionType() as union:
            for arm in union.every_arm:
                if arm.name:
                    yield "arm", arm.name, arm.span, arm.node
        case node:
            yield "type", definition.name, definition.span, node
