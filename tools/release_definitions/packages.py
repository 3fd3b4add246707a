"""Files of a libvirt release in Debian packages or an installed system: tapsets, API description, library.

Everything in a package is hostile. dpkg-deb unpacks it into a pipe, which the reader of tar archives limits;
no file is written, and links are skipped.

Sources: deb(5), dsc(5), deb822(5).
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from libvirt_proto_codegen.archives import ArchiveReadError, tar_members
from libvirt_proto_codegen.files import open_regular

#: Maximum size of a file, and of all files that are kept; libvirt.so.0 has 5 MB, the API description 3 MB.
MAX_FILE: Final = 64 << 20
#: Maximum number of files that are kept; a release has 5.
MAX_FILES: Final = 16
MAX_DSC: Final = 1 << 20
#: The files that show something about a release.
_WANTED: Final = re.compile(
    r"libvirt_(?:functions|probes|qemu_probes)\.stp|libvirt-api\.xml|libvirt\.so\.0\.[0-9.]+"
)
_PLACES: Final = (
    "usr/share/systemtap/tapset/libvirt_*.stp",
    "usr/share/libvirt/api/libvirt-api.xml",
    "usr/lib*/libvirt.so.0.*",
    "usr/lib/*/libvirt.so.0.*",
)
#: A line of Checksums-Sha256 in a .dsc, with the upstream tarball.
_ORIG: Final = re.compile(
    r"^ (?P<sha256>[0-9a-f]{64}) [0-9]+ (?P<name>libvirt_[A-Za-z0-9.+~-]+\.orig\.tar\.[a-z0-9]+)$",
    re.MULTILINE,
)
_CHECKSUMS: Final = re.compile(r"^Checksums-Sha256:[ \t]*\n((?: .*\n)+)", re.MULTILINE)


class PackageError(ValueError):
    """A package that cannot be read, or without files of libvirt; the message gives the reason."""


def files_of(sources: Iterable[Path]) -> dict[str, bytes]:
    """Return name → content of the files of a release in .deb packages, or below the root of a system.

    Raises PackageError for an unreadable source, and for different files of one name, and OSError if reading
    fails.
    """
    found: dict[str, bytes] = {}
    for source in sources:
        for path, data in _installed(source) if source.is_dir() else _unpacked(source):
            if found.setdefault(path.name, data) != data:
                raise PackageError(
                    f"{source}: another {path.name} than before: expected packages of one release"
                )
            if len(found) > MAX_FILES:
                raise PackageError(
                    f"{source}: expected packages of one release, got more than {MAX_FILES} files"
                )
            if sum(map(len, found.values())) > MAX_FILE:
                raise PackageError(f"{source}: the files have more than {MAX_FILE:,} bytes together")
    if not found:
        raise PackageError(
            "no tapset, API description or library of libvirt: expected the packages libvirt0, libvirt-dev "
            "and libvirt-common (or libvirt-daemon-system), or the root of a system with them"
        )
    return found


def _installed(root: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the files below a root; a link of another system may lead out of it."""
    inside = root.resolve()
    for pattern in _PLACES:
        for path in sorted(root.glob(pattern)):
            if not path.is_file() or path.is_symlink() or not path.resolve().is_relative_to(inside):
                continue
            if _WANTED.fullmatch(path.name):
                with open_regular(path) as file:
                    yield PurePosixPath(path), _limited(file, path.name)


def _limited(file: IO[bytes], name: str) -> bytes:
    data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise PackageError(f"{name} has more than {MAX_FILE:,} bytes")
    return data


def _unpacked(package: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    with _data(package) as tar:
        try:
            for member in tar_members(tar, MAX_FILE):
                if _WANTED.fullmatch(member.path.name):
                    yield member.path, member.read()
        except ArchiveReadError as error:
            raise PackageError(f"{package}: {error}") from None


@contextmanager
def _data(package: Path) -> Iterator[IO[bytes]]:
    """Yield the tar archive in a package, as dpkg-deb unpacks it."""
    if not package.is_file():
        raise PackageError(f"{package}: expected a .deb package or a folder")
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                ["dpkg-deb", "--fsys-tarfile", str(package.absolute())],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        except FileNotFoundError:
            raise PackageError("dpkg-deb is not installed: install the package dpkg") from None
        assert process.stdout is not None
        with process:
            try:
                yield process.stdout
            except PackageError:
                process.kill()
                errors.seek(0)
                stated = errors.read(500).decode("utf-8", "replace").strip()
                if stated:
                    raise PackageError(f"{package}: {stated.splitlines()[0]}") from None
                raise
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise PackageError(f"{package}: dpkg-deb failed with status {process.returncode}")


def upstream_tarball(dsc: Path) -> Path:
    """Return upstream's tarball next to the .dsc of a Debian source package; its SHA-256 is that in the .dsc.

    The signature of the .dsc is not checked: `dscverify` does that. Raises PackageError and OSError.
    """
    with open_regular(dsc) as file:
        text = file.read(MAX_DSC).decode("utf-8", "replace")
    checksums = _CHECKSUMS.search(text)
    found = list(_ORIG.finditer(checksums[1])) if checksums else []
    if len(found) != 1:
        raise PackageError(
            f"{dsc}: expected one libvirt_….orig.tar.… below Checksums-Sha256, got {len(found)}"
        )
    (match,) = found
    tarball = dsc.parent / match["name"]
    if not tarball.is_file():
        raise PackageError(
            f"{tarball} is missing: download the source package whole (apt-get source --download-only)"
        )
    with open_regular(tarball) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != match["sha256"]:
            raise PackageError(f"{tarball} is not the file that {dsc.name} names: its SHA-256 differs")
    return tarball


def is_system(folder: Path) -> bool:
    """Return True for the root of a system, as opposed to a source tree or a folder of .x files."""
    return any(any(folder.glob(pattern)) for pattern in _PLACES)
