"""The display filter fields of definitions: one for each distinct (object, field).

The object of a field is `args`, `ret` or `msg` if its struct is the payload of procedures, otherwise its
struct without the prefix of its program: `remote_nonnull_domain.name` and `virLogManagerProtocolDomain.name`
are both `virrpc.domain.name`. Fields of the same name are one filter field, so that a filter finds a value
wherever it occurs. If their types cannot share one, all but the first of `_CLASSES` have a suffix. A name
that the header uses gets an underscore.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from libvirt_proto.codec.types import Named

from ...schema import Schema
from .rows import Names, Rows

#: Kinds of Wireshark fields that can share a filter field, and the suffix unless they are the first class
#: of its name. Signed numbers and 64-bit unsigned ones have no common type.
_CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("string",),
    "number": ("int32", "uint32", "int64"),
    "unsigned": ("uint64",),
    "boolean": ("bool",),
    "float": ("float",),
    "double": ("double",),
    "bytes": ("bytes",),
    "guid": ("guid",),
    "struct": ("none",),
}
_SIGNED: Final = frozenset(("int32", "int64"))
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: Prefixes of types that all programs share.
_COMMON: Final = ("vir_net_message_", "vir_net_")
_QUALIFIER: Final = "nonnull_"


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a struct, or a part of a union: its definition, its index there, and its filter name without
    a suffix. `names` are the names of its numbers, if they are known from its definition only."""

    owner: Named
    index: int
    name: str
    label: str
    kind: str
    names: Names | None


@dataclass(frozen=True, slots=True)
class FilterField:
    """A filter field: its name without the protocol's, its label, its kind, and the names of its numbers if
    they are the same everywhere."""

    name: str
    label: str
    kind: str
    names: Names | None


def filter_fields(
    schema: Schema, rows: Rows, names: Mapping[tuple[Named, str], Names]
) -> tuple[tuple[FilterField, ...], Mapping[tuple[Named, int], int]]:
    """Return the filter fields of all structs and unions, and (owner, index of the part) → the number of its
    filter field.

    `names` maps (owner, field) to names of its numbers that no enumeration of the definitions has.
    """
    by_name: dict[str, list[Part]] = defaultdict(list)
    taken = {f"{program.short}.procedure" for module in schema.modules for program in module.programs}
    for part in _parts(schema, rows, names):
        by_name[f"{part.name}_" if part.name in taken else part.name].append(part)
    fields: list[FilterField] = []
    numbers: dict[tuple[Named, int], int] = {}
    for name, parts in sorted(by_name.items()):
        for suffix, group in _groups(parts):
            numbers.update({(part.owner, part.index): len(fields) for part in group})
            fields.append(_field(f"{name}{suffix}", group))
    return tuple(fields), numbers


def _parts(schema: Schema, rows: Rows, names: Mapping[tuple[Named, str], Names]) -> Iterator[Part]:
    roles = _roles(schema)
    prefixes = _prefixes(schema)
    for owner, number in rows.owners.items():
        object_ = roles.get(owner) or _object(owner.name, prefixes)
        for index, (type_, name) in enumerate(rows.parts(number)):
            if name is not None:
                kind, members = rows.leaf(type_)
                known = members or names.get((owner, name))
                yield Part(owner, index, f"{object_}.{name}", name, kind, known)


def _roles(schema: Schema) -> Mapping[Named, str]:
    """Return struct → `args`, `ret` or `msg`, for those that are only one of them."""
    found: dict[Named, set[str]] = defaultdict(set)
    for module in schema.modules:
        for program in module.programs:
            for procedure in program.procedures:
                for role in ("args", "ret", "msg"):
                    reference = getattr(procedure, role)
                    if reference is not None:
                        found[reference].add(role)
    return {reference: next(iter(roles)) for reference, roles in found.items() if len(roles) == 1}


def _prefixes(schema: Schema) -> tuple[str, ...]:
    """Return the prefixes of the programs' types, the longest first."""
    programs = [program.name for module in schema.modules for program in module.programs]
    found = {f"{name.lower().removesuffix('_program')}_" for name in programs}
    return (*sorted(found, key=lambda prefix: (-len(prefix), prefix)), *_COMMON)


def _object(name: str, prefixes: Iterable[str]) -> str:
    """`remote_nonnull_domain` → `domain`, `virNetMessageError` → `error`."""
    words = _CAMEL.sub("_", name.replace(".", "_")).lower()
    for prefix in prefixes:
        if words.startswith(prefix) and words != prefix:
            words = words.removeprefix(prefix)
            break
    return words.removeprefix(_QUALIFIER) or words


def _groups(parts: list[Part]) -> Iterator[tuple[str, list[Part]]]:
    """Yield the parts of one name by classes, each class with its suffix."""
    kinds = {part.kind for part in parts}
    signed = bool(kinds & _SIGNED)
    suffix = ""
    for class_, members in _CLASSES.items():
        if class_ == "unsigned" and not signed:
            members = ("uint32", "uint64")
        elif class_ == "number" and not signed:
            continue
        group = [part for part in parts if part.kind in members]
        if group:
            yield suffix and f"_{class_}", group
            suffix = "_"


def _field(name: str, group: list[Part]) -> FilterField:
    kinds = {part.kind for part in group}
    names = group[0].names
    same = names if names and all(part.names == names for part in group) else None
    kind = kinds.pop() if len(kinds) == 1 else "uint64" if not kinds & _SIGNED else "int64"
    return FilterField(name, group[0].label, kind, same)
