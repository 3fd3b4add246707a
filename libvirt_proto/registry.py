"""Numbers ↔ names ↔ types: the programs of one set of definitions, each loaded when first asked for.

The default set is the newest release, whose modules come with the package. Others are compiled when
they are asked for, by whatever is installed under the entry point group `libvirt_proto.compiler`
(the generator that comes with this distribution), and kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import cache, cached_property
from importlib.metadata import entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any

from .history import Facts, Key, Span
from .history import of as history_of
from .layout import parts_of
from .program import Procedure, Program, XdrType
from .xdr import API_VERSION

#: Where compiled definitions are kept; without a home, a temporary folder.
CACHE = "libvirt-proto"
#: Entry points of what compiles definitions: `python`, and `release` for the files of a release.
GROUP = "libvirt_proto.compiler"


class Module:
    """A generated module: what one .x file defines. Its code is loaded when first asked for.

    `name` is the module's (`remote`), `file` the .x file's (`remote_protocol.x`), `index` has
    (number, version, name) of each program in it.
    """

    def __init__(self, package: str, name: str, file: str, index: tuple[tuple[int, int, str], ...]) -> None:
        self._package = package
        self.name = name
        self.file = file
        self.index = index

    def __repr__(self) -> str:
        return f"Module({self.name!r})"

    @cached_property
    def code(self) -> ModuleType:
        """The Python module itself."""
        return importlib.import_module(f"{self._package}.{self.name}")

    @property
    def types(self) -> Mapping[str, XdrType]:
        """Types by their names in the .x."""
        return self.code.TYPES  # type: ignore[no-any-return]

    @property
    def enums(self) -> Mapping[str, type[IntEnum]]:
        """Enumerations by their names in the .x."""
        return self.code.ENUMS  # type: ignore[no-any-return]

    @property
    def constants(self) -> Mapping[str, int]:
        """Constants by their names in the .x."""
        return self.code.CONSTANTS  # type: ignore[no-any-return]

    @property
    def externals(self) -> Mapping[str, tuple[int, str | None]]:
        """Constants that the .x takes from elsewhere: number and header."""
        return self.code.EXTERNALS  # type: ignore[no-any-return]

    @property
    def programs(self) -> tuple[Program, ...]:
        """The programs, with their procedures."""
        return self.code.PROGRAMS  # type: ignore[no-any-return]


class Registry:
    """A generated package: its modules, and look-ups over all of them.

    `release` is libvirt's, None for definitions of one's own.
    """

    def __init__(self, package: ModuleType) -> None:
        self.release: str | None = package.RELEASE
        self._modules = {
            name: Module(package.__name__, name, file, index)
            for name, (file, index) in package.MODULES.items()
        }
        self._places = {
            (number, version): module
            for module in self._modules.values()
            for number, version, _ in module.index
        }
        self._loaded: dict[tuple[int, int], Program] = {}

    def modules(self) -> tuple[Module, ...]:
        """All modules, in the order of the definitions' files."""
        return tuple(self._modules.values())

    def module(self, name: str) -> Module:
        """A module by name; raises KeyError."""
        return self._modules[name]

    @cached_property
    def numbers(self) -> frozenset[int]:
        """The numbers of all programs."""
        return frozenset(number for number, _ in self._places)

    def find(self, number: int, version: int) -> Program | None:
        """The program of a number in a version, None where there is none: for the hot path."""
        key = (number, version)
        program = self._loaded.get(key)
        if program is None and key in self._places:
            for found in self._places[key].programs:
                self._loaded[found.number, found.version] = found
            program = self._loaded[key]
        return program

    def programs(self) -> tuple[Program, ...]:
        """All programs, in the order of their modules."""
        return tuple(program for module in self.modules() for program in module.programs)

    def program(self, key: int | str, version: int | None = None) -> Program:
        """The program of a number or a name (`remote`, `REMOTE_PROGRAM`), in its newest version
        unless one is given. Raises KeyError."""
        found = [
            program
            for module in self.modules()
            if isinstance(key, str) or any(key == number for number, _, _ in module.index)
            for program in module.programs
            if key in (program.number, program.name, program.symbol) and version in (None, program.version)
        ]
        if not found:
            raise KeyError(key)
        return max(found, key=lambda program: program.version)

    def type(self, name: str) -> XdrType:
        """The type of a name in the .x; raises KeyError."""
        for module in self.modules():
            if name in module.types:
                return module.types[name]
        raise KeyError(name)

    @cached_property
    def error(self) -> XdrType:
        """virNetMessageError: the payload of every reply with status error (virnetprotocol.x)."""
        return self._net.types["virNetMessageError"]

    @cached_property
    def stream_hole(self) -> XdrType | None:
        """virNetStreamHole: the payload of STREAM_HOLE, None before libvirt 3.4.0."""
        return self._net.types.get("virNetStreamHole")

    @property
    def _net(self) -> Module:
        """virnetprotocol, of the default set where this one has none."""
        return self._modules.get("virnetprotocol") or default().module("virnetprotocol")

    def history(self, name: str) -> Facts:
        """When a thing came to libvirt, and what happened to it since.

        `name` is a program's (`remote`), a procedure's (`remote.domain_get_info`, `REMOTE_PROC_AUTH_LIST`),
        a type's, a field's (`remote_typed_param_value.s`), an enum member's or a constant's. Raises KeyError
        for a name that these definitions do not have, and for all names of definitions of one's own.
        """
        if self.release is None:
            raise KeyError(name)
        return history_of(self._history_key(name))

    def since(self, name: str) -> Span:
        """When a thing came to libvirt: `default().since("remote.domain_get_info")`; see `history`."""
        return self.history(name).since

    def _history_key(self, name: str) -> Key:
        owner, dot, part = name.rpartition(".")
        for program in self.programs():
            number = f"{program.number:#010x}"
            if name in (program.name, program.symbol):
                return "program", number
            if owner in ("", program.name) and (found := program.by_name.get(part)):
                return "procedure", number, str(found.number)
        for module in self.modules():
            if name in module.types:
                return "type", name
            if name in module.constants:
                return "constant", name
            if dot and owner in module.types and part in parts_of(module.types[owner].node):
                return "field", owner, part
            for enum, members in module.enums.items():
                if part in members.__members__ and owner in ("", enum):
                    return "member", enum, part
        raise KeyError(name)

    def procedure(self, number: int, version: int, procedure: int) -> Procedure | None:
        """The procedure of three numbers, None where there is none."""
        program = self.find(number, version)
        return program.by_number.get(procedure) if program else None


@cache
def default() -> Registry:
    """The set that comes with the package: libvirt's newest release."""
    return Registry(importlib.import_module(f"{__package__}.generated"))


def program(key: int | str, version: int | None = None) -> Program:
    """`default().program(key, version)`: `registry.program(0x20008086).procedure(66).name`."""
    return default().program(key, version)


def release(name: str) -> Registry:
    """A release whose definitions come with the package (`10.0.0`); raises LookupError in words."""
    if name == default().release:
        return default()
    files: Mapping[str, bytes] = _compiler("release")(name)
    with tempfile.TemporaryDirectory(prefix=f"{CACHE}-") as folder:
        for file, content in files.items():
            Path(folder, file).write_bytes(content)
        return load(folder)


def load(path: str | os.PathLike[str], *, defines: Mapping[str, int] | None = None) -> Registry:
    """Definitions given at run time: a folder of .x files, one .x file, or a generated package.

    `defines` gives constants that the definitions take from elsewhere. Raises the compiler's
    DefinitionError for definitions that cannot be used, OSError for a path that cannot be read.
    """
    path = Path(path)
    if (path / "__init__.py").is_file():
        return Registry(_package(path))
    files = sorted(path.glob("*.x")) if path.is_dir() else [path]
    key = _key(files, path, defines or {})
    folder = _cache_folder() / key
    if not (folder / "__init__.py").is_file():
        _keep(_compiler("python")([path], defines=defines or {}), folder)
    return Registry(_package(folder))


def _key(files: list[Path], path: Path, defines: Mapping[str, int]) -> str:
    """A name for what compiling these files gives."""
    maker = f"{version('libvirt-proto')} {API_VERSION} {sorted(defines.items())}"
    digest = hashlib.sha256(maker.encode())
    beside = sorted(path.glob("*.toml")) if path.is_dir() else sorted(path.parent.glob("*.[xt]*"))
    for file in dict.fromkeys((*files, *beside)):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]


@cache
def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(base) / CACHE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(_temporary_folder().name)


@cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Gone with the process."""
    return tempfile.TemporaryDirectory(prefix=f"{CACHE}-")


def _keep(texts: Mapping[str, str], folder: Path) -> None:
    """Write a package so that nobody ever sees half of it."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        half = Path(temporary) / "package"
        half.mkdir()
        for name, text in texts.items():
            (half / name).write_text(text, encoding="utf-8")
        try:
            half.rename(folder)
        except OSError:
            if not (folder / "__init__.py").is_file():  # somebody else was faster, or it is an error
                raise


def _package(folder: Path) -> ModuleType:
    """Import a folder as a package of a name of its own."""
    folder = folder.resolve()
    name = f"_libvirt_proto_{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is no package")
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    try:
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules[name]
        raise
    return package


def _compiler(what: str) -> Callable[..., Any]:
    found = entry_points(group=GROUP, name=what)
    if not found:
        raise LookupError(f"nothing that compiles definitions is installed (entry point {GROUP}: {what})")
    compiler: Callable[..., Any] = next(iter(found)).load()
    return compiler
