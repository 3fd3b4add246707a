"""ORDER: procedures are numbered from 1 without gaps, and a new one comes last."""

from __future__ import annotations

from collections.abc import Iterator

from libvirt_proto.codec.types import Enumeration, Member

from .index import Hit, LintIndex


def number_order(index: LintIndex) -> Iterator[Hit]:
    """Yield procedures after one with a higher number."""
    for placed, enum in index.dialect_programs:
        node = index.definition(enum).node
        assert isinstance(node, Enumeration)
        highest: Member | None = None
        numbers = {procedure.name: procedure for procedure in placed.program.procedures}
        for member in node.members:
            if highest and member.value < highest.value:
                message = f"{member.name} = {member.value} comes after {highest.name} = {highest.value}"
                symbol = placed.procedure_symbol(numbers[member.name])
                yield Hit(symbol, member.span, message, "the next free number is easy to miss")
            else:
                highest = member


def number_gap(index: LintIndex) -> Iterator[Hit]:
    """Yield gaps in the numbers below the highest."""
    for placed, _ in index.dialect_programs:
        expected = 1
        for procedure in placed.program.procedures:
            if procedure.number > expected:
                last = procedure.number - 1
                skipped = f"{expected}" if last == expected else f"{expected} to {last}"
                message = f"{procedure.name} is {procedure.number}, but no procedure is {skipped}"
                effect = "a number that a release had must never be reused"
                yield Hit(placed.procedure_symbol(procedure), procedure.span, message, effect)
            elif procedure.number < 1:
                message = f"{procedure.name} is {procedure.number}: expected procedures numbered from 1"
                yield Hit(placed.procedure_symbol(procedure), procedure.span, message)
            expected = max(expected, procedure.number + 1)
