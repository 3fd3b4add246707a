"""Arms of a union, by the values of its discriminant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from libvirt_proto.codec.types import Arm, Node, UnionType

from ..findings import Symbol
from . import effects
from .pair import Pair, Place
from .report import At, Report

_Both = tuple[Arm | None, Arm | None]


def compare_arms(
    pair: Pair,
    files: tuple[str, str],
    old: UnionType,
    new: UnionType,
    declared: Callable[[str, Place, Node, Node], bool],
    report: Report,
) -> None:
    """Report changes to the arms of a union. A value without an arm uses the default's. `declared` compares
    the declarations of an arm, and returns True if its bytes differ."""
    arms_old, arms_new = old.by_value, new.by_value
    values: dict[_Both, list[int | None]] = {}
    for value in dict.fromkeys((*arms_old, *arms_new)):
        both = arms_old.get(value, old.default), arms_new.get(value, new.default)
        values.setdefault(both, []).append(value)
    for (before, after), labels in values.items():
        at_old = At(_symbol(before, files[0], pair.old.name, labels), before.span) if before else None
        at_new = At(_symbol(after, files[1], pair.new.name, labels), after.span) if after else None
        xdr_old, xdr_new = (_xdr(arm, labels) if arm else None for arm in (before, after))
        what = _discriminant(labels)
        if not at_old:
            effect = effects.refused("old", pair.reached, what)
            message = f"the arm `{xdr_new}` was added to {pair.new.name}"
            pair.report(report, "ARM_ADDED", None, at_new, message, effect, (None, xdr_new))
        elif not at_new:
            effect = effects.refused("new", pair.reached, what)
            message = f"the arm `{xdr_old}` was removed from {pair.old.name}"
            pair.report(report, "ARM_REMOVED", at_old, None, message, effect, (xdr_old, None))
        elif before and after and xdr_old and xdr_new:
            place = Place(pair, at_old, at_new, f"an arm of {pair.new.name}", xdr_old, xdr_new)
            retyped = declared("ARM_TYPE_CHANGED", place, before.node, after.node)
            if not retyped and before.name != after.name:
                message = f"{at_new.name} was renamed from {before.name}"
                pair.report(report, "ARM_RENAMED", at_old, at_new, message, effects.SOURCE)


def _symbol(arm: Arm, file: str, owner: str, labels: Sequence[int | None]) -> Symbol:
    return Symbol("arm", arm.name or _case(arm, labels), file, owner)


def _xdr(arm: Arm, labels: Sequence[int | None]) -> str:
    return f"{_case(arm, labels)}: {' '.join(arm.xdr.removesuffix(';').split())}"


def _case(arm: Arm, labels: Sequence[int | None]) -> str:
    """Return the label of an arm for the given values, as written in the .x: `case VIR_TYPED_PARAM_INT`,
    `case 1, 2`, `default`."""
    names = {label.value: label.name or str(label.value) for label in arm.labels}
    words = [names[label] for label in labels if label in names]
    return f"case {', '.join(words)}" if words else "default"


def _discriminant(labels: Sequence[int | None]) -> str:
    numbers = " or ".join(str(label) for label in labels if label is not None)
    if not numbers:
        return "a discriminant that has no case"
    return f"the discriminant {numbers}" + (" or one that has no case" if None in labels else "")
