"""Schema → what `index.py.j2` shows: the package's `__init__.py`."""

from __future__ import annotations

from libvirt_proto.codec.annotations import AccessRule, Annotations
from libvirt_proto.codec.types import Enumeration

from ...render import API_VERSION
from ...schema import External, Module, Procedure, Program, Schema
from .history import procedure_line


class IndexView:
    """The package index: the place of each name and number, and all facts that need no types. It is plain
    data without calls, because every command that looks anything up loads it."""

    def __init__(self, schema: Schema, banner: str) -> None:
        self.banner = banner
        self.api = API_VERSION
        self.schema = schema
        self.programs = {
            module.name: [
                (program, [(_row(each), self._since(program, each)) for each in program.procedures])
                for program in module.programs
            ]
            for module in schema.modules
        }

    def members(self, module: Module) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
        """Enumerations with their members and numbers."""
        return [
            (type_.name, tuple((member.name, member.value) for member in type_.node.members))
            for type_ in module.types
            if isinstance(type_.node, Enumeration)
        ]

    def header(self, external: External) -> str:
        """The header of a constant from elsewhere, as a literal."""
        return literal(external.header)

    def _since(self, program: Program, procedure: Procedure) -> str:
        """When a procedure came, as a comment; empty without a history."""
        return procedure_line(self.schema.history, program, procedure) if self.schema.history else ""


def _row(procedure: Procedure) -> str:
    """A procedure as a literal: Nones at the end are left out."""
    types = (procedure.args, procedure.ret, procedure.msg)
    places = [None if type_ is None else f"{type_.module}.{type_.name}" for type_ in types]
    row: list[object] = [procedure.number, procedure.short, procedure.name, *places]
    said = _said(procedure.annotations)
    if said:
        return literal((*row, said))
    while row[-1] is None:
        row.pop()
    return literal(tuple(row))


def _said(annotations: Annotations) -> tuple[object, ...]:
    """The annotations in a procedure's comment; empty for a procedure without one."""
    of = annotations
    acl = None if of.acl is None else tuple(map(_rule, of.acl))
    filters = tuple(map(_rule, of.aclfilter))
    said = (of.generate, of.priority, of.readstream, of.writestream, of.sparseflag, acl, filters)
    return () if said == (*[None] * 6, ()) else said


def _rule(rule: AccessRule) -> tuple[str | None, ...]:
    return rule.object, rule.permission, rule.flags, rule.parameter, rule.value


def literal(value: object) -> str:
    """A Python literal, its strings in double quotes; comments of a .x reach the output through here."""
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, str):
        return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    return repr(value)
