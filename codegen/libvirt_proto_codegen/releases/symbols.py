"""Everything that a Schema names, with a key that is stable across releases, and its changeable aspects.

The key of a program is its number, that of a procedure its program's and its own, all other keys are names:

    program 0x20008086                       procedure 0x20008086 422
    type remote_domain_get_info_ret          field remote_domain_get_info_ret maxMem
    member virNetMessageType VIR_NET_CALL    constant REMOTE_STRING_MAX
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from libvirt_proto.codec.history import Key
from libvirt_proto.codec.types import (
    Arm,
    Enumeration,
    Field,
    TypeDefinition,
    declared_parts,
    keyword_of,
)

from ..dialect import version_names
from ..schema import Module, Procedure, Schema

#: The changeable aspects of a thing: `number`, `xdr`, `name`, `args`, … → its value.
Aspects = Mapping[str, int | str | None]
#: The aspects of a procedure that libvirt writes in comments, not in declarations.
ANNOTATIONS: Final = ("priority", "readstream", "writestream", "sparseflag", "acl", "aclfilter")


def symbols(schema: Schema) -> dict[Key, Aspects]:
    """Return everything named, with its aspects. The fields of a union are its discriminant and arms."""
    found: dict[Key, Aspects] = {}
    for module in schema.modules:
        for key, aspects in _module(module):
            found.setdefault(key, aspects)
    return found


def program_key(number: int) -> Key:
    """Return the key of a program."""
    return "program", f"{number:#010x}"


def procedure_key(program: int, number: int) -> Key:
    """Return the key of a procedure."""
    return "procedure", f"{program:#010x}", str(number)


def _module(module: Module) -> Iterator[tuple[Key, Aspects]]:
    spoken_for = {name for each in module.programs for name in (each.name, *version_names(each.name))}
    for program in module.programs:
        yield program_key(program.number), {"name": program.name, "version": program.version}
        for procedure in program.procedures:
            spoken_for.add(procedure.name)
            yield procedure_key(program.number, procedure.number), _procedure(procedure)
    for definition in module.types:
        yield from _type(definition, spoken_for)
    for constant in module.constants:
        if constant.name not in spoken_for:
            yield ("constant", constant.name), {"number": constant.value}


def _procedure(procedure: Procedure) -> Aspects:
    said = procedure.annotations
    payloads = {part: getattr(procedure, part) for part in ("args", "ret", "msg")}
    return {
        "name": procedure.name,
        **{part: reference and reference.name for part, reference in payloads.items()},
        "priority": said.priority,
        "readstream": said.readstream,
        "writestream": said.writestream,
        "sparseflag": said.sparseflag,
        "acl": None if said.acl is None else ", ".join(map(str, said.acl)) or "none",
        "aclfilter": ", ".join(map(str, said.aclfilter)) or None,
    }


def _type(definition: TypeDefinition, spoken_for: set[str]) -> Iterator[tuple[Key, Aspects]]:
    name, node, kind = definition.name, definition.node, keyword_of(definition.node)
    yield ("type", name), {"kind": kind} | ({"xdr": definition.xdr} if kind == "typedef" else {})
    for part in declared_parts(node):
        yield ("field", name, part_name(part)), {"xdr": part.xdr}
    for member in node.members if isinstance(node, Enumeration) else ():
        if member.name not in spoken_for:
            yield ("member", name, member.name), {"number": member.value}


def part_name(part: Field | Arm) -> str:
    """Return the name of a field or an arm; without a name, the label of the arm: `case 7`, `default`."""
    if part.name is not None:
        return part.name
    return f"case {part.labels[0].value}" if part.labels else "default"
