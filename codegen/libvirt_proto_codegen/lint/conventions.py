"""CONVENTION: names and forms used throughout libvirt's definitions, on which its C code relies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from libvirt_proto.codec.types import Integer, Structure, limit_of

from ..findings import Symbol
from ..schema_index import PARTS
from .index import Hit, LintIndex

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def procedure_name(index: LintIndex) -> Iterator[Hit]:
    """Yield procedures whose names lack their program's prefix."""
    for placed, procedure in index.procedures():
        prefix = f"{placed.program.name.removesuffix('_PROGRAM')}_PROC_"
        if not procedure.name.startswith(prefix):
            message = f"{procedure.name} does not begin with {prefix}"
            effect = "the generator derives the names of types and functions from it"
            yield Hit(placed.procedure_symbol(procedure), procedure.span, message, effect)


def event_name(index: LintIndex) -> Iterator[Hit]:
    """Yield events without EVENT in their name."""
    for placed, procedure in index.procedures():
        if procedure.msg and "EVENT" not in procedure.name.split("_"):
            message = f"{procedure.name} is an event ({procedure.msg.name}) without EVENT in its name"
            effect = "the generator treats it as a call"
            yield Hit(placed.procedure_symbol(procedure), procedure.span, message, effect)


def event_and_call(index: LintIndex) -> Iterator[Hit]:
    """Yield procedures that are both an event and a call."""
    for placed, procedure in index.procedures():
        called = procedure.args or procedure.ret
        if procedure.msg and called:
            message = f"{procedure.name} has both {called.name} and {procedure.msg.name}"
            effect = "a procedure is either a call or an event"
            yield Hit(placed.procedure_symbol(procedure), procedure.span, message, effect)


def type_name(index: LintIndex) -> Iterator[Hit]:
    """Yield types of payloads that are not named after their procedure."""
    for _, procedure in index.procedures():
        stem = procedure.name.replace("_PROC_", "_", 1).lower()
        for part in PARTS:
            payload = getattr(procedure, part)
            if payload and _words(payload.name) != f"{stem}_{part}":
                wanted = f"{stem}_{part}" if "_" in payload.name else _capitals(payload.name, stem, part)
                message = f"{payload.name} belongs to {procedure.name}: expected the name {wanted}"
                effect = "searching for one by the name of the other fails"
                definition = index.definition(payload)
                yield Hit(index.symbol(payload), definition.span, message, effect, payload)


def _words(name: str) -> str:
    """Convert `virLXCMonitorExitEventMsg` to vir_lxc_monitor_exit_event_msg; keep a name with underscores."""
    return name if "_" in name else "_".join(_WORD.findall(name)).lower()


def _capitals(name: str, stem: str, part: str) -> str:
    """Return the expected name of a type, keeping as much of its spelling as fits."""
    wanted = "".join(word.capitalize() for word in [*stem.split("_"), part])
    return name[:1] + wanted[1:]


def limit_unnamed(index: LintIndex) -> Iterator[Hit]:
    """Yield limits that are written as numbers."""
    for declared in index.declarations():
        if declared.holder.module not in index.dialect_modules:
            continue
        for node in declared.parts():
            limit = limit_of(node)
            if limit is not None and limit.name is None:
                message = f"the limit of {declared.name} is the number {limit.value:,}, not a constant"
                effect = "C code that checks it must repeat the number"
                yield Hit(declared.symbol, declared.span, message, effect, declared.holder)


def flags_type(index: LintIndex) -> Iterator[Hit]:
    """Yield arguments named flags that are not unsigned. An unsigned hyper is accepted, since it is the
    unsigned long of a C function, as in migration."""
    for _, procedure in index.procedures():
        holder = procedure.args
        node = index.definition(holder).node if holder else None
        if holder is None or not isinstance(node, Structure):
            continue
        for field in node.fields:
            kind = index.schema.resolved(field.node)
            if field.name == "flags" and not (isinstance(kind, Integer) and not kind.signed):
                message = f"expected an unsigned int for the flags of {holder.name}, got `{field.xdr}`"
                symbol = Symbol("field", field.name, index.file(holder.module), owner=holder.name)
                yield Hit(symbol, field.span, message, "a high bit changes the sign", holder)
