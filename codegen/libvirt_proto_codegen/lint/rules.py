"""The rules of `lint`, and the function that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..findings import Categories, Category, Finding, FindingRule, Rules
from ..schema import Schema
from . import conventions, limits, order, procedures, secrets, unused
from .index import Hit, LintIndex

CATEGORIES: Final[Categories] = {
    category.id: category
    for category in (
        Category("LIMIT", "error", "a peer can exhaust the other, or a limit has no effect"),
        Category("ANNOTATION", "error", "libvirt's code generator gets missing or wrong information"),
        Category("ORDER", "error", "procedures count from 1, and a new one comes last"),
        Category("CONVENTION", "warning", "names and forms used throughout libvirt"),
        Category("ACCESS", "warning", "calls that every client may make"),
        Category("SECRET", "warning", "fields that may hold secrets and that --redact does not know"),
        Category("UNUSED", "notice", "definitions that nothing on the wire needs"),
    )
}

#: Identifier → category, the rule's summary, its function.
_TABLE: Final[dict[str, tuple[str, str, Callable[[LintIndex], Iterator[Hit]]]]] = {
    "UNBOUNDED_ARRAY": ("LIMIT", "An array has no limit.", limits.unbounded_array),
    "UNBOUNDED_STRING": ("LIMIT", "A string has no limit.", limits.unbounded_string),
    "UNBOUNDED_OPAQUE": ("LIMIT", "Opaque data has no limit.", limits.unbounded_opaque),
    "UNBOUNDED_DEPTH": ("LIMIT", "A type can contain itself.", limits.unbounded_depth),
    "LIMIT_TOO_HIGH": ("LIMIT", "A limit is higher than a message can hold.", limits.limit_too_high),
    "PAYLOAD_TOO_LARGE": ("LIMIT", "A payload is larger than a message can hold.", limits.payload_too_large),
    "GENERATE_MISSING": (
        "ANNOTATION",
        "A procedure has no @generate, and others of its program have annotations.",
        procedures.generate_missing,
    ),
    "ACL_MISSING": (
        "ANNOTATION",
        "A procedure has no @acl, and others of its program have one.",
        procedures.acl_missing,
    ),
    "ACL_ARGUMENT": (
        "ANNOTATION",
        "An @acl looks at flags or a parameter that the arguments lack.",
        procedures.acl_argument,
    ),
    "STREAM_PLACE": (
        "ANNOTATION",
        "The position of a @readstream or @writestream is not among the parameters.",
        procedures.stream_place,
    ),
    "STREAM_TWICE": (
        "ANNOTATION",
        "A procedure has both @readstream and @writestream.",
        procedures.stream_twice,
    ),
    "SPARSE_FLAG": ("ANNOTATION", "A @sparseflag has no stream, or no flags.", procedures.sparse_flag),
    "EVENT_ANNOTATED": (
        "ANNOTATION",
        "An event has an annotation that is for calls.",
        procedures.event_annotated,
    ),
    "NUMBER_ORDER": ("ORDER", "A procedure comes after one with a higher number.", order.number_order),
    "NUMBER_GAP": ("ORDER", "A number below the highest has no procedure.", order.number_gap),
    "PROCEDURE_NAME": (
        "CONVENTION",
        "A procedure's name does not begin with its program's and _PROC_.",
        conventions.procedure_name,
    ),
    "TYPE_NAME": (
        "CONVENTION",
        "A payload's type is not named after its procedure.",
        conventions.type_name,
    ),
    "EVENT_NAME": ("CONVENTION", "An event's name lacks EVENT.", conventions.event_name),
    "EVENT_AND_CALL": (
        "CONVENTION",
        "A procedure has a type for an event, and one for a call.",
        conventions.event_and_call,
    ),
    "LIMIT_UNNAMED": ("CONVENTION", "A limit is a number, not a constant.", conventions.limit_unnamed),
    "FLAGS_TYPE": (
        "CONVENTION",
        "Arguments have flags that are not an unsigned number.",
        conventions.flags_type,
    ),
    "ACL_NONE": (
        "ACCESS",
        "A call needs no permission (@acl: none), and others of its program need one.",
        procedures.acl_none,
    ),
    "SECRET_UNLISTED": (
        "SECRET",
        "A field looks secret, but is not in the list of secret fields.",
        secrets.secret_unlisted,
    ),
    "UNUSED_TYPE": ("UNUSED", "A type is in no payload.", unused.unused_type),
    "UNUSED_CONSTANT": ("UNUSED", "A constant is used by no definition.", unused.unused_constant),
}

RULES: Final[Rules] = {
    id_: FindingRule(id_, category, summary) for id_, (category, summary, _) in _TABLE.items()
}


def lint(schema: Schema) -> tuple[Finding, ...]:
    """Return all findings by file and by place in it; those at the same place are in the order of the
    rules."""
    index = LintIndex(schema)
    found = [_finding(index, RULES[id_], hit) for id_, (_, _, rule) in _TABLE.items() for hit in rule(index)]
    files = {module.file: at for at, module in enumerate(schema.modules)}

    def place(finding: Finding) -> tuple[int, int]:
        assert finding.symbol is not None
        return files.get(finding.symbol.file or "", -1), finding.new.start if finding.new else -1

    return tuple(sorted(found, key=place))


def _finding(index: LintIndex, rule: FindingRule, hit: Hit) -> Finding:
    symbol = hit.symbol
    reached = index.reached(hit.holder) if hit.holder else ()
    programs = [p.program.short for p in index.programs if p.module.file == symbol.file]
    if symbol.program is not None:
        programs = [p.program.short for p in index.programs if p.program.number == symbol.program][:1]
    elif len(programs) != 1:
        programs = list(dict.fromkeys(placed.program.short for placed, _, _ in reached))
    return Finding(
        rule.id,
        rule.category,
        programs[0] if len(programs) == 1 else None,
        symbol.qualified,
        hit.message,
        hit.effect,
        new=hit.span,
        reaches=tuple(
            dict.fromkeys(f"{placed.program.short}.{procedure.short}" for placed, procedure, _ in reached)
        ),
        symbol=symbol,
        payloads=tuple(dict.fromkeys(payload for _, _, payload in reached)),
    )
