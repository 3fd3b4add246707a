"""A release that Debian no longer has, in a real minimal Debian."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import debian, releases

pytestmark = [pytest.mark.releases, pytest.mark.system("debootstrap", "unshare")]


@pytest.fixture(scope="module")
def minimal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("minimal")
    debian.bootstrap(root, "bookworm", debian.archive()[0])
    return root


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        (releases.Release("9.0.99", ("bookworm",), ()), r"Debian bookworm has .*\b9\.0\.0"),
        (releases.Release("9.0.0", ("bookworm", "bookworm-nosuch"), ()), "the mirror has no bookworm-nosuch"),
    ],
    ids=["version", "suite"],
)
def test_names_what_debian_has(minimal: Path, release: releases.Release, reason: str) -> None:
    with pytest.raises(releases.UnavailableError, match=reason):
        releases._install(release, minimal, debian.archive()[0])
