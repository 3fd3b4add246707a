"""Import a libvirt release into protocol-defs/: `make release-definitions`.

    python -m tools.release_definitions SOURCE... --release R [--same A:B]

SOURCE is everything that `libvirt-proto import` accepts, the .dsc of a Debian source package, or .deb
packages or the root of a system. The latter have no .x files: they can prove that the release has the
definitions of a bundled one, which are imported then. What was proven and what was not is printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.quoting import printable
from libvirt_proto_codegen.releases import releases
from libvirt_proto_codegen.releases.version import SAFE

from . import evidence, packages

COMMAND = Path(sys.executable).with_name("libvirt-proto")


def main() -> int:
    parser = argparse.ArgumentParser(description="Import a libvirt release into protocol-defs/.")
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    parser.add_argument("--release", required=True)
    parser.add_argument("--same", action="append", default=[], metavar="A:B")
    options = parser.parse_args()
    if not SAFE.fullmatch(options.release):
        parser.error(f"expected the name of a release, such as 12.6.0, got {options.release!r}")
    for source in options.sources:
        if not source.exists():
            parser.error(f"{str(source)!r} does not exist")
    try:
        return _import(options.sources, options.release, options.same)
    except (packages.PackageError, evidence.Unproven, DefinitionError, OSError) as error:
        print(_shown(f"error: {error}"), file=sys.stderr)
        return 1


def _import(sources: Sequence[Path], release: str, same: Sequence[str]) -> int:
    if all(source.suffix == ".deb" or (source.is_dir() and packages.is_system(source)) for source in sources):
        return _import_proven(sources, release, same)
    if len(sources) > 1:
        print("error: expected one source, or .deb packages", file=sys.stderr)
        return 2
    (source,) = sources
    return _run(packages.upstream_tarball(source) if source.suffix == ".dsc" else source, release, same)


def _import_proven(sources: Sequence[Path], release: str, same: Sequence[str]) -> int:
    proof = evidence.prove(packages.files_of(sources), release)
    print(_shown(evidence.report(proof, [source.name or str(source) for source in sources])), flush=True)
    print()
    if any(each.name == release for each in releases()):
        if not proof.base.covers(release):
            raise evidence.Unproven(
                f"the bundled definitions of {release} are not those of {proof.base.name}"
            )
        print(f"libvirt {release} is bundled already: nothing was imported")
        return 0
    origins = ["rebuilt", *(f"{file}=unproven" for file in proof.doubtful)]
    words = [word for origin in origins for word in ("--provenance", origin)]
    if not any(each.covers(release) for each in releases()):
        same = [*same, f"{proof.base.first}:{release}"]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in proof.texts.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        return _run(Path(folder), release, same, words)


def _shown(text: str) -> str:
    """Return lines that are safe on a terminal: they may have names from packages."""
    return "\n".join(map(printable, text.split("\n")))


def _run(source: Path, release: str, same: Sequence[str], more: Sequence[str] = ()) -> int:
    words = [word for each in same for word in ("--same", each)]
    command = [str(COMMAND), "import", str(source), "--release", release, *words, *more]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
