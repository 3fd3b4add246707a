"""LIMIT: a peer can exhaust the other, or a limit exceeds the size of a message."""

from __future__ import annotations

from collections.abc import Iterator

from libvirt_proto.codec.sizes import minimum_size, padded
from libvirt_proto.codec.types import (
    Array,
    Node,
    Opaque,
    String,
    Structure,
    UnionType,
    children,
    limit_of,
)

from .index import Declared, Hit, LintIndex


def unbounded_array(index: LintIndex) -> Iterator[Hit]:
    """Yield arrays without a limit."""
    effect = "a peer may send as many elements as a message holds, and the receiver allocates room for each"
    yield from _unbounded(index, Array, "an array", effect)


def unbounded_string(index: LintIndex) -> Iterator[Hit]:
    """Yield strings without a limit."""
    yield from _unbounded(index, String, "a string", "a peer may fill a whole message with it")


def unbounded_opaque(index: LintIndex) -> Iterator[Hit]:
    """Yield opaque data without a limit."""
    yield from _unbounded(index, Opaque, "opaque data", "a peer may fill a whole message with it")


def _unbounded(
    index: LintIndex, kind: type[Array | String | Opaque], what: str, effect: str
) -> Iterator[Hit]:
    for declared in index.declarations():
        for node in declared.parts():
            if isinstance(node, kind) and node.limit is None:
                yield _hit(declared, f"{declared.name} is {what} without a limit", effect)


def unbounded_depth(index: LintIndex) -> Iterator[Hit]:
    """Yield types that contain themselves: the structs and unions of each cycle."""
    for reference, definition in index.types.items():
        is_body = isinstance(definition.node, Structure | UnionType)
        if definition.recursive and is_body and not definition.anonymous:
            message = f"{definition.name} can contain itself without a limit"
            effect = "a peer may nest it until the receiver's stack overflows"
            yield Hit(index.symbol(reference), definition.span, message, effect, reference)


def limit_too_high(index: LintIndex) -> Iterator[Hit]:
    """Yield limits that no message can reach."""
    for declared in index.declarations():
        for node in declared.parts():
            limit = limit_of(node)
            least = 0 if limit is None else _size(index, node, limit.value)
            if limit is not None and least > index.payload_max:
                number = f"{limit.name} ({limit.value:,})" if limit.name else f"{limit.value:,}"
                message = (
                    f"the limit of {declared.name} is {number}, which needs at least {least:,} bytes; "
                    f"the payload of a message holds {index.payload_max:,}"
                )
                effect = "a sender that relies on the limit fails below it"
                yield _hit(declared, message, effect)


def payload_too_large(index: LintIndex) -> Iterator[Hit]:
    """Yield payloads that no message can hold."""
    for payload in index.payloads:
        definition = index.definition(payload)
        if definition.min_size > index.payload_max:
            message = (
                f"{definition.name} needs at least {definition.min_size:,} bytes; "
                f"the payload of a message holds {index.payload_max:,}"
            )
            yield Hit(index.symbol(payload), definition.span, message, "it can never be sent", payload)


def _size(index: LintIndex, node: Node, length: int) -> int:
    """Return the minimum size in bytes of a string, opaque data or an array of a length."""
    elements = children(node)
    return 4 + (length * minimum_size(elements[0], index.schema) if elements else padded(length))


def _hit(declared: Declared, message: str, effect: str) -> Hit:
    return Hit(declared.symbol, declared.span, message, effect, declared.holder)
