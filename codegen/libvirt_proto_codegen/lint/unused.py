"""UNUSED: types and constants that nothing on the wire needs.

Only files with a program are checked: the definitions of others are for C code (virnetprotocol.x has the
header of all messages). Enums are exempt, since they may name the bits of a `flags`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from libvirt_proto.codec.types import Enumeration

from ..findings import Symbol
from .index import Hit, LintIndex

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def unused_type(index: LintIndex) -> Iterator[Hit]:
    """Yield types that no payload contains."""
    used = index.contents(index.payloads)
    with_programs = {placed.module.name for placed in index.programs}
    for reference, definition in index.types.items():
        if reference in used or reference.module not in with_programs or definition.anonymous:
            continue
        if not isinstance(definition.node, Enumeration):
            message = f"{definition.name} is in no payload of any procedure"
            yield Hit(index.symbol(reference), definition.span, message, holder=reference)


def unused_constant(index: LintIndex) -> Iterator[Hit]:
    """Yield constants that no definition uses."""
    with_programs = {placed.module.name for placed in index.programs}
    used = {name for definition in index.types.values() for name in _NAME.findall(definition.xdr)}
    used.update(constant.text for constant in index.constants.values())
    for (module, name), constant in index.constants.items():
        if module in with_programs and name not in used:
            symbol = Symbol("constant", name, index.file(module))
            message = f"{name} is used by no definition, and limits nothing on the wire"
            yield Hit(symbol, constant.span, message)
