"""Objects that messages name: domains, networks, storage pools and others.

libvirt's definitions have a struct for each kind (`remote_nonnull_domain`), with a name, a UUID or both. A
look-up has only its name or UUID (`remote_domain_lookup_by_name_args`), and a call that defines or creates an
object its description in XML (`remote_domain_define_xml_args`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..codec import types as xdr
from ..codec.type_table import TypeTable
from ..codec.values import XdrStruct, XdrUnion
from ..codec.visitor import Visitor, parts
from ..text import uuid_text, wire_text
from .names import Names

if TYPE_CHECKING:
    from ..registry import Registry
    from .message import Message

#: The kind in the name of a struct for objects, or of the arguments of a look-up.
_KIND: Final = re.compile(r"(?:[a-z]+_)?(?:nonnull_(\w+)|(\w+?)_lookup_by_\w+_args)")
#: The kind in the name of the arguments with a description, and the fields that have it.
_DESCRIBED: Final = re.compile(r"(?:[a-z]+_)?(\w+?)_(?:define|create)_xml(?:_\w+)?_args")
_DESCRIPTIONS: Final = ("xml", "xml_desc")
_NAMES: Final = ("name", "portdev")


class NamedObject(msgspec.Struct, frozen=True):
    """An object: its kind as in the definitions (`domain`, `network`, `storage_pool`), and its name and UUID,
    None where a message does not have them."""

    kind: str
    name: str | None
    uuid: str | None = None

    def __str__(self) -> str:
        return self.name if self.name is not None else self.uuid or ""


#: Passes the objects in a value to a function.
_Find = Callable[[Any, Callable[[NamedObject], object]], None]


class ObjectFinder:
    """Finds the objects in messages. Types are those of `registry`."""

    def __init__(self, registry: Registry) -> None:
        self._names = Names(registry)
        self._visitors: dict[tuple[TypeTable, bool], _Finders] = {}
        #: The class of a payload → its function, and whether it has a description.
        self._known: dict[type, tuple[_Find | None, bool]] = {}

    def objects(self, message: Message) -> list[NamedObject]:
        """Return the objects in the payload, in order; an object's own struct precedes those in it, and all
        precede one that is described in XML."""
        return self._find(message, lists=True) + self._described(message)

    def subject(self, call: Message | None, reply: Message | None) -> NamedObject | None:
        """Return the object that a call is about: the first in the call, or else in its reply, except in a
        list, or else the one that the call describes."""
        found: list[NamedObject] = []
        for message in (call, reply):
            find = None if message is None else self._for_subject(message)[0]
            if message is not None and find is not None:
                find(message.payload, found.append)
                if found:
                    return found[0]
        if call is None or not self._for_subject(call)[1]:
            return None
        return next(iter(self._described(call)), None)

    def _for_subject(self, message: Message) -> tuple[_Find | None, bool]:
        """Return the function that finds the objects in a payload, except in lists, and whether it has a
        description. Nearly all payloads are objects of few classes."""
        class_ = type(message.payload)
        known = self._known.get(class_)
        if known is None:
            type_ = self._names.payload_type(message)
            if type_ is None:
                return None, False
            known = (
                self._visitor(type_.types, lists=False).visit(type_.reference),
                _DESCRIBED.fullmatch(type_.reference.name) is not None,
            )
            if issubclass(class_, XdrStruct | XdrUnion):
                self._known[class_] = known
        return known

    def _described(self, message: Message) -> list[NamedObject]:
        """Return the object that the payload describes, in a list."""
        type_ = self._names.payload_type(message)
        match = None if type_ is None else _DESCRIBED.fullmatch(type_.reference.name)
        if type_ is None or match is None:
            return []
        node = type_.types.definition(type_.reference).node
        assert isinstance(node, xdr.Structure)
        held = {name: part for name, _, part in parts(node, message.payload)}
        xml = next((held[field] for field in _DESCRIPTIONS if field in held), None)
        if not isinstance(xml, str | bytes):
            return []
        from .xml_description import name_and_uuid

        name, uuid = name_and_uuid(xml)
        return [] if name is uuid is None else [NamedObject(match[1], name, uuid)]

    def _find(self, message: Message, *, lists: bool) -> list[NamedObject]:
        type_ = self._names.payload_type(message)
        if type_ is None:
            return []
        find = self._visitor(type_.types, lists=lists).visit(type_.reference)
        found: list[NamedObject] = []
        if find is not None:
            find(message.payload, found.append)
        return found

    def _visitor(self, types: TypeTable, *, lists: bool) -> _Finders:
        visitor = self._visitors.get((types, lists))
        if visitor is None:
            visitor = self._visitors[types, lists] = _Finders(types, lists=lists)
        return visitor


class _Finders(Visitor[_Find | None]):
    """Functions for types, made once for each struct and union; None for a type without objects. Arrays are
    searched with `lists`."""

    def __init__(self, types: TypeTable, *, lists: bool) -> None:
        super().__init__(types)
        self._lists = lists
        self._bodies: dict[xdr.Named, _Find | None] = {}

    def scalar(self, node: xdr.Node) -> _Find | None:
        return None

    def binary(self, node: xdr.FixedOpaque | xdr.Opaque) -> _Find | None:
        return None

    def string(self, node: xdr.String) -> _Find | None:
        return None

    def sequence(self, node: xdr.FixedArray | xdr.Array) -> _Find | None:
        inner = self.visit(node.element) if self._lists else None
        if inner is None:
            return None

        def find(value: Any, add: Callable[[NamedObject], object]) -> None:
            for item in value:
                inner(item, add)

        return find

    def optional(self, node: xdr.Optional) -> _Find | None:
        inner = self.visit(node.element)
        return inner and (lambda value, add: None if value is None else inner(value, add))

    def structure(self, reference: xdr.Named, node: xdr.Structure) -> _Find | None:
        return self._body(reference, node, [(each.name, each.node) for each in node.fields])

    def union(self, reference: xdr.Named, node: xdr.UnionType) -> _Find | None:
        arms = [(arm.name, arm.node) for arm in node.every_arm if arm.name is not None]
        return self._body(reference, node, arms)

    def _body(
        self, reference: xdr.Named, node: xdr.Structure | xdr.UnionType, members: list[tuple[str, xdr.Node]]
    ) -> _Find | None:
        if reference in self._bodies:
            return self._bodies[reference]
        # A type that contains itself: what it holds is found by the function that is being made.
        self._bodies[reference] = lambda value, add: made and made(value, add)
        finders = {name: find for name, part in members if (find := self.visit(part)) is not None}
        match = _KIND.fullmatch(reference.name)
        made = _finder(node, match and (match[1] or match[2]), finders)
        self._bodies[reference] = made
        return made


def _finder(node: xdr.Structure | xdr.UnionType, kind: str | None, finders: dict[str, _Find]) -> _Find | None:
    if kind is None and not finders:
        return None
    labels = [each.name for each in node.fields] if isinstance(node, xdr.Structure) else None
    places = [(labels.index(name), inner) for name, inner in finders.items()] if labels is not None else []

    def find(value: Any, add: Callable[[NamedObject], object]) -> None:
        if labels is not None and isinstance(value, XdrStruct):
            if kind is None:  # arguments or results: most values
                fields = value.__struct_fields__
                for at, inner in places:
                    inner(getattr(value, fields[at]), add)
                return
            held = dict(zip(labels, map(value.__getattribute__, value.__struct_fields__), strict=False))
        else:
            held = {name: part for name, _, part in parts(node, value)}
        if kind is not None:
            name = next((held[field] for field in _NAMES if field in held), None)
            uuid = held.get("uuid")
            if name is not None or uuid is not None:
                text = wire_text(name) if isinstance(name, str | bytes) else None
                add(NamedObject(kind, text, uuid_text(uuid) if isinstance(uuid, bytes) else None))
            pool = held.get("pool")
            if kind == "storage_vol" and isinstance(pool, str | bytes):
                add(NamedObject("storage_pool", wire_text(pool)))
        for name, inner in finders.items():
            if name in held:
                inner(held[name], add)

    return find
