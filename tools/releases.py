"""Run system tests with the libvirt releases that Debian ships: `make test-releases`.

Each release is installed in a minimal Debian below .releases/, for this run and later ones; `make clean`
removes the folder. A release that is installed on the machine is used as it is.

A release that the mirror does not have, or cannot deliver, is left out, with the reason. Without root or a
tool, all that would have to be installed are left out; with LIBVIRT_PROTO_REQUIRE_SYSTEM=1 that is an error.
The exit status is that of pytest, 1 for such an error, and 0 if no release is left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from tests.differential.installation import MACHINE, ROOTS, Installation
from tools import debian

CHECKOUT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = CHECKOUT / ".releases"
REQUIRED: Final = os.environ.get("LIBVIRT_PROTO_REQUIRE_SYSTEM") == "1"
#: The tests; pyproject.toml excludes one of the folders from `make test`.
TESTS: Final = ("-m", "releases", "-o", "norecursedirs=.*", "tests/differential")


class Release(NamedTuple):
    """A release of libvirt, the Debian releases that have it (the first is installed), and its packages."""

    version: str
    suites: tuple[str, ...]
    packages: tuple[str, ...]


_PACKAGES: Final = ("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "tshark")
RELEASES: Final = (
    Release("9.0.0", ("bookworm",), (*_PACKAGES, "libvirt-daemon-system")),
    Release("11.3.0", ("trixie",), (*_PACKAGES, "libvirt-daemon-plugin-lockd")),
    Release("12.9.0", ("trixie", "trixie-backports"), (*_PACKAGES, "libvirt-daemon-plugin-lockd")),
)

#: The file in a root with the packages that were installed.
_INSTALLED: Final = "installed-packages"

#: Runs a command in a root.
_IN_ROOT: Final = (*debian.ISOLATED, "sh", "-c", 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"')
#: Runs a command in a mount namespace, in which roots have the kernel's file systems and the machine's
#: temporary folder, and are also at their own path inside, where bpftrace looks for the files of a process;
#: arguments: the number of roots, the roots, the command. Traces need the machine's process ids.
_WITH_ROOTS: Final = r"""
set -eu
count=$1; shift
while [ "$count" -gt 0 ]; do
    mount -t proc proc "$1/proc"
    mount -t sysfs -o ro sysfs "$1/sys"
    mkdir -p "$1$TEMPORARY" "$1$1"
    mount --bind "$TEMPORARY" "$1$TEMPORARY"
    mount --bind "$1" "$1$1"
    count=$((count - 1)); shift
done
exec "$@"
"""


class UnavailableError(debian.DebianError):
    """A release that the mirror does not have, or cannot deliver; the message is for the user."""


def main() -> None:
    """Install what is missing, run the tests, and exit with their status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    roots, left_out = [], []
    for release in RELEASES:
        try:
            roots.append(_root(release))
        except debian.DebianError as error:
            if REQUIRED and not isinstance(error, UnavailableError):
                sys.exit(f"make test-releases: error: libvirt {release.version}: {error}")
            left_out.append(f"make test-releases: libvirt {release.version} is not tested: {error}")
    status = _run(roots, sys.argv[1:]) if roots else 0
    print(*left_out, sep="\n", end="\n" if left_out else "", flush=True)
    sys.exit(status)


def _root(release: Release) -> Path:
    """Return a root with a release, after installing it if needed. Raises DebianError."""
    if MACHINE.version == release.version:
        return MACHINE.root
    root = CACHE / release.version
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_current(release, root):
            debian.check_prerequisites("debootstrap", "unshare")
            print(f"Installing libvirt {release.version} in Debian {release.suites[0]}", flush=True)
            partial = CACHE / f"{release.version}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            mirror, _ = debian.archive()
            try:
                debian.bootstrap(partial, release.suites[0], mirror)
                _install(release, partial, mirror)
            except debian.DebianError as error:
                raise UnavailableError(str(error)) from None
            shutil.rmtree(root, ignore_errors=True)
            partial.rename(root)
    return root


def _is_current(release: Release, root: Path) -> bool:
    """Return whether a root has all packages of a release."""
    installed = root / _INSTALLED
    return installed.exists() and installed.read_text().split() == [*release.packages]


def _install(release: Release, root: Path, mirror: str) -> None:
    """Install a release in a minimal Debian. Raises DebianError."""
    pin = f"Package: src:libvirt\nPin: version {release.version}-*\nPin-Priority: 1001\n"
    files = {
        "etc/apt/sources.list": "".join(f"deb {mirror} {suite} main\n" for suite in release.suites),
        # Above 1000: also a version that is older than that of another suite.
        "etc/apt/preferences.d/libvirt": pin,
        # No service is started.
        "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    authorities = Path("/etc/ssl/certs/ca-certificates.crt")
    if authorities.exists():  # for an https mirror
        (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
        shutil.copy(authorities, root / "etc/ssl/certs")
    try:
        debian.run(*_IN_ROOT, str(root), "apt-get", "update", "--error-on=any")
    except debian.DebianError as error:
        if "does not have a Release file" in str(error):
            raise UnavailableError(f"the mirror has no {release.suites[-1]}") from None
        raise
    listed = debian.run(*_IN_ROOT, str(root), "apt-cache", "madison", "libvirt-daemon").splitlines()
    versions = {line.split("|")[1].strip().partition("-")[0] for line in listed}
    if release.version not in versions:
        raise UnavailableError(f"Debian {', '.join(release.suites)} has {', '.join(sorted(versions))}")
    debian.run(
        *(*_IN_ROOT, str(root), "apt-get", "install"),
        *("--yes", "--no-install-recommends", *release.packages),
    )
    (root / _INSTALLED).write_text("\n".join(release.packages))


def _run(roots: list[Path], arguments: list[str]) -> int:
    """Run the tests with all roots, and return pytest's exit status."""
    print("Testing libvirt", *(Installation(root).version for root in roots), flush=True)
    own = [str(root) for root in roots if root != MACHINE.root]
    pytest = [sys.executable, "-m", "pytest", "-n", "auto", "--dist", "loadfile", *TESTS, *arguments]
    command = (
        ["unshare", "--mount", "sh", "-c", _WITH_ROOTS, "sh", str(len(own)), *own, *pytest] if own else pytest
    )
    variables = {ROOTS: os.pathsep.join(map(str, roots)), "TEMPORARY": tempfile.gettempdir()}
    with subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | variables) as tests:
        # pytest ends the daemons and removes its probes.
        signal.signal(signal.SIGTERM, lambda *_: tests.send_signal(signal.SIGINT))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return tests.wait()


if __name__ == "__main__":
    main()
