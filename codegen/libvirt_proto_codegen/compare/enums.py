"""Members of an enum, matched by name, else by number."""

from __future__ import annotations

from libvirt_proto.codec.types import Enumeration, Member

from ..findings import Symbol
from . import effects
from .pair import Pair
from .report import At, Report


def compare_members(
    pair: Pair, files: tuple[str, str], old: Enumeration, new: Enumeration, report: Report
) -> None:
    """Report changes to the members of an enum."""

    def before(member: Member) -> At:
        return At(Symbol("member", member.name, files[0], pair.old.name), member.span)

    def after(member: Member) -> At:
        return At(Symbol("member", member.name, files[1], pair.new.name), member.span)

    names_old = {member.name: member for member in old.members}
    names_new = {member.name: member for member in new.members}
    numbers_old = {member.value for member in old.members}
    # If a number has two names, either may be the other's new name.
    successors = {member.value: member for member in new.members}
    successors |= {member.value: member for member in new.members if member.name not in names_old}
    renamed: set[str] = set()
    for member in old.members:
        here = names_new.get(member.name)
        if here and here.value != member.value:
            message = f"{member.name} is {here.value}, was {member.value}"
            effect = "old and new peers interpret the number differently"
            values = (member.value, here.value)
            pair.report(report, "MEMBER_RENUMBERED", before(member), after(here), message, effect, values)
        elif not here and (successor := successors.get(member.value)):
            renamed.add(successor.name)
            message = f"{member.name} = {member.value} was renamed to {successor.name}"
            pair.report(report, "MEMBER_RENAMED", before(member), after(successor), message, effects.SOURCE)
        elif not here:
            message = f"{member.name} = {member.value} was removed from {pair.old.name}"
            effect = effects.unknown("new", pair.reached, str(member.value))
            pair.report(report, "MEMBER_REMOVED", before(member), None, message, effect, (member.value, None))
    for member in new.members:
        if member.name not in names_old and member.name not in renamed:
            message = f"{member.name} = {member.value} was added to {pair.new.name}"
            known = member.value in numbers_old
            unknown = None if known else effects.unknown("old", pair.reached, str(member.value))
            pair.report(report, "MEMBER_ADDED", None, after(member), message, unknown, (None, member.value))
