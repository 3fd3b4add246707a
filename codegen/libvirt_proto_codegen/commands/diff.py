"""`libvirt-proto diff`."""

from __future__ import annotations

import click

from ..compare import CATEGORIES, RULES, compare
from ..releases import find
from ..schema import Schema
from .options import Define
from .reporting import Reporter, reporting
from .sources import complete_source, file_of, load, read_source


@click.command("diff")
@click.argument("old", shell_complete=complete_source)
@click.argument("new", shell_complete=complete_source)
@click.option(
    "--define",
    "defines",
    type=Define(),
    multiple=True,
    help="A constant that the definitions take from elsewhere, on both sides. May be repeated.",
)
@reporting(RULES, CATEGORIES)
def diff(old: str, new: str, defines: tuple[tuple[str, int], ...], report: Reporter) -> None:
    """Compare two versions of definitions, and report the effects on peers.

    OLD and NEW are releases (12.9.0), folders with .x files in or below them, .x files (with the files that
    they include), or git:REV:PATH: the files below PATH in a revision of the repository in the current
    directory.

    Programs and procedures are matched by number, and types by their position in payloads. Each finding
    gives its place on both sides, the effect on a peer with the other definitions, and the procedures it
    reaches. WIRE breaks peers, LIMIT only old ones, ACCESS changes permissions and other annotations,
    SOURCE changes only names, ADDED is new.

    If a side is one .x file, only that file is compared: the other files of a release or folder on the
    other side are not reported as removed.

    The exit status is 0, 1 if there are findings of a category of --fail-on (or the definitions cannot
    be read), or 2 for a usage error.

    \b
    Examples:
      libvirt-proto diff 1.0.4 1.0.5
      libvirt-proto diff 12.9.0 ~/src/libvirt/src --format json
      libvirt-proto diff 12.9.0 src/remote/remote_protocol.x --fail-on WIRE --fail-on ACCESS
      libvirt-proto diff git:origin/master:src src --format github
      libvirt-proto diff --fail-on WIRE --fail-on LIMIT --ignore known.toml v1/ v2/

    \b
    An ignore file lists known, acceptable findings:
      [[ignore]]
      rule = "LIMIT_ADDED"
      name = "remote_connect_list_all_*"
      reason = "no server has more of them"
    """
    constants = dict(defines)
    before, after = load(
        lambda: (read_source(old, constants), read_source(new, constants)), then="nothing was compared"
    )
    for side in (before, after):
        _note_provenance(side)
    report(compare(before, after, old_file=file_of(old), new_file=file_of(new)))


def _note_provenance(side: Schema) -> None:
    """Warn that a bundled release has the annotations of another one."""
    # Only bundled releases have a history.
    if side.release is None or side.history is None:
        return
    if find(side.release).origins.release == "derived":
        text = f"libvirt {side.release} is derived from a later release, and may have its annotations"
        click.echo(f"libvirt-proto: note: {text}", err=True)
