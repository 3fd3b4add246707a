"""Pairs of types that are compared, and places in them."""

from __future__ import annotations

from dataclasses import dataclass

from libvirt_proto.codec.types import Named

from .reach import Payload
from .report import At, Report

Values = tuple[int | str | None, int | str | None]


@dataclass(frozen=True, slots=True)
class Pair:
    """A type on both sides, the payloads that contain it on both, and the short name of its program."""

    old: Named
    new: Named
    reached: tuple[Payload, ...]
    program: str | None

    def report(
        self,
        report: Report,
        rule: str,
        old: At | None,
        new: At | None,
        message: str,
        effect: str | None,
        values: Values = (None, None),
    ) -> None:
        """Add a finding about the type, or about something in it."""
        report.add(rule, old, new, message, effect, program=self.program, values=values, reached=self.reached)


@dataclass(frozen=True, slots=True)
class Place:
    """Something in a pair that is on both sides; messages name it `what`. `before` and `after` are XDR."""

    pair: Pair
    old: At
    new: At
    what: str
    before: str
    after: str

    def report(self, report: Report, rule: str, effect: str) -> None:
        """Add a finding that states the new and the old declaration."""
        message = f"{self.what} is `{self.after}`, was `{self.before}`"
        self.pair.report(report, rule, self.old, self.new, message, effect, (self.before, self.after))
