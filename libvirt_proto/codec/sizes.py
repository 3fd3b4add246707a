"""Sizes on the wire, in bytes (RFC 4506 §3 and §4)."""

from __future__ import annotations

from .types import Definitions, FixedArray, FixedOpaque, Floating, Integer, Named, Node, Void


def padded(size: int) -> int:
    """Return `size` rounded up to a multiple of four (§3)."""
    return (size + 3) & ~3


def minimum_size(node: Node, definitions: Definitions) -> int:
    """Return the minimum size of a declaration's value: nothing that may be empty holds anything."""
    match node:
        case Named():
            return definitions.definition(node).min_size
        case Integer(bits) | Floating(bits):
            return bits // 8
        case FixedOpaque(size):
            return padded(size.value)
        case FixedArray(element, size):
            return size.value * minimum_size(element, definitions)
        case Void():
            return 0
        case _:
            return 4
