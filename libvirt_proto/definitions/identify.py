"""Releases whose definitions an input fits: the functions of the generator that compare it.

The generator is imported by name, as in `compiled`. Its errors have `problems`, a list for the user.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final

from ..codec.identification import Identification
from ..errors import MissingGenerator

_PACKAGE: Final = "libvirt_proto_codegen.identify"


def tree(path: Path) -> Identification:
    """Identify the .x and .d files in a folder or a source archive."""
    return _call("definitions", "identify_tree", path)


def definitions(name: str, data: bytes) -> Identification:
    """Identify a .x or .d file."""
    return _call("definitions", "identify_file", name, data)


def tapset(name: str, data: bytes) -> Identification:
    """Identify a tapset."""
    return _call("tapsets", "identify", data.decode("utf-8", "replace"), name)


def binary(name: str, file: BinaryIO) -> Identification:
    """Identify an ELF file, which must be seekable."""
    return _call("binaries", "identify", file, name)


def _call(module: str, function: str, *arguments: Any) -> Identification:
    try:
        generator = import_module(f"{_PACKAGE}.{module}")
    except ModuleNotFoundError as error:
        raise MissingGenerator(f"the generator is not installed: {error}") from None
    found: Identification = getattr(generator, function)(*arguments)
    return found
