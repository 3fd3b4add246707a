"""How near the lists, strings and messages came to what they may have at most.

What is over a limit is refused, by who sends it or by who receives it. For each type of payload a tree of
functions is put together once, which looks only at what has a limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from ..codec.layout import Leaf, Node, Opaque, Optional, Sequence, String, StructNode, UnionNode
from ..codec.limits import MAX_FDS, MAX_FRAME
from ..errors import OverLimit, ProtocolError
from .results import Closeness, Where

if TYPE_CHECKING:
    from ..registry import Registry
    from ..rpc.message import Message

_Walk = Callable[[Any], None]
_INDEX: Final = re.compile(r"\[\d+\]")
#: The length word counts itself, VIR_NET_MESSAGE_MAX does not.
_WORD: Final = 4


class Limits:
    """Takes messages, and keeps the longest value of each place that has a limit."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._places: dict[str, _Place] = {}
        #: By a payload's type.
        self._walks: dict[str, _Walk | None] = {}
        self._recursive: dict[type, list[_Walk | None]] = {}
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
            self._walks[name] = self._walk(self._registry.type(name).node, name)
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

    # Walks

    def _walk(self, node: Node, path: str) -> _Walk | None:
        """The function for values of a node, None if nothing in them has a limit."""
        match node:
            case Leaf(String(int(limit))):
                return self._string(self._place("string", path, limit))
            case Leaf(Opaque(int(limit))):
                return self._sized(self._place("opaque", path, limit), None)
            case Sequence(element, size, fixed):
                inner = self._walk(element, f"{path}[]")
                if fixed or size is None:
                    return inner and _each(inner)
                return self._sized(self._place("list", path, size), inner)
            case Optional(element):
                inner = self._walk(element, path)
                return inner and _optional(inner)
            case StructNode() | UnionNode():
                if node.type.xdr_recursive:
                    return self._later(node)
                return self._members(node, path)
            case _:
                return None

    def _members(self, node: StructNode | UnionNode, path: str) -> _Walk | None:
        if isinstance(node, StructNode):
            fields = [
                (attribute, walk)
                for name, attribute, field in node.fields
                if (walk := self._walk(field, f"{path}.{name}"))
            ]
            return _struct(fields) if fields else None
        arms = {number: self._walk(arm, f"{path}.{name}") for number, (name, arm) in node.arms.items()}
        default = self._walk(node.default[1], f"{path}.{node.default[0]}") if node.default else None
        return _union(node, arms, default) if default or any(arms.values()) else None

    def _later(self, node: StructNode | UnionNode) -> _Walk:
        """A type that may contain itself: its paths begin with its own name."""
        made = self._recursive.get(node.type)
        if made is None:
            made = self._recursive[node.type] = []
            made.append(self._members(node, node.name))
        found = made

        def walk(value: Any) -> None:
            if found[0]:
                found[0](value)

        return walk

    def _string(self, place: _Place) -> _Walk:
        def walk(value: str | bytes) -> None:
            size = len(value) if isinstance(value, bytes) or value.isascii() else len(value.encode())
            if size > place.longest:
                place.set(size, self._where())

        return walk

    def _sized(self, place: _Place, inner: _Walk | None) -> _Walk:
        def walk(value: Any) -> None:
            if len(value) > place.longest:
                place.set(len(value), self._where())
            if inner is not None:
                for item in value:
                    inner(item)

        return walk


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


def _union(node: UnionNode, arms: dict[int, _Walk | None], default: _Walk | None) -> _Walk:
    label, held = node.type.__struct_fields__

    def walk(value: Any) -> None:
        inner = arms.get(getattr(value, label), default)
        if inner is not None:
            inner(getattr(value, held))

    return walk


def _constant(registry: Registry, name: str, otherwise: int) -> int:
    """A constant of virnetprotocol.x; definitions of one's own may lack the file."""
    constants: Iterator[int] = (m.constants[name] for m in registry.modules() if name in m.constants)
    return next(constants, otherwise)
