"""`libvirt-proto generate`."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import click

from libvirt_proto.wireshark_folders import NoFoldersError, lua_folder

from .. import pipeline
from ..definitions import load_binary_providers, load_providers, load_release, load_schema
from ..errors import reason
from ..output import Difference, ForeignFileError, compare, write
from ..pipeline import DEFAULT_TARGETS, PROBE_TARGETS, TARGETS
from ..providers.binaries import Binary
from ..providers.selection import Providers
from ..quoting import printable
from ..releases import releases
from ..releases.archive import Release
from ..render import Artefact
from ..schema import Schema
from . import structs
from .options import Define
from .probes import bpftrace, probes
from .sources import complete_release, load

_ALL = {**TARGETS, **PROBE_TARGETS}
_DEFAULT = f"{', '.join(DEFAULT_TARGETS[:-1])} and {DEFAULT_TARGETS[-1]}"
_NOTHING = "nothing was generated"
_STDOUT = Path("-")
_TARGETS = "\n".join(f"  {name:<10}  {text}" for name, text in _ALL.items())


@click.command(
    "generate",
    help=f"""Generate code from definitions: the given TARGETs, or {_DEFAULT}.

    \b
    Targets:
    {_TARGETS}

    The definitions are those of libvirt's newest release, of --release, or custom (--defs): a folder of .x
    files or a single .x file, which need not be related to libvirt. If a folder has none, like libvirt's
    src/, all folders below it are searched.

    structs writes the layout files that libvirt keeps in src/ to lock its ABI, identical to those that its
    build compares with, but needs neither a compiler nor debugging information. With --check it compares
    those in DIR as libvirt does, ignoring white space, and reports which types differ and whether the wire
    changes. Layout files, and so their comparison, have no limits, no case labels and no targets of
    typedefs. There is none for log_protocol.x, as in libvirt, unless --defs names only that file.

    probes and bpftrace depend on the libvirt of a machine: by default the installed one, else the binaries
    named by --library. Their ELF notes list their probes, and the version of libvirt decides which arguments
    of a probe are known. The tapsets leave out probes that are in no binary; bpftrace's scripts are for the
    first binary that has the message probes.

    wireshark writes a dissector for Wireshark 4.0 and later: all programs, on any TCP port. --install puts
    it into the folder from which Wireshark loads your Lua scripts; restart Wireshark afterwards.

    \b
    Files go to DIR. With one TARGET they are in DIR itself (by default generated/TARGET), with several
    in DIR/TARGET (by default generated/TARGET). For a target with one file, -o - prints it; the registry's
    schema does not count.

    \b
    Examples:
      libvirt-proto generate                              python, systemtap and scripts of the newest release
      libvirt-proto generate systemtap -o tapset          tapset/libvirt_functions.stp
      libvirt-proto generate systemtap --release 10.0.0
      libvirt-proto generate probes -o tapset             tapset/libvirt_probes.stp, …_qemu_probes.stp
      libvirt-proto generate scripts -o scripts           scripts/rpc-monitor.stp, …, run with the tapset
      libvirt-proto generate bpftrace -o bt               bt/rpc-monitor.bt, …, which need no tapset
      libvirt-proto generate structs --defs src -o src    src/remote_protocol-structs, … (libvirt's own)
      libvirt-proto generate structs --defs src -o src --check
      libvirt-proto generate registry -o - | jq -c '.programs[] | [.name, .number]'
      libvirt-proto generate probes --library /usr/lib64/libvirt.so.0 --library /usr/sbin/virtqemud
      libvirt-proto generate wireshark --install          a dissector in your Wireshark
      libvirt-proto generate wireshark --release 9.0.0 -o lua
      libvirt-proto generate python --defs file.x -o filedemo
      libvirt-proto generate python -o filedemo --defs file.x --check
    """,
)
@click.argument("targets", metavar="[TARGET]...", nargs=-1, type=click.Choice(list(_ALL)))
@click.option(
    "--release",
    metavar="R",
    shell_complete=complete_release,
    help="Definitions of this release of libvirt (see --list-releases).",
)
@click.option(
    "--defs",
    metavar="PATH",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Custom definitions: a folder of .x files (probes: .d files), or a file. May be repeated.",
)
@click.option(
    "--library",
    "libraries",
    metavar="PATH",
    multiple=True,
    help="A library or program with the probes, instead of the installed libvirt. May be repeated.",
)
@click.option("--all-probes", is_flag=True, help="probes: leave none out, whatever the libraries have.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The output folder; - prints the only file of a target.",
)
@click.option("--install", is_flag=True, help="wireshark: write to Wireshark's folder of your Lua plugins.")
@click.option(
    "--define",
    "defines",
    type=Define(),
    multiple=True,
    help="A constant that the definitions take from elsewhere. May be repeated.",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 1 and list the files if any would change."
)
@click.option("--force", is_flag=True, help="Overwrite files that were not generated.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing on success.")
@click.option(
    "--list-releases", is_flag=True, help="Print the bundled releases, with their provenance, and exit."
)
def generate(
    targets: tuple[str, ...],
    release: str | None,
    defs: tuple[Path, ...],
    libraries: tuple[str, ...],
    all_probes: bool,
    output: Path | None,
    install: bool,
    defines: tuple[tuple[str, int], ...],
    check: bool,
    force: bool,
    quiet: bool,
    list_releases: bool,
) -> None:
    """Run the command, as described by its help text."""
    if list_releases:
        click.echo("\n".join(load(_list_releases, then=_NOTHING)))
        return
    if release and defs:
        raise click.UsageError("--release and --defs exclude each other")
    if (libraries and not PROBE_TARGETS.keys() & set(targets)) or (all_probes and "probes" not in targets):
        raise click.UsageError(
            "--library requires the target probes or bpftrace, and --all-probes the target probes"
        )
    if install and (targets != ("wireshark",) or output is not None):
        raise click.UsageError("--install requires the target wireshark alone, and excludes --output")
    names = tuple(dict.fromkeys(targets or DEFAULT_TARGETS))
    printed = output == _STDOUT
    if printed and (check or len(names) > 1):
        raise click.UsageError("-o - requires exactly one target, without --check")
    made = _artefacts(names, release, defs, dict(defines), libraries, all_probes, quiet)
    if printed:
        _print(names[0], made[names[0]])
        return
    if install:
        output = _lua_folder()
    different = False
    for target in names:
        place = _place(output, target, len(targets) == 1)
        artefacts = made[target]
        if check:
            different |= not _check(target, artefacts, place, quiet)
            continue
        changes = _write(artefacts, place, force)
        if not quiet:
            click.echo(printable(_summary(target, len(artefacts), place, changes)))
    if different:
        words = [*targets, *([f"--release={release}"] if release else [])]
        words += [f"--defs={path}" for path in defs] + [f"--define={name}={value}" for name, value in defines]
        words += [f"--library={path}" for path in libraries] + ["--all-probes"] * all_probes
        words += ["--install"] if install else [f"--output={output}"] if output else []
        what = "if the change is intended" if names == ("structs",) else "to fix it"
        click.echo(printable(f"{what}: {shlex.join(['libvirt-proto', 'generate', *words])}"), err=True)
        click.get_current_context().exit(1)


def _lua_folder() -> Path:
    """Return the folder of --install."""
    try:
        return lua_folder()
    except NoFoldersError as error:
        raise click.ClickException(
            f"{printable(str(error))}. Write the file with -o DIR and copy it to the folder 'Personal Lua"
            " Plugins' of Wireshark's Help > About Wireshark > Folders"
        ) from None


def _artefacts(
    targets: Sequence[str],
    release: str | None,
    defs: tuple[Path, ...],
    defines: dict[str, int],
    libraries: Sequence[str],
    all_probes: bool,
    quiet: bool,
) -> dict[str, tuple[Artefact, ...]]:
    """Return the artefacts of each target."""
    made: dict[str, tuple[Artefact, ...]] = {}
    if set(targets) != {"probes"}:
        schema = load(lambda: _definitions(release, defs, defines), then=_NOTHING)
        made = {target: pipeline.generate(schema, target) for target in targets if target in TARGETS}

    def select(binaries: Sequence[Binary]) -> Providers:
        return load(lambda: _providers(release, defs, binaries), then=_NOTHING)

    if "probes" in targets:
        made["probes"] = probes(select, libraries, all_probes=all_probes, quiet=quiet)
    if "bpftrace" in targets:
        made["bpftrace"] = bpftrace(schema, select, libraries, quiet=quiet)
    return made


def _list_releases() -> list[str]:
    # Without a terminal, lines are not wrapped.
    columns = shutil.get_terminal_size((80 if sys.stdout.isatty() else 10_000, 0)).columns
    return [line for release in releases() for line in _release_lines(release, columns)]


def _release_lines(release: Release, width: int) -> list[str]:
    """`12.6.0     rebuilt   the same declarations from 12.5.0 to 12.9.0; libvirt_probes.d unproven`."""
    remarks = [f"the same declarations from {release.first} to {release.last}"] * release.covers_others
    remarks += [f"{file} {provenance}" for file, provenance in sorted(release.origins.files.items())]
    head = f"{release.name:<9}  {release.origins.release:<7}"
    if not remarks:
        return [head.rstrip()]
    indent = " " * (len(head) + 2)
    return textwrap.wrap(f"{head}  {'; '.join(remarks)}", max(width, 60), subsequent_indent=indent)


def _write(artefacts: tuple[Artefact, ...], place: Path, force: bool) -> list[Difference]:
    try:
        return write(artefacts, place, force=force)
    except ForeignFileError as error:
        raise click.ClickException(
            f"{error}: not generated by libvirt-proto (--force overwrites it)"
        ) from None
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename or place}: {reason(error)}") from None


def _definitions(release: str | None, defs: tuple[Path, ...], defines: dict[str, int]) -> Schema:
    return load_schema(defs, defines=defines, known=True) if defs else load_release(release, defines=defines)


def _providers(release: str | None, defs: tuple[Path, ...], binaries: Sequence[Binary]) -> Providers:
    return load_providers(defs) if defs else load_binary_providers(binaries, release)


def _place(output: Path | None, target: str, alone: bool) -> Path:
    if output is None:
        return Path("generated") / target
    return output if alone else output / target


def _check(target: str, artefacts: tuple[Artefact, ...], place: Path, quiet: bool) -> bool:
    """Report files that differ from the generated ones; return True if there are none."""
    if target == "structs":
        return structs.check(artefacts, place, quiet=quiet)
    found = compare(artefacts, place)
    words = {"differs": "differs", "missing": "is missing", "extra": "is no longer generated"}
    for difference in found:
        text = f"{target}: {place / difference.path} {words[difference.kind]}"
        click.echo(printable(text), err=True)
    if not found and not quiet:
        click.echo(printable(f"{target}: {_files(len(artefacts))} in {place} are current"))
    return not found


def _print(target: str, artefacts: tuple[Artefact, ...]) -> None:
    """Print the only file of a target, without its JSON Schema; raises click.UsageError if it has several."""
    texts = [artefact.text for artefact in artefacts if not artefact.path.endswith(".schema.json")]
    if len(texts) != 1:
        raise click.UsageError(f"{target} has {_files(len(texts))}; write them to a folder (-o DIR)")
    click.echo(texts[0], nl=False)


def _summary(target: str, count: int, place: Path, changes: list[Difference]) -> str:
    kinds = [change.kind for change in changes]
    words = [
        f"{number} {word}"
        for kind, word in (("missing", "new"), ("differs", "changed"), ("extra", "removed"))
        if (number := kinds.count(kind))  # type: ignore[arg-type]
    ]
    return f"{target}: {_files(count)} in {place} ({', '.join(words) or 'no change'})"


def _files(count: int) -> str:
    return f"{count} file{'s' if count != 1 else ''}"
