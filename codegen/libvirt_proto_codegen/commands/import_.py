"""`libvirt-proto import`."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import click

from ..errors import DefinitionError
from ..import_many import ManyReport, import_releases
from ..importer import ImportReport, guess_release, import_release
from ..quoting import printable
from ..releases.archive import ARCHIVE
from ..releases.collection import by_release
from ..releases.facts import HISTORY
from ..releases.provenance import OriginRules, Provenance
from ..releases.update import Progress, has_archive
from ..releases.version import follows, is_maintenance
from ..schema import Module
from ..source_tree import read_tree
from .options import Define, ProvenanceOf, Range


@click.command(name="import")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--release",
    metavar="R",
    help="The release of the definitions. Default: taken from the name of SOURCE (libvirt-12.9.0.tar.xz).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("protocol-defs"),
    show_default=True,
    help="The folder in which the folder R is written.",
)
@click.option(
    "--define",
    "defines",
    type=Define(),
    multiple=True,
    help="The value of a constant that the definitions take from a C header. May be repeated.",
)
@click.option(
    "--same",
    "same",
    metavar="A:B",
    type=Range(),
    multiple=True,
    help="No declaration changed from release A to B. May be repeated; a later range takes precedence.",
)
@click.option(
    "--provenance",
    "provenance",
    metavar="[FILES=]P",
    type=ProvenanceOf(),
    multiple=True,
    help="Origin of the definitions, or of files that match a pattern: genuine (default), rebuilt, derived or"
    " unproven. May be repeated.",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 1 and list the files if any would change."
)
def import_(
    source: Path,
    release: str | None,
    output: Path,
    defines: tuple[tuple[str, int], ...],
    same: tuple[tuple[str, str], ...],
    provenance: tuple[tuple[str, Provenance], ...],
    check: bool,
) -> None:
    """Import libvirt's protocol definitions and probe providers.

    SOURCE is a libvirt source tree, a release archive (.tar, .tar.gz, .tar.bz2, .tar.xz, .zip) or a
    folder of .x and .d files. The files are found in the layout of any release, and written to
    protocol-defs/R in canonical form: names, numbers, types, limits and annotations. If protocol-defs has a
    file releases.weave, which holds the definitions of many releases, the release is added to it, and to
    history.json, which records when everything was added and changed.

    A SOURCE with a folder for each of many releases produces these two files (with --release, only that
    release is imported).

    \b
    Examples:
      libvirt-proto import libvirt-12.9.0.tar.xz
      libvirt-proto import ~/src/libvirt --release 12.10.0
      libvirt-proto import files/ --release 12.9.0 --define VIR_UUID_BUFLEN=16
      libvirt-proto import libvirt-12.9.0.tar.xz --check
      libvirt-proto import all-releases.tar.xz --same 9.8.0:10.0.0 --same 12.5.0:12.9.0
    """
    how: _How = {"defines": dict(defines), "same": same, "rules": _rules(provenance), "check": check}
    try:
        tree = read_tree(source)
        trees = by_release(tree)
        with _progress() as progress:
            if trees and release is None:
                many = import_releases(trees, source, output, progress=progress, **how)
                said, differences = summary_of_many(many, output, check=check), many.differences
            else:
                release = release or guess_release(source)
                if release is None:
                    raise click.UsageError(
                        f"expected a release in the name, got {source.name!r}: pass --release"
                    )
                if same and not has_archive(output):
                    raise click.UsageError(
                        f"--same requires {output / ARCHIVE}, which is missing: import the releases first"
                    )
                part = trees.get(release, tree)
                report = import_release(source, release, output, tree=part, progress=progress, **how)
                said, differences = summary(report, check=check), report.differences
    except DefinitionError as error:
        for problem in error.problems:
            click.echo(problem.diagnostic(), err=True)
        sys.exit(1)
    click.echo(said)
    if differences:
        click.echo(
            f"\n{len(differences)} file{'s differ' if len(differences) > 1 else ' differs'}:", err=True
        )
        for difference in differences:
            click.echo(printable(f"  {difference.kind:8} {difference.path}"), err=True)
        words = [str(source), *(["--release", release] if release else []), "-o", str(output)]
        words += [f"--define={name}={value}" for name, value in defines]
        words += [f"--same={first}:{last}" for first, last in same]
        words += [f"--provenance={f'{files}=' * bool(files)}{value}" for files, value in provenance]
        text = f"To fix it: {shlex.join(['libvirt-proto', 'import', *words])}"
        click.echo(printable(text), err=True)
        sys.exit(1)


def _rules(provenance: tuple[tuple[str, Provenance], ...]) -> OriginRules | None:
    """Return the provenance that the options state, None without any."""
    if not provenance:
        return None
    files = dict(provenance)
    return OriginRules(files.pop("", "genuine"), files)


class _How(TypedDict):
    """Arguments common to importing one release and many."""

    defines: dict[str, int]
    same: tuple[tuple[str, str], ...]
    rules: OriginRules | None
    check: bool


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Show progress on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.text import Text

    # The command line's standard error escapes all that is written to it, except through `styled`.
    with Console(file=getattr(sys.stderr, "styled", sys.stderr)).status("Reading files") as status:
        yield lambda what, release, number, total: status.update(
            Text(printable(f"{what} libvirt {release} ({number} of {total})"))
        )


def summary(report: ImportReport, *, check: bool) -> str:
    """Describe an import for a reader."""
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
    if report.kept_in:
        lines += ["", f"Also in {' and '.join(report.kept_in)} of {report.folder.parent}"]
    if report.externals:
        lines += ["", "Constants from C headers:"]
        lines += [
            f"  {external.name} = {external.value}" + (f"  ({external.header})" if external.header else "")
            for external in report.externals
        ]
    return "\n".join(map(printable, lines))


def summary_of_many(report: ManyReport, folder: Path, *, check: bool) -> str:
    """Describe an import of many releases for a reader."""
    releases = report.archive.releases
    facts = report.history.facts
    counts = Counter(key[0] for key in facts)
    done = "checked against" if check else "written to"
    lines = [
        f"{len(report.read)} releases read, {report.read[0]} to {report.read[-1]}, and {done} {folder}",
        "",
        *(f"  {name:<14}  {size:9,} bytes" for name, size in report.sizes.items()),
        "",
        f"Releases in {ARCHIVE}: {len(releases)}, {releases[0].name} to {releases[-1].name}",
    ]
    lines += [
        f"  {release.name:<8} covers {release.first} to {release.last}"
        for release in releases
        if release.covers_others
    ]
    main = [release for release in releases if not is_maintenance(release.name)]
    gaps = [(old, new) for old, new in pairwise(main) if not follows(new.first, old.last)]
    lines += [
        f"  releases are missing between {old.last} and {new.first}: facts have spans there"
        for old, new in gaps
    ]
    kinds = ", ".join(f"{count} of {kind}s" for kind, count in counts.items())
    lines += ["", f"Facts in {HISTORY}: {len(facts)} ({kinds})"]
    return "\n".join(map(printable, lines))


def _module(module: Module) -> str:
    programs = ", ".join(
        f"{program.short} 0x{program.number:08X} version {program.version}, "
        f"{len(program.procedures)} procedures"
        for program in module.programs
    )
    return f"{len(module.types):4} types  {programs or 'no program'}"
