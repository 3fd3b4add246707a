"""User names and passwords: libvirt's auth.conf, a file with a password, or a prompt (docs/auth.rst of
libvirt)."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import Final

import msgspec

from ..errors import reason
from .errors import ConnectError

#: The last place of auth.conf.
SYSTEM_FILE: Final = Path("/etc/libvirt/auth.conf")
#: Maximum size of a file with credentials, in bytes.
_MAX_SIZE: Final = 1 << 16


class Credentials(msgspec.Struct, frozen=True):
    """A user name and a password. They do not appear in `repr`."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


#: Asks for credentials: the host and the user name in the URI (or "") → credentials.
Prompt = Callable[[str, str], Awaitable[Credentials]]


def from_file(host: str, user: str, path: str | None = None) -> Credentials | None:
    """Return the credentials for a host in an auth.conf: `path`, $LIBVIRT_AUTH_FILE, the user's, or the
    system's.

    Return None without a file, or without an entry for the service and host. Raises ConnectError for a file
    that cannot be used.
    """
    for candidate in _files(path):
        try:
            with candidate.open(encoding="utf-8") as file:
                text = file.read(_MAX_SIZE + 1)
        except FileNotFoundError:
            if path is not None:
                raise ConnectError(f"authfile: {candidate}: no such file") from None
            continue
        except (OSError, UnicodeDecodeError) as error:
            why = reason(error) if isinstance(error, OSError) else "it is not UTF-8"
            raise ConnectError(f"{candidate}: {why}") from None
        if len(text) > _MAX_SIZE:
            raise ConnectError(f"{candidate}: expected at most {_MAX_SIZE} characters")
        return _entry(candidate, text, host, user)
    return None


def _files(path: str | None) -> list[Path]:
    """Return the places of auth.conf, the first that exists counts."""
    if path is not None:
        return [Path(path)]
    if configured := os.environ.get("LIBVIRT_AUTH_FILE"):
        return [Path(configured)]
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [home / "libvirt" / "auth.conf", SYSTEM_FILE]


def _entry(path: Path, text: str, host: str, user: str) -> Credentials | None:
    config = ConfigParser(interpolation=None, strict=False, default_section="\0")
    try:
        config.read_string(text)
    except ConfigError as error:
        raise ConnectError(f"{path}: {str(error).splitlines()[0]}") from None
    for section in (f"auth-libvirt-{host or 'localhost'}", "auth-libvirt-default"):
        name = config.get(section, "credentials", fallback=None)
        if name is None:
            continue
        group = f"credentials-{name}"
        password = config.get(group, "password", fallback=None)
        entry_user = config.get(group, "authname", fallback=None) or config.get(
            group, "username", fallback=None
        )
        if password is None or (entry_user is None and not user):
            raise ConnectError(f"{path}: expected authname and password in [{group}]")
        return Credentials(entry_user or user, password)
    return None
