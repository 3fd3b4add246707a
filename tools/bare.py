"""Run `make demo` and `make test` on a minimal Debian, as an ordinary user: `make bare`.

The system has make, python3 and python3-venv, and nothing else that a minimal Debian lacks. apt's
configuration gives the mirror and the proxy, pip's configuration the package index. The system's mounts and
processes live in their own namespaces: the kernel removes them with the last process, however that ends.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import unquote, urlsplit

from tools import debian
from tools.checkout import copy_checkout

PACKAGES: Final = ("make", "python3", "python3-venv")
USER: Final = "tester"
HOME: Final = f"/home/{USER}"

#: Runs in the new namespaces, as root; arguments: the system's root, then the paths to share with it.
_ENTER: Final = r"""
set -eu
root=$1; shift
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -sf pts/ptmx "$root/dev/ptmx"
for path; do
    if [ -d "$path" ]; then
        mkdir -p "$root$path"
    else
        mkdir -p "$(dirname "$root$path")"
        touch "$root$path"
    fi
    mount -o bind,ro "$path" "$root$path"
done
# No exec: the change of user would cancel the signal that --kill-child asks for.
chroot --userspec="$USER" "$root" sh -c '
    cd ~/libvirt-proto && python3 --version && make demo && make test
' || exit $?
exit 0
"""


def main() -> None:
    """Build the system, run both targets in it, and exit with their status."""
    parser = argparse.ArgumentParser(prog="make bare", description=__doc__)
    parser.add_argument(
        "suite", nargs="?", help="the Debian release, such as trixie; default: the installed one"
    )
    suite = parser.parse_args().suite
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with TemporaryDirectory(prefix="libvirt-proto-bare-") as folder:
        root = Path(folder)
        try:
            debian.check_prerequisites("debootstrap", "unshare")
            mirror, codename = debian.archive()
            print(f"Installing Debian {suite or codename}", flush=True)
            debian.bootstrap(root, suite or codename, mirror, PACKAGES)
        except debian.DebianError as error:
            sys.exit(f"make bare: error: {error}")
        subprocess.run(["chroot", root, "useradd", "--create-home", USER], check=True)
        _add_checkout(root)
        status = _run(root)
    sys.exit(status)


def _add_checkout(root: Path) -> None:
    """Copy the files of the working tree, except those that git ignores, into the user's home."""
    copy_checkout(root / HOME[1:] / "libvirt-proto")
    subprocess.run(["chroot", root, "chown", "-R", f"{USER}:", HOME], check=True)


def _run(root: Path) -> int:
    """Run both targets, and return their exit status."""
    pip = _pip_variables()
    variables = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    variables |= {"USER": USER, "HOME": HOME, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"} | pip
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh", str(root)]
    return subprocess.run([*command, *_local_paths(pip)], env=variables, cwd=root, check=False).returncode


def _pip_variables() -> dict[str, str]:
    """Return pip's configuration as environment variables. The environment takes precedence, as in pip."""
    found: dict[str, dict[str, str]] = {}
    for line in debian.output(sys.executable, "-m", "pip", "config", "list"):
        match = re.fullmatch(r"(global|install|:env:)\.([\w-]+)=(.+)", line)
        if match:
            name = f"PIP_{match[2].upper().replace('-', '_')}"
            found.setdefault(name, {})[match[1]] = " ".join(ast.literal_eval(match[3]).split())
    order = (":env:", "install", "global")
    return {name: next(values[key] for key in order if key in values) for name, values in found.items()}


def _local_paths(variables: dict[str, str]) -> list[str]:
    """Return the local files and folders that pip's options name: indexes, wheels, certificates."""
    words = {word for value in variables.values() for word in value.split()}
    # The links of an index usually lead to a folder next to it.
    paths = {os.path.dirname(unquote(urlsplit(word).path)) for word in words if word.startswith("file://")}
    return sorted(path for path in paths | words if path.startswith("/") and os.path.exists(path))


if __name__ == "__main__":
    main()
