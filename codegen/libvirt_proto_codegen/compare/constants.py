"""Findings about constants that no limit told of."""

from __future__ import annotations

from collections.abc import Collection, Set

from ..findings import Symbol
from ..schema import Named
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
    """`said` are the names that limits told of; what only types use that `left` or `came` goes with them."""

    def at(side: SchemaIndex, module: str, name: str) -> At:
        return At(Symbol("constant", name, side.file(module)), side.constants[module, name].span)

    for module, name in old.constants:
        if name not in new.constant_homes and name not in said and not _goes_with(old, name, left):
            message = f"the constant {name} is gone"
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
                f"{name} is {constant.value}, and was {before.value}; it bounds no type",
                effects.UNBOUND,
                program=program,
                values=(before.value, constant.value),
            )


def _goes_with(side: SchemaIndex, name: str, types: Set[Named]) -> bool:
    users = side.constant_uses.get(name, set())
    return bool(users) and users <= types
