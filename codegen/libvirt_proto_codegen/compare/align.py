"""Which field of a struct's old definition is which of its new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libvirt_proto.codec.types import Field, Node


@dataclass(frozen=True, slots=True)
class Alignment:
    """Fields that go on, those that left and those that came, each in the order of the fields; `moved` where
    fields that kept their names stand in another order."""

    pairs: tuple[tuple[Field, Field], ...]
    removed: tuple[Field, ...]
    added: tuple[Field, ...]
    moved: bool = False


def align(old: Sequence[Field], new: Sequence[Field], alike: Callable[[Node, Node], bool]) -> Alignment:
    """Names go first; between fields that kept theirs, what stands at the same place is the same field.

    Where one side has more fields in such a gap, only those with `alike` types are taken for the same, up to
    the first that is not.
    """
    here = {field.name: field for field in new}
    kept = [(field, here[field.name]) for field in old if field.name in here]
    places = {field.name: at for at, field in enumerate(new)}
    order = [places[field.name] for field, _ in kept]
    if order != sorted(order):
        names = {field.name for field, _ in kept}
        return Alignment(
            tuple(kept),
            tuple(field for field in old if field.name not in names),
            tuple(field for field in new if field.name not in names),
            moved=True,
        )
    pairs: list[tuple[Field, Field]] = []
    removed: list[Field] = []
    added: list[Field] = []
    for gap_old, gap_new, anchor in _gaps(old, new, kept):
        same = _paired(gap_old, gap_new, alike)
        pairs += zip(gap_old[:same], gap_new[:same], strict=True)
        pairs += anchor
        removed += gap_old[same:]
        added += gap_new[same:]
    return Alignment(tuple(pairs), tuple(removed), tuple(added))


def _gaps(
    old: Sequence[Field], new: Sequence[Field], kept: Sequence[tuple[Field, Field]]
) -> list[tuple[Sequence[Field], Sequence[Field], list[tuple[Field, Field]]]]:
    """What stands before each kept pair, with that pair, and what stands behind the last."""
    gaps = []
    at_old = at_new = 0
    places_old = {field.name: at for at, field in enumerate(old)}
    places_new = {field.name: at for at, field in enumerate(new)}
    for pair in kept:
        next_old, next_new = places_old[pair[0].name], places_new[pair[1].name]
        gaps.append((old[at_old:next_old], new[at_new:next_new], [pair]))
        at_old, at_new = next_old + 1, next_new + 1
    return [*gaps, (old[at_old:], new[at_new:], [])]


def _paired(old: Sequence[Field], new: Sequence[Field], alike: Callable[[Node, Node], bool]) -> int:
    """How many fields at the beginning of a gap are the same."""
    if len(old) == len(new):
        return len(old)
    for at, (before, after) in enumerate(zip(old, new, strict=False)):
        if not alike(before.node, after.node):
            return at
    return min(len(old), len(new))
