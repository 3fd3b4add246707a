"""What a generated package says of its programs and procedures: plain frozen values, without their types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import UnknownName

if TYPE_CHECKING:
    from ..codec.xdrtype import XdrType

#: Loads the type of a place.
Load = Callable[[str], "XdrType"]


@dataclass(frozen=True, slots=True)
class AccessRule:
    """`@acl: object:permission[:flags][:parameter:value]`, `@aclfilter: object:permission`."""

    object: str
    permission: str
    flags: str | None = None
    parameter: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        text = f"{self.object}:{self.permission}"
        if self.flags is not None or self.parameter is not None:
            text += f":{self.flags or ''}"
        if self.parameter is not None:
            text += f":{self.parameter}:{self.value}"
        return text


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the .x's comment says of a procedure. `acl` is None where nothing is said, and empty
    for `@acl: none`."""

    generate: str | None = None
    priority: str | None = None
    readstream: int | None = None
    writestream: int | None = None
    sparseflag: str | None = None
    acl: tuple[AccessRule, ...] | None = None
    aclfilter: tuple[AccessRule, ...] = ()


@cache
def _annotations(said: tuple[Any, ...]) -> Annotations:
    if not said:
        return Annotations()
    generate, priority, readstream, writestream, sparseflag, acl, aclfilter = said
    rules = None if acl is None else tuple(AccessRule(*rule) for rule in acl)
    filters = tuple(AccessRule(*rule) for rule in aclfilter)
    return Annotations(generate, priority, readstream, writestream, sparseflag, rules, filters)


@dataclass(frozen=True, slots=True)
class Procedure:
    """`symbol` is the .x's name (`REMOTE_PROC_AUTH_LIST`), `name` the tapset's (`auth_list`).

    The places of its types, None for void, are a module's name and the type's behind a dot
    (`remote.remote_auth_list_ret`), for `load`. So nothing of a type is loaded before it is asked for. `said`
    has the values of Annotations in their order, and those of AccessRules in place of these.
    """

    number: int
    name: str
    symbol: str
    load: Load = field(repr=False, compare=False)
    args_place: str | None = None
    ret_place: str | None = None
    msg_place: str | None = None
    said: tuple[Any, ...] = ()

    @property
    def annotations(self) -> Annotations:
        """What the .x's comment says of it."""
        return _annotations(self.said)

    @property
    def args(self) -> XdrType | None:
        """The type of a call's payload, None for void."""
        return None if self.args_place is None else self.load(self.args_place)

    @property
    def ret(self) -> XdrType | None:
        """The type of a reply's payload, None for void."""
        return None if self.ret_place is None else self.load(self.ret_place)

    @property
    def msg(self) -> XdrType | None:
        """The type of an event's payload, None for void."""
        return None if self.msg_place is None else self.load(self.msg_place)


def programs(package: str, rows: tuple[Any, ...]) -> tuple[Program, ...]:
    """The programs of a generated package, of the rows that it has for one of its modules."""
    load = partial(_load, package)

    def procedure(number: int, name: str, symbol: str, *rest: Any) -> Procedure:
        return Procedure(number, name, symbol, load, *rest)

    return tuple(
        Program(name, symbol, number, version, tuple(procedure(*one) for one in procedures))
        for name, symbol, number, version, procedures in rows
    )


def _load(package: str, place: str) -> XdrType:
    module, _, name = place.partition(".")
    type_: XdrType = import_module(f"{package}.{module}").TYPES[name]
    return type_


@dataclass(frozen=True)
class Program:
    """A program in one version. `symbol` is its constant in the .x (`REMOTE_PROGRAM`), `name` the
    tapset's (`remote`); `procedures` are in ascending order of their numbers."""

    name: str
    symbol: str
    number: int
    version: int
    procedures: tuple[Procedure, ...] = field(repr=False)

    @cached_property
    def by_number(self) -> Mapping[int, Procedure]:
        """Procedures by number."""
        return {procedure.number: procedure for procedure in self.procedures}

    @cached_property
    def by_name(self) -> Mapping[str, Procedure]:
        """Procedures by `name` and by `symbol`."""
        names = {procedure.symbol: procedure for procedure in self.procedures}
        names.update((procedure.name, procedure) for procedure in self.procedures)
        return names

    def procedure(self, key: int | str) -> Procedure:
        """Return the procedure of a number, name or symbol. Raises UnknownName, a KeyError."""
        found = self.by_number.get(key) if isinstance(key, int) else self.by_name.get(key)
        if found is None:
            raise UnknownName(f"procedure of {self.name}", key, self.by_name)
        return found
