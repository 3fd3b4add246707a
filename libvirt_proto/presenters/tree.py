"""Values as an indented tree of lines.

Each value is either short, and appears after its name, or a block of lines below it. Names of one
struct are aligned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..codec import types as xdr
from ..codec.type_table import TypeTable
from ..codec.values import Partial, PartialText
from ..codec.visitor import Visitor, parts
from ..codec.xdrtype import XdrType
from ..jsonlines.encode import float_text, member_names
from ..names.fields import Meaning
from ..names.meanings import meanings_of, name_of
from ..text import amount, printable, quoted, uuid_text
from .style import Palette

#: The maximum width in columns of an array on one line.
_LINE: Final = 72
#: Fields with longer names than this don't push the others to the right.
_NAME: Final = 24
#: The maximum number of bytes on one line as hex.
_HEX: Final = 32
#: typed parameters: the arm's name → libvirt's word for its type (virTypedParameterType).
_PARAMETER_TYPES: Final = {
    "i": "int",
    "ui": "uint",
    "l": "llong",
    "ul": "ullong",
    "d": "double",
    "b": "boolean",
    "s": "string",
}


@dataclass(frozen=True, slots=True)
class Cut:
    """Lengths at which values are cut; None for no limit. Strings in characters, opaque in bytes, arrays
    in elements."""

    string: int | None
    opaque: int | None
    array: int | None


DEFAULT_CUT: Final = Cut(string=512, opaque=128, array=32)
NO_CUT: Final = Cut(None, None, None)


@dataclass(frozen=True, slots=True)
class _Short:
    """A value on the line of its name: its text and its width without colour. `alone`: in an array it
    takes a separate line."""

    text: str
    width: int
    alone: bool = False


_Shown = _Short | list[str]


class Tree:
    """Draws values. Numbers that libvirt's public API has names for are followed by the names."""

    def __init__(self, palette: Palette, cut: Cut = DEFAULT_CUT) -> None:
        self._palette = palette
        self._cut = cut

    def lines(self, type_: XdrType, value: Any) -> Iterator[str]:
        """The lines of a value, without a name of its own."""
        shown = _Values(type_.types, self._palette, self._cut).visit(type_.reference, value)
        yield from [shown.text] if isinstance(shown, _Short) else shown


class _Values(Visitor[_Shown, Any]):
    """Shows the value of a type."""

    def __init__(self, types: TypeTable, palette: Palette, cut: Cut) -> None:
        super().__init__(types)
        self._palette = palette
        self._cut = cut

    def _short(self, text: str, shade: str = "") -> _Short:
        return _Short(f"{shade}{text}{self._palette.off}" if shade else text, len(text))

    # Structs and unions

    def structure(self, reference: xdr.Named, node: xdr.Structure, value: Any) -> _Shown:
        return self._parameter(node, value) or self._named_parts(reference, node, value)

    def union(self, reference: xdr.Named, node: xdr.UnionType, value: Any) -> _Shown:
        return self._named_parts(reference, node, value)

    def _named_parts(self, reference: xdr.Named, node: xdr.Structure | xdr.UnionType, value: Any) -> _Shown:
        known = meanings_of(self.types, reference)
        there: dict[str, Any] = {}
        members: list[tuple[str, _Shown]] = []
        for name, part, held in parts(node, value):
            there[name] = held
            shown = self._number(known[name], held, there) if name in known else self.visit(part, held)
            members.append((name, shown))
        return self._members(members, value)

    def _members(self, members: Iterable[tuple[str, _Shown]], value: Any) -> _Shown:
        pairs = list(members)
        if not pairs:
            return self._short("…" if isinstance(value, Partial) else "(empty)", self._palette.quiet)
        width = max((len(name) for name, shown in pairs if isinstance(shown, _Short)), default=0)
        return [line for name, shown in pairs for line in self._named(name, shown, min(width, _NAME))]

    def _named(self, name: str, shown: _Shown, width: int = 0) -> Iterator[str]:
        colour = self._palette
        if isinstance(shown, _Short):
            yield f"{colour.field}{name}:{colour.off} {' ' * (width - len(name))}{shown.text}"
        else:
            yield f"{colour.field}{name}:{colour.off}"
            yield from ("  " + line for line in shown)

    def _parameter(self, node: xdr.Structure, value: Any) -> _Short | None:
        """A typed parameter in one line: `cpu_shares = 1024 (ullong)`."""
        if len(node.fields) != 2 or isinstance(value, Partial):
            return None
        first, second = node.fields
        body = xdr.body_of(second.node, self.types)
        if (first.name, second.name) != ("field", "value") or body is None:
            return None
        union = body[1]
        name, held = (getattr(value, attribute) for attribute in value.__struct_fields__)
        if not isinstance(union, xdr.UnionType) or isinstance(held, Partial):
            return None
        _, *arms = parts(union, held)
        if not arms or arms[0][0] not in _PARAMETER_TYPES:
            return None
        [(arm, node_of_arm, content)] = arms
        shown = self.visit(node_of_arm, content)
        if not isinstance(shown, _Short):
            return None
        colour, kind = self._palette, _PARAMETER_TYPES[arm]
        key = _text(name)
        text = f"{colour.field}{key}{colour.off} = {shown.text} {colour.quiet}({kind}){colour.off}"
        return _Short(text, len(key) + shown.width + len(kind) + 6, alone=True)

    # Arrays and optional-data

    def optional(self, node: xdr.Optional, value: Any) -> _Shown:
        if value is None:
            return self._short("null", self._palette.quiet)
        return self.visit(node.element, value)

    def fixed_array(self, node: xdr.FixedArray, values: Any) -> _Shown:
        text = _char_text(xdr.resolved(node.element, self.types), values)
        return self.sequence(node, values) if text is None else self._short(quoted(text), self._palette.text)

    def sequence(self, node: xdr.FixedArray | xdr.Array, values: Any) -> _Shown:
        if not values:
            return self._short("[]", self._palette.quiet)
        shown = [self.visit(node.element, value) for value in values[: self._cut.array]]
        rest = len(values) - len(shown)
        inline = self._inline(shown) if not rest else None
        if inline is not None:
            return inline
        lines = [line for index, item in enumerate(shown) for line in self._item(index, item)]
        if rest:
            lines.append(f"{self._palette.quiet}… {amount(rest, 'more element')}{self._palette.off}")
        return lines

    def _inline(self, shown: list[_Shown]) -> _Short | None:
        """`[1, 2, 3]` where that fits one line and no element speaks for itself."""
        width = 0
        texts = []
        for item in shown:
            if not isinstance(item, _Short) or item.alone:
                return None
            width += item.width + 2
            texts.append(item.text)
        return _Short(f"[{', '.join(texts)}]", width) if width <= _LINE else None

    def _item(self, index: int, item: _Shown) -> Iterator[str]:
        colour = self._palette
        mark = f"{colour.quiet}[{index}]{colour.off}"
        if isinstance(item, _Short):
            yield f"{mark} {item.text}"
            return
        pad = " " * (len(str(index)) + 3)
        yield f"{mark} {item[0]}"
        yield from (pad + line for line in item[1:])

    # Scalars

    def _number(self, meaning: Meaning, number: int, fields: Mapping[str, Any]) -> _Short:
        """A number and what it is called: `1 VIR_DOMAIN_RUNNING`, `5 VIR_MIGRATE_LIVE | 0x4`."""
        named = name_of(meaning, number, fields)
        if isinstance(named, tuple):
            known = any(isinstance(bit, str) for bit in named)
            named = (
                " | ".join(bit if isinstance(bit, str) else f"{bit:#x}" for bit in named) if known else None
            )
        return self._short(f"{number} {named}" if named else str(number), self._palette.number)

    def void(self, node: xdr.Void, value: Any) -> _Shown:
        return self._short("void", self._palette.quiet)

    def boolean(self, node: xdr.Boolean, value: Any) -> _Shown:
        return self._short("true" if value else "false", self._palette.number)

    def integer(self, node: xdr.Integer, value: Any) -> _Shown:
        return self._short(str(value), self._palette.number)

    def floating(self, node: xdr.Floating, value: Any) -> _Shown:
        text = value.hex() if node.bits == 128 else str(float_text(value))
        return self._short(text, self._palette.number)

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration, value: Any) -> _Shown:
        number = int(value)
        name = member_names(node).get(number)
        return self._short(f"{name} ({number})" if name else str(number), self._palette.number)

    def uuid(self, node: xdr.FixedOpaque, value: Any) -> _Shown:
        return self._short(uuid_text(value), self._palette.number)

    def string(self, node: xdr.String, value: Any) -> _Shown:
        colour, limit = self._palette, self._cut.string
        if isinstance(value, bytes):
            return [f"{colour.warn}not UTF-8{colour.off}, {amount(len(value), 'byte')}", *self._dump(value)]
        shown = value[:limit]
        if shown != value and "\n" in shown:  # whole lines
            shown = shown[: shown.rindex("\n") + 1]
        rest = "" if shown == value else f"… {amount(len(value.encode()) - len(shown.encode()), 'more byte')}"
        if isinstance(value, PartialText):
            rest += f"{', ' if rest else '… '}{amount(value.missing, 'byte')} missing"
        if "\n" not in value.rstrip("\n"):
            text = quoted(shown)
            tail = f" {colour.quiet}{rest}{colour.off}" if rest else ""
            return _Short(
                f"{colour.text}{text}{colour.off}{tail}", len(text) + (len(rest) + 1 if rest else 0)
            )
        gutter = f"{colour.quiet}│{colour.off} "
        lines = [
            f"{gutter}{colour.text}{printable(line)}{colour.off}"
            for line in shown.removesuffix("\n").split("\n")
        ]
        return [*lines, f"{gutter}{colour.quiet}{rest}{colour.off}"] if rest else lines

    def binary(self, node: xdr.FixedOpaque | xdr.Opaque, value: Any) -> _Shown:
        if len(value) <= _HEX:
            return self._short(value.hex(" ", 4) or '""', self._palette.number)
        return [amount(len(value), "byte"), *self._dump(value)]

    def _dump(self, value: bytes) -> list[str]:
        colour = self._palette
        return [f"{colour.quiet}{line}{colour.off}" for line in hex_dump(value, self._cut.opaque)]


def hex_dump(data: bytes, limit: int | None) -> Iterator[str]:
    """Offset, sixteen bytes in hex, and as ASCII; after `limit` bytes how many more there are."""
    shown = data if limit is None else data[:limit]
    for offset in range(0, len(shown), 16):
        row = shown[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{offset:04x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  {text}"
    if len(shown) < len(data):
        yield f"… {amount(len(data) - len(shown), 'more byte')}"


def _text(value: str | bytes) -> str:
    return printable(value if isinstance(value, str) else value.decode("utf-8", "backslashreplace"))


def _char_text(element: xdr.Node, values: list[Any]) -> str | None:
    """The text of a `char x[32]` that holds a C string: characters, then zeros."""
    if element != xdr.Integer(32, True, "char"):
        return None
    if not all(type(value) is int and -128 <= value < 256 for value in values):
        return None
    text, _, rest = bytes(value & 0xFF for value in values).partition(b"\0")
    return None if rest.strip(b"\0") or not text else text.decode("utf-8", "backslashreplace")
