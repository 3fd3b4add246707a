"""Blanks secrets in values of XDR types: a tree of functions per type, which visits only what may hold one.

Lengths, counts, discriminants and the presence of optional data stay, so the encoding keeps its size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from ..codec.layout import (
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
from ..codec.secretfields import Kind, kind, parameter_kind, table
from ..names.public import Bits, By, Meaning, OneOf, meanings, names
from .text import blank, redact_qmp, redact_text, redact_xml, sensitive

#: None where nothing in a value has to be changed.
Redact = Callable[[Any], Any]

#: A name and a value of any type: typed parameters.
_PARAMETERS: Final = frozenset(("remote_typed_param", "admin_typed_param"))
_TEXTS: Final[dict[Kind | None, Callable[[str], str]]] = {"xml": redact_xml, "qmp": redact_qmp}


class Values:
    """Node → the function that redacts its values.

    With `everything`, all strings, opaque data and numbers are blanked, except numbers that libvirt's public
    API has names for. `quoting` is set before an error is redacted whose texts may quote a secret.
    """

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self._made: dict[str, Redact | None] = {}
        self._recursive: dict[type, list[Redact | None]] = {}
        self.quoting = False

    def of(self, name: str, node: Node) -> Redact | None:
        """The function for a type, None if its values stay as they are."""
        if name not in self._made:
            self._made[name] = self._node(node, kind(name), everything=self._everything)
        return self._made[name]

    def _node(self, node: Node, holds: Kind | None, *, everything: bool) -> Redact | None:
        match node:
            case Leaf():
                return _blank_leaf(node) if everything or holds == "secret" else _leaf(node, holds)
            case Sequence(element):
                if not everything and holds != "secret" and _is_char(element):
                    return _characters
                inner = self._node(element, holds, everything=everything)
                return inner and _each(inner)
            case Optional(element):
                inner = self._node(element, holds, everything=everything)
                return inner and _optional(inner)
            case StructNode() | UnionNode():
                return (
                    self._later(node, everything) if node.type.xdr_recursive else self._body(node, everything)
                )
            case VoidNode():
                return None

    def _later(self, node: StructNode | UnionNode, everything: bool) -> Redact:
        """A type that may contain itself."""
        made = self._recursive.get(node.type)
        if made is None:
            made = self._recursive[node.type] = []
            made.append(self._body(node, everything))
        found = made
        return lambda value: found[0](value) if found[0] else value

    def _body(self, node: StructNode | UnionNode, everything: bool) -> Redact | None:
        if isinstance(node, UnionNode):
            return self._union(node, everything)
        if not everything and node.name in _PARAMETERS and len(node.fields) == 2:
            return self._parameter(node)
        holds = {name: kind(f"{node.name}.{name}") for name, _, _ in node.fields}
        if not everything and "error" in holds.values():
            return self._error(
                node, [attribute for name, attribute, _ in node.fields if holds[name] == "error"]
            )
        known = meanings(node.name) if everything else {}
        fields = {
            attribute: _named(known[name], node, name)
            if name in known
            else self._node(field, holds[name], everything=everything)
            for name, attribute, field in node.fields
        }
        return _struct({attribute: redact for attribute, redact in fields.items() if redact})

    def _union(self, node: UnionNode, everything: bool) -> Redact | None:
        label, held = node.type.__struct_fields__

        def arm(name: str | None, field: Node) -> Redact | None:
            return self._node(field, kind(f"{node.name}.{name}"), everything=everything)

        arms = {number: arm(name, field) for number, (name, field) in node.arms.items()}
        default = arm(*node.default) if node.default else None
        if default is None and not any(arms.values()):
            return None

        def redact(value: Any) -> Any:
            inner = arms.get(getattr(value, label), default)
            return replace(value, **{held: inner(getattr(value, held))}) if inner else value

        return redact

    def _parameter(self, node: StructNode) -> Redact | None:
        """A typed parameter: what its value may hold is a matter of its name."""
        (_, name, _), (_, held, field) = node.fields
        usual = self._node(field, None, everything=False)
        whole = self._node(field, None, everything=True)
        document = _struct_of_strings(field, redact_xml)
        redact_name = _string(redact_text)

        def redact(value: Any) -> Any:
            parameter = getattr(value, name)
            holds = "secret" if isinstance(parameter, bytes) else parameter_kind(parameter)
            inner = whole if holds == "secret" else document if holds == "xml" else usual
            value = replace(value, **{name: redact_name(parameter)})
            return replace(value, **{held: inner(getattr(value, held))}) if inner else value

        return redact

    def _error(self, node: StructNode, texts: list[str]) -> Redact:
        """An error of the daemon: its texts are kept together, or blanked together."""
        others = _struct(
            {
                attribute: inner
                for name, attribute, field in node.fields
                if attribute not in texts
                and (inner := self._node(field, kind(f"{node.name}.{name}"), everything=False))
            }
        )

        def redact(value: Any) -> Any:
            value = others(value) if others else value
            found = {attribute: getattr(value, attribute) for attribute in texts}
            given = [text for text in found.values() if text is not None]
            code = names("virErrorNumber").get(getattr(value, "code", 0))
            whole = (
                self.quoting
                or code in table("errors")
                or any(isinstance(text, bytes) or sensitive(text) for text in given)
            )
            change = _blank_string if whole else redact_text
            return replace(
                value, **{key: None if text is None else change(text) for key, text in found.items()}
            )

        return redact


def _struct(fields: dict[str, Redact]) -> Redact | None:
    if not fields:
        return None

    def redact(value: Any) -> Any:
        return replace(value, **{name: inner(getattr(value, name)) for name, inner in fields.items()})

    return redact


def _struct_of_strings(node: Node, change: Callable[[str], str]) -> Redact | None:
    """A union of a typed parameter's values, its string changed."""
    if not isinstance(node, UnionNode):
        return None
    held = node.type.__struct_fields__[1]
    redact_string = _string(change)

    def redact(value: Any) -> Any:
        text = getattr(value, held)
        return replace(value, **{held: redact_string(text)}) if isinstance(text, str | bytes) else value

    return redact


def _each(inner: Redact) -> Redact:
    return lambda values: [inner(value) for value in values]


def _optional(inner: Redact) -> Redact:
    return lambda value: None if value is None else inner(value)


# Leaves


def _leaf(leaf: Leaf, holds: Kind | None) -> Redact | None:
    match leaf.mark:
        case String():
            return None if holds == "public" else _string(_TEXTS.get(holds, redact_text))
        case Opaque() if holds == "xml":
            return _document
        case Opaque() | FixedOpaque() if not leaf.is_uuid and holds != "public":
            return _zeros
        case _:
            return None


def _blank_leaf(leaf: Leaf) -> Redact | None:
    match leaf.mark:
        case String():
            return _blank_string
        case Opaque() | FixedOpaque() | Floating(128):
            return _zeros
        case EnumOf(type_):
            return lambda value: value if isinstance(value, type_) else 0
        case Boolean():
            return lambda value: False
        case Floating():
            return lambda value: 0.0
        case Integer():
            return lambda value: 0


def _string(change: Callable[[str], str]) -> Redact:
    """A string that is not UTF-8 cannot be searched."""
    return lambda value: blank_bytes(value) if isinstance(value, bytes) else change(value)


def _blank_string(value: str | bytes) -> str:
    return blank_bytes(value) if isinstance(value, bytes) else blank(value)


def blank_bytes(value: bytes) -> str:
    """Text of the same length."""
    return blank("x" * len(value))


def _zeros(value: bytes) -> bytes:
    return bytes(len(value))


def _document(value: bytes) -> bytes:
    """A document as opaque data; it may end with zeros, as C's strings."""
    text = value.rstrip(b"\0")
    try:
        return redact_xml(text.decode()).encode().ljust(len(value), b"\0")
    except UnicodeDecodeError:
        return bytes(len(value))


def _is_char(node: Node) -> bool:
    return isinstance(node, Leaf) and isinstance(node.mark, Integer) and node.mark.spelling.endswith("char")


def _characters(values: list[int]) -> list[int]:
    """Text as an array of characters, each a number of its own."""
    text = "".join(chr(value & 0xFF) for value in values)
    return [0] * len(values) if sensitive(text.rstrip("\0")) else values


def _named(meaning: Meaning, node: StructNode, name: str) -> Redact | None:
    """A number that libvirt's public API has a name for, else 0."""
    match meaning:
        case OneOf(known):
            return lambda value: value if value in known else 0
        case Bits(known):
            return lambda value: value & sum(known)
        case By(_, pairs):
            numbers = {number for _, number in pairs}
            return lambda value: value if value in numbers else 0
