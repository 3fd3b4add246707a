"""Renamed things: which thing of a release is which of the next one."""

from __future__ import annotations

from libvirt_proto.codec.history import Key

from ..compare import compare
from ..findings import Symbol
from ..schema import Schema


def renames(old: Schema, new: Schema) -> dict[Key, Key]:
    """Return old key → new key of the types, fields, members and constants that were renamed."""
    found: dict[Key, Key] = {}
    taken: set[Key] = set()
    for finding in compare(old, new):
        if finding.rule.endswith("_RENAMED") and finding.old_symbol and finding.symbol:
            one, other = _key(finding.old_symbol), _key(finding.symbol)
            if one is not None and other is not None and one not in found and other not in taken:
                found[one] = other
                taken.add(other)
    return found


def _key(symbol: Symbol) -> Key | None:
    """Return the key of a finding's symbol; None for programs and procedures, which keep theirs."""
    if symbol.kind in ("type", "constant"):
        return symbol.kind, symbol.name
    if symbol.owner is None:
        return None
    return "member" if symbol.kind == "member" else "field", symbol.owner, symbol.name
