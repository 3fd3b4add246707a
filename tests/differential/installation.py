"""The libvirt under test: that of the machine, or that of another release, below another root."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libvirt_proto.codec.history import version_key
from libvirt_proto_codegen.providers.binaries import LIBRARY, installed, version_of_path

#: The roots of the installations to test, separated by colons (`make test-releases`); default: the machine's.
ROOTS: Final = "LIBVIRT_PROTO_ROOTS"


@dataclass(frozen=True)
class Installation:
    """A libvirt below a root. Paths in temporary folders are the same inside and outside."""

    root: Path

    def command(self, *words: str, user: str = "") -> list[str]:
        """Return a command line that runs a program of this installation, perhaps as another user."""
        if self.root == MACHINE.root and not user:
            return [*words]
        return ["chroot", *([f"--userspec={user}"] if user else []), str(self.root), *words]

    def program(self, name: str) -> Path:
        """Return the path of a program, seen from outside."""
        folders = os.pathsep.join(str(self.root / folder) for folder in ("usr/sbin", "usr/bin"))
        found = shutil.which(name, path=folders)
        assert found, f"no {name} in {folders}"
        return Path(found)

    @property
    def binaries(self) -> dict[str, str]:
        """The paths of its library, driver of QEMU and daemons by their names, seen from outside."""
        return {Path(path).name: path for path in installed(self.root)}

    @property
    def library(self) -> str:
        """The path of libvirt.so.0, seen from outside."""
        return self.binaries[LIBRARY]

    @property
    def library_options(self) -> list[str]:
        """Options of `generate` that name its binaries; none for the machine's, which are the default."""
        binaries = self.binaries.values() if self.root != MACHINE.root else ()
        return [word for path in binaries for word in ("--library", path)]

    @property
    def tapset(self) -> Path:
        """The folder of the tapset that libvirt installs."""
        return self.root / "usr/share/systemtap/tapset"

    @property
    def version(self) -> str | None:
        """The release, from the name of the library; None if there is none."""
        return version_of_path(self.binaries.get(LIBRARY, ""))


def newest() -> Installation:
    """The newest of the installations to test."""
    found = map(Installation, map(Path, os.environ[ROOTS].split(os.pathsep)))
    return max(found, key=lambda each: version_key(each.version or "0"))


MACHINE: Final = Installation(Path("/"))
