"""LIMIT: a peer can be made to take too much, or a limit says less than the size of a message."""

from __future__ import annotations

from collections.abc import Iterator

from libvirt_proto.codec.sizes import minimum_size
from libvirt_proto.codec.types import Array, Node, Opaque, String, Structure, UnionType

from .view import Declared, Hit, View


def unbounded_array(view: View) -> Iterator[Hit]:
    """Arrays without a limit."""
    effect = "a peer may send as many elements as a message holds, and the receiver allocates room for each"
    yield from _unbounded(view, Array, "an array", effect)


def unbounded_string(view: View) -> Iterator[Hit]:
    """Strings without a limit."""
    yield from _unbounded(view, String, "a string", "a peer may fill a whole message with it")


def unbounded_opaque(view: View) -> Iterator[Hit]:
    """Opaque data without a limit."""
    yield from _unbounded(view, Opaque, "opaque data", "a peer may fill a whole message with it")


def _unbounded(view: View, kind: type[Array | String | Opaque], what: str, effect: str) -> Iterator[Hit]:
    for declared in view.declarations():
        for node in declared.parts():
            if isinstance(node, kind) and node.limit is None:
                yield _hit(declared, f"{declared.name} is {what} without a limit", effect)


def unbounded_depth(view: View) -> Iterator[Hit]:
    """Types that contain themselves. Of those on the way back to itself, the structs and unions are named."""
    for reference, definition in view.types.items():
        is_body = isinstance(definition.node, Structure | UnionType)
        if definition.recursive and is_body and not definition.anonymous:
            message = f"{definition.name} can contain itself, and nothing says how often"
            effect = "a peer may nest it until the receiver's stack is used up"
            yield Hit(view.symbol(reference), definition.span, message, effect, reference)


def limit_too_high(view: View) -> Iterator[Hit]:
    """Limits that no message can reach."""
    for declared in view.declarations():
        for node in declared.parts():
            least = _least_at_limit(view, node)
            if least is not None and least > view.payload_max:
                assert isinstance(node, Array | Opaque | String)
                assert node.limit is not None
                limit = (
                    f"{node.limit.name} ({node.limit.value:,})"
                    if node.limit.name
                    else f"{node.limit.value:,}"
                )
                message = (
                    f"the limit of {declared.name} is {limit}, which takes {least:,} bytes or more; "
                    f"the payload of a message holds {view.payload_max:,}"
                )
                effect = "a sender that relies on the limit fails below it"
                yield _hit(declared, message, effect)


def payload_too_large(view: View) -> Iterator[Hit]:
    """Payloads that no message can hold."""
    for payload in view.payloads:
        definition = view.definition(payload)
        if definition.min_size > view.payload_max:
            message = (
                f"{definition.name} takes {definition.min_size:,} bytes or more; "
                f"the payload of a message holds {view.payload_max:,}"
            )
            yield Hit(view.symbol(payload), definition.span, message, "it can never be sent", payload)


def _least_at_limit(view: View, node: Node) -> int | None:
    """The bytes that an array, a string or opaque data takes at its limit, at the least."""
    match node:
        case String(limit) | Opaque(limit) if limit:
            return 4 + (limit.value + 3) // 4 * 4
        case Array(element, limit) if limit:
            return 4 + limit.value * minimum_size(element, view.schema)
        case _:
            return None


def _hit(declared: Declared, message: str, effect: str) -> Hit:
    return Hit(declared.symbol, declared.span, message, effect, declared.holder)
