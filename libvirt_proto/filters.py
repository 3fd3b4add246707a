"""Filters of messages, connection events and exchanges.

Names are checked against the registry before anything is read; a wrong one raises UnknownName.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from .errors import UnknownName
from .events import Captured, Connection, ConnectionEvent, ProbeEvent
from .rpc.message import Header
from .rpc.names import TYPES
from .text import number

if TYPE_CHECKING:
    from .definitions.program import Program
    from .registry import Registry
    from .session import Exchange

T = TypeVar("T")


class Filter:
    """A filter that accepts what matches one value of each kind that is given.

    `programs` and `procedures` are names, symbols of the .x, numbers or patterns (`*`, `?`); a procedure may
    have its program before it (`remote.domain_*`). `types` are tapset names, numbers or patterns.
    `connections` are ids, or parts of a connection's name. Raises UnknownName for a name or pattern without
    a match, and TypeError for a string in place of a list.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        programs: Iterable[str] = (),
        procedures: Iterable[str] = (),
        types: Iterable[str] = (),
        connections: Iterable[str] = (),
        errors_only: bool = False,
    ) -> None:
        given = {"programs": programs, "procedures": procedures, "types": types, "connections": connections}
        for kind, words in given.items():
            if isinstance(words, str):  # each of its characters would be a pattern
                raise TypeError(f"{kind}: expected a list of strings, got {words!r}")
        self._programs = {n for word in programs for n in program_numbers(registry.programs(), word)}
        #: (program or None for any, procedure).
        self._procedures = {p for word in procedures for p in procedure_numbers(registry.programs(), word)}
        self._types = {n for word in types for n in type_numbers(word)}
        self._connections = tuple(connections)
        self._errors_only = errors_only
        #: Whether any value is given: without one, everything is accepted.
        self.active = any((self._programs, self._procedures, self._types, self._connections, errors_only))

    def __call__(self, captured: Captured) -> bool:
        """Return True for a message that is accepted."""
        message = captured.message
        header = message.header
        return (
            (not self._programs or header.prog in self._programs)
            and (not self._procedures or self._has_procedure(header))
            and (not self._types or header.type in self._types)
            and (not self._errors_only or header.status == 1 or message.malformed)
            and (not self._connections or self._has_connection(captured.connection))
        )

    def of_event(self, event: ConnectionEvent | ProbeEvent) -> bool:
        """Return True for an event that is accepted: none is by a filter of messages."""
        if self._programs or self._procedures or self._types or self._errors_only:
            return False
        return not self._connections or (
            event.connection is not None and self._has_connection(event.connection)
        )

    def exchange(self, exchange: Exchange) -> bool:
        """Return True for an exchange with a message that is accepted."""
        return any(map(self, exchange.parts))

    def _has_procedure(self, header: Header) -> bool:
        wanted = self._procedures
        return (header.prog, header.proc) in wanted or (None, header.proc) in wanted

    def _has_connection(self, connection: Connection) -> bool:
        name = str(connection)
        return any(
            connection.id == int(word) if word.isdecimal() else word in name for word in self._connections
        )


def program_numbers(known: Iterable[Program], word: str) -> set[int]:
    """Return the numbers of the programs that a word means; a number means itself."""
    as_number = number(word)
    if as_number is not None:
        return {as_number}
    names = {name: program.number for program in known for name in (program.name, program.symbol)}
    return set(_matching("program", word, names))


def procedure_numbers(known: Iterable[Program], word: str) -> set[tuple[int | None, int]]:
    """Return (program, procedure) for every procedure that a word means; the program is None for a number
    without a program."""
    as_number = number(word)
    if as_number is not None:
        return {(None, as_number)}
    before, dot, after = word.rpartition(".")
    as_number = number(after)
    if dot and as_number is not None:
        return {(program, as_number) for program in program_numbers(known, before)}
    names: dict[str, list[tuple[int | None, int]]] = {}
    for program in known:
        for procedure in program.procedures:
            pair = (program.number, procedure.number)
            full = f"{program.name}.{procedure.name}"
            for name in (full,) if dot else (procedure.name, procedure.symbol):
                names.setdefault(name, []).append(pair)
    return {pair for pairs in _matching("procedure", word, names) for pair in pairs}


def type_numbers(word: str) -> set[int]:
    """Return the numbers of the message types that a word means."""
    as_number = number(word)
    if as_number is not None:
        return {as_number}
    return set(_matching("message type", word, {name: n for n, name in TYPES.items()}))


def _matching(kind: str, word: str, names: dict[str, T]) -> list[T]:
    if word in names:
        return [names[word]]
    found = [value for name, value in names.items() if fnmatchcase(name, word)]
    if not found:
        raise UnknownName(kind, word, names)
    return found
