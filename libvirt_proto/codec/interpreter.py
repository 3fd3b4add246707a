"""The careful way: reading and writing by a type's layout, one primitive at a time.

The generated functions are fast because they keep no books: they take canonical XDR and stop at
anything else. What they refuse comes here, to learn where it breaks off (offset, path), what was
good before that, and whether a peer would accept it all the same (RFC 4506 leaves padding and
booleans to the encoder's honour; C's filters take any).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import Any

import msgspec

from ..errors import BadValue, NotCanonical, OverLimit, ProtocolError
from . import primitives as xdr
from .layout import (
    Boolean,
    EnumOf,
    FixedOpaque,
    Floating,
    Integer,
    Leaf,
    Node,
    Opaque,
    Optional,
    Partial,
    Sequence,
    String,
    StructNode,
    UnionNode,
    VoidNode,
)
from .limits import MAX_DEPTH, MAX_REMARKS

_INTEGERS = {
    (32, True): Struct(">i"),
    (32, False): Struct(">I"),
    (64, True): Struct(">q"),
    (64, False): Struct(">Q"),
}
_FLOATS = {32: Struct(">f"), 64: Struct(">d")}
#: Of types within themselves by way of many others, which count as one level.
_TOO_DEEP = "nests deeper than Python's stack"


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What came of reading a value at a position.

    `value` is a Partial (or a shorter list, or None) where `error` says that it broke off; `next`
    is where the value ends, or where the error is. `remarks` are sentences on what is not
    canonical, each with its path; at most MAX_REMARKS, and one that counts the others.
    """

    value: Any
    next: int
    remarks: tuple[str, ...] = ()
    error: ProtocolError | None = None


def read(node: Node, data: bytes, pos: int = 0) -> Reading:
    """Read a value of `node` at `pos`; any bytes give a Reading."""
    reader = _Reader(data)
    try:
        value, after = reader.read(node, pos)
    except ProtocolError as error:
        error.path = reader.path()
        return Reading(error.partial, error.offset or pos, reader.remarks(), error.kept())
    except RecursionError:
        return Reading(None, pos, reader.remarks(), BadValue(_TOO_DEEP, offset=pos))
    return Reading(value, after, reader.remarks())


def write(node: Node, value: Any) -> bytes:
    """The XDR of a value; raises ProtocolError with the path to what does not fit."""
    parts: list[bytes] = []
    writer = _Writer(parts.append)
    try:
        writer.write(node, value)
    except ProtocolError as error:
        error.path = writer.path()
        raise
    except RecursionError:
        raise BadValue(_TOO_DEEP) from None
    return b"".join(parts)


class _Walker:
    """Where a walk is: the steps from the top, and how often a type has been entered within itself."""

    def __init__(self) -> None:
        self._steps: list[str] = []
        self._depth = 0

    def path(self) -> str:
        """The steps as `dom.uuid`, `params[3].value`."""
        return "".join(step if step.startswith("[") else f".{step}" for step in self._steps).lstrip(".")

    def _enter(self, node: StructNode | UnionNode, offset: int | None = None) -> int:
        before = self._depth
        if node.type.xdr_recursive:
            if before >= MAX_DEPTH:
                raise OverLimit(MAX_DEPTH, before + 1, "depth", offset=offset)
            self._depth += 1
        return before


class _Reader(_Walker):
    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data
        self._remarks: list[str] = []
        self._left_out = 0

    def remarks(self) -> tuple[str, ...]:
        """What is not canonical, in sentences."""
        more = (f"not canonical in {self._left_out:,} more places",) if self._left_out else ()
        return (*self._remarks, *more)

    def read(self, node: Node, pos: int) -> tuple[Any, int]:
        match node:
            case Leaf(mark):
                try:
                    return _read_leaf(mark, self._data, pos)
                except NotCanonical as error:
                    return self._remark(error)
            case StructNode():
                return self._struct(node, pos)
            case UnionNode():
                return self._union(node, pos)
            case Sequence():
                return self._sequence(node, pos)
            case Optional(element):
                try:
                    present, pos = xdr.read_bool(self._data, pos)
                except NotCanonical as error:
                    present, pos = self._remark(error)
                return self.read(element, pos) if present else (None, pos)
            case VoidNode():
                return None, pos

    def _remark(self, error: NotCanonical) -> tuple[Any, int]:
        if len(self._remarks) < MAX_REMARKS:
            error.path = self.path()
            self._remarks.append(str(error))
        else:
            self._left_out += 1
        return error.value, error.next

    def _struct(self, node: StructNode, pos: int) -> tuple[Any, int]:
        before = self._enter(node, pos)
        fields: dict[str, Any] = {}
        for name, _, child in node.fields:
            self._steps.append(name)
            try:
                fields[name], pos = self.read(child, pos)
            except ProtocolError as error:
                if error.partial is not None:
                    fields[name] = error.partial
                error.partial = Partial(node.name, fields)
                raise
            self._steps.pop()
        self._depth = before
        return node.type(*fields.values()), pos

    def _union(self, node: UnionNode, pos: int) -> tuple[Any, int]:
        before = self._enter(node, pos)
        name, _, child = node.discriminant
        self._steps.append(name)
        discriminant, after = self.read(child, pos)
        arm = node.arm(discriminant)
        if arm is None:
            raise xdr.no_arm(discriminant, pos)
        self._steps.pop()
        arm_name, arm_node = arm
        self._steps.append(arm_name or "")
        try:
            value, after = self.read(arm_node, after)
        except ProtocolError as error:
            fields = {name: discriminant}
            if error.partial is not None and arm_name:
                fields[arm_name] = error.partial
            error.partial = Partial(node.name, fields)
            raise
        self._steps.pop()
        self._depth = before
        return node.type(discriminant, value), after

    def _sequence(self, node: Sequence, pos: int) -> tuple[Any, int]:
        smallest = min_size(node.element)
        if node.fixed:
            count = xdr.need_elements(self._data, pos, node.size or 0, smallest)
        else:
            count, pos = xdr.read_count(
                self._data, pos, xdr.UNBOUNDED if node.size is None else node.size, smallest
            )
        items: list[Any] = []
        for index in range(count):
            self._steps.append(f"[{index}]")
            try:
                item, pos = self.read(node.element, pos)
            except ProtocolError as error:
                if error.partial is not None:
                    items.append(error.partial)
                error.partial = items
                raise
            items.append(item)
            self._steps.pop()
        return items, pos


def _read_leaf(mark: Any, data: bytes, pos: int) -> tuple[Any, int]:
    match mark:
        case Integer(bits, signed):
            return xdr.read_number(_INTEGERS[bits, signed], data, pos)
        case EnumOf(type_):
            number, after = xdr.read_number(_INTEGERS[32, True], data, pos)
            return _named(type_, number), after
        case Boolean():
            return xdr.read_bool(data, pos)
        case Floating(128):
            return xdr.read_fixed_opaque(data, pos, 16)
        case Floating(bits):
            return xdr.read_number(_FLOATS[bits], data, pos)
        case FixedOpaque(size):
            return xdr.read_fixed_opaque(data, pos, size)
        case Opaque(limit):
            return xdr.read_opaque(data, pos, xdr.UNBOUNDED if limit is None else limit)
        case String(limit):
            try:
                return xdr.read_string(data, pos, xdr.UNBOUNDED if limit is None else limit)
            except NotCanonical as error:
                error.value = xdr.text(error.value) if isinstance(error.value, bytes) else error.value
                raise
    raise TypeError(f"{mark!r} is no mark")  # pragma: no cover - there are no others


def _named(type_: type[enum.IntEnum], number: int) -> int:
    try:
        return type_(number)
    except ValueError:
        return number


class _Writer(_Walker):
    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__()
        self._put = put

    def write(self, node: Node, value: Any) -> None:
        match node:
            case Leaf(mark):
                self._leaf(mark, value)
            case StructNode():
                self._struct(node, value)
            case UnionNode():
                self._union(node, value)
            case Sequence():
                self._sequence(node, value)
            case Optional(element):
                xdr.write_bool(value is not None, self._put)
                if value is not None:
                    self.write(element, value)
            case VoidNode():
                xdr.no_value(value)

    def _struct(self, node: StructNode, value: Any) -> None:
        if not isinstance(value, node.type):
            raise BadValue(f"{value!r} is no {node.type.__name__}")
        before = self._enter(node)
        for name, attribute, child in node.fields:
            self._steps.append(name)
            self.write(child, getattr(value, attribute))
            self._steps.pop()
        self._depth = before

    def _union(self, node: UnionNode, value: Any) -> None:
        if not isinstance(value, node.type):
            raise BadValue(f"{value!r} is no {node.type.__name__}")
        before = self._enter(node)
        name, attribute, child = node.discriminant
        discriminant = getattr(value, attribute)
        self._steps.append(name)
        self.write(child, discriminant)
        arm = node.arm(discriminant)
        if arm is None:
            raise xdr.no_arm(discriminant)
        self._steps[-1] = arm[0] or "value"
        self.write(arm[1], getattr(value, value.__struct_fields__[1]))
        self._steps.pop()
        self._depth = before

    def _sequence(self, node: Sequence, value: Any) -> None:
        if not isinstance(value, list | tuple):
            raise BadValue(f"{value!r} is no list")
        if node.fixed:
            xdr.check_length(list(value), node.size or 0)
        else:
            xdr.write_count(len(value), xdr.UNBOUNDED if node.size is None else node.size, self._put)
        for index, item in enumerate(value):
            self._steps.append(f"[{index}]")
            self.write(node.element, item)
            self._steps.pop()

    def _leaf(self, mark: Any, value: Any) -> None:
        match mark:
            case Integer(bits, signed):
                self._integer(_INTEGERS[bits, signed], value)
            case EnumOf():
                self._integer(_INTEGERS[32, True], value)
            case Boolean():
                xdr.write_bool(value, self._put)
            case Floating(128):
                xdr.write_fixed_opaque(value, 16, self._put)
            case Floating(bits):
                xdr.write_number(_FLOATS[bits], value, self._put)
            case FixedOpaque(size):
                xdr.write_fixed_opaque(value, size, self._put)
            case Opaque(limit):
                xdr.write_opaque(value, xdr.UNBOUNDED if limit is None else limit, self._put)
            case String(limit):
                xdr.write_string(value, xdr.UNBOUNDED if limit is None else limit, self._put)

    def _integer(self, layout: struct.Struct, value: Any) -> None:
        xdr.write_number(layout, value, self._put)


@cache
def min_size(node: Node) -> int:
    """The fewest bytes that a value of a node takes. A type within itself is behind optional-data
    or a count, so that this ends."""
    match node:
        case Leaf(Integer(bits) | Floating(bits)):
            return bits // 8
        case Leaf(FixedOpaque(size)):
            return size + (-size & 3)
        case Sequence(element, size, True):
            return (size or 0) * min_size(element)
        case StructNode():
            return sum(min_size(child) for _, _, child in node.fields)
        case UnionNode():
            arms = [*node.arms.values(), *((node.default,) if node.default else ())]
            return 4 + min((min_size(child) for _, child in arms), default=0)
        case VoidNode():
            return 0
        case _:
            return 4
