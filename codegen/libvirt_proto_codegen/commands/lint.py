"""`libvirt-proto lint`."""

from __future__ import annotations

import click

from ..lint.rules import CATEGORIES, RULES, lint
from .options import Define
from .reporting import Reporter, reporting
from .sources import complete_source, load, read_sources


@click.command("lint")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1, shell_complete=complete_source)
@click.option(
    "--define",
    "defines",
    type=Define(),
    multiple=True,
    help="A constant that the definitions take from elsewhere. May be repeated.",
)
@reporting(RULES, CATEGORIES)
def lint_(sources: tuple[str, ...], defines: tuple[tuple[str, int], ...], report: Reporter) -> None:
    """Check definitions as libvirt's reviewers do.

    SOURCE is a release (12.9.0), a folder of .x files, .x files, which are read together, or
    git:REV:PATH: the files below PATH in a revision of the repository in the current directory. By
    default, the newest release is checked.

    Each finding gives its place, its consequence, and the procedures it reaches. The exit status is
    0, 1 if there are findings of a category of --fail-on (or the definitions cannot be read), or 2 for a
    usage error.

    \b
    Examples:
      libvirt-proto lint
      libvirt-proto lint --list-rules
      libvirt-proto lint ~/src/libvirt/src/remote/*.x
      libvirt-proto lint --fail-on LIMIT --fail-on CONVENTION my_protocol.x
      libvirt-proto lint --ignore known.toml --format junit -o lint.xml

    \b
    An ignore file lists known, acceptable findings:
      [[ignore]]
      rule = "ACL_NONE"
      program = "remote"
      name = "REMOTE_PROC_AUTH_*"
      reason = "they precede authentication"
    """
    schemas = load(lambda: read_sources(sources, dict(defines)), then="nothing was checked")
    report(finding for schema in schemas for finding in lint(schema))
