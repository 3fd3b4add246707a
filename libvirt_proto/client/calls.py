"""Calls of a program's procedures by name, with arguments as keywords."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import BadValue, UnknownName

if TYPE_CHECKING:
    from ..definitions.program import Procedure, Program
    from .connection import Connection


class Calls:
    """The procedures of a program.

    `await calls.domain_lookup_by_name(name="vm1")` returns the value of the reply, None for a procedure
    without one. Descriptors of a reply are closed: `Connection.call` returns them.
    """

    def __init__(self, connection: Connection, program: Program) -> None:
        self._connection = connection
        self._program = program

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        try:
            procedure = self._program.procedure(name)
        except UnknownName as error:
            raise AttributeError(str(error)) from None

        async def call(**args: Any) -> Any:
            return await self._connection.call_value((self._program, procedure), args)

        call.__name__ = call.__qualname__ = name
        return call

    def __dir__(self) -> list[str]:
        return [each.name for each in self._program.procedures if each.msg_place is None]


def arguments(procedure: Procedure, given: Mapping[str, Any]) -> Any:
    """Return the arguments of a call from values by name. Raises BadValue for missing and unknown names."""
    python_class = None if procedure.args is None else procedure.args.python_class
    fields: tuple[str, ...] = getattr(python_class, "__struct_fields__", ())
    if unknown := [name for name in given if name not in fields]:
        expected = ", ".join(fields) or "none"
        raise BadValue(f"unknown argument {unknown[0]!r} of {procedure.name}; expected {expected}")
    if missing := [name for name in fields if name not in given]:
        raise BadValue(f"{procedure.name} needs the argument {missing[0]!r}")
    return None if python_class is None else python_class(*(given[name] for name in fields))
