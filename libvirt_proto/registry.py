"""Numbers ↔ names ↔ types of one set of definitions.

The default set is the newest release, whose modules are bundled. Other sets are compiled on demand
(definitions/compiled.py). Programs, procedures and enum members are known from the package itself; a module
is loaded when the first of its types is needed, which is slow for the large ones.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Final

from .definitions.program import Procedure, Program, programs

if TYPE_CHECKING:
    from enum import IntEnum

    from .codec.history import Facts, Key, Span
    from .codec.xdrtype import XdrType
    from .errors import UnknownName


#: The location of the payload of every reply with status error (virnetprotocol.x).
ERROR_PLACE: Final = "virnetprotocol.virNetMessageError"


class Module:
    """A generated module: the contents of one .x file. Its code is loaded on first use.

    `name` is the module (`remote`), `file` the .x file (`remote_protocol.x`). Everything that needs no type
    is available at once, by its name in the .x: `programs` with their procedures, `members` of enums with
    their numbers, `constants`, `externals` (constants defined elsewhere: number and header) and `type_names`.
    """

    def __init__(self, package: ModuleType, name: str) -> None:
        self._package = package.__name__
        self.name = name
        self.file: str = package.MODULES[name]
        self.programs = programs(package.__name__, package.PROGRAMS[name])
        self.members: Mapping[str, Mapping[str, int]] = package.MEMBERS[name]
        self.constants: Mapping[str, int] = package.CONSTANTS[name]
        self.externals: Mapping[str, tuple[int, str | None]] = package.EXTERNALS[name]
        self.type_names: tuple[str, ...] = package.TYPES[name]

    def __repr__(self) -> str:
        return f"Module({self.name!r})"

    @cached_property
    def code(self) -> ModuleType:
        """The Python module."""
        return importlib.import_module(f"{self._package}.{self.name}")

    @property
    def types(self) -> Mapping[str, XdrType]:
        """Types by name in the .x."""
        return self.code.TYPES  # type: ignore[no-any-return]

    @property
    def enums(self) -> Mapping[str, type[IntEnum]]:
        """Enums by name in the .x."""
        return self.code.ENUMS  # type: ignore[no-any-return]


class Registry:
    """A generated package: its modules, and look-ups over all of them.

    `release` is the libvirt release, None for custom definitions.
    """

    def __init__(self, package: ModuleType) -> None:
        self.release: str | None = package.RELEASE
        self._modules = {name: Module(package, name) for name in package.MODULES}
        self._programs = {(program.number, program.version): program for program in self.programs()}

    def modules(self) -> tuple[Module, ...]:
        """Return all modules, in the order of the definition files."""
        return tuple(self._modules.values())

    def module(self, name: str) -> Module:
        """Return a module by name. Raises UnknownName, a KeyError."""
        found = self._modules.get(name)
        if found is None:
            raise _unknown("module", name, self._modules)
        return found

    @cached_property
    def numbers(self) -> frozenset[int]:
        """The numbers of all programs."""
        return frozenset(number for number, _ in self._programs)

    def find(self, number: int, version: int) -> Program | None:
        """Return the program with this number and version, or None. Fast enough for every message."""
        return self._programs.get((number, version))

    def programs(self) -> tuple[Program, ...]:
        """Return all programs, in the order of their modules."""
        return tuple(program for module in self.modules() for program in module.programs)

    def program(self, key: int | str, version: int | None = None) -> Program:
        """Return the program of a number or a name (`remote`, `REMOTE_PROGRAM`), in its newest version
        unless one is given. Raises UnknownName, a KeyError."""
        found = [
            program
            for program in self.programs()
            if key in (program.number, program.name, program.symbol) and version in (None, program.version)
        ]
        if not found:
            raise self._unknown_program(key, version)
        return max(found, key=lambda program: program.version)

    def type(self, name: str) -> XdrType:
        """Return the type of a name in the .x. Raises UnknownName, a KeyError."""
        for module in self.modules():
            if name in module.type_names:
                return module.types[name]
        raise _unknown("type", name, (known for module in self.modules() for known in module.type_names))

    @cached_property
    def error(self) -> XdrType:
        """virNetMessageError: the payload of every reply with status error (virnetprotocol.x)."""
        return self._net.types[ERROR_PLACE.partition(".")[2]]

    @cached_property
    def stream_hole(self) -> XdrType | None:
        """virNetStreamHole: the payload of STREAM_HOLE, None before libvirt 3.4.0."""
        return self._net.types.get("virNetStreamHole")

    @property
    def _net(self) -> Module:
        """virnetprotocol, from the default set if this one lacks it."""
        return self._modules.get("virnetprotocol") or default().module("virnetprotocol")

    def history(self, name: str) -> Facts:
        """Return when a name was added to libvirt, and its changes since.

        `name` is a program's (`remote`), a procedure's (`remote.domain_get_info`, `REMOTE_PROC_AUTH_LIST`),
        a type's, a field's (`remote_typed_param_value.s`), an enum member's or a constant's, or the name of a
        number in the public API (`VIR_DOMAIN_EVENT_ID_LIFECYCLE`). Raises UnknownName, a KeyError, for a name
        that these definitions do not have, and for every name of custom definitions.
        """
        # Decoding needs none of it.
        from .codec.history import Facts, Span
        from .definitions.history import lookup
        from .names import public

        if self.release is None:
            raise _unknown("definition of libvirt", name)
        if (added := public.since(name)) is not None:
            return Facts(Span(added))
        return lookup(self._history_key(name))

    def since(self, name: str) -> Span:
        """Return when a name was added to libvirt, as in `default().since("remote.domain_get_info")`; see
        `history`."""
        return self.history(name).since

    def _history_key(self, name: str) -> Key:
        from .codec.types import part_names

        owner, dot, part = name.rpartition(".")
        for program in self.programs():
            number = f"{program.number:#010x}"
            if name in (program.name, program.symbol):
                return "program", number
            if owner in ("", program.name) and (found := program.by_name.get(part)):
                return "procedure", number, str(found.number)
        for module in self.modules():
            if name in module.type_names:
                return "type", name
            if name in module.constants:
                return "constant", name
            if dot and owner in module.type_names and part in part_names(module.types[owner].node):
                return "field", owner, part
            for enum, members in module.members.items():
                if part in members and owner in ("", enum):
                    return "member", enum, part
        raise _unknown("definition", name, self._names())

    def _names(self) -> Iterator[str]:
        """All names that `history` accepts, without those of fields."""
        for program in self.programs():
            yield program.name
            for procedure in program.procedures:
                yield from (f"{program.name}.{procedure.name}", procedure.symbol)
        for module in self.modules():
            yield from module.type_names
            yield from module.constants
            for members in module.members.values():
                yield from members

    def _unknown_program(self, key: int | str, version: int | None) -> UnknownName:
        known = {name: each.version for each in self.programs() for name in (each.name, each.symbol)}
        kind = "program" if version is None else f"version {version} of a program"
        return _unknown(kind, key, known)

    def procedure(self, number: int, version: int, procedure: int) -> Procedure | None:
        """Return the procedure with these numbers, or None."""
        program = self.find(number, version)
        return program.by_number.get(procedure) if program else None


def _unknown(kind: str, name: int | str, known: Iterable[str] = ()) -> UnknownName:
    from .errors import UnknownName  # not needed for known names

    return UnknownName(kind, name, known)


@cache
def default() -> Registry:
    """Return the bundled set: libvirt's newest release."""
    return Registry(importlib.import_module(f"{__package__}.generated"))


def program(key: int | str, version: int | None = None) -> Program:
    """Return `default().program(key, version)`: `registry.program(0x20008086).procedure(66).name`."""
    return default().program(key, version)


@cache
def release(name: str) -> Registry:
    """Return a bundled release (`10.0.0`, `v10.0.0`), or the newest (`latest`). Raises LookupError with the
    closest releases."""
    if name.removeprefix("v") in (default().release, "latest"):
        return default()
    from .definitions.compiled import release_package

    return Registry(release_package(name))


def load(
    path: str | os.PathLike[str], *, defines: Mapping[str, int] | None = None, package: bool = False
) -> Registry:
    """Load custom definitions: a folder of .x files, or one .x file.

    `defines` supplies constants that are defined outside the .x files. No code in the folder is run. Raises
    the compiler's DefinitionError for invalid definitions, OSError for a path that cannot be read, and
    errors.NotDefinitions (a ValueError) for a folder with a Python package but no .x file.

    With `package`, `path` is the folder of a package that `libvirt-proto generate python` wrote. Loading it
    **runs the code in that folder**. Raises ImportError for a package that cannot be used, and ValueError for
    `defines`, which does not apply.
    """
    from pathlib import Path  # slow to load, as is the compiler

    from .definitions import compiled

    if not package:
        return Registry(compiled.definitions_package(Path(path), defines or {}))
    if defines:
        raise ValueError("constants cannot be defined for a generated package: generate it again with them")
    return Registry(compiled.generated_package(Path(path)))
