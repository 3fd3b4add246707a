"""The launcher in Wireshark's extcap folder, which makes libvirt a capture interface.

Wireshark runs every program in that folder with the rights of its user. So the launcher names this Python,
neither the environment nor the current folder decides what it runs, and it is written only where no other
user can change it.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import reason

#: The name of the launcher.
LAUNCHER: Final = "libvirt-proto"
_MODE: Final = 0o755
_HEAD: Final = (
    b"#!/bin/sh\n# Written by libvirt-proto extcap --install; libvirt-proto extcap --uninstall removes it.\n"
)
#: Options of Python: isolated, or for an installation in the user's site-packages, which root does not use.
_ISOLATED: Final = ("-I",)
_WITH_USER_SITE: Final = ("-E", "-P")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: More than a launcher has.
_MAX_TEXT: Final = 1 << 16


class WiresharkError(Exception):
    """Something that prevents an installation; the text has the remedy."""


def launcher() -> bytes:
    """Return the text of the launcher. Raises WiresharkError if this package is not installed."""
    import libvirt_proto

    python = os.path.abspath(sys.executable)
    for options in (_ISOLATED,) if os.geteuid() == 0 else (_ISOLATED, _WITH_USER_SITE):
        command = [python, *options, "-c", "import libvirt_proto; print(ascii(libvirt_proto.__file__))"]
        done = subprocess.run(command, cwd="/", capture_output=True)  # noqa: S603 - this Python
        if done.stdout.strip() == ascii(libvirt_proto.__file__).encode():
            line = shlex.join([python, *options, "-m", "libvirt_proto", "extcap"])
            return _HEAD + os.fsencode(f'exec {line} "$@"\n')
    raise WiresharkError(
        f"{python} does not find libvirt_proto without PYTHONPATH and the current folder: install it with pip"
    )


def is_installed(folder: Path) -> bool:
    """Return whether a folder has a launcher."""
    with suppress(OSError, WiresharkError), _opened(folder) as place:
        return bool(_current(place, folder))
    return False


def install(folder: Path) -> bool:
    """Write the launcher into a folder, which is made if necessary. Return False if it was there. Raises
    WiresharkError, also for a file of this name that is not a launcher."""
    text = launcher()
    try:
        _check_owner(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with _opened(folder) as place:
            before = _current(place, folder)
            if before == text:
                return False
            _write(place, text, replace=before is not None)
    except OSError as error:
        raise WiresharkError(f"{folder / LAUNCHER} cannot be written: {reason(error)}") from None
    return True


def uninstall(folder: Path) -> bool:
    """Remove the launcher. Return False if there is none. Raises WiresharkError."""
    try:
        with _opened(folder) as place:
            if _current(place, folder) is None:
                return False
            os.unlink(LAUNCHER, dir_fd=place)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise WiresharkError(f"{folder / LAUNCHER} cannot be removed: {reason(error)}") from None
    return True


def _check_owner(folder: Path) -> None:
    """Raise WiresharkError unless the first folder above that exists is as `_opened` wants it."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with _opened(folder):
        pass


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Open a folder. Raises WiresharkError for one in which another user can change files, and OSError."""
    place = os.open(folder, _FOLDER)
    try:
        status = os.fstat(place)
        # Groups of one user are common; root has none.
        others = stat.S_IWOTH | (stat.S_IWGRP if os.geteuid() == 0 else 0)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & others:
            raise WiresharkError(
                f"other users can write to {folder}, and Wireshark runs what is there: choose another"
                " --folder, or run this as its owner"
            )
        yield place
    finally:
        os.close(place)


def _current(place: int, folder: Path) -> bytes | None:
    """Return the text of the launcher in an open folder; None without a file of its name. Raises
    WiresharkError for another file."""
    text = b""
    try:
        file = os.open(LAUNCHER, _READ, dir_fd=place)
    except FileNotFoundError:
        return None
    except OSError:  # a symlink, or a file that cannot be read
        pass
    else:
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                text = os.read(file, _MAX_TEXT)
        finally:
            os.close(file)
    if not text.startswith(_HEAD):
        raise WiresharkError(
            f"{folder / LAUNCHER} was not written by --install and is left alone: move it away, or choose"
            " another --folder"
        )
    return text


def _write(place: int, text: bytes, *, replace: bool) -> None:
    """Write the launcher into an open folder, complete from the first moment, and never over another file."""
    temporary = f".{LAUNCHER}-{os.urandom(8).hex()}"
    file = os.open(temporary, _NEW, 0o600, dir_fd=place)
    try:
        with open(file, "wb") as opened:
            opened.write(text)
            os.fchmod(file, _MODE)
        if replace:
            os.rename(temporary, LAUNCHER, src_dir_fd=place, dst_dir_fd=place)
        else:
            os.link(temporary, LAUNCHER, src_dir_fd=place, dst_dir_fd=place)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=place)
