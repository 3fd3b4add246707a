"""Matching of the programs and procedures of the two sides: by number, then by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from libvirt_proto.codec.types import Named

from ..schema import Procedure
from ..schema_index import PARTS, Placed, SchemaIndex, payload_types
from . import effects
from .reach import Payload
from .report import At, Report
from .scope import Scope


@dataclass(frozen=True, slots=True)
class ProgramPair:
    """A program on both sides, with the procedures on both sides, in the order of the new numbers."""

    old: Placed
    new: Placed
    procedures: tuple[tuple[Procedure, Procedure], ...]

    @property
    def removed(self) -> tuple[Procedure, ...]:
        """Procedures that the new side lacks."""
        left = {old.name for old, _ in self.procedures}
        return tuple(each for each in self.old.program.procedures if each.name not in left)

    @property
    def added(self) -> tuple[Procedure, ...]:
        """Procedures that the old side lacks."""
        known = {new.name for _, new in self.procedures}
        return tuple(each for each in self.new.program.procedures if each.name not in known)

    def left(self) -> Iterator[Named]:
        """Yield payload types of the old side where the new side has no payload."""
        yield from payload_types(self.removed)
        yield from _types_instead_of_none(self.procedures)

    def came(self) -> Iterator[Named]:
        """Yield payload types of the new side where the old side has no payload."""
        yield from payload_types(self.added)
        yield from _types_instead_of_none((new, old) for old, new in self.procedures)

    def old_at(self, procedure: Procedure) -> At:
        """Return a procedure of the old side, with its place."""
        return At(self.old.procedure_symbol(procedure), procedure.span, self._name(procedure))

    def new_at(self, procedure: Procedure) -> At:
        """Return a procedure of the new side, with its place."""
        return At(self.new.procedure_symbol(procedure), procedure.span, self._name(procedure))

    def _name(self, procedure: Procedure) -> str:
        return f"{self.new.program.short}.{procedure.short}"

    def payloads(self) -> Iterator[Payload]:
        """Yield the payloads that procedures have on both sides."""
        for old, new in self.procedures:
            for at, part in enumerate(PARTS):
                before, after = getattr(old, part), getattr(new, part)
                if before and after:
                    place = (self.new.program.number, new.number, at)
                    yield Payload(place, self.new.program.short, new.short, part, before, after)


def _types_instead_of_none(procedures: Iterable[tuple[Procedure, Procedure]]) -> Iterator[Named]:
    for one, other in procedures:
        yield from (type_ for part in PARTS if (type_ := getattr(one, part)) and not getattr(other, part))


@dataclass(frozen=True, slots=True)
class Programs:
    """Programs that were kept, removed and added."""

    pairs: tuple[ProgramPair, ...]
    removed: tuple[Placed, ...]
    added: tuple[Placed, ...]


def match_programs(old: SchemaIndex, new: SchemaIndex, scope: Scope) -> Programs:
    """Match programs by number and version; those left over by number, and then by name."""
    rest_old = [each for each in old.programs if each.module.name in scope.old]
    rest_new = [each for each in new.programs if each.module.name in scope.new]
    pairs: list[ProgramPair] = []
    for key in ("number version", "number", "name version"):
        for before in list(rest_old):
            after = _only(rest_new, before, key)
            if after and _only(rest_old, after, key):
                rest_old.remove(before)
                rest_new.remove(after)
                pairs.append(ProgramPair(before, after, _match_procedures(before, after)))
    return Programs(tuple(pairs), tuple(rest_old), tuple(rest_new))


def _only(candidates: Sequence[Placed], wanted: Placed, key: str) -> Placed | None:
    """Return the candidate that equals the wanted program in some attributes, if there is exactly one."""
    names = key.split()
    found = [
        each
        for each in candidates
        if all(getattr(each.program, name) == getattr(wanted.program, name) for name in names)
    ]
    return found[0] if len(found) == 1 else None


def _match_procedures(old: Placed, new: Placed) -> tuple[tuple[Procedure, Procedure], ...]:
    """Match procedures by name, else by number."""
    by_name = {procedure.name: procedure for procedure in old.program.procedures}
    names = {procedure.name for procedure in new.program.procedures}
    by_number = {each.number: each for each in old.program.procedures if each.name not in names}
    return tuple(
        (before, procedure)
        for procedure in new.program.procedures
        if (before := by_name.get(procedure.name) or by_number.get(procedure.number))
    )


def report_programs(programs: Programs, report: Report) -> None:
    """Report changes to programs, and to the names and numbers of procedures."""
    for each in programs.removed:
        message = f"the program {each.program.name} ({_hex(each)}) was removed"
        effect = "new servers refuse all calls of old clients to it"
        _program(report, "PROGRAM_REMOVED", each, None, message, effect)
    for each in programs.added:
        count = len(each.program.procedures)
        message = f"the program {each.program.name} ({_hex(each)}) is new, with {count} "
        message += "procedure" if count == 1 else "procedures"
        _program(report, "PROGRAM_ADDED", None, each, message, "old servers do not know the program")
    for pair in programs.pairs:
        _program_pair(pair, report)


def _program_pair(pair: ProgramPair, report: Report) -> None:
    old, new = pair.old.program, pair.new.program
    unknown = "old and new peers refuse each other's calls: neither knows the other's program"
    if old.number != new.number:
        message = f"{new.name} is {_hex(pair.new)}, was {_hex(pair.old)}"
        values = (old.number, new.number)
        _program(report, "PROGRAM_NUMBER_CHANGED", pair.old, pair.new, message, unknown, values)
    if old.version != new.version:
        message = f"{new.name} has the version {new.version}, had {old.version}"
        values = (old.version, new.version)
        _program(report, "PROGRAM_VERSION_CHANGED", pair.old, pair.new, message, unknown, values)
    if old.name != new.name:
        message = f"{old.name} ({_hex(pair.new)}) was renamed to {new.name}"
        _program(report, "PROGRAM_RENAMED", pair.old, pair.new, message, effects.SOURCE)
    if pair.old.module.file != pair.new.module.file and not report.scope.single_files:
        message = f"{new.name} is defined in {pair.new.module.file}, was in {pair.old.module.file}"
        effect = "same bytes on the wire; code that includes the old file must be updated"
        _program(report, "PROGRAM_MOVED", pair.old, pair.new, message, effect)
    _procedures(pair, report)


def _procedures(pair: ProgramPair, report: Report) -> None:
    numbers = {procedure.number: procedure for procedure in pair.new.program.procedures}
    for removed in pair.removed:
        if taken := numbers.get(removed.number):
            message = f"{removed.name} was removed, and {removed.number} is now {taken.name}"
            effect = f"old and new peers use number {removed.number} for different procedures"
        else:
            message = f"{removed.name} = {removed.number} was removed"
            effect = effects.missing(removed, "new")
        _procedure(report, "PROCEDURE_REMOVED", pair, removed, None, message, effect)
    for old, new in pair.procedures:
        if old.number != new.number:
            message = f"{new.name} is {new.number}, was {old.number}"
            effect = "old and new peers use a number for different procedures, or do not know it"
            values = (old.number, new.number)
            _procedure(report, "PROCEDURE_RENUMBERED", pair, old, new, message, effect, values)
        elif old.name != new.name:
            message = f"{old.name} = {new.number} was renamed to {new.name}"
            _procedure(report, "PROCEDURE_RENAMED", pair, old, new, message, effects.SOURCE)
    for added in pair.added:
        message = f"{added.name} = {added.number} is new"
        effect = effects.missing(added, "old")
        _procedure(report, "PROCEDURE_ADDED", pair, None, added, message, effect)


def _procedure(
    report: Report,
    rule: str,
    pair: ProgramPair,
    old: Procedure | None,
    new: Procedure | None,
    message: str,
    effect: str,
    values: tuple[int | None, int | None] = (None, None),
) -> None:
    before, after = pair.old_at(old) if old else None, pair.new_at(new) if new else None
    at = after or before
    assert at is not None, "it is on one side at least"
    program = pair.new.program.short
    report.add(rule, before, after, message, effect, program=program, values=values, reaches=(at.name,))


def _program(
    report: Report,
    rule: str,
    old: Placed | None,
    new: Placed | None,
    message: str,
    effect: str,
    values: tuple[int | None, int | None] = (None, None),
) -> None:
    each = new or old
    assert each is not None, "it is on one side at least"
    short = each.program.short
    procedures = [f"{short}.{procedure.short}" for procedure in each.program.procedures]
    report.add(
        rule,
        At(old.symbol, old.program.span, short) if old else None,
        At(new.symbol, new.program.span, short) if new else None,
        message,
        effect,
        program=short,
        values=values,
        reaches=procedures,
    )


def _hex(placed: Placed) -> str:
    return f"{placed.program.number:#010x}"
