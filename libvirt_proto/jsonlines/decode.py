"""The inverse of encode.py: builtins as JSON gives them → values of XDR types.

What `plain` spells is taken, and what is as clear: an enum's number although it has a name, a
uuid without its dashes, hex in capitals, an integer for a float. Beside a field `x`, a key `x_name`
that is no field itself is passed over: the presenters put names of numbers there.

Types and the ranges of integers are checked here; lengths, counts and what else does not fit by the
encoder. Every error is a BadValue with the path to the place.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode
from collections.abc import Callable
from functools import cache, cached_property
from struct import Struct
from typing import Any

from ..codec import primitives as xdr
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
from ..errors import BadValue

Parse = Callable[[Any], Any]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}(\1[0-9a-fA-F]{4}){2}\1[0-9a-fA-F]{12}")
_NAN = re.compile(r"NaN(?:\(0x([0-9a-f]{16})\))?")
_DOUBLE, _BITS = Struct(">d"), Struct(">Q")
_SHOWN = 40


def unplain(node: Node, data: Any) -> Any:
    """The value of a node that `data` (dict, list, str, int, float, bool, None) spells.

    Raises BadValue, its path leading to what does not fit.
    """
    try:
        return parser(node)(data)
    except RecursionError:
        raise BadValue("is nested too deeply") from None


def shown(data: Any) -> str:
    """A value as JSON, cut after some characters, for an error's text."""
    text = json.dumps(data, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def hex_bytes(data: Any) -> bytes:
    """Bytes from hex; BadValue for what is none."""
    try:
        return bytes.fromhex(data)
    except (TypeError, ValueError):
        raise BadValue(f"{shown(data)} is not hex (two digits per byte, as a string)") from None


def base64_bytes(data: Any) -> bytes:
    """Bytes from base64; BadValue for what is none."""
    try:
        return b64decode(data, validate=True)
    except (TypeError, ValueError):
        raise BadValue(f"{shown(data)} is not base64 (a string)") from None


def integer(data: Any, bits: int = 64, signed: bool = True) -> int:
    """An integer in its range; BadValue for a float, a boolean, or one out of it."""
    if type(data) is not int:
        raise BadValue(f"{shown(data)} is no integer")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if not low <= data <= high:
        raise BadValue(f"{shown(data)} is not between {low} and {high}")
    return data


@cache
def parser(node: Node) -> Parse:
    """The function that reads values of a node."""
    match node:
        case Leaf():
            return _leaf(node)
        case VoidNode():
            return _void
        case Optional(element):
            inner = parser(element)
            return lambda data: None if data is None else inner(data)
        case Sequence():
            return _sequence(node)
        case StructNode():
            return _StructParser(node)
        case UnionNode():
            return _UnionParser(node)


def _inside(step: str, error: BadValue) -> BadValue:
    """The error, with a step put before its path."""
    dot = "." if error.path and not error.path.startswith("[") else ""
    error.path = f"{step}{dot}{error.path}"
    return error


class _StructParser:
    def __init__(self, node: StructNode) -> None:
        self._node = node

    @cached_property
    def _fields(self) -> dict[str, Parse]:
        # Made when the first value comes: a type may contain itself.
        return {name: parser(field) for name, _, field in self._node.fields}

    def __call__(self, data: Any) -> Any:
        fields = self._fields
        if type(data) is not dict:
            raise BadValue(f"{shown(data)} is no object ({self._node.name})")
        values = []
        for name, parse in fields.items():
            if name not in data:
                raise BadValue(f"is missing ({self._node.name})", path=name)
            try:
                values.append(parse(data[name]))
            except BadValue as error:
                raise _inside(name, error) from None
        if len(data) > len(fields):
            _check_keys(data, fields, self._node.name)
        return self._node.type(*values)


class _UnionParser:
    def __init__(self, node: UnionNode) -> None:
        self._node = node

    @cached_property
    def _discriminant(self) -> tuple[str, Parse]:
        name, _, field = self._node.discriminant
        return name, parser(field)

    def __call__(self, data: Any) -> Any:
        node, (label, parse) = self._node, self._discriminant
        if type(data) is not dict:
            raise BadValue(f"{shown(data)} is no object ({node.name})")
        if label not in data:
            raise BadValue(f"is missing ({node.name})", path=label)
        try:
            discriminant = parse(data[label])
        except BadValue as error:
            raise _inside(label, error) from None
        arm = node.arm(discriminant)
        if arm is None:
            known = ", ".join(map(str, node.arms))
            raise BadValue(f"{node.name} has no arm for {shown(data[label])}, but for {known}", path=label)
        name, field = arm
        keys = [label] if name is None else [label, name]
        _check_keys(data, keys, f"{node.name} with {label} {shown(data[label])}")
        if name is None:
            return node.type(discriminant, None)
        if name not in data:
            raise BadValue(f"is missing ({node.name} with {label} {shown(data[label])})", path=name)
        try:
            return node.type(discriminant, parser(field)(data[name]))
        except BadValue as error:
            raise _inside(name, error) from None


def _check_keys(data: dict[str, Any], known: Any, owner: str) -> None:
    """Raises BadValue for a key that is neither a field nor the name of a field's number."""
    for key in data:
        if key not in known and not (key.endswith("_name") and key.removesuffix("_name") in known):
            fields = ", ".join(known) or "nothing"
            raise BadValue(f"there is no such field: {owner} has {fields}", path=key)


def _sequence(node: Sequence) -> Parse:
    inner = parser(node.element)

    def parse(data: Any) -> list[Any]:
        if type(data) is not list:
            raise BadValue(f"{shown(data)} is no array")
        values = []
        for item in data:
            try:
                values.append(inner(item))
            except BadValue as error:
                raise _inside(f"[{len(values)}]", error) from None
        return values

    return parse


def _void(data: Any) -> None:
    if data is not None:
        raise BadValue(f"{shown(data)} where nothing belongs")


def _leaf(leaf: Leaf) -> Parse:
    if leaf.is_uuid:
        return _uuid
    match leaf.mark:
        case Integer(bits, signed):
            return lambda data: integer(data, bits, signed)
        case Boolean():
            return _boolean
        case Floating(128) | FixedOpaque() | Opaque():
            return hex_bytes
        case Floating():
            return _float
        case String():
            return _string
        case EnumOf(type_):
            return _Enum(type_)


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
            more = f" and {len(self._members) - 4} more" if len(self._members) > 4 else ""
            raise BadValue(f"{shown(data)} is none of {some}{more}, nor a number")
        return self._members[data]


def _uuid(data: Any) -> bytes:
    if type(data) is not str or not _UUID.fullmatch(data):
        raise BadValue(f"{shown(data)} is no uuid (8-4-4-4-12 hex digits)")
    return bytes.fromhex(data.replace("-", ""))


def _boolean(data: Any) -> bool:
    if type(data) is not bool:
        raise BadValue(f"{shown(data)} is neither true nor false")
    return data


def _float(data: Any) -> float:
    if type(data) is float or type(data) is int:
        try:
            return float(data)
        except OverflowError:
            raise BadValue(f"{shown(data)} is too large for a float") from None
    if data in ("Infinity", "-Infinity"):
        return math.inf if data == "Infinity" else -math.inf
    if type(data) is str and (match := _NAN.fullmatch(data)):
        bits = match[1]
        return math.nan if bits is None else _nan(int(bits, 16))
    raise BadValue(f'{shown(data)} is no number, nor "NaN", "Infinity" or "-Infinity"')


def _nan(bits: int) -> float:
    (value,) = _DOUBLE.unpack(_BITS.pack(bits))
    if not math.isnan(value):
        raise BadValue(f"0x{bits:016x} are not the bits of a NaN")
    return float(value)


def _string(data: Any) -> str | bytes:
    if type(data) is str:
        return data
    if type(data) is dict and list(data) == ["base64"]:
        try:
            return xdr.text(base64_bytes(data["base64"]))
        except BadValue as error:
            raise _inside("base64", error) from None
    raise BadValue(f'{shown(data)} is no string, nor {{"base64": "…"}}')
