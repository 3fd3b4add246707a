"""Comparison of two sets of definitions: Schema × Schema → Findings, by the rules of RULES."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from libvirt_proto.codec.types import Named

from ..findings import Finding
from ..schema import Schema
from ..schema_index import Placed, SchemaIndex, payload_types
from . import effects
from .annotations import AnnotationDates, compare_annotations
from .bounds import Bounds
from .constants import report_constants
from .payloads import compare_payloads
from .programs import Programs, match_programs, report_programs
from .reach import Reach
from .report import At, Report
from .rules import CATEGORIES, RULES
from .scope import scope_of
from .types import Types

__all__ = ["CATEGORIES", "RULES", "compare"]


def compare(
    old: Schema, new: Schema, *, old_file: str | None = None, new_file: str | None = None
) -> tuple[Finding, ...]:
    """Return all differences between two sets of definitions, in the order of RULES and then of the files.

    Programs and procedures are matched by number, types by position in payloads, fields by name and position;
    so renamed things are found without guessing. A changed limit is one finding, at its constant. The types
    and limits that only a new (or a removed) procedure uses are part of its finding.

    With the base name of a file of a side, only that file is compared: other files of its side are read for
    the types in its payloads, and of the other side only the files that correspond count.
    """
    before, after = SchemaIndex(old), SchemaIndex(new)
    scope = scope_of(old, new, old_file, new_file)
    programs = match_programs(before, after, scope)
    payloads = [payload for pair in programs.pairs for payload in pair.payloads()]
    report = Report(Reach(before, after, payloads), scope)
    bounds = Bounds(before, after, report)
    types = Types(before, after, report, bounds)
    dates = AnnotationDates(old, new)

    report_programs(programs, report)
    for pair in programs.pairs:
        compare_payloads(pair, before, after, types, report)
        compare_annotations(pair, report, dates)
    types.compare()
    types.compare_by_name(but={*before.procedure_enums, *after.procedure_enums})
    _procedure_enums(programs, before, after, types)
    said = bounds.report()
    left, came = types.unmatched()
    _types_alone(programs, before, after, left, came, report)
    report_constants(before, after, report, said, left, came)
    return _in_order(report.findings)


def _procedure_enums(programs: Programs, old: SchemaIndex, new: SchemaIndex, types: Types) -> None:
    """Compare the enums that number procedures: their members are the procedures, so only their names are
    left."""
    enums_old = {placed: reference for reference, placed in old.procedure_enums.items()}
    enums_new = {placed: reference for reference, placed in new.procedure_enums.items()}
    for pair in programs.pairs:
        if pair.old in enums_old and pair.new in enums_new:
            types.renamed(enums_old[pair.old], enums_new[pair.new])


def _types_alone(
    programs: Programs, old: SchemaIndex, new: SchemaIndex, left: set[Named], came: set[Named], report: Report
) -> None:
    """Report types on one side only that are not part of a procedure's finding."""
    with_left = old.contents(_brought(programs.removed, *(pair.left() for pair in programs.pairs)))
    with_came = new.contents(_brought(programs.added, *(pair.came() for pair in programs.pairs)))
    for reference, definition in old.types.items():
        if reference.module not in report.scope.old:
            continue
        alone = reference in left and reference not in with_left and reference not in old.procedure_enums
        if alone and not definition.anonymous and reference.name not in new.types_by_name:
            at = At(old.symbol(reference), definition.span)
            program = report.program_of(old, reference.module)
            message = f"the type {reference.name} is gone"
            report.add("TYPE_REMOVED", at, None, message, effects.NOTHING_SENT, program=program)
    for reference, definition in new.types.items():
        if reference.module not in report.scope.new:
            continue
        alone = reference in came and reference not in with_came and reference not in new.procedure_enums
        if alone and not definition.anonymous and reference.name not in old.types_by_name:
            at = At(new.symbol(reference), definition.span)
            program = report.program_of(new, reference.module)
            report.add("TYPE_ADDED", None, at, f"the type {reference.name} is new", program=program)


def _brought(programs: Iterable[Placed], *payloads: Iterable[Named]) -> Iterator[Named]:
    """Return the types added with whole programs (all types of their files), and with payloads."""
    for each in programs:
        if len(each.module.programs) == 1:
            yield from (Named(each.module.name, definition.name) for definition in each.module.types)
        yield from payload_types(each.program.procedures)
    yield from chain(*payloads)


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    rules = {rule: at for at, rule in enumerate(RULES)}

    def key(finding: Finding) -> tuple[int, str, int, str]:
        span = finding.new or finding.old
        return rules[finding.rule], span.source.name if span else "", span.start if span else 0, finding.name

    return tuple(sorted(findings, key=key))
