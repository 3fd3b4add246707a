"""What a registry knows of a thing, as an ordered dict: the JSON of `lookup`, `list` and `describe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errornames import CODES, DOMAINS, LEVELS
from ..since import since

if TYPE_CHECKING:
    from ..program import Annotations, Procedure, Program, XdrType
    from ..registry import Module

Facts = dict[str, Any]
#: Kind → number → name, for the numbers in an error.
ERRORS = {"error code": CODES, "error domain": DOMAINS, "error level": LEVELS}


def program(program: Program) -> Facts:
    """A program: `number`, `name`, `symbol`, `version`, and how many procedures it has."""
    return {
        "kind": "program",
        "name": program.name,
        "number": program.number,
        "symbol": program.symbol,
        "version": program.version,
        "procedures": len(program.procedures),
    }


def procedure(program: Program, procedure: Procedure) -> Facts:
    """A procedure with the names of its types (null for void), the libvirt release that it came with
    (null where that is not known) and what the .x's comment says of it."""
    return {
        "kind": "procedure",
        "name": f"{program.name}.{procedure.name}",
        "number": procedure.number,
        "symbol": procedure.symbol,
        "program": program.name,
        "args": _name(procedure.args),
        "ret": _name(procedure.ret),
        "msg": _name(procedure.msg),
        "since": since(program.number, procedure.number),
        **said_of(procedure.annotations),
    }


def _name(type_: XdrType | None) -> str | None:
    return None if type_ is None else type_.name


def said_of(said: Annotations) -> Facts:
    """The annotations that are there; `acl` is a list, empty for `@acl: none`."""
    facts: Facts = {
        "generate": said.generate,
        "priority": said.priority,
        "readstream": said.readstream,
        "writestream": said.writestream,
        "sparseflag": said.sparseflag,
        "acl": None if said.acl is None else [str(rule) for rule in said.acl],
        "aclfilter": [str(rule) for rule in said.aclfilter] or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def type_(file: str, type_: XdrType) -> Facts:
    """A type: what it is, the file that defines it, its size on the wire in bytes (`max_size` null
    where nothing bounds it) and its definition."""
    return {
        "kind": type_kind(type_),
        "name": type_.name,
        "file": file,
        "min_size": type_.min_size,
        "max_size": type_.max_size,
        "text": type_.text,
    }


def type_kind(type_: XdrType) -> str:
    """struct, union, enum or typedef: the word that its definition begins with."""
    return type_.text.split(None, 1)[0]


def member(module: Module, enum: str, name: str, number: int) -> Facts:
    """A member of an enum."""
    return {"kind": "enum member", "name": name, "number": number, "enum": enum, "file": module.file}


def constant(file: str, name: str, value: int) -> Facts:
    """A constant, and the file or the C header that has it."""
    return {"kind": "constant", "name": name, "number": value, "file": file}


def error_name(kind: str, number: int, name: str) -> Facts:
    """A number that stands in errors."""
    return {"kind": kind, "name": name, "number": number}
