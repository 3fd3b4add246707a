"""Objects that messages name: domains, networks, storage pools and others.

libvirt's definitions have a struct for each kind (`remote_nonnull_domain`), with a name, a UUID or both. A
look-up has only its name or UUID (`remote_domain_lookup_by_name_args`), and a call that defines or creates an
object its description in XML (`remote_domain_define_xml_args`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

import msgspec

from ..codec import types as xdr
from ..codec.type_table import TypeTable
from ..codec.values import PartialText, XdrStruct, XdrUnion
from ..codec.visitor import UUID_SIZE, Visitor, parts
from ..codec.xdrtype import XdrType
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
#: Maximum number of structs around an object at a fixed place.
_MAX_PLACE: Final = 4


class NamedObject(msgspec.Struct, frozen=True):
    """An object: its kind as in the definitions (`domain`, `network`, `storage_pool`), and its name and UUID,
    None where a message does not have them."""

    kind: str
    name: str | None
    uuid: str | None = None

    def __str__(self) -> str:
        return self.name if self.name is not None else self.uuid or ""


class Place(NamedTuple):
    """An object that each value of a type has: its kind, and the numbers of the fields that lead to its name
    and its UUID; None for one that it does not have."""

    kind: str
    name: tuple[int, ...] | None
    uuid: tuple[int, ...] | None


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

    def fixed_subject(
        self, call: Message, reply: Message
    ) -> tuple[bool, tuple[Message, XdrType, Place] | None]:
        """Return whether the types of two payloads determine where the subject is; and which message has it,
        its type and the place, None for no subject."""
        for message in (call, reply):
            type_ = self._names.payload_type(message)
            if type_ is None:
                continue
            is_fixed, place = self._place(type_, type_.reference, ())
            if place is not None or not is_fixed:
                return is_fixed, None if place is None else (message, type_, place)
        return not self._for_subject(call)[1], None

    def _place(self, type_: XdrType, node: xdr.Node, path: tuple[int, ...]) -> tuple[bool, Place | None]:
        """Return whether the first object in values of a type has a fixed place, and the place."""
        types = type_.types
        if self._visitor(types, lists=False).visit(node) is None:
            return True, None
        reference = node
        while isinstance(node, xdr.Named):
            reference, node = node, types.definition(node).node
        if not isinstance(node, xdr.Structure) or len(path) >= _MAX_PLACE:
            return False, None
        assert isinstance(reference, xdr.Named)
        match = _KIND.fullmatch(reference.name)
        if match is not None:
            fields = [field.name for field in node.fields]
            name = next((fields.index(each) for each in _NAMES if each in fields), None)
            uuid = fields.index("uuid") if "uuid" in fields else None
            if name is not None or uuid is not None:
                place = Place(
                    match[1] or match[2],
                    None if name is None else (*path, name),
                    None if uuid is None else (*path, uuid),
                )
                is_text = name is None or isinstance(_declared(types, node.fields[name].node), xdr.String)
                is_uuid = uuid is None or _is_uuid(_declared(types, node.fields[uuid].node))
                return is_text and is_uuid, place if is_text and is_uuid else None
            if "pool" in fields:
                return False, None
        for index, field in enumerate(node.fields):
            is_fixed, found = self._place(type_, field.node, (*path, index))
            if found is not None or not is_fixed:
                return is_fixed, found
        return True, None

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


def _declared(types: TypeTable, node: xdr.Node) -> xdr.Node:
    """Return a type without typedefs."""
    while isinstance(node, xdr.Named):
        node = types.definition(node).node
    return node


def _is_uuid(node: xdr.Node) -> bool:
    return isinstance(node, xdr.FixedOpaque) and node.size.value == UUID_SIZE


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
                text = wire_text(name) if _is_whole(name) else None
                if text is not None or isinstance(uuid, bytes):
                    add(NamedObject(kind, text, uuid_text(uuid) if isinstance(uuid, bytes) else None))
            pool = held.get("pool")
            if kind == "storage_vol" and _is_whole(pool):
                add(NamedObject("storage_pool", wire_text(pool)))
        for name, inner in finders.items():
            if name in held:
                inner(held[name], add)

    return find


def _is_whole(text: object) -> TypeGuard[str | bytes]:
    """Return whether a value is a string; the beginning of one that broke off is not a name."""
    return isinstance(text, str | bytes) and not isinstance(text, PartialText)
