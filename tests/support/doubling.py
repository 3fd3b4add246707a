"""Types that double with each level: a traversal that visits a type once for each use never ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import pytest

from libvirt_proto.codec.visitor import Visitor
from libvirt_proto.codec.xdrtype import XdrType

from .packages import import_package, python_texts

LEVELS: Final = 40
#: So that a traversal without end fails.
MAX_VISITS: Final = 1_000_000
#: Types that have each level as `NAME39` has `NAME38`: by value, as optional-data and a list, by a union.
NAMES: Final = ("value", "held", "either")

_LABELS: Final = "case 0: case 2: case 4: case 6:"
_LEAF: Final = "int id; string name<8>; opaque data<16>; unsigned int flags; double share; bool active;"


def _definitions() -> str:
    texts = [f"struct {name}0 {{ {_LEAF} }};" for name in NAMES]
    for level in range(1, LEVELS):
        below = level - 1
        texts += [
            f"struct value{level} {{ value{below} a; value{below} b; }};",
            f"struct held{level} {{ held{below} *a; held{below} b<3>; }};",
            f"union either{level} switch (int k) {{ {_LABELS} either{below} a; default: either{below} b; }};",
        ]
    return "\n".join(texts)


@cache
def doubling_types() -> Mapping[str, XdrType]:
    """Return the types by name."""
    types: Mapping[str, XdrType] = import_package(
        "_doubling", python_texts("doubling", _definitions())
    ).doubling.TYPES
    return types


def counted_visits(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count the visits of all Visitors from now on; the function returns their number."""
    visits = 0
    visit = Visitor.visit

    def counting(self: Visitor[Any, *tuple[Any, ...]], *args: Any) -> Any:
        nonlocal visits
        visits += 1
        assert visits < MAX_VISITS
        return visit(self, *args)

    monkeypatch.setattr(Visitor, "visit", counting)
    return lambda: visits
