"""The definitions of all libvirt versions in the shared data."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from libvirt_proto_codegen.externals import KNOWN
from libvirt_proto_codegen.model import Specification
from libvirt_proto_codegen.printer import print_specification
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.releases.version import version_key
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.schema import Schema
from libvirt_proto_codegen.source import Source


def read_releases(libvirt: Path) -> dict[str, dict[str, str]]:
    """Release → file → text, of the archives and of the folders that they lack."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for archive in ("all-releases.tar.xz", "derived-4.10.0-to-9.7.0.tar.xz"):
        with tarfile.open(libvirt / archive) as members:
            for member in members:
                if member.name.endswith(".x"):
                    _, release, file = member.name.split("/")
                    content = members.extractfile(member)
                    assert content is not None
                    found[release][file] = content.read().decode()
    for release in ("7.0.0", "9.0.0", "11.3.0", "12.9.0"):
        found[release] = {path.name: path.read_text() for path in (libvirt / release).glob("*.x")}
    return found


def distinct(releases: Mapping[str, dict[str, str]]) -> dict[str, list[str]]:
    """The first release of each state → all releases with the same texts."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
    for release in sorted(releases, key=version_key):
        found[tuple(sorted(releases[release].items()))].append(release)
    return {same[0]: same for same in found.values()}


@cache
def specification(file: str, text: str) -> Specification:
    """Parse a file once: many releases have equal files."""
    return read_specification(Source(file, text))


@cache
def canonical(file: str, text: str) -> str:
    """The file as the importer prints it."""
    return print_specification(specification(file, text))


def schema_of(texts: Mapping[str, str]) -> Schema:
    """The Schema of a release, which is the same object for all releases with these texts."""
    return _schema(tuple(sorted(texts.items())))


@cache
def _schema(texts: tuple[tuple[str, str], ...]) -> Schema:
    specifications = [specification(file, text) for file, text in texts]
    return resolve(specifications, externals=KNOWN, release="", inputs=())
