"""`libvirt-proto doctor`: what works on this machine."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Final

import click

from ...text import amount, printable
from .. import options
from ..checks import Check, checks

#: Columns of status and name, and the width without a terminal.
_STATUS: Final = 7
_NAME: Final = 11
_WIDTH: Final = 100


@click.command()
@options.text_or_json("an object with the version and an array of checks")
@options.colour
def doctor(as_json: bool, color: str) -> None:
    """Show what works on this machine: the definitions, root, tracefs and probes for trace, a daemon's socket
    for relay, and the programs that other commands run or write scripts for. For what is missing, show the
    command that fixes it. Nothing is changed.

    \b
    Examples:
      libvirt-proto doctor
      sudo libvirt-proto doctor
      libvirt-proto doctor --format json | jq -r '.checks[] | select(.status == "missing") | .fix'

    The exit status is 0 even if something is missing.
    """
    from ... import __version__

    found = list(checks())
    if as_json:
        from msgspec import json

        facts = {"version": __version__, "python": sys.version.split()[0], "checks": found}
        click.echo(json.format(json.encode(facts), indent=2))
        return
    colour = options.palette(color, sys.stdout)
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    shades = {"ok": colour.text, "missing": colour.bad, "absent": colour.quiet}
    for check in found:
        head = f"{shades[check.status]}{check.status:<{_STATUS}}{colour.off}  {check.name:<{_NAME}}  "
        indent = " " * (_STATUS + _NAME + 4)
        lines = textwrap.wrap(_sentence(check), max(width - len(indent), 20), break_on_hyphens=False)
        click.echo(head + f"\n{indent}".join(lines), color=True)
    missing = [check for check in found if check.status == "missing"]
    click.echo(f"{amount(len(missing), 'thing')} missing" if missing else "nothing is missing")


def _sentence(check: Check) -> str:
    """Return what was found, or what needs it and the command that fixes it."""
    if check.status != "missing":
        return printable(check.found)
    return printable(f"{check.found}; needed for {check.use}. Fix: {check.fix}")
