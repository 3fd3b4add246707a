"""Comparison of types, pair by pair: from the payloads of procedures down, then by name."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from libvirt_proto.codec.types import Enumeration, Field, Named, Node, Structure, UnionType, keyword_of

from ..findings import Symbol
from ..schema_index import SchemaIndex
from . import effects
from .align import align
from .bounds import BoundChange, Bounds
from .enums import compare_members
from .nodes import Followed, Nodes, Rebound, Respelled, Retyped
from .pair import Pair, Place
from .report import At, Report
from .unions import compare_arms


class Types:
    """Compares pairs of types, each once; pairs that a pair names are compared next."""

    def __init__(self, old: SchemaIndex, new: SchemaIndex, report: Report, bounds: Bounds) -> None:
        self._old = old
        self._new = new
        self._report = report
        self._bounds = bounds
        self._nodes = Nodes(old, new)
        self._queue: deque[tuple[Named, Named]] = deque()
        self._seen: dict[tuple[Named, Named], None] = {}

    def follow(self, old: Named, new: Named) -> None:
        """Queue a pair for comparison, once."""
        if (old, new) not in self._seen:
            self._seen[old, new] = None
            self._queue.append((old, new))

    def compare(self) -> None:
        """Compare all queued pairs, and all that they name."""
        while self._queue:
            self._compare(self._pair(*self._queue.popleft()))

    def compare_by_name(self, *, but: Collection[Named]) -> None:
        """Compare the types that no payload led to, except some, by name."""
        met = {new for _, new in self._seen} | set(but)
        for new, definition in self._new.types.items():
            if new in met or definition.anonymous or new.module not in self._report.scope.new:
                continue
            candidates = [old for old in self._old.types_by_name.get(new.name, ()) if old not in but]
            if candidates:
                self.follow(next((old for old in candidates if old.module == new.module), candidates[0]), new)
        self.compare()

    def unmatched(self) -> tuple[set[Named], set[Named]]:
        """Return the types of the old and of the new side that were in no pair."""
        return (
            set(self._old.types) - {old for old, _ in self._seen},
            set(self._new.types) - {new for _, new in self._seen},
        )

    def renamed(self, old: Named, new: Named) -> None:
        """Record that a type continues as another whose contents are reported elsewhere."""
        self._seen[old, new] = None
        self._renamed(self._pair(old, new))

    def declared(self, rule: str, place: Place, old: Node, new: Node) -> bool:
        """Report a changed declaration; `rule` is for other bytes. Return True if it applies."""
        changes = self._nodes.changes(old, new)
        for change in changes:
            match change:
                case Followed(before, after):
                    self.follow(before, after)
                case Rebound():
                    self._bounds.add(BoundChange(change, place.old, place.new, place.pair))
                case Retyped():
                    place.report(self._report, rule, effects.misread(place.pair.reached))
                case Respelled():
                    place.report(self._report, "DECLARATION_CHANGED", effects.DECLARED)
        return Retyped() in changes

    def _pair(self, old: Named, new: Named) -> Pair:
        reached = self._report.reached(old, new)
        return Pair(old, new, reached, self._report.program_of(self._new, new.module, reached))

    def _at(self, pair: Pair) -> tuple[At, At]:
        return (
            At(self._old.symbol(pair.old), self._old.definition(pair.old).span),
            At(self._new.symbol(pair.new), self._new.definition(pair.new).span),
        )

    def _compare(self, pair: Pair) -> None:
        before, after = self._old.definition(pair.old), self._new.definition(pair.new)
        place = Place(pair, *self._at(pair), pair.new.name, _short(before.xdr), _short(after.xdr))
        if keyword_of(before.node) != keyword_of(after.node):
            place.report(self._report, "TYPE_CHANGED", effects.misread(pair.reached))
            return
        self._renamed(pair)
        match before.node, after.node:
            case Structure(), Structure():
                self._compare_fields(pair, before.node, after.node)
            case UnionType(), UnionType():
                self._field("FIELD_TYPE_CHANGED", pair, before.node.discriminant, after.node.discriminant)
                compare_arms(pair, self._files(pair), before.node, after.node, self.declared, self._report)
            case Enumeration(), Enumeration():
                compare_members(pair, self._files(pair), before.node, after.node, self._report)
            case old, new:
                self.declared("TYPE_CHANGED", place, old, new)

    def _files(self, pair: Pair) -> tuple[str, str]:
        return self._old.file(pair.old.module), self._new.file(pair.new.module)

    def _renamed(self, pair: Pair) -> None:
        if pair.old.name == pair.new.name or self._new.definition(pair.new).anonymous:
            return
        old, new = self._at(pair)
        message = f"{pair.old.name} was renamed to {pair.new.name}"
        pair.report(self._report, "TYPE_RENAMED", old, new, message, effects.SOURCE)

    def _compare_fields(self, pair: Pair, old: Structure, new: Structure) -> None:
        alignment = align(old.fields, new.fields, self._nodes.alike)
        old_file, new_file = self._files(pair)
        if alignment.moved:
            orders = [", ".join(field.name for field in each.fields) for each in (old, new)]
            place = Place(pair, *self._at(pair), f"the order of {pair.new.name}", *orders)
            place.report(self._report, "FIELD_ORDER_CHANGED", effects.misread(pair.reached))
        for field in alignment.removed:
            at = At(Symbol("field", field.name, old_file, pair.old.name), field.span)
            xdr, effect = _short(field.xdr), effects.misread(pair.reached)
            message = f"the field `{xdr}` was removed from {pair.old.name}"
            pair.report(self._report, "FIELD_REMOVED", at, None, message, effect, (xdr, None))
        for field in alignment.added:
            at = At(Symbol("field", field.name, new_file, pair.new.name), field.span)
            xdr, effect = _short(field.xdr), effects.misread(pair.reached)
            message = f"the field `{xdr}` was added to {pair.new.name}"
            pair.report(self._report, "FIELD_ADDED", None, at, message, effect, (None, xdr))
        for before_field, after_field in alignment.pairs:
            self._field("FIELD_TYPE_CHANGED", pair, before_field, after_field)

    def _field(self, rule: str, pair: Pair, old: Field, new: Field) -> None:
        old_file, new_file = self._files(pair)
        before = At(Symbol("field", old.name, old_file, pair.old.name), old.span)
        after = At(Symbol("field", new.name, new_file, pair.new.name), new.span)
        place = Place(pair, before, after, after.name, _short(old.xdr), _short(new.xdr))
        if not self.declared(rule, place, old.node, new.node) and old.name != new.name:
            message = f"{after.name} was renamed from {old.name}"
            pair.report(self._report, "FIELD_RENAMED", before, after, message, effects.SOURCE)


def _short(xdr: str) -> str:
    """Return a declaration in one line, without its semicolon."""
    return " ".join(xdr.removesuffix(";").split())
