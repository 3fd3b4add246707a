"""Blank secrets in values of XDR types: a tree of functions per type, which visits only parts with secrets.

Lengths, counts, discriminants and the presence of optional data stay, so the encoding keeps its size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from ..codec import types as xdr
from ..codec.secretfields import Kind, kind, parameter_kind, table
from ..codec.visitor import Visitor
from ..codec.xdrtype import TypeTable, XdrType
from ..names.public import Bits, By, Meaning, OneOf, meanings, names
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
        self._recursive: dict[tuple[xdr.Named, bool], list[Redact | None]] = {}
        self.quoting = False

    def of(self, type_: XdrType) -> Redact | None:
        """Return the function for a type, None if its values stay as they are."""
        if type_.name not in self._made:
            visitor = _Redactions(type_.types, self, kind(type_.name), everything=self._everything)
            self._made[type_.name] = visitor.visit(type_.reference)
        return self._made[type_.name]

    def recursive(self, key: tuple[xdr.Named, bool], make: Callable[[], Redact | None]) -> Redact:
        """Return the function for a type that may contain itself; `make` is called once for each."""
        made = self._recursive.get(key)
        if made is None:
            made = self._recursive[key] = []
            made.append(make())
        found = made
        return lambda value: found[0](value) if found[0] else value


class _Redactions(Visitor[Redact | None]):
    """Functions for a type that holds something of this kind."""

    def __init__(self, types: TypeTable, values: Values, holds: Kind | None, *, everything: bool) -> None:
        super().__init__(types)
        self._values = values
        self._holds = holds
        self._everything = everything
        self._blanks = everything or holds == "secret"

    def _part(self, node: xdr.Node, holds: Kind | None, *, everything: bool | None = None) -> Redact | None:
        whole = self._everything if everything is None else everything
        return _Redactions(self.types, self._values, holds, everything=whole).visit(node)

    # Scalars

    def void(self, node: xdr.Void) -> Redact | None:
        return None

    def integer(self, node: xdr.Integer) -> Redact | None:
        return (lambda value: 0) if self._blanks else None

    def boolean(self, node: xdr.Boolean) -> Redact | None:
        return (lambda value: False) if self._blanks else None

    def floating(self, node: xdr.Floating) -> Redact | None:
        if not self._blanks:
            return None
        return _zeros if node.bits == 128 else lambda value: 0.0

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration) -> Redact | None:
        members = self.types.python_class(reference)
        return (lambda value: value if isinstance(value, members) else 0) if self._blanks else None

    def fixed_opaque(self, node: xdr.FixedOpaque) -> Redact | None:
        return _zeros if self._blanks or self._holds != "public" else None

    def uuid(self, node: xdr.FixedOpaque) -> Redact | None:
        return _zeros if self._blanks else None

    def opaque(self, node: xdr.Opaque) -> Redact | None:
        if not self._blanks and self._holds == "xml":
            return _document
        return _zeros if self._blanks or self._holds != "public" else None

    def string(self, node: xdr.String) -> Redact | None:
        if self._blanks:
            return _blank_string
        return None if self._holds == "public" else _string(_TEXTS.get(self._holds, redact_text))

    # Arrays and optional-data

    def fixed_array(self, node: xdr.FixedArray) -> Redact | None:
        return self._elements(node.element)

    def array(self, node: xdr.Array) -> Redact | None:
        return self._elements(node.element)

    def _elements(self, element: xdr.Node) -> Redact | None:
        below = xdr.resolved(element, self.types)
        if not self._blanks and isinstance(below, xdr.Integer) and below.spelling.endswith("char"):
            return _characters
        inner = self.visit(element)
        return inner and _each(inner)

    def optional(self, node: xdr.Optional) -> Redact | None:
        inner = self.visit(node.element)
        return inner and _optional(inner)

    # Structs and unions

    def structure(self, reference: xdr.Named, node: xdr.Structure) -> Redact | None:
        return self._body(reference, lambda: self._struct(reference, node))

    def union(self, reference: xdr.Named, node: xdr.UnionType) -> Redact | None:
        return self._body(reference, lambda: self._arms(reference, node))

    def _body(self, reference: xdr.Named, make: Callable[[], Redact | None]) -> Redact | None:
        if self.types.definition(reference).recursive:
            return self._values.recursive((reference, self._everything), make)
        return make()

    def _struct(self, reference: xdr.Named, node: xdr.Structure) -> Redact | None:
        attributes = self.types.python_class(reference).__struct_fields__
        if not self._everything and reference.name in _PARAMETERS and len(node.fields) == 2:
            return self._parameter(node, *attributes)
        holds = {field.name: kind(f"{reference.name}.{field.name}") for field in node.fields}
        pairs = list(zip(attributes, node.fields, strict=True))
        if not self._everything and "error" in holds.values():
            texts = [attribute for attribute, field in pairs if holds[field.name] == "error"]
            others = {
                attribute: inner
                for attribute, field in pairs
                if attribute not in texts and (inner := self._part(field.node, holds[field.name]))
            }
            return _error(self._values, texts, _replaced(others))
        known = meanings(reference.name) if self._everything else {}
        fields = {
            attribute: _named(known[field.name])
            if field.name in known
            else self._part(field.node, holds[field.name])
            for attribute, field in pairs
        }
        return _replaced({attribute: redact for attribute, redact in fields.items() if redact})

    def _arms(self, reference: xdr.Named, node: xdr.UnionType) -> Redact | None:
        label, held = self.types.python_class(reference).__struct_fields__
        arms = {
            number: self._part(arm.node, kind(f"{reference.name}.{arm.name}"))
            for number, arm in node.by_label.items()
        }
        other = node.default
        default = self._part(other.node, kind(f"{reference.name}.{other.name}")) if other else None
        if default is None and not any(arms.values()):
            return None

        def redact(value: Any) -> Any:
            inner = arms.get(getattr(value, label), default)
            return replace(value, **{held: inner(getattr(value, held))}) if inner else value

        return redact

    def _parameter(self, node: xdr.Structure, name: str, held: str) -> Redact | None:
        """A typed parameter: its name decides what its value may hold."""
        content = node.fields[1].node
        usual = self._part(content, None)
        whole = self._part(content, None, everything=True)
        document = self._string_arm(content, redact_xml)
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
