"""The targets of `libvirt-proto generate` for probes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from .. import pipeline
from ..providers.binaries import Binary, BinaryError, installed, read_binary, version_of_path
from ..providers.selection import Providers
from ..quoting import printable
from ..render import Artefact
from ..schema import Schema
from ..targets.bpftrace import NoScripts

#: Paths that SystemTap takes literally: it expands patterns, and has no escapes.
_PLAIN = re.compile(r"""[^\x00-\x1f\x7f-\U0010ffff"\\*?\[\]{}]+""")

_NO_LIBVIRT = (
    "libvirt is not installed here; pass --library PATH for its library, the QEMU driver and the daemon,"
    " or --all-probes (probes only) for tapsets of libvirt.so.0 without a check"
)


#: Binaries → the providers that apply to them. Raises click's errors.
Select = Callable[[Sequence[Binary]], Providers]


def probes(
    select: Select, libraries: Sequence[str], *, all_probes: bool, quiet: bool
) -> tuple[Artefact, ...]:
    """Return the tapsets for the libraries, or for the installed libvirt; warn of probes left out."""
    binaries = _binaries(select, libraries, all_probes)
    providers = _selected(select, binaries, quiet)
    artefacts, problems = pipeline.generate_probes(providers, binaries, all_probes=all_probes)
    if not artefacts:
        places = ", ".join(binary.path for binary in binaries)
        raise click.ClickException(
            f"none of the probes is in {places}: expected a libvirt built with probes "
            "(--all-probes keeps them)"
        )
    for words in problems:
        click.echo(printable(f"libvirt-proto: warning: {words}"), err=True)
    return artefacts


def bpftrace(
    schema: Schema, select: Select, libraries: Sequence[str], *, quiet: bool
) -> tuple[Artefact, ...]:
    """Return bpftrace's scripts for the libraries, or for the installed libvirt."""
    binaries = _binaries(select, libraries, all_probes=False)
    providers = _selected(select, binaries, quiet)
    try:
        return pipeline.generate_bpftrace(schema, providers, binaries)
    except NoScripts as error:
        raise click.ClickException(f"{error}") from None


def _selected(select: Select, binaries: Sequence[Binary], quiet: bool) -> Providers:
    """Select the providers, and report which ones."""
    providers = select(binaries)
    # Without probes, nothing was chosen.
    chosen = providers.other_versions if any(each.probes for each in binaries) else ()
    for sentence in () if quiet else chosen:
        click.echo(printable(f"libvirt-proto: {sentence}"), err=True)
    return providers


def _binaries(select: Select, libraries: Sequence[str], all_probes: bool) -> list[Binary]:
    for path in libraries:
        if not _PLAIN.fullmatch(path):
            raise click.UsageError(
                f"--library {path!r}: unsupported path for SystemTap (use ASCII without quotes, backslashes "
                "and the pattern characters * ? [ ] { })"
            )
    found = libraries or installed()
    if not found and not all_probes:
        select(())  # a usage error comes first
        raise click.ClickException(_NO_LIBVIRT)
    try:
        # Complete tapsets may be for another machine.
        binaries = [
            Binary(path, {}, version=version_of_path(path))
            if all_probes and not Path(path).exists()
            else read_binary(path)
            for path in found
        ]
    except BinaryError as error:
        raise click.ClickException(str(error)) from None
    for binary in binaries:
        for problem in binary.problems:
            click.echo(f"libvirt-proto: warning: {binary.path}: {problem}", err=True)
    return binaries
