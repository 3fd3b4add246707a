"""Versions of libvirt in the names of its libraries. Source: libvirt's meson.build."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: `libvirt.so.0.12009.0`: 1000 times the major number plus the minor one, then the micro one.
_FILE_NAME: Final = re.compile(r"libvirt\.so\.0\.([0-9]{1,7})\.([0-9]{1,4})", re.ASCII)


def version_of_name(name: str) -> str | None:
    """Return the release in the file name of a library: 12.9.0 for `libvirt.so.0.12009.0`."""
    match = _FILE_NAME.fullmatch(name)
    return f"{int(match[1]) // 1000}.{int(match[1]) % 1000}.{int(match[2])}" if match else None


def common_version(versions: Iterable[str | None]) -> str | None:
    """Return the only version among some, None if there is none or several."""
    found = {version for version in versions if version is not None}
    return found.pop() if len(found) == 1 else None
