"""Which payloads procedures have; what is in them is left to the types."""

from __future__ import annotations

from ..schema import Named
from . import effects
from .pair import Pair, Place
from .programs import ProgramPair
from .report import At, Report
from .side import PARTS, Side
from .types import Types

_WORDS = {"args": "arguments have", "ret": "result has", "msg": "event has"}


def compare_payloads(programs: ProgramPair, old: Side, new: Side, types: Types, report: Report) -> None:
    """Findings about payloads that came and left, or are of another type; types that go on are followed."""
    both = {(each.place[1], each.part): each for each in programs.payloads()}
    for procedure, successor in programs.procedures:
        before, after = programs.old_at(procedure), programs.new_at(successor)
        program = programs.new.program.short
        for part in PARTS:
            left, right = getattr(procedure, part), getattr(successor, part)
            if payload := both.get((successor.number, part)):
                pair = Pair(payload.old, payload.new, (payload,), program)
                place = Place(pair, before, after, payload.old.name, payload.new.name)
                types.declared("PAYLOAD_TYPE_CHANGED", place, payload.old, payload.new)
            elif left or right:
                empty = _is_empty(old, left) or _is_empty(new, right)
                _one_sided(report, program, part, (before, after), left, right, empty=empty)


def _is_empty(side: Side, type_: Named | None) -> bool:
    return type_ is not None and side.definition(type_).max_size == 0


def _one_sided(
    report: Report,
    program: str,
    part: str,
    at: tuple[At, At],
    old: Named | None,
    new: Named | None,
    *,
    empty: bool,
) -> None:
    rule = "DECLARATION_CHANGED" if empty else "PAYLOAD_ADDED" if new else "PAYLOAD_REMOVED"
    message = (
        f"its {_WORDS[part]} the type {new.name}, and had none" if new else f"its {_WORDS[part]} no data"
    )
    if old:
        message += f", and had the type {old.name}"
    effect = effects.DECLARED if empty else effects.expected(part)
    values = (old.name if old else None, new.name if new else None)
    report.add(rule, *at, message, effect, program=program, values=values, reaches=(at[1].name,))
