"""Decoders and encoders on other libraries: what somebody without a generator would write.

For xdrlib (standard-xdrlib) the text is written here as by hand, straight down, one function per type:

    def decode_remote_domain_get_state_args(u):
        return types['remote_domain_get_state_args'](decode_remote_nonnull_domain(u), u.unpack_uint())

It builds the same objects as ours and checks no limits. For construct the declarations are its own nouns.
That both understand the same as we do is checked before anything is measured (see payloads).
"""

from __future__ import annotations

import xdrlib
from collections.abc import Callable, Iterator
from typing import Any

import construct as c

from libvirt_proto.codec.type_table import TypeTable
from libvirt_proto.codec.types import (
    Array,
    Boolean,
    Bound,
    Enumeration,
    FixedArray,
    FixedOpaque,
    Floating,
    Integer,
    Named,
    Opaque,
    Optional,
    String,
    Structure,
    UnionType,
    Void,
)
from libvirt_proto.codec.visitor import Visitor
from libvirt_proto.codec.xdrtype import XdrType

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]


class Xdrlib:
    """Functions for all types that were asked for."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.code: dict[str, Any] = {"types": {}, "enums": {}}
        self._written: set[Named] = set()

    def codec(self, type_: XdrType) -> tuple[Decode, Encode]:
        """Payload → object and back."""
        start = len(self.text)
        read = _Reads(type_.types, self).visit(type_.reference)
        write = list(_Writes(type_.types, self).visit(type_.reference)("value", 0))
        self._define(f"def read_{type_.name}(u):", [f"return {read}"])
        self._define(f"def write_{type_.name}(p, value):", write)
        exec("\n".join(self.text[start:]), self.code)
        reader, writer = self.code[f"read_{type_.name}"], self.code[f"write_{type_.name}"]

        def encode(value: Any) -> bytes:
            packer = xdrlib.Packer()
            writer(packer, value)
            return packer.get_buffer()

        return lambda data: reader(xdrlib.Unpacker(data)), encode

    def _define(self, head: str, body: list[str]) -> None:
        self.text += [head, *(f"    {line}" for line in body or ["pass"]), ""]

    def name(self, types: TypeTable, reference: Named, node: Structure | UnionType) -> str:
        """Return the name of a struct or union, whose functions are written before."""
        name = reference.name
        if reference in self._written:
            return name
        self._written.add(reference)
        class_ = self.code["types"][name] = types.python_class(reference)
        reads, writes = _Reads(types, self), _Writes(types, self)
        if isinstance(node, Structure):
            values = ", ".join(reads.visit(field.node) for field in node.fields)
            read = [f"return types['{name}']({values})"]
            pairs = zip(node.fields, class_.__struct_fields__, strict=True)
            write = [line for field, at in pairs for line in writes.visit(field.node)(f"value.{at}", 0)]
        else:
            kind = f"value.{class_.__struct_fields__[0]}"
            read = [f"kind = {reads.visit(node.discriminant.node)}"]
            write = [*writes.visit(node.discriminant.node)(kind, 0), f"kind = {kind}"]
            for label, arm in node.by_label.items():
                test = f"if kind == {label}:"
                read += [test, f"    return types['{name}'](kind, {reads.visit(arm.node)})"]
                write += [test, *(f"    {line}" for line in writes.visit(arm.node)("value.value", 0))]
            read.append("raise ValueError(kind)")
        self._define(f"def decode_{name}(u):", read)
        self._define(f"def encode_{name}(p, value):", write)
        return name


class _Reads(Visitor[str]):
    """The expression that reads a value from the Unpacker `u`."""

    def __init__(self, types: TypeTable, functions: Xdrlib) -> None:
        super().__init__(types)
        self._functions = functions

    def void(self, node: Void) -> str:
        return "None"

    def integer(self, node: Integer) -> str:
        return f"u.unpack_{_integer(node)}()"

    def floating(self, node: Floating) -> str:
        return f"u.unpack_{_floating(node)}()"

    def boolean(self, node: Boolean) -> str:
        return "u.unpack_bool()"

    def enumeration(self, reference: Named, node: Enumeration) -> str:
        members = {int(member): member for member in self.types.python_class(reference)}
        self._functions.code["enums"][reference.name] = members
        return f"enums['{reference.name}'][u.unpack_enum()]"

    def fixed_opaque(self, node: FixedOpaque) -> str:
        return f"u.unpack_fopaque({node.size.value})"

    def opaque(self, node: Opaque) -> str:
        return "u.unpack_opaque()"

    def string(self, node: String) -> str:
        return "u.unpack_string().decode()"

    def fixed_array(self, node: FixedArray) -> str:
        return f"[{self.visit(node.element)} for _ in range({node.size.value})]"

    def array(self, node: Array) -> str:
        return f"[{self.visit(node.element)} for _ in range(u.unpack_uint())]"

    def optional(self, node: Optional) -> str:
        return f"({self.visit(node.element)} if u.unpack_uint() else None)"

    def structure(self, reference: Named, node: Structure) -> str:
        return f"decode_{self._functions.name(self.types, reference, node)}(u)"

    def union(self, reference: Named, node: UnionType) -> str:
        return f"decode_{self._functions.name(self.types, reference, node)}(u)"


#: (expression of the value, depth of loops) → lines.
_Lines = Callable[[str, int], Iterator[str]]


class _Writes(Visitor[_Lines]):
    """The lines that write a value to the Packer `p`."""

    def __init__(self, types: TypeTable, functions: Xdrlib) -> None:
        super().__init__(types)
        self._functions = functions

    def void(self, node: Void) -> _Lines:
        return lambda value, depth: iter(["pass"])

    def integer(self, node: Integer) -> _Lines:
        return _pack(_integer(node))

    def floating(self, node: Floating) -> _Lines:
        return _pack(_floating(node))

    def boolean(self, node: Boolean) -> _Lines:
        return _pack("bool")

    def enumeration(self, reference: Named, node: Enumeration) -> _Lines:
        return _pack("enum")

    def fixed_opaque(self, node: FixedOpaque) -> _Lines:
        return lambda value, depth: iter([f"p.pack_fopaque({node.size.value}, {value})"])

    def opaque(self, node: Opaque) -> _Lines:
        return _pack("opaque")

    def string(self, node: String) -> _Lines:
        return lambda value, depth: iter([f"p.pack_string({value}.encode())"])

    def fixed_array(self, node: FixedArray) -> _Lines:
        inner = self.visit(node.element)

        def lines(value: str, depth: int) -> Iterator[str]:
            yield f"for each{depth} in {value}:"
            yield from (f"    {line}" for line in inner(f"each{depth}", depth + 1))

        return lines

    def array(self, node: Array) -> _Lines:
        elements = self.fixed_array(FixedArray(node.element, Bound(0)))

        def lines(value: str, depth: int) -> Iterator[str]:
            yield f"p.pack_uint(len({value}))"
            yield from elements(value, depth)

        return lines

    def optional(self, node: Optional) -> _Lines:
        inner = self.visit(node.element)

        def lines(value: str, depth: int) -> Iterator[str]:
            yield f"p.pack_bool({value} is not None)"
            yield f"if {value} is not None:"
            yield from (f"    {line}" for line in inner(value, depth))

        return lines

    def structure(self, reference: Named, node: Structure) -> _Lines:
        return self._called(self._functions.name(self.types, reference, node))

    def union(self, reference: Named, node: UnionType) -> _Lines:
        return self._called(self._functions.name(self.types, reference, node))

    def _called(self, name: str) -> _Lines:
        return lambda value, depth: iter([f"encode_{name}(p, {value})"])


def _pack(word: str) -> _Lines:
    return lambda value, depth: iter([f"p.pack_{word}({value})"])


def _integer(node: Integer) -> str:
    """Return xdrlib's word for an integer."""
    return ("" if node.signed else "u") + ("int" if node.bits == 32 else "hyper")


def _floating(node: Floating) -> str:
    return "float" if node.bits == 32 else "double"


def construct(type_: XdrType) -> Any:
    """Return a type as construct's declaration."""
    return _Declarations(type_.types).visit(type_.reference)


class _Declarations(Visitor[Any]):
    def void(self, node: Void) -> Any:
        return c.Pass

    def integer(self, node: Integer) -> Any:
        return {
            (32, True): c.Int32sb,
            (32, False): c.Int32ub,
            (64, True): c.Int64sb,
            (64, False): c.Int64ub,
        }[node.bits, node.signed]

    def floating(self, node: Floating) -> Any:
        return c.Float32b if node.bits == 32 else c.Float64b

    def boolean(self, node: Boolean) -> Any:
        return c.Int32ub

    def enumeration(self, reference: Named, node: Enumeration) -> Any:
        return c.Int32sb

    def fixed_opaque(self, node: FixedOpaque) -> Any:
        return c.Aligned(4, c.Bytes(node.size.value))

    def opaque(self, node: Opaque) -> Any:
        return c.Aligned(4, c.Prefixed(c.Int32ub, c.GreedyBytes))

    def string(self, node: String) -> Any:
        return c.Aligned(4, c.PascalString(c.Int32ub, "utf8"))

    def fixed_array(self, node: FixedArray) -> Any:
        return c.Array(node.size.value, self.visit(node.element))

    def array(self, node: Array) -> Any:
        return c.PrefixedArray(c.Int32ub, self.visit(node.element))

    def optional(self, node: Optional) -> Any:
        there = c.If(c.this.there, self.visit(node.element))
        return c.FocusedSeq("value", "there" / c.Int32ub, "value" / there)

    def structure(self, reference: Named, node: Structure) -> Any:
        attributes = self.types.python_class(reference).__struct_fields__
        pairs = zip(attributes, node.fields, strict=True)
        return c.Struct(*(attribute / self.visit(field.node) for attribute, field in pairs))

    def union(self, reference: Named, node: UnionType) -> Any:
        attribute, _ = self.types.python_class(reference).__struct_fields__
        arms = {label: self.visit(arm.node) for label, arm in node.by_label.items()}
        switch = c.Switch(c.this[attribute], arms)
        return c.Struct(attribute / self.visit(node.discriminant.node), "value" / switch)
