"""Values of XDR types to JSON (dict, list, str, int, float, bool, None): one rule per kind of type.

- A struct is an object with the field names of the .x, a union its discriminant and the selected arm by its
  name (only the discriminant for a void arm). Optional-data is null or the value.
- Opaque data and quadruples are lower-case hex, a uuid 8-4-4-4-12.
- An enum is the name of its member, or a number without a name.
- A string that is not UTF-8 is {"base64": …}, one that broke off {"cut": …} with its beginning.
- Integers of any size, and the elements of `char x[32]`, are numbers. Floats that JSON lacks are "NaN",
  "Infinity" and "-Infinity", and "NaN(0x…)" with 64 bits for an unusual NaN.

With names, a number with a known meaning has a key after it, `state_name` after `state`: the name of the
number in libvirt's public API, or null; for a set of bits an array of their names, followed by the unnamed
bits as one number.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from struct import Struct
from typing import Any

from ..codec import types as xdr
from ..codec.type_table import TypeTable
from ..codec.values import Partial, PartialText
from ..codec.visitor import Visitor, parts
from ..codec.xdrtype import XdrType
from ..names.fields import Bits, By, Meaning, OneOf
from ..names.meanings import key, meanings_of, name_of
from ..text import uuid_text

Convert = Callable[[Any], Any]

_DOUBLE = Struct(">d")
_NAN = _DOUBLE.pack(math.nan)


def to_plain(type_: XdrType, value: Any, *, named: bool = False) -> Any:
    """Return the JSON of a value, or of the decoded part of one that broke off.

    `value` must be of the type, as decoded. Arrays of names are tuples.
    """
    return encoder(type_.types, named).function(type_.reference)(value)


def float_text(value: float) -> float | str:
    """Return a float, or the name of one that JSON lacks."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        bits = _DOUBLE.pack(value)
        return "NaN" if bits == _NAN else f"NaN(0x{bits.hex()})"
    return "Infinity" if value > 0 else "-Infinity"


def string_text(value: str | bytes) -> str | dict[str, str]:
    """Return a string, or an object with the bytes of one that is not UTF-8, or the beginning of one that
    broke off."""
    if isinstance(value, PartialText):
        return {"cut": str(value)}
    return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value


def member_names(node: xdr.Enumeration) -> dict[int, str]:
    """Return number → the member's name in the .x (the first of several)."""
    return {member.value: member.name for member in reversed(node.members)}


@cache
def encoder(types: TypeTable, named: bool) -> JsonEncoder:
    """Return the encoder of a set of types, without or with the names of numbers."""
    return JsonEncoder(types, named)


#: The Python expression of a value → the expression of its JSON.
_Expression = Callable[[str], str]


class _Scope:
    """The things that an expression refers to, by name."""

    def __init__(self, **things: Any) -> None:
        self._things = {
            "uuid_text": uuid_text,
            "float_text": float_text,
            "string_text": string_text,
            **things,
        }

    def put(self, thing: Any) -> str:
        """Return a name for a thing."""
        name = f"_{len(self._things)}"
        self._things[name] = thing
        return name

    def function(self, expression: str) -> Convert:
        """Compile an expression of `value`."""
        return eval(f"lambda value: {expression}", self._things)  # type: ignore[no-any-return]  # noqa: S307


class JsonEncoder(Visitor[_Expression, _Scope]):
    """Makes a function for each type, which returns the JSON of a value.

    A function is compiled from one expression per struct, three times as fast as walking the fields. Names of
    the .x get into it only as quoted strings, attributes are Python's own identifiers.
    """

    def __init__(self, types: TypeTable, named: bool) -> None:
        super().__init__(types)
        self._named = named
        self._functions: dict[xdr.Node, Convert] = {}

    def function(self, node: xdr.Node) -> Convert:
        """Return the function for values of a type."""
        if node not in self._functions:
            match xdr.body_of(node, self.types):
                case reference, xdr.Structure() as body:
                    made = self._struct(reference, body)
                case reference, xdr.UnionType() as body:
                    made = self._union(reference, body)
                case _:
                    scope = _Scope()
                    made = scope.function(self.visit(node, scope)("value"))
            self._functions[node] = made
        return self._functions[node]

    # Expressions

    def scalar(self, node: xdr.Node, scope: _Scope) -> _Expression:
        return lambda value: value

    def floating(self, node: xdr.Floating, scope: _Scope) -> _Expression:
        if node.bits == 128:
            return lambda value: f"{value}.hex()"
        return lambda value: f"float_text({value})"

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration, scope: _Scope) -> _Expression:
        names = scope.put(member_names(node))
        return lambda value: f"{names}.get({value}, {value})"

    def binary(self, node: xdr.FixedOpaque | xdr.Opaque, scope: _Scope) -> _Expression:
        return lambda value: f"{value}.hex()"

    def uuid(self, node: xdr.FixedOpaque, scope: _Scope) -> _Expression:
        return lambda value: f"uuid_text({value})"

    def string(self, node: xdr.String, scope: _Scope) -> _Expression:
        return lambda value: f"({value} if type({value}) is str else string_text({value}))"

    def sequence(self, node: xdr.FixedArray | xdr.Array, scope: _Scope) -> _Expression:
        inner = self.visit(node.element, scope)("item")
        return lambda value: value if inner == "item" else f"[{inner} for item in {value}]"

    def optional(self, node: xdr.Optional, scope: _Scope) -> _Expression:
        inner = self.visit(node.element, scope)

        def expression(value: str) -> str:
            present = inner(value)
            return value if present == value else f"(None if {value} is None else {present})"

        return expression

    def structure(self, reference: xdr.Named, node: xdr.Structure, scope: _Scope) -> _Expression:
        return self._called(reference, scope)

    def union(self, reference: xdr.Named, node: xdr.UnionType, scope: _Scope) -> _Expression:
        return self._called(reference, scope)

    def _called(self, reference: xdr.Named, scope: _Scope) -> _Expression:
        """A call of the type's function, made when its first value comes: a type may contain itself."""
        made: list[Convert] = []

        def convert(value: Any) -> Any:
            if not made:
                made.append(self.function(reference))
            return made[0](value)

        name = scope.put(convert)
        return lambda value: f"{name}({value})"

    # Structs and unions

    def _struct(self, reference: xdr.Named, node: xdr.Structure) -> Convert:
        attributes = self.types.python_class(reference).__struct_fields__
        values = {
            field.name: f"value.{attribute}" for field, attribute in zip(node.fields, attributes, strict=True)
        }
        known = meanings_of(self.types, reference) if self._named else {}
        scope = _Scope(Partial=Partial, partial=partial(self._partial, reference, node))
        pairs = []
        for field in node.fields:
            pairs.append(f"{field.name!r}: {self.visit(field.node, scope)(values[field.name])}")
            if field.name in known:
                pairs.append(_name(known[field.name], field.name, values, scope))
        return scope.function(f"partial(value) if type(value) is Partial else {{{', '.join(pairs)}}}")

    def _union(self, reference: xdr.Named, node: xdr.UnionType) -> Convert:
        attribute, _ = self.types.python_class(reference).__struct_fields__
        arms = {label: self._arm(reference, node, arm) for label, arm in node.by_label.items()}
        default = self._arm(reference, node, node.default)

        def convert(value: Any) -> Any:
            if type(value) is Partial:
                return self._partial(reference, node, value)
            return arms.get(getattr(value, attribute), default)(value)

        return convert

    def _arm(self, reference: xdr.Named, node: xdr.UnionType, arm: xdr.Arm | None) -> Convert:
        scope = _Scope()
        label = node.discriminant.name
        attribute, held = self.types.python_class(reference).__struct_fields__
        values = {label: f"value.{attribute}"}
        pairs = [f"{label!r}: {self.visit(node.discriminant.node, scope)(values[label])}"]
        meaning = meanings_of(self.types, reference).get(label) if self._named else None
        if meaning is not None:
            pairs.append(_name(meaning, label, values, scope))
        if arm is not None and arm.name is not None:
            pairs.append(f"{arm.name!r}: {self.visit(arm.node, scope)(f'value.{held}')}")
        return scope.function(f"{{{', '.join(pairs)}}}")

    def _partial(
        self, reference: xdr.Named, node: xdr.Structure | xdr.UnionType, value: Partial
    ) -> dict[str, Any]:
        known = meanings_of(self.types, reference) if self._named else {}
        shown: dict[str, Any] = {}
        for name, field, part in parts(node, value):
            shown[name] = self.function(field)(part)
            if name in known:
                shown[key(name)] = name_of(known[name], part, value.fields)
        return shown


def _name(meaning: Meaning, field: str, values: Mapping[str, str], scope: _Scope) -> str:
    """A pair with the name of a field's number; `values` has the expressions of the fields."""
    match meaning:
        case OneOf(names):
            name = f"{scope.put(names.get)}({values[field]})"
        case Bits():
            # Real clients have few sets of flags; a hostile one gets no more memory than this.
            name = f"{scope.put(lru_cache(256)(meaning.of))}({values[field]})"
        case By(other, names):
            name = f"{scope.put(names.get)}(({values[other]}, {values[field]}))"
    return f"{key(field)!r}: {name}"
