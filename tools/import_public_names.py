"""Make names/publicnames.json and protocol-defs/functions.json from libvirt's API descriptions.

    tools/import_public_names.py [/usr/share/libvirt/api] [--release R] [--check]

The descriptions are part of the libvirt development package. Only facts are taken from them: the enums with
their names and numbers, and the enums of each function's `flags`. libvirt names its procedures after those
functions, so the fields of their arguments have the same enums. Facts missing from the descriptions are
maintained by hand in libvirt_proto/names/fieldnames.toml. The second file lists the function of each
procedure, with the release that added the function; histories narrow their spans with it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from libvirt_proto import registry

ROOT = Path(__file__).resolve().parent.parent
NAMES = ROOT / "libvirt_proto" / "names" / "publicnames.json"
FUNCTIONS = ROOT / "protocol-defs" / "functions.json"
SOURCES = ("libvirt-api.xml", "libvirt-admin-api.xml", "libvirt-lxc-api.xml", "libvirt-qemu-api.xml")
#: Mentions of the enum of a flags argument: `bitwise-OR of virDomainXMLFlags and virTypedParameterFlags`.
MENTION = re.compile(r"\bvir[A-Z]\w+")

#: Program → the part that its functions' names have, and its procedures' names lack.
INFIXES = {"remote": "", "qemu": "qemu", "lxc": "lxc", "admin": "adm"}

Roots = list[ElementTree.Element]


def enums(roots: Roots) -> dict[str, dict[str, Any]]:
    """Return enum → its header, and name → number in the order of the numbers, without sentinels."""
    entries = {entry.get("name", ""): entry for root in roots for entry in root.iter("enum")}
    found: dict[str, dict[str, Any]] = {}
    for name, entry in entries.items():
        header = f"libvirt/{entry.get('file')}.h"
        enum = found.setdefault(entry.get("type", ""), {"header": header, "names": {}})
        enum["names"][name] = _number(entries, name)
    sentinels = {name for name in entries if name.endswith("_LAST")}
    # VIR_DOMAIN_MEMORY_STAT_LAST is VIR_DOMAIN_MEMORY_STAT_NR.
    sentinels |= {entries[name].get("value", "") for name in sentinels}
    for enum in found.values():
        ordered = sorted((number, name) for name, number in enum["names"].items() if name not in sentinels)
        enum["names"] = {name: number for number, name in ordered}
    return dict(sorted((name, enum) for name, enum in found.items() if enum["names"]))


def _number(entries: dict[str, ElementTree.Element], name: str) -> int:
    """Return the number of an entry, whose value is a number or another entry's name."""
    value = entries[name].get("value", "")
    return _number(entries, value) if value in entries else int(value)


def fields(roots: Roots, known: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Return struct → `flags` → the enums, for the arguments of procedures named after a function."""
    said = {function.lower(): named for function, named in _flags(roots, known)}
    found = {}
    for procedure in registry.program("remote").procedures:
        named = said.get("vir" + procedure.name.replace("_", ""))
        if procedure.args is not None and named:
            found[procedure.args.name] = {"flags": named}
    return dict(sorted(found.items()))


def _flags(roots: Roots, known: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for root in roots:
        for function in root.iter("function"):
            for argument in function.iter("arg"):
                if argument.get("name") == "flags":
                    mentioned = MENTION.findall(argument.get("info") or "")
                    yield function.get("name", ""), [name for name in mentioned if name in known]


def functions(roots: Roots) -> dict[str, list[str]]:
    """Return procedure, as named by histories → its function, and the release that added the function."""
    versions = {
        function.get("name", ""): function.get("version", "")
        for root in roots
        for function in root.iter("function")
        if function.get("version")
    }
    found = {}
    for program, infix in INFIXES.items():
        names = {
            name.lower().replace(infix, "", 1): name for name in sorted(versions) if infix in name.lower()
        }
        program_ = registry.program(program)
        for procedure in program_.procedures:
            if (name := names.get("vir" + procedure.name.replace("_", ""))) is not None:
                key = f"procedure {program_.number:#010x} {procedure.number}"
                found[key] = [name, versions[name]]
    return found


def render(folder: Path, release: str) -> dict[Path, str]:
    """Return file → its text."""
    roots = [ElementTree.parse(folder / name).getroot() for name in SOURCES]
    known = enums(roots)
    made_of = {"source": list(SOURCES), "release": release}
    facts = {**made_of, "enums": known, "fields": fields(roots, known)}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(said)}" for key, said in functions(roots).items())
    head = json.dumps(made_of)[:-1]
    return {NAMES: json.dumps(facts, indent=1) + "\n", FUNCTIONS: f'{head}, "functions": {{\n{lines}\n}}}}\n'}


def installed_release() -> str:
    """Return the libvirt release of the development package."""
    query = ["pkg-config", "--modversion", "libvirt"]
    return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description="Make libvirt_proto/names/publicnames.json.")
    default = Path("/usr/share/libvirt/api")
    parser.add_argument("folder", nargs="?", type=Path, default=default, help=", ".join(SOURCES))
    parser.add_argument("--release", help="the libvirt release of the descriptions (default: ask pkg-config)")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the file is not current")
    options = parser.parse_args()
    texts = render(options.folder, options.release or installed_release())
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if options.check:
            print(f"{path.name} is not current: run tools/import_public_names.py", file=sys.stderr)
        else:
            path.write_text(texts[path])
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
