"""`libvirt-proto generate wireshark --install`: the folder from which Wireshark loads a user's scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import click

from ..quoting import printable

_FOLDER: Final = re.compile(r"^Personal Lua Plugins:\s*(/.+)$", re.MULTILINE)
#: Seconds; tshark needs less than one.
_PATIENCE: Final = 60
_MANUALLY: Final = (
    "write the file with -o DIR and copy it to the folder 'Personal Lua Plugins' of Wireshark's"
    " Help > About Wireshark > Folders"
)


def personal_folder() -> Path:
    """Return the folder, as tshark reports it. Raises ClickException without it."""
    tshark = shutil.which("tshark")
    if tshark is None:
        raise click.ClickException(
            "--install asks tshark for Wireshark's folder, and tshark is not installed (Debian: apt install"
            f" tshark; Fedora: dnf install wireshark-cli). Install it, or {_MANUALLY}"
        )
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            [tshark, "-G", "folders"], capture_output=True, text=True, errors="replace", timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise click.ClickException(f"cannot run {printable(tshark)}: {error}") from None
    found = _FOLDER.search(done.stdout)
    if found is None:
        raise click.ClickException(
            f"{printable(tshark)} -G folders names no personal folder of Lua plugins (exit status"
            f" {done.returncode}): this Wireshark has no Lua, or {_MANUALLY}"
        )
    return Path(found[1])
