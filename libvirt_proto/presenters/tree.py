"""Values as an indented tree of lines.

Each value is either short, and stands behind its name, or a block of lines below it. Names of one
struct are aligned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..codec.layout import (
    Boolean,
    EnumOf,
    FixedOpaque,
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
from ..jsonlines.encode import enum_names, float_text, uuid_text
from ..names.meanings import meanings_of, name_of
from ..names.public import Meaning
from ..text import amount, printable, quoted
from .style import Palette

#: Columns that an array may take to stand in one line.
_LINE: Final = 72
#: Fields with longer names than this don't push the others to the right.
_NAME: Final = 24
#: Bytes that still stand in one line as hex.
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
    """Where values are cut; None is nowhere. Strings in characters, opaque in bytes, arrays in
    elements."""

    string: int | None
    opaque: int | None
    array: int | None


DEFAULT_CUT: Final = Cut(string=512, opaque=128, array=32)
NO_CUT: Final = Cut(None, None, None)


@dataclass(frozen=True, slots=True)
class _Short:
    """A value that stands behind its name: its text and its width without colour. `alone`: in an
    array it takes a line of its own."""

    text: str
    width: int
    alone: bool = False


_Shown = _Short | list[str]


class Tree:
    """Draws values. Behind numbers that libvirt's public API has names for stand the names."""

    def __init__(self, palette: Palette, cut: Cut = DEFAULT_CUT) -> None:
        self._palette = palette
        self._cut = cut

    def lines(self, node: Node, value: Any) -> Iterator[str]:
        """The lines of a value, without a name of its own."""
        shown = self._show(node, value)
        yield from [shown.text] if isinstance(shown, _Short) else shown

    def _show(self, node: Node, value: Any) -> _Shown:
        match node:
            case VoidNode():
                return self._short("void", self._palette.quiet)
            case Leaf():
                return self._leaf(node, value)
            case Optional(element):
                if value is None:
                    return self._short("null", self._palette.quiet)
                return self._show(element, value)
            case Sequence():
                return self._sequence(node, value)
            case StructNode():
                return self._parameter(node, value) or self._members(self._struct(node, value), value)
            case UnionNode():
                return self._members(self._union(node, value), value)

    def _short(self, text: str, shade: str = "") -> _Short:
        return _Short(f"{shade}{text}{self._palette.off}" if shade else text, len(text))

    # Structs and unions

    def _struct(self, node: StructNode, value: Any) -> Iterator[tuple[str, _Shown]]:
        known = meanings_of(node)
        there: dict[str, Any] = {}
        for name, attribute, field in node.fields:
            if isinstance(value, Partial):
                if name not in value.fields:
                    return
                part = value.fields[name]
            else:
                part = getattr(value, attribute)
            there[name] = part
            yield name, self._number(known[name], part, there) if name in known else self._show(field, part)

    def _union(self, node: UnionNode, value: Any) -> Iterator[tuple[str, _Shown]]:
        label, attribute, discriminant = node.discriminant
        if isinstance(value, Partial):
            if label not in value.fields:
                return
            number = value.fields[label]
        else:
            number = getattr(value, attribute)
        meaning = meanings_of(node).get(label)
        yield label, self._number(meaning, number, {}) if meaning else self._show(discriminant, number)
        name, arm = node.arm(number) or (None, VoidNode())
        if name is None:
            return
        if not isinstance(value, Partial):
            yield name, self._show(arm, getattr(value, value.__struct_fields__[1]))
        elif name in value.fields:
            yield name, self._show(arm, value.fields[name])

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

    def _parameter(self, node: StructNode, value: Any) -> _Short | None:
        """A typed parameter in one line: `cpu_shares = 1024 (ullong)`."""
        fields = node.fields
        if len(fields) != 2 or isinstance(value, Partial):
            return None
        (name, name_attribute, _), (label, attribute, union) = fields
        if (name, label) != ("field", "value") or not isinstance(union, UnionNode):
            return None
        held = getattr(value, attribute)
        number = None if isinstance(held, Partial) else getattr(held, union.discriminant[1])
        arm, arm_node = (None if number is None else union.arm(number)) or (None, VoidNode())
        if arm is None or arm not in _PARAMETER_TYPES:
            return None
        shown = self._show(arm_node, getattr(held, held.__struct_fields__[1]))
        if not isinstance(shown, _Short):
            return None
        colour, kind = self._palette, _PARAMETER_TYPES[arm]
        key = _text(getattr(value, name_attribute))
        text = f"{colour.field}{key}{colour.off} = {shown.text} {colour.quiet}({kind}){colour.off}"
        return _Short(text, len(key) + shown.width + len(kind) + 6, alone=True)

    # Arrays

    def _sequence(self, node: Sequence, values: list[Any]) -> _Shown:
        if not values:
            return self._short("[]", self._palette.quiet)
        text = _char_text(node, values)
        if text is not None:
            return self._short(quoted(text), self._palette.text)
        limit = self._cut.array
        shown = [self._show(node.element, value) for value in values[:limit]]
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

    # Leaves

    def _number(self, meaning: Meaning, number: int, fields: Mapping[str, Any]) -> _Short:
        """A number and what it is called: `1 VIR_DOMAIN_RUNNING`, `5 VIR_MIGRATE_LIVE | 0x4`."""
        named = name_of(meaning, number, fields)
        if isinstance(named, tuple):
            known = any(isinstance(bit, str) for bit in named)
            named = (
                " | ".join(bit if isinstance(bit, str) else f"{bit:#x}" for bit in named) if known else None
            )
        return self._short(f"{number} {named}" if named else str(number), self._palette.number)

    def _leaf(self, leaf: Leaf, value: Any) -> _Shown:
        colour = self._palette
        if leaf.is_uuid:
            return self._short(uuid_text(value), colour.number)
        match leaf.mark:
            case Boolean():
                return self._short("true" if value else "false", colour.number)
            case Integer():
                return self._short(str(value), colour.number)
            case EnumOf(type_):
                name = enum_names(type_).get(value)
                return self._short(f"{name} ({int(value)})" if name else str(int(value)), colour.number)
            case String():
                return self._string(value)
            case FixedOpaque() | Opaque():
                return self._opaque(value)
            case _:  # Floating; a quadruple is bytes
                text = value.hex() if isinstance(value, bytes) else str(float_text(value))
                return self._short(text, colour.number)

    def _string(self, value: str | bytes) -> _Shown:
        colour, limit = self._palette, self._cut.string
        if isinstance(value, bytes):
            return [f"{colour.warn}not UTF-8{colour.off}, {amount(len(value), 'byte')}", *self._dump(value)]
        shown = value[:limit]
        if shown != value and "\n" in shown:  # whole lines
            shown = shown[: shown.rindex("\n") + 1]
        rest = "" if shown == value else f"… {amount(len(value.encode()) - len(shown.encode()), 'more byte')}"
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

    def _opaque(self, value: bytes) -> _Shown:
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


def _char_text(node: Sequence, values: list[Any]) -> str | None:
    """The text of a `char x[32]` that holds a C string: characters, then zeros."""
    if not node.fixed or not isinstance(node.element, Leaf) or node.element.mark != Integer(32, True, "char"):
        return None
    if not all(type(value) is int and -128 <= value < 256 for value in values):
        return None
    text, _, rest = bytes(value & 0xFF for value in values).partition(b"\0")
    return None if rest.strip(b"\0") or not text else text.decode("utf-8", "backslashreplace")
