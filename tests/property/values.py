"""Hypothesis strategies for the values of any XDR type, made from its layout."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from libvirt_proto.codec.layout import (
    Boolean,
    EnumOf,
    FixedOpaque,
    Floating,
    Integer,
    Leaf,
    Node,
    Opaque,
    Optional,
    Sequence,
    String,
    StructNode,
    UnionNode,
    VoidNode,
)

#: Items, bytes and characters at most, where the type allows more.
FEW = 3


def values(node: Node, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a node; a type within itself ends at the third level."""
    match node:
        case Leaf(mark):
            return _leaf(mark)
        case VoidNode():
            return st.none()
        case Optional(element):
            if depth > 3:
                return st.none()
            return st.none() | st.deferred(lambda: values(element, depth + 1))
        case Sequence(element, size, True):
            return st.lists(values(element, depth), min_size=size or 0, max_size=size)
        case Sequence(element, size, False):
            return st.lists(values(element, depth), max_size=FEW if size is None else min(size, FEW))
        case StructNode():
            fields = [values(child, depth) for _, _, child in node.fields]
            return st.builds(lambda *parts: node.type(*parts), *fields)
        case UnionNode():
            return _union(node, depth)


def _union(node: UnionNode, depth: int) -> st.SearchStrategy[Any]:
    choices = [
        st.builds(node.type, st.just(_label(node, label)), values(child, depth))
        for label, (_, child) in node.arms.items()
    ]
    if node.default is not None:
        other = values(node.discriminant[2], depth).filter(lambda number: number not in node.arms)
        choices.append(st.builds(node.type, other, values(node.default[1], depth)))
    return st.one_of(choices)


def _label(node: UnionNode, label: int) -> Any:
    """A label as the discriminant's type spells it."""
    match node.discriminant[2]:
        case Leaf(EnumOf(type_)):
            return type_(label)
        case Leaf(Boolean()):
            return bool(label)
        case _:
            return label


def _leaf(mark: Any) -> st.SearchStrategy[Any]:
    match mark:
        case Integer(bits, True):
            return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        case Integer(bits, False):
            return st.integers(0, 2**bits - 1)
        case EnumOf(type_):
            known = {member.value for member in type_}
            unknown = st.integers(-(2**31), 2**31 - 1).filter(lambda number: number not in known)
            return st.sampled_from(list(type_)) | unknown
        case Boolean():
            return st.booleans()
        case Floating(128):
            return st.binary(min_size=16, max_size=16)
        case Floating(bits):
            return st.floats(width=bits, allow_nan=False)
        case FixedOpaque(size):
            return st.binary(min_size=size, max_size=size)
        case Opaque(limit):
            return st.binary(max_size=9 if limit is None else min(limit, 9))
        case String(limit):
            return _strings(9 if limit is None else min(limit, 9))
    raise AssertionError(mark)


def _strings(limit: int) -> st.SearchStrategy[Any]:
    """str of at most `limit` bytes, and bytes that are no UTF-8."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=limit)
    fits = text.filter(lambda value: len(value.encode()) <= limit)
    return fits | st.binary(max_size=limit).filter(_not_utf8)


def _not_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return False
