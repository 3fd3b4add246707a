"""Blank secrets in values of XDR types: a tree of functions per type, which visits only parts with secrets.

Lengths, counts, discriminants and the presence of optional data stay, so the encoding keeps its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from ..codec import types as xdr
from ..codec.secretfields import Kind, kind, parameter_kind, table
from ..codec.type_table import TypeTable
from ..codec.visitor import Visitor
from ..codec.xdrtype import XdrType
from ..names.fields import Bits, By, Meaning, OneOf, meanings
from ..names.public import names
from .text import blank, redact_qmp, redact_text, redact_xml, sensitive

#: None where nothing in a value has to be changed.
Redact = Callable[[Any], Any]

#: A name and a value of any type: typed parameters.
_PARAMETERS: Final = frozenset(("remote_typed_param", "admin_typed_param"))
_TEXTS: Final[dict[Kind | None, Callable[[str], str]]] = {"xml": redact_xml, "qmp": redact_qmp}


class Values:
    """Types → the functions that redact their values.

    With `everything`, all strings, opaque data and numbers are blanked, except numbers that libvirt's public
    API has names for. `quoting` is set before an error is redacted whose texts may quote a secret.
    """

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self._made: dict[str, Redact | None] = {}
        self._visitors: dict[TypeTable, _Redactions] = {}
        self.quoting = False

    def of(self, type_: XdrType) -> Redact | None:
        """Return the function for a type, None if its values stay as they are."""
        if type_.name not in self._made:
            visitor = self._visitors.setdefault(type_.types, _Redactions(type_.types, self))
            content = _Content(kind(type_.name), self._everything)
            self._made[type_.name] = visitor.visit(type_.reference, content)
        return self._made[type_.name]


@dataclass(frozen=True, slots=True)
class _Content:
    """The kind of what a value holds. With `everything`, all that is in it is blanked, too."""

    kind: Kind | None
    everything: bool = False

    @property
    def blank(self) -> bool:
        return self.everything or self.kind == "secret"

    def part(self, name: str) -> _Content:
        """Return the content of a part, by the name of its struct or union and its own: all of a secret is
        secret."""
        return self if self.kind == "secret" else _Content(kind(name), self.everything)


class _Redactions(Visitor[Redact | None, _Content]):
    """Functions for types, made once for each struct and union."""

    def __init__(self, types: TypeTable, values: Values) -> None:
        super().__init__(types)
        self._values = values
        self._bodies: dict[tuple[xdr.Named, bool, bool], Redact | None] = {}

    # Scalars

    def void(self, node: xdr.Void, content: _Content) -> Redact | None:
        return None

    def integer(self, node: xdr.Integer, content: _Content) -> Redact | None:
        return (lambda value: 0) if content.blank else None

    def boolean(self, node: xdr.Boolean, content: _Content) -> Redact | None:
        return (lambda value: False) if content.blank else None

    def floating(self, node: xdr.Floating, content: _Content) -> Redact | None:
        if not content.blank:
            return None
        return _zeros if node.bits == 128 else lambda value: 0.0

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration, content: _Content) -> Redact | None:
        members = self.types.python_class(reference)
        return (lambda value: value if isinstance(value, members) else 0) if content.blank else None

    def binary(self, node: xdr.FixedOpaque | xdr.Opaque, content: _Content) -> Redact | None:
        return _zeros if content.blank or content.kind != "public" else None

    def uuid(self, node: xdr.FixedOpaque, content: _Content) -> Redact | None:
        return _zeros if content.blank else None

    def opaque(self, node: xdr.Opaque, content: _Content) -> Redact | None:
        if not content.blank and content.kind == "xml":
            return _document
        return self.binary(node, content)

    def string(self, node: xdr.String, content: _Content) -> Redact | None:
        if content.blank:
            return _blank_string
        return None if content.kind == "public" else _string(_TEXTS.get(content.kind, redact_text))

    # Arrays and optional-data

    def sequence(self, node: xdr.FixedArray | xdr.Array, content: _Content) -> Redact | None:
        below = xdr.resolved(node.element, self.types)
        if not content.blank and isinstance(below, xdr.Integer) and below.spelling.endswith("char"):
            return _characters
        inner = self.visit(node.element, content)
        return inner and _each(inner)

    def optional(self, node: xdr.Optional, content: _Content) -> Redact | None:
        inner = self.visit(node.element, content)
        return inner and _optional(inner)

    # Structs and unions

    def structure(self, reference: xdr.Named, node: xdr.Structure, content: _Content) -> Redact | None:
        return self._body(reference, content, lambda: self._struct(reference, node, content))

    def union(self, reference: xdr.Named, node: xdr.UnionType, content: _Content) -> Redact | None:
        return self._body(reference, content, lambda: self._arms(reference, node, content))

    def _body(
        self, reference: xdr.Named, content: _Content, make: Callable[[], Redact | None]
    ) -> Redact | None:
        """Make the function of a struct or a union once: unless it is secret, names alone decide the kinds of
        its parts."""
        key = reference, content.everything, content.blank
        if key not in self._bodies:
            if self.types.definition(reference).recursive:
                made: list[Redact | None] = []
                self._bodies[key] = lambda value: made[0](value) if made[0] else value
                made.append(make())
            else:
                self._bodies[key] = make()
        return self._bodies[key]

    def _struct(self, reference: xdr.Named, node: xdr.Structure, content: _Content) -> Redact | None:
        attributes = self.types.python_class(reference).__struct_fields__
        if not content.blank and reference.name in _PARAMETERS and len(node.fields) == 2:
            return self._parameter(node, *attributes)
        inside = {field.name: content.part(f"{reference.name}.{field.name}") for field in node.fields}
        pairs = list(zip(attributes, node.fields, strict=True))
        if not content.blank and _Content("error") in inside.values():
            texts = [attribute for attribute, field in pairs if inside[field.name].kind == "error"]
            others = {
                attribute: inner
                for attribute, field in pairs
                if attribute not in texts and (inner := self.visit(field.node, inside[field.name]))
            }
            return _error(self._values, texts, _replaced(others))
        known = meanings(reference.name) if content.everything else {}
        fields = {
            attribute: _named(known[field.name])
            if field.name in known
            else self.visit(field.node, inside[field.name])
            for attribute, field in pairs
        }
        return _replaced({attribute: redact for attribute, redact in fields.items() if redact})

    def _arms(self, reference: xdr.Named, node: xdr.UnionType, content: _Content) -> Redact | None:
        label, held = self.types.python_class(reference).__struct_fields__

        def part(arm: xdr.Arm) -> Redact | None:
            return self.visit(arm.node, content.part(f"{reference.name}.{arm.name}"))

        arms = {number: part(arm) for number, arm in node.by_label.items()}
        default = part(node.default) if node.default else None
        if default is None and not any(arms.values()):
            return None

        def redact(value: Any) -> Any:
            inner = arms.get(getattr(value, label), default)
            return replace(value, **{held: inner(getattr(value, held))}) if inner else value

        return redact

    def _parameter(self, node: xdr.Structure, name: str, held: str) -> Redact | None:
        """A typed parameter: its name decides what its value may hold."""
        union = node.fields[1].node
        usual = self.visit(union, _Content(None))
        whole = self.visit(union, _Content(None, everything=True))
        document = self._string_arm(union, redact_xml)
        redact_name = _string(redact_text)

        def redact(value: Any) -> Any:
            parameter = getattr(value, name)
            holds = "secret" if isinstance(parameter, bytes) else parameter_kind(parameter)
            inner = whole if holds == "secret" else document if holds == "xml" else usual
            value = replace(value, **{name: redact_name(parameter)})
            return replace(value, **{held: inner(getattr(value, held))}) if inner else value

        return redact

    def _string_arm(self, node: xdr.Node, change: Callable[[str], str]) -> Redact | None:
        """A union of a typed parameter's values, its string changed."""
        body = xdr.body_of(node, self.types)
        if body is None or not isinstance(body[1], xdr.UnionType):
            return None
        held = self.types.python_class(body[0]).__struct_fields__[1]
        redact_string = _string(change)

        def redact(value: Any) -> Any:
            text = getattr(value, held)
            return replace(value, **{held: redact_string(text)}) if isinstance(text, str | bytes) else value

        return redact


def _error(values: Values, texts: list[str], others: Redact | None) -> Redact:
    """An error of the daemon: its texts are kept together, or blanked together."""

    def redact(value: Any) -> Any:
        value = others(value) if others else value
        found = {attribute: getattr(value, attribute) for attribute in texts}
        given = [text for text in found.values() if text is not None]
        code = names("virErrorNumber").get(getattr(value, "code", 0))
        whole = (
            values.quoting
            or code in table("errors")
            or any(isinstance(text, bytes) or sensitive(text) for text in given)
        )
        change = _blank_string if whole else redact_text
        return replace(value, **{key: None if text is None else change(text) for key, text in found.items()})

    return redact


def _replaced(fields: dict[str, Redact]) -> Redact | None:
    if not fields:
        return None

    def redact(value: Any) -> Any:
        return replace(value, **{name: inner(getattr(value, name)) for name, inner in fields.items()})

    return redact


def _each(inner: Redact) -> Redact:
    return lambda values: [inner(value) for value in values]


def _optional(inner: Redact) -> Redact:
    return lambda value: None if value is None else inner(value)


def _string(change: Callable[[str], str]) -> Redact:
    """A string that is not UTF-8 cannot be searched."""
    return lambda value: blank_bytes(value) if isinstance(value, bytes) else change(value)


def _blank_string(value: str | bytes) -> str:
    return blank_bytes(value) if isinstance(value, bytes) else blank(value)


def blank_bytes(value: bytes) -> str:
    """Return text of the same length."""
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


def _characters(values: list[int]) -> list[int]:
    """Text as an array of characters, each a number of its own."""
    text = "".join(chr(value & 0xFF) for value in values)
    return [0] * len(values) if sensitive(text.rstrip("\0")) else values


def _named(meaning: Meaning) -> Redact | None:
    """A number that libvirt's public API has a name for, else 0."""
    match meaning:
        case OneOf(known):
            return lambda value: value if value in known else 0
        case Bits(known):
            return lambda value: value & sum(known)
        case By(_, pairs):
            numbers = {number for _, number in pairs}
            return lambda value: value if value in numbers else 0
