"""The types of a registry in the native core, and payloads read and written by it once that is worth it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from .native import core
from .native_plan import read
from .registry import default

if TYPE_CHECKING:
    from .codec.xdrtype import XdrType
    from .registry import Registry

#: Payloads that Python reads or writes before the plan pays: from its file (a millisecond), and built (a
#: quarter of a second).
WORTH: Final = (1_000, 200_000)


class NativeTypes:
    """A plan with the place of each type. Only made if there is a native core."""

    def __init__(self, registry: Registry) -> None:
        native = core()
        assert native is not None
        made = read(registry)
        if made is None:
            from .native_plan_builder import build  # slow to load

            made = build(registry)
        self.plan = native.Plan(made.words, made.text, made.resolver(registry))
        self.fault_names = made.fault_names
        self._rows = {f"{module}.{name}": row for module, name, row in made.types}

    def row(self, type_: XdrType) -> int | None:
        """Return the row of a type; None for one of another registry."""
        return self._rows.get(f"{type_.reference.module}.{type_.name}")

    def row_at(self, place: str) -> int | None:
        """Return the row of the type at a location (module and type); None for one in another registry. Loads
        no type."""
        return self._rows.get(place)


@lru_cache(4)
def native_types(registry: Registry) -> NativeTypes:
    """Return the types of a registry."""
    return NativeTypes(registry)


class NativePayloads:
    """Functions for payloads, None until enough have passed or without a native core."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._left = WORTH[registry is not default()]
        self._types: NativeTypes | None = None

    @property
    def is_possible(self) -> bool:
        """True if there is a native core."""
        return core() is not None

    def is_worth_it(self, payloads: int = 1) -> bool:
        """Count payloads; return whether the native core should read and write from now on."""
        self._left -= payloads
        if self._left > 0:
            return False
        if self._types is None and core() is not None:
            self._types = native_types(self._registry)
        return self._types is not None

    def decoder(self, type_: XdrType) -> Callable[[bytes, int], tuple[Any, int] | None] | None:
        """Return the function that reads a value and its end, or None for bytes that Python has to read."""
        row = None if self._types is None else self._types.row(type_)
        if self._types is None or row is None:
            return None
        return partial(self._types.plan.decode, row)

    def encode(self, type_: XdrType, value: object) -> bytes | None:
        """Return the XDR of a value; None for one that Python has to write."""
        if not self.is_worth_it():
            return None
        assert self._types is not None
        row = self._types.row(type_)
        return None if row is None else self._types.plan.encode(row, value)
