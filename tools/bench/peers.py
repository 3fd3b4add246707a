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

from libvirt_proto.codec import layout as l
from libvirt_proto.codec.xdrtype import XdrType

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]


class Xdrlib:
    """Functions for all types that were asked for."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self._names: dict[Any, str] = {}
        self._code: dict[str, Any] = {"types": {}, "enums": {}}

    def codec(self, type_: XdrType) -> tuple[Decode, Encode]:
        """Payload → object and back."""
        start = len(self.text)
        read = self._read(type_.node)
        write = list(self._write(type_.node, "value"))
        self._define(f"def read_{type_.name}(u):", [f"return {read}"])
        self._define(f"def write_{type_.name}(p, value):", write)
        exec("\n".join(self.text[start:]), self._code)
        reader, writer = self._code[f"read_{type_.name}"], self._code[f"write_{type_.name}"]

        def encode(value: Any) -> bytes:
            packer = xdrlib.Packer()
            writer(packer, value)
            return packer.get_buffer()

        return lambda data: reader(xdrlib.Unpacker(data)), encode

    def _define(self, head: str, body: list[str]) -> None:
        self.text += [head, *(f"    {line}" for line in body or ["pass"]), ""]

    def _read(self, node: l.Node) -> str:
        """The expression that reads a value from the Unpacker `u`."""
        match node:
            case l.Leaf(mark):
                return self._read_leaf(mark)
            case l.Sequence(element, size, fixed):
                return f"[{self._read(element)} for _ in range({size if fixed else 'u.unpack_uint()'})]"
            case l.Optional(element):
                return f"({self._read(element)} if u.unpack_uint() else None)"
            case l.VoidNode():
                return "None"
            case _:
                return f"decode_{self._class(node)}(u)"

    def _read_leaf(self, mark: Any) -> str:
        match mark:
            case l.Integer() | l.Floating() | l.Boolean():
                return f"u.unpack_{_word(mark)}()"
            case l.FixedOpaque(size):
                return f"u.unpack_fopaque({size})"
            case l.Opaque():
                return "u.unpack_opaque()"
            case l.String():
                return "u.unpack_string().decode()"
            case l.EnumOf(type_):
                self._code["enums"][type_.__name__] = {int(member): member for member in type_}
                return f"enums['{type_.__name__}'][u.unpack_enum()]"
            case _:
                raise TypeError(mark)

    def _write(self, node: l.Node, value: str, depth: int = 0) -> Iterator[str]:
        """The lines that write a value to the Packer `p`."""
        match node:
            case l.Leaf(l.Integer() | l.Floating() | l.Boolean() as mark):
                yield f"p.pack_{_word(mark)}({value})"
            case l.Leaf(l.FixedOpaque(size)):
                yield f"p.pack_fopaque({size}, {value})"
            case l.Leaf(l.Opaque()):
                yield f"p.pack_opaque({value})"
            case l.Leaf(l.String()):
                yield f"p.pack_string({value}.encode())"
            case l.Leaf():
                yield f"p.pack_enum({value})"
            case l.Sequence(element, _, fixed):
                if not fixed:
                    yield f"p.pack_uint(len({value}))"
                yield f"for each{depth} in {value}:"
                yield from (f"    {line}" for line in self._write(element, f"each{depth}", depth + 1))
            case l.Optional(element):
                yield f"p.pack_bool({value} is not None)"
                yield f"if {value} is not None:"
                yield from (f"    {line}" for line in self._write(element, value, depth))
            case l.VoidNode():
                yield "pass"
            case _:
                yield f"encode_{self._class(node)}(p, {value})"

    def _class(self, node: l.StructNode | l.UnionNode) -> str:
        """The name of a struct or union, whose functions are there."""
        name = node.name
        if node in self._names:
            return name
        self._names[node] = name
        self._code["types"][name] = node.type
        if isinstance(node, l.StructNode):
            read = [f"return types['{name}']({', '.join(self._read(field) for _, _, field in node.fields)})"]
            write = [line for _, attr, field in node.fields for line in self._write(field, f"value.{attr}")]
        else:
            read, write = self._union(node)
        self._define(f"def decode_{name}(u):", read)
        self._define(f"def encode_{name}(p, value):", write)
        return name

    def _union(self, node: l.UnionNode) -> tuple[list[str], list[str]]:
        _, attribute, discriminant = node.discriminant
        read = [f"kind = {self._read(discriminant)}"]
        write = [*self._write(discriminant, f"value.{attribute}"), f"kind = value.{attribute}"]
        for label, (_, arm) in node.arms.items():
            test = f"if kind == {label}:"
            read += [test, f"    return types['{node.name}'](kind, {self._read(arm)})"]
            write += [test, *(f"    {line}" for line in self._write(arm, "value.value"))]
        return [*read, "raise ValueError(kind)"], write


def _word(mark: l.Integer | l.Floating | l.Boolean) -> str:
    """xdrlib's word for a kind of number."""
    match mark:
        case l.Integer(32, signed):
            return "int" if signed else "uint"
        case l.Integer(_, signed):
            return "hyper" if signed else "uhyper"
        case l.Floating(32):
            return "float"
        case l.Floating():
            return "double"
        case _:
            return "bool"


def construct(node: l.Node) -> Any:
    """A type as construct's declaration."""
    match node:
        case l.Leaf(mark):
            return _leaf(mark)
        case l.Sequence(element, size, fixed):
            return (
                c.Array(size, construct(element)) if fixed else c.PrefixedArray(c.Int32ub, construct(element))
            )
        case l.Optional(element):
            return c.FocusedSeq(
                "value", "there" / c.Int32ub, "value" / c.If(c.this.there, construct(element))
            )
        case l.VoidNode():
            return c.Pass
        case l.StructNode():
            return c.Struct(*(attribute / construct(field) for _, attribute, field in node.fields))
        case l.UnionNode():
            _, attribute, discriminant = node.discriminant
            arms = {label: construct(arm) for label, (_, arm) in node.arms.items()}
            return c.Struct(attribute / construct(discriminant), "value" / c.Switch(c.this[attribute], arms))


def _leaf(mark: Any) -> Any:
    match mark:
        case l.Integer(bits, signed):
            return {
                (32, True): c.Int32sb,
                (32, False): c.Int32ub,
                (64, True): c.Int64sb,
                (64, False): c.Int64ub,
            }[bits, signed]
        case l.Floating(bits):
            return c.Float32b if bits == 32 else c.Float64b
        case l.Boolean():
            return c.Int32ub
        case l.FixedOpaque(size):
            return c.Aligned(4, c.Bytes(size))
        case l.Opaque():
            return c.Aligned(4, c.Prefixed(c.Int32ub, c.GreedyBytes))
        case l.String():
            return c.Aligned(4, c.PascalString(c.Int32ub, "utf8"))
        case _:
            return c.Int32sb
