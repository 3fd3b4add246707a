"""Definitions → artefacts: the public API of the generator."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from . import definitions, releases
from .definitions import Providers
from .providers.binaries import Binary
from .providers.placement import LeftOut, place
from .render import Artefact
from .schema import Schema
from .targets import python

#: Target → what it gives, in a few words.
TARGETS: Final[Mapping[str, str]] = {
    "python": "a Python package: types, decoders, encoders, procedures",
    "systemtap": "libvirt_functions.stp: program, procedure, type and status numbers to names",
    "scripts": "SystemTap scripts that show RPC, event loop, QEMU's monitor, locks, stacks (see their heads)",
    "structs": "remote_protocol-structs and its siblings: the layout files that lock libvirt's ABI",
}
#: What is generated where no target is named. Layout files belong into libvirt's sources.
DEFAULT_TARGETS: Final = ("python", "systemtap", "scripts")
#: Targets that are made for the libvirt of a machine, from its probe providers.
PROBE_TARGETS: Final[Mapping[str, str]] = {
    "probes": "libvirt_probes.stp, libvirt_qemu_probes.stp: SystemTap's names for the probes of a libvirt",
    "bpftrace": "rpc-monitor.bt, rpc-latency.bt, rpc-errors.bt: libvirt's RPC without SystemTap",
}


def generate(schema: Schema, target: str) -> tuple[Artefact, ...]:
    """The artefacts of one target; raises KeyError for a target that is not in TARGETS."""
    if target not in TARGETS:
        raise KeyError(target)
    module = import_module(f".targets.{target}", __package__)
    make: Callable[[Schema], tuple[Artefact, ...]] = module.generate
    return make(schema)


def generate_probes(
    providers: Providers, binaries: Sequence[Binary], *, all_probes: bool = False
) -> tuple[tuple[Artefact, ...], tuple[LeftOut, ...]]:
    """The tapsets of probe providers for what is in the binaries, and the probes that were left out.

    A provider without a probe that is in any of them has no tapset.
    """
    placements = [place(provider, binaries, all_probes=all_probes) for provider in providers.providers]
    used = {path for placement in placements for paths in placement.paths.values() for path in paths}
    options = ["--release", providers.release] if providers.release else []
    for binary in binaries:
        options += ["--library", binary.path] if binary.path in used else []
    options += ["--all-probes"] if all_probes else []
    module = import_module(".targets.probes", __package__)
    make: Callable[..., tuple[Artefact, ...]] = module.generate
    return (
        make([each for each in placements if each.paths], providers.inputs, shlex.join(["probes", *options])),
        tuple(each for placement in placements for each in placement.left_out),
    )


def generate_bpftrace(
    schema: Schema, providers: Providers, binaries: Sequence[Binary]
) -> tuple[Artefact, ...]:
    """bpftrace's scripts for the first of the binaries that has probes of messages, else the very first;
    raises NoScripts in words."""
    target = import_module(".targets.bpftrace", __package__)
    make: Callable[..., tuple[Artefact, ...]] = target.generate
    binary, provider = next(
        (
            (binary, provider)
            for binary in binaries
            for provider in providers.providers
            if (provider.name, "rpc_client_msg_rx") in binary.probes
        ),
        (binaries[0], providers.providers[0]),
    )
    options = ["--release", providers.release] if providers.release else []
    command = shlex.join(["bpftrace", *options, "--library", binary.path])
    inputs = [*schema.inputs, *(each for each in providers.inputs if each.file == provider.file)]
    return make(schema, provider, binary, inputs, command)


def compile(
    paths: Sequence[Path],
    targets: Sequence[str] = DEFAULT_TARGETS,
    *,
    defines: Mapping[str, int] | None = None,
) -> dict[str, tuple[Artefact, ...]]:
    """The artefacts of several targets from folders or .x files.

    `defines` gives constants that the definitions take from elsewhere. Raises DefinitionError for
    definitions that cannot be used, and KeyError for an unknown target.
    """
    schema = definitions.load_schema(paths, defines=defines)
    return {target: generate(schema, target) for target in targets}


def compile_python(paths: Sequence[Path], *, defines: Mapping[str, int] | None = None) -> Mapping[str, str]:
    """File name → text of the Python package of folders or .x files; the runtime calls this.

    A text is rendered when it is looked up. Raises as `compile`.
    """
    return python.Package(definitions.load_schema(paths, defines=defines))


def compile_release(release: str) -> Mapping[str, str]:
    """As compile_python, for a release of libvirt; the runtime calls this.

    Raises UnknownRelease, a LookupError, with a message for the user.
    """
    return python.Package(definitions.schema_of(releases.texts(releases.find(release)), release))
