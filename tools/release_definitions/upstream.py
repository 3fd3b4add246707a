"""Print the next libvirt release to import: the oldest tag that is newer than all bundled releases.

    git ls-remote --tags --refs URL | python -m tools.release_definitions.upstream

Nothing is printed if there is none. Names of tags are foreign text; only those of releases count.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from libvirt_proto_codegen.releases import releases
from libvirt_proto_codegen.releases.version import version_key

_TAG = re.compile(r"[0-9a-f]{40,64}\trefs/tags/v([0-9]{1,3}\.[0-9]{1,3}\.0)", re.ASCII)


def next_release(lines: Iterable[str]) -> str | None:
    """Return the next release among the lines of `git ls-remote`, None if there is none.

    Releases since 2.0.0 have a micro number of 0; maintenance releases and candidates do not count."""
    newest = max(version_key(each.last) for each in releases())
    found = (match[1] for line in lines if (match := _TAG.fullmatch(line.rstrip("\n"))))
    return min((each for each in found if version_key(each) > newest), key=version_key, default=None)


if __name__ == "__main__":
    if (release := next_release(sys.stdin)) is not None:
        print(release)
