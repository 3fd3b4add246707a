"""Definitions → artefacts: the public API of the generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from . import definitions
from .render import Artefact
from .schema import Schema

#: Target → what it gives, in a few words.
TARGETS: Final[Mapping[str, str]] = {
    "python": "a Python package: types, decoders, encoders, procedures",
    "systemtap": "libvirt_functions.stp: program, procedure, type and status numbers to names",
    "scripts": "SystemTap scripts that show RPC, event loop, QEMU's monitor, locks, stacks (see their heads)",
}


def generate(schema: Schema, target: str) -> tuple[Artefact, ...]:
    """The artefacts of one target; raises KeyError for a target that is not in TARGETS."""
    if target not in TARGETS:
        raise KeyError(target)
    module = import_module(f".targets.{target}", __package__)
    make: Callable[[Schema], tuple[Artefact, ...]] = module.generate
    return make(schema)


def compile(
    paths: Sequence[Path],
    targets: Sequence[str] = tuple(TARGETS),
    *,
    defines: Mapping[str, int] | None = None,
) -> dict[str, tuple[Artefact, ...]]:
    """The artefacts of several targets from folders or .x files.

    `defines` gives constants that the definitions take from elsewhere. Raises DefinitionError for
    definitions that cannot be used, and KeyError for an unknown target.
    """
    schema = definitions.load_schema(paths, defines=defines)
    return {target: generate(schema, target) for target in targets}


def compile_python(paths: Sequence[Path], *, defines: Mapping[str, int] | None = None) -> dict[str, str]:
    """File name → text of the Python package: what the runtime asks for (entry point `python`)."""
    return {
        artefact.path: artefact.text for artefact in compile(paths, ("python",), defines=defines)["python"]
    }


def release_folder(release: str) -> Path:
    """Where the definitions of a release are (entry point `release`); raises LookupError in words."""
    return definitions.folder(release)
