"""Schema → the document of registry.json. `registry.schema.json.j2` describes its keys."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Any, Final

from libvirt_proto.codec.annotations import AccessRule, stream_direction
from libvirt_proto.codec.history import Key, version_key
from libvirt_proto.codec.types import Enumeration, Named, TypeDefinition
from libvirt_proto.names import public

from ...dialect import version_names
from ...releases.functions import Functions
from ...releases.symbols import procedure_key, program_key
from ...schema import Module, Procedure, Program, Schema
from .history import Histories
from .types import Types, expression

#: The version of the format: incremented when a key changes its meaning or is removed.
FORMAT: Final = 1

#: The module with the header of messages, and the types there that belong to no procedure.
_NET: Final = "virnetprotocol"
_HEADER, _ERROR, _HOLE = "virNetMessageHeader", "virNetMessageError", "virNetStreamHole"
_TYPE, _STATUS = "virNetMessageType", "virNetMessageStatus"
#: Messages: type, status, sender (None: the program decides), payload, and whether descriptors follow.
_MESSAGES: Final = (
    ("VIR_NET_CALL", "VIR_NET_OK", "client", "args", False),
    ("VIR_NET_CALL_WITH_FDS", "VIR_NET_OK", "client", "args", True),
    ("VIR_NET_REPLY", "VIR_NET_OK", "server", "ret", False),
    ("VIR_NET_REPLY", "VIR_NET_ERROR", "server", "error", False),
    ("VIR_NET_REPLY_WITH_FDS", "VIR_NET_OK", "server", "ret", True),
    ("VIR_NET_REPLY_WITH_FDS", "VIR_NET_ERROR", "server", "error", True),
    ("VIR_NET_MESSAGE", "VIR_NET_OK", None, "msg", False),
    ("VIR_NET_STREAM", "VIR_NET_CONTINUE", None, "data", False),
    ("VIR_NET_STREAM", "VIR_NET_OK", None, "nothing", False),
    ("VIR_NET_STREAM", "VIR_NET_ERROR", "client", "nothing", False),
    ("VIR_NET_STREAM", "VIR_NET_ERROR", "server", "error", False),
    ("VIR_NET_STREAM_HOLE", "VIR_NET_CONTINUE", None, "stream_hole", False),
)
#: The program whose messages are of the type VIR_NET_MESSAGE, though none has a payload.
_KEEPALIVE: Final = 0x6B656570


def document(schema: Schema) -> dict[str, Any]:
    """Return the document without its banner. Everything in it is in an order that the definitions give."""
    histories = Histories(schema.history)
    # A module follows those that it imports, else they are in the order of their names.
    order = TopologicalSorter({name: schema.by_name[name].imports for name in sorted(schema.by_name)})
    modules = [schema.by_name[name] for name in order.static_order()]
    types = Types(schema, histories, _procedure_members(modules))
    definitions = [types.definition(module, type_) for module in modules for type_ in module.types]
    programs = sorted(
        ((module, program) for module in modules for program in module.programs),
        key=lambda pair: (pair[1].number, pair[1].version),
    )
    return {
        "format": FORMAT,
        "release": schema.release,
        "inputs": [
            {"file": each.file, "sha256": each.sha256}
            for each in sorted(schema.inputs, key=lambda each: (each.file, each.sha256))
        ],
        "history": histories.releases(),
        "modules": [
            {"name": each.name, "file": each.file, "imports": sorted(each.imports)} for each in modules
        ],
        "protocol": _protocol(schema),
        "programs": [_program(module, program, histories, schema.functions) for module, program in programs],
        "types": definitions,
        "constants": [each for module in modules for each in _constants(module, histories)],
        "strings": [
            {"name": each.name, "module": module.name, "text": each.text}
            for module in modules
            for each in module.texts
        ],
        "public_enums": _public_enums() if types.public else [],
        "functions": _functions(schema),
    }


def _procedure_members(modules: list[Module]) -> dict[str, Key]:
    """Return the members of enums that are procedures, with the keys of these."""
    return {
        procedure.name: procedure_key(program.number, procedure.number)
        for module in modules
        for program in module.programs
        for procedure in program.procedures
    }


def _program(
    module: Module, program: Program, histories: Histories, functions: Functions | None
) -> dict[str, Any]:
    versions = version_names(program.name)
    return {
        "name": program.short,
        "symbol": program.name,
        "module": module.name,
        "number": program.number,
        "version": program.version,
        "version_symbol": next((each.name for each in module.constants if each.name in versions), None),
        "history": histories.of(program_key(program.number)),
        "procedures": [_procedure(program, each, histories, functions) for each in program.procedures],
    }


def _procedure(
    program: Program, procedure: Procedure, histories: Histories, functions: Functions | None
) -> dict[str, Any]:
    key, said = procedure_key(program.number, procedure.number), procedure.annotations
    is_event = procedure.msg is not None or program.number == _KEEPALIVE
    named = functions.events.get(key) if functions else None
    payloads = {part: getattr(procedure, part) for part in ("args", "ret", "msg")}
    return {
        "name": procedure.short,
        "symbol": procedure.name,
        "number": procedure.number,
        "kind": "event" if is_event else "call",
        **{part: reference and expression(reference) for part, reference in payloads.items()},
        "stream": stream_direction(procedure.short, said),
        "priority": said.priority,
        "generate": said.generate,
        "readstream": said.readstream,
        "writestream": said.writestream,
        "sparseflag": said.sparseflag,
        "acl": None if said.acl is None else list(map(_rule, said.acl)),
        "aclfilter": list(map(_rule, said.aclfilter)),
        "function": functions.by_procedure.get(key, (None,))[0] if functions else None,
        "event": {"name": named[0], "since": named[1]} if named else None,
        "history": histories.of(key),
    }


def _rule(rule: AccessRule) -> dict[str, str | None]:
    return rule._asdict()


def _constants(module: Module, histories: Histories) -> Iterator[dict[str, Any]]:
    owners = {
        name: program_key(program.number)
        for program in module.programs
        for name in (program.name, *version_names(program.name))
    }
    for constant in module.constants:
        yield {
            "name": constant.name,
            "module": module.name,
            "value": constant.value,
            "text": constant.text,
            "external": False,
            "header": None,
            "history": histories.of(owners.get(constant.name, ("constant", constant.name))),
        }
    for external in sorted(module.externals, key=lambda each: each.name):
        yield {
            "name": external.name,
            "module": module.name,
            "value": external.value,
            "text": None,
            "external": True,
            "header": external.header,
            "history": None,
        }


def _protocol(schema: Schema) -> dict[str, Any] | None:
    """Return how libvirt's messages are framed; None for definitions without its header."""
    net = schema.by_name.get(_NET)
    if net is None or not {_HEADER, _ERROR, _TYPE, _STATUS} <= net.by_name.keys():
        return None
    types, statuses = _members(net.by_name[_TYPE]), _members(net.by_name[_STATUS])
    return {
        "header": expression(Named(_NET, _HEADER)),
        "error": expression(Named(_NET, _ERROR)),
        "stream_hole": expression(Named(_NET, _HOLE)) if _HOLE in net.by_name else None,
        "messages": [
            {
                "type": {"name": type_, "value": types[type_]},
                "status": {"name": status, "value": statuses[status]},
                "sender": sender,
                "payload": payload,
                "descriptors": descriptors,
            }
            for type_, status, sender, payload, descriptors in _MESSAGES
            if type_ in types and status in statuses
        ],
    }


def _members(definition: TypeDefinition) -> dict[str, int]:
    node = definition.node
    return {each.name: each.value for each in node.members} if isinstance(node, Enumeration) else {}


def _public_enums() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "source": enum.source,
            "members": [
                {"name": member, "value": value, "since": public.since(member)}
                for member, value in enum.names.items()
            ],
        }
        for name, enum in sorted(public.enums().items())
    ]


def _functions(schema: Schema) -> list[dict[str, Any]] | None:
    """Return the functions of the public API that the release has; None if they are unknown."""
    if schema.functions is None or schema.release is None:
        return None
    known = set(_procedure_members(list(schema.modules)).values())
    return [
        {
            "name": name,
            "since": since,
            "calls": [{"program": int(key[1], 16), "procedure": int(key[2])} for key in keys if key in known],
            "stream": ("stream",) in keys,
        }
        for name, (since, keys) in schema.functions.calls().items()
        if version_key(since) <= version_key(schema.release)
    ]
