"""Makes libvirt_proto/since.py: the libvirt release in which each procedure first appeared.

    tools/import_since.py ALL-RELEASES.tar.xz [--check]

The archive holds a folder of .x files for each release, `…/1.0.5/remote_protocol.x`. Where releases are
missing before one that adds procedures, the answer is a span; GAPS says which are missing.
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import libvirt_proto_codegen
from libvirt_proto_codegen.definitions import load_schema, version_key

OUTPUT = Path(__file__).resolve().parent.parent / "libvirt_proto" / "since.py"
EXTERNALS = Path(libvirt_proto_codegen.__file__).with_name("known-externals.toml")

#: Release in the archive → what is known of procedures that it has and the one before it has not.
#: Declarations were the same in the releases in between (9.8.0 to 10.0.0, 12.5.0 to 12.6.0).
GAPS = {"0.9.7": "0.9.7 or earlier", "10.0.0": "4.6.0 to 9.8.0", "12.6.0": "12.5.0"}
HEAD = '''"""Since which libvirt release there are procedures.

Made by tools/import_since.py from the definitions of {count} releases; do not edit.
"""

from __future__ import annotations

from typing import Final

#: Program → (first procedure, last procedure, release) of each run of numbers.
_RUNS: Final[dict[int, tuple[tuple[int, int, str], ...]]] = {{
'''
TAIL = '''}


def since(program: int, procedure: int) -> str | None:
    """The release that a procedure came with, None where that is not known. A span of releases
    (`4.6.0 to 9.8.0`) says that it came with one of them."""
    runs = _RUNS.get(program, ())
    return next((release for first, last, release in runs if first <= procedure <= last), None)
'''


def procedures(folder: Path, defines: dict[str, int]) -> Iterator[tuple[int, int]]:
    """(program, procedure) numbers of a release."""
    for module in load_schema([folder], defines=defines).modules:
        for program in module.programs:
            for procedure in program.procedures:
                yield program.number, procedure.number


def first_seen(folders: list[Path]) -> dict[int, dict[int, str]]:
    """Program → procedure → release, from folders in the order of their releases."""
    known = tomllib.loads(EXTERNALS.read_text())
    defines = {name: entry["value"] for name, entry in known.items()}
    found: dict[int, dict[int, str]] = {}
    for folder in folders:
        for program, procedure in procedures(folder, defines):
            found.setdefault(program, {}).setdefault(procedure, GAPS.get(folder.name, folder.name))
    return found


def runs(releases: dict[int, str]) -> Iterator[tuple[int, int, str]]:
    """Runs of procedures that came together."""
    first = last = None
    for number in sorted(releases):
        if first is not None and last == number - 1 and releases[first] == releases[number]:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last, releases[first]
        first = last = number
    if first is not None and last is not None:
        yield first, last, releases[first]


def render(found: dict[int, dict[int, str]], count: int) -> str:
    text = HEAD.format(count=count)
    for program, releases in sorted(found.items()):
        lines = [f'({a}, {b}, "{release}"),' for a, b, release in runs(releases)]
        body = lines[0] if len(lines) == 1 else "\n        ".join(["", *lines]) + "\n    "
        text += f"    0x{program:08X}: ({body}),\n"
    return text + TAIL


def main() -> int:
    parser = argparse.ArgumentParser(description="Make libvirt_proto/since.py.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the file is not current")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(options.archive) as archive:
            archive.extractall(temporary, filter="data")
        folders = {path.parent for path in Path(temporary).rglob("*.x")}
        releases = [path for path in folders if re.fullmatch(r"[\d.]+", path.name)]
        ordered = sorted(releases, key=lambda path: version_key(path.name))
        text = render(first_seen(ordered), len(ordered))
    if options.check:
        current = OUTPUT.exists() and OUTPUT.read_text() == text
        if not current:
            print(f"{OUTPUT.name} is not current: run tools/import_since.py", file=sys.stderr)
        return 0 if current else 1
    OUTPUT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
