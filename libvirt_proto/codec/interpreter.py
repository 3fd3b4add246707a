"""Read and write by a type's definition, one primitive at a time.

The generated functions are fast because they keep no books: they accept canonical XDR and stop at anything
else. The interpreter reads the same bytes again to learn where they break off (offset, path), what was good
before that, and whether a peer would accept them all the same (RFC 4506 leaves zero padding and booleans to
the encoder; C's filters accept any).
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from ..errors import BadValue, NotCanonical, OverLimit, ProtocolError, Truncated
from . import primitives
from . import types as xdr
from .limits import MAX_DEPTH, MAX_REMARKS
from .sizes import minimum_size
from .values import Partial, PartialText

#: (bits, signed) → the functions that read and write it.
_INTEGERS = {
    (32, True): (primitives.read_int, primitives.write_int),
    (32, False): (primitives.read_unsigned_int, primitives.write_unsigned_int),
    (64, True): (primitives.read_hyper, primitives.write_hyper),
    (64, False): (primitives.read_unsigned_hyper, primitives.write_unsigned_hyper),
}
_FLOATS = {
    32: (primitives.read_float, primitives.write_float),
    64: (primitives.read_double, primitives.write_double),
}
#: Of types within themselves by way of many others, which count as one level.
_TOO_DEEP = "nests deeper than Python's stack"


class Reading(msgspec.Struct, frozen=True, gc=False):
    """The result of reading a value at a position.

    `value` is a Partial (or a shorter list, a PartialText, or None) if reading stopped at `error`; `next` is
    the position after the value, or of the error. `remarks` are sentences on non-canonical parts, each
    with its path: at most MAX_REMARKS, and one that counts the others.
    """

    value: Any
    next: int
    remarks: tuple[str, ...] = ()
    error: ProtocolError | None = None


class BoundTypes(xdr.Definitions, Protocol):
    """Type definitions and the classes of their values."""

    def python_class(self, reference: xdr.Named) -> type[Any]:
        """Return the class of a struct, a union or an enumeration."""


def read(types: BoundTypes, node: xdr.Node, data: bytes, pos: int = 0) -> Reading:
    """Read a value of `node` at `pos`; any bytes give a Reading."""
    reader = _Reader(types, data)
    try:
        value, after = reader.read(node, pos)
    except ProtocolError as error:
        error.path = reader.path()
        return Reading(error.partial, error.offset or pos, reader.remarks(), error.kept())
    except RecursionError:
        return Reading(None, pos, reader.remarks(), BadValue(_TOO_DEEP, offset=pos))
    return Reading(value, after, reader.remarks())


def write(types: BoundTypes, node: xdr.Node, value: Any) -> bytes:
    """Return the XDR of a value; raises ProtocolError with the path to a part that does not fit."""
    parts: list[bytes] = []
    writer = _Writer(types, parts.append)
    try:
        writer.write(node, value)
    except ProtocolError as error:
        error.path = writer.path()
        raise
    except RecursionError:
        raise BadValue(_TOO_DEEP) from None
    return b"".join(parts)


class _Walk:
    """The position of a walk: the steps from the top, and how often a type was entered within itself."""

    def __init__(self, types: BoundTypes) -> None:
        self._types = types
        self._steps: list[str] = []
        self._depth = 0

    def path(self) -> str:
        """Return the steps as `dom.uuid`, `params[3].value`."""
        return "".join(step if step.startswith("[") else f".{step}" for step in self._steps).lstrip(".")

    def _enter(self, reference: xdr.Named, offset: int | None = None) -> int:
        before = self._depth
        if self._types.definition(reference).recursive:
            if before >= MAX_DEPTH:
                raise OverLimit(MAX_DEPTH, before + 1, "depth", offset=offset)
            self._depth += 1
        return before


class _Reader(_Walk):
    def __init__(self, types: BoundTypes, data: bytes) -> None:
        super().__init__(types)
        self._data = data
        self._remarks: list[str] = []
        self._left_out = 0

    def remarks(self) -> tuple[str, ...]:
        """Return a sentence for each part that is not canonical."""
        more = (f"not canonical in {self._left_out:,} more places",) if self._left_out else ()
        return (*self._remarks, *more)

    def read(self, node: xdr.Node, pos: int) -> tuple[Any, int]:
        # Few frames for each level of a type: Python's stack has to hold MAX_DEPTH of them.
        reference = node
        while isinstance(node, xdr.Named):
            reference, node = node, self._types.definition(node).node
        match node:
            case xdr.Structure() if isinstance(reference, xdr.Named):
                return self._structure(reference, node, pos)
            case xdr.UnionType() if isinstance(reference, xdr.Named):
                return self._union(reference, node, pos)
            case xdr.Enumeration() if isinstance(reference, xdr.Named):
                return primitives.read_enum(self._data, pos, self._types.python_class(reference))
            case xdr.Optional(element):
                present, pos = self._scalar(xdr.Boolean(), pos)
                return self.read(element, pos) if present else (None, pos)
            case xdr.FixedArray(element, xdr.Bound(size)):
                smallest = minimum_size(element, self._types)
                primitives.need(self._data, pos, size * smallest)
                return self._elements(element, size, pos)
            case xdr.Array(element, limit):
                smallest = minimum_size(element, self._types)
                count, pos = primitives.read_count(self._data, pos, _number(limit), smallest)
                return self._elements(element, count, pos)
            case _:
                return self._scalar(node, pos)

    def _scalar(self, node: xdr.Node, pos: int) -> tuple[Any, int]:
        data = self._data
        try:
            match node:
                case xdr.Integer(bits, signed):
                    read, _ = _INTEGERS[bits, signed]
                    return read(data, pos)
                case xdr.String(limit):
                    return _read_string(data, pos, _number(limit))
                case xdr.Opaque(limit):
                    return primitives.read_opaque(data, pos, _number(limit))
                case xdr.FixedOpaque(xdr.Bound(size)):
                    return primitives.read_fixed_opaque(data, pos, size)
                case xdr.Boolean():
                    return primitives.read_bool(data, pos)
                case xdr.Floating(128):
                    return primitives.read_fixed_opaque(data, pos, 16)
                case xdr.Floating(bits):
                    read_float, _ = _FLOATS[bits]
                    return read_float(data, pos)
                case xdr.Void():
                    return None, pos
        except NotCanonical as error:
            return self._remark(error)
        raise AssertionError(f"{node!r} has parts")

    def _remark(self, error: NotCanonical) -> tuple[Any, int]:
        if len(self._remarks) < MAX_REMARKS:
            error.path = self.path()
            self._remarks.append(str(error))
        else:
            self._left_out += 1
        return error.value, error.next

    def _structure(self, reference: xdr.Named, node: xdr.Structure, pos: int) -> tuple[Any, int]:
        before = self._enter(reference, pos)
        fields: dict[str, Any] = {}
        for each in node.fields:
            self._steps.append(each.name)
            try:
                fields[each.name], pos = self.read(each.node, pos)
            except ProtocolError as error:
                if error.partial is not None:
                    fields[each.name] = error.partial
                error.partial = Partial(reference.name, fields)
                raise
            self._steps.pop()
        self._depth = before
        return self._types.python_class(reference)(*fields.values()), pos

    def _union(self, reference: xdr.Named, node: xdr.UnionType, pos: int) -> tuple[Any, int]:
        before = self._enter(reference, pos)
        name = node.discriminant.name
        self._steps.append(name)
        discriminant, after = self.read(node.discriminant.node, pos)
        arm = node.arm(discriminant)
        if arm is None:
            raise primitives.no_arm(discriminant, pos)
        self._steps[-1] = arm.name or ""
        try:
            value, after = self.read(arm.node, after)
        except ProtocolError as error:
            fields = {name: discriminant}
            if error.partial is not None and arm.name:
                fields[arm.name] = error.partial
            error.partial = Partial(reference.name, fields)
            raise
        self._steps.pop()
        self._depth = before
        return self._types.python_class(reference)(discriminant, value), after

    def _elements(self, element: xdr.Node, count: int, pos: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        for index in range(count):
            self._steps.append(f"[{index}]")
            try:
                item, pos = self.read(element, pos)
            except ProtocolError as error:
                if error.partial is not None:
                    items.append(error.partial)
                error.partial = items
                raise
            items.append(item)
            self._steps.pop()
        return items, pos


def _number(limit: xdr.Bound | None) -> int:
    return primitives.UNBOUNDED if limit is None else limit.value


def _read_string(data: bytes, pos: int, limit: int) -> tuple[str | bytes, int]:
    try:
        return primitives.read_string(data, pos, limit)
    except Truncated as error:
        if error.offset != pos and error.available:
            size, start = primitives.read_unsigned_int(data, pos)
            error.partial = _beginning(data[start : start + size], size)
        raise
    except NotCanonical as error:
        error.value = primitives.text(error.value) if isinstance(error.value, bytes) else error.value
        raise


def _beginning(seen: bytes, size: int) -> str | None:
    """Return the beginning of a string of `size` bytes, without a character that broke off; the string itself
    if only its padding is missing; None if it is not UTF-8."""
    with suppress(UnicodeDecodeError):
        if len(seen) == size:
            return seen.decode()
        text, used = codecs.utf_8_decode(seen)
        return PartialText(text, size - used)
    return None


class _Writer(_Walk):
    def __init__(self, types: BoundTypes, put: Callable[[bytes], None]) -> None:
        super().__init__(types)
        self._put = put

    def write(self, node: xdr.Node, value: Any) -> None:
        put = self._put
        reference = node
        while isinstance(node, xdr.Named):
            reference, node = node, self._types.definition(node).node
        match node:
            case xdr.Structure() if isinstance(reference, xdr.Named):
                self._structure(reference, node, value)
            case xdr.UnionType() if isinstance(reference, xdr.Named):
                self._union(reference, node, value)
            case xdr.Enumeration():
                primitives.write_int(value, put)
            case xdr.Integer(bits, signed):
                _, write = _INTEGERS[bits, signed]
                write(value, put)
            case xdr.String(limit):
                primitives.write_string(value, put, _number(limit))
            case xdr.Opaque(limit):
                primitives.write_opaque(value, put, _number(limit))
            case xdr.FixedOpaque(xdr.Bound(size)):
                primitives.write_fixed_opaque(value, put, size)
            case xdr.Boolean():
                primitives.write_bool(value, put)
            case xdr.Floating(128):
                primitives.write_fixed_opaque(value, put, 16)
            case xdr.Floating(bits):
                _, write_float = _FLOATS[bits]
                write_float(value, put)
            case xdr.Optional(element):
                primitives.write_bool(value is not None, put)
                if value is not None:
                    self.write(element, value)
            case xdr.FixedArray(element, xdr.Bound(size)):
                primitives.check_length(_sequence(value), size)
                self._elements(element, value)
            case xdr.Array(element, limit):
                primitives.write_count(len(_sequence(value)), put, _number(limit))
                self._elements(element, value)
            case xdr.Void():
                primitives.write_void(value, put)

    def _structure(self, reference: xdr.Named, node: xdr.Structure, value: Any) -> None:
        self._check_class(reference, value)
        before = self._enter(reference)
        for attribute, each in zip(value.__struct_fields__, node.fields, strict=True):
            self._steps.append(each.name)
            self.write(each.node, getattr(value, attribute))
            self._steps.pop()
        self._depth = before

    def _union(self, reference: xdr.Named, node: xdr.UnionType, value: Any) -> None:
        self._check_class(reference, value)
        before = self._enter(reference)
        discriminant, held = (getattr(value, attribute) for attribute in value.__struct_fields__)
        self._steps.append(node.discriminant.name)
        self.write(node.discriminant.node, discriminant)
        arm = node.arm(discriminant)
        if arm is None:
            raise primitives.no_arm(discriminant)
        self._steps[-1] = arm.name or "value"
        self.write(arm.node, held)
        self._steps.pop()
        self._depth = before

    def _check_class(self, reference: xdr.Named, value: Any) -> None:
        expected = self._types.python_class(reference)
        if not isinstance(value, expected):
            raise BadValue(f"expected {expected.__name__}, got {value!r}")

    def _elements(self, element: xdr.Node, values: Any) -> None:
        for index, item in enumerate(values):
            self._steps.append(f"[{index}]")
            self.write(element, item)
            self._steps.pop()


def _sequence(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise BadValue(f"expected a list, got {value!r}")
    return list(value)
