"""Names of releases: their order and succession."""

from __future__ import annotations

import re
from typing import Final

from libvirt_proto.codec.history import version_key as version_key

#: Valid names of releases, which become names of folders.
SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
#: Since 3.0.0 the major number is that of a year, which has at least ten releases (0 to about 10).
_YEARS: Final = 3
_LAST_OF_A_YEAR: Final = 10


def is_maintenance(release: str) -> bool:
    """Return True for a maintenance release: 1.2.9.3 is newer than 1.2.10, but lacks its additions."""
    return release.count(".") > 2


def follows(release: str, before: str) -> bool:
    """Return True if no release lies between the two, as far as their numbers show.

    4.0.0 follows 3.10.0 and 2.0.0 follows 1.3.5, but 13.0.0 does not follow 12.9.0.
    """
    try:
        (major, minor, micro), (old_major, old_minor, old_micro) = (
            tuple(map(int, name.split("."))) for name in (release, before)
        )
    except ValueError:
        return False
    if (major, minor) == (old_major, old_minor):
        return micro == old_micro + 1
    if major == old_major:
        return (minor, micro) == (old_minor + 1, 0)
    complete = old_major < _YEARS or old_minor >= _LAST_OF_A_YEAR
    return (major, minor, micro) == (old_major + 1, 0, 0) and complete
