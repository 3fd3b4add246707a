"""Alignment of the fields of a struct's old and new definitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libvirt_proto.codec.types import Field, Node


@dataclass(frozen=True, slots=True)
class Alignment:
    """Fields that are kept, removed and added, each in the order of the fields; `moved` is True if fields
    that kept their names are in another order."""

    pairs: tuple[tuple[Field, Field], ...]
    removed: tuple[Field, ...]
    added: tuple[Field, ...]
    moved: bool = False


def align(old: Sequence[Field], new: Sequence[Field], alike: Callable[[Node, Node], bool]) -> Alignment:
    """Align fields by name; between those, fields at the same position are the same.

    If one side has more fields in such a gap, only fields with `alike` types are matched, up to the first
    without.
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
    """Yield the fields before each kept pair, with that pair, and those after the last."""
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
    """Return the number of fields at the beginning of a gap that are the same."""
    if len(old) == len(new):
        return len(old)
    for at, (before, after) in enumerate(zip(old, new, strict=False)):
        if not alike(before.node, after.node):
            return at
    return min(len(old), len(new))
