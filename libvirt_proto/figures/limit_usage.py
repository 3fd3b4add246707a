"""How close lengths of lists, strings and messages came to their limits.

The sender or the receiver refuses a length above its limit. For each payload type a tree of functions is
built once, which visits only values with a limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from ..codec import types as xdr
from ..codec.limits import MAX_FDS, MAX_FRAME
from ..codec.visitor import Visitor
from ..codec.xdrtype import TypeTable
from ..errors import OverLimit, ProtocolError
from .results import Closeness, Where

if TYPE_CHECKING:
    from ..registry import Registry
    from ..rpc.message import Message

_Walk = Callable[[Any], None]
_INDEX: Final = re.compile(r"\[\d+\]")
#: The length word counts itself, VIR_NET_MESSAGE_MAX does not.
_WORD: Final = 4


class LimitUsage:
    """Takes messages, and keeps the longest value of each place that has a limit."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._places: dict[str, _Place] = {}
        #: By a payload's type.
        self._walks: dict[str, _Walk | None] = {}
        self._recursive: dict[xdr.Named, list[_Walk | None]] = {}
        #: The message that is being looked at.
        self._where: Callable[[], Where]
        most = _constant(registry, "VIR_NET_MESSAGE_MAX", MAX_FRAME - _WORD) + _WORD
        self._message = self._place("message", "message", most)
        fds = _constant(registry, "VIR_NET_MESSAGE_NUM_FDS_MAX", MAX_FDS)
        self._fds = self._place("descriptors", "descriptors", fds)

    def add(self, message: Message, where: Callable[[], Where]) -> None:
        """Look at a message; `where` is asked if something in it is the longest so far."""
        self._where = where
        if message.length > self._message.longest:
            self._message.set(message.length, where())
        if message.fds is not None and message.fds > self._fds.longest:
            self._fds.set(message.fds, where())
        if message.payload is None or message.payload_type is None:
            return
        name = message.payload_type
        if name not in self._walks:
            type_ = self._registry.type(name)
            self._walks[name] = _Walks(type_.types, self, name).visit(type_.reference)
        walk = self._walks[name]
        if message.error is not None:
            self._over(name, message.error)
        elif walk is not None:
            walk(message.payload)

    def nearest(self, count: int) -> list[Closeness]:
        """The places that came nearest to their limits."""
        found = [
            place.closeness() for place in self._places.values() if place.longest > 0 and place.limit > 0
        ]
        found.sort(key=lambda c: (-c.fraction, -c.longest, c.path))
        return found[:count]

    def _over(self, type_: str, error: ProtocolError) -> None:
        """A payload that breaks off: at what is over its limit, if that is why."""
        place = self._places.get(_INDEX.sub("[]", f"{type_}.{error.path}" if error.path else type_))
        if isinstance(error, OverLimit) and place is not None and error.actual > place.longest:
            place.set(error.actual, self._where())

    def _place(self, what: str, path: str, limit: int) -> _Place:
        return self._places.setdefault(path, _Place(what, path, limit))

    def string(self, path: str, limit: int) -> _Walk:
        """Return the walk of a string with a limit, in bytes."""
        place = self._place("string", path, limit)

        def walk(value: str | bytes) -> None:
            size = len(value) if isinstance(value, bytes) or value.isascii() else len(value.encode())
            if size > place.longest:
                place.set(size, self._where())

        return walk

    def sized(self, what: str, path: str, limit: int, inner: _Walk | None = None) -> _Walk:
        """Return the walk of a list or of opaque data with a limit, and of its elements."""
        place = self._place(what, path, limit)

        def walk(value: Any) -> None:
            if len(value) > place.longest:
                place.set(len(value), self._where())
            if inner is not None:
                for item in value:
                    inner(item)

        return walk

    def recursive(self, reference: xdr.Named, make: Callable[[], _Walk | None]) -> _Walk:
        """Return the walk of a type that may contain itself; `make` is called once for each such type."""
        made = self._recursive.get(reference)
        if made is None:
            made = self._recursive[reference] = []
            made.append(make())
        found = made

        def walk(value: Any) -> None:
            if found[0]:
                found[0](value)

        return walk


class _Walks(Visitor[_Walk | None]):
    """Types → walks through their values; None if nothing in a type has a limit."""

    def __init__(self, types: TypeTable, usage: LimitUsage, path: str) -> None:
        super().__init__(types)
        self._usage = usage
        self._path = path

    def _at(self, path: str, node: xdr.Node) -> _Walk | None:
        return _Walks(self.types, self._usage, path).visit(node)

    def void(self, node: xdr.Void) -> None:
        return None

    def integer(self, node: xdr.Integer) -> None:
        return None

    def floating(self, node: xdr.Floating) -> None:
        return None

    def boolean(self, node: xdr.Boolean) -> None:
        return None

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration) -> None:
        return None

    def fixed_opaque(self, node: xdr.FixedOpaque) -> None:
        return None

    def opaque(self, node: xdr.Opaque) -> _Walk | None:
        return None if node.limit is None else self._usage.sized("opaque", self._path, node.limit.value)

    def string(self, node: xdr.String) -> _Walk | None:
        return None if node.limit is None else self._usage.string(self._path, node.limit.value)

    def fixed_array(self, node: xdr.FixedArray) -> _Walk | None:
        inner = self._at(f"{self._path}[]", node.element)
        return inner and _each(inner)

    def array(self, node: xdr.Array) -> _Walk | None:
        inner = self._at(f"{self._path}[]", node.element)
        if node.limit is None:
            return inner and _each(inner)
        return self._usage.sized("list", self._path, node.limit.value, inner)

    def optional(self, node: xdr.Optional) -> _Walk | None:
        inner = self.visit(node.element)
        return inner and _optional(inner)

    def structure(self, reference: xdr.Named, node: xdr.Structure) -> _Walk | None:
        def make(path: str) -> _Walk | None:
            attributes = self.types.python_class(reference).__struct_fields__
            fields = [
                (attribute, walk)
                for attribute, field in zip(attributes, node.fields, strict=True)
                if (walk := self._at(f"{path}.{field.name}", field.node))
            ]
            return _struct(fields) if fields else None

        return self._members(reference, make)

    def union(self, reference: xdr.Named, node: xdr.UnionType) -> _Walk | None:
        def make(path: str) -> _Walk | None:
            attributes = self.types.python_class(reference).__struct_fields__
            arms = {label: self._at(f"{path}.{arm.name}", arm.node) for label, arm in node.by_label.items()}
            default = self._at(f"{path}.{node.default.name}", node.default.node) if node.default else None
            return _union(attributes, arms, default) if default or any(arms.values()) else None

        return self._members(reference, make)

    def _members(self, reference: xdr.Named, make: Callable[[str], _Walk | None]) -> _Walk | None:
        """Paths within a type that may contain itself begin with its own name."""
        if self.types.definition(reference).recursive:
            return self._usage.recursive(reference, lambda: make(reference.name))
        return make(self._path)


class _Place:
    """A place with a limit, and the longest value that it had."""

    def __init__(self, what: str, path: str, limit: int) -> None:
        self.what = what
        self.path = path
        self.limit = limit
        self.longest = 0
        self.where: Where | None = None

    def set(self, length: int, where: Where) -> None:
        self.longest, self.where = length, where

    def closeness(self) -> Closeness:
        assert self.where is not None
        fraction = self.longest / self.limit
        return Closeness(self.what, self.path, self.longest, self.limit, fraction, self.where)


def _each(inner: _Walk) -> _Walk:
    def walk(values: list[Any]) -> None:
        for value in values:
            inner(value)

    return walk


def _optional(inner: _Walk) -> _Walk:
    def walk(value: Any) -> None:
        if value is not None:
            inner(value)

    return walk


def _struct(fields: list[tuple[str, _Walk]]) -> _Walk:
    def walk(value: Any) -> None:
        for attribute, inner in fields:
            inner(getattr(value, attribute))

    return walk


def _union(attributes: tuple[str, ...], arms: dict[int, _Walk | None], default: _Walk | None) -> _Walk:
    label, held = attributes

    def walk(value: Any) -> None:
        inner = arms.get(getattr(value, label), default)
        if inner is not None:
            inner(getattr(value, held))

    return walk


def _constant(registry: Registry, name: str, otherwise: int) -> int:
    """A constant of virnetprotocol.x; custom definitions may lack the file."""
    constants: Iterator[int] = (m.constants[name] for m in registry.modules() if name in m.constants)
    return next(constants, otherwise)
