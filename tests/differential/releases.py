"""The definitions of all libvirt versions in the shared data."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from functools import cache
from pathlib import Path

from libvirt_proto_codegen.externals import KNOWN
from libvirt_proto_codegen.model import Specification
from libvirt_proto_codegen.printer import print_specification
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.schema import Schema
from libvirt_proto_codegen.source import Source


def read_releases(archive: Path) -> dict[str, dict[str, str]]:
    """Release → file → text."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    with tarfile.open(archive) as members:
        for member in members:
            if member.name.endswith(".x"):
                _, release, file = member.name.split("/")
                content = members.extractfile(member)
                assert content is not None
                found[release][file] = content.read().decode()
    return found


@cache
def specification(file: str, text: str) -> Specification:
    """Parse a file once: many releases have equal files."""
    return read_specification(Source(file, text))


@cache
def canonical(file: str, text: str) -> str:
    """The file as the importer prints it."""
    return print_specification(specification(file, text))


def schema_of(texts: dict[str, str], release: str) -> Schema:
    specifications = [specification(file, text) for file, text in sorted(texts.items())]
    return resolve(specifications, externals=KNOWN, release=release, inputs=())
