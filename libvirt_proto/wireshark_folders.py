"""The folders of the installed Wireshark, which tshark lists (`tshark -G folders`)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

#: Seconds; tshark needs less than one.
_PATIENCE: Final = 60


class NoFoldersError(Exception):
    """Wireshark's folders are unknown; the text has the reason."""


def lua_folder() -> Path:
    """Return the folder from which Wireshark loads the user's Lua scripts. Raises NoFoldersError."""
    folder = _folders().get("Personal Lua Plugins")
    if folder is None:
        raise NoFoldersError("tshark -G folders names no personal folder of Lua plugins: it has no Lua")
    return folder


def extcap_folder() -> Path:
    """Return the folder from which Wireshark runs the user's capture interfaces. Raises NoFoldersError."""
    folders = _folders()
    if "Personal Extcap path" in folders:
        return folders["Personal Extcap path"]
    if "Personal configuration" in folders:  # Wireshark 4.0 does not list it
        return folders["Personal configuration"] / "extcap"
    raise NoFoldersError("tshark -G folders names no personal folder of extcap")


def _folders() -> dict[str, Path]:
    """Return all folders by their names. Of a name with several, only absolute ones count, and the last."""
    tshark = shutil.which("tshark")
    if tshark is None:
        raise NoFoldersError(
            "tshark, which knows Wireshark's folders, is not installed (Debian: apt install tshark;"
            " Fedora: dnf install wireshark-cli)"
        )
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            [tshark, "-G", "folders"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoFoldersError(f"{tshark} cannot be run: {error}") from None
    rows = (line.partition(":") for line in done.stdout.splitlines())
    return {name: Path(path.strip()) for name, _, path in rows if path.strip().startswith("/")}
