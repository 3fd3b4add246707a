"""RFC 5531 §12: `program` blocks to programs, one per version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

from libvirt_proto.codec.types import Named

from .constants import Numbers
from .errors import Problem
from .model import Argument, ProcedureDef, ProgramDef, TypeName, Value, VersionDef
from .names import FileNames, argument_name, is_named, result_of
from .resolve_types import TypeFinder
from .rules import Rule
from .schema import Procedure, Program
from .source import Span

_HIGHEST = 2**32 - 1


def declared_programs(
    file: FileNames, numbers: Numbers, finder: TypeFinder
) -> tuple[list[tuple[Program, Span]], list[Problem]]:
    """Return the programs that a file's `program` blocks declare, each with the place of its version."""
    reader = _Reader(file, numbers, finder)
    programs: list[tuple[Program, Span]] = []
    for definition in file.programs:
        versions = [
            (program, version)
            for version in _distinct(definition.versions)
            if (program := reader.program(definition, version)) is not None
        ]
        reader.problems += repeated_numbers(
            ((program.version, version.name, version.span) for program, version in versions), definition.name
        )
        distinct = {program.version: (program, version.span) for program, version in reversed(versions)}
        programs += reversed(distinct.values())
    return programs, reader.problems


def repeated_numbers(numbered: Iterable[tuple[int, str, Span]], of: str) -> list[Problem]:
    """Return a problem for each (number, name, place) that repeats an earlier number; `of` names their
    parent."""
    problems: list[Problem] = []
    seen: dict[int, tuple[str, Span]] = {}
    for number, name, span in numbered:
        if number not in seen:
            seen[number] = (name, span)
        else:
            first_name, first = seen[number]
            message = f"{name} has the number {number}, which {first_name} has in {of}"
            related = ((first, f"{first_name} is defined here"),)
            problems.append(Problem(Rule.DUPLICATE_NUMBER, span, message, related=related))
    return problems


_Definition = TypeVar("_Definition", VersionDef, ProcedureDef)


def _distinct(definitions: Sequence[_Definition]) -> list[_Definition]:
    """Return the first definition of each name; duplicate names are reported with the names."""
    first: dict[str, _Definition] = {}
    for definition in definitions:
        first.setdefault(definition.name, definition)
    return list(first.values())


class _Reader:
    def __init__(self, file: FileNames, numbers: Numbers, finder: TypeFinder) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._module = file.module
        self._numbers = numbers
        self._finder = finder

    def program(self, definition: ProgramDef, version: VersionDef) -> Program | None:
        number = self._number(definition.name, definition.number, definition.span)
        version_number = self._number(version.name, version.number, version.span)
        procedures = [
            (self._procedure(definition.name, version.name, procedure, number_), procedure.span)
            for procedure in _distinct(version.procedures)
            if (number_ := self._number(procedure.name, procedure.number, procedure.span)) is not None
        ]
        self.problems += repeated_numbers(((p.number, p.name, span) for p, span in procedures), version.name)
        if number is None or version_number is None:
            return None
        in_order = sorted((p for p, _ in procedures), key=lambda procedure: procedure.number)
        short = definition.name.lower().removesuffix("_program").removesuffix("_prog")
        return Program(definition.name, short, number, version_number, tuple(in_order), version.span)

    def _procedure(self, program: str, version: str, procedure: ProcedureDef, number: int) -> Procedure:
        arguments = procedure.arguments
        args, ret = (argument_name(program, version, procedure.name, part) for part in ("args", "ret"))
        return Procedure(
            number,
            procedure.name,
            procedure.name.lower(),
            self._type(arguments[0] if len(arguments) == 1 else None, args),
            self._type(result_of(procedure.result, procedure.span) if procedure.result else None, ret),
            span=procedure.span,
        )

    def _type(self, argument: Argument | None, made_up: str) -> Named | None:
        if argument and is_named(argument):
            entry = self._finder.find(self._module, cast(TypeName, argument.type))
            return Named(entry.module, entry.name) if entry else None
        return Named(self._module, made_up) if made_up in self._file.types else None

    def _number(self, name: str, value: Value, span: Span) -> int | None:
        number = self._numbers.value(self._module, value)
        if number is None or 0 <= number <= _HIGHEST:
            return number
        message = f"expected the number of {name} between 0 and {_HIGHEST}"
        self.problems.append(Problem(Rule.OUT_OF_RANGE, span, message))
        return None
