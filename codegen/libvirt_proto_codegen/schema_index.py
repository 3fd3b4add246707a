"""Indexes over a Schema for diff and lint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from libvirt_proto.codec.types import (
    Arm,
    Enumeration,
    Named,
    Node,
    TypeDefinition,
    bound_of,
    children,
    declared_parts,
)

from .dialect import version_names
from .findings import Symbol
from .schema import Constant, Module, Procedure, Program, Schema
from .sizes import references

#: The payloads that a procedure may have.
PARTS: Final = ("args", "ret", "msg")


def payload_types(procedures: Iterable[Procedure]) -> Iterator[Named]:
    """Yield the types of all payloads of some procedures."""
    for procedure in procedures:
        yield from (type_ for part in PARTS if (type_ := getattr(procedure, part)))


@dataclass(frozen=True, slots=True)
class Placed:
    """A program and the module that defines it."""

    module: Module
    program: Program

    @property
    def symbol(self) -> Symbol:
        """The program, as findings name it."""
        return Symbol("program", self.program.name, self.module.file, program=self.program.number)

    def procedure_symbol(self, procedure: Procedure) -> Symbol:
        """Return one of its procedures, as findings name it."""
        return Symbol(
            "procedure",
            procedure.name,
            self.module.file,
            program=self.program.number,
            number=procedure.number,
        )


class SchemaIndex:
    """A Schema's programs, types and constants, by name and by use."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.programs = tuple(
            Placed(module, program) for module in schema.modules for program in module.programs
        )
        self._roots: dict[Named, frozenset[Named]] = {}

    def definition(self, reference: Named) -> TypeDefinition:
        """Return the definition that a reference names."""
        return self.schema.definition(reference)

    def symbol(self, reference: Named) -> Symbol:
        """Return a type, as findings name it."""
        return Symbol("type", reference.name, self.file(reference.module))

    def file(self, module: str) -> str:
        """Return the base name of a module's .x file."""
        return self.schema.by_name[module].file

    @cached_property
    def types(self) -> dict[Named, TypeDefinition]:
        """All types, in the order of the files."""
        return {
            Named(module.name, definition.name): definition
            for module in self.schema.modules
            for definition in module.types
        }

    @cached_property
    def types_by_name(self) -> dict[str, list[Named]]:
        """Name → types; two files may define the same name independently."""
        found: dict[str, list[Named]] = {}
        for reference in self.types:
            found.setdefault(reference.name, []).append(reference)
        return found

    @cached_property
    def procedure_enums(self) -> dict[Named, Placed]:
        """The enums that number a program's procedures, in libvirt's dialect."""
        programs = {frozenset(p.name for p in each.program.procedures): each for each in self.programs}
        return {
            reference: programs[names]
            for reference, definition in self.types.items()
            if isinstance(definition.node, Enumeration)
            and (names := frozenset(member.name for member in definition.node.members)) in programs
        }

    @cached_property
    def _users(self) -> dict[Named, list[Named]]:
        users: dict[Named, list[Named]] = {}
        for user, definition in self.types.items():
            for used, _ in references(definition.node):
                users.setdefault(used, []).append(user)
        return users

    def containers(self, reference: Named) -> frozenset[Named]:
        """Return the types that contain a type, including itself."""
        if reference not in self._roots:
            found, queue = {reference}, [reference]
            while queue:
                for user in self._users.get(queue.pop(), ()):
                    if user not in found:
                        found.add(user)
                        queue.append(user)
            self._roots[reference] = frozenset(found)
        return self._roots[reference]

    def contents(self, start: Iterable[Named]) -> set[Named]:
        """Return the types that some types contain, including themselves."""
        queue = list(start)
        found = set(queue)
        while queue:
            for used, _ in references(self.definition(queue.pop()).node):
                if used not in found:
                    found.add(used)
                    queue.append(used)
        return found

    @cached_property
    def constants(self) -> dict[tuple[str, str], Constant]:
        """(module, name) → constant, without the constants of a program's number or version, which the
        program holds."""
        left_out = {
            (each.module.name, name)
            for each in self.programs
            for name in (each.program.name, *version_names(each.program.name))
        }
        return {
            (module.name, constant.name): constant
            for module in self.schema.modules
            for constant in module.constants
            if (module.name, constant.name) not in left_out
        }

    @cached_property
    def constant_homes(self) -> dict[str, list[str]]:
        """Name of a constant → the modules that define it."""
        homes: dict[str, list[str]] = {}
        for module, name in self.constants:
            homes.setdefault(name, []).append(module)
        return homes

    def constant_home(self, module: str, name: str) -> str | None:
        """Return the module of a constant that a module uses; None for an enum member, and if no file defines
        it."""
        homes = self.constant_homes.get(name, [])
        return module if module in homes else next(iter(homes), None)

    @cached_property
    def constant_uses(self) -> dict[str, set[Named]]:
        """Name of a constant → the types that use it as a limit, a length or a label."""
        uses: dict[str, set[Named]] = {}
        for reference, definition in self.types.items():
            for name in _constants_in(definition.node):
                uses.setdefault(name, set()).add(reference)
        # A constant defined by another one uses that as well.
        for constant in reversed(self.constants.values()):
            if constant.name in uses:
                uses.setdefault(constant.text, set()).update(uses[constant.name])
        return uses


def _constants_in(node: Node) -> Iterator[str]:
    """Yield the names of the limits, lengths and labels in a node."""
    for part in declared_parts(node):
        if isinstance(part, Arm):
            yield from (label.name for label in part.labels if label.name)
    for child in children(node):
        yield from _constants_in(child)
    bound = bound_of(node)
    if bound and bound.name:
        yield bound.name
