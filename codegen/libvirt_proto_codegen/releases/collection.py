"""A folder or an archive with the definitions of many releases, in a folder each, named after the release."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from ..errors import DefinitionError, Problem
from ..source_tree import SourceTree
from .version import version_key

#: Maximum number of releases; libvirt has made about 250, including maintenance releases.
MAX_RELEASES: Final = 1000

_RELEASE: Final = re.compile(r"(?:libvirt-)?v?([0-9]+(?:\.[0-9]+)+(?:-?rc[0-9]+)?)")


def by_release(tree: SourceTree) -> Mapping[str, SourceTree]:
    """Return release → its part of the tree, in version order; empty unless all .x files are in folders of at
    least two releases."""
    found: dict[str, dict[PurePosixPath, bytes]] = defaultdict(dict)
    for path, data in tree.definitions.items():
        release = _release_of(path)
        if release is not None:
            found[release][path] = data
        elif path.suffix == ".x":
            return {}
    found = {release: files for release, files in found.items() if any(path.suffix == ".x" for path in files)}
    if len(found) < 2:
        return {}
    if len(found) > MAX_RELEASES:
        raise DefinitionError([Problem("too-large", None, f"expected at most {MAX_RELEASES:,} releases")])
    headers: dict[str, dict[PurePosixPath, bytes]] = defaultdict(dict)
    for path, data in tree.headers.items():
        if (release := _release_of(path)) is not None:
            headers[release][path] = data
    return {
        release: SourceTree(found[release], headers[release]) for release in sorted(found, key=version_key)
    }


def _release_of(path: PurePosixPath) -> str | None:
    """Return the outermost folder that is named after a release."""
    names = (match[1] for part in path.parts[:-1] if (match := _RELEASE.fullmatch(part)))
    return next(names, None)
