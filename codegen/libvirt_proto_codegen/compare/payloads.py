"""The payloads of procedures; their contents are compared with the types."""

from __future__ import annotations

from libvirt_proto.codec.types import Named

from ..schema_index import PARTS, SchemaIndex
from . import effects
from .pair import Pair, Place
from .programs import ProgramPair
from .report import At, Report
from .types import Types

#: Verbs for a procedure's payloads, now and before.
_VERBS = {"args": ("takes", "took"), "ret": ("returns", "returned"), "msg": ("sends", "sent")}


def compare_payloads(
    programs: ProgramPair, old: SchemaIndex, new: SchemaIndex, types: Types, report: Report
) -> None:
    """Report payloads that were added, removed or have another type; types that continue are followed."""
    both = {(each.place[1], each.part): each for each in programs.payloads()}
    for procedure, successor in programs.procedures:
        before, after = programs.old_at(procedure), programs.new_at(successor)
        program = programs.new.program.short
        for part in PARTS:
            left, right = getattr(procedure, part), getattr(successor, part)
            if payload := both.get((successor.number, part)):
                pair = Pair(payload.old, payload.new, (payload,), program)
                what = f"the type that {successor.name} {_VERBS[part][0]}"
                place = Place(pair, before, after, what, payload.old.name, payload.new.name)
                types.declared("PAYLOAD_TYPE_CHANGED", place, payload.old, payload.new)
            elif left or right:
                empty = _is_empty(old, left) or _is_empty(new, right)
                _one_sided(report, program, part, (before, after), left, right, empty=empty)


def _is_empty(side: SchemaIndex, type_: Named | None) -> bool:
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
    does, did = _VERBS[part]
    values = (old.name if old else None, new.name if new else None)
    was, now = (f"`{name}`" if name else "nothing" for name in values)
    message = f"{at[1].symbol.name} {does} {now}, {did} {was}"
    effect = effects.DECLARED if empty else effects.expected(part)
    report.add(rule, *at, message, effect, program=program, values=values, reaches=(at[1].name,))
