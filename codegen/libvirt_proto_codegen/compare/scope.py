"""The modules that are compared: all of both sides, or those of one file."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from ..schema import Module, Schema


@dataclass(frozen=True, slots=True)
class Scope:
    """Names of the modules that are compared. Other modules count only for the types in their payloads."""

    old: Set[str]
    new: Set[str]

    @property
    def single_files(self) -> bool:
        """True if a file is compared with a file, so that their names may differ."""
        return len(self.old) == len(self.new) == 1


def scope_of(old: Schema, new: Schema, old_file: str | None, new_file: str | None) -> Scope:
    """Return the Scope of two sides, with the base name of the file if a side is only one."""
    return Scope(_modules(old, old_file, new, new_file), _modules(new, new_file, old, old_file))


def _modules(schema: Schema, file: str | None, other: Schema, other_file: str | None) -> Set[str]:
    """Return the modules of a side that is all of its files, or one of them."""
    if file is not None:
        return {module.name for module in schema.modules if module.file == file}
    if other_file is None:
        return schema.by_name.keys()
    return {
        each.name
        for module in other.modules
        if module.file == other_file
        for each in _corresponding(module, schema)
    }


def _corresponding(module: Module, schema: Schema) -> list[Module]:
    """Return the modules with the file name or a program of another side's module, else those with a type of
    it."""
    numbers = {program.number for program in module.programs}
    found = [
        each
        for each in schema.modules
        if each.file == module.file or any(program.number in numbers for program in each.programs)
    ]
    return found or [each for each in schema.modules if not module.by_name.keys().isdisjoint(each.by_name)]
