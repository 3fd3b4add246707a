"""Parsing and resolving the definitions of all releases: `python -m tools.bench.releases FOLDER`."""

from __future__ import annotations

import sys
import tarfile
from collections import defaultdict
from pathlib import Path

from libvirt_proto_codegen.externals import KNOWN
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.source import Source


def main(folder: Path) -> None:
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    with tarfile.open(folder / "libvirt" / "all-releases.tar.xz") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".x") else None
            if content is not None:
                _, release, file = member.name.split("/")
                texts[release][file] = content.read().decode()
    # Releases share files; each is parsed once.
    parsed = {
        pair: read_specification(Source(*pair))
        for pair in {pair for files in texts.values() for pair in files.items()}
    }
    for release, files in texts.items():
        specifications = [parsed[pair] for pair in sorted(files.items())]
        resolve(specifications, externals=KNOWN, release=release, inputs=())
    assert len(texts) == 133


if __name__ == "__main__":
    main(Path(sys.argv[1]))
