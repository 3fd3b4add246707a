"""JSON to values of XDR types: the inverse of encode.py.

Other unambiguous forms are accepted, too: the number of an enum's member, a uuid without dashes, hex in
capitals, an integer for a float. Next to a field `x`, a key `x_name` that is not a field itself is ignored:
the presenters put the names of numbers there.

Types and the ranges of integers are checked here; the encoder checks lengths, counts and the rest. Every
error is a BadValue with its path.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import Any

from ..codec import primitives
from ..codec import types as xdr
from ..codec.type_table import TypeTable
from ..codec.visitor import Visitor
from ..codec.xdrtype import XdrType
from ..errors import BadValue

Parse = Callable[[Any], Any]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}(\1[0-9a-fA-F]{4}){2}\1[0-9a-fA-F]{12}")
_NAN = re.compile(r"NaN(?:\(0x([0-9a-f]{16})\))?")
_DOUBLE, _BITS = Struct(">d"), Struct(">Q")
_SHOWN = 40


def from_plain(type_: XdrType, data: Any) -> Any:
    """Return the value of a type from its JSON (dict, list, str, int, float, bool, None).

    Raises BadValue with the path to the part that does not fit.
    """
    try:
        return decoder(type_.types).function(type_.reference)(data)
    except RecursionError:
        raise BadValue("is nested too deeply") from None


def shown(data: Any) -> str:
    """Return a value as JSON, cut after some characters, for the text of an error."""
    text = json.dumps(data, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def hex_bytes(data: Any) -> bytes:
    """Return bytes from hex; raises BadValue."""
    try:
        return bytes.fromhex(data)
    except (TypeError, ValueError):
        raise BadValue(f"expected hex (a string with two digits per byte), got {shown(data)}") from None


def base64_bytes(data: Any) -> bytes:
    """Return bytes from base64; raises BadValue."""
    try:
        return b64decode(data, validate=True)
    except (TypeError, ValueError):
        raise BadValue(f"expected base64 (a string), got {shown(data)}") from None


def integer(data: Any, bits: int = 64, signed: bool = True) -> int:
    """Return an integer within its range; raises BadValue, also for a float or a boolean."""
    if type(data) is not int:
        raise BadValue(f"expected an integer, got {shown(data)}")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if not low <= data <= high:
        raise BadValue(f"expected an integer from {low} to {high}, got {shown(data)}")
    return data


def _inside(step: str, error: BadValue) -> BadValue:
    """Return the error with a step added before its path."""
    dot = "." if error.path and not error.path.startswith("[") else ""
    error.path = f"{step}{dot}{error.path}"
    return error


@cache
def decoder(types: TypeTable) -> JsonDecoder:
    """Return the decoder of a set of types."""
    return JsonDecoder(types)


class JsonDecoder(Visitor[Parse]):
    """Makes a function for each type, which returns a value from its JSON."""

    def __init__(self, types: TypeTable) -> None:
        super().__init__(types)
        self._functions: dict[xdr.Node, Parse] = {}

    def function(self, node: xdr.Node) -> Parse:
        """Return the function for values of a type."""
        if node not in self._functions:
            self._functions[node] = self.visit(node)
        return self._functions[node]

    def void(self, node: xdr.Void) -> Parse:
        return _void

    def integer(self, node: xdr.Integer) -> Parse:
        return lambda data: integer(data, node.bits, node.signed)

    def boolean(self, node: xdr.Boolean) -> Parse:
        return _boolean

    def floating(self, node: xdr.Floating) -> Parse:
        return hex_bytes if node.bits == 128 else _float

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration) -> Parse:
        return _Enum(self.types.python_class(reference))

    def binary(self, node: xdr.FixedOpaque | xdr.Opaque) -> Parse:
        return hex_bytes

    def uuid(self, node: xdr.FixedOpaque) -> Parse:
        return _uuid

    def string(self, node: xdr.String) -> Parse:
        return _string

    def sequence(self, node: xdr.FixedArray | xdr.Array) -> Parse:
        inner = self.function(node.element)

        def parse(data: Any) -> list[Any]:
            if type(data) is not list:
                raise BadValue(f"expected an array, got {shown(data)}")
            values: list[Any] = []
            for item in data:
                try:
                    values.append(inner(item))
                except BadValue as error:
                    raise _inside(f"[{len(values)}]", error) from None
            return values

        return parse

    def optional(self, node: xdr.Optional) -> Parse:
        inner = self.function(node.element)
        return lambda data: None if data is None else inner(data)

    def structure(self, reference: xdr.Named, node: xdr.Structure) -> Parse:
        fields: dict[str, Parse] = {}

        def parse(data: Any) -> Any:
            if not fields:  # made when the first value comes: a type may contain itself
                fields.update((each.name, self.function(each.node)) for each in node.fields)
            if type(data) is not dict:
                raise BadValue(f"expected an object ({reference.name}), got {shown(data)}")
            values = []
            for name, field in fields.items():
                if name not in data:
                    raise BadValue(f"is missing ({reference.name})", path=name)
                try:
                    values.append(field(data[name]))
                except BadValue as error:
                    raise _inside(name, error) from None
            if len(data) > len(fields):
                _check_keys(data, fields, reference.name)
            return self.types.python_class(reference)(*values)

        return parse

    def union(self, reference: xdr.Named, node: xdr.UnionType) -> Parse:
        label = node.discriminant.name

        def parse(data: Any) -> Any:
            if type(data) is not dict:
                raise BadValue(f"expected an object ({reference.name}), got {shown(data)}")
            if label not in data:
                raise BadValue(f"is missing ({reference.name})", path=label)
            try:
                discriminant = self.function(node.discriminant.node)(data[label])
            except BadValue as error:
                raise _inside(label, error) from None
            arm = node.arm(discriminant)
            if arm is None:
                known = ", ".join(map(str, node.by_label))
                problem = f"expected a label of {reference.name} ({known}), got {shown(data[label])}"
                raise BadValue(problem, path=label)
            owner = f"{reference.name} with {label} {shown(data[label])}"
            return self.types.python_class(reference)(discriminant, self._held(arm, data, label, owner))

        return parse

    def _held(self, arm: xdr.Arm, data: dict[str, Any], label: str, owner: str) -> Any:
        name = arm.name
        _check_keys(data, [label] if name is None else [label, name], owner)
        if name is None:
            return None
        if name not in data:
            raise BadValue(f"is missing ({owner})", path=name)
        try:
            return self.function(arm.node)(data[name])
        except BadValue as error:
            raise _inside(name, error) from None


def _check_keys(data: dict[str, Any], known: Any, owner: str) -> None:
    """Raises BadValue for a key that is neither a field nor the name of a field's number."""
    for key in data:
        if key not in known and not (key.endswith("_name") and key.removesuffix("_name") in known):
            fields = ", ".join(known) or "nothing"
            raise BadValue(f"unknown field: {owner} has {fields}", path=key)


def _void(data: Any) -> None:
    if data is not None:
        raise BadValue(f"expected null, got {shown(data)}")


class _Enum:
    def __init__(self, type_: Any) -> None:
        self._members: dict[str, int] = dict(type_.__members__)
        self._numbers: dict[int, int] = {int(member): member for member in type_}

    def __call__(self, data: Any) -> int:
        if type(data) is not str:
            number = integer(data, 32)
            return self._numbers.get(number, number)
        if data not in self._members:
            some = ", ".join(list(self._members)[:4])
            more = f" ({len(self._members) - 4} more)" if len(self._members) > 4 else ""
            raise BadValue(f"expected a number or one of {some}{more}, got {shown(data)}")
        return self._members[data]


def _uuid(data: Any) -> bytes:
    if type(data) is not str or not _UUID.fullmatch(data):
        raise BadValue(f"expected a uuid (8-4-4-4-12 hex digits), got {shown(data)}")
    return bytes.fromhex(data.replace("-", ""))


def _boolean(data: Any) -> bool:
    if type(data) is not bool:
        raise BadValue(f"expected true or false, got {shown(data)}")
    return data


def _float(data: Any) -> float:
    if type(data) is float or type(data) is int:
        try:
            return float(data)
        except OverflowError:
            raise BadValue(f"expected a number within the range of a float, got {shown(data)}") from None
    if data in ("Infinity", "-Infinity"):
        return math.inf if data == "Infinity" else -math.inf
    if type(data) is str and (match := _NAN.fullmatch(data)):
        bits = match[1]
        return math.nan if bits is None else _nan(int(bits, 16))
    raise BadValue(f'expected a number, "NaN", "Infinity" or "-Infinity", got {shown(data)}')


def _nan(bits: int) -> float:
    (value,) = _DOUBLE.unpack(_BITS.pack(bits))
    if not math.isnan(value):
        raise BadValue(f"expected the bits of a NaN, got 0x{bits:016x}")
    return float(value)


def _string(data: Any) -> str | bytes:
    if type(data) is str:
        return data
    if type(data) is dict and list(data) == ["base64"]:
        try:
            return primitives.text(base64_bytes(data["base64"]))
        except BadValue as error:
            raise _inside("base64", error) from None
    raise BadValue(f'expected a string or {{"base64": "…"}}, got {shown(data)}')
