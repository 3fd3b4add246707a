"""Minimal Debian systems, installed by debootstrap with the machine's mirror and proxy."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

#: Files that a system shares with the machine, for the resolution of names.
_COPIED = ("resolv.conf", "hosts")
#: Runs a command in namespaces that end with it: the kernel removes its mounts and processes.
ISOLATED = ("unshare", "--mount", "--pid", "--fork", "--kill-child")


class DebianError(Exception):
    """A system that cannot be installed; the message is for the user."""


def check_prerequisites(*tools: str) -> None:
    """Check for root's rights and for tools. Raises DebianError."""
    if os.geteuid() != 0:
        raise DebianError("root is required to build a system: run it with sudo")
    for tool in tools:
        if shutil.which(tool) is None:
            raise DebianError(f"{tool} is not installed. On Debian: apt-get install {tool}")


def archive() -> tuple[str, str]:
    """Return the mirror of the installed Debian release, and the release's name. Raises DebianError."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    if shutil.which("apt-get"):
        for line in output("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)"):
            found, component, address = line.split(maxsplit=2)
            if (found, component) == (codename, "main"):
                return address, codename
    raise DebianError(f"no archive of Debian {codename} in apt's lists: run apt-get update first")


def apt_proxies() -> dict[str, str]:
    """Return apt's proxies, as the environment variables that debootstrap's downloads use."""
    variables = {}
    for line in output("apt-config", "dump"):
        match = re.fullmatch(r'Acquire::(https?)::proxy "(.+)";', line, re.IGNORECASE)
        if match and match[2] != "DIRECT":
            variables[f"{match[1].lower()}_proxy"] = match[2]
    return variables


def bootstrap(root: Path, suite: str, mirror: str, packages: tuple[str, ...] = ()) -> None:
    """Install the minimal system of a Debian release with more packages. Raises DebianError."""
    command = [*ISOLATED, "debootstrap", "--variant=minbase"]
    if packages:
        command.append(f"--include={','.join(packages)}")
    run(*command, suite, str(root), mirror)
    root.chmod(0o755)
    for name in _COPIED:
        shutil.copy(Path("/etc", name), root / "etc" / name)


def run(*command: str) -> str:
    """Run a command with apt's proxies, and return its output. Raises DebianError with the output."""
    done = subprocess.run(
        command,
        env=os.environ | apt_proxies() | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise DebianError(f"{done.stdout}\n{' '.join(command)} failed")
    return done.stdout


def output(*command: str) -> list[str]:
    """Return the output lines of a command."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
