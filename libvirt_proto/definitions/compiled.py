"""Definitions given at run time → generated packages, compiled when they are asked for.

They are compiled by whatever is installed under the entry point group `libvirt_proto.compiler` (the generator
that comes with this distribution), and kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any

from ..codec.primitives import API_VERSION

#: Where compiled definitions are kept; without a home, a temporary folder.
CACHE = "libvirt-proto"
#: Entry points of what compiles definitions: `python`, and `release` for the files of a release.
GROUP = "libvirt_proto.compiler"


def release_package(name: str) -> ModuleType:
    """The package of a release whose definitions come with the generator; raises LookupError in words."""
    files: Mapping[str, bytes] = _compiler("release")(name)
    with tempfile.TemporaryDirectory(prefix=f"{CACHE}-") as folder:
        for file, content in files.items():
            Path(folder, file).write_bytes(content)
        return package(Path(folder), {})


def package(path: Path, defines: Mapping[str, int]) -> ModuleType:
    """The package in a folder, or that of its .x files, or of one .x file. Raises as registry.load."""
    if (path / "__init__.py").is_file():
        return _package(path)
    files = sorted(path.glob("*.x")) if path.is_dir() else [path]
    folder = _cache_folder() / _key(files, path, defines)
    if not (folder / "__init__.py").is_file():
        _keep(_compiler("python")([path], defines=defines), folder)
    return _package(folder)


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
