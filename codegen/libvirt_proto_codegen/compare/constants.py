"""Findings about constants that are not part of a finding about a limit."""

from __future__ import annotations

from collections.abc import Collection, Set

from libvirt_proto.codec.types import Named

from ..findings import Symbol
from ..schema_index import SchemaIndex
from . import effects
from .report import At, Report


def report_constants(
    old: SchemaIndex,
    new: SchemaIndex,
    report: Report,
    said: Collection[str],
    left: Set[Named],
    came: Set[Named],
) -> None:
    """Report constants. `said` are the names in findings about limits; constants used only by types in `left`
    or `came` are part of the findings about those."""

    def at(side: SchemaIndex, module: str, name: str) -> At:
        return At(Symbol("constant", name, side.file(module)), side.constants[module, name].span)

    for module, name in old.constants:
        if module not in report.scope.old:
            continue
        if name not in new.constant_homes and name not in said and not _goes_with(old, name, left):
            message = f"the constant {name} was removed"
            program = report.program_of(old, module)
            report.add(
                "CONSTANT_REMOVED",
                at(old, module, name),
                None,
                message,
                effects.NOTHING_SENT,
                program=program,
            )
    for (module, name), constant in new.constants.items():
        if module not in report.scope.new:
            continue
        program = report.program_of(new, module)
        if name not in old.constant_homes:
            if name not in said and not _goes_with(new, name, came):
                message = f"the constant {name} is new"
                report.add("CONSTANT_ADDED", None, at(new, module, name), message, program=program)
            continue
        home = module if (module, name) in old.constants else old.constant_home(module, name)
        assert home is not None, "the old side has the name"
        before = old.constants[home, name]
        used = name in old.constant_uses and name in new.constant_uses
        if before.value != constant.value and name not in said and not used:
            report.add(
                "CONSTANT_CHANGED",
                at(old, home, name),
                at(new, module, name),
                f"{name} is {constant.value}, was {before.value}; it limits no type",
                effects.UNBOUND,
                program=program,
                values=(before.value, constant.value),
            )


def _goes_with(side: SchemaIndex, name: str, types: Set[Named]) -> bool:
    users = side.constant_uses.get(name, set())
    return bool(users) and users <= types
