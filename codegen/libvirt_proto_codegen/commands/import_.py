"""`libvirt-proto import`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import DefinitionError
from ..importer import ImportReport, guess_release, import_release
from ..schema import Module
from .options import Define


@click.command(name="import")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--release",
    metavar="R",
    help="The release these definitions are of. Default: as SOURCE is named (libvirt-12.6.0.tar.xz).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("protocol-defs"),
    show_default=True,
    help="Where the folder R is written.",
)
@click.option(
    "--define",
    "defines",
    type=Define(),
    multiple=True,
    help="The value of a constant that the definitions take from a C header. May be repeated.",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 1 if anything would change, and say what."
)
def import_(
    source: Path, release: str | None, output: Path, defines: tuple[tuple[str, int], ...], check: bool
) -> None:
    """Import libvirt's protocol definitions and probe providers.

    SOURCE is a libvirt source tree, a release archive (.tar, .tar.gz, .tar.bz2, .tar.xz, .zip) or a
    folder of .x and .d files. All are found wherever the release had them, and written to
    protocol-defs/R in canonical form: names, numbers, types, limits and annotations.

    \b
    Examples:
      libvirt-proto import libvirt-12.6.0.tar.xz
      libvirt-proto import ~/src/libvirt --release 12.7.0
      libvirt-proto import files/ --release 12.6.0 --define VIR_UUID_BUFLEN=16
      libvirt-proto import libvirt-12.6.0.tar.xz --check
    """
    release = release or guess_release(source)
    if release is None:
        raise click.UsageError(f"the release cannot be told from {source.name!r}: pass --release")
    try:
        report = import_release(source, release, output, defines=dict(defines), check=check)
    except DefinitionError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    click.echo(summary(report, check=check))
    if report.differences:
        click.echo(f"\n{len(report.differences)} files differ:", err=True)
        for difference in report.differences:
            click.echo(f"  {difference.kind:8} {difference.path}", err=True)
        click.echo(f"To mend it: libvirt-proto import {source} --release {release} -o {output}", err=True)
        sys.exit(1)


def summary(report: ImportReport, *, check: bool) -> str:
    """What was imported, for a reader."""
    done = "checked against" if check else "written to"
    lines = [f"libvirt {report.release}: {len(report.files)} files {done} {report.folder}", ""]
    width = max(len(file.name) for file in report.files)
    said = {module.file: _module(module) for module in report.schema.modules}
    said |= {provider.file: f"{sum(1 for _ in provider.probes):4} probes" for provider in report.providers}
    for file in report.files:
        lines.append(f"  {file.name:{width}}  {said[file.name]}")
        if file.path != file.name:
            lines.append(f"  {'':{width}}  from {file.path}")
    if report.missing:
        lines += ["", "Not in this release: " + ", ".join(report.missing)]
    if report.externals:
        lines += ["", "Constants from C headers:"]
        lines += [
            f"  {external.name} = {external.value}" + (f"  ({external.header})" if external.header else "")
            for external in report.externals
        ]
    return "\n".join(lines)


def _module(module: Module) -> str:
    programs = ", ".join(
        f"{program.short} 0x{program.number:08X} version {program.version}, "
        f"{len(program.procedures)} procedures"
        for program in module.programs
    )
    return f"{len(module.types):4} types  {programs or 'no program'}"
