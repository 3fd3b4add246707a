"""UNUSED: types and constants that nothing of the wire needs.

Only files with a program are looked at: what others define is for C code (virnetprotocol.x has the header of
all messages). Enums are left out, which may name the bits of a `flags`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from libvirt_proto.codec.types import Enumeration

from ..findings import Symbol
from .view import Hit, View

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def unused_type(view: View) -> Iterator[Hit]:
    """Types that no payload contains."""
    used = view.contents(view.payloads)
    with_programs = {placed.module.name for placed in view.programs}
    for reference, definition in view.types.items():
        if reference in used or reference.module not in with_programs or definition.anonymous:
            continue
        if not isinstance(definition.node, Enumeration):
            message = f"{definition.name} is in no payload of any procedure"
            yield Hit(view.symbol(reference), definition.span, message, holder=reference)


def unused_constant(view: View) -> Iterator[Hit]:
    """Constants that no definition names."""
    with_programs = {placed.module.name for placed in view.programs}
    used = {name for definition in view.types.values() for name in _NAME.findall(definition.xdr)}
    used.update(constant.text for constant in view.constants.values())
    for (module, name), constant in view.constants.items():
        if module in with_programs and name not in used:
            symbol = Symbol("constant", name, view.file(module))
            message = f"{name} is named by no definition, and bounds nothing on the wire"
            yield Hit(symbol, constant.span, message)
