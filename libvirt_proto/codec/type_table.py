"""The type definitions of a generated package, and the Python classes bound to them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .plan import PlanReader
from .types import Named

if TYPE_CHECKING:
    from .xdrtype import TypeBindings


class TypeTable(PlanReader):
    """All type definitions of a generated package, and the Python classes bound to them."""

    def __init__(self, package: str) -> None:
        super().__init__(import_module(f"{package}._plan").PLAN)
        self._package = package

    def python_class(self, reference: Named) -> type[Any]:
        """Return the class of a struct, a union or an enumeration."""
        types: TypeBindings = import_module(f"{self._package}.{reference.module}").TYPES
        return types.python_class(reference.name)


@cache
def type_table(package: str) -> TypeTable:
    """Return the types of a generated package, by its name."""
    return TypeTable(package)
