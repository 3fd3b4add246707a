"""SASL of a daemon: a mechanism, and one user with a password."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from socket import gethostname

USER, PASSWORD = "admin", "right"


def make(folder: Path, mechanism: str) -> dict[str, str]:
    """Make a new folder with the configuration, and return the daemon's environment for it."""
    folder.mkdir()
    (folder / "libvirt.conf").write_text(f"mech_list: {mechanism}\nsasldb_path: {folder}/passwd.db\n")
    command = ["saslpasswd2", "-p", "-a", "libvirt", "-f", "passwd.db", "-u", gethostname(), USER]
    subprocess.run(command, input=f"{PASSWORD}\n", text=True, cwd=folder, check=True)
    shutil.chown(folder / "passwd.db", "nobody")
    folder.chmod(0o755)
    return {"SASL_CONF_PATH": str(folder)}
