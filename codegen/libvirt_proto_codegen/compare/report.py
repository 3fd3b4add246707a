"""Collection of Findings during a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libvirt_proto.codec.types import Named

from ..findings import Finding, Symbol
from ..schema_index import SchemaIndex
from ..source import Span
from .reach import Payload, Reach
from .rules import RULES
from .scope import Scope


@dataclass(frozen=True, slots=True)
class At:
    """Something on one side, and its place. `called` is its name, if its symbol does not have it."""

    symbol: Symbol
    span: Span | None
    called: str | None = None

    @property
    def name(self) -> str:
        """Its name in findings."""
        symbol = self.symbol
        return self.called or (f"{symbol.owner}.{symbol.name}" if symbol.owner else symbol.name)


class Report:
    """The findings so far."""

    def __init__(self, reach: Reach, scope: Scope) -> None:
        self.findings: list[Finding] = []
        self.scope = scope
        self._reach = reach

    def add(
        self,
        rule: str,
        old: At | None,
        new: At | None,
        message: str,
        effect: str | None = None,
        *,
        program: str | None,
        values: tuple[int | str | None, int | str | None] = (None, None),
        reached: Sequence[Payload] = (),
        reaches: Sequence[str] = (),
    ) -> None:
        """Add a finding; `values` are the numbers or the XDR before and after. Without `reaches`, the
        procedures are those of `reached`."""
        now = new or old
        assert now is not None, "a finding is about something"
        self.findings.append(
            Finding(
                rule,
                RULES[rule].category,
                program,
                now.name,
                message,
                effect,
                old.span if old else None,
                new.span if new else None,
                tuple(reaches)
                or tuple(dict.fromkeys(f"{each.program}.{each.procedure}" for each in reached)),
                now.symbol,
                old.symbol if old else None,
                *values,
                tuple(dict.fromkeys(each.new.name for each in reached)),
            )
        )

    def reached(self, old: Named, new: Named) -> tuple[Payload, ...]:
        """Return the payloads that contain a type on both sides."""
        return self._reach.of(old, new)

    def program_of(
        self, side: SchemaIndex, module: str | None, reached: Sequence[Payload] = ()
    ) -> str | None:
        """Return the program of a module's types and constants: the module's own, or the only one they
        reach."""
        own = [each.program.short for each in side.programs if each.module.name == module]
        found = own if len(own) == 1 else list(dict.fromkeys(payload.program for payload in reached))
        return found[0] if len(found) == 1 else None
