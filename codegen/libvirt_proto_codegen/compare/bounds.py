"""Findings about limits and lengths: each once, at the constant if it determines all, else at its use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from libvirt_proto.codec.types import Bound, Named

from ..findings import Symbol
from ..schema_index import SchemaIndex
from . import effects
from .nodes import Rebound
from .pair import Pair
from .reach import Payload, in_order
from .report import At, Report


@dataclass(frozen=True, slots=True)
class BoundChange:
    """A limit or length that changed, its place (a field, an arm, a typedef), and the type that contains
    it."""

    change: Rebound
    old: At
    new: At
    pair: Pair


class Bounds:
    """Collects changed limits, and reports them."""

    def __init__(self, old: SchemaIndex, new: SchemaIndex, report: Report) -> None:
        self._old = old
        self._new = new
        self._report = report
        self._changes: list[BoundChange] = []

    def add(self, change: BoundChange) -> None:
        """Add a change."""
        self._changes.append(change)

    def report(self) -> set[str]:
        """Report all changes; return the names of the constants involved, old and new."""
        said: set[str] = set()
        groups: dict[object, list[BoundChange]] = {}
        for at, each in enumerate(self._changes):
            change = each.change
            if self._one_constant(change):
                home = self._home(self._new, each.pair.new, change.new)
                groups.setdefault((home, change.old, change.new, change.fixed), []).append(each)
            elif not change.same_number:
                groups[at] = [each]
        for group in groups.values():
            change = group[0].change
            if self._one_constant(change):
                self._at_constant(group)
                bounds = (change.old, change.new)
            else:
                self._in_place(group[0])
                bounds = (None, change.new)
            said |= {bound.name for bound in bounds if bound and bound.name}
        return said

    def _one_constant(self, change: Rebound) -> bool:
        """Return True if a constant has another number, or another name that replaced its old one."""
        old, new = change.old, change.new
        if not (old and new and old.name and new.name):
            return False
        if old.name == new.name:
            return True
        return not self._defines(self._new, old.name) and not self._defines(self._old, new.name)

    def _defines(self, side: SchemaIndex, name: str) -> bool:
        return name in side.constant_uses or name in side.constant_homes

    def _at_constant(self, group: Sequence[BoundChange]) -> None:
        first = group[0]
        change = first.change
        assert change.old, "a constant on both sides"
        assert change.new, "a constant on both sides"
        reached = in_order(payload for each in group for payload in each.pair.reached)
        old = self._constant(self._old, first.pair.old, change.old, first.old)
        new = self._constant(self._new, first.pair.new, change.new, first.new)
        home = self._home(self._new, first.pair.new, change.new)
        program = self._report.program_of(self._new, home, reached)
        if change.same_number:
            message = f"{old.name} was renamed to {new.name}"
            self._report.add(
                "CONSTANT_RENAMED", old, new, message, effects.SOURCE, program=program, reached=reached
            )
            return
        was = "was" if old.name == new.name else f"was {old.name},"
        numbers = f"{change.new.value:,}, {was} {change.old.value:,}"
        verb = "is the length of" if change.fixed else "limits"
        message = f"{new.name} is {numbers}; it {verb} {_places(each.new for each in group)}"
        self._finding(change, old, new, message, program, reached)

    def _in_place(self, each: BoundChange) -> None:
        pair = each.pair
        message = _said(each.new.name, each.change)
        self._finding(each.change, each.old, each.new, message, pair.program, pair.reached)

    def _finding(
        self, change: Rebound, old: At, new: At, message: str, program: str | None, reached: Sequence[Payload]
    ) -> None:
        before = change.old.value if change.old else None
        after = change.new.value if change.new else None
        if change.fixed:
            rule, effect = "FIXED_SIZE_CHANGED", effects.misread(reached)
        elif before is None or (after is not None and after < before):
            rule = "LIMIT_ADDED" if before is None else "LIMIT_LOWERED"
            assert after is not None, "one of the two is a number"
            effect = effects.refused("new", reached, effects.longer(change.contents, after))
        else:
            assert before is not None, "one of the two is a number"
            rule = "LIMIT_REMOVED" if after is None else "LIMIT_RAISED"
            effect = effects.refused("old", reached, effects.longer(change.contents, before))
        values = (before, after)
        self._report.add(rule, old, new, message, effect, program=program, values=values, reached=reached)

    def _home(self, side: SchemaIndex, user: Named, bound: Bound | None) -> str | None:
        """Return the module that defines the constant of a limit."""
        return side.constant_home(user.module, bound.name) if bound and bound.name else None

    def _constant(self, side: SchemaIndex, user: Named, bound: Bound, used: At) -> At:
        """Return the constant's own place; the place of its use if no file defines it."""
        assert bound.name, "asked for a constant"
        home = self._home(side, user, bound)
        if home is None:
            return At(Symbol("constant", bound.name), used.span)
        constant = side.constants[home, bound.name]
        return At(Symbol("constant", bound.name, side.file(home)), constant.span)


def _said(name: str, change: Rebound) -> str:
    what = "length" if change.fixed else "limit"
    match change.old, change.new:
        case None, Bound() as new:
            return f"{name} has the limit {_bound(new)}, had none"
        case Bound() as old, None:
            return f"{name} has no limit, had {_bound(old)}"
        case Bound() as old, Bound() as new:
            return f"{name} has the {what} {_bound(new)}, had {_bound(old)}"
        case _:
            raise AssertionError(change)


def _bound(bound: Bound) -> str:
    return f"{bound.value:,} ({bound.name})" if bound.name else f"{bound.value:,}"


def _places(places: Iterable[At]) -> str:
    names = [at.name for at in places]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
