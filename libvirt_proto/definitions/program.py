"""Programs and procedures of a generated package, as frozen values that load their types on demand."""

from collections.abc import Mapping
from functools import cache, cached_property, partial
from importlib import import_module
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..codec.annotations import Annotations
    from ..codec.xdrtype import XdrType


@cache
def _annotations(fields: tuple[Any, ...]) -> "Annotations":
    from ..codec.annotations import AccessRule, Annotations

    if not fields:
        return Annotations()
    generate, priority, readstream, writestream, sparseflag, acl, aclfilter = fields
    rules = None if acl is None else tuple(AccessRule(*rule) for rule in acl)
    filters = tuple(AccessRule(*rule) for rule in aclfilter)
    return Annotations(generate, priority, readstream, writestream, sparseflag, rules, filters)


class Procedure(NamedTuple):
    """A procedure. `symbol` is its constant in the .x (`REMOTE_PROC_AUTH_LIST`), `name` its name in tapsets
    (`auth_list`).

    The locations of its types, None for void, consist of module and type (`remote.remote_auth_list_ret`), in
    `package`, so that types are loaded only when needed. `annotation_fields` are those of Annotations in
    order, with AccessRules as tuples.
    """

    number: int
    name: str
    symbol: str
    args_place: str | None = None
    ret_place: str | None = None
    msg_place: str | None = None
    annotation_fields: tuple[Any, ...] = ()
    package: str = ""

    def __eq__(self, other: object) -> bool:
        """The same in the definitions: their package does not count."""
        return isinstance(other, Procedure) and self[:-1] == other[:-1]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:-1])

    @property
    def annotations(self) -> "Annotations":
        """The annotations in its .x comment."""
        return _annotations(self.annotation_fields)

    @property
    def args(self) -> "XdrType | None":
        """The type of a call's payload, None for void."""
        return None if self.args_place is None else _load(self.package, self.args_place)

    @property
    def ret(self) -> "XdrType | None":
        """The type of a reply's payload, None for void."""
        return None if self.ret_place is None else _load(self.package, self.ret_place)

    @property
    def msg(self) -> "XdrType | None":
        """The type of an event's payload, None for void."""
        return None if self.msg_place is None else _load(self.package, self.msg_place)


def programs(package: str, rows: tuple[Any, ...]) -> "tuple[Program, ...]":
    """Build the programs of one module of a generated package from its rows."""
    procedure = partial(Procedure, package=package)
    return tuple(
        Program(name, symbol, number, version, tuple(starmap(procedure, procedures)))
        for name, symbol, number, version, procedures in rows
    )


def _load(package: str, place: str) -> "XdrType":
    module, _, name = place.partition(".")
    type_: XdrType = import_module(f"{package}.{module}").TYPES[name]
    return type_


class _ProgramFields(NamedTuple):
    name: str
    symbol: str
    number: int
    version: int
    procedures: tuple[Procedure, ...]


class Program(_ProgramFields):
    """One version of a program. `symbol` is its constant in the .x (`REMOTE_PROGRAM`), `name` its name in
    tapsets (`remote`); `procedures` are in ascending order of their numbers."""

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={value!r}" for name, value in self._asdict().items() if name != "procedures"
        )
        return f"Program({shown})"

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
            from ..errors import UnknownName  # not needed for known names

            raise UnknownName(f"procedure of {self.name}", key, self.by_name)
        return found
